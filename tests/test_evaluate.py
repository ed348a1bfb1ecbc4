"""Test the scores of whole runs: pairs of scenes, and tiles under each kind of cloud."""

import dataclasses
import json
import math
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from geodecloud.data.config import CloudMix
from geodecloud.errors import DataError, UsageError
from geodecloud.evaluation.pairs import evaluate_pairs, group_pixels
from geodecloud.evaluation.tables import GROUPS, ROWS, json_scores, mean_scores
from geodecloud.evaluation.tiles import evaluate_tiles, trained_split_seed
from geodecloud.raster.provenance import Provenance
from geodecloud.settings import Policy, Settings
from tests.conftest import ROOT, darken, noise, write_scene

METRICS = {"psnr", "ssim", "sam", "mae"}
PARTS = {"under_cloud", "in_the_clear", "by_opacity", "bias"}
PAIR_KEYS = {*ROWS, *PARTS, "other_bands", "changed_fraction", "computed_fraction", "reprod_mae"}
LIMITS = {"clear_below", "opaque_above"}
KINDS = {field.name for field in dataclasses.fields(CloudMix)} | {"article"}


class Stub:
    """A plain function of the patches in place of the predictor."""

    info = SimpleNamespace(metadata={})

    def __init__(self, function):
        self._function = function

    def __call__(self, patches, darkest):
        return self._function(patches, darkest)


def see_nothing(patches, _):
    """Return the patches unchanged, without any cloud."""
    return np.concatenate([patches, 0 * patches[:, :1]], axis=1)


@pytest.fixture
def network(monkeypatch):
    """Replace the network by a plain function."""

    def put(function):
        for module in ("pairs", "tiles"):
            monkeypatch.setattr(
                f"geodecloud.evaluation.{module}.load_predictor", lambda *_: Stub(function)
            )

    return put


@pytest.fixture
def folders(tmp_path):
    cloudy, clear = tmp_path / "cloudy", tmp_path / "clear"
    cloudy.mkdir()
    clear.mkdir()
    return cloudy, clear


def write_png(path, dn):
    Image.fromarray(dn.transpose(1, 2, 0)).save(path)


