"""Copy the metadata that rasterio's profile leaves out from a scene to a new file, one by one.

For the profile, see :mod:`geodecloud.raster.profile`.
"""

import copy
from collections.abc import Collection
from typing import Any

from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from geodecloud.raster.scene import Scene
from geodecloud.raster.vrt import tags_of


def copy_metadata(scene: Scene, out: Any, changed: Collection[int]) -> None:
    """Copy descriptions, colours, scales, units, tags and ground control.

    Args:
        out: a dataset open for writing, of the scene's size.
        changed: bands whose statistics are no longer true.
    """
    source = scene.dataset
    out.colorinterp = source.colorinterp
    out.descriptions = source.descriptions
    out.scales, out.offsets = source.scales, source.offsets
    out.units = [unit or "" for unit in source.units]
    _copy_tags(source, out, 0)
    for band in source.indexes:
        # The statistics of a changed band, or of a part of one, are no longer true.
        stale = band in changed or not scene.whole
        _copy_tags(source, out, band, without="STATISTICS_" if stale else None)
    copy_ground_control(scene, out)


def copy_ground_control(scene: Scene, out: Any) -> None:
    """Copy control points and RPCs, shifted if the scene is a part of its file."""
    points, crs = scene.dataset.gcps
    left, top = scene.area.col_off, scene.area.row_off
    if points:
        moved = [
            GroundControlPoint(p.row - top, p.col - left, p.x, p.y, p.z, p.id, p.info)
            for p in points
        ]
        out.gcps = (moved, crs or CRS())
    if rpcs := copy.copy(scene.dataset.rpcs):  # rasterio keeps one object for all callers
        rpcs.line_off -= top
        rpcs.samp_off -= left
        out.rpcs = rpcs


def _copy_tags(source: Any, out: Any, band: int, *, without: str | None = None) -> None:
    """Copy tags of the file (band 0) or of a band, in all namespaces that can be written."""
    for namespace, tags in tags_of(source, band).items():
        kept = {k: v for k, v in tags.items() if not (without and k.startswith(without))}
        out.update_tags(band, ns=namespace, **kept)
