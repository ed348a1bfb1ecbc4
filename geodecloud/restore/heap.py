"""Configure glibc's malloc: one heap, and freed memory kept for the next allocation."""

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # from malloc.h
_KEPT = 32 << 20  # bytes: the value up to which glibc adapts the threshold, unless it is set


def use_one_heap() -> None:
    """Let all threads of this process allocate from one heap, where the C library is glibc.

    By default glibc gives each thread its own heap, whose free memory other threads cannot use. A
    run that passes arrays between threads would need half as much memory again.
    """
    _set({_M_ARENA_MAX: 1})


def keep_freed_memory() -> None:
    """Keep freed memory for the next allocation, where the C library is glibc.

    Dask's nanny starts workers with ``MALLOC_TRIM_THRESHOLD_=65536``. Each layer of the network
    would then request its memory from the system again, which takes half as long as computing it.
    """
    _set({_M_MMAP_THRESHOLD: _KEPT, _M_TRIM_THRESHOLD: 2 * _KEPT})


def _set(values: dict[int, int]) -> None:
    """Set parameters of malloc."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            for parameter, value in values.items():
                ctypes.CDLL(None).mallopt(parameter, value)
