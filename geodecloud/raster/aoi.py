"""Find the pixels of an area of interest."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError, WindowError
from rasterio.features import geometry_window
from rasterio.warp import transform
from rasterio.windows import Window

from geodecloud.errors import UsageError
from geodecloud.raster.gdal import GDAL_ERRORS
from geodecloud.raster.grid import Bounds, Grid, bounds_overlap
from geodecloud.settings.text import read_text

Line = NDArray[np.float64]  # (corners, 2): x and y of each corner

_LONLAT = "OGC:CRS84"  # GeoJSON's CRS, by RFC 7946
_MOST_LONGITUDE, _MOST_LATITUDE = 360, 90  # degrees; some programs count from 0 to 360
_TURN = 360  # degrees
_HAIR = 1e-6  # pixels; an area that reaches less far into a pixel does not touch it
# A straight edge is curved in another CRS: so many points along the scene show its curve to less
# than a hundredth of a pixel.
_POINTS = 1000
_MARGIN = 0.01  # of the scene's width and height, beyond which an area's corners are moved


def find_area(dataset: Any, aoi: str | Path) -> Window:
    """Return the rectangle of whole pixels around an area of interest, cut to the raster.

    Args:
        dataset: an open raster.
        aoi: ``"left,bottom,right,top"`` in the raster's CRS; or a GeoJSON file in longitude and
            latitude, or in the CRS of its ``crs`` member, which older programs write.

    Raises:
        UsageError: ``aoi`` is neither or lies outside the raster, or the raster has only control
            points.
    """
    if dataset.gcps[0] and dataset.transform.is_identity:
        raise UsageError(
            "`aoi` needs a georeferenced scene, and this one has control points only; gdalwarp it "
            "first"
        )
    corners = _rectangle(str(aoi))
    crs, lines = (None, []) if corners is not None else _read(Path(aoi), dataset)
    try:
        corners = _project(lines, crs, dataset) if corners is None else corners
        around = {"type": "MultiPoint", "coordinates": corners.tolist()}
        return geometry_window(dataset, [around], pad_x=-_HAIR, pad_y=-_HAIR)
    except WindowError:
        scene = ",".join(f"{edge:.10g}" for edge in dataset.bounds)
        raise UsageError(f"`aoi` is {aoi}: it lies outside the scene, {scene}") from None
    except (ValueError, OverflowError, *GDAL_ERRORS) as error:
        raise UsageError(
            f"`aoi` is {aoi}: it is empty, or cannot be projected to the scene's CRS"
        ) from error


def _rectangle(text: str) -> Line | None:
    """Return the corners of "left,bottom,right,top"; None: the text is something else."""
    try:
        left, bottom, right, top = (float(part) for part in text.split(","))
    except ValueError:
        return None
    if not (left < right and bottom < top and all(map(math.isfinite, (left, bottom, right, top)))):
        raise UsageError(
            f"`aoi` is {text}: give left,bottom,right,top with left < right, bottom < top"
        )
    return np.array([*product((left, right), (bottom, top))])


def _read(path: Path, dataset: Any) -> tuple[CRS, list[Line]]:
    """Return the CRS of a GeoJSON file, and the lines of all its geometries."""
    if not path.exists():
        raise UsageError(
            f"`aoi` is {path}: neither four numbers left,bottom,right,top nor a GeoJSON file"
        )
    if dataset.crs is None:
        raise UsageError(f"`aoi` is {path}: the scene has no CRS; give bounds in scene coordinates")
    try:
        collection = json.loads(read_text(path))
        named = collection.get("crs")
        crs = CRS.from_user_input(named["properties"]["name"] if named else _LONLAT)
        found = [thing["coordinates"] for thing in _geometries(collection)]
        lines = [np.array(line) for coordinates in found for line in _lines(coordinates)]
    except (
        *(ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OSError),
        *(CRSError, *GDAL_ERRORS),
    ) as error:
        raise UsageError(
            f"`aoi` is {path}: not a GeoJSON file with geometries ({error})"
        ) from error
    _refuse_impossible(path, lines, lonlat=crs.is_geographic)
    return crs, lines


def _project(lines: Iterable[Line], crs: CRS, dataset: Any) -> Line:
    """Return points along the lines that meet a raster, in its CRS.

    Far corners are moved to the edge of the raster, as they may have no place in its CRS.

    Raises:
        WindowError: no line meets the raster.
        ValueError: the lines cannot be projected.
    """
    left, bottom, right, top = Grid.of(dataset).bounds_in(crs)
    if crs.is_geographic and left > right:  # the raster crosses the antimeridian
        right += _TURN
    turns = (-_TURN, 0, _TURN) if crs.is_geographic else (0,)
    turned = [line + np.array([turn, 0.0]) for line in lines for turn in turns]
    raster = left, bottom, right, top
    around = [(*line.min(axis=0), *line.max(axis=0)) for line in turned]
    near = [line for line, box in zip(turned, around, strict=True) if bounds_overlap(raster, box)]
    if not near:
        raise WindowError("no line meets the raster")
    x_margin, y_margin = _MARGIN * (right - left), _MARGIN * (top - bottom)
    box = (left - x_margin, bottom - y_margin, right + x_margin, top + y_margin)
    step = max(right - left, top - bottom) / _POINTS
    x, y = np.concatenate([_divided(_cut(line, box), step) for line in near]).T
    points: Line = np.column_stack(transform(crs, dataset.crs, x, y))
    if crs.is_geographic and dataset.crs.is_geographic:  # another datum ends at the antimeridian
        points[:, 0] += _TURN * np.round((x - points[:, 0]) / _TURN)
    return points[np.isfinite(points).all(axis=1)]


def _cut(line: Line, box: Bounds) -> Line:
    """Return a line with corners where it crosses the edges of a box, and none outside of it.

    Corners outside are moved to the nearest place in the box.
    """
    start, step = line[:-1, None], np.diff(line, axis=0)[:, None]
    edges = np.array(box).reshape(1, 2, 2)  # left and bottom, right and top
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.nan_to_num((edges - start) / step).reshape(-1, 4)
    along = np.sort(np.clip(np.insert(crossings, 0, 0, axis=1), 0, 1), axis=1)
    corners = (start + along[:, :, None] * step).reshape(-1, 2)
    inside: Line = np.clip(np.vstack([corners, line[-1]]), edges[0, 0], edges[0, 1])
    return inside


def _divided(line: Line, step: float) -> Line:
    """Return a line with corners at most ``step`` apart."""
    distance = np.insert(np.cumsum(np.hypot(*np.diff(line, axis=0).T)), 0, 0)
    places = np.union1d(distance, np.arange(0, distance[-1], step))
    return np.column_stack([np.interp(places, distance, axis) for axis in line.T])


def _refuse_impossible(path: Path, lines: list[Line], *, lonlat: bool) -> None:
    """Refuse an area without corners, or with corners that are not on the Earth.

    Raises:
        UsageError: there are no corners, or one is not finite or not a longitude and latitude.
    """
    if not lines:
        raise UsageError(f"`aoi` is {path}: it has no geometry; draw an area")
    corners = np.concatenate(lines)
    if not np.isfinite(corners).all():
        raise UsageError(f"`aoi` is {path}: has corners that are not finite; draw it again")
    for x, y in corners if lonlat else ():
        if abs(x) > _MOST_LONGITUDE or abs(y) > _MOST_LATITUDE:
            raise UsageError(
                f"`aoi` is {path}: {x:g}, {y:g} is not a longitude and latitude; save it in "
                "EPSG:4326 or name its CRS in a crs member"
            )


def _lines(coordinates: Any) -> Iterator[list[tuple[float, float]]]:
    """Yield the lines of a geometry, x and y of each corner, however deeply they are nested."""
    if not coordinates:
        return
    first = coordinates[0]
    if not isinstance(first, list | tuple):  # a point
        yield [(float(coordinates[0]), float(coordinates[1]))]
    elif first and not isinstance(first[0], list | tuple):
        yield [(float(corner[0]), float(corner[1])) for corner in coordinates]
    else:
        for part in coordinates:
            yield from _lines(part)


def _geometries(thing: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the geometries of a feature, collection or geometry; RFC 7946 allows a null one."""
    if thing is None:
        return
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
