"""Hand out the random numbers of tiles by name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import pi

import numpy as np
import torch
from torch import Tensor

_BANDS = ("red", "green", "blue")
_BELOW_ONE = 1 - 2.0**-24  # the largest float32 below 1; rounding a float64 may give 1


def scoped(scope: str, *names: str) -> tuple[str, ...]:
    """Return the names of one scope, like ``"sand cell"``."""
    return tuple(f"{scope} {name}" for name in names)


def per_band(name: str) -> tuple[str, ...]:
    """Return the names of three numbers, one for each of red, green and blue."""
    return scoped(name, *_BANDS)


@dataclass(frozen=True)
class TileDraw:
    """Uniform random numbers of N tiles, each with a name.

    Args:
        names: name of each column of ``values``.
        values: float32 (N, len(names)), 0 to below 1.
    """

    names: tuple[str, ...]
    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def uniform(self, name: str) -> Tensor:
        """Return a number from 0 to below 1 for each tile: float32 (N, 1, 1, 1)."""
        return self.values[:, self.names.index(name), None, None, None]

    def per_band(self, name: str) -> Tensor:
        """Return three numbers for each tile, see :func:`per_band`: float32 (N, 3, 1, 1)."""
        return torch.cat([self.uniform(band) for band in per_band(name)], dim=1)

    def between(self, name: str, low: float, high: float) -> Tensor:
        """Return a uniform number between the bounds: float32 (N, 1, 1, 1)."""
        return self.uniform(name) * (high - low) + low

    def log_between(self, name: str, low: float, high: float) -> Tensor:
        """Return a number whose logarithm is uniform between those of the bounds."""
        return torch.pow(high / low, self.uniform(name)) * low

    def chance(self, name: str, probability: float | Tensor) -> Tensor:
        """Return true with this probability: bool (N, 1, 1, 1)."""
        return self.uniform(name) < probability

    def direction(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the cosine and the sine of any angle: float32 (N, 1, 1, 1) each."""
        angle = self.between(name, 0, 2 * pi)
        return angle.cos(), angle.sin()

    def select(self, chosen: Tensor) -> "TileDraw":
        """Return the draw of the tiles where ``chosen``, bool (N,), is true."""
        return replace(self, values=self.values[chosen])

    def to(self, device: torch.device) -> "TileDraw":
        """Return the same draw on a device."""
        return replace(self, values=self.values.to(device, non_blocking=True))


def draw_numbers(seed: int, epoch: int, items: Sequence[int], names: tuple[str, ...]) -> TileDraw:
    """Draw the random numbers of some tiles.

    A tile's numbers depend on (seed, epoch, item) only, not on the batch or the process. A name
    added at the end of ``names`` changes no other number.

    Args:
        items: each tile's number in the data.
        names: of the numbers, in the order in which they are drawn.
    """
    rows = [np.random.default_rng([seed, epoch, item]).random(len(names)) for item in items]
    values = torch.from_numpy(np.stack(rows).astype(np.float32))
    return TileDraw(names, values.clamp_max_(_BELOW_ONE))
