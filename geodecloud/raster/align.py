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
from geodecloud.raster.grid import Grid, lie_alike
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
    """Open a placed raster as one on another grid; it is warped as it is read.

    Args:
        path: of the raster, for messages.
        alpha: add an alpha band that is 0 beyond the raster, unless it has one.
        nodata: of the raster, where its file declares none or another.
        options: of GDAL's warper.

    Raises:
        SceneError: the CRS of one cannot be brought to that of the other.
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
        SceneError: it is of another size and does not say where it lies, or cannot be warped.
    """
    if lie_alike(image.grid, scene.grid):
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
        # Beyond the image is no data, and something must say so.
        alpha=nodata is None,
        nodata=None if nodata == image.dataset.nodata else nodata,
        UNIFIED_SRC_NODATA="NO",  # each band has its own; nodata in one is nodata in all
    ) as warped:
        area = Window(0, 0, scene.shape[1], scene.shape[0])
        yield replace(image, dataset=warped, area=area, validity=Validity(warped.nodata))
