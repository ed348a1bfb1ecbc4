"""Laws of shadows: they lie where the clouds of the scene throw them, and nowhere else."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geodecloud.restore.coarse import Coarse, coarse_bytes
from geodecloud.restore.coarse_pass import _with_shadows
from geodecloud.restore.displacement import Displacement, displaced, find_displacement
from geodecloud.restore.memory import _SEARCH
from geodecloud.restore.patches import SHADOW
from geodecloud.restore.shadows import (
    hidden_fraction,
    shadow_displacement,
    thrown_shadows,
    with_black_shadows,
)

SHAPE = (180, 200)  # cells
whole = st.integers(-30, 30)
shift = st.floats(-20, 20)


def clouds(seed=0, count=12, shape=SHAPE):
    """Opacity 0 or 1 of small round clouds."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    opacity = np.zeros(shape, np.float32)
    for row, column, radius in rng.uniform(
        (20, 20, 3), (shape[0] - 20, shape[1] - 20, 7), (count, 3)
    ):
        opacity[np.hypot(rows - row, columns - column) < radius] = 1
    return opacity


def thrown(opacity, down, right):
    """The shadow of these clouds, 0.4 deep, but where a cloud hides it."""
    return np.roll(opacity, (down, right), (0, 1)) * (1 - opacity) * np.float32(0.4)


def lakes(seed=5):
    """What looks like shadow to the network."""
    return clouds(seed) * np.float32(0.4)


def cast_by(opacity, looks):
    """The shadows that these clouds cast, and how far."""
    displacement = shadow_displacement(opacity, looks)
    return thrown_shadows(opacity, looks, displacement), displacement


def found_in(opacity, looks):
    """The share of the sun that is hidden; what looks like shadow is dark."""
    parts = cast_by(opacity, looks)[0].astype(np.float32)
    return hidden_fraction(parts, looks, (looks > 0).astype(np.float32))


@pytest.mark.parametrize("times", [0.4, 1, 1.6])
def test_black_land_is_in_shadow_where_a_cloud_of_any_height_may_cast_one(times):
    opacity, offset = clouds(3), (15, -10)
    shadow = thrown(opacity, *offset)
    parts, displacement = cast_by(opacity, shadow)
    cast = ndimage.shift(opacity, np.rint(np.multiply(offset, times)), order=0) > 0
    black = np.zeros(SHAPE, np.bool_)
    assert (with_black_shadows(parts, black, opacity, displacement) == parts).all()
    hidden, near = with_black_shadows(parts, black | cast, opacity, displacement)
    inside = ndimage.binary_erosion(cast, iterations=2)
    assert (hidden[inside] >= 200).all()
    assert (hidden[~cast] == parts[0][~cast]).all()
    assert (near >= hidden).all()
    dark = np.ones(SHAPE, np.float32)
    found = hidden_fraction(np.float32([hidden, near]), 0 * dark, dark)
    assert (found[inside] > 0.99).all()


def test_black_land_that_no_cloud_reaches_is_not_in_shadow():
    opacity = np.zeros(SHAPE, np.float32)
    opacity[:, :90] = clouds(1, 30)[:, :90]
    shadow = thrown(opacity, 5, 9)
    parts, displacement = cast_by(opacity, shadow)
    assert parts.any()
    hidden, _ = with_black_shadows(parts, np.ones(SHAPE, np.bool_), opacity, displacement)
    assert not hidden[:, 115:].any()  # nor at the edge of the scene, where it may be a lake
    assert (hidden[:, :80] > 0).mean() > (parts[0, :, :80] > 0).mean()


@pytest.mark.parametrize("hidden", [0.2, 0.45, 0.55, 0.9])
def test_black_land_is_in_shadow_where_a_cloud_hides_half_of_the_sun(hidden):
    """Thin cloud may pass over a lake; it does not make it black."""
    opacity = np.zeros(SHAPE, np.float32)
    opacity[80:88, 10:18] = 0.2 + hidden * 0.3  # cloud of opacity 0.2 hides nothing, of 0.5 all
    nothing, black = np.zeros((2, *SHAPE), np.uint8), np.ones(SHAPE, np.bool_)
    shaded = with_black_shadows(nothing, black, opacity, Displacement(0, 60))
    assert shaded.any() == (hidden > 0.5)


