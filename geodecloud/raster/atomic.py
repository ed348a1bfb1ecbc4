"""Write files so that they appear whole or not at all: beside their destination, then renamed.

Until then a file has a hidden name with a random part, which no other run has. While a run is at
work it holds a lock of the operating system for each destination: so two runs never write one
file, and what a killed run has left is told from what another run is writing, whatever container
or machine either runs in. Imports the standard library alone, so that every room may use it.
"""

import contextlib
import functools
import hashlib
import os
import re
import secrets
import time
import uuid
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from geodecloud.errors import OutputError
from geodecloud.raster.lock import acquire, release
from geodecloud.raster.signals import held_back

# Hidden names: .geodecloud.KEY.lock and .geodecloud.KEY.MACHINE.RANDOM.part; KEY stands for the
# destination. GDAL and the COG driver add suffixes to the latter.
_PREFIX, _SUFFIX, _LOCK = ".geodecloud.", ".part", ".lock"
_HIDDEN = re.compile(r"\.geodecloud\.([0-9a-f]{16})\.(?:lock|([0-9a-f]{8})\.[0-9a-f]{16}\.part.*)")
_SIDECARS = (".ovr", ".msk", ".aux.xml")  # what GDAL keeps beside a GeoTIFF
# On some shared disks a lock holds on one machine only. So another machine's unfinished files are
# removed only when they have not changed for so many seconds.
_OTHER_MACHINE = 24 * 3600.0
_LONE_LOCK = 60.0  # seconds after which a lock without unfinished files is left from a killed run
_ATTEMPTS, _PAUSE = 10, 0.1  # seconds; a sweep holds a lock for an instant


@contextlib.contextmanager
def atomic_write(destination: Path) -> Iterator[Path]:
    """Yield the path to write to; it becomes ``destination`` when the ``with`` block ends well.

    An older file at the destination stays until then. The new one is on the disk before it takes
    the name, so that a power cut leaves the one or the other.

    Raises:
        OSError: as the file system raises it.
    """
    with _Unfinished(destination.parent, secrets.token_hex(8)) as unfinished:
        part = unfinished.create()
        mode = part.stat().st_mode
        yield part
        part.chmod(mode)  # as other programs' files; safetensors, say, makes its own private
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(destination)


