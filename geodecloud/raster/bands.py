"""Find red, green and blue among the bands of a raster, counted from 1."""

import re
from collections.abc import Sequence
from typing import Any

from rasterio.enums import ColorInterp

from geodecloud.errors import BandsWarning, UnknownBandsError, UsageError, warn
from geodecloud.raster.band_names import names_of, stated_wavelength
from geodecloud.raster.products import is_planetscope
from geodecloud.raster.sensors import NUMBER, BandNames, Sensor, words_of

Bands = tuple[int, int, int]
STACK_BANDS: Bands = (1, 2, 3)  # of files of one band each, as vrt.vrt_of stacks them
COLOURS = ("red", "green", "blue")
_INTERPRETATIONS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_NO_COLOUR = (ColorInterp.undefined, ColorInterp.gray)  # as GDAL has it where nothing is stated
_MOST_SHOWN = 8  # names in a message
_MOST_UNNAMED = 4  # most unnamed bands whose first three are taken for red, green and blue
_CENTRES = (665.0, 560.0, 490.0)  # nm, of red, green and blue
_NEAR = 35.0  # nm from the centre within which a wavelength is that colour's

# Numbers of red, green and blue of most sensors (Sentinel-2, Landsat 8 and 9, HLS), of Landsat 4 to
# 7, and of MODIS (sur_refl_b01).
_OLI: Bands = (4, 3, 2)
_NUMBERS: dict[Sensor | None, Bands] = {Sensor.TM: (3, 2, 1), Sensor.MODIS: (1, 4, 3)}
# PlanetScope files of four and of eight bands, which do not always name their bands.
_PLANETSCOPE_BANDS: dict[int, Bands] = {4: (3, 2, 1), 8: (6, 4, 2)}

PLANETSCOPE_ORDER, ASSUMED = "by PlanetScope's order", "assumed"

_COUNTED = re.compile(r"(.*?)[ _.-]*0*(\d+)")
_COUNT = re.compile(r"(?:b|band)?\d{1,2}")  # before a name: "Band 1 (Blue)", "0_B2"
# Words beside a band's name that do not change which band it is: level, resolution, wavelength,
# sensor, tile and date. Any other word means another quantity: "green_i", "red edge", "B4_count",
# "Red_stdDev".
_SAME_BAND = re.compile(
    r"sr|[sf]re|toa|boa|toc|boc|nbart?|sur|refl|surface|reflectance|rho|rhot|rhos|dn|radiance|band|"
    r"central|wavelength|nm|um|µm|lambda|sentinel|landsat|hls|hls[ls]30|planetscope|msi|oli|etm|tm|"
    r"s2[abc]?|s30|l30|l[ceto]?0?[4-9]|l[12][acg]|l[12]sp|l1tp|l1gt|c2|0[12]|t[12]|rt|\d{7}t\d+|"
    r"tiff?|jp2|vis|visible|visual|tci|channel|\d+m|"
    r"\d{3,4}(?:\.\d+)?(?:nm)?|0?\.\d+(?:um|µm)?|t?\d\d[a-z]{3}|\d{6,8}(?:t\d{6})?"
)
_OTHER_BANDS = ("coastal", "edge", "rededge", "yellow", "nir", "swir", "thermal", "near")
_PICTURE = {"vis", "visual", "tci"}  # words of a true colour picture, as in "TCI_R"
COMPOSITE = 2  # looseness of a composite's name, see colour_of
# Words for composites of many dates: the same quantity, used if there is no plain band.
_COMPOSITE = re.compile(r"median|mean|medoid|mosaic|composite|first|p50|geomedian|nbart?gm|gm")


