"""One tiny file for each odd thing that files in the wild do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import (
    GeodecloudError,
    OutputError,
    RadiometryWarning,
    SceneError,
    UsageError,
)
from geodecloud.radiometry import PICTURE_SCALE
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.scene import open_scene
from geodecloud.settings import Settings
from tests.conftest import ROOT, darken, identity, noise, read, write_scene


def test_an_old_outputs_sidecars_do_not_outlive_it(tmp_path, scene):
    out = write_scene(tmp_path / "out.tif", noise((3, 600, 600)))
    for suffix in (".ovr", ".msk", ".aux.xml"):
        (tmp_path / f"out.tif{suffix}").write_text("of the old file")
    decloud_scene(scene, out, identity, Settings(overwrite=True))
    assert {p.name for p in tmp_path.iterdir()} == {"scene.tif", "out.tif"}


def test_a_crs_that_geotiff_cannot_hold_is_kept_beside(tmp_path):
    crs = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229 +no_defs"
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20)), crs=crs)
    decloud_scene(src, tmp_path / "out.tif", identity)
    with rasterio.open(src) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert before.crs is not None
        assert after.crs == before.crs


@pytest.mark.parametrize("rectangle", ["SrcRect", "DstRect"])
@pytest.mark.parametrize("size", ['xSize="20"', 'ySize="20" xSize="-1"', ""])
def test_a_vrt_that_leaves_out_a_size_is_refused(tmp_path, scene, rectangle, size):
    """GDAL reads nothing for it, and returns what the memory held."""
    source = f'<SourceFilename relativeToVRT="1">{scene.name}</SourceFilename>'
    whole = 'xOff="0" yOff="0" xSize="90" ySize="90"'
    rectangles = {"SrcRect": whole, "DstRect": whole} | {rectangle: f'xOff="0" yOff="0" {size}'}
    parts = "".join(f"<{name} {text}/>" for name, text in rectangles.items())
    band = '<VRTRasterBand dataType="UInt16" band="{0}"><SimpleSource>' + source
    band += "<SourceBand>{0}</SourceBand>" + parts + "</SimpleSource></VRTRasterBand>"
    vrt = tmp_path / "in.vrt"
    bands = "".join(map(band.format, (1, 2, 3)))
    vrt.write_text(f'<VRTDataset rasterXSize="90" rasterYSize="90">{bands}</VRTDataset>')
    with pytest.raises(SceneError, match=r"in\.vrt: damaged VRT: a SrcRect or DstRect has no"):
        decloud_scene(vrt, tmp_path / "o.tif", identity)


def test_a_vrt_is_read_and_its_sources_are_protected(tmp_path, scene):
    with rasterio.open(scene) as file:
        profile = file.profile
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{b}"><NoDataValue>{7 if b == 3 else 0}'
        f"</NoDataValue><SimpleSource><SourceFilename>{scene}</SourceFilename>"
        f"<SourceBand>{b}</SourceBand></SimpleSource></VRTRasterBand>"
        for b in (1, 2, 3)
    )
    size = f'rasterXSize="{profile["width"]}" rasterYSize="{profile["height"]}"'
    vrt = tmp_path / "in.vrt"
    vrt.write_text(f"<VRTDataset {size}>{bands}</VRTDataset>")
    with pytest.raises(SceneError, match="differs by band"):
        decloud_scene(vrt, tmp_path / "o.tif", identity)
    vrt.write_text(vrt.read_text().replace(">7<", ">0<"))
    with pytest.raises(OutputError, match="input itself"):
        decloud_scene(vrt, scene, identity, Settings(overwrite=True))
    decloud_scene(vrt, tmp_path / "o.tif", identity)
    np.testing.assert_array_equal(read(tmp_path / "o.tif"), read(scene))


@pytest.mark.parametrize("driver", ["PNG", "ENVI", "JP2OpenJPEG"])
def test_other_formats_become_geotiff(tmp_path, driver):
    dn = noise((3, 90, 80), "uint8")
    options = {"ENVI": {"INTERLEAVE": "BIL"}, "JP2OpenJPEG": {"QUALITY": 100, "REVERSIBLE": "YES"}}
    src = tmp_path / "in"
    shape = {"count": 3, "height": 90, "width": 80, "dtype": "uint8"}
    with rasterio.open(src, "w", driver=driver, **shape, **options.get(driver, {})) as file:
        file.write(dn)
    decloud_scene(src, tmp_path / "out.tif", identity)
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(src))


def test_a_truncated_png_is_refused(tmp_path):
    src = tmp_path / "in.png"
    Image.fromarray(noise((400, 400, 3), "uint8")).save(src)
    src.write_bytes(src.read_bytes()[: src.stat().st_size // 2])
    with pytest.raises(SceneError, match="damaged"):
        decloud_scene(src, tmp_path / "out.tif", identity)


def test_band_namespaces_overviews_and_ground_control(tmp_path):
    src = write_scene(
        tmp_path / "in.tif", noise((3, 300, 300)), crs=None, transform=Affine.identity()
    )
    points = [GroundControlPoint(r, c, 13 + c, 50 - r) for r in (0, 99) for c in (0, 99)]
    with rasterio.open(src, "r+") as file:
        file.gcps = (points, "EPSG:4326")
        file.update_tags(2, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.56")
        file.build_overviews([2, 4])
    decloud_scene(src, tmp_path / "out.tif", identity, Settings(provenance=tmp_path / "p.tif"))
    with (
        rasterio.open(tmp_path / "out.tif") as out,
        rasterio.open(tmp_path / "p.tif") as codes,
    ):
        assert out.tags(2, ns="IMAGERY") == {"CENTRAL_WAVELENGTH_UM": "0.56"}
        assert out.overviews(1) == [2, 4]
        assert len(out.gcps[0]) == len(codes.gcps[0]) == 4


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_what_float64_cannot_hold_is_refused(tmp_path, dtype):
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20), dtype))
    with pytest.raises(SceneError, match=f"{dtype} bands; convert"):
        decloud_scene(src, tmp_path / "out.tif", identity)


def test_a_network_that_answers_nan_is_an_error(tmp_path, scene):
    with pytest.raises(GeodecloudError, match="returned NaN or infinity"):
        decloud_scene(
            scene, tmp_path / "out.tif", lambda patches, dark: identity(patches, dark) * np.nan
        )
    assert not (tmp_path / "out.tif").exists()


def test_float_dn_are_told_from_reflectance(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 50, 50)).astype("float32") + 300)
    with open_scene(src) as scene, pytest.warns(RadiometryWarning, match="`scale`"):
        assert calibrate(scene).scale == 10000


def test_the_tags_of_an_earlier_run_are_trusted_for_the_same_dtype_only(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 50, 50)))
    chosen = Settings(scale=36363.6363636, offset=-7272.72727)
    decloud_scene(src, tmp_path / "out.tif", darken, chosen)
    with open_scene(tmp_path / "out.tif") as again:
        used = calibrate(again)
        assert (used.scale, used.offset) == (chosen.reading.scale, chosen.reading.offset)
        tags = again.dataset.tags()
    byte = write_scene(tmp_path / "byte.tif", noise((3, 50, 50), "uint8"))
    with rasterio.open(byte, "r+") as file:
        file.update_tags(**tags)
    with open_scene(byte) as converted:
        assert calibrate(converted).scale == PICTURE_SCALE
    with rasterio.open(tmp_path / "out.tif", "r+") as file:
        file.update_tags(GEODECLOUD_SCALE="10,000")
    with open_scene(tmp_path / "out.tif") as odd:
        assert calibrate(odd).scale == 10000


@pytest.mark.slow
def test_the_python_of_the_docs_runs(tmp_path, scene, monkeypatch):
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    write_scene(scene, noise((4, 100, 90)) // 4 + 300)  # darker than clouds
    with rasterio.open(scene, "r+") as file:
        file.descriptions = ("B02", "B03", "B04", "B08")
    for example, name in zip(code, ("decloud_file", "ndvi", "decloud_array"), strict=True):
        assert name in example
        exec(example, {"geodecloud": geodecloud})  # noqa: S102
    assert {p.name for p in tmp_path.iterdir()} == {
        *("scene.tif", "out.tif"),
        *("provenance.tif", "provenance.tif.aux.xml", "provenance.qml"),
    }


def test_one_output_under_two_spellings(tmp_path, scene):
    same = Settings(provenance=tmp_path / "x" / ".." / "o.tif")
    (tmp_path / "x").mkdir()
    with pytest.raises(OutputError, match="twice"):
        decloud_scene(scene, tmp_path / "o.tif", identity, same)


def test_a_dangling_link_is_an_existing_output(tmp_path, scene):
    (tmp_path / "o.tif").symlink_to(tmp_path / "nowhere.tif")
    with pytest.raises(OutputError, match="exists already"):
        decloud_scene(scene, tmp_path / "o.tif", identity)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX names")
def test_a_name_of_odd_bytes_gives_a_file_or_one_line(tmp_path, scene, tiny_model):
    """In a process of its own: its arguments are bytes."""
    name = b"\xff.tif"
    command = [sys.executable, "-m", "geodecloud", scene, os.fsencode(tmp_path) + b"/" + name]
    done = subprocess.run(
        [*command, "--model", tiny_model, "-q"], cwd=ROOT, capture_output=True, check=False
    )
    _a_file_or_one_line(tmp_path / os.fsdecode(name), done.returncode, done.stderr.decode())


@pytest.mark.skipif(os.name == "nt", reason="POSIX names")
@pytest.mark.parametrize("length", [240, 300])
def test_a_long_name_gives_a_file_or_one_line(cli, tmp_path, scene, tiny_model, length):
    out = tmp_path / ("x" * length + ".tif")
    done = cli(scene, out, "--model", tiny_model, "-q")
    _a_file_or_one_line(out, done.code, done.err)


def _a_file_or_one_line(out, code, errors):
    assert "Traceback" not in errors
    names = {p.name for p in out.parent.iterdir()}
    if code:
        assert code == 1
        assert len(errors.splitlines()) == 1
        assert names == {"scene.tif"}
    else:
        assert names == {"scene.tif", out.name}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
def test_a_service_without_stderr(tmp_path, scene, tiny_model):
    arguments = f"'{scene}' '{tmp_path}/out.tif' --model '{tiny_model}' --json"
    command = f"'{sys.executable}' -m geodecloud {arguments} 2>&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, check=True)
    assert Path(json.loads(done.stdout)["dst"]).exists()


def see_bright_as_opaque(patches, _):
    """Answer like a network that takes bright pixels for opaque cloud and changes nothing."""
    opacity = (patches.mean(axis=1, keepdims=True) > 0.5).astype(np.float32)
    return np.concatenate([patches, opacity], axis=1)


@pytest.mark.parametrize("kind", ["gtiff", "cog"])
def test_opaque_pixels_become_the_nodata_that_the_scene_lacks(tmp_path, kind):
    dn = np.full((4, 150, 130), 500, np.uint16)
    dn[:3, :, 70:] = 2500
    src, out, codes = write_scene(tmp_path / "in.tif", dn), tmp_path / "o.tif", tmp_path / "p.tif"
    chosen = {"opaque": "nodata", "provenance": codes, "format": kind, "overwrite": True}
    with pytest.raises(UsageError, match="`dst_nodata`"):
        decloud_scene(src, out, see_bright_as_opaque, Settings(**chosen))
    decloud_scene(src, out, see_bright_as_opaque, Settings(dst_nodata=0, **chosen))
    cloud = read(codes)[0] == Provenance.CLOUD_REMOVED
    assert cloud[:, 90:].all()
    assert not cloud[:, :50].any()
    with rasterio.open(out) as file:
        assert file.nodatavals == (0,) * 4
        restored = file.read()
        np.testing.assert_array_equal(file.read_masks(1) == 0, cloud)
    assert (restored[:3, cloud] == 0).all()
    np.testing.assert_array_equal(restored[:, ~cloud], dn[:, ~cloud])
    np.testing.assert_array_equal(restored[3], dn[3])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"is 500: [0-9]+ pixels of .*in\.tif"):
        decloud_scene(src, out, see_bright_as_opaque, Settings(dst_nodata=500, **chosen))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    # The DN of cloud that becomes nodata anyway may be the value.
    dn[:3, :, 70:] = 9999
    write_scene(src, dn)
    decloud_scene(src, out, see_bright_as_opaque, Settings(dst_nodata=9999, **chosen))
    assert (read(out)[:3, :, 90:] == 9999).all()


def test_a_scene_without_a_transform_gets_none(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 60, 50)), crs=None, transform=None)
    for area in (None, "10,10,40,50"):
        paths = [tmp_path / f"{name}.tif" for name in ("out", "codes", "opacity")]
        more = {"provenance": paths[1], "opacity": paths[2], "overwrite": True}
        decloud_scene(src, paths[0], identity, Settings(aoi=area, scale=10000, offset=0, **more))
        for path in paths:
            with pytest.warns(NotGeoreferencedWarning), rasterio.open(path):
                pass


@pytest.mark.parametrize("file_format", ["gtiff", "cog"])
def test_overviews_of_classes_hold_classes(tmp_path, file_format):
    """A band that is not understood is not averaged; others are."""
    dn = noise((4, 140, 600))
    dn[3] = np.where(noise((140, 600), seed=1) % 2, 4, 11)
    src = write_scene(tmp_path / "in.tif", dn)
    with rasterio.open(src, "r+") as file:
        file.descriptions = ("B04", "B03", "B02", "SCL")
        file.build_overviews([2, 4])
    out, usual = tmp_path / "out.tif", Settings(scale=10000, offset=0, format=file_format)
    decloud_scene(src, out, identity, usual)
    with rasterio.open(out, overview_level=0) as small:
        assert set(np.unique(small.read(4))) == {4, 11}
    decloud_scene(src, out, identity, usual.replace(wavelengths=(842,), overwrite=True))
    with rasterio.open(out, overview_level=0) as small:
        assert len(np.unique(small.read(4))) > 2


def test_a_truncated_file_is_refused_whatever_the_environment_says(tmp_path, monkeypatch):
    src = write_scene(tmp_path / "in.tif", noise((3, 300, 300)), compress="deflate")
    src.write_bytes(src.read_bytes()[: src.stat().st_size // 2])
    monkeypatch.setenv("GTIFF_IGNORE_READ_ERRORS", "YES")
    with pytest.raises(SceneError, match="damaged"):
        decloud_scene(src, tmp_path / "out.tif", identity, Settings(scale=10000, offset=0))


def test_overviews_lie_in_the_file_whatever_the_environment_says(tmp_path, monkeypatch):
    src = write_scene(tmp_path / "in.tif", noise((3, 300, 300)))
    with rasterio.open(src, "r+") as file:
        file.build_overviews([2, 4])
    monkeypatch.setenv("USE_RRD", "YES")
    out = tmp_path / "out" / "out.tif"
    out.parent.mkdir()
    decloud_scene(src, out, identity, Settings(scale=10000, offset=0))
    with rasterio.open(out) as file:
        assert file.overviews(1) == [2, 4]
    assert list(out.parent.iterdir()) == [out]
