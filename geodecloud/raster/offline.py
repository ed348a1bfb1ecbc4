"""Keep GDAL off the network unless the user allows it, whatever a file refers to.

A VRT may name sources that GDAL fetches: ``/vsicurl/``, a WMS, an object store. GDAL has no switch
for all of them, but all go through curl, and curl goes through a proxy.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from geodecloud.errors import UsageError

# Nothing listens on port 1 of this machine. GDAL reads environment variables in every thread, also
# in threads that read from the file later.
_NOWHERE = "127.0.0.1:1"
_OFFLINE = {
    "GDAL_HTTP_PROXY": _NOWHERE,
    "GDAL_HTTPS_PROXY": _NOWHERE,
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_MAX_RETRY": "0",
}
_EXCEPTIONS = ("no_proxy", "NO_PROXY")  # name hosts that curl would reach past the proxy
_REMOTE = re.compile(
    r"/vsi(?!zip|tar|gzip|mem|subfile|sparse|cached|stdin|7z|rar)\w+/|\b(?!file:|vrt:)\w+://"
)

_lock = threading.Lock()
_users = 0
_before: dict[str, str | None] = {}


def refuse_remote(name: str, *, allowed: bool) -> None:
    """Refuse a name on the network.

    Raises:
        UsageError: ``name`` is on the network, and the network is not ``allowed``.
    """
    if not allowed and _REMOTE.search(name.lower()):
        raise UsageError(f"{name}: is on the network; `allow_network` reads it")


@contextmanager
def offline(*, allowed: bool) -> Iterator[None]:
    """Keep GDAL off the network while the ``with`` block runs, unless it is ``allowed``."""
    if allowed:
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _users  # noqa: PLW0603  the environment is the process's, and so is the count
    with _lock:
        _users += 1
        if _users == 1:
            _before.update({name: os.environ.get(name) for name in (*_OFFLINE, *_EXCEPTIONS)})
            os.environ.update(_OFFLINE)
            for name in _EXCEPTIONS:
                os.environ.pop(name, None)


def _leave() -> None:
    global _users  # noqa: PLW0603
    with _lock:
        _users -= 1
        if _users == 0:
            for name, value in _before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
