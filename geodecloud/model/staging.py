"""Copy batches to a GPU and back without waiting: pinned memory and a stream for each thread.

While one thread's stream computes, another's copies; a copy from memory that may be paged out would
hold both up.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GRAINS = 2  # on the way at once: one is copied while the other is computed
GRAIN_FACTOR = 4  # windows of a grain for each one on a CPU: 32, the smallest call by default
_PER_PIXEL = 4000  # bytes of the network's layers, skips and workspace, in fp32
_USED = 0.8  # of the free memory, at most


def pinned(shape: torch.Size) -> Tensor:
    """Return memory that the GPU reads and writes itself, float32 of this shape."""
    return torch.empty(shape, dtype=torch.float32, pin_memory=True)


class Staging(threading.local):
    """The stream and the pinned memory of the thread that asks; made when it first does."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._kept: dict[str, Tensor] = {}

    def _buffer(self, name: str, shape: torch.Size) -> Tensor:
        """Return the thread's buffer of this name; a new one where the shape has changed."""
        buffer = self._kept.get(name)
        if buffer is None or buffer.shape != shape:
            buffer = self._kept[name] = pinned(shape)
        return buffer

    def __call__(
        self, network: Callable[[Tensor], Tensor], batch: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the network's output for a batch, float32 (N, channels, S, S) both.

        Args:
            network: is given the batch on the GPU.
        """
        on_stream: AbstractContextManager[Any] = torch.cuda.stream(self._stream)
        with on_stream:
            source = torch.from_numpy(batch)
            given = self._buffer("input", source.shape)
            given.copy_(source)
            result = network(given.to(self._device, non_blocking=True))
            taken = self._buffer("output", result.shape)
            taken.copy_(result, non_blocking=True)
        self._stream.synchronize()  # other Python threads run meanwhile
        return np.array(taken.numpy())  # a copy: the buffer is used again


def parts_that_fit(windows: int, window: int, free: int) -> int:
    """Return in how many parts a grain is computed, 1, 2, 4..., so that it fits into memory.

    Args:
        windows: of the grain.
        window: its size in pixels.
        free: bytes of the GPU that are free.
    """
    parts = 1
    most = int(free * _USED) // GRAINS
    while parts < windows and -(-windows // parts) * window**2 * _PER_PIXEL > most:
        parts *= 2
    return parts
