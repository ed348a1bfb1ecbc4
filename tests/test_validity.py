"""One rule for what is data: declared, masked, and fill values that nobody declared."""

import json
import re
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
import xarray
from hypothesis import given
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.windows import Window

import geodecloud
from geodecloud.data.scene_tiles import tiles_from_scenes
from geodecloud.decloud import decloud_scene
from geodecloud.errors import BandsWarning, NodataWarning, UsageError
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.collar import find_fill
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.scene import open_scene
from geodecloud.settings import Reading, Settings
from tests.conftest import darken, noise, read, write_scene

SIZE = 120
HOLE = np.add.outer(np.arange(SIZE), 2 * np.arange(SIZE)) < 100  # a corner beside a sloping edge
ALL_AROUND = np.ones((SIZE, SIZE), bool)
ALL_AROUND[1:-1, 2:-2] = False
TURNED = np.abs(np.add.outer(np.arange(SIZE), -np.arange(SIZE))) > 70  # two corners
FILLS = [
    ("uint16", 0),
    ("uint16", 65535),
    ("int16", -9999),
    ("int16", -32768),
    ("int16", 32767),
    ("uint8", 0),
    ("uint8", 255),
    ("int32", -9999),
    ("uint32", 65535),
    ("float32", 0),
    ("float32", -9999),
    ("float32", float(np.finfo("float32").min)),
    ("float64", 65535),
]


def filled(dtype, value, hole=HOLE):
    dn = noise((3, *hole.shape), dtype)
    if dtype == "uint8":
        dn = np.clip(dn, 40, 200)
    dn[:, hole] = value
    return dn


def valid_pixels(path, **reading):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NodataWarning)
        with open_scene(path, reading=Reading(**reading)) as scene:
            return scene.read(0, scene.shape[0])[1]


@pytest.mark.parametrize(
    ("dtype", "value", "hole"),
    [
        *((dtype, value, HOLE) for dtype, value in FILLS),
        *(
            (dtype, value, hole)
            for hole in (ALL_AROUND, TURNED)
            for dtype, value in [("uint16", 0), ("int16", -9999), ("uint8", 255), ("float32", 0)]
        ),
    ],
)
def test_an_undeclared_fill_is_as_good_as_declared(tmp_path, dtype, value, hole):
    dn = filled(dtype, value, hole)
    results = []
    for nodata in (value, None):
        src = write_scene(tmp_path / "in.tif", dn, nodata=nodata)
        settings = Settings(provenance=tmp_path / "p.tif", overwrite=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            decloud_scene(src, tmp_path / "out.tif", darken, settings)
            with open_scene(src) as scene:
                radiometry = calibrate(scene)
        results.append((read(tmp_path / "out.tif"), read(tmp_path / "p.tif")[0], radiometry))
        warned = [w for w in caught if w.category is NodataWarning]
        assert len(warned) == (2 if nodata is None else 0)  # once for each time it is opened
    (one, codes, light), (other, found, seen) = results
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(codes, found)
    assert (light, light.dark_object) == (seen, seen.dark_object)
    assert (found[hole] == Provenance.NODATA).all()
    assert (found[~hole] != Provenance.NODATA).all()


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *(("float32", v) for v in (-99999, -999, -0.2, 1e20, 9.969209968386869e36)),
        *(("float64", v) for v in (-1e34, -1.0, 1e30)),
        *(("int16", v) for v in (-1, -1000, -28672)),
        ("int32", -(2**31) + 1),
    ],
)
def test_a_value_that_no_light_has_is_a_fill_whatever_it_is(tmp_path, dtype, value):
    src = write_scene(tmp_path / "in.tif", filled(dtype, value))
    np.testing.assert_array_equal(valid_pixels(src), ~HOLE)


@pytest.mark.parametrize(
    ("dtype", "values", "declared"),
    [
        ("int16", (-9999, 0), None),
        ("uint16", (65535, 0), None),
        ("uint16", (0, 65535), 60001),
        ("uint8", (255, 0), None),
        ("float32", (-0.2, 1e20), 0),
    ],
)
def test_a_scene_may_have_two_fills(tmp_path, dtype, values, declared):
    """That of its provider, and that of whoever has warped it since."""
    inner = np.zeros_like(HOLE)
    inner[-30:, -30:] = True
    dn = filled(dtype, values[0])
    dn[:, inner] = values[1]
    src = write_scene(tmp_path / "in.tif", dn, nodata=declared)
    expected = HOLE | inner if dtype != "uint8" else HOLE  # black of 8 bits and white: one of them
    np.testing.assert_array_equal(valid_pixels(src), ~expected)


