"""Gather the colour of the visible land by cells, to fill opaque pixels from.

A window wholly under opaque cloud holds no information about the ground; the scene does. During the
coarse pass :class:`Ground` gathers the visible land's colour in cells of some pixels. Then
:mod:`geodecloud.restore.fill.pyramid` spreads it to the hidden cells.
"""

import numpy as np

from geodecloud.restore.fill.pyramid import halved, normalise, pull_push
from geodecloud.restore.filters import Floats, cell_sums, smoothstep, upsample

_DIM, _DARK = 0.15, 0.4  # darkness relative to the land around: possibly, and surely, shadow
_LEAST = 1e-3  # weight of the best cells below which no land counts as seen
_SHADOW = 0.001  # weight of a cell surely in shadow, which counts only if no other is in reach
_AROUND = 5  # doublings of the cell: the land around is some 256 pixels wide
_CELL = 8  # pixels
_AT_ONCE = 1 << 16  # pixels summed at once: a few rows of cells
_MOST_CELLS = 1 << 21  # a Sentinel-2 tile has fewer of 8 pixels; larger scenes get larger cells

# Red, green and blue of average land, L1C in model range: median of the means of 1,500 EuroSAT
# tiles. It fills a scene of which no land is visible.
LAND = (0.310, 0.357, 0.390)


def cell_size(height: int, width: int) -> int:
    """Return the side of a scene's cells in pixels: 8, or more for a very large scene."""
    cell = _CELL
    while -(-height // cell) * -(-width // cell) > _MOST_CELLS:
        cell *= 2
    return cell


class Ground:
    """The colour of the visible land by cells, gathered from the top of a scene to its bottom.

    Attributes:
        cell: height and width of a cell in pixels.
        sums: float32 (bands + 1, rows, columns) of cells: sums of colour times weight, and of
            weight.
    """

    def __init__(self, height: int, width: int, bands: int = 3) -> None:
        self.cell = cell_size(height, width)
        shape = (bands + 1, -(-height // self.cell), -(-width // self.cell))
        self.sums = np.zeros(shape, np.float32)
        self._width = width
        self._held = np.zeros((bands + 1, 0, width), np.float32)
        self._row = 0  # the next row of cells

    def add(self, colour: Floats, weight: Floats) -> None:
        """Add the next rows.

        Args:
            colour: (bands, rows, width); ignored where its weight is 0, NaN included.
            weight: (rows, width).
        """
        count = max(1, _AT_ONCE // (self.cell * self._width)) * self.cell
        for start in range(0, weight.shape[0], count):  # few rows at once, to save memory
            some = slice(start, start + count)
            rows = weighted(colour[:, some], weight[some])
            if self._held.shape[1]:
                rows = np.concatenate([self._held, rows], axis=1)
            whole = rows.shape[1] // self.cell * self.cell
            if whole:
                self._store(rows[:, :whole])
            self._held = rows[:, whole:].copy()

    def finish(self) -> None:
        """Store the rows of an incomplete last cell, after all rows."""
        missing = -self._held.shape[1] % self.cell
        if missing:
            self._store(np.pad(self._held, ((0, 0), (0, missing), (0, 0))))
            self._held = self._held[:, :0]

    def _store(self, rows: Floats) -> None:
        """Sum and store whole rows of cells."""
        cells = cell_sums(rows, self.cell)
        self.sums[:, self._row : self._row + cells.shape[1]] = cells
        self._row += cells.shape[1]


def weighted(colour: Floats, weight: Floats) -> Floats:
    """Return colour times weight, then the weight: float32 (bands + 1, rows, width).

    Args:
        colour: (bands, rows, width); ignored where its weight is 0, NaN included.
        weight: (rows, width).
    """
    out = np.empty((len(colour) + 1, *weight.shape), np.float32)
    np.multiply(colour, weight, out=out[:-1])
    hidden = ~(weight > 0)
    if hidden.any():
        np.copyto(out[:-1], np.float32(0), where=hidden)
    out[-1] = weight
    return out


def fill_colours(ground: Ground, shadow: Floats, prior: Floats) -> Floats:
    """Return the colour to fill each cell with: float32 (bands, rows, columns), model range.

    Args:
        ground: after :meth:`Ground.finish`.
        shadow: float32 (rows, columns), see :func:`shadow_weight`; cells in shadow count only if no
            others are in reach.
        prior: float32 (bands,), the colour for a scene of which no land is visible.
    """
    sums = normalise(ground.sums, _full_weight(ground))
    sums *= np.maximum(shadow, np.float32(_SHADOW))
    return pull_push(sums, prior)


def _full_weight(ground: Ground) -> float:
    """Return the weight from which a cell counts fully.

    In a scene that is hazy everywhere, the best hundredth of the cells counts fully. If fewer cells
    than that are visible, they are the rims of clouds, and their weights stay.
    """
    weights = ground.sums[-1].ravel()
    some = -(-weights.size // 100)
    best = float(np.partition(weights, -some)[-some])
    return min(best, ground.cell**2) if best > _LEAST else ground.cell**2


def shadow_weight(ground: Ground) -> Floats:
    """Return the weight of each cell by its shade: float32 (rows, columns), 0..1.

    A cell far darker than the land around has 0: beside clouds that is usually their shadow. Where
    everything is dark, as at sea, the weight is 1.
    """
    around = ground.sums
    for _ in range(_AROUND):
        around = halved(around)
    height, width = ground.sums.shape[1:]
    usual = upsample(_brightness(around)[None], 1 << _AROUND, (0, height), width)[0]
    darkness = 1 - _brightness(ground.sums) / np.maximum(usual, np.float32(1e-6))
    return 1 - smoothstep(darkness, _DIM, _DARK)


def _brightness(sums: Floats) -> Floats:
    """Return the mean over the bands, float32 (rows, columns); 0 in cells without weight."""
    total: Floats = sums[:-1].mean(axis=0)
    known = sums[-1] > 0
    brightness: Floats = np.divide(total, sums[-1], out=np.zeros_like(total), where=known)
    return brightness