@pytest.mark.parametrize("most_cells", [1024, 100])
def test_the_shadows_of_a_small_cloud_at_all_heights_have_no_gaps(monkeypatch, most_cells):
    monkeypatch.setattr("geodecloud.restore.shadows._MOST_CELLS", most_cells)
    opacity = np.zeros(SHAPE, np.float32)
    opacity[80:88, 10:18] = 1
    nothing = np.zeros((2, *SHAPE), np.uint8)
    black = np.ones(SHAPE, np.bool_)
    hidden, _ = with_black_shadows(nothing, black, opacity, Displacement(0, 60))
    first, last = 10 + 0.25 * 60, 18 + 1.8 * 60
    assert (hidden[81:87, round(first) + 2 : round(last) - 2] == 200).all()
    assert not hidden[:, : round(first) - 2].any()
    assert not hidden[:, round(last) + 2 :].any()


def test_a_scene_of_nearly_black_shadows_has_them_under_high_clouds_too():
    rng = np.random.default_rng(0)
    opacity = clouds(0, 25)
    high, lake = np.zeros((2, *SHAPE), np.bool_)
    high[150:158, 160:168] = True
    lake[5:12, 176:184] = True
    opacity[lake | high] = 0
    hidden = thrown(opacity, -15, -9) > 0
    opacity[150 + 24 : 158 + 24, 160 + 14 : 168 + 14] = 1  # 1.6 times as high as the others
    land = rng.uniform(0.3, 0.5, (3, *SHAPE)).astype(np.float32)
    light = land * (1 - hidden * rng.choice([0.4, 0.9], SHAPE).astype(np.float32))
    light[:, high | lake] = 0.01
    answer = np.concatenate([0 * land, opacity[None], hidden[None] * np.float32(0.4)])
    coarse = Coarse(
        cell=4,
        width=4 * SHAPE[1],
        light=light,
        answer=answer,
        gives_context=True,
        computed={},
        thrown=np.zeros((2, *SHAPE), np.uint8),
        known=np.ones(SHAPE, np.bool_),
    )
    found = _with_shadows(coarse)
    assert found.shade.unevenness > 0.3
    assert (found.answer[SHADOW][ndimage.binary_erosion(high)] > 0.5).all()
    assert not found.answer[SHADOW][lake].any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("offset", [(-12, -7), (9, 14), (-20, 3), (4, -5)])
def test_the_displacement_is_found_and_the_shadows_with_it(offset, seed):
    opacity = clouds(seed)
    shadow = thrown(opacity, *offset)
    parts, found = cast_by(opacity, shadow)
    assert abs(found.rows - offset[0]) <= 1
    assert abs(found.columns - offset[1]) <= 1
    assert (parts.dtype, parts.shape) == (np.uint8, (2, *SHAPE))
    hidden = found_in(opacity, shadow)
    assert ((hidden >= 0) & (hidden <= 1)).all()
    inside = np.zeros(SHAPE, bool)
    inside[20:-20, 20:-20] = True  # the others come round from the other side
    assert (hidden[inside & (shadow > 0)] > 0.9).mean() > 0.97
    lit = inside & (shadow == 0) & (opacity == 0)
    assert hidden[lit].mean() < 0.01  # at most rims, of displacements between cells
    rims = ndimage.binary_dilation((shadow > 0) | (opacity > 0), iterations=2)
    assert not hidden[inside & ~rims].any()


@pytest.mark.parametrize("seed", range(3))
def test_dark_land_is_no_shadow(seed):
    assert shadow_displacement(np.zeros(SHAPE, np.float32), lakes()) is None  # without a cloud
    assert shadow_displacement(clouds(seed), np.zeros(SHAPE, np.float32)) is None
    everywhere = np.full(SHAPE, 0.4, np.float32)
    assert shadow_displacement(clouds(seed), everywhere) is None


def test_a_lake_stays_dark_beside_shadows():
    opacity = clouds(0)
    lake = lakes() * (opacity == 0) * (thrown(opacity, -12, -7) == 0)
    hidden = found_in(opacity, np.maximum(thrown(opacity, -12, -7), lake))
    assert hidden[(lake > 0)][:].mean() < 0.2
    middle = np.s_[30:-30, 30:-30]
    assert hidden[middle][lake[middle] > 0].mean() < 0.1


