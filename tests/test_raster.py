"""Metadata survive, bands and radiometry are found, and output is whole or not there."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine

from geodecloud.decloud import decloud_scene
from geodecloud.errors import (
    BandsWarning,
    OutputError,
    OutputWarning,
    RadiometryWarning,
    SceneError,
    UsageError,
)
from geodecloud.raster.atomic import AtomicFiles, atomic_write
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.nodata import NodataCheck, output_nodata
from geodecloud.raster.provenance import MOST_REFERENCES, PALETTE, RESTORED, Provenance
from geodecloud.raster.scene import open_scene
from geodecloud.settings import Output, Reading, Settings
from tests.conftest import ROOT, identity, noise, read, write_scene

PROFILES = [
    {"tiled": True, "blockxsize": 32, "blockysize": 48, "compress": "deflate", "predictor": 2},
    {"blockysize": 7, "compress": "lzw", "interleave": "band"},
    {"tiled": True, "blockxsize": 128, "blockysize": 16, "compress": "zstd", "interleave": "pixel"},
    {"blockysize": 1, "compress": "lzw", "predictor": 2},
    {"compress": "packbits", "blockysize": 200},
    {"compress": "lzw", "transform": Affine(7, 3, 1e5, 3, -7, 5e6)},
    {"compress": "lzw", "transform": Affine(10, 0, 1e5, 0, 10, 5e6)},
    {"compress": "lzw", "crs": "EPSG:4326", "transform": Affine(1e-4, 0, 13, 0, -1e-4, 53)},
    {"compress": "lzw", "crs": None},
    {"compress": "lzw", "nodata": 17},
]


@pytest.mark.parametrize(
    ("profile", "dtype"), [*((profile, "int16") for profile in PROFILES), (PROFILES[0], "uint8")]
)
def test_all_metadata_is_carried_over(tmp_path, profile, dtype):
    src = write_scene(tmp_path / "in.tif", noise((5, 200, 150), dtype), **profile)
    with rasterio.open(src, "r+") as file:
        file.colorinterp = [ColorInterp[c] for c in ("gray", "red", "green", "blue", "undefined")]
        file.descriptions = ("SCL", "B04", "B03", "B02", "NIR")
        file.scales, file.offsets = (1e-4,) * 5, (-0.1,) * 5
        file.units = ("refl",) * 5
        file.update_tags(ACQUIRED="2021-04-10", AREA_OR_POINT="Point")
        file.update_tags(ns="MY_SPACE", KEY="value")
        file.update_tags(2, WAVELENGTH="665", STATISTICS_MEAN="1234")
        file.update_tags(1, STATISTICS_MEAN="1234")
        file.update_tags(5, STATISTICS_MEAN="1234")
    decloud_scene(src, tmp_path / "out.tif", identity)
    assert not list(tmp_path.glob("*.aux.xml"))
    with rasterio.open(src) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert after.profile == before.profile
        assert after.block_shapes == before.block_shapes
        assert after.tags(ns="IMAGE_STRUCTURE") == before.tags(ns="IMAGE_STRUCTURE")
        names = (
            "descriptions",
            "colorinterp",
            "scales",
            "offsets",
            "units",
            "nodatavals",
            "bounds",
        )
        for name in names:
            assert getattr(after, name) == getattr(before, name), name
        assert before.tags().items() <= after.tags().items()
        assert after.tags(ns="MY_SPACE") == {"KEY": "value"}
        assert after.tags(1)["STATISTICS_MEAN"] == "1234"
        assert after.tags(2) == {"WAVELENGTH": "665"}  # statistics of a changed band are stale
        assert after.tags(5) == {}


def test_the_output_says_what_was_used(tmp_path, scene):
    decloud_scene(scene, tmp_path / "out.tif", identity, Settings(offset=-1000), model_name="m 1")
    with rasterio.open(tmp_path / "out.tif") as out:
        tags = out.tags()
    assert tags["GEODECLOUD_MODEL"] == "m 1"
    assert tags["GEODECLOUD_OFFSET"] == "-1000.0"
    assert tags["GEODECLOUD_SOURCE"] == "scene.tif"
    with open_scene(tmp_path / "out.tif") as again:  # and a second run reads it
        assert calibrate(again).offset == -1000


def test_control_points_and_rpcs_are_carried_over(tmp_path):
    src = write_scene(
        tmp_path / "in.tif", noise((3, 50, 50)), crs=None, transform=Affine.identity()
    )
    points = [
        GroundControlPoint(r, c, 13 + c, 50 - r, 0, id=f"{r}{c}") for r in (0, 9) for c in (0, 9)
    ]
    places = dict.fromkeys(("height_off", "lat_off", "line_off", "long_off", "samp_off"), 1.0)
    sizes = dict.fromkeys(
        ("height_scale", "lat_scale", "line_scale", "long_scale", "samp_scale"), 2.0
    )
    terms = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
    rpc = RPC(**places, **sizes, **dict.fromkeys(terms, [0.5] * 20), err_bias=0.0, err_rand=0.0)
    with rasterio.open(src, "r+") as file:
        file.gcps = (points, "EPSG:4326")
        file.rpcs = rpc
    decloud_scene(src, tmp_path / "out.tif", identity)
    with rasterio.open(src) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert [p.asdict() for p in after.gcps[0]] == [p.asdict() for p in before.gcps[0]]
        assert after.gcps[1] == before.gcps[1]
        assert after.rpcs.to_dict() == before.rpcs.to_dict()


def test_rpcs_of_a_part_are_shifted_alike_in_all_outputs(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 90, 80)))
    names = ("height", "lat", "line", "long", "samp")
    places = {f"{name}_{of}": 50.0 for name in names for of in ("off", "scale")}
    terms = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
    with rasterio.open(src, "r+") as file:
        file.rpcs = RPC(**places, **dict.fromkeys(terms, [0.5] * 20), err_bias=0.0, err_rand=0.0)
        left, top = file.transform * (7, 20)
        right, bottom = file.transform * (60, 80)
    paths = {name: tmp_path / f"{name}.tif" for name in ("provenance", "opacity", "cloud_mask")}
    chosen = Settings(aoi=f"{left},{bottom},{right},{top}", **paths)
    decloud_scene(src, tmp_path / "out.tif", identity, chosen)
    for path in (tmp_path / "out.tif", *paths.values()):
        with rasterio.open(path) as part:
            assert (part.rpcs.line_off, part.rpcs.samp_off) == (30, 43), path.name


def test_an_alpha_band_is_kept_and_masks(tmp_path):
    dn = noise((4, 70, 70), "uint8")
    dn[3] = 255
    dn[3, :30] = 0
    src = write_scene(tmp_path / "in.tif", dn, photometric="RGB", alpha="YES")
    report = decloud_scene(src, tmp_path / "out.tif", identity)
    assert report.valid == 40 * 70
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), dn)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.colorinterp[3] == ColorInterp.alpha


def test_lossy_compression_is_not_carried_over(tmp_path):
    src = write_scene(
        tmp_path / "in.tif",
        noise((3, 64, 64), "uint8"),
        compress="jpeg",
        tiled=True,
        blockxsize=64,
        blockysize=64,
    )
    with pytest.warns(OutputWarning, match="lossy"):
        decloud_scene(src, tmp_path / "out.tif", identity)
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(src))


@pytest.mark.parametrize(
    ("descriptions", "bands"),
    [
        (("B02", "B03", "B04", "B08"), (3, 2, 1)),
        (("B4", "B3", "B2", "B8A"), (1, 2, 3)),
        (("Blue", "Green", "Red Edge", "red"), (4, 2, 1)),
        (("B01", "B02_10m", "B03_10m", "B04_10m"), (4, 3, 2)),
        (("NIR", "R", "G", "B"), (2, 3, 4)),
    ],
)
def test_bands_are_found_by_description(tmp_path, descriptions, bands):
    path = write_scene(tmp_path / "in.tif", noise((4, 8, 8)))
    with rasterio.open(path, "r+") as file:
        file.descriptions = descriptions
    with open_scene(path) as scene:
        assert scene.bands == bands


def test_bands_are_found_by_colour_or_assumed(tmp_path):
    path = write_scene(tmp_path / "in.tif", noise((4, 8, 8)))
    with pytest.warns(BandsWarning, match="`bands`"), open_scene(path) as scene:
        assert (scene.bands, scene.bands_from) == ((1, 2, 3), "assumed")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp[c] for c in ("blue", "green", "red", "undefined")]
    with open_scene(path) as scene:
        assert scene.bands == (3, 2, 1)
    for wrong in ((0, 1, 2), (1, 2, 5), (1, 1, 2)):
        with pytest.raises(UsageError, match="bands"), open_scene(path, Reading(bands=wrong)):
            pass


@pytest.mark.parametrize(
    "colours",
    ["nir red green undefined", "gray undefined alpha undefined", "blue undefined undefined nir"],
)
def test_bands_of_another_colour_are_not_assumed_to_be_red_green_and_blue(tmp_path, colours):
    path = write_scene(tmp_path / "in.tif", noise((4, 8, 8)))
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp[name] for name in colours.split()]
    words = colours.replace(" ", ", ")
    with pytest.raises(UsageError, match=f"bands are {words}, not red"), open_scene(path):
        pass
    with open_scene(path, Reading(bands=(1, 2, 4))) as scene:
        assert scene.bands == (1, 2, 4)


def test_radiometry_is_read_and_contradictions_are_named(tmp_path):
    path = write_scene(tmp_path / "in.tif", noise((3, 70, 70)) + np.uint16(1100))
    with open_scene(path) as scene:
        with pytest.raises(SceneError, match="`offset` -1000"):
            calibrate(scene)
        with pytest.warns(RadiometryWarning, match="`offset` -1000"):
            assert calibrate(scene, Reading(force=True)).offset == 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert calibrate(scene, Reading(offset=-1000)).offset == -1000
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (2e-5,) * 3, (-0.1,) * 3
    with open_scene(path) as scene:
        used = calibrate(scene)
        assert (used.scale, used.offset) == pytest.approx((50000, -5000))


def test_a_wrong_scale_is_refused_even_without_data(tmp_path):
    src = write_scene(tmp_path / "in.tif", np.zeros((3, 20, 20), np.uint16), nodata=0)
    with pytest.raises(UsageError, match="`scale` is 0"):
        decloud_scene(src, tmp_path / "out.tif", identity, Settings(scale=0.0))


def test_damage_in_the_middle_is_named_and_leaves_nothing(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 600, 300)), compress="deflate")
    src.write_bytes(src.read_bytes()[: src.stat().st_size * 2 // 3])
    before = set(tmp_path.iterdir())
    with pytest.raises(SceneError, match=r"in.tif"):
        decloud_scene(src, tmp_path / "out.tif", identity, Settings(preview=tmp_path / "p.png"))
    assert set(tmp_path.iterdir()) == before


def test_an_error_in_the_network_leaves_the_old_output(tmp_path, scene):
    (tmp_path / "out.tif").write_bytes(b"old")

    def broken(patches, _):
        raise KeyboardInterrupt

    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    chosen = Settings(overwrite=True, provenance=tmp_path / "p.tif", preview=tmp_path / "p.png")
    with pytest.raises(KeyboardInterrupt):
        decloud_scene(scene, tmp_path / "out.tif", broken, chosen)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 0),
        ("uint16", 65535),
        ("int16", -9999),
        ("int32", 7),
        ("float32", 0),
        ("uint8", None),
    ],
)
def test_what_is_valid_is_as_gdal_has_it(tmp_path, dtype, nodata):
    dn = np.random.default_rng(0).integers(0, 9, (3, 40, 30)).astype(dtype)
    dn[:, 5:9, 3:20] = nodata or 0
    dn[1, 20:30] = nodata or 0
    path = write_scene(tmp_path / "in.tif", dn, nodata=nodata)
    with open_scene(path, Reading(bands=(3, 1, 2))) as scene:
        valid = scene.read(2, 39)[1]
        gdal = scene.dataset.read_masks()[:, 2:39].all(axis=0)
    np.testing.assert_array_equal(valid, gdal)


def test_opaque_nodata_needs_a_nodata_value(tmp_path, scene):
    with pytest.raises(UsageError, match="no nodata value"):
        decloud_scene(scene, tmp_path / "out.tif", identity, Settings(opaque="nodata"))
    assert not (tmp_path / "out.tif").exists()


def test_outputs_appear_together(tmp_path):
    old = tmp_path / "old.tif"
    old.write_text("old")
    with AtomicFiles([], overwrite=True) as outputs:
        outputs.add(old).write_text("new")
        outputs.add(tmp_path / "b.tif").write_text("b")
        assert old.read_text() == "old"
        with pytest.raises(OutputError, match="twice"):
            outputs.add(old)
    assert (old.read_text(), (tmp_path / "b.tif").read_text()) == ("new", "b")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as part:
        part.write_text("old")
        assert not path.exists()
    with pytest.raises(FileNotFoundError), atomic_write(path) as part:
        part.unlink()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_is_given_a_nodata_value_that_its_scene_lacks(tmp_path, scene):
    with open_scene(scene) as opened:
        assert output_nodata(opened, Output()) is None
        assert output_nodata(opened, Output(dst_nodata=7)) == 7
        for value in (-1, 65536, 0.5):
            with pytest.raises(UsageError, match="give a whole number of 0 to 65535"):
                output_nodata(opened, Output(dst_nodata=value))
    declared = write_scene(tmp_path / "declared.tif", noise((3, 20, 20)), nodata=0)
    with open_scene(declared) as opened:
        assert output_nodata(opened, Output(dst_nodata=0)) == 0
        with pytest.raises(UsageError, match="declares 0"):
            output_nodata(opened, Output(dst_nodata=7))
    alpha = noise((4, 20, 20), "uint8")
    masked = write_scene(tmp_path / "alpha.tif", alpha, photometric="RGB", alpha="YES")
    with open_scene(masked) as opened, pytest.raises(UsageError, match="mask or alpha"):
        output_nodata(opened, Output(dst_nodata=7))


def test_floats_may_have_nan_for_nodata(tmp_path, scene):
    nan, dn = Output(dst_nodata="nan"), noise((3, 20, 20)) / np.float32(10000)
    for declared in (None, np.nan):
        with open_scene(write_scene(tmp_path / "float.tif", dn, nodata=declared)) as opened:
            assert np.isnan(output_nodata(opened, nan))
    with open_scene(scene) as opened, pytest.raises(UsageError, match=r"nan: .*give a whole"):
        output_nodata(opened, nan)
    with pytest.raises(UsageError, match="is inf: give a number, or nan"):
        Output(dst_nodata="inf")


def test_measured_pixels_never_turn_into_nodata(tmp_path):
    dn = noise((4, 30, 20))
    dn[dn == 7] = 8
    dn[3, 4, :5] = 7
    src = write_scene(tmp_path / "in.tif", dn)
    valid = np.ones((30, 20), bool)
    with open_scene(src) as scene:
        for value, refused in ((9999, False), (7, True)):
            check = NodataCheck(scene, Output(dst_nodata=value))
            check.add(dn[:, :15], dn[:, :15], valid[:15])
            check.add(dn[:, 15:], dn[:, 15:], valid[15:])
            if refused:
                with pytest.raises(UsageError, match="is 7: 5 pixels"):
                    check.finish()
            else:
                check.finish()
        check = NodataCheck(scene, Output(dst_nodata=7))
        check.add(dn, dn, valid & (dn[3] != 7))
        check.finish()


def test_the_codes_of_provenance_cover_each_value_once():
    codes = [*RESTORED, Provenance.MEASURED, Provenance.FILLED, Provenance.BEYOND_LIMIT]
    codes += [Provenance.SHADOW, Provenance.CLOUD_KEPT, Provenance.CLOUD_REMOVED]
    codes += [Provenance.REFERENCE + i for i in range(MOST_REFERENCES)] + [Provenance.NODATA]
    assert len(codes) == len(set(codes))
    assert set(PALETTE) == set(codes)
    assert max(codes) == np.iinfo(np.uint8).max
    array = np.zeros(3, np.uint8)
    array[1] = Provenance.FILLED
    assert array.dtype == np.uint8
    assert (array == Provenance.FILLED).tolist() == [False, True, False]


SLOW = """
import sys, time
from pathlib import Path
from geodecloud.decloud import decloud_scene
def slow(patches, _):
    print("started\\n", end="", flush=True)  # two threads print
    time.sleep(60)
decloud_scene(Path(sys.argv[1]), Path(sys.argv[2]), slow)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kill_in_the_middle_leaves_the_output_alone_and_the_next_run_cleans_up(tmp_path, scene):
    out = tmp_path / "out.tif"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, scene, out], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"started\n"
    assert not out.exists()
    assert len(list(tmp_path.glob(".geodecloud.*.part"))) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not out.exists()
    decloud_scene(scene, out, identity)
    assert {p.name for p in tmp_path.iterdir()} == {"scene.tif", "out.tif"}


def _small_disk(folder: Path) -> bool:
    command = ["/bin/mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_disk_full_is_one_error_and_leaves_nothing(tmp_path):
    src = tmp_path / "in.tif"
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or not _small_disk(disk):
        pytest.skip("mounting a small file system needs root on Linux")
    try:
        for height in (500, 200):  # fails at writing; only at closing, where GDAL raises nothing
            tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "packbits"}
            write_scene(src, noise((3, height, 180)), **tiles)
            with pytest.raises(OutputError, match="disk is full"):
                decloud_scene(src, disk / "out.tif", identity)
            assert not list(disk.iterdir())
    finally:
        subprocess.run(["/bin/umount", disk], check=True)
