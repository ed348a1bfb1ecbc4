"""Hold locks that the operating system releases when a process ends, however it ends.

A lock is a file that one run at a time has locked. Its holder may remove the file, so that nothing
is left behind; a run that locks a removed file tries again with the new one. Standard library only.
"""

import contextlib
import os
from pathlib import Path

if os.name == "nt":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except PermissionError:
            return False
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # NFS raises either
            return False
        return True


def acquire(path: Path) -> int | None:
    """Lock a file, create it if it is missing, and return its descriptor.

    Two threads of a process exclude each other like two processes. So do two machines on a shared
    disk, if its file system supports locks.

    Returns:
        None: another run holds the lock.

    Raises:
        OSError: the file cannot be opened, or its file system has no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        held = False
        try:
            if not _lock(descriptor):
                return None
            held = _is_at(descriptor, path)
            if held:
                return descriptor
        finally:
            if not held:
                os.close(descriptor)


def release(path: Path, descriptor: int, *, remove: bool = True) -> None:
    """Release a lock.

    Args:
        remove: remove the lock's file, too.
    """
    if remove:  # before closing: who opens it in between finds it removed, see `acquire`
        with contextlib.suppress(OSError):
            path.unlink()
    os.close(descriptor)
    if remove and os.name == "nt":  # Windows does not remove open files
        with contextlib.suppress(OSError):
            path.unlink()


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the open file is still the one at this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
