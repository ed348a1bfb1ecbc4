"""Write a cloud mask: one class for each pixel, in the codes of CloudSEN12 and OmniCloudMask."""

from contextlib import AbstractContextManager
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.array import read_array
from geodecloud.raster.categories import create_codes
from geodecloud.raster.descriptions import CLOUD_MASK
from geodecloud.raster.scene import Scene
from geodecloud.raster.style import Colour, paletted
from geodecloud.raster.writer import RowWriter
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


def cloud_mask_style() -> str:
    """Return the QGIS style of a cloud mask, as the text of a .qml file; clear is transparent."""
    items = ((code.value, text, colour) for code, (text, _, colour) in MEANINGS.items())
    return paletted(item for item in items if item[0] != CloudClass.NODATA)


def stac_classes() -> list[dict[str, object]]:
    """Return the classes in the form of a STAC item's ``classification:classes``."""
    classes: list[dict[str, object]] = []
    for code, (text, name, (red, green, blue, alpha)) in MEANINGS.items():
        one: dict[str, object] = {"value": code.value, "name": name, "description": text}
        if alpha:
            one["color_hint"] = f"{red:02X}{green:02X}{blue:02X}"
        if code == CloudClass.NODATA:
            one["nodata"] = True
        classes.append(one)
    return classes


def create_cloud_mask(
    scene: Scene, path: Path, output: Output
) -> AbstractContextManager[RowWriter]:
    """Open a new cloud mask, see :func:`~geodecloud.raster.categories.create_codes`."""
    meanings = {code.value: (text, colour) for code, (text, _, colour) in MEANINGS.items()}
    return create_codes(scene, path, output, CLOUD_MASK, meanings)


def read_cloud_mask(path: Path) -> NDArray[np.uint8]:
    """Return a whole cloud mask: uint8 (rows, columns)."""
    classes: NDArray[np.uint8] = read_array(path)[0]
    return classes
