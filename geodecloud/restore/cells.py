"""Downsample a scene to cells, the means of their pixels, for the coarse pass."""

from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.depth_ratio import SampledCells
from geodecloud.restore.filters import Floats, cell_sums
from geodecloud.restore.memory import COARSE_ROWS
from geodecloud.restore.other_bands import NO_OTHERS, OtherBands
from geodecloud.restore.patches import Network, RowSource

CELL = 4  # pixels of 10 m along a side of a cell
_METRES = 10.0 * CELL  # side of a cell on the ground, as in training
_LARGE_PIXEL = 15.0  # metres; 4 such pixels would average whole clouds away, so a cell has 2
_LARGEST = 16  # pixels along a side of a cell of small pixels; more would need much memory
_MOST_CELLS = 1 << 23  # of a scene of large pixels; more would need more memory than a tile's
_FEWEST = 32  # cells of 4 pixels; a narrower scene has no coarse pass, unless it is long
_MOST_FINE = 1 << 22  # pixels; a longer strip has a coarse pass, however narrow
_BRIGHT = 60_000.0  # model range: brighter than any ground, and within float16


def cell_of(shape: tuple[int, int], pixel_metres: tuple[float, float] | None = None) -> int:
    """Return the side of a scene's cells in pixels: 4 at 10 m; 1 for a small scene.

    A cell has some 40 m a side: 2 large pixels, or up to 16 small ones.

    Args:
        shape: height and width of the scene in pixels.
        pixel_metres: height and width of a pixel; None if not known.
    """
    pixels = shape[0] * shape[1]
    if min(shape) < _FEWEST * CELL and pixels <= _MOST_FINE:
        return 1
    if pixel_metres is None:
        return CELL
    if min(pixel_metres) >= _LARGE_PIXEL and pixels <= 4 * _MOST_CELLS:
        return CELL // 2
    wanted = min(round(_METRES / max(pixel_metres)), _LARGEST, min(shape) // _FEWEST)
    return max(wanted, CELL)


class PooledScene:
    """A scene downsampled to cells, the means of the valid ones of ``cell`` x ``cell`` pixels.

    It is a :class:`~geodecloud.restore.patches.RowSource` whose DN are light in model range.

    Args:
        kept: whether to queue the rows that are read in ``read_rows``.
        others: bands to sample, too.

    Attributes:
        read_rows: queue of the rows read, in order: DN of R, G, B and the other bands,
            (count, rows, width), and validity (rows, width).
        sampled: the other bands' light in some of the cells; None if there are no other bands.
    """

    def __init__(
        self,
        scene: RowSource,
        network: Network,
        cell: int,
        *,
        kept: bool = True,
        others: OtherBands = NO_OTHERS,
    ) -> None:
        self._bands = [*scene.rgb, *others.indices]
        self._scene, self._network, self._cell, self._kept = scene, network, cell, kept
        self.shape = -(-scene.shape[0] // cell), -(-scene.shape[1] // cell)
        self._others = others
        self.sampled = SampledCells.empty(len(others.bands), *self.shape) if others else None
        self.rgb = [0, 1, 2]
        self.read_rows: SimpleQueue[tuple[NDArray[Any], NDArray[np.bool_]]] = SimpleQueue()

    def read(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return rows of cells: light (3, rows, columns) and validity (rows, columns)."""
        step = max(1, COARSE_ROWS // self._cell)
        starts = range(first, last, step) or [first]
        light, valid = zip(*(self._read(row, min(row + step, last)) for row in starts), strict=True)
        return np.concatenate(light, axis=1), np.concatenate(valid)

    def _read(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        cell, height = self._cell, self._scene.shape[0]
        dn, valid = self._scene.read(first * cell, min(last * cell, height))
        rgb = dn[self._scene.rgb]
        if len(valid) and self._kept:
            shown = rgb if len(self._bands) == len(rgb) else dn[self._bands]
            self.read_rows.put((shown, valid))
        if self.sampled:
            self._sample(self.sampled, first, last, dn, valid)
        return pooled(self._network.light(rgb), valid, cell)

    def _sample(
        self,
        sampled: SampledCells,
        first: int,
        last: int,
        dn: NDArray[Any],
        valid: NDArray[np.bool_],
    ) -> None:
        """Store the other bands' light in those rows of cells that are sampled."""
        others, cell = self._others, self._cell
        for rows, start in sampled.runs(first, last):
            part = slice((rows.start - first) * cell, (rows.stop - first) * cell)
            cells, there = pooled(others.light(dn[others.indices, part]), valid[part], cell)
            kept = sampled.light[:, start : start + len(there)]
            kept[:] = np.where(there & (np.abs(cells) < _BRIGHT), cells, np.float32(np.nan))


def pooled(light: Floats, valid: NDArray[np.bool_], cell: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the mean of the valid pixels of each cell, and which cells have a valid pixel.

    Args:
        light: float32 (bands, rows, width).
        valid: bool (rows, width).

    Returns:
        float32 (bands, rows / cell, width / cell), rounded up, and bool of the same cells.
    """
    if cell == 1:
        return light, valid
    below = -len(valid) % cell
    if valid.all() and not (below or valid.shape[1] % cell):
        sums = cell_sums(light, cell)
        sums /= np.float32(cell**2)
        return sums, np.ones(sums.shape[1:], np.bool_)
    counted, shown = valid.astype(np.float32)[None], np.where(valid, light, np.float32(0))
    if below:
        counted, shown = (np.pad(rows, ((0, 0), (0, below), (0, 0))) for rows in (counted, shown))
    counted, sums = cell_sums(counted, cell), cell_sums(shown, cell)
    np.divide(sums, counted, out=sums, where=counted > 0)
    return sums, counted[0] > 0
