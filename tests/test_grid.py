"""Rasters lie alike, cover alike, overlap; an area is the pixels that it touches."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from geodecloud.errors import UsageError
from geodecloud.raster.aoi import find_area
from geodecloud.raster.grid import Grid, bounds_overlap, extents_match, grids_match

UTM = CRS.from_epsg(32633)
# North up, south up, rotated, degrees.
TRANSFORMS = [
    Affine(10, 0, 5e5, 0, -10, 5.5e6),
    Affine(10, 0, 5e5, 0, 10, 5.5e6),
    Affine(7, 3, 5e5, 3, -7, 5.5e6),
    Affine(1e-4, 0, 13, 0, -1e-4, 50),
]
transforms = st.sampled_from(TRANSFORMS)
shapes = st.tuples(st.integers(1, 300), st.integers(1, 300))


@given(transforms, shapes, st.floats(-2, 2), st.floats(-2, 2))
def test_grids_match_where_their_corners_do(transform, shape, right, down):
    one = Grid(shape, transform, UTM)
    other = Grid(shape, transform * Affine.translation(right, down), UTM)
    apart = max(abs(right), abs(down))
    for tolerance in (0.01, 0.5):
        if abs(apart - tolerance) > 1e-3:  # not to the last bit
            assert grids_match(one, other, tolerance=tolerance) == (apart < tolerance)
            assert grids_match(other, one, tolerance=tolerance) == (apart < tolerance)
    assert not grids_match(one, Grid(shape, transform, CRS.from_epsg(32634)))
    assert not grids_match(one, Grid((shape[0] + 1, shape[1]), transform, UTM))


@given(transforms, shapes, st.sampled_from([2, 3, 6]))
def test_extents_match_whatever_the_resolution(transform, shape, factor):
    rows, columns = shape
    fine = Grid((rows * factor, columns * factor), transform, UTM)
    coarse = Grid(shape, transform * Affine.scale(factor), UTM)
    assert extents_match(fine, coarse)
    assert extents_match(coarse, fine)
    beside = Grid(shape, coarse.transform * Affine.translation(1.5, 0), UTM)
    assert not extents_match(fine, beside)


@pytest.mark.parametrize("crs", [None, CRS.from_wkt('LOCAL_CS["array"]')])
def test_without_a_crs_of_the_earth_only_the_shapes_tell(crs):
    here, there = (Grid((30, 40), transform, crs) for transform in TRANSFORMS[:2])
    assert not here.is_placed
    assert here.pixel_metres is None
    assert grids_match(here, there)
    assert grids_match(here, Grid((30, 40), TRANSFORMS[0], UTM))
    assert not grids_match(here, Grid((40, 30), TRANSFORMS[0], crs))
    assert extents_match(here, Grid((60, 80), TRANSFORMS[0], crs))
    assert not extents_match(here, Grid((60, 60), TRANSFORMS[0], crs))


@given(st.floats(-80, 80), st.floats(0.5, 1000), st.sampled_from(TRANSFORMS[:3]))
def test_a_pixel_is_as_large_as_on_the_ground(latitude, size, turned):
    """Whatever the map: Mercator's metre is longer, and longitude is shorter, by the cosine."""
    parallel = math.cos(math.radians(latitude))
    factor = size / math.hypot(turned.a, turned.d)
    north = 6378137 * math.asinh(math.tan(math.radians(latitude)))
    turn = Affine(
        turned.a * factor, turned.b * factor, 1e6, turned.d * factor, turned.e * factor, 0
    )
    mercator = Grid((1, 1), Affine.translation(0, north) * turn, CRS.from_epsg(3857))
    assert mercator.pixel_metres == pytest.approx((size * parallel,) * 2, rel=0.02)
    degree = size / 111_195
    geographic = Grid((1, 1), Affine(degree, 0, 9, 0, -degree, latitude), CRS.from_epsg(4326))
    assert geographic.pixel_metres == pytest.approx((size, size * parallel), rel=0.02)
    feet = Grid((1, 1), Affine(size, 0, 1e6, 0, -size, 2e5), CRS.from_epsg(2263))
    assert feet.pixel_metres == pytest.approx((size * 0.3048006096,) * 2, rel=1e-9)
    for x in (5e5, 1e9):  # on the map, and far off
        utm = Grid((1, 1), Affine(size, 0, x, 0, -size, 5e6), UTM)
        assert utm.pixel_metres == pytest.approx((size, size), rel=1e-12)


def test_a_damaged_transform_lies_like_itself_alone():
    damaged = Grid((3, 4), Affine(0, 0, 1, 0, 0, 1), UTM)
    assert grids_match(damaged, damaged)
    assert not grids_match(damaged, Grid((3, 4), Affine(0, 0, 2, 0, 0, 1), UTM))


@given(transforms, shapes)
def test_bounds_hold_the_corners_however_the_raster_is_turned(transform, shape):
    grid = Grid(shape, transform, UTM)
    x, y = zip(*grid.corners, strict=True)
    assert grid.bounds == pytest.approx((min(x), min(y), max(x), max(y)))


def test_rasters_that_only_touch_do_not_overlap():
    grid = Grid((10, 10), Affine(1, 0, 0, 0, -1, 10), UTM)
    assert bounds_overlap(grid.bounds, (9, 0, 20, 10))
    for beside in ((10, 0, 20, 10), (-5, 0, 0, 10), (0, 10, 10, 20), (0, -5, 10, 0)):
        assert not bounds_overlap(grid.bounds, beside)


@given(transforms, shapes, st.data())
def test_an_area_is_what_its_corners_touch_however_the_raster_is_turned(transform, shape, data):
    rows, columns = shape
    points = data.draw(
        st.lists(st.tuples(st.floats(-9, columns + 9), st.floats(-9, rows + 9)), min_size=2)
    )
    x, y = zip(*(transform * point for point in points), strict=True)
    left, bottom, right, top = min(x), min(y), max(x), max(y)
    if left == right or bottom == top:
        return
    corners = [(a, b) for a in (left, right) for b in (bottom, top)]
    column, row = np.transpose([~transform * corner for corner in corners])
    hair = 1e-6
    if min(np.ptp(column), np.ptp(row)) <= 2 * hair:  # an area without a width
        return
    first = [max(0, math.floor(axis.min() + hair)) for axis in (column, row)]
    last = [
        min(length, math.ceil(axis.max() - hair))
        for axis, length in ((column, columns), (row, rows))
    ]
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": UTM}
    with (
        MemoryFile() as memory,
        memory.open(width=columns, height=rows, transform=transform, **profile) as dataset,
    ):
        aoi = f"{left!r},{bottom!r},{right!r},{top!r}"
        if first[0] < last[0] and first[1] < last[1]:
            area = find_area(dataset, aoi)
            assert [area.col_off, area.row_off] == first
            assert [area.col_off + area.width, area.row_off + area.height] == last
        else:
            with pytest.raises(UsageError, match="outside"):
                find_area(dataset, aoi)
