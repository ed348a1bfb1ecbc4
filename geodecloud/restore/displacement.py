"""Find how far, and in which direction, the clouds of a scene cast their shadows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from geodecloud.restore.filters import Floats, box_mean

_VISIBLE = 0.2  # hidden fraction of the sun, below which the cell of a cloud is visible land
_AROUND = 40  # cells to each side: the land around, to which a cell's darkness is relative
_DARKER = (-0.3, 0.5)  # bounds of a cell's predicted shadow, less that of the land around
REACH = (5, 75)  # cells from a cloud to its shadow: 3 km, of clouds up to 2 km above the ground
_LEAST_CLOUD = 20.0  # fewest cells of cloud, and of visible land, for a displacement
_CERTAIN = 4.0  # robust standard deviations by which the best displacement must exceed the median
_LEAST_SCORE = 15.0  # least score, in standard errors, of the best displacement


@dataclass(frozen=True)
class Displacement:
    """The displacement of shadows from their clouds, in cells of the coarse answer.

    rows, columns: downwards, to the right.
    """

    rows: float
    columns: float

    def times(self, factor: float) -> tuple[float, float]:
        """Return rows and columns of the displacement, multiplied by a factor."""
        return self.rows * factor, self.columns * factor


def find_displacement(cloud: Floats, shadow: Floats, factor: int = 1) -> Displacement | None:
    """Return the displacement of shadows; None if none stands out.

    The score of a displacement is the mean predicted shadow under the displaced clouds, less that
    of all other land, in standard errors.

    Args:
        cloud: float32 (rows, columns), 0..1, hidden fraction of the sun under each cell of cloud.
        shadow: float32 (rows, columns), 0..1, predicted by the network.
        factor: side of these cells, in cells of the coarse answer.
    """
    darker, visible = darker_than_around(cloud, shadow, factor)
    if min(cloud.sum(), visible.sum()) < _LEAST_CLOUD / factor**2:
        return None
    nearest, reach = -(-REACH[0] // factor), min(REACH[1] // factor, min(cloud.shape) // 2)
    if reach < nearest:
        return None
    count, total = float(visible.sum()), float(darker.sum())
    variance = (darker**2).sum() / count - (total / count) ** 2
    deviation = float(np.sqrt(max(variance, 0)))  # rounding may make it negative on uniform land
    under = np.maximum(_correlate(cloud, visible, reach), 1e-3)
    sums = _correlate(cloud, darker, reach)
    apart = sums / under - (total - sums) / np.maximum(count - under, 1)
    weight = np.sqrt(under * np.maximum(count - under, 0) / count)
    # (2 reach + 1, 2 reach + 1); a cell stands for factor^2 cells of the coarse answer.
    score: Floats = (apart * weight * factor / max(deviation, 1e-3)).astype(np.float32)
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    far = np.hypot(down, right)
    wanted = (far >= nearest) & (far <= reach)
    row, column = np.unravel_index(np.argmax(np.where(wanted, score, -np.inf)), score.shape)
    middle = float(np.median(score[wanted]))
    robust = 1.4826 * float(np.median(np.abs(score[wanted] - middle)))
    best = float(score[row, column])
    if best - middle < _CERTAIN * max(robust, 1e-4) or best < _LEAST_SCORE:
        return None
    finer = [_peak(score[:, column], int(row)), _peak(score[row], int(column))]
    return Displacement((finer[0] - reach) * factor, (finer[1] - reach) * factor)


def displaced(cells: Floats, down: float, right: float, rows: tuple[int, int]) -> Floats:
    """Displace cells by fractions of a cell, bilinearly: float32 (rows, columns).

    Cells from outside of the scene are 0.

    Args:
        rows: the first row to return, and the one after the last.
    """
    for axis, by, (first, last) in ((0, down, rows), (1, right, (0, cells.shape[1]))):
        position = np.arange(first, last, dtype=np.float32) - np.float32(by)
        before = np.floor(position).astype(np.intp)
        after = position - before.astype(np.float32)
        first_part = _weighted(cells, axis, before, 1 - after)
        cells = first_part + _weighted(cells, axis, before + 1, after)
    return cells


def _weighted(cells: Floats, axis: int, index: NDArray[np.intp], weight: Floats) -> Floats:
    """Return cells along an axis times their weights; 0 for those outside."""
    inside = (index >= 0) & (index < cells.shape[axis])
    weights = np.where(inside, weight, np.float32(0))
    out: Floats = cells.take(index, axis, mode="clip")
    out *= weights[:, None] if axis == 0 else weights
    return out


def darker_than_around(cloud: Floats, shadow: Floats, factor: int) -> tuple[Floats, Floats]:
    """Return each cell's predicted shadow less that of the land around, and the visible land.

    Both are float32 (rows, columns); the first is 0 under cloud.
    """
    visible = (cloud < np.float32(_VISIBLE)).astype(np.float32)
    wide = max(_AROUND // factor, 1)
    around = box_mean(shadow * visible, wide) / np.maximum(box_mean(visible, wide), 1e-3)
    least, most = _DARKER
    darker: Floats = np.clip(shadow - around, least, most).astype(np.float32) * visible
    return darker, visible


def _peak(scores: Floats, best: int) -> float:
    """Refine the position of the best score by the parabola through its neighbours."""
    if not 0 < best < len(scores) - 1:
        return float(best)
    before, at, after = map(float, scores[best - 1 : best + 2])
    bend = before - 2 * at + after
    return best + (float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0)


def _correlate(cloud: Floats, other: Floats, reach: int) -> Floats:
    """Cross-correlate two arrays over displacements of -reach to reach cells."""
    shape = [fft.next_fast_len(length + reach, real=True) for length in cloud.shape]
    spectrum = np.conj(fft.rfft2(cloud, shape)) * fft.rfft2(other, shape)
    sums = fft.irfft2(spectrum, shape)
    around = np.arange(-reach, reach + 1)
    out: Floats = sums[np.ix_(around % shape[0], around % shape[1])].astype(np.float32)
    return out
