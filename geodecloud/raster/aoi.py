"""Find the pixels of an area of interest."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rasterio.errors import CRSError, WindowError
from rasterio.features import geometry_window
from rasterio.warp import transform_geom
from rasterio.windows import Window

from geodecloud.errors import UsageError
from geodecloud.raster.gdal import GDAL_ERRORS
from geodecloud.settings.text import read_text

_LONLAT = "OGC:CRS84"  # GeoJSON's CRS, by RFC 7946
_MOST_LONGITUDE, _MOST_LATITUDE = 360, 90  # degrees; some programs count from 0 to 360
_HAIR = 1e-6  # pixels; an area that reaches less far into a pixel does not touch it


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
    bounds = _bounds(str(aoi))
    geometries = [_rectangle(*bounds)] if bounds else _read_geometries(Path(aoi), dataset)
    try:
        return geometry_window(dataset, geometries, pad_x=-_HAIR, pad_y=-_HAIR)
    except WindowError:
        scene = ",".join(f"{edge:.10g}" for edge in dataset.bounds)
        raise UsageError(f"`aoi` is {aoi}: it lies outside the scene, {scene}") from None
    except (ValueError, OverflowError, TypeError, KeyError, IndexError) as error:
        raise UsageError(
            f"`aoi` is {aoi}: it is empty, or cannot be projected to the scene's CRS"
        ) from error


def _bounds(text: str) -> tuple[float, float, float, float] | None:
    """Return left, bottom, right, top, or None where the text is something else."""
    try:
        left, bottom, right, top = (float(part) for part in text.split(","))
    except ValueError:
        return None
    if not (left < right and bottom < top and all(map(math.isfinite, (left, bottom, right, top)))):
        raise UsageError(
            f"`aoi` is {text}: give left,bottom,right,top with left < right, bottom < top"
        )
    return left, bottom, right, top


def _rectangle(left: float, bottom: float, right: float, top: float) -> dict[str, Any]:
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    return {"type": "Polygon", "coordinates": [corners]}


def _read_geometries(path: Path, dataset: Any) -> list[dict[str, Any]]:
    """Return all geometries of a GeoJSON file, in the raster's CRS."""
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
        found = list(_geometries(collection))
        corners = [corner for thing in found for corner in _corners(thing["coordinates"])]
        _refuse_impossible(path, corners, lonlat=crs.is_geographic)
        return [transform_geom(crs, dataset.crs, thing) for thing in found]
    except UsageError:
        raise
    except (
        *(ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OSError),
        *(CRSError, *GDAL_ERRORS),
    ) as error:
        raise UsageError(
            f"`aoi` is {path}: not a GeoJSON file with geometries ({error})"
        ) from error


def _refuse_impossible(path: Path, corners: list[tuple[float, float]], *, lonlat: bool) -> None:
    """Refuse an area without corners, or with corners that are not on the Earth.

    Raises:
        UsageError: there are no corners, or one is not finite or not a longitude and latitude.
    """
    if not corners:
        raise UsageError(f"`aoi` is {path}: it has no geometry; draw an area")
    if not all(map(math.isfinite, (number for corner in corners for number in corner))):
        raise UsageError(f"`aoi` is {path}: has corners that are not finite; draw it again")
    for x, y in corners if lonlat else ():
        if abs(x) > _MOST_LONGITUDE or abs(y) > _MOST_LATITUDE:
            raise UsageError(
                f"`aoi` is {path}: {x:g}, {y:g} is not a longitude and latitude; save it in "
                "EPSG:4326 or name its CRS in a crs member"
            )


def _corners(coordinates: Any) -> Iterator[tuple[float, float]]:
    """Yield x and y of all corners, however deeply the coordinates are nested."""
    if coordinates and not isinstance(coordinates[0], list | tuple):
        yield float(coordinates[0]), float(coordinates[1])
        return
    for part in coordinates:
        yield from _corners(part)


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