def test_where_clouds_may_lie_outside_what_looks_like_shadow_is_believed():
    opacity = clouds()
    opacity[:, 120:] = 0
    looks = np.maximum(thrown(opacity, -12, -7), 0)
    looks[60:90, 190:] = 0.5
    hidden = found_in(opacity, looks)
    assert (hidden[60:90, -5:] > 0.99).all()
    assert not hidden[30:-30, 150:170].any()


@given(whole, whole)
def test_cells_that_are_displaced_by_whole_cells_are_the_same(down, right):
    cells = np.random.default_rng(0).random((40, 35), np.float32)
    moved = displaced(cells, down, right, (0, 40))
    back = displaced(moved, -down, -right, (0, 40))
    inside = displaced(displaced(np.ones_like(cells), down, right, (0, 40)), -down, -right, (0, 40))
    np.testing.assert_array_equal(back, cells * inside)


@given(shift, shift, st.integers(0, 39), st.integers(1, 40))
def test_displaced_rows_do_not_depend_on_how_many_are_asked_for(down, right, first, count):
    cells = np.random.default_rng(1).random((40, 35), np.float32)
    last = min(first + count, 40)
    rows = displaced(cells, down, right, (first, last))
    np.testing.assert_array_equal(rows, displaced(cells, down, right, (0, 40))[first:last])
    assert ((rows >= 0) & (rows <= 1)).all()


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 9))
def test_more_evidence_never_means_less_shadow(cloud, may, looks, dark, distinctness):
    def hidden(*values):
        parts, *others = np.split(np.array(values, np.float32).reshape(4, 1, 1), [2, 3])
        evidence = 255 * parts, *(each[0] for each in others), distinctness
        return float(hidden_fraction(*evidence)[0, 0])

    at = hidden(cloud, may, looks, dark)
    assert 0 <= at <= 1
    assert hidden(cloud, 0, looks, dark) == 0
    for i in range(4):
        more = [cloud, may, looks, dark]
        more[i] = 1
        assert hidden(*more) >= at - 1e-6


@pytest.mark.parametrize("shape", [(32, 32), (33, 250), (250, 33), (1, 400), (3, 400), (400, 2)])
def test_scenes_of_any_shape_have_an_answer(shape):
    rng = np.random.default_rng(0)
    opacity, shadow = rng.random((2, *shape), np.float32)
    displacement = shadow_displacement(opacity, shadow) or Displacement(9, 5)
    assert thrown_shadows(opacity, shadow, displacement).shape == (2, *shape)
    assert shadow_displacement(0 * opacity, shadow) is None


@pytest.mark.parametrize("looks", [0.27889758, 0.1, 0.3, 0.5])
def test_where_all_land_looks_alike_no_displacement_is_found(looks):
    opacity = np.ones((300, 300), np.float32)
    opacity[5::60, 5::60] = 0
    assert find_displacement(opacity, np.float32(looks) * (1 - opacity)) is None


def test_a_line_of_pixels_needs_little_memory():
    line = np.full((1, 100_000), 0.4, np.float16)
    tracemalloc.start()
    assert shadow_displacement(line, line) is None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * line.size


def test_shadows_are_cast_in_the_planned_memory(monkeypatch):
    """All but the shadows themselves, which belong to the coarse answer."""
    monkeypatch.setattr("geodecloud.restore.shadows._MOST_CELLS", 240)
    for module in ("shadows", "filters"):
        monkeypatch.setattr(f"geodecloud.restore.{module}._ROWS", 16)
    opacity = np.tile(clouds(), (4, 4))[:720, :720].astype(np.float16)
    tracemalloc.start()
    parts = thrown_shadows(opacity, opacity, Displacement(9, 5))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most - parts.nbytes < _SEARCH * coarse_bytes(4 * 720, 4 * 720)


def test_a_whole_tile_throws_the_shadows_of_its_parts():
    """Displacement and heights are found from means where there are many cells."""
    opacity = clouds(3, 60, (1100, 300))
    shadow = thrown(opacity, -12, -7)
    hidden = found_in(opacity, shadow)
    inside = np.zeros(opacity.shape, bool)
    inside[30:-30, 30:-30] = True
    assert (hidden[inside & (shadow > 0)] > 0.8).mean() > 0.9
    assert hidden[inside & (shadow == 0) & (opacity == 0)].mean() < 0.02
