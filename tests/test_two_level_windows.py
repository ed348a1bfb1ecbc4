"""Laws of the training windows: batches by name and step, clouds, shadows, radiometries."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin

from geodecloud.data.two_level.built import draw_roofs
from geodecloud.data.two_level.clear_scenes import _hide, load_clear_scenes
from geodecloud.data.two_level.cloud_fields import load_cloud_fields
from geodecloud.data.two_level.coast import draw_coast
from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import (
    SIDE,
    FieldBank,
    Placement,
    draw_placement,
    make_bank,
    sample,
)
from geodecloud.data.two_level.ground import Ground, GroundPlan, draw_ground
from geodecloud.data.two_level.land import (
    UNIT,
    LandBank,
    LandPlan,
    _seam_weight,
    cut_scene,
    draw_land,
    load_land,
    turned,
)
from geodecloud.data.two_level.sensor import SensorPlan, draw_sensor, expose
from geodecloud.data.two_level.sky import SkyPlan, draw_sky
from geodecloud.data.two_level.synthesis import Batch, SynthesisPlan, make_batch, model_input
from geodecloud.errors import DataError, DataWarning, SceneError
from geodecloud.raster.descriptions import CLOUD_MASK, OPACITY
from geodecloud.settings import Reading
from tests.conftest import SAMPLES, write_scene


@pytest.fixture(scope="module")
def bank() -> FieldBank:
    rng = np.random.default_rng(0)
    return make_bank(torch.from_numpy(rng.integers(0, 256, (3, SIDE, SIDE), np.uint8)), 4, seed=1)


@pytest.fixture(scope="module")
def land() -> LandBank:
    rng = np.random.default_rng(0)
    tiles = rng.integers(1, 200, (20, 3, 64, 64), np.uint8)
    names = [f"{'Forest' if i % 2 else 'River'}/{i}.jpg" for i in range(20)]
    scenes = {
        level: rng.integers(0, 2 * UNIT, (4, 3, 64, 64)).astype(np.uint16) for level in (1, 4)
    }
    return load_land(tiles, names, scenes, "cpu")


def batch(land: LandBank, bank: FieldBank, step: int, plan: SynthesisPlan | None = None) -> Batch:
    return make_batch(Draw(231, step), land, bank, 12, plan or SynthesisPlan())


def ground(land: LandBank, bank: FieldBank, count: int = 8) -> Ground:
    windows, _ = draw_land(Draw(3, 0), land, 1, count, LandPlan())
    return draw_ground(Draw(4, 0), windows, bank, torch.ones(count), GroundPlan())


def test_a_number_depends_on_seed_step_and_name_alone():
    one, other = Draw(1, 2), Draw(1, 2)
    one.uniform("something before", 5)
    assert torch.equal(one.uniform("x", 9), other.uniform("x", 9))
    assert not torch.equal(Draw(1, 3).uniform("x", 9), Draw(1, 2).uniform("x", 9))
    assert not torch.equal(Draw(1, 2).uniform("y", 9), Draw(1, 2).uniform("x", 9))


def test_a_name_is_drawn_once_in_a_batch():
    draw = Draw(1, 2)
    draw.uniform("x", 1)
    with pytest.raises(ValueError, match="twice"):
        draw.normal("x", 1)


def test_kinds_come_in_their_shares():
    kinds = Draw(0, 0).kind("k", (0.5, 0.0, 1.5), 4000)
    assert 0.2 < (kinds == 0).float().mean() < 0.3
    assert not (kinds == 1).any()


def test_the_same_seed_and_step_give_the_same_batch(land, bank):
    one, again, other = batch(land, bank, 5), batch(land, bank, 5), batch(land, bank, 6)
    assert torch.equal(one.model_input, again.model_input)
    assert torch.equal(one.target, again.target)
    assert not torch.equal(one.model_input, other.model_input)


def test_a_batch_is_finite_and_in_range(land, bank):
    made = batch(land, bank, 0)
    assert made.model_input.shape == (12, 14, 64, 64)
    for value in (made.model_input, made.target, made.opacity, made.shadow):
        assert torch.isfinite(value).all()
        assert value.min() >= 0
        assert value.max() <= 1


def test_coarse_windows_are_told_nothing(land, bank):
    made = batch(land, bank, 1, SynthesisPlan(coarse=0.5, middle=0.25))
    assert made.level.tolist() == [4.0] * 6 + [2.0] * 3 + [1.0] * 3
    assert not made.model_input[made.level > 1, 6:11].any()


def test_a_small_batch_has_no_more_windows_than_asked_for(land, bank):
    plan = SynthesisPlan(coarse=0.5, middle=0.5)
    made = make_batch(Draw(0, 0), land, bank, 3, plan)
    assert made.level.tolist() == [4.0, 4.0, 2.0]


def test_without_cloud_the_ground_is_seen_as_it_is(land, bank):
    below = ground(land, bank)
    plan = SkyPlan(none=1, field=0, noise=0, cirrus=0, haze=0, shade=0)
    sky = draw_sky(Draw(0, 0), below, bank, torch.ones(8), plan)
    assert torch.allclose(sky.seen, below.light, atol=1e-6)
    assert not sky.opacity.any()
    assert not sky.shadow.any()


def test_a_shadow_leaves_the_path_radiance(land, bank):
    below = ground(land, bank)
    plan = SkyPlan(none=0, field=0, noise=0, cirrus=0, haze=0, shade=1, second=0)
    sky = draw_sky(Draw(0, 0), below, bank, torch.ones(8), plan)
    assert sky.shadow.max() > 0.2
    assert not sky.opacity.any()
    assert (sky.seen >= below.path_radiance - 1e-5).all()
    assert (sky.seen <= below.light + 1e-5).all()


def test_a_plain_sensor_changes_nothing(land, bank):
    below = ground(land, bank)
    plan = SensorPlan(l1c=1, l2a=0, tci=0, picture=0, clipped=0, blurred=0, noise=(1e-9, 2e-9))
    sensor = draw_sensor(Draw(0, 1), below.light, below.path_radiance, plan)
    (shown,) = expose(Draw(0, 2), (below.light,), sensor, torch.ones(8), plan)
    assert torch.allclose(shown, below.light.clamp(0, 8), atol=1e-5)


def test_what_is_white_all_over_is_darkened(land, bank):
    white = torch.full((4, 3, 64, 64), 3.0)
    plan = GroundPlan(bright=0, mixed=0, pale=0, roofs=0, coast=0)
    out = draw_ground(Draw(0, 0), white, bank, torch.ones(4), plan)
    assert out.light.amin(dim=1).flatten(1).quantile(0.92, dim=1).max() < 1.3


CHOSEN = torch.arange(40) % 2 == 0


def test_roofs_stand_where_they_are_wanted():
    surface = torch.full((40, 3, 64, 64), 0.1)
    fine, coarse = (
        draw_roofs(Draw(0, 0), surface, torch.full((40,), level), CHOSEN) for level in (1.0, 4.0)
    )
    assert torch.equal(fine[~CHOSEN], surface[~CHOSEN])
    built = (fine != surface).any(dim=1).float().mean(dim=(1, 2))
    assert (built[CHOSEN] > 0).float().mean() > 0.9  # a few lie outside of their window
    assert built[CHOSEN].mean() < 0.5
    # Seen with pixels of 40 m, a roof is smaller.
    assert (coarse != surface).any(dim=1).float().mean() < 0.5 * built.mean()


def test_a_roof_is_even_and_its_edge_is_sharp():
    roofs = draw_roofs(Draw(0, 0), torch.zeros(40, 3, 64, 64), torch.ones(40), CHOSEN)
    steps = roofs[CHOSEN].diff(dim=-1).abs().amax(dim=1)
    assert (steps > 0.15).float().mean() < 0.1
    assert steps.amax(dim=(1, 2)).median() > 0.3


def test_a_coast_is_part_water_and_part_land(bank):
    surface = torch.full((40, 3, 64, 64), 0.5)
    coast = draw_coast(Draw(0, 0), surface, bank, CHOSEN)
    assert torch.equal(coast[~CHOSEN], surface[~CHOSEN])
    water = (coast[CHOSEN].amax(dim=1) < 0.42).float()
    assert 0.2 < water.mean() < 0.8


def test_new_land_is_marked(land, bank):
    windows, of_scene = draw_land(Draw(0, 0), land, 1, 40, LandPlan(scenes=0.5))
    plan = GroundPlan(roofs=0.3, coast=0.3)
    plain = dataclasses.replace(plan, roofs=0, coast=0)
    with_new, without = (
        draw_ground(Draw(0, 0), windows, bank, torch.ones(40), each) for each in (plan, plain)
    )
    changed = (with_new.light != without.light).flatten(1).any(dim=1)
    assert not (changed & ~with_new.new_land).any()
    assert changed.float().mean() > 0.4
    assert not without.new_land.any()
    assert 0 < of_scene.sum() < 40


def test_eight_turns_are_eight_pictures():
    window = torch.arange(16.0).view(1, 1, 4, 4).expand(8, 1, 4, 4)
    out = turned(window, torch.arange(8))
    assert len({tuple(x.flatten().tolist()) for x in out}) == 8
    assert torch.equal(out.sum((1, 2, 3)), window.sum((1, 2, 3)))


def test_a_shifted_window_shows_the_field_shifted(bank):
    place = draw_placement(Draw(0, 0), "p", torch.full((5,), 0.7), count=3)
    whole = sample(bank, place, 64)
    moved = sample(bank, place.shifted(torch.tensor([[3.0, -2.0]]).expand(5, 2)), 64)
    assert torch.allclose(moved[:, :-3, 2:], whole[:, 3:, :-2], atol=1e-3)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_large_pixel_sees_the_mean_of_what_lies_in_it(bank, level):
    side, around = 2**level, SIDE // 2
    centre = torch.full((1, 2), around - 0.5)
    place = Placement(torch.tensor([1]), centre, side * torch.eye(2)[None])
    half = 8 * side
    field = bank.values[1, : SIDE**2].view(SIDE, SIDE).float()
    part = field[around - half : around + half, around - half : around + half]
    means = part.view(16, side, 16, side).mean(dim=(1, 3))
    assert torch.allclose(sample(bank, place, 16)[0], means, atol=2e-3)


def test_coarse_windows_beyond_a_field_are_finite(bank):
    place = draw_placement(Draw(0, 0), "p", torch.full((50,), 9.0), count=3)
    assert 0 <= float(sample(bank, place, 64).min()) <= float(sample(bank, place, 64).max()) <= 1


@pytest.mark.parametrize("level", [2, 4])
def test_of_two_mosaics_each_is_hidden_where_its_seams_are(level):
    other = _seam_weight(Draw(0, 0), "land", level, 400).mean(dim=0)[0]
    side = 64 // level
    seams, middles = other[side - 1 :: side], other[side // 2 - 1 :: side]
    clear = np.s_[:, side // 4 :: side // 2]  # where the lines of both mosaics do not cross
    assert seams[clear].min() > 0.65
    assert middles[clear].max() < 0.35


def test_scenes_of_any_brightness_come_back(land, bank):
    bright = {1: np.full((1, 3, 64, 64), 7 * UNIT, np.uint16)}  # beyond what int16 holds
    tiles = np.ones((1, 3, 64, 64), np.uint8)
    one = load_land(tiles, ["River/1.jpg"], bright, "cpu")
    windows, of_scene = draw_land(Draw(0, 0), one, 1, 3, LandPlan(scenes=1.0))
    assert (windows == 7).all()
    assert of_scene.all()


def test_haze_over_water_is_mostly_taken_for_its_own_light(land, bank):
    water = torch.full((200, 3, 64, 64), 0.3) + torch.tensor([0.0, 0.1, 0.25])[:, None, None]
    base = torch.tensor([0.15, 0.23, 0.33]).view(1, 3, 1, 1).expand(200, 3, 1, 1)
    sea = Ground(water, base, torch.zeros(200, dtype=torch.bool))
    haze = dict.fromkeys(("none", "field", "noise", "cirrus", "shade", "second"), 0.0)
    plan = SkyPlan(**haze, haze=1.0, clear_water=0.7)
    hazy = draw_sky(Draw(0, 0), sea, bank, torch.ones(200), plan).opacity.amax((1, 2, 3)) > 0
    assert 0.2 < hazy.float().mean() < 0.4


def test_a_scene_is_kept_beyond_the_model_range():
    light = np.full((3, 130, 130), round(2.5 * UNIT), np.uint16)
    clear = np.ones((130, 130), bool)
    clear[0, 0] = False
    windows = cut_scene(light, clear, 1, 64, 99)
    assert len(windows) == 3
    assert (windows == round(2.5 * UNIT)).all()
    assert len(cut_scene(light, clear, 1, 64, 2)) == 2
    assert cut_scene(light, clear, 4, 8, 99).shape[0] == 0


def test_clear_scenes_are_read_as_restoring_reads_them(tmp_path: Path):
    dn = np.full((3, 140, 140), 5500, np.uint16)  # twice the model range
    (tmp_path / "below").mkdir()
    write_scene(tmp_path / "below" / "a.tif", dn)
    write_scene(tmp_path / "b.tif", (dn + 1000).astype(np.uint16), nodata=0)
    reading = Reading(scale=10_000, offset=0)
    windows = load_clear_scenes(tmp_path / "below", reading)
    assert windows[1].shape == (9, 3, 64, 64)
    assert windows[2].shape == (1, 3, 64, 64)
    assert not len(windows[4])
    assert (windows[1] == 2 * UNIT).all()
    hidden = np.zeros((1, 70, 70), np.uint8)
    hidden[0, -1, -1] = 1
    place = from_origin(500000, 5500000, 20, 20)
    write_scene(tmp_path / "below" / "a_mask.tif", hidden, transform=place)
    assert len(load_clear_scenes(tmp_path / "below", reading)[1]) == 9  # beyond the last window
    hidden[0, 60] = 1
    write_scene(tmp_path / "below" / "a_mask.tif", hidden, transform=place)
    assert len(load_clear_scenes(tmp_path / "below", reading)[1]) == 6
    fine = hidden.repeat(4, 1).repeat(4, 2)
    write_scene(tmp_path / "below" / "a_mask.tif", fine, transform=from_origin(5e5, 55e5, 5, 5))
    assert len(load_clear_scenes(tmp_path / "below", reading)[1]) == 6
    write_scene(tmp_path / "below" / "a_mask.tif", hidden | 1, transform=place)
    with pytest.raises(DataError, match="below: no window of 64x64 clear pixels in its 1 scenes"):
        load_clear_scenes(tmp_path / "below", reading)


@pytest.mark.parametrize("cells", [1, 2, 3, 5, 7, 8, 11, 13, 14, 20])
def test_a_pixel_is_hidden_by_any_cell_that_it_touches(cells):
    length = 7
    for cell in range(cells):
        hidden = np.zeros((cells, 2), bool)
        hidden[cell, 1] = True
        clear = np.ones((length, 4), bool)
        _hide(clear, hidden)
        for pixel in range(length):
            # Both intervals times cells * length, so that the comparison is exact.
            apart = (pixel + 1) * cells <= cell * length or (cell + 1) * length <= pixel * cells
            assert clear[pixel].tolist() == [True, True, apart, apart]


def test_a_bad_clear_scene_is_named_or_left_out(tmp_path: Path):
    write_scene(tmp_path / "a.tif", np.full((3, 70, 70), 900, np.uint16))
    (tmp_path / "b.tif").write_text("no raster")
    with pytest.raises(SceneError, match=r"b\.tif"):
        load_clear_scenes(tmp_path)
    with pytest.warns(DataWarning, match=r"1 bad file left out, first b\.tif"):
        assert len(load_clear_scenes(tmp_path, on_bad="skip")[1]) == 1


def test_a_clear_scene_without_a_window_is_named(tmp_path: Path):
    write_scene(tmp_path / "a.tif", np.full((3, 70, 70), 900, np.uint16))
    write_scene(tmp_path / "b.tif", np.full((3, 60, 70), 900, np.uint16))
    with pytest.warns(DataWarning, match=r"b\.tif: no window of 64x64 clear pixels in it") as seen:
        assert len(load_clear_scenes(tmp_path)[1]) == 1
    assert not any("a.tif: no window" in str(one.message) for one in seen)


def test_highlights_begin_where_the_model_range_ends():
    seen = torch.tensor([0.5, 1.0, 2.0, 4.0, 9.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    channels = model_input(seen, torch.zeros(1, 5, 1, 5), torch.zeros(1, 3, 1, 1))
    assert torch.allclose(channels[0, 3, 0], torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
    assert torch.allclose(channels[0, 0, 0], torch.tensor([0.5, 1.0, 1.0, 1.0, 1.0]))


def test_fields_are_read_from_pictures_and_cut(tmp_path: Path):
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, 2 * SIDE + 9), np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    fields = load_cloud_fields(tmp_path)
    assert fields.shape == (2, SIDE, SIDE)
    assert np.array_equal(fields[1], picture[:, SIDE : 2 * SIDE])


def test_every_form_of_a_field_says_the_same(tmp_path: Path):
    field = np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(SIDE, SIDE)
    plain = {"crs": None, "transform": None}
    Image.fromarray(field).save(tmp_path / "a.png")
    Image.fromarray(field).save(tmp_path / "b.webp", lossless=True)
    Image.fromarray(field).convert("RGB").save(tmp_path / "c.PNG")
    write_scene(tmp_path / "d.tif", field[None])
    write_scene(tmp_path / "e.tif", field[None].astype(np.float32) / 255, **plain)
    (tmp_path / "README.md").write_text("no field")
    fields = load_cloud_fields(tmp_path)
    assert fields.shape == (5, SIDE, SIDE)
    assert all(np.array_equal(one, field) for one in fields)


@pytest.mark.parametrize("dn", [np.full((1, SIDE, SIDE), 9, np.uint16), np.full((1, 9, 9), 2.0)])
def test_a_raster_that_is_no_field_is_refused(tmp_path: Path, dn):
    write_scene(tmp_path / "a.tif", dn)
    with pytest.raises(DataError, match=r"a\.tif: .*give 8 bits, or floats from 0 to 1"):
        load_cloud_fields(tmp_path)


@pytest.mark.parametrize(("nodata", "light"), [(-9999, np.float32(0.8)), (255, np.uint8(204))])
def test_declared_nodata_of_a_field_is_no_cloud(tmp_path: Path, nodata, light):
    field = np.full((1, SIDE, SIDE), light)
    field[:, :200] = nodata
    write_scene(tmp_path / "a.tif", field, nodata=nodata)
    (found,) = load_cloud_fields(tmp_path)
    assert not found[:200].any()
    assert (found[200:] == 204).all()


RNG = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("dn", "descriptions", "message"),
    [
        (RNG.integers(0, 256, (3, SIDE, SIDE), np.uint8), (), "its bands differ; give a grey"),
        (RNG.integers(0, 101, (2, SIDE, SIDE), np.uint8), OPACITY, "holds opacity, not the light"),
        (RNG.integers(0, 4, (1, SIDE, SIDE), np.uint8), (CLOUD_MASK,), "holds a cloud mask, not"),
        (RNG.integers(0, 12, (1, SIDE, SIDE), np.uint8), (), "no cloud in it, its values reach 11"),
        (np.zeros((1, SIDE, SIDE), np.float32), (), "no cloud in it, its values reach 0 of 255"),
        (RNG.uniform(-1, 1, (1, SIDE, SIDE)), (), ".* values from -.* give 8 bits, or floats"),
    ],
)
def test_what_is_no_light_of_cloud_is_refused(tmp_path: Path, dn, descriptions, message):
    write_scene(tmp_path / "a.tif", dn)
    with rasterio.open(tmp_path / "a.tif", "r+") as raster:
        for band, text in enumerate(descriptions, 1):
            raster.set_band_description(band, text)
    with pytest.raises(DataError, match=rf"a\.tif: {message}"):
        load_cloud_fields(tmp_path)


def test_a_photo_is_no_field(tmp_path: Path):
    Image.fromarray(RNG.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: its bands differ; give a grey picture"):
        load_cloud_fields(tmp_path)


def test_a_picture_of_16_bits_is_refused(tmp_path: Path):
    Image.fromarray(np.full((SIDE, SIDE), 999, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: pixels of mode I;16.*; give 8 bits"):
        load_cloud_fields(tmp_path)


def test_a_selection_of_fields_comes_along():
    folder = SAMPLES / "cloud_fields"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4_000_000
    fields = load_cloud_fields(folder)
    assert len(fields) > 100
    covers = (fields > 50).mean(axis=(1, 2))
    assert covers.min() < 0.1
    assert covers.max() > 0.8


def test_a_folder_without_fields_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no cloud fields"):
        load_cloud_fields(tmp_path)
