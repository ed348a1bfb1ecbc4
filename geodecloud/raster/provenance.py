"""Define the provenance codes: whether an output pixel was measured, restored or invented."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.array import read_array
from geodecloud.raster.categories import create_codes
from geodecloud.raster.descriptions import PROVENANCE
from geodecloud.raster.scene import Scene
from geodecloud.raster.style import Colour, pseudocolour
from geodecloud.raster.writer import RowWriter
from geodecloud.settings import Output

MOST_REFERENCES = 100
RESTORED = range(1, 101)  # codes: how far a pixel was restored, in percent
REFERENCES = range(110, 110 + MOST_REFERENCES)  # codes: from the first reference, the second ...


class Provenance(IntEnum):
    """Codes of a provenance raster; those between MEASURED and FILLED are ``RESTORED``.

    Assign codes to arrays, but do not compute with them: NumPy takes a code for an int64. Test for
    groups of codes with :func:`among`; the order of codes means nothing.
    """

    MEASURED = 0
    FILLED = 101  # with the colour of the land around
    BEYOND_LIMIT = 102  # opaque cloud, kept: too far from visible ground to be filled
    SHADOW = 103  # relit in the shadow of a cloud
    CLOUD_KEPT = 104  # opaque cloud, kept as it was measured
    CLOUD_REMOVED = 105  # opaque cloud, made nodata; there were data
    REFERENCE = REFERENCES.start  # from the first reference, of another date
    NODATA = 255  # in the input already

    @staticmethod
    def is_real(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Return where pixels are measured ground: see :func:`is_real`."""
        return is_real(codes)


# Groups of codes.
COMPUTED = (*RESTORED, Provenance.SHADOW)  # from the ground that was visible
VISIBLE = (Provenance.MEASURED, *COMPUTED)  # ground of the scene's own date
REAL = (Provenance.MEASURED, *REFERENCES)


def among(codes: NDArray[np.uint8], group: Iterable[int]) -> NDArray[np.bool_]:
    """Return where codes belong to a group: bool, the shape of ``codes``."""
    table = np.zeros(256, bool)
    table[list(group)] = True
    return table[np.asarray(codes)]


def is_real(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where pixels are measured ground, of the scene or of a reference.

    Pixels that the network or the fill computed are not real, and neither are pixels that show no
    ground: kept cloud and nodata.

    Args:
        codes: provenance, of any shape and dtype; NaN is not real, nor is any other number.
    """
    return np.isin(codes, REAL)


# Code -> meaning and colour, for the colour table, the categories, the style and the docs.
MEANINGS: dict[int, tuple[str, Colour]] = {
    Provenance.MEASURED.value: ("measured, unchanged", (0, 0, 0, 0)),
    **{
        percent: (f"restored: {percent} %", (255, 235 - 2 * percent, 60 - percent // 2, 255))
        for percent in RESTORED  # from yellow to red
    },
    Provenance.FILLED.value: ("filled: invented", (200, 0, 200, 255)),
    Provenance.BEYOND_LIMIT.value: ("too far from visible ground to be filled", (90, 0, 110, 255)),
    Provenance.SHADOW.value: ("relit in a cloud's shadow", (0, 200, 120, 255)),
    Provenance.CLOUD_KEPT.value: ("cloud, kept", (220, 220, 220, 255)),
    Provenance.CLOUD_REMOVED.value: ("cloud, made nodata", (40, 60, 60, 255)),
    **{
        code: (f"from reference {i + 1}, of another date", (0, 90 + i, 255, 255))
        for i, code in enumerate(REFERENCES)
    },
    Provenance.NODATA.value: ("nodata in the input", (90, 90, 90, 255)),
}
PALETTE = {code: colour for code, (_, colour) in MEANINGS.items()}
TEXT = (
    f"{PROVENANCE} 0 measured, 1-100 percent restored, 101 filled from the land around, "
    "102 cloud kept, beyond the fill limit, 103 relit in a cloud's shadow, 104 cloud kept, "
    "105 cloud made nodata, 110 and up from a reference, 255 nodata"
)
# Codes of the QGIS style; QGIS interpolates the colours between them.
_STYLED = (0, 1, 50, 100, 101, 102, 103, 104, 105, REFERENCES[0], REFERENCES[-1])


def legend() -> dict[str, str]:
    """Return the meaning of each code or range of codes, for people."""
    ranges = {
        RESTORED[0]: (f"{RESTORED[0]}-{RESTORED[-1]}", "percent restored, under thin cloud"),
        REFERENCES[0]: (f"{REFERENCES[0]}-{REFERENCES[-1]}", "from a reference, of another date"),
    }
    texts = {code: ranges.get(code, (str(code), MEANINGS[code][0])) for code in sorted(MEANINGS)}
    inside = {*RESTORED[1:], *REFERENCES[1:]}
    return dict(text for code, text in texts.items() if code not in inside)


def provenance_style() -> str:
    """Return the QGIS style of a provenance raster, as the text of a .qml file."""
    items = ((code, *MEANINGS[code]) for code in _STYLED)
    return pseudocolour(items, PALETTE[Provenance.NODATA])


def create_provenance(
    scene: Scene, path: Path, output: Output
) -> AbstractContextManager[RowWriter]:
    """Open a new provenance raster, see :func:`~geodecloud.raster.categories.create_codes`."""
    return create_codes(scene, path, output, TEXT, MEANINGS)


def read_provenance(path: Path) -> NDArray[np.uint8]:
    """Return a whole provenance raster: uint8 (rows, columns)."""
    provenance: NDArray[np.uint8] = read_array(path)[0]
    return provenance


def provenance_picture(provenance: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return provenance (rows, columns) in its colours: R, G, B, uint8 (rows, columns, 3)."""
    table = np.zeros((256, 3), np.uint8)
    for code, colour in PALETTE.items():
        table[code] = colour[:3]
    return table[provenance]
