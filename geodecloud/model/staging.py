"""Copy batches to a GPU and back without waiting: pinned memory and a stream for each thread.

While one thread's stream computes, another's copies. A copy from pageable memory would block both.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GRAINS = 2  # on the GPU at once: one is copied while the other is computed
GRAIN_FACTOR = 4  # a GPU's grain over a CPU's: 32 windows, the smallest call by default
_PER_PIXEL = 4000  # bytes of the network's layers, skips and workspace, in fp32
_USED = 0.8  # largest fraction of the free memory to use


def pinned(shape: torch.Size) -> Tensor:
    """Return a pinned float32 tensor of this shape, which the GPU accesses directly."""
    return torch.empty(shape, dtype=torch.float32, pin_memory=True)


class Staging(threading.local):
    """The calling thread's own stream and pinned memory, made at its first use."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._kept: dict[str, Tensor] = {}

    def _buffer(self, name: str, shape: torch.Size) -> Tensor:
        """Return the thread's buffer of this name; a new one if the shape has changed."""
        buffer = self._kept.get(name)
        if buffer is None or buffer.shape != shape:
            buffer = self._kept[name] = pinned(shape)
        return buffer

    def _copied(self, name: str, array: NDArray[np.float32]) -> Tensor:
        """Begin to copy an array to the GPU, through the thread's buffer of this name."""
        source = torch.from_numpy(array)
        buffer = self._buffer(name, source.shape)
        buffer.copy_(source)
        return buffer.to(self._device, non_blocking=True)

    def __call__(
        self, network: Callable[..., Tensor], *batch: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the network's output for a batch, float32 (N, channels, S, S).

        Args:
            network: called with the batch's arrays on the GPU.
            batch: float32 arrays, the network's arguments in order, like patches
                (N, channels, S, S) and dark objects (N, 3).
        """
        on_stream: AbstractContextManager[Any] = torch.cuda.stream(self._stream)
        with on_stream:
            given = [self._copied(f"input {i}", one) for i, one in enumerate(batch)]
            result = network(*given)
            taken = self._buffer("output", result.shape)
            taken.copy_(result, non_blocking=True)
        self._stream.synchronize()  # other Python threads run meanwhile
        return np.array(taken.numpy())  # a copy, as the buffer is reused


def parts_that_fit(windows: int, window: int, free: int) -> int:
    """Return the number of parts, 1, 2, 4..., in which a grain fits into a GPU's memory.

    Args:
        windows: number of windows in the grain.
        window: height and width of a window in pixels.
        free: free memory of the GPU in bytes.
    """
    parts = 1
    most = int(free * _USED) // GRAINS
    while parts < windows and -(-windows // parts) * window**2 * _PER_PIXEL > most:
        parts *= 2
    return parts
