"""Laws of shadows: they lie where the clouds of the scene throw them, and nowhere else."""

import numpy as np
import pytest

from geodecloud.restore.shadows import find_displacement, relight_gain, shadow_region

SHAPE = (180, 200)  # cells


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


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("offset", [(-12, -7), (9, 14), (-20, 3), (4, -5)])
def test_the_displacement_is_found_and_holds_the_shadows(offset, seed):
    opacity = clouds(seed)
    shadow = thrown(opacity, *offset)
    found = find_displacement(opacity, shadow)
    assert abs(found.rows - offset[0]) <= 1
    assert abs(found.columns - offset[1]) <= 1
    region = shadow_region(opacity, shadow)
    assert (region.dtype, region.shape) == (np.float32, SHAPE)
    assert ((region >= 0) & (region <= 1)).all()
    inside = np.zeros(SHAPE, bool)
    inside[20:-20, 20:-20] = True  # the others come round from the other side
    assert (region[inside & (shadow > 0)] > 0.99).all()


@pytest.mark.parametrize("seed", range(3))
def test_dark_land_is_no_shadow(seed):
    assert not shadow_region(np.zeros(SHAPE, np.float32), lakes()).any()  # without a cloud
    assert not shadow_region(clouds(seed), np.zeros(SHAPE, np.float32)).any()
    everywhere = np.full(SHAPE, 0.4, np.float32)
    assert not shadow_region(clouds(seed), everywhere).any()


def test_far_from_any_cloud_nothing_is_in_shadow():
    opacity = clouds()
    opacity[:, 120:] = 0
    shadow = np.maximum(thrown(opacity, -12, -7), lakes() * (opacity == 0) * (np.arange(200) > 170))
    region = shadow_region(opacity, shadow)
    assert region[:, :100].any()
    assert not region[30:-30, 150:170].any()
    assert region[:, -3:].all()  # whose clouds may lie outside of the scene


def test_shadows_are_relit_to_the_light_beside_them():
    opacity = clouds()
    shadow = thrown(opacity, -12, -7) * (opacity == 0)
    land = np.random.default_rng(0).uniform(0.2, 0.4, (3, *SHAPE)).astype(np.float32)
    depth = np.array([0.7, 0.65, 0.6], np.float32)[:, None, None]
    light = land * (1 - depth * shadow)
    for share in (0.5, 1.0):
        gain = relight_gain(light, share * (land - light), opacity, shadow)
        assert gain.shape == (3,)
        assert np.allclose(gain, 0.75 / share if share < 0.75 else 1, rtol=0.1)


def test_without_shadows_nothing_is_relit_more():
    light = np.full((3, *SHAPE), 0.3, np.float32)
    none = np.zeros(SHAPE, np.float32)
    assert (relight_gain(light, 0 * light, none, none) == 1).all()


@pytest.mark.parametrize("shape", [(32, 32), (33, 250), (250, 33), (1, 400), (3, 400), (400, 2)])
def test_scenes_of_any_shape_have_an_answer(shape):
    rng = np.random.default_rng(0)
    opacity, shadow = rng.random((2, *shape), np.float32)
    region = shadow_region(opacity, shadow)
    assert np.isfinite(region).all()
    assert not shadow_region(0 * opacity, shadow).any()
