"""Describe the grid of a raster, and compare grids."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import transform as transform_points
from rasterio.warp import transform_bounds

from geodecloud.raster.gdal import GDAL_ERRORS

Bounds = tuple[float, float, float, float]  # left, bottom, right, top

_RADIUS = 6_371_009.0  # metres, the mean radius of the earth
_DEGREE = round(math.radians(_RADIUS))  # metres of a degree of latitude
# A metre of a map is longer than one on the ground: by 1 / cos(latitude) in Mercator's projection.
# Maps that err less are taken at their word, so that 15 m in UTM are 15 m. A sphere errs by 0.6 %.
_DISTORTED = 0.02
# The CRS of an array that lies nowhere, but has pixels of a known size. GDAL keeps its name.
_IN_METRES = "array with a step in metres"
LOCAL_METRES = f'LOCAL_CS["{_IN_METRES}",UNIT["metre",1]]'
SAME = 0.01  # pixels; largest distance between the corners of equal grids: rounding in files


@dataclass(frozen=True)
class Grid:
    """The position of a raster's pixels on the ground.

    shape: (rows, columns).
    transform: from (column, row) to x and y, an ``affine.Affine``.
    crs: a ``rasterio.crs.CRS``, or None.
    """

    shape: tuple[int, int]
    transform: Any
    crs: Any

    @classmethod
    def of(cls, dataset: Any) -> Self:
        """Return the grid of an open raster."""
        return cls(dataset.shape, dataset.transform, dataset.crs)

    @property
    def is_placed(self) -> bool:
        """True if the CRS is geographic or projected: not missing, and not local."""
        return self.crs is not None and bool(self.crs.is_geographic or self.crs.is_projected)

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top in the CRS, of rotated and south-up rasters too."""
        west, south, east, north = array_bounds(*self.shape, self.transform)
        return min(west, east), min(south, north), max(west, east), max(south, north)

    @property
    def corners(self) -> list[tuple[float, float]]:
        """The four corners, (x, y) each."""
        rows, columns = self.shape
        pixels = ((0, 0), (columns, 0), (0, rows), (columns, rows))
        return [self.transform * pixel for pixel in pixels]

    @property
    def pixel_metres(self) -> tuple[float, float] | None:
        """Height and width in metres of the central pixel; None if they are not known."""
        step = self.transform
        height, width = np.hypot(step.b, step.e), np.hypot(step.a, step.d)
        if not self.is_placed:
            known = self.crs is not None and _IN_METRES in self.crs.wkt
            return (float(height), float(width)) if known else None
        if self.crs.is_geographic:
            rows, columns = self.shape
            latitude = step.f + step.d * columns / 2 + step.e * rows / 2
            parallel = float(np.cos(np.radians(latitude)))
            return float(height * _DEGREE), float(width * _DEGREE * parallel)
        steps = np.array((height, width)) * self.crs.linear_units_factor[1]
        on_ground = self._steps_on_ground()
        if (on_ground > 0).all() and not np.allclose(steps, on_ground, rtol=_DISTORTED):
            steps = on_ground
        return float(steps[0]), float(steps[1])

    def _steps_on_ground(self) -> NDArray[np.float64]:
        """Return height and width in metres of the central pixel on a sphere; NaN off the map."""
        rows, columns = (count / 2 for count in self.shape)
        corners = ((columns, rows), (columns, rows + 1), (columns + 1, rows))
        x, y = zip(*(self.transform * corner for corner in corners), strict=True)
        try:
            east, north = np.radians(transform_points(self.crs, CRS.from_epsg(4326), x, y))
        except GDAL_ERRORS:
            return np.full(2, np.nan)
        with np.errstate(invalid="ignore"):  # infinite off the map
            across = np.cos(north) * [np.cos(east), np.sin(east)]
            points = np.array([*across, np.sin(north)])
            steps: NDArray[np.float64] = _RADIUS * np.hypot.reduce(points[:, 1:] - points[:, :1])
        return steps

    def bounds_in(self, crs: Any) -> Bounds:
        """Return the bounds in another CRS.

        Raises:
            RasterioError: the bounds cannot be transformed.
        """
        left, bottom, right, top = transform_bounds(self.crs, crs, *self.bounds)
        if not np.isfinite([left, bottom, right, top]).all():
            raise RasterioError("the bounds cannot be transformed to the other CRS")
        return left, bottom, right, top


def bounds_overlap(one: Bounds, other: Bounds) -> bool:
    """Return whether bounds in the same CRS overlap; bounds that only touch do not."""
    (left, bottom, right, top), (west, south, east, north) = one, other
    return bool(left < east and west < right and bottom < north and south < top)


def grids_match(one: Grid, other: Grid, *, tolerance: float = SAME) -> bool:
    """Return whether pixel (row, column) of both rasters covers the same ground.

    If a raster is not placed, only the shapes are compared.

    Args:
        tolerance: largest distance between the corners, in pixels.
    """
    if one.shape != other.shape:
        return False
    if not (one.is_placed and other.is_placed):
        return True
    return one.crs == other.crs and _corner_distance(one, other) <= tolerance


def extents_match(one: Grid, other: Grid) -> bool:
    """Return whether both rasters cover the same ground, to one pixel of the coarser raster.

    If a raster is not placed, only the proportions are compared.
    """
    if one.is_placed and other.is_placed:
        return one.crs == other.crs and _corner_distance(one, other) <= 1
    rows, columns = (mine / theirs for mine, theirs in zip(one.shape, other.shape, strict=True))
    return abs(rows - columns) * other.shape[1] <= max(1.0, rows)


def _corner_distance(one: Grid, other: Grid) -> float:
    """Return the largest distance between corners in x or y, in pixels of the coarser grid."""
    coarse = max(one.transform, other.transform, key=lambda transform: abs(transform.determinant))
    if not coarse.determinant:  # damaged: pixels have no area
        return 0.0 if one.transform == other.transform else float("inf")
    mine, theirs = ([~coarse * corner for corner in grid.corners] for grid in (one, other))
    return float(np.abs(np.subtract(mine, theirs)).max())
