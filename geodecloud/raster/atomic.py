"""Output appears whole or not at all: written beside its place, then moved there."""

import contextlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from geodecloud.errors import OutputError

_PREFIX, _SUFFIX = f".geodecloud.{socket.gethostname()[:40]}.", ".part"
_SIDECARS = (".ovr", ".msk", ".aux.xml")  # what GDAL keeps beside a GeoTIFF


class Outputs:
    """Files that appear together when the ``with`` block ends well, and not at all otherwise.

    A file is written under a hidden name in the folder of its destination, so that the last
    step, a rename, neither copies nor can be seen half done. An older file at the destination
    stays until then.

    Args:
        sources: the files that the outputs are made from; they are never replaced.
        overwrite: whether any other existing file may be.
    """

    def __init__(self, sources: Iterable[Path], *, overwrite: bool) -> None:
        self._sources = [path for path in sources if path.exists()]
        self._overwrite = overwrite
        self._pending: dict[Path, Path] = {}  # destination -> where it is written

    def add(self, destination: Path) -> Path:
        """Where to write the file that is to appear at ``destination``.

        Raises:
            OutputError: it exists, or its folder is missing or not writable.
        """
        folder = destination.parent
        if not folder.is_dir():
            raise OutputError(f"{destination}: the folder {folder} does not exist; make it first")
        if destination.exists() and any(destination.samefile(s) for s in self._sources):
            raise OutputError(f"{destination}: is the input itself; name another output")
        if destination.is_dir():
            raise OutputError(f"{destination}: is a folder; name a file in it")
        if os.path.lexists(destination) and not self._overwrite:
            raise OutputError(f"{destination}: exists already; --overwrite replaces it")
        if not os.access(folder, os.W_OK | os.X_OK | os.R_OK):
            raise OutputError(f"{destination}: the folder {folder} is not writable")
        place = folder.resolve() / destination.name
        if place in self._pending:
            raise OutputError(f"{destination}: named twice as an output")
        sweep(folder)
        self._pending[place] = folder / f"{_PREFIX}{os.getpid()}.{len(self._pending)}{_SUFFIX}"
        return self._pending[place]

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                for destination, part in self._pending.items():
                    _move(part, destination)
        except OSError as failure:
            raise OutputError(f"{failure.filename2}: cannot be written ({failure})") from failure
        finally:
            for part in self._pending.values():
                for suffix in ("", *_SIDECARS):
                    _with(part, suffix).unlink(missing_ok=True)


def _move(part: Path, destination: Path) -> None:
    """Put a file in its place with its sidecars, and take away those of the file before it."""
    part.replace(destination)
    for suffix in _SIDECARS:
        if _with(part, suffix).exists():  # a CRS that GeoTIFF cannot hold, say
            _with(part, suffix).replace(_with(destination, suffix))
        else:
            _with(destination, suffix).unlink(missing_ok=True)


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def sweep(folder: Path) -> None:
    """Remove what killed runs of this machine have left in ``folder``."""
    for leftover in folder.glob(f"{_PREFIX}*{_SUFFIX}*"):
        pid = leftover.name.removeprefix(_PREFIX).split(".")[0]
        if pid.isdigit() and not _alive(int(pid)):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()


def _alive(pid: int) -> bool:
    if pid == os.getpid() or os.name == "nt":  # on Windows, signal 0 is not a question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
