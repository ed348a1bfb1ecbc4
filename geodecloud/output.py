"""Output appears whole or not at all: written beside its place, then moved there."""

import contextlib
import os
import socket
from pathlib import Path
from types import TracebackType

from geodecloud.errors import OutputError

_SUFFIX = ".part"


class Outputs:
    """Files that appear together when the ``with`` block ends well, and not at all otherwise.

    A file is written under a hidden name in the folder of its destination, so that the last
    step, a rename, neither copies nor can be seen half done. An older file at the
    destination stays until then.

    Args:
        source: the file that the outputs are made from; it is never replaced.
        overwrite: whether any other existing file may be.
    """

    def __init__(self, source: Path, *, overwrite: bool) -> None:
        self._source = source
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
        if destination.exists() and self._source.exists() and destination.samefile(self._source):
            raise OutputError(f"{destination}: is the input itself; name another output")
        if destination.is_dir():
            raise OutputError(f"{destination}: is a folder; name a file in it")
        if destination.exists() and not self._overwrite:
            raise OutputError(f"{destination}: exists already; --overwrite replaces it")
        if not os.access(folder, os.W_OK):
            raise OutputError(f"{destination}: the folder {folder} is not writable")
        if destination in self._pending:
            raise OutputError(f"{destination}: named twice as an output")
        _sweep(destination)
        name = f".{destination.name}.{socket.gethostname()}.{os.getpid()}{_SUFFIX}"
        self._pending[destination] = folder / name
        return self._pending[destination]

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
                    part.replace(destination)
        except OSError as failure:
            raise OutputError(
                f"{failure.filename}: cannot be moved ({failure.strerror})"
            ) from failure
        finally:
            for part in self._pending.values():
                part.unlink(missing_ok=True)
                part.with_name(part.name + ".aux.xml").unlink(missing_ok=True)


def _sweep(destination: Path) -> None:
    """Remove what a killed run of this machine has left beside ``destination``."""
    prefix = f".{destination.name}.{socket.gethostname()}."
    for leftover in destination.parent.iterdir():
        name = leftover.name
        if not (name.startswith(prefix) and name.endswith(_SUFFIX)):
            continue
        pid = name.removeprefix(prefix).removesuffix(_SUFFIX)
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
