"""Fit the depth of a scene's thin cloud in each band besides red, green and blue.

Angstrom's law, extrapolated from the colours, is a guess: the exponent of thin cloud varies with
wavelength, and cloud over haze has two. The scene holds better evidence. Ground does not depend on
the cloud above it, so over land of equal colours the restored band must not correlate with depth.
The ratio of depths without correlation is fitted over blocks of cells. Each block has its own
regression on restored red, green and blue. The fitted ratio and that of Angstrom's law are averaged
by inverse variance. The variance of the fit is a jackknife estimate over the blocks (Efron, "The
Jackknife, the Bootstrap and Other Resampling Plans", 1982).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.radiometry import MODEL_WHITE
from geodecloud.restore.filters import Floats
from geodecloud.restore.other_bands import COLOUR_WAVELENGTHS, OtherBands, cloud_depth, ground_under
from geodecloud.restore.patches import CHANGE, OPACITY, SHADOW

BLOCK = 8  # cells along a side: smaller than most clouds, so blocks at their edges hold clear land
MOST_CELLS = 1 << 18  # cells to sample
_LEAST_CELLS, _LEAST_BLOCKS = 30, 8  # fewest usable cells in a block, and blocks in a scene
_THIN, _SHADED = 0.45, 0.15  # opacity and shadow below which a cell is usable
_RATIOS = np.linspace(0, 4, 17, dtype=np.float32)  # ratios tried; linear interpolation between
_FARTHEST = 8.0  # bound of the ratio by linear extrapolation
_MOST = 1.3  # bound of the fitted ratio, relative to the law's ratio or 1, whichever is larger
# Standard deviation of the law's ratio: near red, and per e-fold of wavelength. Last, that of a
# fitted ratio, in addition to its variance over the blocks.
_LAW, _LAW_FAR, _FITTED = 0.1, 0.5, 0.4
_RIDGE = 1e-6  # of a block's variance, so that uniform colours can be solved


@dataclass(frozen=True)
class SampledCells:
    """The other bands' light in evenly spaced rows of blocks.

    light: float16 (count, rows, columns), model range; NaN where a band has no data.
    step: every ``step``-th row of blocks is sampled.
    """

    light: NDArray[np.float16]
    step: int

    @classmethod
    def empty(cls, count: int, height: int, width: int) -> "SampledCells":
        """Return the samples, all NaN, of a scene of (height, width) cells."""
        step = max(1, -(-height * width // MOST_CELLS))
        rows = -(-height // (BLOCK * step)) * BLOCK
        return cls(np.full((count, rows, width), np.nan, np.float16), step)

    def runs(self, first: int, last: int) -> list[tuple[slice, int]]:
        """Return the sampled rows among rows of cells, and the row of ``light`` for each first one.

        Args:
            first, last: the first row of cells, and the one after the last.
        """
        period, found = BLOCK * self.step, []
        for top in range(first - first % period, last, period):
            start, stop = max(top, first), min(top + BLOCK, last)
            if start < stop:
                found.append((slice(start, stop), start - top + top // self.step))
        return found

    def of(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Return the sampled rows of all cells, (..., rows, columns)."""
        parts = [cells[..., rows, :] for rows, _ in self.runs(0, cells.shape[-2])]
        return np.concatenate(parts, axis=-2)


def fit_ratios(
    others: OtherBands, sampled: SampledCells, light: NDArray[Any], answer: NDArray[Any]
) -> tuple[float, ...]:
    """Return the depth of thin cloud in each other band over its depth in red.

    Args:
        others: the other bands, with the exponent of the scene's thin cloud.
        light: (3, rows, columns) of all cells, model range.
        answer: (5, rows, columns): change of R, G, B; opacity; shadow.
    """
    law = others.law
    seen, found = (sampled.of(part).astype(np.float32) for part in (light, answer))
    restored = np.clip(seen, 0, 1) + found[CHANGE]
    white = np.float32(MODEL_WHITE)
    depth = cloud_depth(white * seen, white * restored, others.exponent)
    usable = (found[OPACITY] < _THIN) & (found[SHADOW] < _SHADED) & (seen < 1).all(axis=0)
    usable &= (seen > 0).all(axis=0)
    shape = depth.shape
    ratios = []
    for ratio, band, wavelength in zip(
        law, sampled.light, (one.wavelength for one in others.bands), strict=True
    ):
        shown = white * band[: shape[0]].astype(np.float32)
        used = usable & np.isfinite(shown)
        sums = _covariances(*map(_blocks, (restored, depth, np.nan_to_num(shown), used)))
        ratios.append(_combine(ratio, wavelength, sums))
    return tuple(ratios)


