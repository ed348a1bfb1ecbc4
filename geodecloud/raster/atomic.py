"""Write files so that they appear whole or not at all: beside their destination, then renamed.

An unfinished file has a hidden name, see :mod:`geodecloud.raster.unfinished`. This module imports
only the standard library and our own modules that do the same, so that every room may use it.
"""

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from geodecloud.errors import OutputError
from geodecloud.raster.signals import defer_signals
from geodecloud.raster.unfinished import Unfinished, sweep, with_sidecars

_REMOTE = re.compile(r"\w{2,}:/|[/\\]vsi\w+[/\\]")  # Path has merged a URL's slashes


@contextlib.contextmanager
def atomic_write(destination: Path) -> Iterator[Path]:
    """Yield the path to write to; it becomes ``destination`` when the ``with`` block ends well.

    An older file at the destination stays until then. The new file is flushed to disk before it
    is renamed, so that a power cut leaves either the old file or the new one.

    Raises:
        OSError: as the file system raises it.
    """
    with Unfinished(destination.parent, secrets.token_hex(8)) as unfinished:
        part = unfinished.create()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # the user's default mode; safetensors, for one, makes files private
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(destination)


class AtomicFiles:
    """Files that appear together when the ``with`` block ends well, and not at all otherwise.

    Each file is written under a hidden name in the folder of its destination. So the last step, a
    rename, copies nothing and is never seen half done. An older file at the destination stays until
    then. A symbolic link at the destination is replaced; its target stays.

    Args:
        sources: input files, which are never replaced.
        overwrite: replace any other existing file.
    """

    def __init__(self, sources: Iterable[Path], *, overwrite: bool) -> None:
        self._sources = [path for path in sources if path.exists()]
        self._overwrite = overwrite
        self._unfinished: dict[Path, Unfinished] = {}  # by destination

    def check(self, destination: Path) -> None:
        """Refuse a destination that cannot be written, without writing anything.

        Raises:
            OutputError: the destination exists, or its folder is missing or not writable.
        """
        folder = destination.parent
        if _REMOTE.match(str(destination)) and not folder.is_dir():
            raise OutputError(f"{destination}: is not a local file; write one, and copy that")
        if not folder.is_dir():
            raise OutputError(f"{destination}: the folder {folder} does not exist; make it first")
        if destination.exists() and any(destination.samefile(s) for s in self._sources):
            raise OutputError(f"{destination}: is the input itself; name another output")
        if destination.is_dir():
            raise OutputError(f"{destination}: is a folder; name a file in it")
        if destination.exists() and not destination.is_file():
            raise OutputError(f"{destination}: is a pipe or a device; name a file")
        if os.path.lexists(destination) and not self._overwrite:
            raise OutputError(f"{destination}: exists already; give `overwrite` to replace it")
        if not os.access(folder, os.W_OK | os.X_OK | os.R_OK):
            raise OutputError(
                f"{destination}: the folder {folder} is not writable; give another folder"
            )

    def check_all(self, destinations: Iterable[Path]) -> None:
        """Refuse the destinations if one cannot be written or is named twice.

        Raises:
            OutputError: as :meth:`check` raises it, or a destination is named twice.
        """
        seen: set[Path] = set()
        for destination in destinations:
            self.check(destination)
            seen.add(_free(destination, seen))

    def add(self, destination: Path) -> Path:
        """Return the path to write to for the file that will appear at ``destination``.

        Raises:
            OutputError: as :meth:`check` raises it, the destination is named twice, or another
                run is writing it.
        """
        self.check(destination)
        folder, resolved = destination.parent, _free(destination, self._unfinished)
        sweep(folder)
        unfinished = self._unfinished[resolved] = Unfinished(folder, _key(destination))
        try:
            if not unfinished.lock():
                raise OutputError(
                    f"{destination}: another run is writing it; wait until it ends, or name another"
                )
            self.check(destination)  # that run may have ended since
            return unfinished.create()
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{destination}: cannot be written ({error.strerror})") from error

    def __enter__(self) -> "AtomicFiles":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with defer_signals():  # no signal may come between two renames
                    self._move_all()
        finally:
            with defer_signals():  # a closing terminal may send its signal twice
                for unfinished in self._unfinished.values():
                    unfinished.remove()

    def _move_all(self) -> None:
        """Rename all files to their destinations.

        Raises:
            OutputError: a destination has appeared meanwhile, or cannot be written.
        """
        moved: list[Path] = []
        try:
            for destination, unfinished in self._unfinished.items():
                try:
                    _move(unfinished.part, destination, replace=self._overwrite)
                except FileExistsError as failure:
                    raise OutputError(
                        f"{destination}: appeared while this run was at work, and is kept; "
                        "give `overwrite` to replace it"
                    ) from failure
                except OSError as failure:
                    raise OutputError(
                        f"{destination}: cannot be written ({failure.strerror})"
                    ) from failure
                moved.append(destination)
        except OutputError:
            for destination in () if self._overwrite else moved:  # these replaced nothing
                for file in with_sidecars(destination):
                    file.unlink(missing_ok=True)
            raise


def _free(destination: Path, taken: Container[Path]) -> Path:
    """Return the resolved path of a destination that is not taken.

    Raises:
        OutputError: the destination is taken.
    """
    resolved = destination.parent.resolve() / destination.name
    if resolved in taken:
        raise OutputError(f"{destination}: named twice as an output; name another")
    return resolved


def _key(destination: Path) -> str:
    name = os.path.normcase(destination.name)
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def _move(part: Path, destination: Path, *, replace: bool) -> None:
    """Rename a file and its sidecars to the destination; remove an older file's sidecars.

    Raises:
        FileExistsError: the destination exists and may not be replaced.
    """
    if replace:
        part.replace(destination)
    else:
        _move_to_free_name(part, destination)
    sidecars = zip(with_sidecars(part)[1:], with_sidecars(destination)[1:], strict=True)
    for new, old in sidecars:
        if new.exists():  # for example a CRS that GeoTIFF cannot hold
            new.replace(old)
        else:
            old.unlink(missing_ok=True)


def _move_to_free_name(part: Path, destination: Path) -> None:
    """Rename a file, never over another: POSIX renames replace, but hard links do not."""
    if os.name == "nt":
        part.rename(destination)
        return
    try:
        destination.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: claim the name with an empty file
        destination.open("x").close()
        part.replace(destination)
