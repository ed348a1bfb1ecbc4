"""Recognise the sensor of a raster by its names and tags, to understand band names like B4."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from rasterio.enums import ColorInterp

from geodecloud.raster.products import plain_tags

_DATE = re.compile(r"(?<!\d)(\d{4})[-_](\d\d)[-_](\d\d)(?!\d)")
NUMBER = re.compile(r"(?:b|band)0*(\d{1,2}a?)")
# Tags that name a satellite or a product.
_PRODUCT_TAGS = (
    *("SPACECRAFT_ID", "SATELLITE", "PLATFORM", "SPACECRAFT", "SENSOR_ID", "SPACECRAFT_NAME"),
    *("DATATAKE_1_SPACECRAFT_NAME", "CONSTELLATION", "LANDSAT_PRODUCT_ID", "PRODUCT_ID"),
    *("PRODUCT_URI", "PRODUCT_TYPE", "SYSTEM:INDEX", "ID", "COLLECTION"),
)


class Sensor(Enum):
    """Sensors that number their bands differently."""

    SENTINEL_2 = auto()
    OLI = auto()  # Landsat 8 and 9, HLS L30
    TM = auto()  # Landsat 4 to 7
    MODIS = auto()


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Z0-9])(?:{pattern})(?![A-Z0-9])", re.IGNORECASE)


# Names of sensors, satellites and products. The first that is found counts.
_STATED = {
    Sensor.TM: _words(r"L[TEM]0?[4-7]|LS?[457]|LANDSAT[-_ ]?[4-7]|ETM\+?|TM"),
    Sensor.OLI: _words(r"L[CO]0?[89]|LS?[89]|LANDSAT[-_ ]?[89]|OLI|L30"),
    Sensor.SENTINEL_2: _words(
        r"S2[ABCD]?|SENTINEL[-_ ]?2[ABCD]?|SEN2|(?:S2)?MSIL?[12]?[AC]?|S30|T\d\d[C-X][A-Z]{2}"
    ),
}
_SURFACE = {"sr", "sre", "toa", "tre"}  # words beside a number of Landsat's
_THERMAL = {"st", "bt", "lwir", "tirs", "thermal"}  # words beside a thermal band's number


@dataclass(frozen=True)
class BandNames:
    """The band names that a raster states, and context to interpret them.

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
    def words(self) -> list[list[str]]:
        """The words of each name."""
        return [words_of(name or "") for name in self.names]

    @property
    def numbers(self) -> set[str]:
        """The numbers in names of reflective bands like B4."""
        reflective = (some for some in self.words if not _THERMAL & set(some))
        found = (NUMBER.fullmatch(word) for some in reflective for word in some)
        return {match[1] for match in found if match}

    @property
    def sensor(self) -> Sensor | None:
        """The sensor; None: not known."""
        if any(some[:2] == ["sur", "refl"] for some in self.words):
            return Sensor.MODIS
        return self._stated() or self._by_numbers()

    @property
    def is_ambiguous(self) -> bool:
        """True if B4 may be red of a new satellite, or near infrared of Landsat 4 to 7."""
        numbers = self.numbers
        first = set("1234") <= numbers <= set("12345")
        open_ended = first or numbers == set("1234567")
        return open_ended and not self._is_padded and self.sensor is None

    @property
    def _is_padded(self) -> bool:
        """True if bands are numbered like B04, as by Sentinel-2 and HLS."""
        return any(re.search(r"(?i)(?<![A-Z0-9])B0\d", name or "") for name in self.names)

    def _stated(self) -> Sensor | None:
        tags = plain_tags(self.tags or {})
        names = (name or "" for name in self.names)
        file = "/".join(re.split(r"[/\\]", self.file)[-2:])  # other folders may mean anything
        text = " ".join((file, *names, *(tags.get(key, "") for key in _PRODUCT_TAGS)))
        if any("vcid" in some for some in self.words):  # of Landsat 7's two thermal bands
            return Sensor.TM
        return next((one for one, pattern in _STATED.items() if pattern.search(text)), None)

    def _by_numbers(self) -> Sensor | None:
        numbers = self.numbers
        if {"5", "6", "7", "10", "11"} <= numbers and not {"8a", "12"} & numbers:
            return Sensor.OLI
        # HLS has the bands of Landsat 8 as B01 to B07.
        of_hls = {"5", "6", "7"} <= numbers and not {"8", "8a", "12"} & numbers
        # Landsat's band 8 is panchromatic, of another resolution, and seldom beside these bands.
        eighth = {"2", "3", "4", "8"} <= numbers and not {"5", "6", "7", "9", "10"} & numbers
        if {"8a", "12"} & numbers or (self._is_padded and not of_hls) or eighth:
            return Sensor.SENTINEL_2
        landsat = any(_SURFACE & set(some) for some in self.words)
        reflective = numbers == {"1", "2", "3", "4", "5", "7"}
        if reflective or (landsat and (numbers == {"1", "2", "3"} or _lacks_six(numbers))):
            return Sensor.TM
        # Red, green and blue of Landsat 4 to 7 include band 1.
        return Sensor.OLI if landsat and not {"1"} <= numbers <= set("12345") else None


def _lacks_six(numbers: set[str]) -> bool:
    return "7" in numbers and not {"6", "8", "9"} & numbers


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case; "band 4" and a date are one word each."""
    joined = _DATE.sub(r"\1\2\3", name.strip().lower())
    joined = re.sub(r"\bband[ _-]*(?=\d)", "band", joined)
    joined = re.sub(r"\b(sentinel|landsat)[ _-]*\d[a-d]?\b", r"\1", joined)
    return re.findall(r"\d+\.\d+(?:[a-zµ]+)?|[a-z0-9µ]+", joined)
