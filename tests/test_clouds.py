"""Laws of the noise, of the clouds made from it, and of what becomes of clear tiles."""

from dataclasses import fields, replace

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodecloud.data import clouds
from geodecloud.data.article import article_draw, article_noise, overlay_noise
from geodecloud.data.augment import augment, augmentation_draw, is_water
from geodecloud.data.cloud_fields import HAZE, PixelGrid
from geodecloud.data.cloud_kinds import CLOUDS, KINDS
from geodecloud.data.clouds import (
    apparent_opacity,
    cloud_draw,
    draw_clouds,
    draw_kind,
    simulate_clouds,
)
from geodecloud.data.config import Augmentation, CloudMix
from geodecloud.data.simulate import Simulation, find_draw, simulate_scene
from geodecloud.settings import Reading
from geodecloud.training.config import Config, Training
from geodecloud.training.step import put_clouds
from tests.conftest import noise as random_dn
from tests.conftest import read, write_scene

TILE = PixelGrid(64, 64)
NONE = Augmentation(*[0] * len(fields(Augmentation)))


def with_numbers(draw, **numbers):
    """The same draw with some numbers of all tiles given, `_` for a space in their names."""
    values = draw.values.clone()
    for name, value in numbers.items():
        values[:, draw.names.index(name.replace("_", " "))] = torch.as_tensor(value)
    return replace(draw, values=values)


def clouds_of(draw, kind, grid=TILE):
    return draw_clouds(draw, draw_kind(draw, CloudMix.only(kind)), grid)


@pytest.mark.needs_train
@pytest.mark.parametrize("scale", [5.0, 33.3, 120.0])
def test_the_articles_noise_equals_that_of_the_prepared_data_set(scale):
    pytest.importorskip("noise", reason="the noise library (extra train) needs a compiler")
    from geodecloud.data import prepare

    ours = article_noise(torch.full((1, 1, 1, 1), scale), 64)[0, 0].numpy()
    # 1e-5 in float32, stretched: the tile's own range is often a tenth of the noise's.
    np.testing.assert_allclose(ours, prepare.article_noise(scale), atol=2e-4)


def test_the_articles_overlay_mixes():
    clear, alpha = torch.rand(5, 3, 64, 64), torch.tensor([0, 1, 0.2, 0.5, 0.8])
    draw = with_numbers(article_draw(0, 0, range(5)), alpha=alpha)
    cloudy, target, opacity, _ = overlay_noise(clear, draw)
    assert torch.equal(cloudy[0], clear[0])
    assert torch.equal(cloudy[1, 0], cloudy[1, 2])  # grey noise alone
    assert torch.equal(target, clear)
    torch.testing.assert_close(opacity.mean((1, 2, 3)), alpha)


def test_a_tiles_cloud_does_not_depend_on_its_batch():
    clear = torch.rand(6, 3, 64, 64)
    together = simulate_clouds(clear, cloud_draw(1, 2, range(6)), CloudMix())
    for i in range(6):
        alone = simulate_clouds(clear[i : i + 1], cloud_draw(1, 2, [i]), CloudMix())
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[i])
    assert not torch.equal(cloud_draw(1, 3, [0]).values, cloud_draw(1, 2, [0]).values)


def test_each_kind_has_a_fraction_in_the_mix():
    assert {one.name for one in fields(CloudMix)} == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_clouds_follow_the_physical_model(kind):
    draw = with_numbers(cloud_draw(7, 0, range(64)), tinted_by_land=1)  # never
    clear = torch.rand(64, 3, 64, 64)
    cloudy, target, opacity, _ = simulate_clouds(clear, draw, CloudMix.only(kind))
    a, light, shadow = clouds_of(draw, kind)
    torch.testing.assert_close(cloudy, ((1 - a) * shadow * clear + light).clamp(0, 1))
    for part in (cloudy, target, opacity, a, shadow):
        assert part.min() >= 0
        assert part.max() <= 1
    if kind == "none":
        assert torch.equal(cloudy, clear)
        assert opacity.max() == 0
    else:
        assert (opacity > 0.02).any(dim=3).any(dim=2).float().mean() > 0.75
    if kind == "deck":
        assert opacity.mean() > 0.9
    if kind in {"haze", "veil", "cirrus"}:  # thin cloud scatters blue no less than red
        assert (a[:, 2] >= a[:, 0] - 1e-6).float().mean() > 0.8


def test_cirrus_comes_in_streaks():
    """Along its own direction it changes less than across, more so than cumulus."""

    def longest(kind):
        a = clouds_of(cloud_draw(3, 0, range(64)), kind).attenuation[:, 1]
        down, right = a.diff(dim=1)[:, :, 1:], a.diff(dim=2)[:, 1:]
        tensor = torch.stack([down**2, down * right, down * right, right**2]).sum((2, 3))
        values = torch.linalg.eigvalsh(tensor.T.reshape(-1, 2, 2) + 1e-9 * torch.eye(2))
        return (values[:, 1] / values[:, 0]).median()

    assert longest("cirrus") > 5 * longest("cumulus")


