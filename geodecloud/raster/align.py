"""Bring a raster onto the grid of a scene."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geodecloud.errors import SceneError
from geodecloud.raster.gdal import failures_as, open_raster, without_georeference_warning
from geodecloud.raster.grid import Grid, grids_match
from geodecloud.raster.scene import Scene
from geodecloud.raster.validity import Validity
from geodecloud.raster.vrt import with_mask

_ROWS = 256  # of a mask, written at once


def warp(
    dataset: Any,
    path: Path,
    grid: Grid,
    resampling: Resampling,
    *,
    alpha: bool,
    nodata: float | None = None,
    **options: str,
) -> WarpedVRT:
    """Open a georeferenced raster on another grid, warped as it is read.

    Args:
        path: the raster's path, for messages.
        alpha: add an alpha band that is 0 beyond the raster, unless it has one.
        nodata: the raster's nodata value; None: as its file declares.
        options: options of GDAL's warper.

    Raises:
        SceneError: the raster's CRS cannot be transformed to the grid's.
    """
    rows, columns = grid.shape
    with failures_as(f"{path}: cannot be warped to the scene"):
        return WarpedVRT(
            dataset,
            crs=grid.crs,
            transform=grid.transform,
            height=rows,
            width=columns,
            resampling=resampling,
            add_alpha=alpha and ColorInterp.alpha not in dataset.colorinterp,
            **({} if nodata is None else {"src_nodata": nodata, "nodata": nodata}),
            **options,
        )


@contextmanager
def aligned(image: Scene, scene: Scene) -> Iterator[Scene]:
    """Yield an image of another date as a scene on ``scene``'s grid, warped if need be.

    Raises:
        SceneError: the image has another size, control points or RPCs and one of the two no CRS;
            or it cannot be warped.
    """
    if grids_match(image.grid, scene.grid):
        _refuse_other_control(image, scene)
        yield image
        return
    if not (image.grid.is_placed and scene.grid.is_placed):
        rows, columns = scene.shape
        raise SceneError(
            f"{image.path}: without a CRS in both, it must have the size of {scene.path}, "
            f"{columns}x{rows}"
        )
    nodata = None if image.validity.fill else image.nodata
    with (
        _masked(image) as dataset,
        warp(
            dataset,
            image.path,
            scene.grid,
            Resampling.bilinear,
            alpha=nodata is None,  # pixels beyond the image must read as nodata
            nodata=None if nodata == dataset.nodata else nodata,
            UNIFIED_SRC_NODATA="NO",  # judge each band alone: nodata in one band is nodata in all
        ) as warped,
    ):
        area = Window(0, 0, scene.shape[1], scene.shape[0])
        yield replace(image, dataset=warped, area=area, validity=Validity(warped.nodata))


def _refuse_other_control(image: Scene, scene: Scene) -> None:
    """Refuse an image of the scene's size that shows other ground by its control points or RPCs.

    Raises:
        SceneError: both have some, which differ, and no CRS places both.
    """
    if image.grid.is_placed and scene.grid.is_placed:
        return
    mine, theirs = (_control(one.dataset) for one in (image, scene))
    if any(own and other and own != other for own, other in zip(mine, theirs, strict=True)):
        raise SceneError(
            f"{image.path}: its control points or RPCs are not those of {scene.path}; warp both "
            "to one grid with gdalwarp"
        )


def _control(dataset: Any) -> tuple[Any, Any]:
    """Return the control points, (column, row, x, y) each, and the RPCs of an open raster."""
    points = [(point.col, point.row, point.x, point.y) for point in dataset.gcps[0]]
    return points, dataset.rpcs


@contextmanager
def _masked(image: Scene) -> Iterator[Any]:
    """Yield an image's dataset; if it has undeclared fill, with its validity as a mask.

    GDAL warps by one nodata value, or by a mask.
    """
    if not image.validity.fill:
        yield image.dataset
        return
    rows, columns = image.shape
    with MemoryFile(ext=".tif") as memory:
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "compress": "deflate"}
        with (
            without_georeference_warning(),
            memory.open(height=rows, width=columns, **profile) as mask,
        ):
            for first in range(0, rows, _ROWS):
                _, valid = image.read(first, min(first + _ROWS, rows))
                window = Window(0, first, columns, len(valid))
                mask.write(np.where(valid, np.uint8(255), np.uint8(0)), 1, window=window)
        with open_raster(with_mask(image.dataset, memory.name), str(image.path)) as dataset:
            yield dataset
