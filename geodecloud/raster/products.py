"""Recognise products by their providers' file names: radiometry, level and date.

A product's name is a statement of its provider. A name that merely resembles a sensor's serves for
messages only.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime

from geodecloud.radiometry import BASELINE_4_OFFSET, PICTURE_SCALE, SCALE, Level

# Landsat Collection 2 level 2: reflectance = 0.0000275 DN - 0.2 (USGS, Landsat 8-9 Collection 2
# Level 2 Science Product Guide). Level 1 of Landsat 8 and 9: 0.00002 DN - 0.1, as their MTL says.
LANDSAT_2_SCALE, LANDSAT_2_OFFSET = 1 / 0.0000275, -0.2 / 0.0000275
LANDSAT_1_SCALE, LANDSAT_1_OFFSET = 1 / 0.00002, -0.1 / 0.00002
PERCENT_SCALE = 100
# Sentinel-2's baseline 04.00, the first with an offset, came into use on this day (ESA).
FIRST_OFFSET = date(2022, 1, 25)


@dataclass(frozen=True)
class Product:
    """A kind of product of more than 8 bits: reflectance = (DN + offset) / scale.

    pattern: matches the names of its files.
    level: L1C: top of atmosphere, L2A: surface reflectance.
    """

    name: str
    pattern: re.Pattern[str]
    level: Level
    scale: float = SCALE
    offset: float = 0.0


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})", re.IGNORECASE)


_SCENE = r"\d{6}_\d{8}_\d{8}"  # of Landsat: path and row, day of acquisition, day of processing
HLS = Product("HLS", _named(r"HLS\.[SL]30\.T\d\d[A-Z]{3}\.\d{7}"), "L2A")
LANDSAT_2 = Product(
    "Landsat Collection 2 level 2",
    _named(rf"L[COTEM]0\d_L2S[PR]_{_SCENE}_02_"),
    "L2A",
    LANDSAT_2_SCALE,
    LANDSAT_2_OFFSET,
)
# The first match counts: names of products made from Landsat 8's level 1 begin with its id, too.
PRODUCTS = (
    HLS,
    Product("Landsat Collection 1 level 2", re.compile(r"_01_(?:T1|T2|RT)_sr_band\d", re.I), "L2A"),
    Product(
        "Landsat Collection 1, top of atmosphere",
        re.compile(r"_01_(?:T1|T2|RT)_toa_band\d", re.I),
        "L1C",
    ),
    LANDSAT_2,
    Product(
        "Landsat 8 or 9 level 1",
        _named(rf"L[CO]0[89]_L1(?:TP|GT|GS)_{_SCENE}_0[12]_"),
        "L1C",
        LANDSAT_1_SCALE,
        LANDSAT_1_OFFSET,
    ),
    Product(
        "PlanetScope surface reflectance",
        re.compile(r"AnalyticMS(?:_8b)?_SR|ortho_analytic_[48]b_sr", re.I),
        "L2A",
    ),
    Product("Digital Earth, nbart", _named(r"ga_(?:ls\d\w|s2\w+?)_(?:nbart?|ard)_"), "L2A"),
)
_HLS_TAGS = {"HLS_PROCESSING_TIME", "ACCODE"}
_LANDSAT_2_BAND = re.compile(r"SR_B\d\Z")  # as USGS and Google Earth Engine name bands

_SENTINEL_2 = re.compile(
    r"(?<![A-Za-z0-9])(?:S2[A-D]?|SENTINEL[-_ ]?2[A-D]?)(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])T\d\d[C-X][A-Z]{2}_20\d{6}T\d{6}"  # a tile's image
    r"|20\d{6}T\d{6}_20\d{6}T\d{6}_T\d\d[C-X][A-Z]{2}",  # in Google Earth Engine
    re.IGNORECASE,
)
# A day, and perhaps the time after it; PlanetScope's names begin with both.
_TIME = re.compile(
    r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)"
    r"(?:(?:T|(?<=^\d{8})_)([01]\d|2[0-3])([0-5]\d)([0-5]\d))?(?!\d)"
)
# The day of a year, and perhaps the time: of HLS and MODIS.
_DAY_OF_YEAR = re.compile(r"(?<!\d)(20\d{5})T(\d{6})(?!\d)|(?<=[.A])(20\d{5})\.")
_HARMONIZED = re.compile(r"harmoni[sz]ed", re.IGNORECASE)
# Names that merely resemble a sensor's, for remedies in messages.
_LANDSAT = re.compile(r"(?<![A-Za-z0-9])L[COTEM]?0?[4-9](?!\d)|landsat", re.IGNORECASE)
_PLANETSCOPE = re.compile(r"_3B_AnalyticMS|ortho_analytic_[48]b", re.IGNORECASE)
_REFLECTANCE = re.compile(r"(?<![A-Z0-9])(?:SR|TOAR?|refl\w*)(?![A-Z0-9])", re.IGNORECASE)
_PLANET = re.compile(r"AnalyticMS|planet|psscene|(?<![A-Za-z0-9])PS[BS2]", re.IGNORECASE)


def find_product(
    names: Sequence[str], tags: Sequence[str] = (), bands: Sequence[str | None] = ()
) -> Product | None:
    """Return the product that a file belongs to; None: not known.

    Args:
        names: names of the file and of the files it is made of.
        tags: keys of the file's tags, in upper case.
        bands: descriptions of red, green and blue.
    """
    if not _HLS_TAGS.isdisjoint(tags):
        return HLS
    for product in PRODUCTS:
        if any(map(product.pattern.search, names)):
            return product
    return LANDSAT_2 if bands and all(_LANDSAT_2_BAND.match(one or "") for one in bands) else None


def is_planetscope(text: str) -> bool:
    """Return whether a name is that of a PlanetScope product for analysis."""
    return _PLANETSCOPE.search(text) is not None


def is_radiance(text: str) -> bool:
    """Return whether a name is that of a PlanetScope product of radiance, not of reflectance."""
    return is_planetscope(text) and not _REFLECTANCE.search(text)


def plain_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags with their keys in upper case, without a prefix."""
    return {key.rpartition(":")[2].upper(): value for key, value in tags.items()}


