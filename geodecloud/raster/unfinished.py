"""Keep unfinished files under hidden names, and remove those that a killed run has left.

A hidden name has a random part of its own. While it works, a run holds a lock of the operating
system for each destination. So two runs never write the same file. Files left by a killed run
differ from those that another run is writing, in any container or on any machine. This module
imports only the standard library and our own modules that do the same, so that every room may use
it.
"""

import contextlib
import functools
import hashlib
import re
import secrets
import time
import uuid
from pathlib import Path

from geodecloud.raster.lock import acquire, release
from geodecloud.raster.signals import defer_signals

# Hidden names: .geodecloud.KEY.lock and .geodecloud.KEY.MACHINE.RANDOM.part, where KEY is the hash
# of the destination's name. GDAL and the COG driver add suffixes to the latter.
_PREFIX, _SUFFIX, _LOCK = ".geodecloud.", ".part", ".lock"
_HIDDEN = re.compile(r"\.geodecloud\.([0-9a-f]{16})\.(?:lock|([0-9a-f]{8})\.[0-9a-f]{16}\.part.*)")
SIDECARS = (".ovr", ".msk", ".aux.xml")  # suffixes of the files that GDAL keeps beside a GeoTIFF
# Seconds without a change after which another machine's unfinished files are removed: on some
# shared disks a lock holds on one machine only.
_OTHER_MACHINE = 24 * 3600.0
_LONE_LOCK = 60.0  # seconds after which a lock without unfinished files is a killed run's
_ATTEMPTS, _PAUSE = 10, 0.1  # seconds; a sweep holds a lock for an instant


class Unfinished:
    """An unfinished file, and the lock on its destination.

    Args:
        folder: the destination's folder.
        key: identifies the destination in hidden names.
    """

    def __init__(self, folder: Path, key: str) -> None:
        # The names are fixed before the files exist, so that a signal never leaves a file behind.
        self.part = folder / f"{_PREFIX}{key}.{_machine()}.{secrets.token_hex(8)}{_SUFFIX}"
        self._lock = folder / f"{_PREFIX}{key}{_LOCK}"
        self._descriptor: int | None = None

    def lock(self) -> bool:
        """Lock the destination; return False if another run holds the lock.

        If the file system has no locks, only their random names keep runs apart.
        """
        for attempt in range(_ATTEMPTS):
            try:
                with defer_signals():  # a signal in between would leave the lock behind
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
        """Remove the file and its sidecars if they still exist, and release the lock."""
        for file in with_sidecars(self.part):
            file.unlink(missing_ok=True)
        if self._descriptor is not None:
            release(self._lock, self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Unfinished":
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def sweep(folder: Path) -> None:
    """Remove the unfinished files in ``folder`` that no run is writing any more."""
    matches = [_HIDDEN.fullmatch(path.name) for path in folder.glob(f"{_PREFIX}*")]
    for key in {match[1] for match in matches if match}:
        # An error: another user's, or already removed.
        with contextlib.suppress(OSError), defer_signals():
            _sweep_key(folder, key)


def _sweep_key(folder: Path, key: str) -> None:
    """Remove the unfinished files of one destination, unless a run holds its lock."""
    lock = folder / f"{_PREFIX}{key}{_LOCK}"
    new = not lock.exists()  # that run has ended since, and `acquire` creates our own lock
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
    """Return whether an unfinished file, whose lock is free, may be removed."""
    match = _HIDDEN.fullmatch(part.name)
    if match is None:
        return False
    return match[2] == _machine() or time.time() - part.stat().st_mtime > _OTHER_MACHINE


def remove_raster(path: Path) -> None:
    """Remove a raster and its sidecars."""
    for file in with_sidecars(path):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


@functools.cache
def _machine() -> str:
    """Return 8 hexadecimal digits for the running kernel, the same in all its containers."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        name = str(uuid.getnode())
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def with_sidecars(path: Path) -> list[Path]:
    """Return the paths of a raster and of its sidecars, which need not exist."""
    return [path.with_name(path.name + suffix) for suffix in ("", *SIDECARS)]
