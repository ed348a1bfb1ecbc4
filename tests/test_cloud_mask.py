"""A cloud mask says of each pixel whether it is clear, cloud or shadow, in one scene or many."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pystac
import pytest
import rasterio
from rasterio.enums import ColorInterp

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import OutputError, UsageError
from geodecloud.masking import mask_scene
from geodecloud.raster.cloud_mask import MEANINGS, CloudClass, cloud_mask_style
from geodecloud.raster.mask import open_mask
from geodecloud.raster.origin import is_output
from geodecloud.raster.rows import Rows
from geodecloud.raster.scene import open_scene
from geodecloud.restore.classify import SHADOW_ABOVE, THIN_ABOVE, classify
from geodecloud.restore.displacement import Displacement
from geodecloud.restore.relight import Shade
from geodecloud.settings import Policy, Reading, Settings
from tests.conftest import noise, read, write_scene

SIZE = 160
BLOCKS = {"tiled": True, "blockxsize": 64, "blockysize": 32}
THICK, THIN, SHADE, NO_DATA = (
    np.s_[40:110, 50:90],
    np.s_[40:110, 90:120],
    np.s_[120:150, 50:90],
    np.s_[:, :10],
)
EXPECTED = np.zeros((SIZE, SIZE), np.uint8)
for part, code in ((THICK, 1), (THIN, 2), (SHADE, 3), (NO_DATA, 255)):
    EXPECTED[part] = code


def by_brightness(patches, dark_object):
    """A network that calls white opaque, grey thin, and black a shadow."""
    light = patches[:, :1]
    opacity = np.where(light > 0.95, 1, np.where(light > 0.75, 0.3, 0))
    shadow = np.where(light < 0.05, 1, 0)
    return np.concatenate([patches, opacity, shadow], axis=1).astype(np.float32)


@pytest.fixture
def cloudy(tmp_path):
    dn = noise((3, SIZE, SIZE)) // 8 + 1000
    for part, value in ((THICK, 6000), (THIN, 2300), (SHADE, 20), (NO_DATA, 0)):
        dn[(..., *part)] = value
    return write_scene(tmp_path / "in.tif", dn.astype(np.uint16), nodata=0, **BLOCKS)


def test_classes_follow_opacity_and_shadow():
    opacity = np.array([[0, THIN_ABOVE, 0.44, 0.45, 1, 0, 0.2, 1]], np.float32)
    shadow = np.array([[0, 0, 0, 0, 0, SHADOW_ABOVE, 1, 1]], np.float32)
    valid = np.array([[True] * 7 + [False]])
    rows = Rows(0, np.zeros((3, 1, 8)), valid, opacity=opacity, shadow=shadow)
    assert classify(rows, Policy()).tolist() == [[0, 2, 2, 1, 1, 3, 2, 255]]
    none = Rows(0, np.zeros((3, 1, 8)), valid, opacity=opacity)
    assert classify(none, Policy(opaque_above=0.5)).tolist() == [[0, 2, 2, 2, 1, 0, 2, 255]]


@pytest.mark.parametrize("file_format", ["gtiff", "cog"])
def test_a_mask_lies_on_the_grid_and_says_what_its_values_are(cloudy, file_format):
    path = cloudy.parent / "m.tif"
    report = mask_scene(cloudy, path, by_brightness, Settings(format=file_format))
    with rasterio.open(path) as file, rasterio.open(cloudy) as scene:
        assert (file.shape, file.transform, file.crs) == (scene.shape, scene.transform, scene.crs)
        assert (file.dtypes, file.nodata) == (("uint8",), 255)
        assert file.colorinterp == (ColorInterp.palette,)
        assert {code: file.colormap(1)[code][:3] for code in CloudClass} == {
            code: colour[:3] for code, (_, _, colour) in MEANINGS.items()
        }
        assert "1 thick cloud" in file.descriptions[0]
    classes = read(path)[0]
    assert (classes == EXPECTED).mean() > 0.9  # cells of the coarse pass soften the edges
    assert set(np.unique(classes)) <= {0, 1, 2, 3, 255}
    assert report.pixels == {code: int((classes == code).sum()) for code in CloudClass}
    names = ET.parse(f"{path}.aux.xml").findall(".//Category")  # noqa: S314  our own file
    assert [one.text for one in names[:4]] == ["clear", "thick cloud", "thin cloud", "cloud shadow"]
    entries = ET.fromstring((path.parent / "m.qml").read_text("utf-8")).findall(".//paletteEntry")  # noqa: S314
    assert [one.get("value") for one in entries] == ["0", "1", "2", "3"]
    assert [one.get("alpha") for one in entries] == ["0", "255", "255", "255"]
    assert is_output(path)


@pytest.mark.parametrize("shadows", ["restore", "keep"])
def test_shadows_are_as_deep_in_a_mask_as_where_a_scene_is_restored(cloudy, monkeypatch, shadows):
    def with_faint_shadows(patches, dark_object):
        found = by_brightness(patches[:, :3], dark_object)
        found[:, 4] *= 0.17
        return found

    monkeypatch.setattr(with_faint_shadows, "takes_context", True, raising=False)
    coarse = "geodecloud.restore.coarse"
    monkeypatch.setattr(f"{coarse}_pass.shadow_displacement", lambda *_: Displacement(9, 5))
    monkeypatch.setattr(
        f"{coarse}_pass.thrown_shadows", lambda opacity, *_: np.full((2, *opacity.shape), 255, "u1")
    )
    depth = np.full((3, 1, 1), 0.2, np.float32)
    monkeypatch.setattr(
        f"{coarse}_pass.find_shade",
        lambda light, *_: Shade(0 * depth, depth, light[[0, 1, 2] * 2, ::8, ::8].astype("f2")),
    )
    paths = alone, beside = cloudy.parent / "alone.tif", cloudy.parent / "beside.tif"
    mask_scene(cloudy, alone, with_faint_shadows, Settings(shadows=shadows))
    chosen = Settings(cloud_mask=beside, shadows=shadows)
    decloud_scene(cloudy, cloudy.parent / "out.tif", with_faint_shadows, chosen)
    np.testing.assert_array_equal(*map(read, paths))
    assert (read(alone) == CloudClass.SHADOW).any()


@pytest.mark.parametrize(
    "options", [{}, {"opaque": "keep"}, {"threads": 1, "batch_size": 3}, {"fill_limit": 200.0}]
)
def test_the_same_mask_comes_with_and_without_a_restored_scene(cloudy, options):
    alone, beside = cloudy.parent / "alone.tif", cloudy.parent / "beside.tif"
    mask_scene(cloudy, alone, by_brightness, Settings(**options))
    chosen = Settings(cloud_mask=beside, **options)
    decloud_scene(cloudy, cloudy.parent / "out.tif", by_brightness, chosen)
    assert alone.read_bytes() == beside.read_bytes()
    assert (cloudy.parent / "beside.qml").read_text("utf-8") == cloud_mask_style()
    plain = cloudy.parent / "plain.tif"
    decloud_scene(cloudy, plain, by_brightness, Settings(**options))
    assert plain.read_bytes() == (cloudy.parent / "out.tif").read_bytes()


def test_a_mask_appears_whole_or_not_at_all(cloudy):
    def broken(patches, dark_object):
        raise RuntimeError("stop")

    path = cloudy.parent / "m.tif"
    with pytest.raises(RuntimeError, match="stop"):
        mask_scene(cloudy, path, broken)
    assert {one.name for one in cloudy.parent.iterdir()} == {"in.tif"}
    mask_scene(cloudy, path, by_brightness)
    with pytest.raises(OutputError, match="overwrite"):
        mask_scene(cloudy, path, by_brightness)
    with pytest.raises(OutputError, match="input itself"):
        mask_scene(cloudy, cloudy, by_brightness, Settings(overwrite=True))
    with pytest.raises(UsageError, match=r"\.tif"):
        mask_scene(cloudy, cloudy.parent / "m.png", by_brightness)
    with pytest.raises(UsageError, match="`mask` is given"):
        mask_scene(cloudy, path, by_brightness, Settings(mask=path, overwrite=True))


def test_the_stac_item_has_the_classes(cloudy):
    chosen = Settings(cloud_mask=cloudy.parent / "m.tif", stac=True)
    decloud_scene(cloudy, cloudy.parent / "out.tif", by_brightness, chosen)
    item = pystac.Item.from_file(str(cloudy.parent / "out.json"))
    classes = item.assets["cloud_mask"].extra_fields["classification:classes"]
    assert [one["value"] for one in classes] == [0, 1, 2, 3, 255]
    assert classes[1]["name"] == "thick_cloud"
    assert any("classification" in name for name in item.stac_extensions)


def test_an_array_has_the_mask_of_its_file(cloudy, tiny_model):
    classes = geodecloud.cloud_mask(read(cloudy), nodata=0, scale=10000, model=tiny_model)
    geodecloud.mask_file(cloudy, cloudy.parent / "m.tif", scale=10000, model=tiny_model)
    np.testing.assert_array_equal(classes, read(cloudy.parent / "m.tif")[0])
    assert (classes[NO_DATA] == geodecloud.CloudClass.NODATA).all()
    assert (classes.shape, classes.dtype) == ((SIZE, SIZE), np.uint8)


def test_the_command_writes_a_mask(cli, cloudy, tiny_model):
    path = cloudy.parent / "m.tif"
    done = cli("mask", cloudy, path, "--model", tiny_model, "--json")
    assert done.code == 0
    facts = json.loads(done.out or done.err)
    kinds = ("clear", "thick", "thin", "shadow")
    assert sum(facts[f"{kind}_fraction"] for kind in kinds) == pytest.approx(1)
    assert path.exists()


@pytest.mark.slow
def test_a_batch_writes_masks_alone(cli, cloudy, tiny_model):
    out = cloudy.parent / "masks"
    done = cli("batch", cloudy, out, "--mask-only", "--model", tiny_model, "-q")
    assert done.code == 0, done.err
    assert {path.name for path in out.glob("*.tif")} == {"in_mask.tif"}
    with rasterio.open(out / "in_mask.tif") as file:
        assert file.nodata == 255
    done = cli("batch", cloudy, out, "--mask-only", "--stac")
    assert (done.code, "--stac" in done.err) == (2, True)


def test_values_of_a_mask_may_be_ranges():
    assert Settings(mask="m.tif", mask_values="1,3-5").reading.mask_values == (1, 3, 4, 5)
    assert Settings(mask="m.tif", mask_values="-2--1, 7").reading.mask_values == (-2, -1, 7)
    for wrong in ("5-3", "1-", "0-99999999", "a-b"):
        with pytest.raises(UsageError, match="ranges like 1,3-5"):
            Settings(mask_values=wrong)


@pytest.mark.parametrize("heights", [(SIZE,), (1, 7, 50, SIZE - 58)])
def test_a_buffer_grows_the_clouds_of_a_mask_by_metres(tmp_path, cloudy, heights):
    cloud = np.zeros((1, SIZE, SIZE), np.uint8)
    cloud[0, 60, 30] = cloud[0, 130, 140] = 4
    path = write_scene(tmp_path / "m.tif", cloud)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.minimum(np.hypot(rows - 60, columns - 30), np.hypot(rows - 130, columns - 140))
    reading = Reading(mask=path, mask_values=(4,), mask_buffer=250)
    with open_scene(cloudy) as scene, open_mask(scene, reading) as mask:
        ends = np.cumsum(heights).tolist()
        parts = [mask.read(end - height, end) for end, height in zip(ends, heights, strict=True)]
    np.testing.assert_array_equal(np.concatenate(parts), distance <= 25)


def test_a_buffer_needs_a_mask_and_metres(tmp_path, cloudy):
    with pytest.raises(UsageError, match="give `mask`"):
        Settings(mask_buffer=100)
    with pytest.raises(UsageError, match="`mask_values` needs a mask: give `mask`"):
        Settings(mask_values="3,8")
    plain = write_scene(tmp_path / "plain.tif", read(cloudy), crs=None, transform=None)
    chosen = Settings(mask=cloudy, mask_buffer=100)
    with pytest.raises(UsageError, match="leave `mask_buffer` out"):
        decloud_scene(plain, tmp_path / "out.tif", by_brightness, chosen)


def test_a_mask_alone_has_no_other_outputs(scene, tmp_path, tiny_model):
    with pytest.raises(UsageError, match="only the cloud mask is written: leave out `provenance`"):
        geodecloud.mask_file(scene, tmp_path / "m.tif", provenance="p.tif", model=tiny_model)
    with pytest.raises(UsageError, match="leave out `provenance`"):
        geodecloud.cloud_mask(read(scene), provenance="p.tif", model=tiny_model)
