"""How far bf16 may be from fp32, and patches to find out on how far it is."""

from dataclasses import dataclass

import numpy as np

from geodecloud.radiometry import Radiometry
from geodecloud.restore.fill.ground import upsample
from geodecloud.restore.filters import Floats

_MEAN, _RARELY = 1.0, 8.0  # DN; of all values, and what one in a thousand may exceed
_LAND = (0.28, 0.33, 0.38)  # model range: R, G, B of land as top-of-atmosphere scenes have it
_OCTAVES = (2, 4, 8, 16, 32)  # cells of the noise along a patch


@dataclass(frozen=True)
class Difference:
    """Of two answers of the network, in DN of Sentinel-2."""

    mean: float
    p999: float  # 99.9th percentile

    @property
    def small(self) -> bool:
        """Whether it is of no account."""
        return self.mean <= _MEAN and self.p999 <= _RARELY

    def __str__(self) -> str:
        return f"{self.mean:.1f} DN on average, {self.p999:.0f} at the 99.9th percentile"


def difference(one: Floats, other: Floats) -> Difference:
    """Of answers (N, 3 or 4, S, S) in model range; what they say of opacity has no part in it."""
    apart = np.abs(one[:, :3] - other[:, :3]) * Radiometry().span
    return Difference(float(apart.mean()), float(np.percentile(apart, 99.9)))


def probe_patches(count: int, size: int) -> Floats:
    """Patches that are to the network what scenes are, (count, 3, size, size) in model range.

    Land of fractal noise, a colour of its own in each patch, under cloud of fractal noise that
    covers from next to nothing, in the first, to nearly all, in the last. The same every time.
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
    """Fractal noise about 0 with a deviation of 1, (size, size)."""
    total = np.zeros((size, size), np.float32)
    for cells in _OCTAVES:
        values = rng.standard_normal((1, cells, cells)).astype(np.float32)
        total += upsample(values, -(-size // cells), (0, size), size)[0] / cells**0.7
    noise: Floats = (total - total.mean()) / total.std()
    return noise
