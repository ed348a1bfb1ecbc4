"""Find the files that a VRT reads, through VRTs within it."""

import html
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_SOURCE = re.compile(r"<Source(?:Filename|Dataset)([^>]*)>(.*?)</Source", re.DOTALL)
_REMOTE = re.compile(
    r"/vsi(?!zip|tar|gzip|mem|subfile|sparse|cached|stdin|7z|rar)\w+/|\b(?!file:|vrt:)\w+://"
    r"|^(?:wms|wmts|wcs|ogcapi|plmosaic|eedai|daas|ngw|stacta|stacit):"
)
_RELATIVE = re.compile(r"relativeToVRT\s*=\s*.1")
_MOST_TEXT = 1 << 26  # bytes read of a VRT


def is_remote(name: str) -> bool:
    """Return whether a name that GDAL opens is on the network."""
    return _REMOTE.search(name.lower()) is not None


def is_xml(name: str) -> bool:
    """Return whether a name that GDAL opens is the text of a file, not its path."""
    return name.lstrip().startswith("<")


def xml_of(name: str) -> str:
    """Return the text of an XML file, or of a name that is one; empty for any other file."""
    if is_xml(name):
        return name
    file = Path(name)
    try:
        if not file.is_file():
            return ""
        with file.open("rb") as opened:
            start = opened.read(256)
            if not start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
                return ""
            text = start + opened.read(_MOST_TEXT)
            return text.decode(errors="replace").lstrip("\ufeff")
    except (OSError, ValueError):
        return ""


def sources_of(name: str) -> Iterator[str]:
    """Yield the names that a VRT reads itself; none for any other file.

    Args:
        name: the VRT's file or its text.
    """
    for attributes, escaped in _SOURCE.findall(xml_of(name)):
        source = html.unescape(escaped).strip()
        absolute = is_remote(source) or is_xml(source) or is_xml(name)
        beside = _RELATIVE.search(attributes) and not absolute
        yield str(Path(name).parent / source) if beside else source


def names_read(names: Iterable[str | Path]) -> Iterator[str]:
    """Yield these names and all those that VRTs among them read, each once; some may be XML."""
    known: set[str] = set()
    waiting = [str(name) for name in names]
    for name in waiting:  # which grows
        place = os.path.normpath(name)  # "a/../a/b.vrt" is "a/b.vrt", or a loop would have no end
        if place not in known:
            known.add(place)
            yield name
            waiting += sources_of(name)


def files_read(names: Iterable[str | Path]) -> list[str]:
    """Return these files and all those that VRTs among them read, each once."""
    return [name for name in names_read(names) if not is_xml(name)]
