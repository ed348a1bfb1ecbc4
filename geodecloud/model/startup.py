"""Import PyTorch in two thirds of the time: for programs that only run a network.

A quarter of ``import torch`` makes PyTorch's compiler ready. A program that does not compile can
leave that for later, as what only training uses. Garbage collection passes over all that has been
imported again and again. PyTorch's library is loaded while Python imports other modules.
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

# Imported when they are first used, in this order. SciPy imports f2py with all of NumPy.
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
_TRIED = "2.13."  # of PyTorch; the parts of another version may need each other sooner
_RTLD_NOW = 2  # of dlfcn.h


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import faster in this block: no garbage is collected, and some modules wait until used.

    Import PyTorch last: its library is loaded meanwhile, on another core. Do not use it in a
    process that goes on to train, compile or export networks.
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
        gc.freeze()  # modules stay until the end
        if collecting:
            gc.enable()


def _load_library() -> None:
    """Load PyTorch's library as PyTorch will, but without keeping Python from running.

    Python's own way holds its lock for 0.2 s. What fails here fails again when PyTorch is imported,
    and is reported there.
    """
    found = importlib.util.find_spec("torch")
    if sys.platform == "linux" and found and found.origin:
        folder = Path(found.origin).parent / "lib"
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        dlopen(bytes(folder / "libtorch_global_deps.so"), _RTLD_NOW | ctypes.RTLD_GLOBAL)
        dlopen(bytes(folder / "libtorch_cpu.so"), _RTLD_NOW)


class _Deferring(MetaPathFinder):
    """Finds the modules that are to be imported later."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that waits; None of any other."""
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
    """A module that is imported when one of its names is first used.

    ``importlib.util.LazyLoader`` would import it when ``inspect`` looks at the modules' files.
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
