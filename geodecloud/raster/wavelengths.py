"""Find the wavelength of each band that shows the ground besides red, green and blue."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from geodecloud.errors import UsageError
from geodecloud.raster.band_names import names_of, stated_wavelength, wavelength_in
from geodecloud.raster.bands import (
    PLANETSCOPE_ORDER,
    Bands,
    is_composite,
    is_same_band,
    without_count,
)
from geodecloud.raster.sensors import NUMBER, BandNames, Sensor, words_of


def _by_name(table: str) -> dict[str, float]:
    """Return wavelengths in nm by name from a text like "nm name name; nm name"."""
    rows = (row.split() for row in table.split(";"))
    return {name: float(wavelength) for wavelength, *names in rows for name in names}


# Central wavelengths in nm, by the number in a band's name, without cirrus and thermal bands.
# Sentinel-2A, ESA: "Sentinel-2 Spectral Response Functions"; Landsat 8 and 9, and
# Landsat 5, USGS: "Spectral Characteristics Viewer"; MODIS, NASA: "MODIS Specifications".
_SENTINEL_2 = _by_name(
    "443 1; 492 2; 560 3; 665 4; 704 5; 740 6; 783 7; 833 8; 865 8a; 945 9; 1614 11; 2202 12"
)
_OLI = _by_name("443 1; 482 2; 561 3; 655 4; 865 5; 1609 6; 2201 7")
_TM = _by_name("485 1; 569 2; 660 3; 840 4; 1676 5; 2223 7")
_MODIS = _by_name("645 1; 858 2; 469 3; 555 4; 1240 5; 1640 6; 2130 7")
_BY_SENSOR: dict[Sensor | None, Mapping[str, float]] = {
    Sensor.SENTINEL_2: _SENTINEL_2,
    Sensor.OLI: _OLI,
    Sensor.TM: _TM,
    Sensor.MODIS: _MODIS,
}
# Names of STAC's extension "eo" and of PlanetScope, without spaces.
_NAMED = _by_name(
    "443 coastal coastalblue coastalaerosol aerosol; 490 blue; 531 greeni; 560 green; "
    "600 yellow; 665 red; "
    "705 rededge re rededge071; 704 rededge1 re1; 740 rededge2 re2 rededge075; "
    "783 rededge3 re3 rededge078; 865 rededge4 re4 nir08 nir2 nir8a nira nirnarrow narrownir; "
    "842 nir nir1 nearinfrared nearir nirbroad broadnir; 945 nir09 watervapour watervapor; "
    "1610 swir swir1 swir16 shortwaveinfrared1; 2200 swir2 swir22 swir3 shortwaveinfrared2"
)
_NAMES = sorted(_NAMED, key=len, reverse=True)
# PlanetScope's bands by their number, Planet: "Understanding PlanetScope Instruments".
_PLANETSCOPE = {4: (490, 565, 665, 865), 8: (443, 490, 531, 565, 610, 665, 705, 865)}
# Words in the names of bands that show no ground: classes, quality, angles, air, heat, indices.
_NO_GROUND = re.compile(
    r"(?:^|_)(?:scl|tci|sceneclass\w*|b?qa\w*|stateqa|\w*mask\d?|udm\d?|msk|clouds?|shadows?|snow|"
    r"prob\w*|cld\w*|clp|clm|cs|cdf|conf\w*|quality|flags?|bits?|class\w*|labels?|angles?|"
    r"\w*zenith\w*|\w*azimuth\w*|saa|sza|vaa|vza|view|sun|aot|aod|wvp|atmos|ozone|cirrus|"
    r"thermal|tirs?\d?|lwir\d*|mwir|temp\w*|lst|st|bt|emiss\w*|radsat|nbr|nd\w\w|savi|evi\d?|"
    r"dem|elev\w*|height|slope|aspect|count|[sebc]+dev|std\w*|var\w*|min|max|ratio|date|doy|"
    r"dayofyear|time|pan|panchromatic|alpha)(?:_|$)"
)
# Numbers of cirrus, thermal and panchromatic bands, by the sensor.
_NO_GROUND_NUMBERS: dict[Sensor | None, set[str]] = {
    Sensor.OLI: {"8", "9", "10", "11"},
    Sensor.TM: {"6", "8"},
    Sensor.SENTINEL_2: {"10"},
}
_SHORTEST, _LONGEST = 400, 2500  # nm; the range of sunlight that the ground reflects
_NEAR_INFRARED = (760.0, 900.0)  # nm, as of NDVI
_NIR = 842.0  # nm; of several near infrared bands, the nearest to this wavelength comes first
_SAME = 30.0  # nm between the same bands of two sensors
_CIRRUS = (1330, 1450)  # nm; water vapour hides the ground


@dataclass(frozen=True)
class OtherBand:
    """A band that shows the ground, besides red, green and blue.

    index: index among the bands, from 0.
    wavelength: central wavelength, nm.
    """

    index: int
    wavelength: float


class Banded(Protocol):
    """Give the bands of a scene. The class of scenes imports this module, so it is not named."""

    @property
    def path(self) -> Path:
        """Path of the file."""

    @property
    def dataset(self) -> Any:
        """The open raster."""

    @property
    def bands(self) -> Bands:
        """Numbers of the red, green and blue bands."""

    @property
    def bands_from(self) -> str:
        """Return how the bands were found, in words."""

    @property
    def alpha(self) -> int | None:
        """The number of the alpha band; None: there is none."""


def find_other_bands(
    scene: Banded, given: tuple[float, ...] | None = None
) -> tuple[OtherBand, ...]:
    """Return the bands whose wavelength is known and whose DN have the scale and offset of red.

    A mask, a classification or an angle that is stored as a band has no wavelength.

    Args:
        scene: an open scene.
        given: wavelengths in nm of all bands besides red, green, blue and alpha, in their order; 0
            for a band that shows no ground. None: as the file states them.

    Raises:
        UsageError: the number of wavelengths is not that of the bands, or one shows no ground.
    """
    known = _of_known_wavelength(scene, given)
    return tuple(one for one in known if _has_scale_of_red(scene, one.index + 1))


def bands_of_another_scale(scene: Banded, given: tuple[float, ...] | None = None) -> list[str]:
    """Return the bands, in words, whose wavelength is known, but whose scale is not that of red.

    Args:
        given: see :func:`find_other_bands`.
    """
    bands = [one.index + 1 for one in _of_known_wavelength(scene, given)]
    names = scene.dataset.descriptions
    return [
        _in_words(band, names[band - 1]) for band in bands if not _has_scale_of_red(scene, band)
    ]


def _in_words(band: int, name: str | None) -> str:
    """Return a band's number, and its name if it has one."""
    return f"{band} ({name})" if name else str(band)


