"""Laws of relighting: what a shadow took comes back, and nothing is lit twice."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from geodecloud.restore.find_shade import find_shade
from geodecloud.restore.relight import Shade
from tests.test_shadows import SHAPE, clouds, thrown

fraction = st.floats(0, 1)
NOWHERE = np.zeros((6, 0, 0), np.float16)  # land beside, where it is given by itself


def bands(*values):
    return np.array(values, np.float32)[:, None, None]


def bytes_of(hidden):
    """The share of the sun that is hidden, 0..255."""
    return (255 * hidden).astype(np.uint8)


def land_beside(light, deviation=0.0, blueness=1 / 3, spread=0.01):
    """What ``Shade.beside`` says of sunlit land, at each pixel."""
    others = [np.full(light.shape[1:], each) for each in (deviation, blueness, spread)]
    return np.concatenate([light, others]).astype(np.float32)


def shaded_land(air, depth, seed=0):
    """Land, the same in the shade of small clouds, their opacity, the share of the sun hidden."""
    opacity = clouds(seed, 25)
    hidden = (thrown(opacity, -15, -9) > 0).astype(np.float32)
    land = np.random.default_rng(seed).uniform(0.3, 0.5, (3, *SHAPE)).astype(np.float32)
    return land, air + (land - air) * (1 - hidden * depth), opacity, hidden


@given(fraction, st.floats(0.1, 0.8), st.floats(0, 0.3), st.floats(0.3, 1))
def test_relighting_undoes_the_shadow(hidden, depth, air, ground):
    shade = Shade(bands(air, air, air), bands(depth, depth, depth), NOWHERE)
    land = np.full((3, 2, 2), ground, np.float32)
    sun = np.full((2, 2), hidden, np.float32)
    seen = shade.path_radiance + (land - shade.path_radiance) * (1 - sun * shade.depth)
    np.testing.assert_allclose(shade.relit(seen, sun, seen, land_beside(land)), land, atol=1e-4)


@given(
    fraction, st.floats(0.1, 0.8), st.floats(0, 0.2), st.floats(0, 2), st.floats(0.2, 1), fraction
)
def test_no_land_is_lit_twice(hidden, depth, air, seen, beside, deviation):
    shade = Shade(bands(air, air, air), bands(depth, depth, depth), NOWHERE)
    light = np.full((3, 1, 1), seen, np.float32)
    around = land_beside(np.full((3, 1, 1), beside, np.float32), deviation)
    out = shade.relit(light, np.full((1, 1), hidden, np.float32), light, around)
    assert (out >= light).all()
    usual = max(beside - air, 1e-3)
    most = max(seen, air + np.clip(usual + 1.75 * deviation, 1.15 * usual, 2.5 * usual))
    assert (out <= most + 1e-3).all()


@given(st.floats(0.3, 1), st.floats(0.3, 0.8), st.floats(0, 0.8), st.floats(0.05, 0.6))
def test_no_land_turns_yellower_than_that_beside(hidden, red, share, blue):
    """Shadows take more of red than of blue; land that lies in none is not made yellow."""
    shade = Shade(bands(0, 0, 0), bands(red, red, share * red), NOWHERE)
    light = bands(0.2, 0.2, blue)
    beside = land_beside(np.full((3, 1, 1), 0.6, np.float32), 1.0)
    out = shade.relit(light, np.full((1, 1), hidden, np.float32), light, beside)
    before, after = (float(some[2, 0, 0] / some.sum()) for some in (light, out))
    least = 1 / 3 - 1.75 * 0.01
    assert after >= min(before - 0.01, least) - 0.02  # nearly: blueness is taken as linear


@given(fraction, st.floats(0.1, 0.8), st.floats(0, 0.2), st.floats(0.02, 1), st.floats(0.2, 1))
def test_land_in_full_shadow_is_half_as_bright_as_that_beside(hidden, depth, air, seen, beside):
    """Where that is possible without more than six times the light."""
    shade = Shade(bands(air, air, air), bands(depth, depth, depth), NOWHERE)
    light = np.full((3, 1, 1), air + seen * (beside - air), np.float32)
    sun = np.full((1, 1), hidden, np.float32)
    near = land_beside(np.full((3, 1, 1), beside, np.float32))
    pulled = shade.relit(light, sun, light, near)
    if hidden == 1 and seen > 0.1:
        assert (pulled - air >= min(0.5, seen * 6) * max(beside - air, 1e-3) - 1e-3).all()
    if beside > air + 0.01 and 0.5 < seen / (1 - hidden * depth) < 1.15:
        np.testing.assert_allclose(pulled, air + (light - air) / (1 - hidden * depth), rtol=1e-4)


@given(st.floats(0.1, 0.8), st.floats(0, 0.2), st.floats(0.05, 0.9), fraction)
def test_darkness_says_how_much_of_the_sun_is_hidden_from_like_land(depth, air, ground, hidden):
    shade = Shade(bands(air, air, air), bands(depth, depth, depth), NOWHERE)
    land = np.full((3, 1, 1), air + ground, np.float32)
    seen = shade.path_radiance + (land - shade.path_radiance) * (1 - depth) ** np.float32(hidden)
    assert shade.darkness(seen, seen, land_beside(land)) == pytest.approx(hidden, abs=2e-3)


@given(st.floats(0.3, 0.8), st.floats(0, 0.2), st.floats(0.1, 0.9), fraction)
def test_land_is_black_if_no_shadow_of_the_scene_makes_it_so_dark(depth, air, ground, hidden):
    land = land_beside(np.full((3, 1, 1), air + ground, np.float32))
    shade = Shade(bands(air, air, air), bands(depth, depth, depth), land.astype(np.float16))
    shaded = np.full((3, 1, 1), air + ground * (1 - depth * hidden), np.float32)
    assert not shade.black_cells(shaded)
    black = np.full((3, 1, 1), air + ground * (1 - depth) ** 1.5 - 0.001, np.float32)
    assert shade.black_cells(black)
    water = black.copy()
    water[2] = air + ground
    assert not shade.black_cells(water)


@example(0.6, 0.05, 0.5, 1.15)
@example(0.6, 0.05, 0.5, 1.25)
@given(st.floats(0.3, 0.8), st.floats(0, 0.1), st.floats(0.3, 0.9), st.floats(0, 2))
def test_black_land_is_darker_than_full_shadow_by_a_fifth_of_its_logarithm(
    depth, air, ground, darkness
):
    """Dark fields in the sun are as dark as full shadow, or a little darker."""
    assume(abs(darkness - 1.2) > 0.03)
    land = land_beside(np.full((3, 1, 1), air + ground, np.float32))
    shade = Shade(bands(air, air, air), bands(depth, depth, depth), land.astype(np.float16))
    seen = np.full((3, 1, 1), air + ground * (1 - depth) ** darkness, np.float32)
    assert shade.black_cells(seen).all() == (darkness > 1.2)


@pytest.mark.parametrize("air", [0.0, 0.1])
@pytest.mark.parametrize("depth", [0.3, 0.6])
def test_the_shade_of_a_scene_is_found(air, depth):
    depths = bands(depth, 0.9 * depth, 0.8 * depth)
    _, light, opacity, hidden = shaded_land(bands(air, air, air), depths)
    shade = find_shade(light, opacity, bytes_of(hidden))
    np.testing.assert_allclose(shade.depth, depths, atol=0.06)
    np.testing.assert_allclose(shade.path_radiance, air, atol=0.06)


@pytest.mark.parametrize(
    ("colour", "depths"),
    [
        (bands(1, 1, 1), bands(0.6, 0.6, 0.6)),
        (bands(2, 1.4, 0.7), bands(0.75, 0.65, 0.5)),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_only_shadows_of_several_depths_are_uneven(seed, colour, depths):
    one, several = (
        find_shade(light * colour, opacity, bytes_of(hidden)).unevenness
        for depth in (depths, np.random.default_rng(seed).choice([0.4, 0.9], SHAPE))
        for _, light, opacity, hidden in [shaded_land(bands(0, 0, 0), depth, seed)]
    )
    assert one == 0
    assert several > 0.5


@given(st.floats(0.05, 1), st.floats(0.3, 1), st.floats(0.1, 0.8), st.floats(0.2, 1))
def test_uneven_shadows_of_any_depth_are_undone(left, hidden, depth, ground):
    shade = Shade(bands(0, 0, 0), bands(depth, 0.9 * depth, depth), NOWHERE, unevenness=1)
    land = np.full((3, 1, 1), ground, np.float32)
    seen, sun = land * np.float32(left), np.full((1, 1), hidden, np.float32)
    np.testing.assert_allclose(shade.relit(seen, sun, seen, land_beside(land)), land, rtol=1e-4)


def test_a_black_band_of_a_shadow_of_uneven_depth_gets_the_colour_of_the_land():
    land = bands(0.1, 0.15, 0.2)
    shade = Shade(bands(0, 0, 0), bands(0.7, 0.7, 0.7), NOWHERE, unevenness=1)
    black = bands(0.005, 0.007, 0)
    relit = shade.relit(black, np.ones((1, 1), np.float32), black, land_beside(land))
    np.testing.assert_allclose(relit, land, rtol=0.05)


@given(st.floats(0.25, 0.3), st.floats(0.45, 0.55))
def test_the_edge_of_a_shadow_of_uneven_depth_is_no_dark_line(left, around):
    """A cell at the edge holds sunlit pixels, too, so its dark pixels are darker than the cell."""
    land = bands(0.3, 0.3, 0.3)
    shade = Shade(bands(0, 0, 0), bands(0.7, 0.7, 0.7), NOWHERE, unevenness=1)
    pixel, cell, sun = land * np.float32(left), land * np.float32(around), np.ones((1, 1), "f4")
    np.testing.assert_allclose(shade.relit(pixel, sun, cell, land_beside(land)), land, rtol=0.3)


@example(0, 0.3)
@example(0.46, 0.3)
@example(0.501, 0.3)
@given(st.floats(0, 0.7), st.floats(0.2, 0.6))
def test_dark_detail_is_kept_in_full_shadow_and_flattened_in_brighter_cells(brighter, darker):
    """In cells that are half a logarithm brighter than full shadow, dark pixels are at its edge."""
    land, sun = bands(0.3, 0.3, 0.3), np.ones((1, 1), np.float32)
    shade = Shade(bands(0, 0, 0), bands(0.7, 0.7, 0.7), NOWHERE, unevenness=1)
    cell = land * np.float32(0.3 * np.exp(brighter))
    pixel = cell * np.float32(np.exp(-darker))
    kept = np.log(land / shade.relit(pixel, sun, cell, land_beside(land))).mean() / darker
    if brighter == 0:
        assert kept == pytest.approx(1, abs=1e-3)
    assert kept == pytest.approx(0, abs=1e-3) if brighter > 0.5 else kept >= -1e-3
    assert kept > 0.01 or brighter > 0.48


@given(fraction, st.floats(0, 0.5), fraction, st.floats(0, 0.2))
def test_where_nothing_is_hidden_uneven_shadows_change_nothing(unevenness, seen, detail, air):
    shade = Shade(bands(air, air, air), bands(0.6, 0.6, 0.6), NOWHERE, unevenness)
    around = np.full((3, 1, 1), seen, np.float32)
    light, beside = around * np.float32(0.5 + detail), land_beside(around + 0.2)
    out = shade.relit(light, np.zeros((1, 1), np.float32), around, beside)
    np.testing.assert_array_equal(out, light)


def test_a_scene_without_shadows_has_no_shade():
    land, *_ = shaded_land(bands(0, 0, 0), bands(0, 0, 0))
    nothing = np.zeros(SHAPE, np.float32)
    assert find_shade(land, nothing, bytes_of(nothing)) is None
    some = bytes_of(clouds(1))
    assert find_shade(land, nothing, some) is None  # the land there is as light as beside
    assert find_shade(land, nothing + 1, some) is None


def test_the_memory_to_find_a_shade_does_not_grow_with_the_scene(monkeypatch):
    monkeypatch.setattr("geodecloud.restore.find_shade._MOST_SAMPLES", 100)
    _, light, opacity, hidden = shaded_land(bands(0, 0, 0), bands(0.6, 0.6, 0.6))
    most = []
    for times in (4, 12):
        scene = [
            np.concatenate([part] * times, axis=-2)
            for part in (light.astype(np.float16), opacity, bytes_of(hidden))
        ]
        tracemalloc.start()
        assert find_shade(*scene)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert most[1] < 1.05 * most[0]


def test_the_land_beside_is_lit_land():
    land, light, opacity, hidden = shaded_land(bands(0, 0, 0), bands(0.6, 0.6, 0.6))
    hidden[:, 140:] = 1  # farther in, no sunlit land is near: the nearest counts
    beside = find_shade(light, opacity, bytes_of(hidden)).beside
    assert beside.dtype == np.float16
    assert beside.shape == (6, -(-SHAPE[0] // 8), -(-SHAPE[1] // 8))
    assert abs(beside[:3, :, :18] - land.mean()).max() < 0.03
    assert abs(beside[:3] - land.mean()).max() < 0.05
    brightness = land.mean(axis=0)
    assert abs(beside[3] - brightness.std()).max() < 0.02
    blueness = land[2] / land.sum(axis=0)
    assert abs(beside[4] - blueness.mean()).max() < 0.02
    assert abs(beside[5] - blueness.std()).max() < 0.02
