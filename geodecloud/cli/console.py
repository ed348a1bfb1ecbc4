"""The program around the commands: progress, messages, signals, exit codes."""

import contextlib
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from geodecloud.errors import GeodecloudError
from geodecloud.restore.heap import use_one_heap


class ProgressChoice(StrEnum):
    """How a command says how far it has come."""

    bar = "bar"
    json = "json"
    none = "none"


# Options that several commands have.
BandsOption = Annotated[
    str | None, typer.Option(help="Numbers of red,green,blue, from 1.  [default: by name]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, at the end.")]
OverwriteOption = Annotated[bool, typer.Option(help="Replace existing outputs.")]
ProgressOption = Annotated[
    ProgressChoice,
    typer.Option(help="On stderr: a bar on a terminal, or a JSON object a line for programs."),
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]


@contextlib.contextmanager
def progress_bar(
    style: ProgressChoice = ProgressChoice.bar, *, hidden: bool = False, unit: str = "row"
) -> Iterator[Callable[[float, float], None]]:
    """What a command calls with (units done, units in all), and how that reaches the user.

    ``bar``: a bar on a terminal, nothing where stderr is piped. ``json``: lines on stderr for a
    program that has started us, ``{"event": "start", "pid": 1234}`` and then
    ``{"event": "progress", "done": 64, "total": 1947, "unit": "row"}`` for each call; lines that
    do not begin with a brace are words for people, as always.

    Args:
        hidden: no bar (``--quiet``); JSON was asked for and comes all the same.
    """
    if style is ProgressChoice.json:
        _print_event("start", pid=os.getpid())
        yield lambda done, total: _print_event("progress", done=done, total=total, unit=unit)
        return
    from tqdm import tqdm

    hidden = hidden or style is ProgressChoice.none
    with tqdm(unit=unit, leave=False, disable=True if hidden else None) as bar:

        def show(done: float, total: float) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _print_event(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), file=sys.stderr, flush=True)


class _FirstOfEachKind(logging.Filter):
    """Of messages that differ in their files and numbers alone, lets the first one through."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether none of its kind was seen yet."""
        new = record.msg not in self._seen
        self._seen.add(record.msg)
        return new


def set_logging(quiet: bool, verbose: bool, *, each_kind_once: bool = False) -> None:
    """Send the package's messages to stderr: errors only, warnings too, or everything.

    Args:
        each_kind_once: where many scenes would say the same, the first alone does.
    """
    logger = logging.getLogger("geodecloud")
    handler = logging.StreamHandler()
    if each_kind_once:
        handler.addFilter(_FirstOfEachKind())
    handler.setFormatter(logging.Formatter("geodecloud: %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # it raises what it logs
    logger.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)


@contextlib.contextmanager
def _silent_libraries() -> Iterator[None]:
    """Keep the file descriptor of stderr from C libraries while ``sys.stderr`` goes on.

    libtiff prints there of its own accord, many lines when a disk is full; what it says reaches
    the user as an exception in our words.
    """
    if sys.stderr is not sys.__stderr__:  # replaced by who calls us
        yield
        return
    stderr, saved = sys.stderr, os.dup(2)
    try:
        with (
            Path(os.devnull).open("wb") as nowhere,
            os.fdopen(saved, "w", 1, errors="backslashreplace", closefd=False) as ours,
        ):
            sys.stderr = ours
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        sys.stderr = stderr
        os.dup2(saved, 2)
        os.close(saved)


class _StoppedError(BaseException):
    """Ctrl-C or a request to end: leaves through every ``with`` block, and no one catches it."""


def _stop(number: int, _: object) -> NoReturn:
    raise _StoppedError(number)


def with_options(message: str) -> str:
    """Name options in place of parameters, which messages of the library set in backticks."""
    from geodecloud.cli.options import flags_by_name

    flags = flags_by_name()
    return re.sub(r"`(\w+)`", lambda name: flags.get(name[1], name[1]), message)


def run(program: Callable[[], object]) -> NoReturn:
    """Run a program and exit: every expected failure becomes one line and an exit code."""
    use_one_heap()
    handlers = {n: signal.signal(n, _stop) for n in (signal.SIGINT, signal.SIGTERM)}
    if sys.stderr is None:  # closed, as some services start their programs
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    message, code = "", 0
    # What rasterio fails to log, as GDAL quotes bytes that are no UTF-8, it raises as well.
    unraisablehook = sys.unraisablehook
    sys.unraisablehook = lambda lost: logging.getLogger("geodecloud").debug("%s", lost.exc_value)
    try:
        with _silent_libraries():
            program()
    except GeodecloudError as error:
        message, code = f"error: {with_options(str(error))}", error.exit_code
    except (OSError, UnicodeError, MemoryError) as error:
        message, code = f"error: {error or 'out of memory'}", 1
    except _StoppedError as stopped:
        message, code = "interrupted", 128 + stopped.args[0]
    finally:
        sys.unraisablehook = unraisablehook
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
    if message:
        print("geodecloud:", " ".join(message.split()), file=sys.stderr)
    sys.exit(code)
