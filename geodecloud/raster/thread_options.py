"""Set GDAL's options in one thread only.

``rasterio.Env`` sets them for the whole process when the main thread enters it. Other threads may
read rasters of their own meanwhile, and must not be affected. Threads that work for the same run
inherit its options by :func:`inherited`.
"""

import ctypes
import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import rasterio
from rasterio import _env

P = ParamSpec("P")
T = TypeVar("T")


class _Options(threading.local):
    def __init__(self) -> None:
        self.current: dict[str, str] = {}  # set by us in this thread


_here = _Options()


@contextmanager
def thread_options(options: Mapping[str, str | None]) -> Iterator[None]:
    """Set options of GDAL in this thread while the ``with`` block runs; None unsets an option."""
    outer = _here.current
    both = {**outer, **options}
    _here.current = {name: value for name, value in both.items() if value is not None}
    try:
        with _set_here(options):
            yield
    finally:
        _here.current = outer


def options_here() -> dict[str, str]:
    """Return the options that :func:`thread_options` has set in this thread."""
    return _here.current


def inherited(function: Callable[P, T]) -> Callable[P, T]:
    """Return ``function`` for any thread, with the options and the context of this thread."""
    options, context = options_here(), copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with thread_options(options):
            return context.copy().run(function, *args, **kwargs)  # a context runs in one thread

    return run


@contextmanager
def _set_here(options: Mapping[str, str | None]) -> Iterator[None]:
    gdal = _gdal()
    if gdal is None:  # the next best: affects other threads only if this is the main thread
        with rasterio.Env(**{name: value for name, value in options.items() if value is not None}):
            yield
        return
    names = {name: name.encode() for name in options}
    before = {name: gdal.CPLGetThreadLocalConfigOption(key, None) for name, key in names.items()}
    try:
        for name, value in options.items():
            gdal.CPLSetThreadLocalConfigOption(names[name], value and value.encode())
        yield
    finally:
        for name, value in before.items():
            gdal.CPLSetThreadLocalConfigOption(names[name], value)


@functools.cache
def _gdal() -> Any:
    """Return the GDAL library that rasterio uses; None: not found.

    On POSIX, a library's handle also finds functions of the libraries that it is linked with.
    """
    folder = Path(rasterio.__file__).parent
    beside = [*folder.parent.glob("rasterio.libs/gdal*.dll"), *folder.glob("gdal*.dll")]
    for library in (_env.__file__, *beside):
        try:
            gdal = ctypes.CDLL(str(library))
            gdal.CPLGetThreadLocalConfigOption.argtypes = [ctypes.c_char_p] * 2
            gdal.CPLGetThreadLocalConfigOption.restype = ctypes.c_char_p
            gdal.CPLSetThreadLocalConfigOption.argtypes = [ctypes.c_char_p] * 2
            gdal.CPLSetThreadLocalConfigOption.restype = None
        except (AttributeError, OSError):
            continue
        return gdal
    return None
