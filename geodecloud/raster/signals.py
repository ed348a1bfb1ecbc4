"""Turn a request to end into an exception that no library can lose. Standard library only.

A signal handler raises wherever the main thread happens to be. Libraries drop exceptions: GDAL in
its callbacks, Python in destructors, NumPy when it looks up attributes of a type. The run would
then go on regardless. So an exception that is dropped on its way sends its signal again.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

_PAUSE = 0.05  # seconds; by then the code that dropped the exception has finished
_listening = False


def requests() -> list[int]:
    """Return the signals that ask a program to end: Ctrl-C, SIGTERM and a closed terminal.

    A closed terminal that is ignored, as under nohup, does not count.
    """
    heeded: list[int] = [signal.SIGINT, signal.SIGTERM]
    hangup: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        heeded.append(hangup)
    return heeded


class Stopped(BaseException):
    """A request to end, which passes through every ``with`` block up to :func:`stopped_by`'s.

    Attributes:
        number: number of the signal.
        arrived: to be set where the exception is finally caught.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.arrived = False

    def __del__(self) -> None:
        if _listening and not self.arrived:
            again = threading.Timer(_PAUSE, _send, (self.number,))
            again.daemon = True
            with contextlib.suppress(RuntimeError):  # the interpreter ends
                again.start()


@contextlib.contextmanager
def stopped_by(*numbers: int) -> Iterator[None]:
    """Raise :class:`Stopped` in the main thread at these signals while the ``with`` block runs.

    The block must catch it, and set its ``arrived``.
    """
    global _listening
    handlers = {number: signal.signal(number, _stop) for number in numbers}
    before, _listening = _listening, True
    hook = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Stopped) else hook(lost)
    try:
        yield
    finally:
        _listening, sys.unraisablehook = before, hook
        for number, handler in handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Delay a request to end until the end of the ``with`` block, which must be short."""
    if threading.current_thread() is not threading.main_thread():  # no signal raises here
        yield
        return
    waiting: list[int] = []
    handlers: dict[int, Any] = {}
    try:
        for which in requests():
            handler = signal.getsignal(which)
            if handler not in (None, signal.SIG_IGN):
                handlers[which] = handler
                signal.signal(which, lambda number, _: waiting.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in waiting:
        signal.raise_signal(number)


def _stop(number: int, _: object) -> NoReturn:
    raise Stopped(number)


def _send(number: int) -> None:
    if not _listening:
        return
    if os.name == "nt":  # where `os.kill` ends the process at once
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)