def half_cloudy(dtype="uint16", white=2750, size=(40, 50)):
    """Return dark land under a bright cloud over its left half, and without it."""
    clear = (noise((3, *size)).astype(float) / 4000 * 0.45 * white).astype(dtype)
    cloudy = clear.copy()
    cloudy[:, :, : size[1] // 2] = white * 0.8
    return cloudy, clear


def test_a_pair_is_scored_whole_and_by_region(folders, network):
    network(darken)
    cloudy, clear = half_cloudy()
    write_scene(folders[0] / "a.tif", cloudy)
    write_scene(folders[1] / "a.tif", clear)
    scores = evaluate_pairs(*folders, None)
    assert scores.keys() == {"pairs", "each", *LIMITS, *PAIR_KEYS}
    assert scores["each"]["a"].keys() == PAIR_KEYS
    assert all(scores[row].keys() == METRICS for row in ROWS)
    assert scores["pairs"] == 1
    assert scores["reprod_mae"] == 0
    assert scores["in_the_clear"]["restored"] == {"psnr": math.inf, "mae": 0}
    assert 0.5 <= scores["changed_fraction"] < 0.9  # the blend reaches into the clear
    identity, restored = (scores["under_cloud"][row] for row in ("identity", "restored"))
    assert restored["psnr"] > identity["psnr"] + 3
    assert restored["mae"] < identity["mae"]
    assert scores["restored"]["psnr"] > scores["identity"]["psnr"] + 3
    assert scores["in_the_clear"]["identity"] == scores["in_the_clear"]["restored"]


def see_by_brightness(patches, _):
    """See thin cloud in 0.8, which adds 0.4 to the ground, and opaque cloud in white."""
    red = patches[:, :1]
    opacity = np.where(red > 0.9, 1, np.where(red > 0.7, 0.3, 0))
    return np.concatenate([patches - 0.4 * (opacity > 0), opacity], axis=1)


def under(cloud, folders, name, ground=(0.4, 0.5, 0.3)):
    """Write a pair of which the left half lies under even cloud; values are in model range."""
    clear = np.empty((3, 40, 50), np.uint16)
    clear[:] = np.reshape((250, 400, 700), (3, 1, 1))  # blue by path radiance
    clear[:, :, :25] = np.rint(np.array(ground) * 2750)[:, None, None]
    cloudy = clear.copy()
    cloudy[:, :, :25] = round(cloud * 2750)
    write_scene(folders[0] / f"{name}.tif", cloudy)
    write_scene(folders[1] / f"{name}.tif", clear)


def test_thin_thick_and_clear_pixels_are_scored_apart(folders, network):
    network(see_by_brightness)
    under(0.8, folders, "thin")
    under(1.0, folders, "thick")
    scores = evaluate_pairs(*folders, None)
    assert scores.keys() >= LIMITS
    groups = scores["each"]["thin"]["by_opacity"]
    assert groups.keys() == GROUPS.keys()
    fractions = {name: group["fraction"] for name, group in groups.items()}
    assert fractions == {"clear": 0.5, "thin": 0.5, "thick": 0, "relit_shadow": 0}
    assert groups["clear"]["restored"] == {"psnr": math.inf, "mae": 0}
    assert groups["thin"]["identity"]["mae"] == pytest.approx(0.4, abs=1e-6)
    # Green becomes 0.4, not 0.5, and blue not 0.3.
    assert groups["thin"]["restored"]["mae"] == pytest.approx(0.2 / 3, abs=1e-6)
    assert groups["thin"]["restored"]["psnr"] == pytest.approx(-10 * math.log10(0.02 / 3), abs=1e-4)
    assert math.isnan(groups["thick"]["restored"]["psnr"])
    thick = scores["each"]["thick"]["by_opacity"]["thick"]
    assert thick["fraction"] == 0.5
    assert thick["identity"]["mae"] == pytest.approx(0.6, abs=1e-6)
    means = scores["by_opacity"]
    assert (means["thin"]["fraction"], means["thick"]["fraction"]) == (0.25, 0.25)
    assert means["thin"]["restored"] == groups["thin"]["restored"]  # the only pair that has some


def test_the_bias_is_signed_and_by_band(folders, network):
    network(see_by_brightness)
    under(0.8, folders, "a")
    bias = evaluate_pairs(*folders, None)["bias"]
    assert bias["identity"] == pytest.approx({"red": 0.2, "green": 0.15, "blue": 0.25}, abs=1e-6)
    assert bias["restored"] == pytest.approx({"red": 0, "green": -0.05, "blue": 0.05}, abs=1e-6)


def test_groups_divide_the_pixels_with_data():
    policy = Policy(clear_below=0.07, restored_above=0.2, opaque_above=0.29)
    opacity = np.array([[0, 7, 8, 29, 30, 100, 100, 255]], np.uint8)
    provenance = np.array([[0, 0, 2, 100, 101, 103, 104, 255]], np.uint8)
    groups = group_pixels(opacity, provenance, policy)
    where = {name: np.flatnonzero(group).tolist() for name, group in groups.items()}
    assert where == {"clear": [0, 1], "thin": [2, 3], "thick": [4, 6], "relit_shadow": [5]}
    white = np.full((1, 1), 100, np.uint8)
    filled = np.full((1, 1), Provenance.FILLED, np.uint8)
    assert group_pixels(white, filled, Policy(opaque_above=1))["thick"].all()


def test_windows_that_were_not_computed_are_counted(folders, network):
    network(see_nothing)
    dn = noise((3, 40, 200)) // 2 + 1
    dn[:, :, 90:] = 0  # of windows that begin at 0, 48, 96 and 136
    for folder in folders:
        write_scene(folder / "a.tif", dn, nodata=0)
    assert evaluate_pairs(*folders, None)["computed_fraction"] == 0.5


def test_formats_mix_and_means_are_over_the_pairs(folders, network):
    network(darken)
    picture = half_cloudy("uint8", 255)
    write_png(folders[0] / "a.png", picture[0])
    write_scene(folders[1] / "a.TIFF", picture[1])
    write_scene(folders[0] / "b.tif", picture[1])
    write_png(folders[1] / "b.png", picture[0])
    for pair in zip(folders, half_cloudy(size=(30, 33)), strict=True):
        write_scene(pair[0] / "c.tif", pair[1])
    for folder, dn in zip(folders, half_cloudy("uint8", 255), strict=True):
        Image.fromarray(dn.transpose(1, 2, 0)).save(folder / "d.JPG")
    (folders[0] / "notes.txt").touch()
    scores = evaluate_pairs(*folders, None)
    assert scores["each"].keys() == {"a", "b", "c", "d"}
    for row in ROWS:
        each = [scores["each"][stem][row]["ssim"] for stem in "abcd"]
        assert scores[row]["ssim"] == pytest.approx(np.mean(each))
    a, b = (scores["each"][stem]["identity"]["psnr"] for stem in "ab")
    assert a == b
    only = evaluate_pairs(*folders, None, ["b"])
    assert only["each"] == {"b": scores["each"]["b"]}


@pytest.mark.parametrize("offset", [0, -1000])
def test_a_clear_scene_that_states_no_radiometry_is_read_like_the_cloudy_one(
    folders, network, offset
):
    network(see_nothing)
    dark = np.full((3, 20, 20), 300 - offset, np.uint16)
    bright = np.full((3, 20, 20), 575 - offset, np.uint16)  # a tenth of the model range more
    # Only the cloudy file states it; the clear scene is dark enough to look like L2A.
    write_scene(folders[1] / "a.tif", dark)
    with rasterio.open(write_scene(folders[0] / "a.tif", bright), "r+") as file:
        file.scales, file.offsets = [1e-4] * 3, [offset * 1e-4] * 3
    scores = evaluate_pairs(*folders, None)
    for row in ("identity", "restored"):
        assert scores[row]["mae"] == pytest.approx(0.1, abs=1e-6)
        assert scores[row]["psnr"] == pytest.approx(20, abs=1e-4)
        assert scores["in_the_clear"][row]["psnr"] == pytest.approx(20, abs=1e-4)
    assert math.isnan(scores["under_cloud"]["restored"]["psnr"])


def test_each_scene_is_read_with_the_offset_that_it_states(folders, network, cli, tiny_model):
    network(see_nothing)
    cloudy, clear = half_cloudy()
    write_scene(folders[0] / "a.tif", cloudy)
    write_scene(folders[1] / "a.tif", clear)
    expected = evaluate_pairs(*folders, None)
    shifted = write_scene(folders[0] / "a.tif", cloudy + 1000)
    assert evaluate_pairs(*folders, None)["identity"] != expected["identity"]
    for path, offset in ((shifted, -1000), (folders[1] / "a.tif", 0)):
        with rasterio.open(path, "r+") as file:
            file.update_tags(BOA_ADD_OFFSET=offset)
    assert evaluate_pairs(*folders, None)["identity"] == expected["identity"]
    # An offset that is given holds for both scenes.
    write_scene(folders[0] / "a.tif", cloudy + 1000)
    write_scene(folders[1] / "a.tif", clear + 1000)
    given = evaluate_pairs(*folders, None, settings=Settings(offset=-1000))
    assert given["identity"] == expected["identity"]
    args = ["evaluate", *folders, "--model", tiny_model, "--json"]
    assert json.loads(cli(*args, "--offset", -1000).out)["identity"] == expected["identity"]


@pytest.mark.parametrize(
    ("given", "clear_states", "shift"),
    [
        ({"scale": 10_000}, -0.03, 300),
        ({"scale": 10_000}, None, 1000),
        ({"offset": -1000}, -0.03, 1000),
        ({"scale": 10_000, "offset": -1000}, -0.03, 1000),
    ],
)
def test_what_is_given_alone_replaces_what_a_clear_scene_states(
    folders, network, given, clear_states, shift
):
    """The cloudy scene states an offset of -1000; ``shift``: of the clear one's DN."""
    network(see_nothing)
    land = half_cloudy()[1]
    paths = [
        write_scene(folder / "a.tif", land + offset)
        for folder, offset in zip(folders, (1000, shift), strict=True)
    ]
    for path, offset in zip(paths, (-0.1, clear_states), strict=True):
        if offset is not None:
            with rasterio.open(path, "r+") as file:
                file.scales, file.offsets = [1e-4] * 3, [offset] * 3
    scores = evaluate_pairs(*folders, None, settings=Settings(**given))
    assert scores["identity"]["mae"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("holed", [0, 1])
@pytest.mark.parametrize("columns", [slice(45, 50), slice(30, 35)])  # the border, and a hole
def test_undeclared_zeros_of_either_scene_are_nodata(folders, network, holed, columns):
    network(see_nothing)
    pair = [np.maximum(dn, 1) for dn in half_cloudy()]
    pair[holed][:, 20:, columns] = 0
    for folder, dn in zip(folders, pair, strict=True):
        write_scene(folder / "a.tif", dn, nodata=0)
    expected = evaluate_pairs(*folders, None)
    write_scene(folders[holed] / "a.tif", pair[holed])
    assert evaluate_pairs(*folders, None)["identity"] == expected["identity"]


def test_a_warning_that_many_scenes_share_is_shown_once(cli, folders, tiny_model):
    for name in "abc":
        for folder in folders:
            write_scene(folder / f"{name}.tif", half_cloudy()[1])
    err = cli("evaluate", *folders, "--model", tiny_model).err
    assert err.count("does not name its bands") == 1


def test_nodata_of_either_scene_is_left_out(folders, network):
    network(see_nothing)
    cloudy, clear = noise((3, 30, 30)) // 2, noise((3, 30, 30), seed=1) // 2 + 1
    cloudy[:, :, 20:], clear[:, :, :5] = 0, 0
    write_scene(folders[0] / "a.tif", cloudy, nodata=0)
    write_scene(folders[1] / "a.tif", clear, nodata=0)
    scores = evaluate_pairs(*folders, None)
    both = (cloudy > 0).all(axis=0) & (clear > 0).all(axis=0)
    expected = np.abs(cloudy[:, both].astype(float) - clear[:, both]).mean() / 2750
    assert scores["identity"]["mae"] == pytest.approx(expected, rel=1e-5)
    assert math.isfinite(scores["dark_channel_prior"]["ssim"])


def test_means_leave_out_infinite_scores_and_scores_of_no_pixels():
    each = [{"a": {"b": math.inf}, "c": math.nan}, {"a": {"b": 3.0}, "c": math.nan}]
    means = mean_scores(each)
    assert means["a"] == {"b": 3}
    assert math.isnan(means["c"])
    assert mean_scores(each[:1])["a"] == {"b": math.inf}
    assert json_scores(mean_scores(each[:1]) | {"n": 1}) == {"a": {"b": None}, "c": None, "n": 1}


def test_rows_are_averaged_over_the_same_pairs():
    cloudy, changed, unchanged = (13.0, 23.0), (math.inf, 37.0), (math.inf, math.inf)
    each = [
        {"identity": {"psnr": a, "mae": 0.1}, "restored": {"psnr": b, "mae": 0.3}}
        for a, b in (cloudy, changed, unchanged)
    ]
    means = mean_scores(each)
    assert [means[row]["psnr"] for row in ("identity", "restored")] == [13, 23]
    assert means["restored"]["mae"] == pytest.approx(0.3)
    without_cloud = mean_scores(each[1:])
    assert [without_cloud[row]["psnr"] for row in ("identity", "restored")] == [math.inf, 37]


BAD_PAIRS = {
    "no clear one": (lambda f: (f[1] / "a.tif").unlink(), "a missing"),
    "two of one stem": (
        lambda f: write_png(f[0] / "a.png", noise((3, 9, 9), "uint8")),
        "same stem",
    ),
    "other size": (
        lambda f: write_scene(f[1] / "a.tif", noise((3, 20, 21)), photometric="rgb"),
        "21 x 20 pixels, but",
    ),
    "other type": (
        lambda f: write_scene(f[1] / "a.tif", noise((3, 20, 20), "uint8"), photometric="rgb"),
        "convert",
    ),
    "other place": (
        lambda f: write_scene(
            f[1] / "a.tif",
            noise((3, 20, 20)),
            photometric="rgb",
            transform=from_origin(500006, 5500000, 10, 10),
        ),
        "not on the grid",
    ),
    "other CRS": (
        lambda f: write_scene(
            f[1] / "a.tif", noise((3, 20, 20)), photometric="rgb", crs="EPSG:32632"
        ),
        "not on the grid",
    ),
    "all nodata": (
        lambda f: write_scene(f[1] / "a.tif", noise((3, 20, 20)) * 0, nodata=0, photometric="rgb"),
        "valid",
    ),
    "empty": (lambda f: (f[0] / "a.tif").unlink(), "no pairs"),
    "not a scene": (lambda f: (f[1] / "a.tif").write_text("x"), "cannot be opened"),
}


@pytest.mark.parametrize("kind", BAD_PAIRS)
def test_bad_pairs_are_one_clear_line(cli, folders, tiny_model, kind):
    for folder in folders:
        write_scene(folder / "a.tif", noise((3, 20, 20)), photometric="rgb")
    spoil, words = BAD_PAIRS[kind]
    spoil(folders)
    cli("evaluate", *folders, "--model", tiny_model)
    assert cli.code == 1
    assert words in cli.err
    assert str(folders[0]) in cli.err or str(folders[1]) in cli.err
    assert len(cli.err.splitlines()) == 1


def test_pictures_are_not_written_into_the_input_folders(folders, network):
    network(see_nothing)
    for folder in folders:
        write_png(folder / "a.png", noise((3, 20, 20), "uint8"))
    with pytest.raises(UsageError, match="another folder"):
        evaluate_pairs(*folders, None, pictures=folders[1] / ".." / "cloudy")
    with pytest.raises(DataError, match="b not found"):
        evaluate_pairs(*folders, None, ["a", "b"])


def test_a_file_where_the_folder_of_pictures_should_be_is_one_clear_line(cli, folders, tiny_model):
    for folder in folders:
        write_scene(folder / "a.tif", noise((3, 20, 20)), photometric="rgb")
    file = folders[0] / "a.tif"
    for wanted in (file, file / "below"):
        cli("evaluate", *folders, "--model", tiny_model, "--png", wanted)
        assert f"{wanted}: cannot be a folder (" in cli.err
        assert "; name another" in cli.err
        assert (cli.code, len(cli.err.splitlines())) == (1, 1)


def test_evaluate_pairs_on_the_command_line(cli, folders, tmp_path, tiny_model):
    for folder, dn in zip(folders, half_cloudy(), strict=True):
        write_scene(folder / "one.tif", dn)
    write_scene(folders[0] / "two.tif", dn)
    write_scene(folders[1] / "two.tif", dn)
    args = ["evaluate", *folders, "--model", tiny_model]
    scores = json.loads(cli(*args, "--json", "--png", tmp_path / "new" / "pictures").out)
    assert scores["pairs"] == 2
    assert scores["reprod_mae"] == 0
    assert scores["each"]["two"]["identity"] == {"psnr": None, "ssim": 1, "sam": 0, "mae": 0}
    assert scores["identity"]["psnr"] == scores["each"]["one"]["identity"]["psnr"]
    for stem in ("one", "two"):
        with Image.open(tmp_path / "new" / "pictures" / f"{stem}.png") as png:
            assert png.size == (3 * 50 + 2 * 4, 40)
    assert "not in the mean PSNR, infinite in a row: two" in cli(*args).out
    text = cli(*args, "--only", "two").out
    assert "not in the mean" not in text
    assert "mean of 1" in text
    assert "inf" in text
    assert "dark channel prior" in text
    assert "+0.0000" in text
    assert "thick, opacity from" in text
    assert "windows computed: 100.0%" in text


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["cloudy"],
        ["cloudy", "clear", "--tiles", "t"],
        ["--tiles", "t", "--only", "a"],
        ["--tiles", "t", "--limit", "-1"],
        ["--tiles", "t", "--png", "p.jpg"],
        ["--tiles", "t", "--scale", "1"],
        ["cloudy", "clear", "--limit", "3"],
        ["cloudy", "clear", "--on-bad", "skip"],
        ["--seams", "s.tif", "--png", "p.png"],
    ],
)
def test_wrong_usage_is_exit_code_2(cli, args):
    assert cli("evaluate", *args).code == 2


