"""Find the pixels that lie farther than a limit from pixels of some kind, such as visible ground.

Distances are exact: from the centre of a pixel to that of the nearest one of that kind, anywhere in
the scene. The transform is separable. A first pass stores the first and last row of that kind in
each column, for each piece of rows. These give the distance along the columns. Then each row is
solved by itself (Meijster et al.: "A general algorithm for computing distance transforms in linear
time", 2000).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import OutputError

_FAR = np.iinfo(np.int32).max // 2  # rows, more than any scene has

Flags = NDArray[np.bool_]


class DistanceLimit:
    """The distance from pixels of some kind beyond which others do not count.

    Args:
        metres: the limit.
        pixel_metres: height and width of a pixel.
        folder: folder of an unnamed temporary file, of 8 bytes per column of each piece; None: the
            system's.
    """

    def __init__(
        self, metres: float, pixel_metres: tuple[float, float], folder: Path | None = None
    ) -> None:
        self._metres, (self._height, self._width) = metres, pixel_metres
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._pieces: dict[int, int] = {}  # first row -> number of the piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise OutputError(
                f"{where}: no room for distances ({error}); free space and run again, or leave "
                "`fill_limit` and `mask_buffer` out"
            ) from error

    def add(self, first: int, kind: Flags) -> None:
        """Add the next piece of rows.

        Args:
            first: its first row.
            kind: bool (rows, width), pixels of the kind.

        Raises:
            OutputError: the disk is too full for the temporary file.
        """
        count, anywhere = len(kind), kind.any(axis=0)
        top = np.where(anywhere, first + kind.argmax(axis=0), _FAR)
        bottom = np.where(anywhere, first + count - 1 - kind[::-1].argmax(axis=0), -_FAR)
        self._pieces[first], self._columns = len(self._pieces), kind.shape[1]
        with self._room():
            self._file.write(np.stack([top, bottom]).astype(np.int32).tobytes())

    def finish(self) -> None:
        """Find the nearest rows of the kind above and below each piece, after all rows."""
        with self._room():
            self._file.flush()
        width = self._columns
        shape = len(self._pieces), 2, width
        self._near = np.memmap(self._file, np.int32, "r+", shape=shape)
        above, below = np.full(width, -_FAR, np.int32), np.full(width, _FAR, np.int32)
        for piece in self._near:
            bottom = np.maximum(above, piece[1])
            piece[1], above = above, bottom
        for piece in self._near[::-1]:
            top = np.minimum(below, piece[0])
            piece[0], below = below, top

    def beyond(self, first: int, kind: Flags) -> Flags:
        """Return where pixels of the kind are farther than the limit: bool (rows, width).

        Args:
            first, kind: the arguments with which the piece was added.
        """
        below, above = self._near[self._pieces[first]]
        (count, width), far = kind.shape, np.int32(_FAR)
        rows = np.arange(first, first + count, dtype=np.int32)[:, None]
        up = np.maximum.accumulate(np.where(kind, rows, -far), axis=0)
        down = np.minimum.accumulate(np.where(kind, rows, far)[::-1], axis=0)[::-1]
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
