"""The raster of opacity and shadow says what was found, whatever was done about it."""

import json
from dataclasses import replace

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.shutil import copy
from rasterio.vrt import WarpedVRT

import geodecloud
from geodecloud.cli.dry_run import describe_run
from geodecloud.decloud import decloud_scene
from geodecloud.errors import GeodecloudError, OutputError, UsageError
from geodecloud.radiometry import Radiometry
from geodecloud.raster.descriptions import OPACITY
from geodecloud.raster.opacity import NO_PERCENT, opacity_style
from geodecloud.raster.outputs import Outputs
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.rows import Rows
from geodecloud.raster.scene import open_scene
from geodecloud.raster.stale import remove_output
from geodecloud.restore.composite import percent
from geodecloud.settings import ModelSpec, Output, Settings
from tests.conftest import noise, read, write_scene

WHITE, SIZE = 16000, 160
CLOUD = np.zeros((SIZE, SIZE), bool)
CLOUD[40:110, 50:120] = True
EMPTY = np.s_[:, :10]


def white_is_cloud(patches, dark_object):
    white = (patches[:, :1] > 0.999).astype(np.float32)
    return np.concatenate([patches, white], axis=1)


@pytest.fixture
def cloudy(tmp_path):
    """A scene under opaque cloud, with nodata to the left, in blocks of 32 rows."""
    dn = np.where(CLOUD, WHITE, noise((3, SIZE, SIZE)) // 2 + 100).astype(np.uint16)
    dn[(..., *EMPTY)] = 0
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 32}
    return write_scene(tmp_path / "in.tif", dn, nodata=0, **blocks)


def restore(src, network=white_is_cloud, **options):
    """Opacity and shadow in percent, (2, rows, columns)."""
    path = src.parent / "o.tif"
    chosen = Settings(opacity=path, overwrite=True, **options)
    decloud_scene(src, src.parent / "out.tif", network, chosen)
    return read(path)


@pytest.mark.parametrize("file_format", ["gtiff", "cog"])
def test_the_raster_lies_on_the_grid_and_says_what_its_bands_are(cloudy, file_format):
    found = restore(cloudy, format=file_format, aoi="500200,5498500,501500,5499800")
    with (
        rasterio.open(cloudy.parent / "o.tif") as file,
        rasterio.open(cloudy.parent / "out.tif") as out,
    ):
        assert (file.shape, file.transform, file.crs) == (out.shape, out.transform, out.crs)
        assert file.shape == (130, 130)
        assert (file.dtypes, file.nodatavals) == (("uint8",) * 2, (NO_PERCENT,) * 2)
        assert (file.descriptions, file.units) == (OPACITY, ("%", "%"))
        assert file.colorinterp == (ColorInterp.gray, ColorInterp.undefined)
        assert file.compression == rasterio.enums.Compression.deflate
        structure = file.tags(ns="IMAGE_STRUCTURE")
        assert (structure.get("LAYOUT") == "COG") == (file_format == "cog")
    np.testing.assert_array_equal(found[0] == 100, CLOUD[20:150, 20:150])
    names = {"in.tif", "out.tif", "o.tif", "o.qml"}
    assert {path.name for path in cloudy.parent.iterdir()} == names
    assert (cloudy.parent / "o.qml").read_text("utf-8") == opacity_style()


@pytest.mark.parametrize("file_format", ["gtiff", "cog"])
def test_a_copy_that_is_warped_keeps_the_opacity(cloudy, file_format):
    """GDAL would take shadow for alpha if opacity had a colour table."""
    found = restore(cloudy, format=file_format)
    copied, warped = cloudy.parent / "copied.tif", cloudy.parent / "warped.tif"
    copy(cloudy.parent / "o.tif", copied, driver="GTiff")
    with rasterio.open(copied) as file, WarpedVRT(file) as same:
        assert ColorInterp.alpha not in same.colorinterp
        np.testing.assert_array_equal(same.read(), found)
        copy(same, warped, driver="COG")
    np.testing.assert_array_equal(read(warped), found)


def test_percent_agree_with_provenance(cloudy):
    codes = cloudy.parent / "p.tif"
    found = restore(cloudy, provenance=codes)
    codes = read(codes)[0]
    nodata = codes == Provenance.NODATA
    assert nodata[EMPTY].all()
    for band in found:
        np.testing.assert_array_equal(band == NO_PERCENT, nodata)
    assert (found[0][CLOUD] == 100).all()
    measured = Settings().policy.clear_below * 100
    assert (found[0][codes == Provenance.MEASURED] <= measured).all()
    assert (found[1][~nodata] == 0).all()  # this network finds no shadow