@pytest.fixture(scope="module")
def eurosat(tmp_path_factory):
    """Make a EuroSAT of 30 tiles from a clear scene; 9 tiles are held out."""
    with rasterio.open(ROOT / "sample_data" / "s2_clear.tif") as scene:
        land = np.clip(scene.read([3, 2, 1]) / 2750 * 254 + 1, 1, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("eurosat") / "EuroSAT.zip"
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(30):
            top, left = rng.integers(0, np.array(land.shape[1:]) - 64)
            tile = land[:, top : top + 64, left : left + 64]
            with archive.open(f"EuroSAT/Land/Land_{i}.jpg", "w") as file:
                Image.fromarray(tile.transpose(1, 2, 0)).save(file, "JPEG", quality=100)
    return path


def test_a_network_that_sees_nothing_is_the_identity(eurosat, network):
    network(see_nothing)
    scores = evaluate_tiles(eurosat, None)
    assert scores["tiles"] == 9
    assert scores["kinds"].keys() == KINDS
    for kind, rows in scores["kinds"].items():
        assert rows.keys() == {*ROWS, "network", "untouched"}
        assert rows["untouched"] == 1
        assert rows["restored"] == rows["identity"]
        assert rows["network"]["psnr"] == rows["identity"]["psnr"]
        assert math.isinf(rows["identity"]["psnr"]) == (kind == "none")
    assert scores["kinds"]["deck"]["identity"]["psnr"] < scores["kinds"]["veil"]["identity"]["psnr"]


def test_the_composite_decides_which_pixels_stay_untouched(eurosat, network):
    network(darken)
    for rows in evaluate_tiles(eurosat, None, limit=3)["kinds"].values():
        assert rows["untouched"] < 1
        assert rows["restored"]["psnr"] != rows["network"]["psnr"]


def test_psnr_is_that_of_the_error_over_all_tiles(eurosat, network, monkeypatch):
    network(see_nothing)
    whole = evaluate_tiles(eurosat, None, limit=3)["kinds"]["veil"]
    monkeypatch.setattr("geodecloud.evaluation.tiles._BATCH", 2)
    assert evaluate_tiles(eurosat, None, limit=3)["kinds"]["veil"] == whole


def test_evaluate_tiles_on_the_command_line(cli, eurosat, tmp_path, tiny_model):
    picture = tmp_path / "tiles.png"
    args = ["evaluate", "--tiles", eurosat, "--model", tiny_model, "--limit", 4]
    scores = json.loads(cli(*args, "--json", "--png", picture).out)
    assert scores["tiles"] == 4
    assert scores["kinds"]["none"]["identity"] == {"psnr": None, "ssim": 1, "sam": 0, "mae": 0}
    with Image.open(picture) as png:
        assert png.size == (12 * 68 - 4, len(KINDS) * 68 - 4)
    text = cli(*args, "--limit", 1).out
    assert "veil (thin)" in text
    assert len(text.splitlines()) == 1 + 3 * len(KINDS)


@pytest.mark.parametrize(
    ("metadata", "seed"),
    [
        ({}, 231),
        ({"split_seed": 5, "config": {"training": {"seed": 1}}}, 5),
        ({"config": {"recipe": "two-level", "schedule": {"seed": 1, "split_seed": 5}}}, 5),
        ({"config": {"training": {"seed": 1, "split_seed": 5}, "schedule": {}}}, 5),
    ],
)
def test_tiles_are_those_that_the_model_was_not_trained_on(metadata, seed):
    assert trained_split_seed(metadata) == seed


def test_spectra_and_ndvi_of_pixels_beyond_the_model_range_are_those_of_the_reflectance(
    folders, network
):
    network(see_nothing)
    sand, hazy = np.array([4000, 3500, 3000, 4500]), np.array([6000, 5600, 5200, 6200])
    for folder, colour in zip(folders, (hazy, sand), strict=True):
        dn = np.broadcast_to(colour[:, None, None], (4, 20, 20)).astype(np.uint16)
        with rasterio.open(write_scene(folder / "a.tif", dn), "r+") as out:
            out.descriptions = ("B04", "B03", "B02", "B08")
    scores = evaluate_pairs(*folders, None)["other_bands"]
    index = [(near - red) / (near + red) for red, _, _, near in (hazy, sand)]
    assert scores["NDVI"]["all"]["identity"]["mae"] == pytest.approx(abs(index[0] - index[1]))
    cosine = hazy @ sand / np.linalg.norm(hazy) / np.linalg.norm(sand)
    angle = scores["spectra"]["all"]["identity"]["sam"]
    assert angle == pytest.approx(math.degrees(math.acos(cosine)), rel=1e-4)


def test_other_bands_that_both_images_have_are_scored(folders, network, cli):
    network(darken)
    cloudy, clear = half_cloudy()
    names = ("B04", "B03", "B02", "B08")
    for folder, rgb in zip(folders, (cloudy, clear), strict=True):
        for name in "ab":
            path = write_scene(folder / f"{name}.tif", np.concatenate([rgb, rgb[:1]]))
            with rasterio.open(path, "r+") as out:
                out.descriptions = names
    scores = evaluate_pairs(*folders, None)
    assert set(scores["other_bands"]) == {"833 nm", "spectra", "NDVI"}
    near_infrared = scores["other_bands"]["833 nm"]
    assert set(near_infrared) == {"all", *GROUPS}
    assert near_infrared["all"]["restored"]["psnr"] > near_infrared["all"]["identity"]["psnr"] + 2
    assert scores["other_bands"]["NDVI"]["all"]["identity"]["mae"] == 0  # red is as near infrared
    assert near_infrared["clear"]["restored"]["psnr"] == math.inf
    with rasterio.open(folders[1] / "a.tif", "r+") as out:  # a hole in near infrared alone
        out.nodata = 0
        dn = out.read(4)
        dn[:9] = 0
        out.write(dn, 4)
    holed = evaluate_pairs(*folders, None)["other_bands"]
    assert holed["833 nm"]["clear"]["restored"]["psnr"] == math.inf
    assert holed["NDVI"]["all"]["identity"]["mae"] == 0
    write_scene(folders[0] / "b.tif", cloudy)
    write_scene(folders[1] / "b.tif", clear)
    assert evaluate_pairs(*folders, None)["other_bands"] == {}
