"""Print progress, messages and results, for people and for programs."""

import contextlib
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, TextIO

from geodecloud.errors import GeodecloudWarning, OutputError

ProgressStyle = Literal["bar", "json", "none"]

log = logging.getLogger("geodecloud")

_LABELS = {logging.WARNING: "warning: ", logging.ERROR: "error: "}
_options: dict[str, str] = {}  # parameter of the running command -> its option


@contextlib.contextmanager
def progress_bar(
    style: ProgressStyle = "bar", *, hidden: bool = False, unit: str = "row"
) -> Iterator[Callable[[float, float], None]]:
    """Show progress: yield a function that takes (units done, units in all).

    ``bar``: a bar on a terminal, nothing where stderr is piped. ``json``: lines on stderr for a
    program that has started this one. The first is ``{"event": "start", "pid": 1234}``, and each
    call adds one like ``{"event": "progress", "done": 64, "total": 1947, "unit": "row"}``. Lines
    that do not begin with a brace are messages for people.

    Args:
        hidden: no bar (``--quiet``); JSON lines are printed all the same.
    """
    if style == "json":
        _print_event("start", pid=os.getpid())
        yield lambda done, total: _print_event("progress", done=done, total=total, unit=unit)
        return
    from tqdm import tqdm

    off = True if hidden or style == "none" else None  # None: off where stderr is no terminal
    with tqdm(unit=unit, leave=False, disable=off) as bar:

        def show(done: float, total: float) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def _print_event(event: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}), file=sys.stderr, flush=True)


class _Messages(logging.Handler):
    """A handler that prints messages on stderr, one line each, above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        line = f"geodecloud: {_LABELS.get(record.levelno, '')}{with_options(record.getMessage())}"
        bars = sys.modules.get("tqdm")
        with contextlib.suppress(OSError, ValueError):  # stderr is full or closed
            if bars:
                bars.tqdm.write(line, file=sys.stderr)
            else:
                print(line, file=sys.stderr)


def begin_command(options: Mapping[str, str], *, quiet: bool, verbose: bool) -> None:
    """Set up the messages of a command.

    Args:
        options: the user's name of each parameter, like ``--fill-limit``.
        quiet: print errors only.
        verbose: print all messages.
    """
    _options.clear()
    _options.update(options)
    log.handlers, log.propagate = [_Messages()], False
    log.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # it raises what it logs


def name_options(options: Mapping[str, str]) -> None:
    """Add options of another command, which messages of this one give as remedies."""
    _options.update(options)


def show_warnings(*, each_kind_once: bool = False) -> None:
    """Print Python's warnings as messages; those of other packages only with ``--verbose``.

    Args:
        each_kind_once: show one warning from each line of code, for commands over many scenes.
    """
    seen: set[object] = set()
    if sys.warnoptions:  # set for another program; `-W error` would turn warnings into failures
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)

    def is_new(record: logging.LogRecord) -> bool:
        new = record.msg not in seen
        seen.add(record.msg)
        return new

    if each_kind_once:
        for handler in log.handlers:
            handler.addFilter(is_new)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001  the signature is Python's
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        kind = (category, filename, lineno)
        if each_kind_once and kind in seen:
            return
        seen.add(kind)
        text = " ".join(str(message).split())
        if issubclass(category, GeodecloudWarning | DeprecationWarning):
            log.warning(text)
        else:
            log.info("%s: %s", category.__name__, text)

    warnings.simplefilter("always", GeodecloudWarning)
    warnings.filterwarnings("always", category=DeprecationWarning, module="geodecloud")
    warnings.showwarning = show


def with_options(message: str) -> str:
    """Return a message of the library with options in place of parameters in backticks."""
    return re.sub(r"`(\w+)`", lambda name: _options.get(name[1], name[1]), message)


def say(line: str) -> None:
    """Print the result of a finished run on stdout; warn if stdout is full or closed."""
    try:
        print(line, flush=True)
    except (OSError, ValueError) as error:
        log.warning("the result is written, but stdout takes no report (%s)", error)
        sys.stdout = None  # else Python fails once more at exit


def answer(text: str) -> None:
    """Print the answer of a command on stdout; a closed pipe is no error.

    Raises:
        OutputError: stdout is full or closed.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = None
    except (OSError, ValueError) as error:
        sys.stdout = None
        raise OutputError(f"stdout takes no output ({error})") from error