def test_the_tint_is_the_lands_colour_and_no_brighter():
    clear = torch.rand(40, 3, 1, 1).expand(-1, -1, 8, 8)
    draw = cloud_draw(0, 0, range(40))
    tinted = draw.uniform("tinted by land").flatten() < 0.35
    tint = clouds._tint_by_land(clear, draw)[..., 0, 0]
    assert (tint[~tinted] == 1).all()
    assert (tint.argmax(1) == clear[..., 0, 0].argmax(1))[tinted].all()
    assert tint.min() >= 0.7
    assert tint.max() <= 1.36


def test_a_band_of_clouds_is_a_part_of_the_whole():
    draw = cloud_draw(5, 0, [0])
    for kind in ("veil", "haze"):
        whole = clouds_of(draw, kind, PixelGrid(96, 50, 0, 96, 2.0))
        part = clouds_of(draw, kind, PixelGrid(60, 50, 30, 96, 2.0))
        for ours, all_of_it in zip(part, whole, strict=True):
            torch.testing.assert_close(
                ours[:, :, 4:-4], all_of_it[:, :, 34:86], atol=1e-4, rtol=1e-3
            )


def test_saturated_is_opaque_and_no_cloud_is_not():
    a = torch.full((1, 3, 2, 2), 0.4)
    assert (apparent_opacity(a, a * 3) == 1).all()
    assert (apparent_opacity(a * 0, a * 0) == 0).all()


def test_bright_ground_stays_below_white():
    """Augmentation never makes a tile that is saturated throughout."""
    dim, others = torch.rand(60, 3, 64, 64) * 0.8, torch.rand(60, 3, 3, 64, 64) * 0.8
    draw = augmentation_draw(0, 0, range(60))
    out = augment(dim, others, dim, draw, Augmentation(patches=1.0)).clear
    assert (out.flatten(1).quantile(0.97, dim=1) <= 0.9 + 1e-5).all()
    assert out.min() >= 0


def test_augmentation_of_none_changes_nothing_and_rows_are_alone():
    clear, others = torch.rand(8, 3, 64, 64) * 0.6, torch.rand(8, 3, 3, 64, 64) * 0.6
    clear[::2] = clear[::2, :, :1, :1] * 0.3  # even tiles, that become pale
    water = torch.full((8, 3, 64, 64), 0.15)
    draw = augmentation_draw(5, 0, range(8))
    torch.testing.assert_close(augment(clear, others, water, draw, NONE).clear, clear)
    all_of_it = Augmentation(1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5)
    together = augment(clear, others, water, draw, all_of_it)
    for name in ("colours", "patches", "sand", "pale", "airless", "pictures"):
        changed = augment(clear, others, water, draw, replace(NONE, **{name: 1})).clear
        chosen = slice(0, None, 2) if name == "pale" else slice(None)
        assert ((changed - clear)[chosen].abs().amax((1, 2, 3)) > 1e-3).all()
    for i in range(8):
        one = augmentation_draw(5, 0, [i])
        alone = augment(*(x[i : i + 1] for x in (clear, others, water)), one, all_of_it)
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], many[i])


def test_a_shore_is_land_here_and_water_there():
    clear, water = torch.rand(20, 3, 64, 64) * 0.6, torch.full((20, 3, 64, 64), 0.15)
    others = clear[:, None].expand(-1, 3, -1, -1, -1)
    draw = augmentation_draw(3, 0, range(20))
    out = augment(clear, others, water, draw, replace(NONE, shores=1)).clear
    land = (out == clear).all(dim=1)  # (20, 64, 64)
    assert (land.float().mean((1, 2)) < 0.9).all()
    assert 0.3 < land.float().mean() < 0.7
    wet = [out[i][:, ~land[i]] for i in range(20)]
    assert max(part.std(dim=1).max() for part in wet) < 0.15  # even, or pale in large patches
    assert any(part.mean() > 0.25 for part in wet)
    assert any((part - 0.15).abs().max() < 1e-6 for part in wet)  # some stay as they are


def test_sand_is_bright_and_warm_and_keeps_the_detail():
    clear = torch.rand(20, 3, 64, 64) * 0.1 + 0.25
    draw = augmentation_draw(4, 0, range(20))
    others = clear[:, None].expand(-1, 3, -1, -1, -1)
    out = augment(clear, others, clear, draw, replace(NONE, sand=1)).clear
    sand = (out - clear).mean(dim=1) > 0.25  # (20, 64, 64)
    assert 0.2 < sand.float().mean() < 0.8
    bright = out.permute(0, 2, 3, 1)[sand]
    assert (bright[:, 0] > bright[:, 1]).float().mean() > 0.95  # land shows through here and there
    assert (bright[:, 1] > bright[:, 2]).float().mean() > 0.95
    even = augment(
        clear.mean((2, 3), keepdim=True).expand_as(clear),
        others,
        clear,
        draw,
        replace(NONE, sand=1),
    ).clear
    ratio = (out / even).mean(dim=1)[sand]  # what the detail makes of it
    assert torch.corrcoef(torch.stack([ratio, clear.mean(dim=1)[sand]]))[0, 1] > 0.5


