"""Run the executable: show its progress and messages, and leave no file if cancelled.

Needs the standard library only, and Python 3.9: QGIS brings its own interpreter.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from .executable import NAME, NO_WINDOW, environment

_POLL = 0.1  # seconds between checks whether the user has cancelled
_GRACE = 20.0  # seconds for the program to clean up before it is killed
_LAST_WORDS = 20  # lines kept of a program that ends without an error of its own


class ProgramError(Exception):
    """The program failed; the message is the program's.

    output: its standard output.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class CancelledError(Exception):
    """The user cancelled; the program ended and left no unfinished file."""


class Feedback(Protocol):
    """The part of ``QgsProcessingFeedback`` that is used here."""

    def isCanceled(self) -> bool:
        """Return whether the user wants to stop."""

    def setProgress(self, progress: float) -> None:
        """Show a progress of 0 to 100."""

    def pushWarning(self, warning: str) -> None:
        """Show a warning in the log."""


def run(command: Sequence[str], feedback: Feedback, folders: Iterable[Path] = ()) -> str:
    """Run a command of the program, given ``--progress json``, and return its standard output.

    Args:
        command: executable and arguments; no shell ever sees them.
        folders: the folders that the command writes to; leftovers are removed from them if the
            program had to be killed.

    Raises:
        ProgramError: the program ended with another exit code than 0, or did not start.
        CancelledError: the user cancelled.
    """
    try:
        process = subprocess.Popen(
            list(command),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            creationflags=NO_WINDOW,
        )
    except OSError as error:
        raise ProgramError(f"{command[0]} does not start: {error}") from error
    messages = _Messages(feedback)
    lines = _Lines(process, messages)
    try:
        lines.handle(feedback.isCanceled)
    except BaseException as error:
        _end(process, folders)
        if process.returncode or not isinstance(error, CancelledError):
            raise
        lines.handle(lambda: False)  # the program had finished, and its outputs are there
    if process.wait():
        raise ProgramError(messages.reason(process.returncode), "\n".join(messages.output))
    return "\n".join(messages.output)


def below(folder: Path) -> Iterator[Path]:
    """Yield a folder, and the folders below it that are there by the time they are asked for."""
    yield folder
    yield from (path for path in folder.rglob("*") if path.is_dir())


class _Messages:
    """The messages of the program so far."""

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback
        self.output: list[str] = []
        self._errors: list[str] = []
        self._last: list[str] = []

    def stdout(self, line: str) -> None:
        self.output.append(line)

    def stderr(self, line: str) -> None:
        event = _event(line)
        if event is not None:
            self._event(event)
            return
        words = line.removeprefix(f"{NAME}: ")
        self._last = [*self._last, words][-_LAST_WORDS:]
        if words.startswith("error: "):
            self._errors.append(words.removeprefix("error: "))
        elif words.strip():
            self._feedback.pushWarning(words.removeprefix("warning: "))

    def _event(self, event: dict[str, Any]) -> None:
        if event.get("event") == "progress" and event.get("total"):
            self._feedback.setProgress(100 * event["done"] / event["total"])

    def reason(self, code: int) -> str:
        """Return why the program failed: its errors, else its last messages."""
        words = "\n".join(self._errors or self._last).strip()
        return words or f"geodecloud ended with exit code {code} and no message"


def _event(line: str) -> dict[str, Any] | None:
    """Return the JSON object on a line, or None."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


class _Lines:
    """The lines of both streams of the program.

    Two threads read, so that neither pipe can fill up and block the program. The thread that calls
    :meth:`handle` handles the lines, since ``feedback`` belongs to it.
    """

    def __init__(self, process: subprocess.Popen[str], messages: _Messages) -> None:
        self._lines: queue.Queue[tuple[Any, str | None]] = queue.Queue()
        streams = {messages.stdout: process.stdout, messages.stderr: process.stderr}
        self._open = len(streams)
        for handler, stream in streams.items():
            threading.Thread(target=self._read, args=(stream, handler), daemon=True).start()

    def handle(self, is_cancelled: Callable[[], bool]) -> None:
        """Handle all lines to their end.

        Raises:
            CancelledError: the user has cancelled.
        """
        while self._open:
            if is_cancelled():
                raise CancelledError
            try:
                handler, line = self._lines.get(timeout=_POLL)
            except queue.Empty:
                continue
            if line is None:
                self._open -= 1
            else:
                handler(line)

    def _read(self, stream: IO[str], handler: Any) -> None:
        with stream:
            for line in stream:
                self._lines.put((handler, line.rstrip("\r\n")))
        self._lines.put((handler, None))


def _end(process: subprocess.Popen[str], folders: Iterable[Path]) -> None:
    """End the program, which cleans up itself; clean up for it if it had to be killed."""
    if sys.platform == "win32":  # no signals there, and a launcher in between
        tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(tree, capture_output=True, check=False, creationflags=NO_WINDOW)
    else:
        process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for folder in folders:
        for lock in folder.glob(f".{NAME}.*.lock"):
            if not _is_held(lock):
                for leftover in folder.glob(f"{lock.stem}.*"):
                    with contextlib.suppress(OSError):
                        leftover.unlink()


def _is_held(lock: Path) -> bool:
    """Return whether another run still holds a lock of the program."""
    if sys.platform == "win32":  # files that another run has open cannot be removed there
        return False
    import fcntl

    with contextlib.suppress(OSError), lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    return True
