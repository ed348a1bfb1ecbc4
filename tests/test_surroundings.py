"""Laws of what the generator is told of the scene around a window: its darkest light."""

import numpy as np
import pytest
import torch

from geodecloud.calibration import scene_radiometry
from geodecloud.config import Augmentation, CloudMix
from geodecloud.decloud import decloud_scene
from geodecloud.radiometry import DARK_OF_L1C, DARKEST, darkest_light
from geodecloud.scene import open_scene
from geodecloud.training import augment as augmentation
from geodecloud.training.augment import augment
from geodecloud.training.clouds import draw_uniforms, simulate_clouds
from geodecloud.training.surroundings import darkest, darkest_alone, darkest_around
from tests.conftest import identity, write_scene


def test_it_is_the_same_share_in_training_and_in_a_scene(tmp_path):
    rng = np.random.default_rng(1)
    dn = rng.integers(1200, 2700, (3, 128, 128)).astype(np.uint16)
    src = write_scene(tmp_path / "in.tif", dn)
    with open_scene(src) as scene:
        radiometry = scene_radiometry(scene, None, None)
    seen = radiometry.to_network(radiometry.to_model(dn))
    told = np.array(radiometry.darkest)
    np.testing.assert_allclose(told, darkest(torch.from_numpy(seen)), atol=1e-3)
    assert ((seen < told[:, None, None]).mean(axis=(1, 2)) <= DARKEST).all()


def test_beside_a_small_scene_there_is_something_dark():
    tile = np.random.default_rng(1).uniform(0.3, 1, (3, 64, 64)).astype(np.float32)
    (alone,) = darkest_alone(torch.from_numpy(tile[None]))
    np.testing.assert_allclose(darkest_light(tile.reshape(3, -1), 64 * 64), alone)
    np.testing.assert_allclose(alone, DARK_OF_L1C)
    assert min(darkest_light(tile.reshape(3, -1), 256 * 256)) > 0.3
    assert max(darkest_light(tile.reshape(3, -1) - 0.3, 64 * 64)) < 0.02


def test_the_network_is_told_the_scenes_and_not_the_windows(tmp_path):
    dn = np.full((3, 64, 640), 2000, np.uint16)
    dn[:, :, 600:] = 1100
    told = []

    def ask(patches, darkest):
        told.append(darkest)
        return identity(patches, darkest)

    report = decloud_scene(write_scene(tmp_path / "in.tif", dn), tmp_path / "out.tif", ask)
    assert told
    for what in told:
        np.testing.assert_array_equal(what, np.float32(report.radiometry.darkest))
    np.testing.assert_allclose(told[0], 1100 / 2750, atol=1e-6)


def test_around_a_tile_lies_land_water_or_nothing():
    land, water = torch.rand(3, 3, 3, 16, 16) + 0.2, torch.full((3, 3, 16, 16), 0.1)
    alone, beside_land, beside_water = darkest_around(land, water, torch.tensor([0.1, 0.5, 0.9]))
    assert alone.isinf().all()
    torch.testing.assert_close(beside_land, darkest(land[1]).amin(dim=0))
    torch.testing.assert_close(beside_water, torch.full((3,), 0.1))


@pytest.mark.parametrize("change", ["colours", "airless", "pictures"])
def test_the_land_around_is_seen_through_the_same_air(change):
    """As bright as the tile it was before, it is as bright after."""
    even = torch.rand(40, 3, 1, 1) * 0.5 + 0.2
    tiles = even.expand(-1, -1, 64, 64)
    uniforms = draw_uniforms(3, 0, list(range(40)), augmentation.UNIFORMS)
    plan = Augmentation(**dict.fromkeys(Augmentation.__annotations__, 0) | {change: 1})
    land = augment(tiles, tiles[:, None].expand(-1, 3, -1, -1, -1), tiles, uniforms, plan)
    alone = uniforms[:, 76] < 0.4
    assert (land.clear - tiles).abs().max() > 0.01
    assert land.around[alone].isinf().all()
    torch.testing.assert_close(land.around[~alone], land.clear[~alone, :, 5, 5])


def test_haze_lies_over_the_land_around_and_cumulus_leaves_gaps():
    count = 200
    clear, around = torch.rand(count, 3, 64, 64) * 0.3 + 0.3, torch.full((count, 3), 0.1)
    uniforms = draw_uniforms(3, 0, list(range(count)))
    told = {}
    for kind in ("none", "haze", "cumulus", "deck"):
        clouded = simulate_clouds(clear, uniforms, CloudMix.only(kind), around)
        told[kind] = clouded.darkest.mean(dim=1)
        assert (clouded.darkest <= darkest(clouded.cloudy) + 1e-6).all()
        alone = simulate_clouds(clear, uniforms, CloudMix.only(kind))
        torch.testing.assert_close(alone.darkest, darkest_alone(alone.cloudy))
    torch.testing.assert_close(told["none"], torch.full((count,), 0.1))
    ends = uniforms[:, 48] < 0.35  # with the tile
    for kind in ("haze", "cumulus", "deck"):
        torch.testing.assert_close(told[kind][ends], torch.full((int(ends.sum()),), 0.1))
    assert told["haze"][~ends].min() > 0.11
    assert told["cumulus"][~ends].median() < 0.2 < told["haze"][~ends].median()
    assert told["deck"][~ends].median() > 0.5