def is_harmonized(text: str) -> bool:
    """Return whether a name or tag says that the provider has applied Sentinel-2's offset."""
    return _HARMONIZED.search(text) is not None


def find_sentinel_date(names: Sequence[str]) -> date | None:
    """Return the day when Sentinel-2 took a scene, by file paths; None: not known."""
    for name in names:
        for part in reversed(re.split(r"[/\\]", name)):  # a file's own name before its folders'
            if _SENTINEL_2.search(part) and (day := find_date(part)):
                return day
    return None


def is_sentinel_2(text: str) -> bool:
    """Return whether a name or tag names Sentinel-2."""
    return _SENTINEL_2.search(text) is not None


def find_date(text: str) -> date | None:
    """Return the first day in a text, see :func:`find_time`; None: no day."""
    time = find_time(text)
    return time and time.date()


def find_time(text: str) -> datetime | None:
    """Return the first time (UTC) in a text; of a day alone, its beginning; None: no day.

    Days are like 20221005, 2022-10-05, or HLS's 2022278; times like 20221005T115411.
    """
    for match in _TIME.finditer(text):
        stamp = "".join(part or "00" for part in match.groups())
        with suppress(ValueError):
            return datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    for dated, clock_of_day, alone in _DAY_OF_YEAR.findall(text):
        with suppress(ValueError):
            stamp = (dated or alone) + (clock_of_day or "000000")
            return datetime.strptime(stamp, "%Y%j%H%M%S").replace(tzinfo=UTC)
    return None


def suggest_radiometry(names: Sequence[str], highest: float) -> str:
    """Return the remedy, in words, for an unknown radiometry, by the sensor that names suggest.

    Args:
        highest: highest DN of the scene.
    """
    text = " ".join(names)
    landsat_2 = f"`scale` {LANDSAT_2_SCALE:.3f} and `offset` {LANDSAT_2_OFFSET:.4f}"
    landsat_1 = f"`scale` {LANDSAT_1_SCALE:.0f} and `offset` {LANDSAT_1_OFFSET:.0f}"
    sentinel = f"`offset` {BASELINE_4_OFFSET:.0f}, or 0 where the provider has applied it"
    if highest <= 255:
        return (
            f"its values are those of an 8-bit picture: give `scale` {PICTURE_SCALE:.0f}, or "
            f"percent: give `scale` {PERCENT_SCALE}"
        )
    if _LANDSAT.search(text):
        return (
            f"its name suggests Landsat: give {landsat_2} for Collection 2 level 2, {landsat_1} "
            "for level 1 of Landsat 8 and 9"
        )
    if _PLANET.search(text):
        return (
            "its name suggests PlanetScope: give `scale` 10000 for surface reflectance; radiance "
            "must be converted by the reflectance coefficients of its metadata"
        )
    if is_sentinel_2(text):
        return f"its name suggests Sentinel-2: give {sentinel}"
    return (
        f"give `scale` and `offset`: Sentinel-2 since 2022 has {sentinel}; Landsat Collection 2 "
        f"level 2 has {landsat_2}, level 1 of Landsat 8 and 9 {landsat_1}"
    )
