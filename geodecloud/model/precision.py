"""Measure the difference between the network in bf16 and in fp32, on synthetic patches."""

from dataclasses import dataclass

import numpy as np

from geodecloud.radiometry import Radiometry
from geodecloud.restore.filters import Floats, upsample

MAX_MEAN, MAX_P999 = 1.0, 8.0  # DN
_LAND = (0.28, 0.33, 0.38)  # model range: R, G, B of land in top-of-atmosphere scenes
_OCTAVES = (2, 4, 8, 16, 32)  # cells of the noise along a patch


@dataclass(frozen=True)
class Difference:
    """The absolute difference of two outputs of the network, in DN of Sentinel-2."""

    mean: float
    p999: float  # 99.9th percentile

    @property
    def small(self) -> bool:
        """True if the difference is within ``MAX_MEAN`` and ``MAX_P999``."""
        return self.mean <= MAX_MEAN and self.p999 <= MAX_P999

    def __str__(self) -> str:
        return f"{self.mean:.1f} DN on average, {self.p999:.0f} at the 99.9th percentile"


def difference(one: Floats, other: Floats) -> Difference:
    """Compare red, green and blue of two outputs, (N, 3 or 4, S, S) in model range."""
    absolute = np.abs(one[:, :3] - other[:, :3]) * Radiometry().span
    return Difference(float(absolute.mean()), float(np.percentile(absolute, 99.9)))


def probe_patches(count: int, size: int) -> Floats:
    """Make synthetic patches, the same every time: float32 (count, 3, size, size), model range.

    Each patch shows land of fractal noise, in its own colour, under cloud of fractal noise. The
    cloud covers almost nothing of the first patch and almost all of the last.
    """
    rng = np.random.default_rng(0)
    land = np.array(_LAND, np.float32)[:, None, None]
    patches = np.empty((count, 3, size, size), np.float32)
    for patch, cover in zip(patches, np.linspace(0, 1, count), strict=True):
        tint = rng.uniform(0.7, 1.3, (3, 1, 1)).astype(np.float32)
        ground = land * tint * (1 + 0.3 * _noise(rng, size))
        opacity = np.clip(_noise(rng, size) / 2 + 1.8 * np.float32(cover) - 0.9, 0, 1)
        patch[:] = np.clip(ground + opacity * (1 - ground), 0, 1)
    return patches


def _noise(rng: np.random.Generator, size: int) -> Floats:
    """Return fractal noise of mean 0 and standard deviation 1, (size, size)."""
    total = np.zeros((size, size), np.float32)
    for cells in _OCTAVES:
        values = rng.standard_normal((1, cells, cells)).astype(np.float32)
        total += upsample(values, -(-size // cells), (0, size), size)[0] / cells**0.7
    noise: Floats = (total - total.mean()) / total.std()
    return noise