def _of_known_wavelength(scene: Banded, given: tuple[float, ...] | None) -> list[OtherBand]:
    """Return the bands besides red, green and blue that show the ground at a known wavelength."""
    dataset = scene.dataset
    others = [band for band in dataset.indexes if band not in scene.bands and band != scene.alpha]
    if given is not None:
        return _as_given(others, given)
    names = names_of(dataset, str(scene.path))
    numbers = numbers_of(names)
    found = []
    for band in others:
        name = names.names[band - 1] or ""
        if shows_no_ground(name):
            continue
        wavelength = stated_wavelength(dataset, band) or wavelength_of(name, numbers)
        if scene.bands_from == PLANETSCOPE_ORDER:
            wavelength = _PLANETSCOPE[len(others) + 3][band - 1]
        if wavelength and shows_ground(wavelength):
            found.append(OtherBand(band - 1, wavelength))
    return found


def _as_given(others: Sequence[int], given: tuple[float, ...]) -> list[OtherBand]:
    """Return the other bands, by number, with the wavelengths that the user gives."""
    if len(given) != len(others):
        raise UsageError(
            f"`wavelengths` are {len(given)}: give {len(others)}, one for each band besides "
            f"red, green and blue ({', '.join(map(str, others)) or 'none'})"
        )
    for nm in given:
        if nm and not shows_ground(nm):
            raise UsageError(
                f"`wavelengths` has {nm:g}: give nm of {_SHORTEST} to {_LONGEST} where "
                "the ground is seen, or 0"
            )
    pairs = zip(others, given, strict=True)
    return [OtherBand(band - 1, nm) for band, nm in pairs if nm]


