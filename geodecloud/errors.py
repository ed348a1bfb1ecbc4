"""What can go wrong, in words for the person at the keyboard.

Every message is one line that names the file, the value and the remedy. The command line prints
it and exits with ``exit_code``; a library user catches ``GeodecloudError``.
"""


class GeodecloudError(Exception):
    """The work failed: base of all errors that geodecloud raises on purpose."""

    exit_code = 1


class UsageError(GeodecloudError):
    """The request itself makes no sense, whatever the files hold."""

    exit_code = 2


class SceneError(GeodecloudError):
    """The input scene cannot be read or is not a scene that clouds can be removed from."""


class OutputError(GeodecloudError):
    """The output cannot be written."""


class ModelError(GeodecloudError):
    """The model file is missing, damaged or of another kind."""


class ConfigError(GeodecloudError):
    """A configuration file has an unknown key or an impossible value."""


class DataError(GeodecloudError):
    """Training data is missing or damaged."""
