"""Tell whether scenes and outputs are still the files that a run has read and made."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from geodecloud.errors import GeodecloudError
from geodecloud.raster.endings import GEOTIFF
from geodecloud.raster.gdal import GDAL_ERRORS, open_raster
from geodecloud.raster.origin import is_raster, tags_of_output
from geodecloud.raster.unfinished import SIDECARS
from geodecloud.raster.vrt_sources import files_read

MISSING, DAMAGED, ANOTHER = "is missing", "is damaged", "is another file"  # what outputs may be
# What viewers write into a scene's .aux.xml; it has no part in the pixels.
_STATISTICS = re.compile(
    r"<Histograms>.*?</Histograms>|<MDI key=.STATISTICS_\w+.>[^<]*</MDI>"
    r"|</?(?:PAMDataset|PAMRasterBand|Metadata)\b[^>]*>|\s",
    re.DOTALL,
)


class Stamp(NamedTuple):
    """The size, time and tags of an output, by which :func:`fault_of` knows it again.

    size: bytes.
    mtime: seconds since 1970 of the last change.
    tags: a hash of geodecloud's tags; empty: it has none.
    """

    size: int
    mtime: float
    tags: str


@dataclass(frozen=True)
class Fingerprint:
    """The size and time of a source: if they are the same, its content is taken for the same.

    size: bytes; of a folder, of all its files.
    mtime: seconds since 1970 of the last change; of a folder, the latest of its files.
    beside: a hash of the sizes and times of what is read with a file: masks, metadata and
        overviews beside it, and the sources of a VRT; empty: there are none.
    """

    size: int
    mtime: float
    beside: str = ""


def fingerprint_of(path: Path) -> Fingerprint | None:
    """Return the fingerprint of a file or folder; None if it is not there."""
    try:
        return Fingerprint(*size_and_time(path), "" if path.is_dir() else _beside(path))
    except OSError:  # missing, or removed meanwhile
        return None


def size_and_time(path: Path) -> tuple[int, float]:
    """Return the size and time of a file or folder, see :class:`Fingerprint`.

    Raises:
        OSError: it is not there.
    """
    status = path.stat()
    if not path.is_dir():
        return status.st_size, status.st_mtime
    files = [file.stat() for file in path.rglob("*")]
    return sum(file.st_size for file in files), max(one.st_mtime for one in [status, *files])


def _beside(path: Path) -> str:
    # Other scenes need not be opened to know that they have no sources.
    sources = files_read([path])[1:] if path.suffix.lower() == ".vrt" else []
    sidecars = [f"{name}{suffix}" for name in (path, *sources) for suffix in SIDECARS]
    facts = [
        (str(file), file.stat().st_size, file.stat().st_mtime)
        for file in map(Path, (*sources, *sidecars))
        if file.is_file() and not _holds_statistics_alone(file)
    ]
    return _hash(facts) if facts else ""


def _holds_statistics_alone(file: Path) -> bool:
    if not file.name.endswith(".aux.xml"):
        return False
    return not _STATISTICS.sub("", file.read_text("utf-8", errors="replace"))


def _hash(facts: Iterable[object]) -> str:
    return hashlib.sha256(repr(sorted(facts)).encode()).hexdigest()[:16]  # type: ignore[type-var]


def stamp(path: Path) -> Stamp | None:
    """Return the stamp of an output; None: it is not there, or was taken away meanwhile."""
    try:
        tags = tags_of_output(path) if path.suffix.lower() in GEOTIFF else {}
        status = path.stat()  # after opening: a network disk may not know of the new file before
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime, _hash(tags.items()) if tags else "")


def fault_of(path: Path, made: Stamp | None) -> str:
    """Return in a word what has become of an output; empty if it is still what was made.

    A copy counts as well, and so does what was compressed anew or has overviews since. Outputs
    other than rasters may be edited.

    Args:
        made: its stamp; None: not known.
    """
    try:
        status = path.stat()
    except OSError:
        return MISSING
    if not status.st_size:
        return DAMAGED
    if not made or not made.tags or (status.st_size, status.st_mtime) == made[:2]:
        return ""
    now = stamp(path)
    if now is None:
        return MISSING
    if now.tags != made.tags:
        return ANOTHER if is_raster(path) else DAMAGED
    return DAMAGED if now.size < made.size and not _is_whole(path) else ""


def _is_whole(path: Path) -> bool:
    """Return whether all blocks of a raster can be read."""
    try:
        with open_raster(path) as raster:
            for _, window in raster.block_windows(1):
                raster.read(window=window)
    except (GeodecloudError, *GDAL_ERRORS):
        return False
    return True