def find_bands(dataset: Any, name: str, wanted: Bands | None = None) -> tuple[Bands, str]:
    """Return the numbers of the red, green and blue bands, and how they were found, in words.

    Stated wavelengths come first, then descriptions, colour interpretations, and PlanetScope's
    order. If none helps, the first three of at most four bands without names are taken, with a
    warning.

    Args:
        dataset: an open raster of three bands or more.
        name: the raster's name, for messages.
        wanted: the bands that the user gives.

    Raises:
        UsageError: the raster does not have the bands ``wanted``.
        UnknownBandsError: it does not say which bands are red, green and blue.
    """
    if wanted is not None:
        _refuse_missing(wanted, dataset.count)
        return wanted, "as given"
    if bands := _by_wavelength(dataset):
        return bands, "by wavelength"
    stated = names_of(dataset, name)
    by_name = _by_name(stated)
    named, ambiguous = _distinct(by_name), _is_ambiguous(stated)
    if named and not ambiguous:
        return named, "by description"
    if bands := _distinct(_by_colour(stated)):
        if not ambiguous:
            _refuse_contradiction(stated, by_name, bands)
        return bands, "by colour interpretation"
    colours = [colour for colour in stated.interpretations if colour != ColorInterp.alpha]
    if is_planetscope(name) and len(colours) in _PLANETSCOPE_BANDS:
        return _PLANETSCOPE_BANDS[len(colours)], PLANETSCOPE_ORDER
    if named:
        old = ",".join(map(str, _by_name(stated, _NUMBERS[Sensor.TM])))
        raise UnknownBandsError(
            f"{name}: its bands may be of Landsat 4 to 7 (red, green and blue are {old}) or of "
            f"newer satellites ({','.join(map(str, named))})"
        )
    if len(colours) > _MOST_UNNAMED or any(by_name) or _are_named(stated.names):
        unclear = f"{name}: does not say which of its {len(colours)} bands are red, green and blue"
        if any(stated.names):
            words = (one or "-" for one in stated.names[:_MOST_SHOWN])
            unclear += f"; they are named {', '.join(words)}"
        raise UnknownBandsError(unclear)
    _refuse_other_colours(stated)
    warn(
        BandsWarning,
        f"{name}: does not name its bands; 1,2,3 are taken as red,green,blue; if that is wrong, "
        "give `bands`",
    )
    return (1, 2, 3), ASSUMED


def colour_numbers(stated: BandNames) -> Bands:
    """Return the band numbers of red, green and blue in names like B4, by the sensor."""
    return _NUMBERS.get(stated.sensor, _OLI)


def colour_of(name: str, numbers: Bands = _OLI) -> tuple[int, int] | None:
    """Return the colour that a band's name means, and how loosely; None: none of the three.

    Args:
        numbers: band numbers of red, green and blue in names like B4.

    Returns:
        the colour: 0 red, 1 green, 2 blue. The looseness: 0 for the name alone ("B04", "Red", "R"),
        1 with further words for the same band ("SR_B4", "B04, central wavelength 665 nm"), 2 for
        composites.
    """
    words = words_of(name)
    named = [index for index, word in enumerate(words) if word in COLOURS]
    if len(named) == 1 and all(_COUNT.fullmatch(word) for word in words[: named[0]]):
        words = words[named[0] :]  # "Band 1 (Blue)": the bands are counted, and named
    words = without_count(words)
    meant = [_colour_of_word(word, numbers) for word in words]
    found = {index: colour for index, colour in enumerate(meant) if colour is not None}
    if len(set(found.values())) != 1:
        return None
    colour = next(iter(found.values()))
    if len(words) == 1:
        return colour, 0
    rest = [word for index, word in enumerate(words) if index not in found]
    single = any(len(words[index]) == 1 for index in found)  # R, G, B: a name, not a word
    plain = [word for word in rest if not is_composite(word)]
    if single and not _PICTURE.issuperset(plain):
        return None
    if not all(map(is_same_band, plain)):
        return None
    return colour, 1 if plain == rest else COMPOSITE


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


def _colour_of_word(word: str, numbers: Bands) -> int | None:
    """Return 0 for red, 1 for green, 2 for blue; None: the word names no colour."""
    for index, colour in enumerate(COLOURS):
        if word in (colour, colour[0]):
            return index
    match = NUMBER.fullmatch(word)
    if not match or not match[1].isdigit() or int(match[1]) not in numbers:
        return None
    return numbers.index(int(match[1]))


def without_count(words: list[str]) -> list[str]:
    """Return the words of a band's name without a count before it, as in "0_B2"."""
    counted = words[0].isdigit() and len(words[0]) <= 2 if words else False
    named = any(map(NUMBER.fullmatch, words[1:]))
    if counted or (named and words[0].startswith("band")):
        return words[1:] or words
    return words


def is_composite(word: str) -> bool:
    """Return whether a word beside a band's name says that it is composed of many dates."""
    return bool(_COMPOSITE.fullmatch(word))


