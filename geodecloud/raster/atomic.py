"""Write files so that they appear whole or not at all: beside their destination, then renamed.

Imports the standard library alone, so that every room may use it.
"""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from geodecloud.errors import OutputError

# Names of unfinished files: .geodecloud.HOST.PROCESS.RANDOM.part, hidden beside the destination.
_PREFIX, _SUFFIX = f".geodecloud.{socket.gethostname()[:40]}.", ".part"
_SIDECARS = (".ovr", ".msk", ".aux.xml")  # what GDAL keeps beside a GeoTIFF


@contextlib.contextmanager
def atomic_write(destination: Path) -> Iterator[Path]:
    """Yield the path to write to; it becomes ``destination`` when the ``with`` block ends well.

    An older file at the destination stays until then. The new one is on the disk before it takes
    the name, so that a power cut leaves the one or the other.

    Raises:
        OSError: as the file system raises it.
    """
    part = _claim(destination.parent)
    try:
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # as other programs' files; safetensors, say, makes its own private
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)


class Outputs:
    """Files that appear together when the ``with`` block ends well, and not at all otherwise.

    Each file is written under a hidden name in the folder of its destination, so that the last
    step, a rename, copies nothing and is never seen half done. An older file at the destination
    stays until then.

    Args:
        sources: the files that the outputs are made from; they are never replaced.
        overwrite: replace any other existing file.
    """

    def __init__(self, sources: Iterable[Path], *, overwrite: bool) -> None:
        self._sources = [path for path in sources if path.exists()]
        self._overwrite = overwrite
        self._parts: dict[Path, Path] = {}  # destination -> unfinished file

    def check(self, destination: Path) -> None:
        """Refuse a destination that cannot be written, without writing anything.

        Raises:
            OutputError: the destination exists, or its folder is missing or not writable.
        """
        folder = destination.parent
        if not folder.is_dir():
            raise OutputError(f"{destination}: the folder {folder} does not exist; make it first")
        if destination.exists() and any(destination.samefile(s) for s in self._sources):
            raise OutputError(f"{destination}: is the input itself; name another output")
        if destination.is_dir():
            raise OutputError(f"{destination}: is a folder; name a file in it")
        if os.path.lexists(destination) and not self._overwrite:
            raise OutputError(f"{destination}: exists already; `overwrite` replaces it")
        if not os.access(folder, os.W_OK | os.X_OK | os.R_OK):
            raise OutputError(f"{destination}: the folder {folder} is not writable")

    def add(self, destination: Path) -> Path:
        """Return the path to write to for the file that is to appear at ``destination``.

        Raises:
            OutputError: as by :meth:`check`, or the destination is named twice.
        """
        self.check(destination)
        folder = destination.parent
        resolved = folder.resolve() / destination.name
        if resolved in self._parts:
            raise OutputError(f"{destination}: named twice as an output; name another")
        sweep(folder)
        try:
            self._parts[resolved] = _claim(folder)
        except OSError as error:
            raise OutputError(f"{destination}: cannot be written ({error.strerror})") from error
        return self._parts[resolved]

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
                for destination, part in self._parts.items():
                    _move(part, destination)
        except OSError as failure:
            raise OutputError(f"{failure.filename2}: cannot be written ({failure})") from failure
        finally:
            for part in self._parts.values():
                for suffix in ("", *_SIDECARS):
                    _with(part, suffix).unlink(missing_ok=True)


def _claim(folder: Path) -> Path:
    """Create an empty file whose name no other run has."""
    part = folder / f"{_PREFIX}{os.getpid()}.{secrets.token_hex(8)}{_SUFFIX}"
    part.open("x").close()
    return part


def _move(part: Path, destination: Path) -> None:
    """Rename a file and its sidecars to the destination; remove those of the file before it."""
    part.replace(destination)
    for suffix in _SIDECARS:
        if _with(part, suffix).exists():  # a CRS that GeoTIFF cannot hold, say
            _with(part, suffix).replace(_with(destination, suffix))
        else:
            _with(destination, suffix).unlink(missing_ok=True)


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def sweep(folder: Path) -> None:
    """Remove the unfinished files in ``folder`` of this machine's processes that have ended."""
    for leftover in folder.glob(f"{_PREFIX}*{_SUFFIX}*"):
        pid = leftover.name.removeprefix(_PREFIX).split(".")[0]
        if pid.isdigit() and not _alive(int(pid)):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()


def _alive(pid: int) -> bool:
    if pid == os.getpid() or os.name == "nt":  # Windows has no signal 0
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
