"""Draw random numbers by name: each depends on (seed, step, part, name) and on nothing else.

So a batch is a function of its step: a resumed run sees the batches that it would have seen, and a
new random number changes none of the others.
"""

import hashlib
import math

import torch
from torch import Tensor


class Draw:
    """All random numbers of one batch.

    Args:
        seed: of the run.
        step: of the batch.
        device: where the numbers are drawn. From one seed a CPU and a GPU draw different numbers.
        part: number of the process's part of the batch.
    """

    def __init__(
        self, seed: int, step: int, device: torch.device | str = "cpu", part: int = 0
    ) -> None:
        self.device, self._key = torch.device(device), f"{seed}/{step}"
        if part:
            self._key += f"/part {part}"
        self._drawn: set[str] = set()

    def uniform(self, name: str, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw float32 numbers of a shape, uniform from ``low`` to ``high``."""
        unit = torch.rand(shape, generator=self._generator(name), device=self.device)
        return low + (high - low) * unit

    def log_uniform(self, name: str, *shape: int, low: float, high: float) -> Tensor:
        """Draw float32 numbers of uniform logarithm from ``low`` to ``high``, both above 0."""
        return self.uniform(name, *shape, low=math.log(low), high=math.log(high)).exp()

    def normal(self, name: str, *shape: int) -> Tensor:
        """Draw float32 numbers of mean 0 and standard deviation 1."""
        return torch.randn(shape, generator=self._generator(name), device=self.device)

    def index(self, name: str, count: int, *shape: int) -> Tensor:
        """Draw int64 numbers, uniform from 0 to ``count`` - 1."""
        return torch.randint(count, shape, generator=self._generator(name), device=self.device)

    def chance(self, name: str, probability: float, *shape: int) -> Tensor:
        """Draw booleans, true with a probability."""
        return self.uniform(name, *shape) < probability

    def kind(self, name: str, weights: tuple[float, ...], count: int) -> Tensor:
        """Draw int64 (count,): i with a probability in proportion to ``weights[i]``."""
        edges = torch.tensor(weights, device=self.device).cumsum(0)
        return torch.bucketize(self.uniform(name, count) * edges[-1], edges[:-1], right=True)

    def _generator(self, name: str) -> torch.Generator:
        """Return a generator seeded by name.

        Raises:
            ValueError: the name was drawn before; to draw the same numbers twice is a mistake.
        """
        if name in self._drawn:
            raise ValueError(f"{name!r} is drawn twice in one batch")
        self._drawn.add(name)
        digest = hashlib.sha256(f"{self._key}/{name}".encode()).digest()
        generator = torch.Generator(self.device)
        generator.manual_seed(int.from_bytes(digest[:7], "big"))
        return generator
