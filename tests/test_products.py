"""Products and files of bands are opened, and state their own scale, offset and level."""

import json
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geodecloud.decloud import decloud_scene
from geodecloud.errors import BandsWarning, OutputError, RadiometryWarning, SceneError, UsageError
from geodecloud.radiometry import L1C_TCI_SCALE, L2A_TCI_SCALE, PICTURE_SCALE
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import open_scene
from geodecloud.raster.source import find_source
from geodecloud.raster.statements import Statements, stated_level, stated_radiometry
from geodecloud.settings import Reading, Settings
from tests.conftest import darken, identity, noise, read, write_scene
from tests.products import write_jp2, write_product

DN = noise((3, 120, 180)) + np.uint16(1001)
WITH_NIR = np.concatenate([DN, DN[:1] // 2])  # as products and their folders are read


def _as_named(root: Path, kind: str) -> str:
    metadata = next(root.glob("MTD_*.xml"))
    images = next(root.glob("GRANULE/*/IMG_DATA"))
    return {
        "folder": str(root),
        "parent": str(root.parent),
        "zip": shutil.make_archive(str(root.with_suffix("")), "zip", root.parent, root.name),
        "xml": str(metadata),
        "subdataset": f"SENTINEL2_{metadata.stem[-3:]}:{metadata}:10m:EPSG_32629",
        "in zip": f"/vsizip/{root.with_suffix('')}.zip/{root.name}/{metadata.name}",
        "glob": str(images / "**" / "*.jp2"),
        "images": str(images / "R10m"),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["folder", "parent", "zip", "xml", "subdataset", "in zip", "glob", "images"]
)
def test_a_product_is_opened_however_it_is_named(tmp_path, kind):
    src = _as_named(write_product(tmp_path, DN), kind)
    out = tmp_path / "out.tif"
    report = decloud_scene(src, out, identity)
    np.testing.assert_array_equal(read(out), WITH_NIR)
    assert (report.radiometry.scale, report.radiometry.offset) == (10000, -1000)
    with rasterio.open(out) as file:
        assert file.descriptions == ("B04", "B03", "B02", "B08")
        assert (file.nodata, file.crs.to_epsg()) == (0, 32629)
        assert (file.transform.c, file.transform.f) == (499980, 5900040)
        assert [file.tags(band)["BANDNAME"] for band in file.indexes] == ["B4", "B3", "B2", "B8"]
        assert file.tags()["GEODECLOUD_RADIOMETRY"] == "the product's metadata"
        name = Path(src).parent if kind in ("xml", "subdataset", "in zip") else Path(src)
        assert file.tags()["GEODECLOUD_SOURCE"] == name.name


@pytest.mark.parametrize(
    ("level", "baseline", "offset", "used"),
    [
        ("L1C", "04.00", -1000, -1000),
        ("L1C", "02.09", None, 0),
        ("L2A", "03.00", None, 0),
        ("L2A", "05.11", -900, -900),
        ("L2A", "04.00", 0, 0),
    ],
)
def test_the_offset_is_the_products(tmp_path, level, baseline, offset, used):
    with open_scene(write_product(tmp_path, DN, level, baseline, offset)) as scene:
        found = calibrate(scene)
        assert (found.offset, found.origin) == (used, "the product's metadata")
        assert calibrate(scene, Reading(offset=-7.0)).offset == -7  # what the user says counts more


def test_a_missing_image_is_an_error_and_no_zeros(tmp_path):
    root = write_product(tmp_path, DN)
    next(root.rglob("*_B03_10m.jp2")).unlink()
    with pytest.raises(SceneError, match="B03_10m"):
        decloud_scene(str(root), tmp_path / "out.tif", identity)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(("level", "resolution"), [("L1C", 20), ("L2A", 60), ("L1C", 60)])
def test_a_resolution_that_a_product_lacks(tmp_path, level, resolution):
    with pytest.raises(SceneError, match=f"at {resolution} m"):
        find_source(write_product(tmp_path, DN, level), resolution)


def test_names_that_cannot_be_meant(tmp_path, scene):
    for src, resolution, words in (
        ("-", None, "pipe"),
        (scene, 20, "not a Sentinel-2 product"),
        (scene, 30, "10, 20 and 60"),
        ([scene, scene], None, "give three"),
        ([], None, "SRC is empty"),
    ):
        with pytest.raises(UsageError, match=words):
            find_source(src, resolution)
    (tmp_path / "empty.SAFE").mkdir()
    with pytest.raises(SceneError, match="no MTD_MSIL1C"):
        find_source(tmp_path / "empty.SAFE")
    with pytest.raises(SceneError, match="no such file"):
        find_source(tmp_path / "none.tif")


def test_a_file_for_each_band(cli, tmp_path, tiny_model):
    names = ["red.tif", "x_green.tif", "x-B02_10m.jp2", "x_B08_10m.jp2"]
    for name, values in zip(names, [*DN, DN[0]], strict=True):
        if name.endswith("jp2"):
            write_jp2(tmp_path / name, values)
        else:
            grid = rasterio.transform.from_origin(499980, 5900040, 10, 10)
            write_scene(tmp_path / name, values[None], crs="EPSG:32629", transform=grid)
    red, green, blue = (tmp_path / name for name in names[:3])
    out = tmp_path / "out" / "o.tif"
    out.parent.mkdir()
    colours = ["--red", red, "--green", green, "--blue", blue]
    assert cli(*colours, out, "--offset", -1000, "--model", tiny_model).code == 0
    assert read(out).shape == DN.shape
    decloud_scene(tmp_path, out, identity, Settings(overwrite=True, offset=-1000))
    np.testing.assert_array_equal(read(out), [*DN, DN[0]])
    with pytest.raises(OutputError, match="input itself"):
        decloud_scene([red, green, blue], green, identity, Settings(overwrite=True))
    assert cli(red, *colours, out, "--model", tiny_model).code == 2
    assert cli(*colours[:4], out, "--model", tiny_model).code == 2
    write_scene(tmp_path / "other_B04.tif", DN[:1])
    with pytest.raises(
        SceneError, match=r"found 2 red files, expected one: other_B04\.tif, red\.tif"
    ):
        find_source(tmp_path)
    with pytest.raises(UsageError, match=r"red\.tif: is given for two of red, green and blue"):
        find_source([red, red, blue])
    with pytest.raises(UsageError, match="is given for two"):  # by another spelling
        find_source([red, blue, f"{tmp_path}/./red.tif"])
    find_source([red] * 3)  # grey, as nobody does by mistake
    with pytest.raises(SceneError, match=r"none\.tif: cannot be opened as a raster \(No such file"):
        find_source([red, green, tmp_path / "none.tif"])
    with pytest.raises(SceneError, match=r"differs from .* in size, grid"):
        find_source([tmp_path / "other_B04.tif", green, blue])
    with pytest.raises(SceneError, match="3 bands"):
        find_source([write_scene(tmp_path / "rgb.tif", DN), green, blue])


def test_files_given_in_another_order_than_their_names_say_are_refused(tmp_path):
    files = [write_scene(tmp_path / f"{name}.tif", DN[:1]) for name in ("B02", "B03", "B04", "a")]
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        with pytest.raises(UsageError, match=r"its name says .*; give red, green, blue"):
            find_source([files[i] for i in order])
    find_source([files[i] for i in (2, 1, 0)])
    find_source([files[i] for i in (0, 1, 3)])  # the names do not say all colours


def warned_of_bands(function) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return any(issubclass(one.category, BandsWarning) for one in caught)


def test_files_of_hls_have_a_day(tmp_path):
    for day, band in ((100, "B02"), (100, "B03"), (105, "B04")):
        write_scene(tmp_path / f"HLS.S30.T18SVG.2021{day}T155911.v2.0.{band}.tif", DN[:1])
    with pytest.raises(SceneError, match=r"B0[23]\.tif is of 2021-04-10, .*B04\.tif of 2021-04-15"):
        find_source(tmp_path)


def dated(folder, *names):
    folder.mkdir()
    for name in names:
        write_scene(folder / f"T33UXQ_{name}_10m.tif", DN[:1])
    return folder


def test_files_of_several_days_are_no_scene(tmp_path):
    days = [f"202{year}0410T100031" for year in (0, 1)]
    mixed = dated(
        tmp_path / "a", *(f"{days[band == 'B02']}_{band}" for band in ("B04", "B03", "B02"))
    )
    with pytest.raises(SceneError, match=r"_10m\.tif is of 2020-04-10, .*_B02_10m\.tif of 2021"):
        find_source(mixed)
    other = dated(tmp_path / "b", *(f"{days[0]}_B0{band}" for band in (2, 3, 4)), f"{days[1]}_B08")
    with pytest.warns(BandsWarning, match=r"B08_10m\.tif left out, of another day"):
        found = find_source(other)
    with rasterio.open(found.name) as stack:
        assert stack.count == 3
    assert not warned_of_bands(lambda: find_source(other, extra_bands=["none"]))
    alike = dated(tmp_path / "c", *(f"{days[0]}_B0{band}" for band in (2, 3, 4, 8)))
    with rasterio.open(find_source(alike).name) as stack:
        assert stack.count == 4


def test_only_images_that_a_product_lists_have_its_tags(tmp_path):
    """Also as GeoTIFF."""
    product = write_product(tmp_path, DN)
    for name, listed in (("T33UXQ_20210410T100031", False), ("T29UNU_20221005T115411", True)):
        for band in ("B02", "B03", "B04"):
            (product / name).mkdir(exist_ok=True)
            write_scene(product / name / f"{name}_{band}_10m.tif", DN[:1])
        with rasterio.open(find_source(product / name).name) as stack:
            assert ("PRODUCT_START_TIME" in stack.tags()) == listed


def zip_of(*products: Path) -> Path:
    path = products[0].parent / "p.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for product in products:
            for file in filter(Path.is_file, product.rglob("*")):
                archive.write(file, file.relative_to(product.parent))
    return path


def test_a_zip_of_two_products_is_refused(tmp_path):
    products = [write_product(tmp_path, DN, level) for level in ("L1C", "L2A")]
    with pytest.raises(SceneError, match=r"p\.zip: holds 2 products; unpack it"):
        find_source(zip_of(*products))


def test_a_damaged_zip_is_refused(tmp_path):
    archive = zip_of(write_product(tmp_path, DN))
    find_source(archive)
    with pytest.raises(SceneError, match=r"is a zip of a product; give .*p\.zip\Z"):
        find_source(f"/vsizip/{archive}")
    content = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as opened:
        place = next(one for one in opened.infolist() if one.filename.endswith("B03_10m.jp2"))
    content[place.header_offset + place.file_size // 2 + 100] ^= 255
    archive.write_bytes(content)
    with pytest.raises(SceneError, match=r"p\.zip: Bad CRC-32 for file .*B03_10m\.jp2'; download"):
        find_source(archive)


def _stated(dtype="uint16", name="scene.tif", tags=None, band_tags=({},) * 3, gdal=(1.0, 0.0)):
    scale, offset = gdal
    statements = Statements(
        name, np.dtype(dtype), tags or {}, band_tags, (scale,) * 3, (offset,) * 3
    )
    return stated_radiometry(statements)


S2_NAME = "S2B_MSIL1C_20230101T1_N0509_R1_T32UQD_X.SAFE/GRANULE/L1C/IMG_DATA/T32UQD_B04.tif"
TCI = "/d/S2B_MSIL1C_20230101T1_N0509_R1_T32UQD_X.SAFE/GRANULE/L1C/IMG_DATA/T32UQD_TCI.jp2"


@pytest.mark.parametrize(
    ("statements", "scale", "offset"),
    [
        ({}, 10000, 0),
        ({"tags": {"PROCESSING_BASELINE": "04.00"}}, 10000, -1000),
        ({"tags": {"PROCESSING_BASELINE": "03.01"}, "name": S2_NAME}, 10000, 0),
        ({"tags": {"s2:processing_baseline": "05.09"}}, 10000, -1000),
        ({"band_tags": ({"BOA_ADD_OFFSET": "-900"},) * 3}, 10000, -900),
        ({"tags": {"RADIO_ADD_OFFSET": "-1000", "QUANTIFICATION_VALUE": "5000"}}, 5000, -1000),
        ({"tags": {"PROCESSING_BASELINE": "4,00"}}, 10000, 0),
        ({"gdal": (1e-4, -0.1)}, 10000, -1000),
        ({"gdal": (2e-5, -0.1), "name": S2_NAME}, 50000, -5000),
        ({"name": S2_NAME}, 10000, -1000),
        ({"name": S2_NAME.replace("N0509", "N0301")}, 10000, 0),
        ({"name": S2_NAME, "dtype": "float32"}, 1, 0),
        ({"tags": {"PROCESSING_BASELINE": "04.00"}, "dtype": "float32"}, 1, 0),
        ({"dtype": "uint8"}, PICTURE_SCALE, 0),
        ({"dtype": "uint8", "name": TCI}, L1C_TCI_SCALE, 0),
        ({"dtype": "uint8", "name": TCI.replace("L1C", "L2A")}, L2A_TCI_SCALE, 0),
        ({"dtype": "uint8", "name": "T32UQD_20230101T103321_TCI_10m.jp2"}, L2A_TCI_SCALE, 0),
        ({"dtype": "uint8", "name": "TCI.tif"}, PICTURE_SCALE, 0),
    ],
)
def test_the_surest_statement_counts(statements, scale, offset):
    used = _stated(**statements)
    assert (used.scale, used.offset) == pytest.approx((scale, offset))


@pytest.mark.parametrize(
    ("tags", "name", "level"),
    [
        ({}, "scene.tif", None),
        ({}, "S2A_33UXQ_20210410_0.tif", None),
        ({}, "ALL2A.tif", None),
        ({}, "a/S2A_MSIL2A_20210410.SAFE/x.tif", "L2A"),
        ({}, "S2A_33UXQ_20210410_0_L2A.tif", "L2A"),
        ({}, "S2_L1C_T18.tif", "L1C"),
        ({}, "for_L2A/S2A_MSIL1C_20210410.tif", "L1C"),
        ({}, "T32UQD_20230101T103321_B04_10m.jp2", "L2A"),
        ({}, "T32UQD_20230101T103321_B04.jp2", None),
        ({"PROCESSING_LEVEL": "Level-1C"}, "L2A.tif", "L1C"),
        ({"PRODUCT_TYPE": "S2MSI2A"}, "scene.tif", "L2A"),
        ({"BOA_QUANTIFICATION_VALUE": "10000"}, "L1C.tif", "L2A"),
        ({"RADIO_ADD_OFFSET": "-1000"}, "scene.tif", "L1C"),
    ],
)
def test_the_level_is_said_by_metadata_or_name(tags, name, level):
    statements = Statements(name, np.dtype("uint16"), tags, ({},) * 3, (1.0,) * 3, (0.0,) * 3)
    assert stated_level(statements) == level


def test_a_scale_of_no_use_is_warned_of():
    with pytest.warns(RadiometryWarning, match="of no use"):
        assert _stated(gdal=(-1e-4, 0.0)).scale == 10000


def test_offsets_that_differ_and_one_too_many_are_warned_of(tmp_path):
    bands = ({"BOA_ADD_OFFSET": "-1000"}, {"BOA_ADD_OFFSET": "-900"}, {})
    with pytest.warns(RadiometryWarning, match="differ by band"):
        assert _stated(band_tags=bands, tags={"PROCESSING_BASELINE": "04.00"}).offset == -1000
    harmonized = write_scene(tmp_path / "S2A_MSIL2A_1_N0400_R023_T29UNU_2.tif", noise((3, 50, 50)))
    with open_scene(harmonized) as scene, pytest.warns(RadiometryWarning, match="`offset` 0"):
        assert calibrate(scene).offset == -1000


def _with_scales(path, scales, offsets):
    write_scene(path, noise((3, 50, 50)))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = scales, offsets
    return path


@pytest.mark.parametrize(
    ("scales", "offsets"),
    [((1e-4, 2e-4, 1e-4), (0.0,) * 3), ((1e-4,) * 3, (0.0, 0.0, -0.1))],
)
def test_bands_of_different_scales_are_refused_unless_the_user_gives_one(tmp_path, scales, offsets):
    with open_scene(_with_scales(tmp_path / "in.tif", scales, offsets)) as scene:
        for reading in (Reading(), Reading(scale=9000), Reading(offset=0)):
            with pytest.raises(SceneError, match=r"in\.tif: .* differ by band .*give `scale` and"):
                calibrate(scene, reading)
        with pytest.warns(RadiometryWarning, match="red's are taken"):
            assert calibrate(scene, Reading(force=True)).scale == pytest.approx(10000)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert calibrate(scene, Reading(scale=9000, offset=-7.0)).scale == 9000


def test_info_says_what_was_used_and_whence(cli, tmp_path, tiny_model):
    root = write_product(tmp_path, DN)
    facts = json.loads(cli("info", root, "--json").out)
    assert (facts["scale"], facts["offset"]) == (10000, -1000)
    assert facts["radiometry"] == "the product's metadata"
    # A second run on the output finds the same: its DN keep their convention.
    assert cli(root, tmp_path / "o.tif", "--offset", "auto", "--model", tiny_model).code == 0
    again = json.loads(cli("info", tmp_path / "o.tif", "--json").out)
    assert (again["offset"], again["radiometry"]) == (-1000, "the tags of an earlier run")
    assert cli(root, tmp_path / "p.tif", "--offset", "some", "--model", tiny_model).code == 2


@pytest.mark.slow
def test_the_real_skeleton_at_60_m(shared, tmp_path):
    root = next((shared / "safe").glob("*.SAFE"))
    chosen = Settings(resolution=60, aoi="500000,5870000,520000,5890000")
    report = decloud_scene(root, tmp_path / "o.tif", darken, chosen)
    assert (report.height, report.radiometry.offset) == (334, -1000)
    same = read(shared / "scenes" / "S2A_L2A_20221005_T29UNU_60m_rgb_uint16.tif")
    with open_scene(root, reading=Reading(resolution=60)) as scene:
        np.testing.assert_array_equal(scene.read(0, 1830)[0], same)


def test_the_real_skeleton_with_images_at_10_m(shared, tmp_path):
    skeleton = next((shared / "safe").glob("*.SAFE"))
    root = tmp_path / skeleton.name
    shutil.copytree(skeleton, root, ignore=shutil.ignore_patterns("*.jp2"))
    root.chmod(0o755)
    for folder in root.rglob("*"):
        folder.chmod(0o755)
    with pytest.raises(SceneError, match="B04_10m"):
        find_source(root)
    images = next(root.glob("GRANULE/*/IMG_DATA")) / "R10m"
    images.mkdir(exist_ok=True)
    for band, values in zip(("B04", "B03", "B02"), DN, strict=True):
        write_jp2(images / f"T29UNU_20221005T115411_{band}_10m.jp2", values)
    report = decloud_scene(root, tmp_path / "o.tif", identity)
    np.testing.assert_array_equal(read(tmp_path / "o.tif"), DN)
    assert report.radiometry.offset == -1000
    write_jp2(images / "T29UNU_20221005T115411_B08_10m.jp2", DN[1])
    coarse = images.parent / "R20m" / "T29UNU_20221005T115411_B11_20m.jp2"
    coarse.parent.mkdir()
    write_jp2(coarse, DN[2, ::2, ::2], 20)
    chosen = Settings(extra_bands="B08,B11", overwrite=True)
    report = decloud_scene(root, tmp_path / "o.tif", identity, chosen)
    repeated = DN[2, ::2, ::2].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(read(tmp_path / "o.tif"), [*DN, DN[1], repeated])
    assert report.radiometry.offset == -1000
    with rasterio.open(tmp_path / "o.tif") as file:
        assert [file.tags(band)["BANDNAME"] for band in (4, 5)] == ["B8", "B11"]


@pytest.mark.slow
def test_the_stretch_of_the_real_tci(shared):
    images = next((shared / "safe").glob("*.SAFE/GRANULE/*/IMG_DATA/R60m"))
    dn, tci = (read(next(images.glob(f"*_{name}_60m.jp2")))[0] for name in ("B04", "TCI"))
    between = (tci > 1) & (tci < 255)
    reflectance = (dn[between] - 1000.0) / 10000
    assert np.abs(tci[between] / L2A_TCI_SCALE - reflectance).max() <= 1 / L2A_TCI_SCALE
    with open_scene(next(images.glob("*TCI*"))) as scene:
        assert calibrate(scene).scale == L2A_TCI_SCALE


@pytest.mark.parametrize(("date", "baseline"), [("20210410", "03.00"), ("20221005", "04.00")])
@pytest.mark.filterwarnings("error::geodecloud.errors.RadiometryWarning")
def test_real_60_m_scenes_by_their_tags_alone(shared, tmp_path, date, baseline):
    src = next((shared / "scenes").glob(f"*{date}*_60m_rgb*_uint16.tif"))
    tagged = tmp_path / "tagged.tif"
    shutil.copy(src, tagged)
    tagged.chmod(0o644)
    with rasterio.open(tagged, "r+") as file:
        file.update_tags(PROCESSING_BASELINE=baseline)
    with open_scene(tagged) as scene:
        assert calibrate(scene).offset == (-1000 if baseline >= "04" else 0)