@pytest.mark.parametrize("value", [float(np.finfo("float32").min), float(np.float32(1e20)), -0.1])
def test_the_remedy_names_the_value_to_its_last_digit(tmp_path, value):
    src = write_scene(tmp_path / "in.tif", filled("float32", value))
    with pytest.warns(NodataWarning) as warned, open_scene(src):
        pass
    said = " ".join(str(one.message) for one in warned)
    remedy = re.search(r"`nodata` (\S+) declares it", said)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NodataWarning)
        with open_scene(src, reading=Reading(nodata=float(remedy[1]))) as scene:
            np.testing.assert_array_equal(scene.read(0, SIZE)[1], ~HOLE)


def test_it_says_so_once_and_an_option_turns_it_off(tmp_path, cli, tiny_model):
    src = write_scene(tmp_path / "in.tif", filled("int16", -9999), photometric="rgb")
    run = cli(src, tmp_path / "out.tif", "--model", tiny_model)
    assert run.code == 0
    assert run.err.count("-9999 fills its border") == 1
    assert "--nodata -9999 declares it, --declared-nodata-only keeps it" in run.err
    facts = json.loads(cli("info", src, "--json").out)
    assert facts["nodata"] == -9999
    assert facts["nodata_from"] == "found along the border, not declared by the file"
    run = cli("info", src, "--json", "--nodata", -9999)
    assert (run.err, json.loads(run.out)["nodata_from"]) == ("", "as given")
    run = cli("info", src, "--json", "--declared-nodata-only")
    assert (run.err, json.loads(run.out)["nodata"]) == ("", None)
    options = ["--overwrite", "--model", tiny_model, "--nodata", -9999]
    run = cli(src, tmp_path / "out.tif", *options)
    assert run.code == 0
    assert "border" not in run.err
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.nodata == -9999
    assert valid_pixels(src, declared_nodata_only=True).all()


def test_a_nodata_value_that_the_dtype_lacks_is_refused(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20)))
    for value in (-9999, 0.5):
        with (
            pytest.raises(UsageError, match="`nodata` is"),
            open_scene(src, reading=Reading(nodata=value)),
        ):
            pass


def test_the_value_that_is_given_replaces_the_declared_one(tmp_path):
    dn = noise((3, 20, 20))
    dn[0, 3, 3], dn[0, 5, 5] = 7, 9
    src = write_scene(tmp_path / "in.tif", dn, nodata=9)
    valid = valid_pixels(src, nodata=7)
    assert not valid[3, 3]
    assert valid[5, 5]
    assert (~valid).sum() == ((dn == 7).any(axis=0)).sum()


def soft_cloud(dtype, top, at):
    """Land under a cloud whose middle is saturated."""
    down, across = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(down - at[0], across - at[1])
    opacity = np.clip(1.6 - distance / 30, 0, 1)
    land = np.clip(filled(dtype, 1, np.zeros((SIZE, SIZE), bool)), 0, 0.1 * top)
    return np.rint(land * (1 - opacity) + top * opacity).astype(dtype)


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("int16", 32767)])
@pytest.mark.parametrize("at", [(60, 60), (60, 0), (0, 0)], ids=["middle", "side", "corner"])
def test_a_saturated_cloud_stays_cloud(tmp_path, dtype, top, at):
    dn = soft_cloud(dtype, top, at)
    assert (dn == top).all(axis=0).sum() > 100
    assert valid_pixels(write_scene(tmp_path / "in.tif", dn)).all()


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535)])
def test_a_saturated_cloud_stays_cloud_beside_a_fill_of_that_value(tmp_path, dtype, top):
    dn = soft_cloud(dtype, top, (80, 80))
    dn[:, HOLE] = top
    np.testing.assert_array_equal(valid_pixels(write_scene(tmp_path / "in.tif", dn)), ~HOLE)


