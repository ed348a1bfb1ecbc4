"""Read a cloud mask on the scene's grid: only pixels that it marks as cloud may change."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geodecloud.errors import BandsWarning, SceneError, UsageError, warn
from geodecloud.raster.align import warp
from geodecloud.raster.distance_limit import DistanceLimit
from geodecloud.raster.gdal import failures_as, open_raster
from geodecloud.raster.grid import Grid, bounds_overlap, grids_match
from geodecloud.raster.scene import Scene
from geodecloud.raster.validity import is_no_class
from geodecloud.settings import Reading

# Classes of Sentinel-2's scene classification (SCL): cloud shadow, cloud of medium and of high
# probability, cirrus.
_SCL_CLOUD = (3, 8, 9, 10)
_SCL_LEAST, _SCL_MOST = 4, (7, 11)  # fewest classes, and range of the highest, of an SCL
_SAMPLED = 256  # rows of a mask that are checked before the run
_SCL = re.compile(r"(?i:(?:^|[_.-])SCL(?:[_.-]|$))|[a-z0-9]SCL(?:[_.-]|$)")
# Rasters in which non-zero does not mean cloud: pattern of their names, contents and remedy.
_OTHERS = {
    re.compile(r"Fmask", re.IGNORECASE): (
        "classes or bits",
        "give `mask_values`, 2 and 4 for the classes of Fmask 4",
    ),
    re.compile(r"QA_?PIXEL|PIXEL_?QA|BQA", re.IGNORECASE): (
        "bits",
        "give the `mask_values` that mean cloud, like 22280 of Landsat Collection 2",
    ),
    re.compile(r"CLD_?PRB|CLOUD_?PROB", re.IGNORECASE): (
        "probabilities",
        "give the `mask_values` that mean cloud, like 50-100",
    ),
}
# Values of Landsat's QA_PIXEL (Collection 2) for clear land, water and snow, and for cloud.
_QA_PIXEL = (21824, 21888, 21952, 22280, 23888, 24088, 30048, 54596, 54852, 55052)
_PIECE = 32  # rows of a grown mask at once: distances need memory


@dataclass(frozen=True)
class CloudMask:
    """An open mask on the grid of a scene.

    values: mask values that mean cloud; None: every non-zero value.
    height: number of rows of the scene.
    buffer: distance by which cloud is grown; None: it is not grown.
    marks_cloud: whether some of the checked rows have cloud.
    """

    path: Path
    dataset: Any  # rasterio.DatasetReader or WarpedVRT
    values: tuple[int, ...] | None
    window: Callable[[int, int], Window]  # window of the dataset for scene rows (first, last)
    height: int
    buffer: DistanceLimit | None
    marks_cloud: bool

    def read(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return where rows ``first`` to ``last`` (not included) are cloud: bool (rows, width).

        Raises:
            SceneError: the mask is damaged there.
        """
        if self.buffer is None:
            return self._read(first, last)
        above = first % _PIECE
        far = [self.buffer.beyond(*piece) for piece in self._pieces(first - above, last)]
        near: NDArray[np.bool_] = ~np.concatenate(far)[above : above + last - first]
        return near

    def grown(self, limit: DistanceLimit) -> "CloudMask":
        """Return the same mask, whose cloud is grown by a distance."""
        for piece in self._pieces(0, self.height):
            limit.add(*piece)
        limit.finish()
        return replace(self, buffer=limit)

    def _pieces(self, first: int, last: int) -> Iterator[tuple[int, NDArray[np.bool_]]]:
        """Yield pieces of rows, their first row and where they are cloud."""
        for top in range(first, last, _PIECE):
            yield top, self._read(top, min(top + _PIECE, self.height))

    def _read(self, first: int, last: int) -> NDArray[np.bool_]:
        window = self.window(first, last)
        with failures_as(f"{self.path}: damaged or truncated mask"):
            values = self.dataset.read(1, window=window)
            known = self.dataset.read_masks(1, window=window) > 0
        if self.values is None:
            self._refuse_other_kinds(values[known])
        cloud = values != 0 if self.values is None else np.isin(values, self.values)
        allowed: NDArray[np.bool_] = cloud & known & ~is_no_class(values)
        return allowed

    def _refuse_other_kinds(self, values: NDArray[Any]) -> None:
        """Refuse values in which non-zero cannot mean cloud: probabilities and QA_PIXEL bits."""
        if values.dtype.kind == "f" and ((values > 0) & (values < 1)).any():
            raise UsageError(
                f"{self.path}: has values between 0 and 1, like probabilities; threshold them "
                "to a mask of 0 and 1"
            )
        if values.dtype.kind in "iu" and np.isin(values, _QA_PIXEL).any():
            raise UsageError(
                f"{self.path}: has the values of Landsat's QA_PIXEL, which are bits; give the "
                "`mask_values` that mean cloud, like 22280"
            )