class AtomicFiles:
    """Files that appear together when the ``with`` block ends well, and not at all otherwise.

    Each file is written under a hidden name in the folder of its destination, so that the last
    step, a rename, copies nothing and is never seen half done. An older file at the destination
    stays until then. A symbolic link at the destination is replaced; its target stays.

    Args:
        sources: the files that the outputs are made from; they are never replaced.
        overwrite: replace any other existing file.
    """

    def __init__(self, sources: Iterable[Path], *, overwrite: bool) -> None:
        self._sources = [path for path in sources if path.exists()]
        self._overwrite = overwrite
        self._unfinished: dict[Path, _Unfinished] = {}  # by destination

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
        if destination.exists() and not destination.is_file():
            raise OutputError(f"{destination}: is a pipe or a device; name a file")
        if os.path.lexists(destination) and not self._overwrite:
            raise OutputError(f"{destination}: exists already; `overwrite` replaces it")
        if not os.access(folder, os.W_OK | os.X_OK | os.R_OK):
            raise OutputError(f"{destination}: the folder {folder} is not writable")

    def check_all(self, destinations: Iterable[Path]) -> None:
        """Refuse destinations of which one cannot be written, or is named twice.

        Raises:
            OutputError: as by :meth:`add`.
        """
        seen: set[Path] = set()
        for destination in destinations:
            self.check(destination)
            seen.add(_free(destination, seen))

    def add(self, destination: Path) -> Path:
        """Return the path to write to for the file that is to appear at ``destination``.

        Raises:
            OutputError: as by :meth:`check`, the destination is named twice, or another run is
                writing it.
        """
        self.check(destination)
        folder, resolved = destination.parent, _free(destination, self._unfinished)
        sweep(folder)
        unfinished = self._unfinished[resolved] = _Unfinished(folder, _key(destination))
        try:
            if not unfinished.lock():
                raise OutputError(
                    f"{destination}: another run is writing it; wait for its end, or name another"
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
                with held_back():  # a signal between two files
                    self._move_all()
        finally:
            for unfinished in self._unfinished.values():
                unfinished.remove()

    def _move_all(self) -> None:
        """Give all files their names."""
        moved: list[Path] = []
        try:
            for destination, unfinished in self._unfinished.items():
                try:
                    _move(unfinished.part, destination, replace=self._overwrite)
                except FileExistsError as failure:
                    raise OutputError(
                        f"{destination}: appeared while this run was at work, and is kept; "
                        "`overwrite` replaces it"
                    ) from failure
                except OSError as failure:
                    raise OutputError(
                        f"{destination}: cannot be written ({failure.strerror})"
                    ) from failure
                moved.append(destination)
        except OutputError:
            for destination in () if self._overwrite else moved:  # where there was none before
                for suffix in ("", *_SIDECARS):
                    _with(destination, suffix).unlink(missing_ok=True)
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


class _Unfinished:
    """An unfinished file, and the lock that tells other runs of it.

    Args:
        folder: of the destination.
        key: stands for the destination in hidden names.
    """

    def __init__(self, folder: Path, key: str) -> None:
        # The names come before the files, so that a signal at any time leaves none behind.
        self.part = folder / f"{_PREFIX}{key}.{_machine()}.{secrets.token_hex(8)}{_SUFFIX}"
        self._lock = folder / f"{_PREFIX}{key}{_LOCK}"
        self._descriptor: int | None = None

    def lock(self) -> bool:
        """Lock the destination; return False if another run holds the lock.

        Where the file system has no locks, nothing tells the runs apart but their random names.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with held_back():  # a signal in between would leave the lock behind
                    self._descriptor = acquire(self._lock)
            except OSError:
                return True
            if self._descriptor is not None:
                return True
            if attempt < _ATTEMPTS - 1:
                time.sleep(_PAUSE)
        return False

    def create(self) -> Path:
        """Create the empty file.

        Raises:
            OSError: as the file system raises it.
        """
        self.part.open("x").close()
        return self.part

    def remove(self) -> None:
        """Remove all that is left, and release the lock."""
        for suffix in ("", *_SIDECARS):
            _with(self.part, suffix).unlink(missing_ok=True)
        if self._descriptor is not None:
            release(self._lock, self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "_Unfinished":
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _key(destination: Path) -> str:
    name = os.path.normcase(destination.name)
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


@functools.cache
def _machine() -> str:
    """Return 8 letters for the running kernel, the same in all its containers."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        name = str(uuid.getnode())
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _move(part: Path, destination: Path, *, replace: bool) -> None:
    """Rename a file and its sidecars to the destination; remove those of the file before it.

    Raises:
        FileExistsError: there is a file, and it may not be replaced.
    """
    if replace:
        part.replace(destination)
    else:
        _move_to_free_name(part, destination)
    for suffix in _SIDECARS:
        if _with(part, suffix).exists():  # a CRS that GeoTIFF cannot hold, say
            _with(part, suffix).replace(_with(destination, suffix))
        else:
            _with(destination, suffix).unlink(missing_ok=True)


def _move_to_free_name(part: Path, destination: Path) -> None:
    """Rename a file, but never over another: on POSIX, only a link is refused where one is."""
    if os.name == "nt":
        part.rename(destination)
        return
    try:
        destination.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: take the name first
        destination.open("x").close()
        part.replace(destination)


def remove(path: Path) -> None:
    """Remove a raster, and what GDAL keeps beside it."""
    for suffix in ("", *_SIDECARS):
        with contextlib.suppress(OSError):
            _with(path, suffix).unlink(missing_ok=True)


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def sweep(folder: Path) -> None:
    """Remove the unfinished files in ``folder`` that no run is writing any more."""
    matches = [_HIDDEN.fullmatch(path.name) for path in folder.glob(f"{_PREFIX}*")]
    for key in {match[1] for match in matches if match}:
        # An error: another user's, or already removed.
        with contextlib.suppress(OSError), held_back():
            _sweep_key(folder, key)


def _sweep_key(folder: Path, key: str) -> None:
    """Remove the unfinished files of one destination, unless a run holds its lock."""
    lock = folder / f"{_PREFIX}{key}{_LOCK}"
    new = not lock.exists()  # that run has ended since, and the next line makes a lock of ours
    descriptor = acquire(lock)
    if descriptor is None:
        return
    settled = False
    try:
        parts = [path for path in folder.glob(f"{_PREFIX}{key}.*") if path != lock]
        abandoned = [path for path in parts if _is_abandoned(path)]
        for path in abandoned:
            path.unlink(missing_ok=True)
        old = time.time() - lock.stat().st_mtime > _LONE_LOCK
        settled = len(abandoned) == len(parts) and (bool(parts) or old or new)
    finally:
        release(lock, descriptor, remove=settled)


def _is_abandoned(part: Path) -> bool:
    """Return whether an unfinished file whose lock is free may be removed."""
    match = _HIDDEN.fullmatch(part.name)
    if match is None:
        return False
    return match[2] == _machine() or time.time() - part.stat().st_mtime > _OTHER_MACHINE
