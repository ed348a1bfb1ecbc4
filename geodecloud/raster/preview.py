"""Save PNG pictures: a preview, before | after | provenance, and grids of pictures to compare."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import OutputError
from geodecloud.radiometry import Radiometry
from geodecloud.raster.provenance import PALETTE, Provenance, provenance_picture

_LONGEST = 1024  # pixels of a panel's longer side
_GAP = 4  # white pixels between panels


class Preview:
    """A PNG of every n-th pixel, collected while a scene is written.

    It is saved when the ``with`` block ends well.
    """

    def __init__(self, path: Path, height: int, width: int, radiometry: Radiometry) -> None:
        self._path = path
        self._step = -(-max(height, width) // _LONGEST)
        self._radiometry = radiometry
        rows, columns = (-(-length // self._step) for length in (height, width))
        self._canvas = np.full((rows, 3 * columns + 2 * _GAP, 3), 255, np.uint8)

    def add(
        self,
        first: int,
        before: NDArray[Any],
        after: NDArray[Any],
        provenance: NDArray[np.uint8],
    ) -> None:
        """Add rows from ``first`` on, in any order.

        Args:
            before, after: R, G, B as DN, (3, rows, width).
            provenance: uint8 (rows, width).
        """
        pick = (slice(-first % self._step, None, self._step), slice(None, None, self._step))
        codes = provenance[pick]
        both = (dn[(slice(None), *pick)] for dn in (before, after))
        pictures = [picture_of(dn, codes, self._radiometry) for dn in both]
        gap = np.full((len(codes), _GAP, 3), 255, np.uint8)
        panels = [pictures[0], gap, pictures[1], gap, provenance_picture(codes)]
        row = -(-first // self._step)
        self._canvas[row : row + len(codes)] = np.concatenate(panels, axis=1)

    def __enter__(self) -> "Preview":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        try:
            _save(self._canvas, self._path)
        except OSError as error:
            raise OutputError(
                f"{self._path.parent}: cannot write preview ({error.strerror})"
            ) from error


def picture_of(
    dn: NDArray[Any], provenance: NDArray[np.uint8], radiometry: Radiometry
) -> NDArray[np.uint8]:
    """Return DN as 8-bit R, G, B (rows, width, 3), model range 0..1 as 0..255, nodata in grey.

    Args:
        dn: R, G, B, (3, rows, width).
        provenance: uint8 (rows, width).
    """
    model = np.nan_to_num(radiometry.to_model(dn))
    picture: NDArray[np.uint8] = np.rint(model * 255).astype(np.uint8).transpose(1, 2, 0)
    picture[provenance == Provenance.NODATA] = PALETTE[Provenance.NODATA][:3]
    return picture


def save_grid(path: Path, rows: list[list[NDArray[np.float32]]]) -> None:
    """Save a PNG of pictures beside and below each other, model range 0..1 as 0..255.

    Args:
        rows: rows of pictures in model range, float32 (3, height, width), all of the same size.

    Raises:
        OutputError: the PNG cannot be written.
    """
    lines = [np.concatenate([_with_gap(picture) for picture in row], axis=1) for row in rows]
    try:
        _save(np.concatenate(lines)[:-_GAP, :-_GAP], path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def _with_gap(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture as R, G, B (height, width, 3), with white to the right and below."""
    pixels = np.rint(np.nan_to_num(picture) * 255).astype(np.uint8).transpose(1, 2, 0)
    return np.pad(pixels, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    """Save (rows, columns, 3) as PNG."""
    from PIL import Image  # slow to import, and only pictures need it

    Image.fromarray(picture).save(path, format="PNG")
