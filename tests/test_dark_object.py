"""Laws of the dark object: what the generator knows of the scene around a window."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geodecloud.data.augment import augment, augmentation_draw
from geodecloud.data.clouds import cloud_draw, simulate_clouds
from geodecloud.data.config import Augmentation, CloudMix
from geodecloud.data.dark_object import (
    dark_object_alone,
    dark_object_around,
    measure_dark_object,
    missing_path_radiance,
)
from geodecloud.data.draw import TileDraw
from geodecloud.decloud import decloud_scene
from geodecloud.radiometry import (
    DARK_OBJECT_QUANTILE,
    HAZE_GREY,
    L1C_DARK_OBJECT,
    PATH_RADIANCE,
    Radiometry,
    find_dark_object,
    measure_path_radiance_removed,
)
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import open_scene
from geodecloud.settings import Reading, Settings
from tests.conftest import identity, read, write_scene


def test_it_is_the_same_share_in_training_and_in_a_scene(tmp_path):
    rng = np.random.default_rng(1)
    dn = rng.integers(1200, 2700, (3, 128, 128)).astype(np.uint16)
    src = write_scene(tmp_path / "in.tif", dn)
    with open_scene(src) as scene:
        radiometry = calibrate(scene, Reading(offset=0))
    seen = radiometry.to_network(radiometry.to_model(dn))
    dark = np.array(radiometry.dark_object)
    np.testing.assert_allclose(dark, measure_dark_object(torch.from_numpy(seen)), atol=1e-3)
    assert ((seen < dark[:, None, None]).mean(axis=(1, 2)) <= DARK_OBJECT_QUANTILE).all()


def test_beside_a_small_scene_there_is_something_dark():
    tile = np.random.default_rng(1).uniform(0.3, 1, (3, 64, 64)).astype(np.float32)
    (alone,) = dark_object_alone(torch.from_numpy(tile[None]))
    np.testing.assert_allclose(find_dark_object(tile.reshape(3, -1), 64 * 64), alone)
    np.testing.assert_allclose(alone, L1C_DARK_OBJECT)
    assert min(find_dark_object(tile.reshape(3, -1), 256 * 256)) > 0.3
    assert max(find_dark_object(tile.reshape(3, -1) - 0.3, 64 * 64)) < 0.02


def test_the_network_gets_the_scenes_and_not_the_windows(tmp_path):
    dn = np.full((3, 64, 640), 2000, np.uint16)
    dn[:, :, 600:] = 1100
    seen = []

    def predict(patches, dark_object):
        seen.append(dark_object)
        return identity(patches, dark_object)

    src = write_scene(tmp_path / "in.tif", dn)
    report = decloud_scene(src, tmp_path / "out.tif", predict, Settings(offset=0))
    assert seen
    for dark in seen:
        np.testing.assert_array_equal(dark, np.float32(report.radiometry.dark_object))
    np.testing.assert_allclose(seen[0], 1100 / 2750, atol=1e-6)


def test_around_a_tile_lies_land_water_its_own_or_nothing():
    land, water = torch.rand(4, 3, 3, 16, 16) + 0.2, torch.full((4, 3, 16, 16), 0.1)
    draw = TileDraw(("land around",), torch.tensor([[0.1], [0.5], [0.9], [0.99]]))
    alone, beside_land, beside_water, own = dark_object_around(land, water, draw)
    assert alone.isposinf().all()
    torch.testing.assert_close(beside_land, measure_dark_object(land[1]).amin(dim=0))
    torch.testing.assert_close(beside_water, torch.full((3,), 0.1))
    assert own.isneginf().all()


@pytest.mark.parametrize("change", ["colours", "airless", "pictures"])
def test_the_land_around_is_seen_through_the_same_air(change):
    """As bright as the tile it was before, it is as bright after."""
    even = torch.rand(40, 3, 1, 1) * 0.5 + 0.2
    tiles = even.expand(-1, -1, 64, 64)
    draw = augmentation_draw(3, 0, range(40))
    plan = Augmentation(**dict.fromkeys(Augmentation.__annotations__, 0) | {change: 1})
    land = augment(tiles, tiles[:, None].expand(-1, 3, -1, -1, -1), tiles, draw, plan)
    alone = draw.uniform("land around").flatten() < 0.3
    assert (land.clear - tiles).abs().max() > 0.01
    assert land.around[alone].isposinf().all()
    torch.testing.assert_close(land.around[~alone], land.clear[~alone, :, 5, 5])


def test_more_of_its_own_is_as_dark_as_the_tile():
    tiles, water = torch.rand(60, 3, 64, 64) * 0.4 + 0.3, torch.full((60, 3, 64, 64), 0.1)
    draw = augmentation_draw(5, 0, range(60))
    land = augment(tiles, water[:, None].expand(-1, 3, -1, -1, -1), water, draw, Augmentation())
    own = draw.uniform("land around").flatten() >= 0.94
    assert own.any()
    torch.testing.assert_close(land.around[own], measure_dark_object(land.clear[own]))


@given(dark=st.tuples(*[st.floats(0, 0.4)] * 3), level=st.floats(0, 1))
def test_training_puts_the_air_back_as_a_scene_does(dark, level):
    corrected = measure_path_radiance_removed(np.array(dark))
    seen = Radiometry(path_radiance_removed=corrected).to_network(np.full((3, 2, 2), level, "f4"))
    air = missing_path_radiance(torch.tensor([dark]))
    np.testing.assert_allclose(seen, (air + (1 - air) * level).expand(1, 3, 2, 2)[0], atol=1e-6)


def test_clouds_in_a_scene_without_air_are_seen_through_air():
    """As if the air had been put back over the land before the cloud came."""
    clear = torch.rand(8, 3, 64, 64) * 0.3
    around = torch.zeros(8, 3)
    draw = cloud_draw(3, 0, range(8))
    draw.values[:, draw.names.index("cloud around")] = 0  # the cloud ends with the tile
    clouded = simulate_clouds(clear, draw, CloudMix.only("none"), around)
    expected = torch.tensor(PATH_RADIANCE)[:, None, None] * (L1C_DARK_OBJECT[2] / PATH_RADIANCE[2])
    torch.testing.assert_close(clouded.cloudy, expected + (1 - expected) * clear)
    torch.testing.assert_close(clouded.dark_object, expected[:, 0, 0].expand(8, 3))
    torch.testing.assert_close(clouded.cloudy, clouded.target)


def test_haze_lies_over_the_land_around_and_cumulus_leaves_gaps():
    count = 80
    clear, around = torch.rand(count, 3, 64, 64) * 0.3 + 0.35, torch.full((count, 3), 0.3)
    draw = cloud_draw(3, 0, range(count))
    dark = {}
    for kind in ("none", "haze", "cumulus", "deck"):
        clouded = simulate_clouds(clear, draw, CloudMix.only(kind), around)
        dark[kind] = clouded.dark_object.mean(dim=1)
        assert (clouded.dark_object <= measure_dark_object(clouded.cloudy) + 1e-6).all()
        alone = simulate_clouds(clear, draw, CloudMix.only(kind))
        torch.testing.assert_close(alone.dark_object, dark_object_alone(alone.cloudy))
    torch.testing.assert_close(dark["none"], torch.full((count,), 0.3))
    ends = draw.uniform("cloud around").flatten() < 0.25  # with the tile
    for kind in ("haze", "cumulus", "deck"):
        assert (dark[kind][ends] <= 0.3 + 1e-5).all()  # less in a cloud's shadow
    assert dark["haze"][~ends].min() > 0.305
    assert dark["cumulus"][~ends].median() < 0.35 < dark["haze"][~ends].median()
    assert dark["deck"][~ends].median() > 0.5


@pytest.mark.parametrize(
    ("left", "about", "changes"),
    [
        (False, {}, {}),
        (True, {}, {"keep_haze": True}),
        (True, {}, {"scale": 1000.0}),
        (True, {"size": 120}, {}),
        (True, {"dtype": np.uint16}, {"force": True}),
        (True, {"tinge": 60}, {}),
        (True, {"dark": 20}, {}),
    ],
)
def test_haze_is_removed_only_from_a_grey_8_bit_picture_of_some_size(
    tmp_path, left, about, changes
):
    about = {"size": 140, "dtype": np.uint8, "tinge": 0, "dark": 90} | about
    rng = np.random.default_rng(1)
    dn = rng.integers(about["dark"], 170, (3, about["size"], about["size"])).astype(about["dtype"])
    dn[0] += about["tinge"]
    src, provenance = write_scene(tmp_path / "in.tif", dn), tmp_path / "p.tif"

    def clear(patches, dark_object):
        return np.concatenate([patches, np.zeros_like(patches[:, :1])], axis=1)

    chosen = Settings(provenance=provenance, **changes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = decloud_scene(src, tmp_path / "out.tif", clear, chosen)
    haze = report.radiometry.haze
    warned = any("`keep_haze`" in str(one.message) for one in caught)
    if left:
        assert (haze, report.changed, warned) == (0, 0, False)
        np.testing.assert_array_equal(read(tmp_path / "out.tif"), dn)
    else:
        assert 0.2 < haze < 0.4
        assert warned
        assert report.changed_fraction == 1
        assert (read(provenance) == np.ceil(100 * haze)).all()
        ground = (dn / 255 - haze * HAZE_GREY) / (1 - haze)
        np.testing.assert_allclose(read(tmp_path / "out.tif"), 255 * ground.clip(0, 1), atol=0.6)
