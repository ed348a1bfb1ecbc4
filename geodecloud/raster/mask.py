"""Where clouds may be removed: a mask, laid on the scene's grid by nearest."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from geodecloud.errors import SceneError
from geodecloud.raster.aoi import bounds_of, placed
from geodecloud.raster.scene import Scene

# Of Sentinel-2's scene classification: cloud shadow, cloud of medium and of high probability,
# cirrus.
SCL_CLOUD = (3, 8, 9, 10)
_SCL = re.compile(r"(?:^|[_.-])SCL(?:[_.-]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class CloudMask:
    """An open mask on the grid of a scene.

    values: that mean cloud; None: every one but 0.
    """

    path: Path
    dataset: Any  # rasterio.DatasetReader or WarpedVRT, of the scene's shape
    values: tuple[int, ...] | None
    window: Any  # from (first, last) row of the scene to the dataset's Window

    def read(self, first: int, last: int) -> NDArray[np.bool_]:
        """Where rows ``first`` to ``last`` (not included) may change: bool (rows, width).

        Raises:
            SceneError: the mask is damaged there.
        """
        window = self.window(first, last)
        try:
            marks = self.dataset.read(1, window=window)
            known = self.dataset.read_masks(1, window=window) > 0
        except RasterioError as error:
            reason = error.__cause__ or error
            raise SceneError(f"{self.path}: damaged or truncated mask ({reason})") from error
        cloud = marks != 0 if self.values is None else np.isin(marks, self.values)
        allowed: NDArray[np.bool_] = cloud & known & ~np.isnan(marks)
        return allowed


@contextmanager
def open_mask(path: Path, values: tuple[int, ...] | None, scene: Scene) -> Iterator[CloudMask]:
    """Open a raster that says where clouds are; beyond it there are none.

    Args:
        path: of any raster; its first band counts. Another CRS, resolution or extent is brought
            to the scene's grid by nearest.
        values: that mean cloud; None: 3, 8, 9, 10 of a Sentinel-2 classification, which has SCL
            in its name, else all but 0.

    Raises:
        SceneError: it cannot be read, lies elsewhere, or has no CRS and another size.
    """
    if values is None and _SCL.search(path.stem):
        values = SCL_CLOUD
    if not path.exists():
        raise SceneError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            raster = rasterio.open(path)
    except (RasterioError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: cannot be opened as a mask ({error})") from error
    with raster:
        if _same_pixels(raster, scene.dataset):
            yield CloudMask(path, raster, values, scene.window)
        else:
            _refuse_unplaced(raster, path, scene)
            height, width = scene.shape
            grid = {"transform": scene.transform, "height": height, "width": width}
            alpha = ColorInterp.alpha not in raster.colorinterp
            nearest = {"resampling": Resampling.nearest, "add_alpha": alpha}
            with WarpedVRT(raster, crs=scene.dataset.crs, **grid, **nearest) as mask:
                yield CloudMask(
                    path, mask, values, lambda first, last: Window(0, first, width, last - first)
                )


def _same_pixels(mask: Any, scene: Any) -> bool:
    """Whether pixel (row, column) of both is the same place; without a CRS the shape tells."""
    if mask.shape != scene.shape:
        return False
    if not (placed(mask) and placed(scene)):
        return True
    same: bool = mask.crs == scene.crs and mask.transform.almost_equals(scene.transform)
    return same


def _refuse_unplaced(mask: Any, path: Path, scene: Scene) -> None:
    if not (placed(mask) and placed(scene.dataset)):
        raise SceneError(
            f"{path}: has another size than the scene, {mask.width} x {mask.height}, and one of "
            "them has no CRS that would tell how they lie; give one of the same size"
        )
    corners = bounds_of(scene.shape, scene.transform)
    try:
        there = transform_bounds(
            mask.crs, scene.dataset.crs, *bounds_of(mask.shape, mask.transform)
        )
    except RasterioError as error:
        raise SceneError(f"{path}: its CRS cannot be brought to the scene's ({error})") from error
    apart = there[0] >= corners[2] or there[2] <= corners[0]
    if apart or there[1] >= corners[3] or there[3] <= corners[1]:
        raise SceneError(f"{path}: covers another area than {scene.path}")
