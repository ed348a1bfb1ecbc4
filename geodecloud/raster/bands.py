"""Find red, green and blue among the bands of a raster, counted from 1."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasterio.enums import ColorInterp

from geodecloud.errors import BandsWarning, UsageError, warn

Bands = tuple[int, int, int]
STACK_BANDS: Bands = (1, 2, 3)  # of files of one band each, as vrt.vrt_of stacks them
COLOURS = ("red", "green", "blue")
_INTERPRETATIONS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_MOST_UNNAMED = 4  # most unnamed bands whose first three are taken for red, green and blue

# Numbers of red, green and blue: of most sensors (Sentinel-2, Landsat 8 and 9, HLS), of Landsat 4
# to 7, and of MODIS, whose bands are named sur_refl_b01.
_OLI, _TM, _MODIS = (4, 3, 2), (3, 2, 1), (1, 4, 3)
_TM_NAME = re.compile(r"(?:^|[/\\])L[TE]0[4-7]_|LANDSAT[-_ ]?[4-7]\b", re.IGNORECASE)
_PLATFORM_TAGS = ("SPACECRAFT_ID", "SATELLITE", "PLATFORM", "SPACECRAFT", "SENSOR_ID")
# PlanetScope files of four and of eight bands, which do not always name their bands.
_PLANETSCOPE = re.compile(r"_3B_AnalyticMS|ortho_analytic_[48]b", re.IGNORECASE)
_PLANETSCOPE_BANDS: dict[int, Bands] = {4: (3, 2, 1), 8: (6, 4, 2)}

_NUMBER = re.compile(r"(?:b|band)0?(\d{1,2})")
# Words beside a band's name that do not change which band it is: level, resolution, wavelength,
# sensor, tile and date. Any other word means another quantity: "green_i", "red edge", "B4_count",
# "Red_stdDev".
_SAME_BAND = re.compile(
    r"sr|toa|boa|toc|boc|nbart?|sur|refl|surface|reflectance|rho|rhot|rhos|dn|radiance|band|"
    r"central|wavelength|nm|um|µm|lambda|sentinel|landsat|hls|hls[ls]30|planetscope|msi|oli|etm|tm|"
    r"s2[abc]?|s30|l30|l[ceto]?0?[4-9]|l[12][acg]|l[12]sp|l1tp|l1gt|c2|0[12]|t[12]|rt|\d{7}t\d+|"
    r"\d+m|\d{3,4}(?:\.\d+)?(?:nm)?|0?\.\d+(?:um|µm)?|t?\d\d[a-z]{3}|\d{6,8}(?:t\d{6})?"
)
_OTHER_BANDS = ("coastal", "edge", "rededge", "yellow", "nir", "swir", "thermal", "near")
COMPOSITE = 2  # looseness of a composite's name, see colour_of
# Words for composites of many dates: the same quantity, used if there is no plain band.
_COMPOSITE = re.compile(r"median|mean|medoid|mosaic|composite|first|p50|geomedian|nbart?gm|gm")


@dataclass(frozen=True)
class BandNames:
    """The band names that a raster states, and what helps to understand them.

    names: one per band; None: no name.
    interpretations: GDAL's colour interpretation of each band.
    file: the raster's name.
    tags: the raster's tags, which may name the satellite.
    """

    names: Sequence[str | None]
    interpretations: Sequence[ColorInterp] = ()
    file: str = ""
    tags: Mapping[str, str] | None = None

    @property
    def numbers(self) -> Bands:
        """Band numbers of red, green and blue in names like B4, by the sensor."""
        found = [(self.tags or {}).get(key, "") for key in _PLATFORM_TAGS]
        if any(_TM_NAME.search(text) for text in (self.file, *found)):
            return _TM
        words = [words_of(name or "") for name in self.names]
        numbers = [int(m[1]) for one in words for word in one if (m := _NUMBER.fullmatch(word))]
        if any(one[:2] == ["sur", "refl"] for one in words):
            return _MODIS
        # Landsat 4 to 7 have reflective bands 1 to 5 and 7; a cut of red, green and blue has 3.
        landsat = any({"sr", "toa"} & set(one) for one in words)
        of_tm = 7 in numbers and not {6, 8, 9} & set(numbers)
        return _TM if landsat and (of_tm or set(numbers) == {1, 2, 3}) else _OLI


def find_bands(dataset: Any, name: str, wanted: Bands | None = None) -> tuple[Bands, str]:
    """Return the numbers of the red, green and blue bands, and how they were found, in words.

    Descriptions come before colour interpretations. If neither helps, the first three of at most
    four bands are taken, with a warning.

    Args:
        dataset: an open raster of three bands or more.
        name: the raster's name, for messages.
        wanted: the bands that the user gives.

    Raises:
        UsageError: the raster does not have the bands ``wanted``, or does not say which bands are
            red, green and blue.
    """
    if wanted is not None:
        exist = all(1 <= band <= dataset.count for band in wanted)
        if not exist or not len(wanted) == len(set(wanted)) == 3:
            text = ",".join(map(str, wanted))
            raise UsageError(
                f"`bands` are {text}: give three different ones of 1 to {dataset.count}"
            )
        return wanted, "as given"
    stated = BandNames(dataset.descriptions, dataset.colorinterp, name, dataset.tags())
    by_name = _by_name(stated)
    if bands := _distinct(by_name):
        return bands, "by description"
    by_colour = [
        stated.interpretations.index(colour) + 1 if colour in stated.interpretations else None
        for colour in _INTERPRETATIONS
    ]
    if bands := _distinct(by_colour):
        _refuse_contradiction(stated, by_name, bands)
        return bands, "by colour interpretation"
    colours = [colour for colour in stated.interpretations if colour != ColorInterp.alpha]
    if _PLANETSCOPE.search(name) and len(colours) in _PLANETSCOPE_BANDS:
        return _PLANETSCOPE_BANDS[len(colours)], "by PlanetScope's order"
    if len(colours) > _MOST_UNNAMED or any(by_name):
        raise UsageError(
            f"{name}: does not say which of its {len(colours)} bands are red, green and blue; give "
            "`bands`"
        )
    warn(
        BandsWarning,
        f"{name}: does not name its bands; 1,2,3 are taken as red,green,blue; if that is wrong, "
        "give `bands`",
    )
    return (1, 2, 3), "assumed"


def colour_of(name: str, numbers: Bands = _OLI) -> tuple[int, int] | None:
    """Return the colour that a band's name means, and how loosely; None: none of the three.

    Args:
        numbers: band numbers of red, green and blue in names like B4.

    Returns:
        the colour, 0 red, 1 green, 2 blue; and the looseness, 0 for the name alone ("B04", "Red",
        "R"), 1 with further words for the same band ("SR_B4", "B04, central wavelength 665 nm"),
        2 for composites.
    """
    words = words_of(name)
    found = {index: colour for index, word in enumerate(words) if (colour := _core(word, numbers))}
    colours = set(found.values())
    if len(colours) != 1:
        return None
    colour = colours.pop()
    if len(words) == 1:
        return colour - 1, 0
    rest = [word for index, word in enumerate(words) if index not in found]
    single = any(len(words[index]) == 1 for index in found)  # R, G, B: a name, not a word
    composite = [word for word in rest if _COMPOSITE.fullmatch(word)]
    rest = [word for word in rest if word not in composite]
    if (single and rest) or not all(_SAME_BAND.fullmatch(word) for word in rest):
        return None
    return colour - 1, COMPOSITE if composite else 1


def colour_of_file(stem: str, numbers: Bands) -> tuple[int, int] | None:
    """Return :func:`colour_of` for a file name, which may begin with other words."""
    words = words_of(stem)
    for first in range(len(words)):
        if fit := colour_of("_".join(words[first:]), numbers):
            return fit
        if words[first] in _OTHER_BANDS:
            return None
    return None


def is_same_band(word: str) -> bool:
    """Return whether a word beside a band's name does not change which band it is."""
    return bool(_SAME_BAND.fullmatch(word))