def _by_wavelength(dataset: Any) -> Bands | None:
    """Return the bands nearest the wavelengths of red, green and blue; None: one is not there."""
    stated = {band: nm for band in dataset.indexes if (nm := stated_wavelength(dataset, band))}
    found: list[int | None] = []
    for centre in _CENTRES:
        far = {band: abs(nm - centre) for band, nm in stated.items()}
        band = min(far, key=far.__getitem__, default=None)
        found.append(band if band and far[band] <= _NEAR else None)
    return _distinct(found)


def _is_ambiguous(stated: BandNames) -> bool:
    """Return whether bands are known by numbers that mean other colours for Landsat 4 to 7."""
    coloured = any(set(COLOURS) & set(words) for words in stated.words)
    return stated.is_ambiguous and not coloured


def _are_named(names: Sequence[str | None]) -> bool:
    """Return whether all bands have names, which differ by more than a count."""
    return all(names) and len(set(names)) > 1 and _counted_word(names) is None


def _counted_word(names: Sequence[str | None]) -> str | None:
    """Return the word of names like "band 1", "band 2"; None: the names are no count."""
    matches = [_COUNTED.fullmatch(name or "") for name in names]
    found = [(match[1].lower(), int(match[2])) for match in matches if match]
    words, counts = {word for word, _ in found}, [count for _, count in found]
    is_count = counts in (list(range(len(names))), list(range(1, len(names) + 1)))
    return words.pop() if is_count and len(words) == 1 else None


def _by_name(stated: BandNames, numbers: Bands | None = None) -> list[int | None]:
    """Return the band number of each colour by the bands' names; None: no name fits.

    Args:
        numbers: of red, green and blue in names like B4; None: by the sensor.

    Raises:
        UnknownBandsError: the names of two bands fit a colour equally well.
    """
    names = stated.names
    if _counted_word(names) == "band":
        return [None] * 3  # counted, not named
    numbers = numbers or colour_numbers(stated)
    fits: list[list[tuple[int, int]]] = [[], [], []]  # of each colour: looseness and band
    for band, name in enumerate(names, start=1):
        if fit := colour_of(name or "", numbers):
            fits[fit[0]].append((fit[1], band))
    found: list[int | None] = []
    for colour, candidates in zip(COLOURS, fits, strict=True):
        candidates.sort()
        best = [band for looseness, band in candidates if looseness == candidates[0][0]]
        if len(best) > 1:
            alike = " and ".join(f"{band} ({names[band - 1]})" for band in best[:3])
            raise UnknownBandsError(f"{stated.file}: bands {alike} may be {colour}")
        found.append(best[0] if best else None)
    return found


def _by_colour(stated: BandNames) -> list[int | None]:
    """Return the band number of each colour by GDAL's interpretations; None: there is none."""
    there = stated.interpretations
    return [there.index(one) + 1 if one in there else None for one in _INTERPRETATIONS]


def _distinct(bands: list[int | None]) -> Bands | None:
    """Return the bands if all three are found and differ, else None."""
    red, green, blue = bands
    if red and green and blue and len({red, green, blue}) == 3:
        return red, green, blue
    return None


def _refuse_missing(wanted: Bands, count: int) -> None:
    exist = all(1 <= band <= count for band in wanted)
    if not exist or not len(wanted) == len(set(wanted)) == 3:
        text = ",".join(map(str, wanted))
        raise UsageError(f"`bands` are {text}: give three different ones of 1 to {count}")


def _refuse_other_colours(stated: BandNames) -> None:
    """Refuse first bands that are stated to be others than red, green and blue, in this order.

    Raises:
        UnknownBandsError: one of the first three bands is interpreted as another colour, or alpha.
    """
    shown = stated.interpretations
    for colour, wanted in zip(shown, _INTERPRETATIONS, strict=False):
        if colour not in (wanted, *_NO_COLOUR):
            names = ", ".join(one.name for one in shown[:_MOST_SHOWN])
            raise UnknownBandsError(f"{stated.file}: its bands are {names}, not red, green, blue")


def _refuse_contradiction(stated: BandNames, by_name: list[int | None], bands: Bands) -> None:
    """Refuse a false-colour picture, whose colour interpretations contradict its band names.

    Raises:
        UnknownBandsError: a band is named for another colour than it is shown in.
    """
    for colour, named, shown in zip(COLOURS, by_name, bands, strict=True):
        if named not in (None, shown):
            raise UnknownBandsError(
                f"{stated.file}: band {shown} is shown in {colour}, but band {named} is named "
                f"{stated.names[named - 1] if named else ''}"
            )
