"""Run a command with the program's signals, streams and exit codes."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from geodecloud.cli.console import log, show_warnings, with_options
from geodecloud.errors import GeodecloudError
from geodecloud.raster.process import own_process
from geodecloud.raster.signals import Stopped, requests, stopped_by
from geodecloud.restore.heap import use_one_heap


def run(program: Callable[[], object]) -> NoReturn:
    """Run a program and exit: every expected failure becomes one line and an exit code."""
    use_one_heap()
    own_process()
    _replace_unencodable()
    if sys.stderr is None:  # closed, as some services start their programs
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    unraisablehook = sys.unraisablehook
    sys.unraisablehook = _log_dropped_exception
    try:
        with stopped_by(*requests()):
            message, code = _outcome(program)
    finally:
        sys.unraisablehook = unraisablehook
    with contextlib.suppress(OSError, ValueError):
        if message:
            print("geodecloud:", " ".join(message.split()), file=sys.stderr, flush=True)
    try:
        if sys.stdout:
            sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = None
    sys.exit(code)


def _outcome(program: Callable[[], object]) -> tuple[str, int]:
    """Run a program; return its last message, which may be empty, and its exit code."""
    try:
        with _silent_libraries(), warnings.catch_warnings():
            show_warnings()
            program()
    except GeodecloudError as error:
        return f"error: {with_options(str(error))}", error.exit_code
    except (OSError, UnicodeError, MemoryError) as error:
        return f"error: {error or 'out of memory'}", 1
    except Stopped as stopped:
        stopped.arrived = True
        return "interrupted", 128 + stopped.number
    return "", 0


@contextlib.contextmanager
def _silent_libraries() -> Iterator[None]:
    """Keep the file descriptor of stderr from C libraries while ``sys.stderr`` goes on.

    libtiff prints there, many lines when a disk is full; rasterio raises the same errors.
    """
    if sys.stderr is not sys.__stderr__:  # replaced by the caller
        yield
        return
    stderr, saved = sys.stderr, os.dup(2)
    ours = os.fdopen(saved, "w", 1, errors="backslashreplace", closefd=False)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            sys.stderr = ours
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        sys.stderr = stderr
        os.dup2(saved, 2)
        with contextlib.suppress(OSError):  # stderr is full
            ours.close()
        os.close(saved)


def _log_dropped_exception(lost: Any) -> None:
    """Log an exception that Python has dropped, as in a callback of GDAL.

    Nothing is lost. Where GDAL's message is not UTF-8, rasterio fails to log it, but raises the
    same error. A request to end is sent again, see :mod:`geodecloud.raster.signals`.
    """
    log.debug("%s", lost.exc_value)


def _replace_unencodable() -> None:
    """Replace characters that stdout or stderr cannot encode, so that no finished run fails."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
