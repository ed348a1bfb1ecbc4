"""Write a STAC item beside the output: its footprint, its bands, and its source scene."""

import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rasterio.errors import RasterioError

from geodecloud.errors import GeoreferenceWarning, OutputError, UsageError, warn
from geodecloud.raster.cloud_mask import stac_classes
from geodecloud.raster.descriptions import OPACITY
from geodecloud.raster.dn import json_number
from geodecloud.raster.grid import Bounds
from geodecloud.raster.opacity import NO_PERCENT
from geodecloud.raster.products import find_time
from geodecloud.raster.run_facts import RunFacts
from geodecloud.raster.scene import Scene
from geodecloud.raster.vrt import has_transform
from geodecloud.settings import Output
from geodecloud.version import VERSION

_PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
_CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
# Where a file states its time of acquisition, besides its name.
_TIME_TAGS = ("PRODUCT_START_TIME", "ACQUISITIONDATETIME")
_TIME_OF_FILE = "TIFFTAG_DATETIME"  # by the TIFF standard, when the file was made
_ADDRESS = re.compile(r"\b(https?):/+(.*)")
_TIFF = "image/tiff; application=geotiff"


def item_path(dst: Path) -> Path:
    """Return the path of an output's item."""
    return dst.with_suffix(".json")


def require_pystac() -> None:
    """Refuse a run before its work starts if pystac is missing.

    Raises:
        UsageError: pystac is not installed.
    """
    try:
        import pystac  # noqa: F401
    except ImportError as error:
        raise UsageError("`stac` needs pystac: pip install 'geodecloud[stac]'") from error