def bands_without_wavelength(scene: Banded, found: Iterable[OtherBand]) -> list[str]:
    """Return the bands, in words, that may show the ground and whose wavelength is not known.

    Args:
        found: the bands that are restored.
    """
    dataset, known = scene.dataset, {one.index + 1 for one in found}
    names = names_of(dataset, str(scene.path))
    blind, kept = _NO_GROUND_NUMBERS.get(names.sensor, {"10"}), []
    for band in dataset.indexes:
        name, stated = names.names[band - 1] or "", stated_wavelength(dataset, band)
        if band in (*scene.bands, scene.alpha, *known) or shows_no_ground(name):
            continue
        if blind & BandNames((name,)).numbers:
            continue
        if _has_scale_of_red(scene, band) and (not stated or shows_ground(stated)):
            kept.append(_in_words(band, name))
    return kept


def shows_no_ground(name: str) -> bool:
    """Return whether a band's name says that it holds no light of the ground."""
    return _NO_GROUND.search("_".join(words_of(name))) is not None


def same_band(bands: Iterable[OtherBand], wavelength: float) -> OtherBand | None:
    """Return the band that corresponds to a wavelength of another sensor, in nm; None: no band."""
    near = min(bands, key=lambda one: abs(one.wavelength - wavelength), default=None)
    return near if near and abs(near.wavelength - wavelength) <= _SAME else None


def near_infrared(wavelengths: Sequence[float]) -> list[int]:
    """Return the indices of the near infrared wavelengths in nm, the nearest to 842 nm first."""
    low, high = _NEAR_INFRARED
    near = [index for index, nm in enumerate(wavelengths) if low <= nm <= high]
    return sorted(near, key=lambda index: abs(wavelengths[index] - _NIR))


def shows_ground(wavelength: float) -> bool:
    """Return whether a sensor sees the ground at a wavelength in nm."""
    cirrus = _CIRRUS[0] <= wavelength <= _CIRRUS[1]
    return _SHORTEST <= wavelength <= _LONGEST and not cirrus


def wavelength_of(name: str, numbers: Mapping[str, float] | None = None) -> float | None:
    """Return the wavelength in nm that a band's name means; None: not known.

    Args:
        numbers: wavelengths of names like B8, by number; None: such names mean nothing.
    """
    if stated := wavelength_in(name):
        return stated
    words = without_count(words_of(name))
    if words == ["n"]:  # as in R, G, B, N
        return _NAMED["nir"]
    found = set()
    joined = "_".join(words)
    for known in _NAMES:  # the longest name first: "red edge 1" is no "red"
        spelling = "_?".join(known)
        if match := re.search(rf"(?:^|_){spelling}(?:_|$)", joined):
            found.add(_NAMED[known])
            parts = (joined[: match.start()], joined[match.end() :])
            words = [word for part in parts for word in part.split("_") if word]
            break
    for word in list(words):
        if match := NUMBER.fullmatch(word):
            words.remove(word)
            if not found and numbers and match[1] in numbers:
                found.add(numbers[match[1]])
    if len(found) != 1:
        return None
    (nm,) = found
    same = (is_same_band(word) or is_composite(word) or _NAMED.get(word) == nm for word in words)
    return nm if all(same) else None


def numbers_of(names: BandNames) -> Mapping[str, float]:
    """Return the wavelengths in nm of names like B8, by number and by the sensor."""
    return _BY_SENSOR.get(names.sensor, {"1": 443})


def _has_scale_of_red(scene: Banded, band: int) -> bool:
    """Return whether a band has the scale and offset of red."""
    dataset, red = scene.dataset, scene.bands[0] - 1
    scales, offsets = dataset.scales, dataset.offsets
    return bool(scales[band - 1] == scales[red] and offsets[band - 1] == offsets[red])