@pytest.mark.parametrize(
    "options",
    [
        {"opaque": "keep"},
        {"opaque": "nodata"},
        {"fill_limit": 200.0},
        {"threads": 1, "batch_size": 3},
    ],
)
def test_what_is_found_does_not_depend_on_what_is_done_about_it(cloudy, options):
    expected = restore(cloudy)
    np.testing.assert_array_equal(restore(cloudy, **options), expected)


def test_the_output_is_the_same_with_and_without(cloudy):
    restore(cloudy)
    other = cloudy.parent / "other.tif"
    decloud_scene(cloudy, other, white_is_cloud, Settings())
    assert other.read_bytes() == (cloudy.parent / "out.tif").read_bytes()


def test_a_mask_counts_as_what_is_found(cloudy):
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[0, :, 80:] = 1
    found = restore(cloudy, mask=write_scene(cloudy.parent / "mask.tif", mask))
    assert (found[0][:, 10:80] == 0).all()
    assert (found[0][:, 80:][CLOUD[:, 80:]] == 100).all()


def test_the_shadow_of_rows_is_the_second_band(cloudy):
    path = cloudy.parent / "o.tif"
    dn = read(cloudy)
    valid = (dn != 0).all(axis=0)
    shadow = noise((1, SIZE, SIZE), "float32")[0] / noise((1, SIZE, SIZE), "float32").max()
    shadow[~valid] = 0
    clear = np.zeros((SIZE, SIZE), np.float32)
    codes = np.where(valid, Provenance.MEASURED, Provenance.NODATA).astype(np.uint8)
    whole = Rows(0, dn, valid, opacity=clear, shadow=shadow, out=dn, provenance=codes)
    rows = iter(replace(whole, percent=percent(whole)).pieces(64))
    with (
        open_scene(cloudy) as scene,
        Outputs(scene, cloudy.parent / "out.tif", Output(opacity=path), [cloudy]) as outputs,
    ):
        outputs.write(rows, Radiometry(), "{}", "")
    expected = np.where(valid, np.ceil(shadow * 100), NO_PERCENT)
    assert not valid.all()
    np.testing.assert_array_equal(read(path)[1], expected)
    assert len(np.unique(expected)) > 50


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("o.png", UsageError, "name it .tif"),
        ("in.tif", OutputError, "is the input itself"),
        ("out.tif", OutputError, "named twice"),
        ("out.tiff", OutputError, r"tiff: would share the style out\.qml with .*out\.tif; name"),
        ("p.tiff", OutputError, r"tiff: would share the style p\.qml with .*p\.tif; name"),
        ("p.tif", OutputError, "named twice"),
        ("no/o.tif", OutputError, "does not exist"),
    ],
)
def test_a_path_that_cannot_be_is_refused(cloudy, name, error, message):
    before = cloudy.read_bytes()
    folder = cloudy.parent
    chosen = Settings(opacity=folder / name, provenance=folder / "p.tif", overwrite=True)
    with pytest.raises(error, match=message):
        decloud_scene(cloudy, folder / "out.tif", white_is_cloud, chosen)
    with pytest.raises(error, match=message):  # and so by a dry run
        describe_run(str(cloudy), folder / "out.tif", chosen, ModelSpec())
    assert [path.name for path in folder.iterdir()] == ["in.tif"]
    assert cloudy.read_bytes() == before


def test_a_raster_that_exists_stays_unless_it_may_be_replaced(cloudy):
    old, out = cloudy.parent / "o.tif", cloudy.parent / "out.tif"
    old.write_text("mine")
    with pytest.raises(OutputError, match=r"o\.tif: exists already"):
        decloud_scene(cloudy, out, white_is_cloud, Settings(opacity=old))
    assert old.read_text() == "mine"
    assert not out.exists()


def test_a_run_that_fails_leaves_none(cloudy):
    def broken(patches, dark_object):
        raise GeodecloudError("broken")

    with pytest.raises(GeodecloudError, match="broken"):
        restore(cloudy, broken)
    assert [path.name for path in cloudy.parent.iterdir()] == ["in.tif"]


