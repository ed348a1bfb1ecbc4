"""Find red, green and blue among the bands of a raster, counted from 1."""

import re
from collections.abc import Sequence
from typing import Any

from rasterio.enums import ColorInterp

from geodecloud.errors import BandsWarning, UsageError, warn

Bands = tuple[int, int, int]
BY_FILE: Bands = (1, 2, 3)  # of a scene of a file for each band: see vrt.vrt_of

# Band descriptions that name a colour: "B04", "B4", "b4_10m", "Red", "R" - but not "red edge".
_DESCRIPTIONS = (r"(b0?4|red|r)", r"(b0?3|green|g)", r"(b0?2|blue|b)")
_INTERPRETATIONS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def find_bands(dataset: Any, name: str, wanted: Bands | None = None) -> tuple[Bands, str]:
    """Return the bands of red, green and blue, and in words how they were found.

    A band's description counts more than its colour interpretation. Warns where neither helps.

    Args:
        dataset: an open raster of three bands or more.
        name: of the raster, for messages.
        wanted: the bands that the user gives.

    Raises:
        UsageError: the raster does not have the bands ``wanted``.
    """
    if wanted is not None:
        exist = all(1 <= band <= dataset.count for band in wanted)
        if not exist or not len(wanted) == len(set(wanted)) == 3:
            text = ",".join(map(str, wanted))
            raise UsageError(
                f"`bands` are {text}: give three different ones of 1 to {dataset.count}"
            )
        return wanted, "as given"
    if bands := _distinct(_by_description(dataset.descriptions)):
        return bands, "by description"
    if bands := _distinct(_by_interpretation(dataset.colorinterp)):
        return bands, "by colour interpretation"
    warn(
        BandsWarning,
        f"{name}: does not name its bands; 1,2,3 are taken as red,green,blue; if that is wrong, "
        "give `bands`",
    )
    return (1, 2, 3), "assumed"


def _distinct(bands: list[int | None]) -> Bands | None:
    """Return the bands where all three are found and none is found twice."""
    red, green, blue = bands
    if red and green and blue and len({red, green, blue}) == 3:
        return red, green, blue
    return None


def _by_description(descriptions: Sequence[str | None]) -> list[int | None]:
    """Return for each colour the first band whose description begins with its name."""
    found = []
    for colour in _DESCRIPTIONS:
        pattern = re.compile(rf"{colour}(?![0-9a-z])(?!.*edge)", re.IGNORECASE)
        matches = [
            band
            for band, text in enumerate(descriptions, start=1)
            if text and pattern.match(text.strip())
        ]
        found.append(matches[0] if matches else None)
    return found


def _by_interpretation(colours: Sequence[ColorInterp]) -> list[int | None]:
    return [colours.index(c) + 1 if c in colours else None for c in _INTERPRETATIONS]
