"""Laws of cutting cloud fields: a known field comes back, and nothing else does."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import from_origin

from geodecloud.data.two_level.cloud_fields import load_cloud_fields
from geodecloud.data.two_level.field_bank import SIDE
from tests.conftest import write_scene

SEA = (420, 560, 780)  # DN of red, green, blue: L1C, with the path radiance
WHITE = 7000  # DN of cloud that hides everything


def known_field(rows=SIDE, columns=SIDE):
    """A field of one broad cloud, none around it."""
    down, right = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    return np.clip(1.3 - 1.6 * np.hypot(down, right), 0, 1)


def under(field, ground=SEA, seed=1):
    """DN of ground with a little noise under a cloud field: uint16 (3, rows, columns)."""
    noise = np.random.default_rng(seed).normal(0, 12, (3, *field.shape))
    land = np.array(ground)[:, None, None] + noise
    return np.rint((1 - field) * land + field * WHITE).astype(np.uint16)


@pytest.fixture
def pair(tmp_path):
    field = known_field()
    write_scene(tmp_path / "cloudy.tif", under(field))
    write_scene(tmp_path / "clear.tif", under(np.zeros_like(field), seed=2))
    return tmp_path


@pytest.mark.parametrize("form", ["png", "webp"])
def test_a_known_field_over_dark_ground_comes_back(cli, pair: Path, form):
    paths = (pair / "cloudy.tif", pair / "clear.tif", pair / "fields")
    done = cli("cloud-fields", *paths, "--format", form)
    assert done.code == 0, done.err
    assert "1 cloud fields" in done.out
    (path,) = (pair / "fields").iterdir()
    with Image.open(path) as picture:
        assert picture.size == (SIDE, SIDE)
        assert picture.mode == ("L" if form == "png" else "RGB")  # all that WebP has
    found = load_cloud_fields(pair / "fields")[0] / 255
    assert np.abs(found - known_field()).max() < 0.03
    assert np.abs(found - known_field()).mean() < 0.005
    assert not found[known_field() == 0].any()
    again = cli("cloud-fields", *paths, "--format", form)
    assert again.code == 1
    assert "exists already; give --overwrite to replace it" in again.err
    assert cli("cloud-fields", *paths, "--format", form, "--overwrite").code == 0


def test_fields_of_a_scene_with_a_longer_name_are_others(cli, pair: Path):
    other = pair / "fields" / "cloudy_b_00000_00000.png"
    other.parent.mkdir()
    other.write_bytes(b"another scene's")
    paths = (pair / "cloudy.tif", pair / "clear.tif", other.parent)
    assert cli("cloud-fields", *paths).code == 0
    assert other.read_bytes() == b"another scene's"


def test_a_clear_scene_of_another_grid_is_warped(cli, pair: Path):
    clear = under(np.zeros((300, 310)), seed=2)
    place = from_origin(499900, 5500100, 20, 20)
    write_scene(pair / "clear.tif", clear, transform=place)
    assert cli("cloud-fields", pair / "cloudy.tif", pair / "clear.tif", pair / "out").code == 0
    assert np.abs(load_cloud_fields(pair / "out")[0] / 255 - known_field()).max() < 0.03


def test_only_dark_ground_that_is_under_cloud_gives_a_field(cli, tmp_path):
    field = np.tile(known_field(), (2, 2))
    field[:SIDE, SIDE:] = 0  # without cloud
    clear, cloudy = under(np.zeros_like(field), seed=2), under(field)
    bright = under(field, (2200, 1800, 1500))
    cloudy[:, SIDE:, :SIDE] = bright[:, SIDE:, :SIDE]
    clear[:, SIDE:, :SIDE] = under(np.zeros((SIDE, SIDE)), (2200, 1800, 1500))
    cloudy[:, SIDE:, SIDE:][:, :99] = 0
    write_scene(tmp_path / "cloudy.tif", cloudy, nodata=0)
    write_scene(tmp_path / "clear.tif", clear, nodata=0)
    done = cli("cloud-fields", tmp_path / "cloudy.tif", tmp_path / "clear.tif", tmp_path / "out")
    assert "left out: 1 without cloud, 1 over bright ground, 1 with nodata" in done.out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cloudy_00000_00000.png"]


def test_ground_that_has_changed_is_no_cloud(cli, pair: Path):
    soil = under(np.zeros((SIDE, SIDE)), (1100, 900, 800), seed=2)  # red and green rise most
    write_scene(pair / "cloudy.tif", soil)
    done = cli("cloud-fields", pair / "cloudy.tif", pair / "clear.tif", pair / "out")
    assert done.code == 1
    assert "no cloud over dark ground in it; of its pieces 1 without cloud" in done.err
    assert not (pair / "out").exists()


def test_8_bits_are_saturated_where_they_end(cli, tmp_path):
    field = known_field()
    ground = np.array((12, 20, 30))[:, None, None] * np.ones_like(field)
    cloudy = np.rint((1 - field) * ground + field * 255).astype(np.uint8)
    write_scene(tmp_path / "cloudy.tif", cloudy)
    write_scene(tmp_path / "clear.tif", ground.astype(np.uint8))
    done = cli("cloud-fields", tmp_path / "cloudy.tif", tmp_path / "clear.tif", tmp_path / "out")
    assert done.code == 0, done.err
    assert np.abs(load_cloud_fields(tmp_path / "out")[0] / 255 - field).max() < 0.03


def test_a_scene_that_is_no_multiple_is_covered_whole(cli, tmp_path):
    field = known_field(SIDE + 40, 2 * SIDE - 100)
    write_scene(tmp_path / "cloudy.tif", under(field))
    write_scene(tmp_path / "clear.tif", under(np.zeros_like(field), seed=2))
    done = cli("cloud-fields", tmp_path / "cloudy.tif", tmp_path / "clear.tif", tmp_path / "out")
    assert done.code == 0, done.err
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == [
        f"cloudy_{top:05d}_{left:05d}" for top in (0, 40) for left in (0, SIDE - 100)
    ]


@pytest.mark.parametrize(
    ("clear", "words"),
    [
        ("other.tif", r"without a CRS in both, it must have the size of .*cloudy.tif, 512x512"),
        ("far.tif", "no cloud over dark ground in it; of its pieces 1 with nodata"),
        ("missing.tif", "no such file"),
        ("cloudy.tif", "the cloudy one first"),
    ],
)
def test_a_pair_that_is_none_is_refused_in_one_line(cli, pair: Path, clear, words):
    small = under(np.zeros((SIDE, 500)), seed=2)
    write_scene(pair / "other.tif", small, crs=None)
    write_scene(pair / "far.tif", small, transform=from_origin(700000, 5500000, 10, 10))
    done = cli("cloud-fields", pair / "cloudy.tif", pair / clear, pair / "out")
    assert done.code == 1
    assert done.err.count("error:") == 1
    assert re.search(words, done.err), done.err


def test_a_small_scene_is_refused(cli, tmp_path):
    write_scene(tmp_path / "a.tif", under(np.zeros((300, 600))))
    done = cli("cloud-fields", tmp_path / "a.tif", tmp_path / "a.tif", tmp_path / "out")
    assert "a.tif: 600x300 pixels; give at least 512x512" in done.err
