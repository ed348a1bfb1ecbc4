"""Bring a raster onto the grid of a scene."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geodecloud.errors import SceneError
from geodecloud.raster.gdal import failures_as
from geodecloud.raster.grid import Grid, grids_match
from geodecloud.raster.scene import Scene
from geodecloud.raster.validity import Validity


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
        SceneError: the image has another size and one of the two no CRS, or it cannot be warped.
    """
    if grids_match(image.grid, scene.grid):
        yield image
        return
    if not (image.grid.is_placed and scene.grid.is_placed):
        rows, columns = scene.shape
        raise SceneError(
            f"{image.path}: without a CRS in both, it must have the size of {scene.path}, "
            f"{columns}x{rows}"
        )
    nodata = image.validity.unwritten
    with warp(
        image.dataset,
        image.path,
        scene.grid,
        Resampling.bilinear,
        # Pixels beyond the image must read as nodata.
        alpha=nodata is None,
        nodata=None if nodata == image.dataset.nodata else nodata,
        UNIFIED_SRC_NODATA="NO",  # judge each band alone: nodata in one band is nodata in all
    ) as warped:
        area = Window(0, 0, scene.shape[1], scene.shape[0])
        yield replace(image, dataset=warped, area=area, validity=Validity(warped.nodata))