def write_item(path: Path, dst: Path, output: Output, run: RunFacts) -> None:
    """Write the item of a finished output.

    Args:
        path: path of the item; its links are relative to the folder of ``dst``.
        dst: path of the restored scene.
        output: paths of the other outputs, and the format.

    Raises:
        OutputError: the item cannot be written.
    """
    item = _make_item(dst, output, run)
    try:
        path.write_text(json.dumps(item, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path.parent}: cannot write STAC item ({error.strerror})") from error


def _make_item(dst: Path, output: Output, run: RunFacts) -> dict[str, Any]:
    """Return a STAC 1.1 item for JSON, with the projection, raster and processing extensions."""
    import pystac
    from pystac.extensions.projection import ProjectionExtension

    scene, bounds = run.scene, _lonlat_bounds(run.scene)
    facts = {**run.settings, "model": run.model_name, **run.fractions}
    item = pystac.Item(
        id=dst.stem,
        geometry=_footprint(bounds) if bounds else None,
        bbox=list(bounds) if bounds else None,
        datetime=_acquired(scene),
        properties={
            "processing:software": {"geodecloud": VERSION},
            "processing:lineage": "clouds removed by geodecloud",
            "processing:expression": {"format": "geodecloud", "expression": facts},
        },
        stac_extensions=[_PROCESSING],
    )
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    epsg = scene.dataset.crs.to_epsg() if scene.dataset.crs else None
    projection.code = f"EPSG:{epsg}" if epsg else None
    if scene.dataset.crs and not epsg:
        projection.wkt2 = scene.dataset.crs.to_wkt(version="WKT2_2019")
    projection.shape = list(scene.shape)
    if has_transform(scene.dataset):
        projection.transform = list(scene.transform)[:6]
    _add_assets(item, dst, output, run)
    item.add_link(pystac.Link("derived_from", _source_address(scene.path)))
    document: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    return document


def _source_address(path: Path) -> str:
    """Return the URL or absolute path of a source, with a URL's slashes, which Path has merged."""
    if match := _ADDRESS.search(path.as_posix()):
        return f"{match[1]}://{match[2]}"
    return str(path.absolute())


def _add_assets(item: Any, dst: Path, output: Output, run: RunFacts) -> None:
    import pystac
    from pystac.extensions.raster import RasterBand, RasterExtension

    scene, radiometry, folder = run.scene, run.radiometry, dst.absolute().parent
    kind = f"{_TIFF}; profile=cloud-optimized" if output.format == "cog" else _TIFF
    data = pystac.Asset(f"./{dst.name}", media_type=kind, roles=["data"])
    item.add_asset("data", data)
    bands = []
    for band in scene.dataset.indexes:
        facts: dict[str, Any] = {
            "nodata": json_number(scene.nodata if run.nodata is None else run.nodata),
            "data_type": str(scene.dtype),
        }
        if band in (*scene.bands, *run.others):  # reflectance = value * scale + offset
            facts["scale"] = 1 / radiometry.scale
            facts["offset"] = radiometry.offset / radiometry.scale
        bands.append(RasterBand.create(**facts))
    RasterExtension.ext(data, add_if_missing=True).bands = bands

    def add(name: str, path: Path, title: str, roles: list[str], **facts: Any) -> None:
        href = _href(path.absolute(), folder)
        item.add_asset(name, pystac.Asset(href, title, None, kind, roles, facts))

    of_cloud = ["metadata", "cloud", "cloud-shadow"]
    if output.provenance:
        add("provenance", output.provenance, "what was measured", ["metadata"])
    if output.opacity:
        percent = {"data_type": "uint8", "nodata": NO_PERCENT, "unit": "%"}
        described = [{"name": text.split()[0], "description": text, **percent} for text in OPACITY]
        add("opacity", output.opacity, "opacity and shadow in percent", of_cloud, bands=described)
    if output.cloud_mask:
        classes = {"classification:classes": stac_classes()}
        add("cloud_mask", output.cloud_mask, "cloud mask", of_cloud, **classes)
        item.stac_extensions.append(_CLASSIFICATION)


def _href(path: Path, folder: Path) -> str:
    """Return a link from a folder to a file, relative if the file lies in the folder."""
    return f"./{path.name}" if path.parent == folder else str(path)


def _lonlat_bounds(scene: Scene) -> Bounds | None:
    """Return the bounds in degrees; west > east where the scene crosses the antimeridian."""
    if not scene.grid.is_placed:  # control points alone, or a local CRS
        return None
    try:
        west, south, east, north = scene.grid.bounds_in("OGC:CRS84")
    except RasterioError as error:
        message = f"{scene.path}: its corners have no longitude and latitude ({error})"
        warn(GeoreferenceWarning, message)
        return None
    if east - west >= 360:
        return -180.0, south, 180.0, north
    # A scene in degrees may go on beyond 180, or begin before -180.
    west -= 360 * math.floor((west + 180) / 360)
    east -= 360 * math.ceil((east - 180) / 360)
    return west, south, east, north


def _footprint(bounds: Bounds) -> dict[str, Any]:
    """Return bounds as GeoJSON, cut at the antimeridian (RFC 7946, section 3.1.9)."""
    west, south, east, north = bounds
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    polygons = [
        [[[left, south], [right, south], [right, north], [left, north], [left, south]]]
        for left, right in spans
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _acquired(scene: Scene) -> datetime:
    """Return the time of acquisition (UTC) by tags or file name.

    Else return the time when the file was made, or now, with a warning.
    """
    tags = scene.dataset.tags()
    times = [*(_tagged(tags.get(tag, "")) for tag in _TIME_TAGS), find_time(scene.path.name)]
    if taken := next(filter(None, times), None):
        return taken
    made = _tagged(tags.get(_TIME_OF_FILE, ""))
    instead = f"when its file was made, {made:%Y-%m-%d}" if made else "now"
    message = f"{scene.path}: does not say when it was taken; its STAC item says {instead}"
    warn(GeoreferenceWarning, message)
    return made or datetime.now(UTC)


def _tagged(text: str) -> datetime | None:
    """Return the time (UTC) that a tag states, if any."""
    for form in ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ", "%Y:%m:%d %H:%M:%S"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
