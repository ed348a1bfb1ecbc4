"""Find the opaque pixels that lie too far from visible ground to be filled.

Distances are exact: from the centre of a pixel to that of the nearest visible one, anywhere in the
scene. The transform is separable. A first pass stores the first and last visible row of each
column, for each piece of rows. They give the distance along the columns; then each row is solved by
itself (Meijster et al.: "A general algorithm for computing distance transforms in linear time",
2000).
"""

import tempfile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

_FAR = np.iinfo(np.int32).max // 2  # rows, more than any scene has

Flags = NDArray[np.bool_]


class FillLimit:
    """The distance from visible ground beyond which nothing is filled.

    Args:
        metres: the limit.
        pixel_metres: height and width of a pixel.
        folder: folder of an unnamed temporary file, of 8 bytes per column of each piece.
    """

    def __init__(self, metres: float, pixel_metres: tuple[float, float], folder: Path) -> None:
        self._metres, (self._height, self._width) = metres, pixel_metres
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._pieces: dict[int, int] = {}  # first row -> number of the piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, first: int, visible: Flags) -> None:
        """Add the next piece of rows.

        Args:
            first: its first row.
            visible: bool (rows, width), where ground is visible.
        """
        count = len(visible)
        any_seen = visible.any(axis=0)
        top = np.where(any_seen, first + visible.argmax(axis=0), _FAR)
        bottom = np.where(any_seen, first + count - 1 - visible[::-1].argmax(axis=0), -_FAR)
        self._pieces[first] = len(self._pieces)
        self._file.write(np.stack([top, bottom]).astype(np.int32).tobytes())

    def finish(self, width: int) -> None:
        """Find the nearest visible rows above and below each piece, after all rows."""
        self._file.flush()
        shape = len(self._pieces), 2, width
        self._near = np.memmap(self._file, np.int32, "r+", shape=shape)
        above, below = np.full(width, -_FAR, np.int32), np.full(width, _FAR, np.int32)
        for piece in self._near:
            bottom = np.maximum(above, piece[1])
            piece[1], above = above, bottom
        for piece in self._near[::-1]:
            top = np.minimum(below, piece[0])
            piece[0], below = below, top

    def beyond(self, first: int, visible: Flags) -> Flags:
        """Return where visible ground is farther than the limit: bool (rows, width).

        Args:
            first, visible: the arguments with which the piece was added.
        """
        below, above = self._near[self._pieces[first]]
        (count, width), far = visible.shape, np.int32(_FAR)
        rows = np.arange(first, first + count, dtype=np.int32)[:, None]
        up = np.maximum.accumulate(np.where(visible, rows, -far), axis=0)
        down = np.minimum.accumulate(np.where(visible, rows, far)[::-1], axis=0)[::-1]
        gap = np.minimum(rows - np.maximum(up, above), np.minimum(down, below) - rows)
        left = self._metres**2 - (gap * np.float64(self._height)) ** 2
        reach = np.floor(np.sqrt(np.maximum(left, 0)) / self._width).astype(np.int64)
        row, column = np.nonzero(left >= 0)
        reach = np.minimum(reach[row, column], width)
        edges = np.zeros((count, width + 1), np.int32)
        np.add.at(edges, (row, np.maximum(column - reach, 0)), 1)
        np.add.at(edges, (row, np.minimum(column + reach + 1, width)), -1)
        out: Flags = edges.cumsum(axis=1)[:, :-1] == 0
        return out