def _core(word: str, numbers: Bands) -> int | None:
    """Return 1 for red, 2 for green, 3 for blue; None: the word names no colour."""
    for number, colour in enumerate(COLOURS, start=1):
        if word in (colour, colour[0]):
            return number
    match = _NUMBER.fullmatch(word)
    return numbers.index(int(match[1])) + 1 if match and int(match[1]) in numbers else None


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case; "band 4" is one word."""
    joined = re.sub(r"\bband[ _-]*(?=\d)", "band", name.strip().lower())
    return re.findall(r"\d+\.\d+(?:[a-zµ]+)?|[a-z0-9µ]+", joined)


def _by_name(stated: BandNames) -> list[int | None]:
    """Return the band number of each colour by the bands' names; None: no name fits.

    Raises:
        UsageError: the names of two bands fit a colour equally well.
    """
    names = stated.names
    if all(re.fullmatch(rf"(?i)band[ _]?0*{i}", name or "") for i, name in enumerate(names, 1)):
        return [None] * 3  # counted, not named
    fits: list[list[tuple[int, int]]] = [[], [], []]  # of each colour: looseness and band
    for band, name in enumerate(names, start=1):
        if fit := colour_of(name or "", stated.numbers):
            fits[fit[0]].append((fit[1], band))
    found: list[int | None] = []
    for colour, candidates in zip(COLOURS, fits, strict=True):
        candidates.sort()
        best = [band for looseness, band in candidates if looseness == candidates[0][0]]
        if len(best) > 1:
            alike = " and ".join(f"{band} ({names[band - 1]})" for band in best[:3])
            raise UsageError(f"{stated.file}: bands {alike} may be {colour}; give `bands`")
        found.append(best[0] if best else None)
    return found


def _distinct(bands: list[int | None]) -> Bands | None:
    """Return the bands if all three are found and differ, else None."""
    red, green, blue = bands
    if red and green and blue and len({red, green, blue}) == 3:
        return red, green, blue
    return None


def _refuse_contradiction(stated: BandNames, by_name: list[int | None], bands: Bands) -> None:
    """Refuse a false-colour picture, whose colour interpretations contradict its band names.

    Raises:
        UsageError: a band is named for another colour than it is shown in.
    """
    for colour, named, shown in zip(COLOURS, by_name, bands, strict=True):
        if named not in (None, shown):
            raise UsageError(
                f"{stated.file}: band {shown} is shown in {colour}, but band {named} is named "
                f"{stated.names[named - 1] if named else ''}; give `bands`"
            )