def _blocks(cells: NDArray[Any]) -> NDArray[Any]:
    """Reshape (..., rows, columns) to (blocks, ..., cells of a block), without partial blocks."""
    rows, columns = (length // BLOCK for length in cells.shape[-2:])
    cut = cells[..., : rows * BLOCK, : columns * BLOCK]
    cut = cut.reshape(*cells.shape[:-2], rows, BLOCK, columns, BLOCK)
    cut = np.moveaxis(cut, (-4, -2), (0, 1))
    return cut.reshape(rows * columns, *cells.shape[:-2], BLOCK * BLOCK)


def _covariances(
    restored: Floats, depth: Floats, shown: Floats, used: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the covariance of ground and depth in each block, for each ratio: (blocks, ratios).

    It is the partial covariance, given red, green and blue, times the number of cells.

    Args:
        restored: (blocks, 3, cells), model range.
        depth, shown: (blocks, cells), in red; reflectance of the other band.
        used: bool (blocks, cells).
    """
    enough = used.sum(axis=1) >= _LEAST_CELLS
    restored, depth, shown, used = restored[enough], depth[enough], shown[enough], used[enough]
    weight = used.astype(np.float64)
    count = weight.sum(axis=1)
    land = restored - (np.einsum("bkc,bc->bk", restored, weight) / count[:, None])[..., None]
    left = depth - (np.einsum("bc,bc->b", depth, weight) / count)[:, None]
    square = np.einsum("bic,bjc,bc->bij", land, land, weight)
    trace = np.einsum("bii->b", square)
    square += (_RIDGE * trace + 1e-12)[:, None, None] * np.eye(3)
    slopes = np.linalg.solve(square, np.einsum("bkc,bc,bc->bk", land, left, weight)[..., None])
    left = (left - np.einsum("bkc,bk->bc", land, slopes[..., 0])) * weight
    grounds = (ground_under(shown, ratio * depth) for ratio in _RATIOS)
    return np.stack([np.einsum("bc,bc->b", ground, left) for ground in grounds], axis=1)


def _combine(law: float, wavelength: float, sums: NDArray[np.float64]) -> float:
    """Return a band's ratio, the law's averaged with the one fitted to sums (blocks, ratios)."""
    count, total = len(sums), sums.sum(axis=0)
    if count < _LEAST_BLOCKS or total[0] <= total[-1]:  # too little cloud for a fit
        return law
    fitted, without = _root(total[None])[0], _root(total - sums)
    variance = (count - 1) / count * np.square(without - without.mean()).sum()
    fitted = np.clip(fitted, 0, _MOST * max(law, 1))
    far = abs(np.log(wavelength / COLOUR_WAVELENGTHS[0]))
    of_law, of_fit = 1 / (_LAW + _LAW_FAR * far) ** 2, 1 / (_FITTED**2 + variance)
    return float((of_law * law + of_fit * fitted) / (of_law + of_fit))


def _root(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first ratio at which each row of sums, (rows, ratios), falls to 0: (rows,).

    Beyond the ratios tried it is extrapolated linearly, so that the variance over the blocks is not
    cut off.
    """
    last, row = len(_RATIOS) - 1, np.arange(len(sums))
    ended = sums <= 0
    after = np.where(ended.any(axis=1), ended.argmax(axis=1), last)
    after = np.maximum(after, 1)
    high, low = sums[row, after - 1], sums[row, after]
    part = high / np.maximum(high - low, 1e-300)
    found: NDArray[np.float64] = _RATIOS[after - 1] + (_RATIOS[after] - _RATIOS[after - 1]) * part
    return np.clip(found, -_FARTHEST, _FARTHEST)
