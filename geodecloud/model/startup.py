"""Import PyTorch in two thirds of the time, for programs that only run a network.

A quarter of ``import torch`` prepares PyTorch's compiler. Modules for compiling and for training
are imported only when they are first used. Garbage collection, which would scan all imported
objects again and again, is off meanwhile. PyTorch's library loads while Python imports other
modules.
"""

import ctypes
import gc
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

# Imported together, in this order, when one of them is first used. SciPy imports f2py.
_DEFERRED = (
    "torch._meta_registrations",
    "torch.export",
    "torch.utils.data",
    "torch.distributions",
    "torch.optim",
    "torch.profiler",
    "torch.nn.intrinsic",
    "torch.quantization",
    "torch.masked",
    "torch.testing",
    "numpy.f2py",
)
_TRIED = "2.13."  # tested version of PyTorch; another may need the modules sooner
_RTLD_NOW = 2  # from dlfcn.h


@contextmanager
def quick_imports() -> Iterator[None]:
    """Speed up imports in this block: defer some modules and garbage collection.

    Import PyTorch last in the block, as its library loads meanwhile on another core. Not for
    processes that later train, compile or export networks.
    """
    finder, collecting = _Deferring(), gc.isenabled()
    loading = Thread(target=_load_library, daemon=True)
    loading.start()
    gc.disable()
    try:
        if metadata.version("torch").startswith(_TRIED):
            sys.meta_path.insert(0, finder)
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        loading.join()
        gc.freeze()  # imported modules are never garbage
        if collecting:
            gc.enable()


def _load_library() -> None:
    """Load PyTorch's library as PyTorch will, but without blocking other Python threads.

    Loading through an import holds Python's global lock for 0.2 s. A failure here recurs when
    PyTorch is imported, and is reported there.
    """
    found = importlib.util.find_spec("torch")
    if sys.platform == "linux" and found and found.origin:
        folder = Path(found.origin).parent / "lib"
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        dlopen(bytes(folder / "libtorch_global_deps.so"), _RTLD_NOW | ctypes.RTLD_GLOBAL)
        dlopen(bytes(folder / "libtorch_cpu.so"), _RTLD_NOW)


class _Deferring(MetaPathFinder):
    """Finder of the deferred modules."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a deferred module; None for any other."""
        spec = PathFinder.find_spec(name, path, target) if name in _DEFERRED else None
        if spec and spec.loader:
            spec.loader = _WaitingLoader(spec.loader)
        return spec


class _WaitingLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return an empty module."""
        return _Waiting(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing yet."""


class _Waiting(ModuleType):
    """A deferred module; the first use of one of its names imports all deferred modules.

    ``importlib.util.LazyLoader`` would import it as soon as ``inspect`` looks at its file.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        for each in _DEFERRED:
            module = sys.modules.get(each)
            if isinstance(module, _Waiting):
                loader: Any = module.__spec__.loader if module.__spec__ else None
                module.__class__ = ModuleType  # type: ignore[assignment]
                loader.loader.exec_module(module)
        return getattr(self, name)