def test_only_even_tiles_become_pale():
    even, uneven = torch.full((20, 3, 64, 64), 0.1), torch.rand(20, 3, 64, 64) * 0.6
    clear = torch.cat([even, uneven])
    draw, plan = augmentation_draw(2, 0, range(40)), replace(NONE, pale=1)
    out = augment(clear, clear[:, None].expand(-1, 3, -1, -1, -1), clear, draw, plan).clear
    torch.testing.assert_close(out[20:], uneven)
    assert (out[:20] >= even).float().mean() > 0.99
    assert out[:20].mean() > 0.12


def test_no_haze_is_drawn_over_water_and_all_else_stays():
    land, mix = torch.rand(80, 3, 64, 64), CloudMix()
    water = land * 0.005 + 0.3
    draw = cloud_draw(1, 2, range(80))
    assert not is_water(land).any()
    spared = simulate_clouds(water, draw, mix, spared=is_water(water))
    drawn = simulate_clouds(water, draw, mix)
    hazy = draw_kind(draw, mix).flatten() == HAZE
    assert 8 < hazy.sum() < 32
    assert torch.equal(spared.cloudy[hazy], water[hazy])
    assert (spared.opacity[hazy] == 0).all()
    assert (drawn.opacity[hazy] > 0).all()
    assert torch.equal(spared.cloudy[~hazy], drawn.cloudy[~hazy])
    # The recipe spares water, unless nothing but haze is wanted.
    only = CloudMix.only("haze")
    for clear, wanted, expected in (
        (water, mix, spared),
        (water, only, simulate_clouds(water, draw, only)),
        (land, mix, simulate_clouds(land, draw, mix)),
    ):
        plan = Config(clouds=wanted, training=Training(seed=1))
        assert torch.equal(put_clouds(clear, plan, 2, range(80)).cloudy, expected.cloudy)


def test_four_tiles_make_one_of_half_the_resolution():
    clear, others = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 3, 64, 64)
    out = augment(clear, others, clear, augmentation_draw(0, 0, [0]), replace(NONE, coarse=1)).clear
    torch.testing.assert_close(out[0, :, 5, 7], clear[0, :, 10:12, 14:16].mean((1, 2)))
    torch.testing.assert_close(out[0, :, 40, 2], others[0, 1, :, 16:18, 4:6].mean((1, 2)))


@settings(deadline=None, max_examples=15)
@given(
    kind=st.sampled_from(CLOUDS),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["uint16", "uint8", "float32"]),
)
def test_a_simulated_scene_is_the_clear_one_where_there_is_no_cloud(
    tmp_path_factory, kind, seed, dtype
):
    folder = tmp_path_factory.mktemp("simulated")
    dn = random_dn((4, 70, 90), dtype, seed)
    dn[:3, 10:20, 10:20] = 0
    dn[3, 30:40, 30:40] = 0  # of one band alone
    write_scene(folder / "clear.tif", dn, nodata=0, photometric="minisblack")  # no alpha
    plan = Simulation(kind, seed, zoom=1.0, reading=Reading(bands=(3, 2, 1)))
    with rasterio.open(folder / "clear.tif", "r+") as clear:
        clear.update_tags(4, STATISTICS_MEAN="1234")
    mean = simulate_scene(folder / "clear.tif", folder / "cloudy.tif", folder / "a.tif", plan)
    with rasterio.open(folder / "cloudy.tif") as covered:
        assert not covered.tags(4)
    cloudy, opacity = read(folder / "cloudy.tif"), read(folder / "a.tif")[0]
    assert np.isnan(opacity[10:20, 10:20]).all()
    assert mean == pytest.approx(np.nanmean(opacity), abs=1e-4)
    np.testing.assert_array_equal(cloudy[:, 10:20, 10:20], dn[:, 10:20, 10:20])
    assert ((cloudy == 0) == (dn == 0)).all()
    grid = PixelGrid(70, 90, 0, 90, 1.0)
    a, _, shadow = clouds_of(find_draw(plan, (70, 90)), kind, grid)
    untouched = ((a == 0).all(1) & (shadow[:, 0] == 1))[0].numpy()
    np.testing.assert_array_equal(cloudy[:, untouched], dn[:, untouched])
    if kind == "deck":
        assert cloudy[0].mean() > dn[0].mean()


@pytest.mark.parametrize("kind", ["veil", "cirrus", "cumulus", "deck"])
def test_each_seed_has_cloud_and_all_but_a_deck_leave_ground(kind):
    means = []
    for seed in range(6):
        draw = find_draw(Simulation(kind, seed), (1900, 1300))
        # As the whole scene has them, on a grid of its own.
        clouds = clouds_of(draw, kind, PixelGrid(190, 130, zoom=0.3))
        means.append(apparent_opacity(clouds.attenuation, clouds.light).mean().item())
    assert min(means) > 0.08
    assert kind == "deck" or max(means) < 0.65
    assert kind == "deck" or len(set(means)) == 6
