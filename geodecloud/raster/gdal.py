"""Open rasters, and turn GDAL's failures into one line.

All rasters are opened for reading here, so that all fail and warn alike.
"""

import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from geodecloud.errors import GeodecloudError, SceneError
from geodecloud.raster.jp2 import refuse_damaged_boxes
from geodecloud.raster.offline import refuse_remote_here
from geodecloud.raster.process import DATA_VARIABLES
from geodecloud.raster.thread_options import thread_options

# GDAL's failures in rasterio: copying and transforming geometries raise GDAL's own exceptions.
GDAL_ERRORS = (RasterioError, CPLE_BaseError)
_WGS84 = 4326  # EPSG code
# A rectangle without a size in a VRT source, as GDAL writes it: GDAL reads nothing for it, and
# returns uninitialised memory.
_UNSIZED = re.compile(r'<(?:Src|Dst)Rect [^>]*Size="-1"')
_filters = threading.Lock()
_users: Counter[type[Warning]] = Counter()  # `with` blocks that ignore a category
_added: set[type[Warning]] = set()  # categories that were not ignored before


def open_raster(name: str | Path, label: str = "", kind: str = "raster") -> Any:
    """Open a raster for reading: a ``rasterio.DatasetReader``.

    Args:
        name: a file, or any other name that GDAL opens, like the text of a VRT.
        label: the name in messages; empty: ``name``.
        kind: what the raster should be, in messages.

    Raises:
        SceneError: the raster cannot be opened.
        UsageError: the raster is on the network, which this run may not read.
    """
    refuse_remote_here(str(name))
    refuse_damaged_boxes(Path(name), label or str(name))
    try:
        with without_georeference_warning():
            dataset = rasterio.open(name)
    except UnicodeEncodeError as error:  # GDAL takes names in UTF-8 alone
        raise SceneError(f"{label or name}: its name is not UTF-8 text; rename the file") from error
    except (RasterioError, UnicodeDecodeError) as error:
        reason = str(error).removeprefix(f"{name}: ")
        raise SceneError(f"{label or name}: cannot be opened as a {kind} ({reason})") from error
    if dataset.driver == "VRT" and _UNSIZED.search(dataset.tags(ns="xml:VRT").get("xml:VRT", "")):
        dataset.close()
        raise SceneError(
            f"{label or name}: damaged VRT: a SrcRect or DstRect has no xSize or ySize; "
            "make it again with gdalbuildvrt"
        )
    return dataset


@contextmanager
def open_geotiff_bytes(data: bytes) -> Iterator[Any]:
    """Open the bytes of a GeoTIFF like a file."""
    with MemoryFile(data) as memory, memory.open(driver="GTiff") as dataset:
        yield dataset


@contextmanager
def failures_as(message: str, error: type[GeodecloudError] = SceneError) -> Iterator[None]:
    """Turn GDAL's failures within the ``with`` block into ``error``: the message and a reason."""
    try:
        yield
    except RasterioError as failure:
        raise error(f"{message} ({failure.__cause__ or failure})") from failure


@contextmanager
def late_failures_as(message: str) -> Iterator[None]:
    """Turn GDAL's own exceptions, raised after opening, into SceneError."""
    try:
        yield
    except (CPLE_BaseError, CRSError, UnicodeDecodeError) as failure:
        raise SceneError(f"{message} ({failure})") from failure


@contextmanager
def without_warning(category: type[Warning]) -> Iterator[None]:
    """Ignore a category of rasterio's warnings while the ``with`` block runs.

    Warning filters belong to the whole process. ``warnings.catch_warnings`` would restore all of
    them, and undo what other threads have changed meanwhile.
    """
    ignored = ("ignore", None, category, None, 0)  # as `simplefilter` adds it
    filters: Any = warnings.filters
    with _filters:
        _users[category] += 1
        if _users[category] == 1 and ignored not in filters:
            warnings.simplefilter("ignore", category)
            _added.add(category)
    try:
        yield
    finally:
        filters = warnings.filters
        with _filters:
            _users[category] -= 1
            if not _users[category] and category in _added:
                _added.discard(category)
                with suppress(ValueError):
                    filters.remove(ignored)


def without_georeference_warning() -> AbstractContextManager[None]:
    """Silence rasterio's warning of a raster without a CRS: geodecloud has its own."""
    return without_warning(NotGeoreferencedWarning)


def gdal_resources(cache: int, threads: int) -> AbstractContextManager[None]:
    """Return a context in which GDAL caches ``cache`` bytes and compresses in ``threads`` threads.

    GDAL reads the size of its cache once, when the process opens its first raster.
    """
    return thread_options({"GDAL_CACHEMAX": str(cache), "GDAL_NUM_THREADS": str(threads)})


def require_proj() -> None:
    """Refuse to work with a PROJ that finds no data: it would drop every CRS silently.

    Raises:
        GeodecloudError: PROJ finds no data, mostly because an environment variable names another
            installation's.
    """
    try:
        with rasterio.Env():  # which keeps PROJ from writing to stderr
            CRS.from_epsg(_WGS84)
    except CRSError as error:
        given = next((name for name in DATA_VARIABLES if os.environ.get(name)), None)
        remedy = (
            f"{given} is {os.environ[given]}, another installation's; unset {given}"
            if given
            else "reinstall rasterio"
        )
        raise GeodecloudError(f"PROJ finds no coordinate systems: {remedy}") from error
