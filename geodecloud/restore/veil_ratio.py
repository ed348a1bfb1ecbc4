"""Fit the depth of a scene's veil in each band beside red, green and blue.

Angstrom's law, extended from the colours, is a guess: the exponent of a veil is not the same at all
wavelengths, and cloud over haze has two. The scene itself can tell. The ground under a veil does
not know of the veil, so in land of like colours the restored band must not vary with the veil's
depth. The ratio of depths for which it does not is fitted over blocks of cells: a block has an
intercept and slopes over restored red, green and blue of its own. The ratio counts by its variance
over the blocks (jackknife: Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982)
against that of Angstrom's law.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.radiometry import MODEL_WHITE
from geodecloud.restore.filters import Floats
from geodecloud.restore.other_bands import COLOURS, OtherBands, ground_under, veil_depth

BLOCK = 8  # cells along a side: smaller than most clouds, so land beside a cloud is in it
MOST_CELLS = 1 << 18  # that are looked at
_LEAST_CELLS, _LEAST_BLOCKS = 30, 8  # in a block; in a scene
_THIN, _SHADED = 0.45, 0.15  # opacity and shadow up to which the ground is seen in full light
_RATIOS = np.linspace(0, 4, 17, dtype=np.float32)  # that are tried; between, lines
_FARTHEST = 8.0  # ratio to which lines go on
_MOST = 1.3  # times the law's ratio, or 1: the most that is believed
# Standard deviation of the law's ratio: close to red, and for each e-fold of wavelength; and that
# of a fitted ratio, beside its variance over the blocks.
_LAW, _LAW_FAR, _FITTED = 0.1, 0.5, 0.4
_RIDGE = 1e-6  # of a block's variance, which keeps even colours solvable


@dataclass(frozen=True)
class SampledCells:
    """The other bands' light in rows of blocks that lie evenly over the scene.

    light: float16 (count, rows, columns), model range; NaN where a band has no data.
    step: one row of blocks in so many is sampled.
    """

    light: NDArray[np.float16]
    step: int

    @classmethod
    def empty(cls, count: int, height: int, width: int) -> "SampledCells":
        """Return cells without light for a scene of (height, width) cells."""
        step = max(1, -(-height * width // MOST_CELLS))
        rows = -(-height // (BLOCK * step)) * BLOCK
        return cls(np.full((count, rows, width), np.nan, np.float16), step)

    def runs(self, first: int, last: int) -> list[tuple[slice, int]]:
        """Return the rows of cells among these that are sampled, and where their light begins."""
        period, found = BLOCK * self.step, []
        for top in range(first - first % period, last, period):
            start, stop = max(top, first), min(top + BLOCK, last)
            if start < stop:
                found.append((slice(start, stop), start - top + top // self.step))
        return found

    def of(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Return the same rows of (..., rows, columns) of cells."""
        parts = [cells[..., rows, :] for rows, _ in self.runs(0, cells.shape[-2])]
        return np.concatenate(parts, axis=-2)


def fit_ratios(
    others: OtherBands, sampled: SampledCells, light: NDArray[Any], answer: NDArray[Any]
) -> tuple[float, ...]:
    """Return the depth of the veil in each other band over its depth in red.

    Args:
        others: with the exponent of the scene's veil.
        light: (3, rows, columns) of all cells, model range.
        answer: (5, rows, columns): change of R, G, B; opacity; shadow.
    """
    law = others.law
    seen, found = (sampled.of(part).astype(np.float32) for part in (light, answer))
    restored = np.clip(seen, 0, 1) + found[:3]
    white = np.float32(MODEL_WHITE)
    depth = veil_depth(white * seen, white * restored, others.exponent)
    usable = (found[3] < _THIN) & (found[4] < _SHADED) & (seen < 1).all(axis=0)
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
    """Return (..., rows, columns) as (blocks, ..., cells of a block); rests of blocks are left."""
    rows, columns = (length // BLOCK for length in cells.shape[-2:])
    cut = cells[..., : rows * BLOCK, : columns * BLOCK]
    cut = cut.reshape(*cells.shape[:-2], rows, BLOCK, columns, BLOCK)
    cut = np.moveaxis(cut, (-4, -2), (0, 1))
    return cut.reshape(rows * columns, *cells.shape[:-2], BLOCK * BLOCK)


def _covariances(
    restored: Floats, depth: Floats, shown: Floats, used: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return how each block's ground varies with the depth, for each ratio: (blocks, ratios).

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
    """Return the ratio of a band by the law and by the blocks' sums, (blocks, ratios)."""
    count, total = len(sums), sums.sum(axis=0)
    if count < _LEAST_BLOCKS or total[0] <= total[-1]:  # no veil that tells anything
        return law
    fitted, without = _root(total[None])[0], _root(total - sums)
    variance = (count - 1) / count * np.square(without - without.mean()).sum()
    fitted = np.clip(fitted, 0, _MOST * max(law, 1))
    far = abs(np.log(wavelength / COLOURS[0]))
    of_law, of_fit = 1 / (_LAW + _LAW_FAR * far) ** 2, 1 / (_FITTED**2 + variance)
    return float((of_law * law + of_fit * fitted) / (of_law + of_fit))


def _root(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first ratio at which each row of sums, (rows, ratios), falls to 0: (rows,).

    Beyond the ratios that are tried, lines go on: what varies with the blocks must not end there.
    """
    last, row = len(_RATIOS) - 1, np.arange(len(sums))
    ended = sums <= 0
    after = np.where(ended.any(axis=1), ended.argmax(axis=1), last)
    after = np.maximum(after, 1)
    high, low = sums[row, after - 1], sums[row, after]
    part = high / np.maximum(high - low, 1e-300)
    found: NDArray[np.float64] = _RATIOS[after - 1] + (_RATIOS[after] - _RATIOS[after - 1]) * part
    return np.clip(found, -_FARTHEST, _FARTHEST)
