"""Tell the C library how to hold memory: in one heap, and without giving it back at once."""

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_KEPT = 32 << 20  # bytes: glibc's own limit, which it reaches by itself unless it is told otherwise


def use_one_heap() -> None:
    """Let all threads of this process allocate from one heap, where the C library is glibc.

    By default glibc gives each thread a heap of its own, and memory that is free in one heap is
    of no use to the other threads. A run that hands arrays from thread to thread would need half
    as much memory again.
    """
    _set({_M_ARENA_MAX: 1})


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next allocation, where it is glibc.

    Dask's nanny starts workers with ``MALLOC_TRIM_THRESHOLD_=65536``. Each layer of the network
    would then get its memory from the system anew, which takes half as long as computing it.
    """
    _set({_M_MMAP_THRESHOLD: _KEPT, _M_TRIM_THRESHOLD: 2 * _KEPT})


def _set(values: dict[int, int]) -> None:
    """Set parameters of malloc."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            for parameter, value in values.items():
                ctypes.CDLL(None).mallopt(parameter, value)