def test_a_black_lake_of_8_bits_stays_data(tmp_path):
    dn = filled("uint8", 0, np.zeros((SIZE, SIZE), bool))
    dn[:, 70:90, 60:100] = 0
    assert valid_pixels(write_scene(tmp_path / "lake.tif", dn)).all()
    dn[:, HOLE] = 0
    np.testing.assert_array_equal(valid_pixels(write_scene(tmp_path / "both.tif", dn)), ~HOLE)
    rng = np.random.default_rng(0)  # at the border, and not quite black everywhere
    dn = filled("uint8", 0, np.zeros((SIZE, SIZE), bool))
    dn[:, :, :40] = rng.integers(0, 2, (3, SIZE, 40)) * (rng.random((SIZE, 40)) < 0.1)
    assert valid_pixels(write_scene(tmp_path / "sea.tif", dn)).all()


def test_holes_of_an_impossible_value_are_nodata_wherever_the_border_shows_it(tmp_path):
    hole = HOLE.copy()
    hole[60:70, 60:70] = True
    for dtype, value in (("uint16", 0), ("float32", -9999)):
        src = write_scene(tmp_path / "in.tif", filled(dtype, value, hole))
        np.testing.assert_array_equal(valid_pixels(src), ~hole)


@pytest.mark.parametrize("dtype", ["uint16", "uint8", "float32"])
def test_a_dark_pixel_or_one_band_is_no_fill(tmp_path, dtype):
    dn = filled(dtype, 0, np.zeros((SIZE, SIZE), bool))
    dn[:, 0, :3] = dn[:, 40, 40] = dn[1, :, :20] = 0
    assert valid_pixels(write_scene(tmp_path / "in.tif", dn)).all()


def test_a_file_that_declares_another_value_may_be_filled_all_the_same(tmp_path):
    src = write_scene(tmp_path / "in.tif", filled("int16", 0), nodata=-9999)
    np.testing.assert_array_equal(valid_pixels(src), ~HOLE)


@pytest.mark.parametrize("values", ["near infrared", "alpha"])
def test_alpha_that_varies_like_near_infrared_is_warned_of(tmp_path, values):
    dn = noise((4, 40, 50), "uint8")
    if values == "alpha":
        dn[3] = np.where(dn[3] > 100, 255, 0)
    src = write_scene(tmp_path / "in.tif", dn)  # GDAL states alpha for the last of four bytes
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        with open_scene(src):
            pass
    assert [one.category for one in found] == [BandsWarning] * (values == "near infrared")
    assert all("in.tif: band 4 is stated to be alpha" in str(one.message) for one in found)


def test_a_mask_or_alpha_says_all(tmp_path):
    dn = filled("uint16", 0)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        src = write_scene(tmp_path / "in.tif", dn)
        with rasterio.open(src, "r+") as out:
            out.write_mask(np.ones((SIZE, SIZE), bool))
    assert valid_pixels(src).all()


@pytest.mark.parametrize("reading", [{}, {"nodata": 0}])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_nodata_value_counts_beside_a_mask(tmp_path, dtype, reading):
    hidden = np.zeros((SIZE, SIZE), bool)
    hidden[40:50] = True
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        src = write_scene(tmp_path / "in.tif", filled(dtype, 0), nodata=0)
        with rasterio.open(src, "r+") as out:
            out.write_mask(~hidden)
    np.testing.assert_array_equal(valid_pixels(src, **reading), ~HOLE & ~hidden)


