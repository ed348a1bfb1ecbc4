"""Blend overlapping windows in a strip of rows that rolls down the scene.

Each patch is added with a separable weight that falls towards its border but never reaches zero.
The sum is divided once by the sum of the weights. Edges, last windows and scenes smaller than a
window need no special case.
"""

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.filters import runs
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import Ramp


def ramp_weights(grid: WindowGrid, ramp: Ramp = "cosine") -> NDArray[np.float32]:
    """Return the weight along one axis of a window: float32 (size,), symmetric, above 0, at most 1.

    The weight rises over the overlap and is 1 between. Weights of neighbours add up to 1.

    Args:
        ramp: "cosine", the raised cosine (Hann), or "linear".
    """
    rise = (np.arange(grid.overlap) + 0.5) / max(grid.overlap, 1)
    if ramp == "cosine":
        rise = np.sin(rise * np.pi / 2) ** 2
    weights = np.ones(grid.size)
    weights[: grid.overlap] = rise
    weights[grid.size - grid.overlap :] = rise[::-1]
    return weights.astype(np.float32)


class StripBlend:
    """Weighted sum of patches over a strip of rows that rolls down the scene.

    Args:
        channels: number of channels of a patch.
        height: rows that the strip holds at once.
        width: width of the scene in pixels.
    """

    def __init__(
        self, channels: int, height: int, width: int, grid: WindowGrid, ramp: Ramp = "cosine"
    ) -> None:
        weights = ramp_weights(grid, ramp)
        self._weight = weights[:, None] * weights[None, :]  # (size, size)
        self._sum = np.zeros((channels, height, width), np.float32)
        self._weights = np.zeros((height, width), np.float32)
        self._below = np.zeros(width, np.intp)  # the row after the last patch in each column

    def add(self, patch: NDArray[np.float32], row: int, column: int) -> None:
        """Add a patch, (channels, size, size), with its top left at this pixel of the strip.

        A patch is cut off where it extends beyond the strip, to the right or below.
        """
        rows = slice(row, min(row + patch.shape[1], self._sum.shape[1]))
        columns = slice(column, min(column + patch.shape[2], self._sum.shape[2]))
        height, width = rows.stop - rows.start, columns.stop - columns.start
        weight = self._weight[:height, :width]
        self._sum[:, rows, columns] += patch[:, :height, :width] * weight
        self._weights[rows, columns] += weight
        np.maximum(self._below[columns], rows.stop, out=self._below[columns])

    def take(self, rows: int) -> NDArray[np.float32]:
        """Return the blend of the top ``rows``, and roll the strip down by as many.

        Returns:
            float32 (channels, rows, width); 0 where no patch was added.
        """
        strip, weights, kept = self._sum, self._weights, len(self._weights) - rows
        # Fresh zeros cost no memory where no patch is added.
        self._sum, self._weights = np.zeros(strip.shape, np.float32), np.zeros_like(weights)
        for some in runs(self._below > 0):
            self._sum[:, :kept, some] = strip[:, rows:, some]
            self._weights[:kept, some] = weights[rows:, some]
            top = weights[:rows, some]
            top[top == 0] = 1  # where no patch was added, the sum is 0
            strip[:, :rows, some] /= top
        self._below = np.maximum(self._below - rows, 0)
        return strip[:, :rows]