def test_a_raster_that_is_removed_takes_its_style_along(cloudy):
    restore(cloudy)
    remove_output(cloudy.parent / "o.tif")
    assert {path.name for path in cloudy.parent.iterdir()} == {"in.tif", "out.tif"}
    restore(cloudy)
    (cloudy.parent / "o.qml").write_text("mine")
    restore(cloudy)
    remove_output(cloudy.parent / "o.tif")
    assert (cloudy.parent / "o.qml").read_text() == "mine"


def test_an_array_has_none(tiny_model):
    with pytest.raises(UsageError, match="leave out `opacity`"):
        geodecloud.decloud_array(noise((3, 9, 9)), opacity="o.tif", model=tiny_model)


def test_the_command_line_lists_and_writes_it(cli, cloudy, tiny_model):
    folder = cloudy.parent
    options = [cloudy, folder / "out.tif", "--opacity", folder / "o.tif", "--stac"]
    options += ["--model", tiny_model, "--force", "--json"]
    facts = json.loads(cli(*options, "--dry-run").out)
    assert facts["writes"] == [
        str(folder / name) for name in ("out.tif", "o.tif", "o.qml", "out.json")
    ]
    assert [path.name for path in folder.iterdir()] == ["in.tif"]
    assert cli(*options).code == 0, cli.err
    item = pystac.Item.from_dict(json.loads((folder / "out.json").read_text()))
    assert item.assets["opacity"].href == "./o.tif"
    bands = item.assets["opacity"].extra_fields["bands"]
    assert [band["name"] for band in bands] == ["opacity", "shadow"]
    assert item.assets["opacity"].roles == ["metadata", "cloud", "cloud-shadow"]
    assert read(folder / "o.tif").shape == (2, SIZE, SIZE)


@pytest.mark.slow
def test_a_batch_writes_one_beside_each_output(cli, cloudy, tiny_model):
    out = cloudy.parent / "out"
    command = ["batch", cloudy, out, "--model", tiny_model, "--force", "--json"]
    command += ["--opacity", "{stem}_opacity.tif"]
    for expected in ([1, 0], [0, 1]):
        assert cli(*command).code == 0, cli.err
        facts = json.loads(cli.out)
        assert [facts["done"], facts["skipped"]] == expected
    assert read(out / "in_opacity.tif").shape == (2, SIZE, SIZE)
    (out / "in_opacity.tif").unlink()
    assert cli(*command).code == 0, cli.err
    assert json.loads(cli.out)["done"] == 1
    assert "patterns that differ" in cli(*command[:-1], "{stem}_clear.tif").err


def test_info_says_what_a_raster_beside_a_scene_holds_and_no_run_takes_it_for_one(cli, cloudy):
    names = {"provenance": "provenance", "cloud_mask": "a cloud mask", "opacity": "opacity"}
    paths = {name: cloudy.parent / f"{name}.tif" for name in names}
    decloud_scene(cloudy, cloudy.parent / "out.tif", white_is_cloud, Settings(**paths))
    for name, path in paths.items():
        facts = json.loads(cli("info", path, "--json").out)
        assert facts.pop(name) == str(path)
        nodata = next(share for text, share in facts.items() if "255: nodata" in text)
        assert nodata == 10 / SIZE
        restored = cli(path, cloudy.parent / "again.tif")
        assert (restored.code, restored.err.count("\n")) == (1, 1)
        assert f"holds {names[name]}, not a scene" in restored.err
    assert facts["76-100: opacity in percent"] == pytest.approx(CLOUD.mean(), abs=1e-6)
    assert facts["0: no shadow"] == 1 - 10 / SIZE


def test_opacity_of_simulated_clouds_has_no_codes_and_is_no_scene(cli, cloudy):
    cli("simulate", cloudy, cloudy.parent / "s.tif")
    with rasterio.open(cloudy.parent / "s_opacity.tif") as file:
        described, percent = file.descriptions, np.nan_to_num(file.read()) * 100
    path = write_scene(cloudy.parent / "percent.tif", percent.astype(np.uint8))
    with rasterio.open(path, "r+") as file:
        file.descriptions = described
    for one in (cloudy.parent / "s_opacity.tif", path):
        told = cli("info", one)
        assert (told.code, "holds simulated opacity, not a scene" in told.err) == (1, True)