def test_a_nodata_value_that_no_pixel_can_have_marks_none(tmp_path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        src = write_scene(tmp_path / "in.tif", filled("uint16", 0))
        with rasterio.open(src, "r+") as out:
            out.write_mask(np.ones((SIZE, SIZE), bool))
    vrt = tmp_path / "in.vrt"
    rasterio.shutil.copy(src, vrt, driver="VRT")
    band = '(<VRTRasterBand dataType="UInt16" [^>]*>)'
    vrt.write_text(re.sub(band, r"\1<NoDataValue>0.5</NoDataValue>", vrt.read_text()))
    assert valid_pixels(vrt).all()


@given(
    value=st.sampled_from([0, 255]),
    top=st.integers(0, 30),
    left=st.integers(0, 30),
    blocks=st.sampled_from([{}, {"tiled": True, "blockxsize": 16, "blockysize": 32}]),
    interleave=st.sampled_from(["band", "pixel"]),
)
def test_the_answer_depends_on_the_pixels_alone(value, top, left, blocks, interleave):
    hole = np.ones((70, 60), bool)
    hole[top:, left:] = False
    dn = filled("uint8", value, hole)
    with MemoryFile() as memory:
        shape = {"count": 3, "height": 70, "width": 60, "dtype": "uint8"}
        with memory.open(driver="GTiff", **shape, **blocks, interleave=interleave) as out:
            out.write(dn)
        with memory.open() as file:
            fill = find_fill(file, (1, 2, 3), Window(0, 0, 60, 70))
    wide = 0 < top < 70 or 0 < left < 60
    assert (fill is not None) == wide
    if fill:
        found = fill.covers(dn, np.arange(70), np.arange(60))
        np.testing.assert_array_equal(found, hole)


def test_a_part_of_a_scene_is_as_that_part_alone(tmp_path):
    src = write_scene(tmp_path / "in.tif", filled("uint8", 0))
    x, y = 500000, 5500000
    for aoi in (f"{x},{y - 400},{x + 800},{y}", f"{x + 600},{y - 1100},{x + 1100},{y - 600}"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NodataWarning)
            with open_scene(src, reading=Reading(aoi=aoi)) as scene:
                area, (dn, valid) = scene.area, scene.read(0, scene.shape[0])
        alone = write_scene(tmp_path / "alone.tif", dn)
        np.testing.assert_array_equal(valid, valid_pixels(alone))
        rows = slice(area.row_off, area.row_off + area.height)
        columns = slice(area.col_off, area.col_off + area.width)
        np.testing.assert_array_equal(valid, ~HOLE[rows, columns])


@pytest.mark.parametrize("shift", [0, 3], ids=["same grid", "warped"])
@pytest.mark.parametrize(("dtype", "value"), [("uint16", 0), ("uint16", 65535), ("int16", -9999)])
def test_the_fill_of_a_reference_is_never_pasted_in(tmp_path, dtype, value, shift):
    land = filled(dtype, 0, np.zeros((SIZE, SIZE), bool)) // 8 + 500
    dn = land.copy()
    dn[:, 20:100, 50:100] = 9000
    other = land.copy()
    other[:, :, 80:] = value
    grid = rasterio.transform.from_origin(500000 + shift, 5500000, 10, 10)
    src = write_scene(tmp_path / "in.tif", dn, nodata=0 if value else None)
    reference = write_scene(tmp_path / "ref.tif", other, transform=grid)
    settings = Settings(provenance=tmp_path / "p.tif", references=[reference])

    def opaque(patches, dark_object):
        white = (patches[:, :1] > 0.99).astype(np.float32)
        return np.concatenate([patches, white], axis=1)

    with pytest.warns(NodataWarning, match="ref.tif"):
        decloud_scene(src, tmp_path / "out.tif", opaque, settings)
    codes = read(tmp_path / "p.tif")[0]
    assert (codes[30:90, 60:78] == Provenance.REFERENCE).all()
    assert not (codes[:, 81:] == Provenance.REFERENCE).any()
    assert read(tmp_path / "out.tif")[:, 30:90, 82:98].max() < 2000


def test_the_tci_of_sentinel_2_has_zeros_for_nodata(tmp_path):
    dn = filled("uint8", 0)
    dn[:, 60, 60] = 0
    src = write_scene(tmp_path / "T29UNU_20221005T115411_TCI_10m.tif", dn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_scene(src) as scene:
            valid = scene.read(0, SIZE)[1]
            assert scene.nodata == 0
    np.testing.assert_array_equal(valid, (dn != 0).any(axis=0))


def test_nan_may_be_given_as_nodata_of_floats(tmp_path):
    dn = noise((3, SIZE, SIZE)).astype(np.float32) / 10_000
    dn[:, HOLE] = np.nan
    src, out = write_scene(tmp_path / "in.tif", dn), tmp_path / "out.tif"
    decloud_scene(src, out, darken, Settings(nodata="nan", provenance=tmp_path / "p.tif"))
    np.testing.assert_array_equal(read(tmp_path / "p.tif")[0] == Provenance.NODATA, HOLE)
    whole = write_scene(tmp_path / "whole.tif", noise((3, SIZE, SIZE)))
    with pytest.raises(UsageError, match=r"`nodata` is nan: .* has uint16 values"):
        decloud_scene(whole, out, darken, Settings(nodata="nan", overwrite=True))


def test_tiles_for_training_leave_the_fill_out(tmp_path):
    dn = noise((3, 140, 140), "int16")
    dn[:, :, 70:] = -9999
    write_scene(tmp_path / "a.tif", dn)
    with pytest.warns(NodataWarning):
        tiles = tiles_from_scenes(tmp_path)
    assert tiles.names == ("a.tif@0,0", "a.tif@64,0")


def test_a_simulated_cloud_leaves_the_fill_alone(tmp_path, cli):
    src = write_scene(tmp_path / "in.tif", filled("int16", -9999))
    assert cli("simulate", src, tmp_path / "out.tif", "--kind", "deck").code == 0
    out = read(tmp_path / "out.tif")
    assert (out[:, HOLE] == -9999).all()
    assert (out[:, ~HOLE] != -9999).all()
    np.testing.assert_array_equal(np.isnan(read(tmp_path / "out_opacity.tif")[0]), HOLE)


# Arrays


@pytest.mark.parametrize("dtype", ["uint16", "float32", "uint8"])
def test_the_mask_of_a_masked_array_is_nodata_and_comes_back(dtype, tiny_model):
    dn = filled(dtype, 1)
    mask = np.broadcast_to(HOLE, dn.shape)
    result = geodecloud.decloud_array(np.ma.MaskedArray(dn, mask, fill_value=1), model=tiny_model)
    assert isinstance(result.array, np.ma.MaskedArray)
    np.testing.assert_array_equal(np.ma.getmaskarray(result.array), mask)
    np.testing.assert_array_equal(result.array.data[mask], dn[mask])
    np.testing.assert_array_equal(result.provenance == Provenance.NODATA, HOLE)
    assert result.array.fill_value == 1


def test_a_mask_of_one_colour_and_a_nodata_value_hide_pixels_too(tiny_model):
    dn = noise((4, 40, 40))
    dn[2, 5, 5] = 77
    mask = np.zeros(dn.shape, bool)
    mask[1, 3, 3] = mask[3, 9, 9] = True
    array = np.ma.MaskedArray(np.where(dn == 77, 78, dn), mask)
    array.data[2, 5, 5] = 77
    result = geodecloud.decloud_array(array, nodata=77, model=tiny_model)
    hidden = np.argwhere(result.provenance == Provenance.NODATA).tolist()
    assert hidden == [[3, 3], [5, 5]]  # not where a band that is not restored is masked
    np.testing.assert_array_equal(np.ma.getmaskarray(result.array), mask)


def test_an_unmasked_masked_array_is_an_array(tiny_model):
    dn = noise((3, 40, 40))
    plain = geodecloud.decloud_array(dn, model=tiny_model)
    masked = geodecloud.decloud_array(np.ma.MaskedArray(dn), model=tiny_model)
    assert not np.ma.is_masked(masked.array)
    np.testing.assert_array_equal(plain.array, masked.array.data)


@pytest.mark.parametrize("shape", [(200, 220, 3), (64, 64, 4), (100, 3, 8), (300, 17, 16)])
def test_bands_at_the_end_are_refused_with_the_remedy(shape):
    with pytest.raises(UsageError, match=r"np.moveaxis\(array, -1, 0\)"):
        geodecloud.decloud_array(np.ones(shape, np.uint16))


def test_few_columns_are_no_bands(tiny_model):
    result = geodecloud.decloud_array(noise((4, 70, 8)), model=tiny_model)
    assert result.array.shape == (4, 70, 8)


def test_an_array_is_named_as_one(tiny_model):
    with pytest.warns(NodataWarning, match="^the array: 0 fills its border"):
        result = geodecloud.decloud_array(filled("uint16", 0), model=tiny_model)
    assert str(result.report.src) == "the array"
    with pytest.raises(geodecloud.SceneError, match=r"^the array: 2 band"):
        geodecloud.decloud_array(noise((2, 20, 20)), model=tiny_model)


@pytest.mark.parametrize("where", ["encoding", "attrs"])
def test_the_fill_value_of_a_dataarray_is_nodata_wherever_it_is_told(where, tiny_model):
    dn = filled("int16", -7)
    data = xarray.DataArray(dn, dims=("band", "y", "x"))
    getattr(data, where)["_FillValue"] = -7
    _, provenance = geodecloud.decloud_dataarray(data, bands=(1, 2, 3), model=tiny_model)
    np.testing.assert_array_equal(provenance.values == Provenance.NODATA, HOLE)


def test_the_random_state_of_the_process_stays(tiny_model):
    for model in (tiny_model, None):
        states = torch.get_rng_state(), np.random.get_state()
        geodecloud.decloud_array(noise((3, 40, 40)), model=model, force=True)
        assert torch.equal(torch.get_rng_state(), states[0])
        for now, before in zip(np.random.get_state(), states[1], strict=True):
            np.testing.assert_array_equal(now, before)
