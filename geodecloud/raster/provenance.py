"""Say of every output pixel whether it was measured, restored or invented: the codes, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.array import read_array
from geodecloud.raster.profile import band_profile
from geodecloud.raster.scene import Scene
from geodecloud.raster.writer import RowWriter, create_band
from geodecloud.settings import Output

MOST_REFERENCES = 100
RESTORED = range(1, 101)  # codes: the percentage to which a pixel was restored


class Provenance(IntEnum):
    """Codes of a provenance raster; those between MEASURED and FILLED are ``RESTORED``.

    Assign a code to an array, do not compute with one: NumPy takes it for an int64.
    """

    MEASURED = 0
    FILLED = 101  # with the colour of the land around
    BEYOND_LIMIT = 102  # opaque, and too far from visible ground to be filled
    REFERENCE = 110  # from the first reference, of another date; the next codes from the next ones
    NODATA = 255


# Red, green, blue, alpha; restored pixels from yellow to red.
COLOURS: dict[int, tuple[int, int, int, int]] = {
    Provenance.MEASURED.value: (0, 0, 0, 0),
    **{percent: (255, 235 - 2 * percent, 60 - percent // 2, 255) for percent in RESTORED},
    Provenance.FILLED.value: (200, 0, 200, 255),
    Provenance.BEYOND_LIMIT.value: (90, 0, 110, 255),
    **{Provenance.REFERENCE + i: (0, 90 + i, 255, 255) for i in range(MOST_REFERENCES)},
    Provenance.NODATA.value: (90, 90, 90, 255),
}
TEXT = (
    "provenance: 0 measured, 1-100 percent restored, 101 filled from the land around, "
    "102 beyond the limit for that, 110 and up from a reference, 255 nodata"
)


@contextmanager
def create_provenance(scene: Scene, path: Path, output: Output) -> Iterator[RowWriter]:
    """Open a new provenance raster on the scene's grid to write rows to: uint8, a colour table.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    profile = band_profile(scene, "uint8", Provenance.NODATA.value)
    with create_band(scene, path, profile, output.format) as (out, writer):
        out.write_colormap(1, COLOURS)
        out.set_band_description(1, TEXT)
        yield writer


def read_provenance(path: Path) -> NDArray[np.uint8]:
    """Return the whole of a provenance raster, uint8 (rows, columns)."""
    provenance: NDArray[np.uint8] = read_array(path)[0]
    return provenance


def provenance_picture(provenance: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return provenance (rows, columns) as R, G, B (rows, columns, 3), by its colour table."""
    table = np.zeros((256, 3), np.uint8)
    for code, colour in COLOURS.items():
        table[code] = colour[:3]
    return table[provenance]
