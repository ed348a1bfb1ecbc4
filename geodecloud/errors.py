"""Define the errors and warnings, with messages for the user.

Every message is one line that names the file, the value and the remedy. A name in backticks is a
parameter: the command line shows the option in its place. The command line prints the message and
exits with ``exit_code``; a library user catches ``GeodecloudError``, or the builtin error that
each class also is.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The messages of the run that this thread works for; None: nobody records them.
_recorded: ContextVar[list[str] | None] = ContextVar("recorded", default=None)
_muted: ContextVar[tuple[type[Warning], ...]] = ContextVar("muted", default=())


class GeodecloudError(Exception):
    """The work failed: base of all errors that geodecloud raises on purpose."""

    exit_code = 1


class UsageError(GeodecloudError, ValueError):
    """The request makes no sense, or does not fit the files that it names."""

    exit_code = 2


class UnknownBandsError(UsageError):
    """A raster does not say which of its bands are red, green and blue."""

    @property
    def problem(self) -> str:
        """The message without its remedy, an option of the scene."""
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.problem}; give `bands`"


class SceneError(GeodecloudError, OSError):
    """The input scene cannot be read or is not a scene that clouds can be removed from."""


class OutputError(GeodecloudError, OSError):
    """The output cannot be written."""


class ModelError(GeodecloudError, OSError):
    """The model file is missing, damaged or of another kind."""


class ConfigError(GeodecloudError, ValueError):
    """A configuration file has an unknown key or an impossible value."""


class DataError(GeodecloudError, OSError):
    """Training data is missing or damaged."""


class GeodecloudWarning(UserWarning):
    """The work goes on, but its result may not be what was meant: base of all warnings."""


class BandsWarning(GeodecloudWarning):
    """Bands are assumed or missing, in the scene, a mask or a reference."""


class RadiometryWarning(GeodecloudWarning):
    """Scale, offset or haze are assumed, or contradict the picture."""


class NodataWarning(GeodecloudWarning):
    """A value is taken for nodata that the scene does not declare, or no pixel has data."""


class GeoreferenceWarning(GeodecloudWarning):
    """The scene does not say where or when it was taken."""


class OutputWarning(GeodecloudWarning):
    """The output's format differs from the scene's, or an earlier run's files are not kept."""


class FillWarning(GeodecloudWarning):
    """No ground is visible to fill from, most of the scene is invented, or nothing changed."""


class DeviceWarning(GeodecloudWarning):
    """The network runs in another precision, or in smaller batches, than requested."""


class PixelSizeWarning(GeodecloudWarning):
    """The scene's pixels are smaller than those that the model is made for."""


class RoomWarning(GeodecloudWarning):
    """The work takes longer, since a disk has too little room."""


class DataWarning(GeodecloudWarning):
    """Data is incomplete, or an optional library is missing."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, for a message: 1 band, 2 bands."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def warn(category: type[GeodecloudWarning], message: str) -> None:
    """Warn the caller of the package."""
    if issubclass(category, _muted.get()):
        return
    messages = _recorded.get()
    if messages is not None:
        messages.append(message)
    warnings.warn(message, category, stacklevel=2)


@contextmanager
def recorded_warnings() -> Iterator[list[str]]:
    """Record the messages of a run's warnings while the ``with`` block runs.

    The warnings go on to the caller. A thread belongs to the run if its function is
    :func:`geodecloud.raster.thread_options.inherited` there.
    """
    messages: list[str] = []
    token = _recorded.set(messages)
    try:
        yield messages
    finally:
        _recorded.reset(token)


@contextmanager
def muted(*categories: type[Warning]) -> Iterator[None]:
    """Do not warn of these categories while the ``with`` block runs, as their remedies mislead."""
    token = _muted.set((*_muted.get(), *categories))
    try:
        yield
    finally:
        _muted.reset(token)
