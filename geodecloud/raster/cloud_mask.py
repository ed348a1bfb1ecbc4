"""Write a cloud mask: one class for each pixel, in the codes of CloudSEN12 and OmniCloudMask."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.array import read_array
from geodecloud.raster.categories import write_categories
from geodecloud.raster.profile import band_profile
from geodecloud.raster.scene import Scene
from geodecloud.raster.style import Colour, paletted
from geodecloud.raster.writer import RowWriter, create_band
from geodecloud.settings import Output


class CloudClass(IntEnum):
    """Classes of a cloud mask."""

    CLEAR = 0
    THICK = 1  # the ground cannot be seen
    THIN = 2
    SHADOW = 3
    NODATA = 255


# Class -> its meaning, its name in a STAC item, its colour.
MEANINGS: dict[CloudClass, tuple[str, str, Colour]] = {
    CloudClass.CLEAR: ("clear", "clear", (0, 0, 0, 0)),
    CloudClass.THICK: ("thick cloud", "thick_cloud", (255, 255, 255, 255)),
    CloudClass.THIN: ("thin cloud", "thin_cloud", (120, 200, 255, 255)),
    CloudClass.SHADOW: ("cloud shadow", "cloud_shadow", (70, 50, 130, 255)),
    CloudClass.NODATA: ("nodata", "nodata", (90, 90, 90, 255)),
}
TEXT = "cloud mask: 0 clear, 1 thick cloud, 2 thin cloud, 3 cloud shadow, 255 nodata"
_NAMES = {code.value: text for code, (text, _, _) in MEANINGS.items()}
_COLOURS = {code.value: colour for code, (_, _, colour) in MEANINGS.items()}


def style() -> str:
    """Return the style of a cloud mask for QGIS, as the text of a .qml file; clear has none."""
    shown = [code for code in MEANINGS if code != CloudClass.NODATA]
    return paletted((code.value, _NAMES[code], _COLOURS[code]) for code in shown)


def stac_classes() -> list[dict[str, object]]:
    """Return the classes as ``classification:classes`` of a STAC item has them."""
    classes: list[dict[str, object]] = []
    for code, (text, name, (red, green, blue, alpha)) in MEANINGS.items():
        one: dict[str, object] = {"value": code.value, "name": name, "description": text}
        if alpha:
            one["color_hint"] = f"{red:02X}{green:02X}{blue:02X}"
        if code == CloudClass.NODATA:
            one["nodata"] = True
        classes.append(one)
    return classes


@contextmanager
def create_cloud_mask(scene: Scene, path: Path, output: Output) -> Iterator[RowWriter]:
    """Open a new cloud mask on the scene's grid to write rows to: uint8, a colour table.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    profile = band_profile(scene, "uint8", CloudClass.NODATA.value)
    with create_band(scene, path, profile, output.format) as (out, writer):
        out.write_colormap(1, _COLOURS)
        out.set_band_description(1, TEXT)
        yield writer
    write_categories(path, _NAMES)


def read_cloud_mask(path: Path) -> NDArray[np.uint8]:
    """Return the whole of a cloud mask, uint8 (rows, columns)."""
    classes: NDArray[np.uint8] = read_array(path)[0]
    return classes