def _refuse_classes(path: Path, values: NDArray[Any]) -> None:
    """Refuse the values of a mask that look like the classes of an SCL.

    Numbers of clouds, and degrees of cover, have no gap above 0.

    Args:
        values: some or all values of the mask.
    """
    classes = np.unique(values[np.isfinite(values)])
    whole = np.array_equal(classes, np.rint(classes)) and len(classes) >= _SCL_LEAST
    if not whole or classes[0] < 0 or not _SCL_MOST[0] <= classes[-1] <= _SCL_MOST[1]:
        return
    if len(classes) <= classes[-1] or classes[-1] == _SCL_MOST[1]:
        raise UsageError(
            f"{path}: has classes ({', '.join(f'{one:g}' for one in classes)}); give the "
            "`mask_values` that mean cloud, 3,8,9,10 of an SCL"
        )


def _some_values(raster: Any, path: Path) -> NDArray[Any]:
    """Return the values with data of some rows of a mask, evenly spaced: (count,)."""
    rows = np.unique(np.linspace(0, raster.height - 1, _SAMPLED).astype(int))
    with failures_as(f"{path}: damaged or truncated mask"):
        windows = [Window(0, int(row), raster.width, 1) for row in rows]
        read = [raster.read(1, window=one, masked=True).compressed() for one in windows]
    return np.concatenate(read)


def _cloud_values(path: Path, given: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return the values that mean cloud: as given, else by the mask's name; None: all but 0.

    Raises:
        UsageError: the name shows that non-zero does not mean cloud.
    """
    if given is not None:
        return given
    if _SCL.search(path.stem):
        return _SCL_CLOUD
    for pattern, (what, remedy) in _OTHERS.items():
        if pattern.search(path.stem):
            raise UsageError(f"{path}: holds {what}, by its name; {remedy}")
    return None


@contextmanager
def open_mask(scene: Scene, reading: Reading) -> Iterator[CloudMask | None]:
    """Open the cloud mask that a reading names; yield None if it names none.

    A mask of another CRS, resolution or extent is warped to the scene's grid by nearest neighbour;
    beyond the mask there is no cloud. Without ``mask_values``, 3, 8, 9 and 10 mean cloud if the
    file's name contains SCL, else every non-zero value does.

    Raises:
        UsageError: the scene has no CRS to measure ``mask_buffer`` by, or the mask's name or values
            show that non-zero does not mean cloud.
        SceneError: the mask cannot be read, covers another area, or has no CRS and another size.
    """
    if reading.mask is None:
        yield None
        return
    name, path = reading.mask, Path(reading.mask)
    values, buffer = _cloud_values(path, reading.mask_values), reading.mask_buffer
    if buffer is not None and scene.pixel_metres is None:
        raise UsageError(
            f"{scene.path} has no georeferenced grid, so metres are unknown; leave "
            "`mask_buffer` out"
        )
    if name == path and not path.exists():
        raise SceneError(f"{path}: no such file; give a raster that says where cloud is")
    with open_raster(name, kind="mask") as raster:
        bands = sum(colour != ColorInterp.alpha for colour in raster.colorinterp)
        if bands > 1:
            warn(BandsWarning, f"{path}: has {bands} bands; the first is taken for the cloud mask")
        some = _some_values(raster, path)
        if values is None:
            _refuse_classes(path, some)
        marks = bool((some != 0 if values is None else np.isin(some, values)).any())
        (height, width), window = scene.shape, scene.window
        on_grid: AbstractContextManager[Any] = nullcontext(raster)
        if not grids_match(Grid.of(raster), Grid.of(scene.dataset)):
            _refuse_elsewhere(Grid.of(raster), path, scene)
            window = lambda first, last: Window(0, first, width, last - first)  # noqa: E731
            on_grid = warp(raster, path, scene.grid, Resampling.nearest, alpha=True)
        with on_grid as dataset:
            own = CloudMask(path, dataset, values, window, height, None, marks)
            with _grown(own, scene, buffer) as mask:
                yield mask


@contextmanager
def _grown(mask: CloudMask, scene: Scene, metres: float | None) -> Iterator[CloudMask]:
    """Yield a mask whose cloud is grown by a distance; None: not grown."""
    if metres is None or scene.pixel_metres is None:
        yield mask
        return
    with DistanceLimit(metres, scene.pixel_metres) as limit:
        yield mask.grown(limit)


def _refuse_elsewhere(grid: Grid, path: Path, scene: Scene) -> None:
    if not (grid.is_placed and scene.grid.is_placed):
        rows, columns = grid.shape
        raise SceneError(
            f"{path}: size {columns} x {rows} differs from the scene's, and one of them has no "
            "CRS; give a mask of the scene's size"
        )
    try:
        bounds = grid.bounds_in(scene.grid.crs)
    except RasterioError as error:
        raise SceneError(
            f"{path}: its CRS cannot be transformed to the scene's ({error})"
        ) from error
    if not bounds_overlap(scene.grid.bounds, bounds):
        raise SceneError(
            f"{path}: covers another area than {scene.path}; give a mask of the scene's area"
        )
