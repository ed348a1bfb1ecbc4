"""Keep the C library from holding a heap for each thread."""

import contextlib
import ctypes
import sys

_M_ARENA_MAX = -8  # of malloc.h


def use_one_heap() -> None:
    """Let all threads of this process allocate from one heap, where the C library is glibc.

    By default glibc gives each thread a heap of its own, and memory that is free in one heap is
    of no use to the other threads. A run that hands arrays from thread to thread would need half
    as much memory again.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
