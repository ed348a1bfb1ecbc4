"""Which part of a scene is wanted, as pixels."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_geom
from rasterio.windows import Window

from geodecloud.errors import UsageError

_LONLAT = "OGC:CRS84"  # of GeoJSON, by RFC 7946


def placed(dataset: Any) -> bool:
    """Whether a raster says where on Earth it lies: not by no CRS, nor by one of its own."""
    crs = dataset.crs
    return crs is not None and bool(crs.is_geographic or crs.is_projected)


def bounds_of(shape: tuple[int, int], transform: Any) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of (rows, columns) of pixels, however they are turned."""
    rows, columns = shape
    corners = [transform * place for place in ((0, 0), (columns, 0), (0, rows), (columns, rows))]
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def find_area(dataset: Any, aoi: str | Path) -> Window:
    """The rectangle of whole pixels around an area of interest, cut to the scene.

    Args:
        dataset: an open raster.
        aoi: ``"left,bottom,right,top"`` in the raster's CRS; or a GeoJSON file in longitude and
            latitude, or in the CRS that its ``crs`` member names as older programs write it.

    Raises:
        UsageError: it is neither, lies outside the raster, or the raster has no transform.
    """
    if dataset.gcps[0] and dataset.transform.is_identity:
        raise UsageError("aoi: the scene is placed by control points only; gdalwarp it first")
    points = _corners(str(aoi)) or _vertices(Path(aoi), dataset)
    to_pixel = ~dataset.transform
    columns, rows = zip(*(to_pixel * point for point in points), strict=True)
    left, right = _whole(min(columns), max(columns), dataset.width)
    top, bottom = _whole(min(rows), max(rows), dataset.height)
    if left >= right or top >= bottom:
        raise UsageError(f"aoi is {aoi}: it lies outside the scene, {tuple(dataset.bounds)}")
    return Window(left, top, right - left, bottom - top)


def _whole(low: float, high: float, length: int) -> tuple[int, int]:
    """First and last (not included) of the pixels touched; a hair's breadth is no touch."""
    return max(0, math.floor(low + 1e-6)), min(length, math.ceil(high - 1e-6))


def _corners(text: str) -> list[tuple[float, float]] | None:
    """Of bounds, all four, as the raster may be rotated; None where the text is no bounds."""
    try:
        left, bottom, right, top = (float(part) for part in text.split(","))
    except ValueError:
        return None
    if not (left < right and bottom < top and all(map(math.isfinite, (left, bottom, right, top)))):
        raise UsageError(f"aoi is {text}: give left,bottom,right,top, left and bottom smaller")
    return [(x, y) for x in (left, right) for y in (bottom, top)]


def _vertices(path: Path, dataset: Any) -> list[tuple[float, float]]:
    """Of all that is in a GeoJSON file, in the raster's CRS."""
    try:
        collection = json.loads(path.read_text(encoding="utf-8"))
        geometries = list(_geometries(collection))
        named = collection.get("crs")
        crs = CRS.from_user_input(named["properties"]["name"] if named else _LONLAT)
        if dataset.crs is None:
            raise UsageError(f"aoi is {path}: the scene has no CRS; give bounds in its own numbers")
        there = [transform_geom(crs, dataset.crs, geometry) for geometry in geometries]
        points = [point for geometry in there for point in _points(geometry["coordinates"])]
    except FileNotFoundError:
        raise UsageError(
            f"aoi is {path}: neither four numbers left,bottom,right,top nor a GeoJSON file"
        ) from None
    except (
        *(ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError),
        *(CRSError, RasterioError),
    ) as error:
        raise UsageError(f"aoi is {path}: not a GeoJSON file of places ({error})") from error
    if not points or not all(map(math.isfinite, (number for p in points for number in p))):
        raise UsageError(f"aoi is {path}: holds no place that the scene's CRS knows")
    return points


def _geometries(thing: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if thing["type"] == "FeatureCollection":
        for feature in thing["features"]:
            yield from _geometries(feature)
    elif thing["type"] == "Feature":
        yield from _geometries(thing["geometry"])
    elif thing["type"] == "GeometryCollection":
        for geometry in thing["geometries"]:
            yield from _geometries(geometry)
    else:
        yield thing


def _points(coordinates: Any) -> Iterator[tuple[float, float]]:
    if isinstance(coordinates[0], int | float):
        yield float(coordinates[0]), float(coordinates[1])
    else:
        for part in coordinates:
            yield from _points(part)
