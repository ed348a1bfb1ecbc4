"""Keep GDAL off the network unless the user allows it, whatever a file refers to.

A VRT may name sources that GDAL fetches: ``/vsicurl/``, a WMS, an object store. Such names are
refused. GDAL has no single switch for the network, but all of its drivers use curl. To stop names
that this module does not recognise, curl gets a proxy that does not exist.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager

from geodecloud.errors import UsageError
from geodecloud.raster.process import process_is_owned
from geodecloud.raster.thread_options import options_here, thread_options
from geodecloud.raster.vrt_sources import is_remote, is_xml, names_read, xml_of

# Nothing listens on port 1 of this machine.
_NOWHERE = "127.0.0.1:1"
_OFFLINE = {
    "GDAL_HTTP_PROXY": _NOWHERE,
    "GDAL_HTTPS_PROXY": _NOWHERE,
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_HTTP_TIMEOUT": "0.001",  # seconds; of hosts that no_proxy names
    "VRT_NUM_THREADS": "1",  # threads of GDAL's own would not have these options
}
# Users change these for object stores, which would hide masks that lie beside local files.
_BESIDE = {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE", "GDAL_PAM_ENABLED": "YES"}
_EXCEPTIONS = ("no_proxy", "NO_PROXY")  # variables that name hosts to reach without the proxy
_SERVICE = re.compile(  # the description of a service on the network
    r"\s*(?:<\?[^>]*\?>\s*)?<(?:GDAL_|WM[ST]|WMTS|WCS|Capabilities)", re.IGNORECASE
)


def refuse_remote(name: str, *, allowed: bool) -> None:
    """Refuse a name on the network, and a VRT that names a source there.

    Raises:
        UsageError: ``name`` is on the network, and the network is not ``allowed``.
    """
    if allowed:
        return
    if not is_xml(name) and is_remote(name):
        raise UsageError(f"{name}: is on the network; give `allow_network` to read it")
    if source := next(_sources(name), None):
        raise UsageError(
            f"{_short(name)}: reads {source} on the network; give `allow_network` to allow it"
        )


def refuse_remote_here(name: str) -> None:
    """Refuse a name on the network, see :func:`refuse_remote`, where this thread is offline."""
    refuse_remote(name, allowed=not options_here().keys() >= _OFFLINE.keys())


def offline(*, allowed: bool, local: bool = True) -> AbstractContextManager[None]:
    """Keep GDAL off the network in this thread in a ``with`` block, unless it is ``allowed``.

    Args:
        local: whether files beside the scene are found, whatever the user's options say.
    """
    beside = _BESIDE if local or not allowed else dict.fromkeys(_BESIDE)
    if allowed:  # even if the caller is offline
        return thread_options({**dict.fromkeys(_OFFLINE), **beside})
    if process_is_owned():
        for name in _EXCEPTIONS:
            os.environ.pop(name, None)
    return thread_options({**_OFFLINE, **beside})


def _sources(name: str) -> Iterator[str]:
    """Yield the sources on the network that a VRT names, through VRTs within it.

    Args:
        name: the VRT's file or its text.
    """
    for source in names_read([name]):
        if (source != name and is_remote(source)) or _SERVICE.match(xml_of(source)):
            yield _short(source)


def _short(name: str) -> str:
    """Return a name for a message; XML is cut to its beginning."""
    return " ".join(name.split())[:100] if is_xml(name) else name
