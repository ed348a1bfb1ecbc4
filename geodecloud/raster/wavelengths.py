"""Find the wavelength of each band that shows the ground beside red, green and blue."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from geodecloud.errors import UsageError
from geodecloud.raster.bands import (
    PLANETSCOPE_ORDER,
    BandNames,
    band_names,
    is_composite,
    is_same_band,
    stated_wavelength,
    wavelength_in,
    without_count,
    words_of,
)


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
# Names of STAC's extension "eo" and of PlanetScope, without spaces.
_NAMED = _by_name(
    "443 coastal coastalblue; 490 blue; 531 greeni; 560 green; 600 yellow; 665 red; "
    "705 rededge re rededge071; 704 rededge1 re1; 740 rededge2 re2 rededge075; "
    "783 rededge3 re3 rededge078; 865 rededge4 re4 nir08 nir2 nir8a nira nirnarrow narrownir; "
    "842 nir nir1 nearinfrared nearir; 945 nir09 watervapour watervapor; "
    "1610 swir swir1 swir16; 2200 swir2 swir22 swir3"
)
_NAMES = sorted(_NAMED, key=len, reverse=True)
# PlanetScope's bands by their number, Planet: "Understanding PlanetScope Instruments".
_PLANETSCOPE = {4: (490, 565, 665, 865), 8: (443, 490, 531, 565, 610, 665, 705, 865)}
_SENTINEL_WORDS = re.compile(r"(?i)\bS2[ABC]?_|SENTINEL-?_?2|MSIL?[12]|\bMSI\b|S30|_T\d\d[A-Z]{3}")
_LANDSAT_WORDS = re.compile(r"(?i)\bL[COE]0?[789]_|LANDSAT|L30\b|\bOLI\b")
_NUMBER = re.compile(r"(?:b|band)0*(\d{1,2}a?)")
# Words in the names of bands that show no ground: classes, quality, angles, air, heat, indices.
_NO_GROUND = re.compile(
    r"(?:^|_)(?:scl|qa\w*|\w*mask\d?|udm\d?|clouds?|shadows?|snow|prob\w*|cld\w*|conf\w*|"
    r"quality|flags?|bits?|class\w*|labels?|angles?|\w*zenith|\w*azimuth|view|sun|aot|aod|wvp|ozone|water|cirrus|"
    r"thermal|tirs?\d?|lwir\d?|mwir|temp\w*|lst|st|bt|emiss\w*|radsat|nd\w\w|savi|evi\d?|dem|elev\w*|"
    r"height|slope|aspect|count|std\w*|var\w*|min|max|ratio|date|doy|time|pan|panchromatic|alpha|"
    r"b10|b0?9|b11st)(?:_|$)"
)
_SHORTEST, _LONGEST = 400, 2500  # nm; the range of sunlight that the ground reflects
NEAR_INFRARED = (760.0, 900.0)  # nm, as of NDVI
_SAME = 30.0  # nm between the same bands of two sensors
_CIRRUS = (1330, 1450)  # nm; water vapour hides the ground


@dataclass(frozen=True)
class OtherBand:
    """A band that shows the ground, beside red, green and blue.

    index: index among the bands, from 0.
    wavelength: central wavelength, nm.
    """

    index: int
    wavelength: float


def find_other_bands(scene: Any, given: tuple[float, ...] | None = None) -> tuple[OtherBand, ...]:
    """Return the bands whose wavelength is known and whose DN have the scale and offset of red.

    A mask, a classification or an angle that is stored as a band has no wavelength.

    Args:
        scene: a :class:`geodecloud.raster.scene.Scene`.
        given: wavelengths in nm of all bands beside red, green, blue and alpha, in their order; 0
            for a band that shows no ground. None: as the file states them.

    Raises:
        UsageError: the number of wavelengths is not that of the bands, or one shows no ground.
    """
    dataset = scene.dataset
    others = [band for band in dataset.indexes if band not in scene.bands and band != scene.alpha]
    if given is not None:
        if len(given) != len(others):
            raise UsageError(
                f"`wavelengths` are {len(given)}: give {len(others)}, one for each band beside "
                f"red, green and blue ({', '.join(map(str, others)) or 'none'})"
            )
        for nm in given:
            if nm and not shows_ground(nm):
                raise UsageError(
                    f"`wavelengths` has {nm:g}: give nm of {_SHORTEST} to {_LONGEST} where "
                    "the ground is seen, or 0"
                )
        pairs = zip(others, given, strict=True)
        return tuple(OtherBand(band - 1, nm) for band, nm in pairs if nm)
    names = BandNames(band_names(dataset), dataset.colorinterp, str(scene.path), dataset.tags())
    numbers = numbers_of(names)
    found = []
    for band in others:
        wavelength = stated_wavelength(dataset, band)
        wavelength = wavelength or wavelength_of(names.names[band - 1] or "", numbers)
        if scene.bands_from == PLANETSCOPE_ORDER:
            wavelength = _PLANETSCOPE[dataset.count][band - 1]
        if wavelength and shows_ground(wavelength) and _has_scale_of_red(scene, band):
            found.append(OtherBand(band - 1, wavelength))
    return tuple(found)


def kept_unknown(scene: Any, found: Iterable[OtherBand]) -> list[str]:
    """Return the bands, in words, that may show the ground and keep their cloud.

    Args:
        found: the bands that are restored.
    """
    dataset, known = scene.dataset, {one.index + 1 for one in found}
    kept, names = [], band_names(scene.dataset)
    for band in dataset.indexes:
        name = names[band - 1] or ""
        if band in (*scene.bands, scene.alpha, *known):
            continue
        if _NO_GROUND.search("_".join(words_of(name))):
            continue
        if (nm := stated_wavelength(dataset, band)) and not shows_ground(nm):
            continue
        kept.append(f"{band} ({name})" if name else str(band))
    return kept


def same_band(bands: Iterable[OtherBand], wavelength: float) -> OtherBand | None:
    """Return the band that corresponds to a wavelength of another sensor, in nm; None: no band."""
    near = min(bands, key=lambda one: abs(one.wavelength - wavelength), default=None)
    return near if near and abs(near.wavelength - wavelength) <= _SAME else None


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
        return float(_NAMED["nir"])
    found = set()
    joined = "_".join(words)
    for known in _NAMES:  # the longest name first: "red edge 1" is no "red"
        spelling = r"_?".join(known)
        if match := re.search(rf"(?:^|_){spelling}(?:_|$)", joined):
            found.add(float(_NAMED[known]))
            parts = (joined[: match.start()], joined[match.end() :])
            words = [word for part in parts for word in part.split("_") if word]
            break
    for word in list(words):
        if match := _NUMBER.fullmatch(word):
            words.remove(word)
            if not found and numbers and match[1] in numbers:
                found.add(numbers[match[1]])
    if len(found) != 1 or not all(is_same_band(word) or is_composite(word) for word in words):
        return None
    return found.pop()


def numbers_of(names: BandNames) -> Mapping[str, float] | None:
    """Return the wavelengths in nm of names like B8, by number and by the sensor."""
    by_colour = {(3, 2, 1): _TM, (1, 4, 3): _MODIS}.get(names.numbers)
    if by_colour:
        return by_colour
    stated = names.stated
    words = [words_of(name or "") for name in names.names]
    numbers = {match[1] for one in words for word in one if (match := _NUMBER.fullmatch(word))}
    padded = any(re.search(r"(?i)(?<![A-Z0-9])B0\d", name or "") for name in names.names)
    # Landsat's band 8 is panchromatic, of another resolution, and seldom beside these bands.
    eighth = {"2", "3", "4", "8"} <= numbers and not {"5", "6", "7", "9", "10"} & numbers
    surface = any("sr" in one for one in words)  # SR_B5 is Landsat's
    landsat = surface or bool(_LANDSAT_WORDS.search(stated))
    sentinel = bool({"8a", "12"} & numbers) or bool(_SENTINEL_WORDS.search(stated))
    sentinel |= padded or eighth
    if landsat:
        return _OLI
    return _SENTINEL_2 if sentinel else {"1": 443}


def _has_scale_of_red(scene: Any, band: int) -> bool:
    """Return whether a band has the scale and offset of red."""
    dataset, red = scene.dataset, scene.bands[0] - 1
    scales, offsets = dataset.scales, dataset.offsets
    return bool(scales[band - 1] == scales[red] and offsets[band - 1] == offsets[red])
