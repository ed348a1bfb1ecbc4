"""Scale and offset are known by metadata or name, settled by the pixels, or asked for."""

import datetime
import json

import numpy as np
import pytest
import rasterio

from geodecloud.decloud import decloud_scene
from geodecloud.errors import FillWarning, RadiometryWarning, SceneError
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.products import find_product, find_sentinel_date
from geodecloud.raster.scene import open_scene
from geodecloud.raster.statements import Statements, stated_level, stated_radiometry
from geodecloud.settings import Reading, Settings
from tests.conftest import darken, noise, read, write_scene

L2SP = "LC08_L2SP_206023_20221005_20221013_02_T1"
L1TP = "LC09_L1TP_206023_20221005_20221013_02_T1"
LANDSAT_2, LANDSAT_1 = (1 / 0.0000275, -0.2 / 0.0000275), (50000, -5000)
L2SR = LANDSAT_2, "L2A"
PLAIN, WITH_OFFSET = (10000, 0), (10000, -1000)
LAND = np.random.default_rng(0).integers(200, 2000, (3, 100, 90)).astype(np.uint16)


def _stated(name="scene.tif", dtype="uint16", tags=None, descriptions=(), files=()):
    return Statements(
        name,
        np.dtype(dtype),
        tags or {},
        ({},) * 3,
        (1.0,) * 3,
        (0.0,) * 3,
        files,
        descriptions,
    )


@pytest.mark.parametrize(
    ("about", "expected", "level"),
    [
        ({"name": f"/d/{L2SP}_SR_B4.TIF"}, LANDSAT_2, "L2A"),
        ({"name": f"{L2SP}_stack.tif", "dtype": "int32"}, LANDSAT_2, "L2A"),
        ({"name": "mine", "files": [f"/d/{L2SP}_SR_B{n}.TIF" for n in (4, 3, 2)]}, *L2SR),
        ({"name": "LE07_L2SP_206023_20021005_20221013_02_T1_SR_B3.TIF"}, LANDSAT_2, "L2A"),
        ({"descriptions": ("SR_B4", "SR_B3", "SR_B2")}, LANDSAT_2, "L2A"),
        ({"tags": {"LANDSAT_PRODUCT_ID": L2SP}}, LANDSAT_2, "L2A"),
        ({"name": f"{L1TP}_B4.TIF"}, LANDSAT_1, "L1C"),
        ({"name": "LC08_L1TP_1_B4.TIF"}, PLAIN, None),
        ({"name": "LC08_L1TP_206023_20141005_20170418_01_T1_sr_band4.tif"}, PLAIN, "L2A"),
        (
            {"name": "LE07_L1TP_206023_20021005_20170418_01_T1_B3.TIF", "dtype": "uint8"},
            (255 / 0.275, 0),
            None,
        ),
        ({"name": "HLS.S30.T29UNU.2022278T115411.v2.0.B04.tif", "dtype": "int16"}, PLAIN, "L2A"),
        ({"name": "HLS.L30.T29UNU.2022278T115411.v2.0.tif", "dtype": "int16"}, PLAIN, "L2A"),
        ({"tags": {"HLS_PROCESSING_TIME": "x", "PROCESSING_BASELINE": "04.00"}}, PLAIN, "L2A"),
        ({"name": "20221005_104512_psscene_3B_AnalyticMS_SR.tif"}, PLAIN, "L2A"),
        ({"name": "20221005_104512_39_2442_3B_AnalyticMS_SR_8b_harmonized.tif"}, PLAIN, "L2A"),
        ({"name": "ga_s2am_nbart_3-2-1_29UNU_2022-10-05_red.tif"}, PLAIN, "L2A"),
        ({"name": "S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU.tif"}, WITH_OFFSET, "L2A"),
        ({"name": "S2A_MSIL2A_20221005T115411_R023_T29UNU_20221006T1.tif"}, WITH_OFFSET, "L2A"),
        ({"name": "S2A_MSIL2A_20211005T115411_R023_T29UNU_20221006T1.tif"}, PLAIN, "L2A"),
        ({"name": "S2A_L2A_20221005_T29UNU_60m_rgb_uint16.tif"}, WITH_OFFSET, "L2A"),
        ({"name": "/d/S2B_29UNU_20230101_0_L2A/B04.tif"}, WITH_OFFSET, "L2A"),
        ({"name": "T29UNU_20221005T115411_B04_10m.tif"}, WITH_OFFSET, "L2A"),
        ({"name": "20221005T115411_20221005T115407_T29UNU.tif"}, WITH_OFFSET, None),
        ({"name": "sentinel-2_2023-05-01.tif"}, WITH_OFFSET, None),
        ({"name": "COPERNICUS_S2_SR_HARMONIZED_20230501T1_T29UNU.tif"}, PLAIN, None),
        (
            {"tags": {"earthsearch:boa_offset_applied": "true", "PROCESSING_BASELINE": "04.00"}},
            PLAIN,
            "L2A",
        ),
        (
            {"tags": {"earthsearch:boa_offset_applied": "false", "PROCESSING_BASELINE": "04.00"}},
            WITH_OFFSET,
            "L2A",
        ),
        ({"tags": {"PLATFORM": "Sentinel-2B", "datetime": "2023-05-01T1"}}, WITH_OFFSET, None),
        ({"name": "S2A_L2A_20221005.tif", "dtype": "float32"}, (1, 0), "L2A"),
        ({"name": "L2A_20221005.tif"}, PLAIN, "L2A"),
    ],
)
def test_products_are_known_by_tags_or_name(about, expected, level):
    statements = _stated(**about)
    found = stated_radiometry(statements)
    assert (found.scale, found.offset) == pytest.approx(expected)
    assert stated_level(statements) == level


def test_a_sentinels_day_is_its_acquisition():
    names = ["2024-01-01/S2A_MSIL1C_20211005T115411_R023_T29UNU_20230101T0.SAFE/x/y.tif"]
    assert find_sentinel_date(names) == datetime.date(2021, 10, 5)
    assert find_sentinel_date(["S2A_20221399.tif", "LC08_20221005.tif"]) is None
    assert find_product(["scene.tif"]) is None


MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MULT_BAND_2 = {two}
    REFLECTANCE_MULT_BAND_3 = {two}
    REFLECTANCE_MULT_BAND_4 = {two}
    REFLECTANCE_ADD_BAND_2 = -0.2
    REFLECTANCE_ADD_BAND_3 = -0.2
    REFLECTANCE_ADD_BAND_4 = -0.2
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_2 = 4.0000E-05
    REFLECTANCE_MULT_BAND_3 = 4.0000E-05
    REFLECTANCE_MULT_BAND_4 = 4.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
    REFLECTANCE_ADD_BAND_3 = -0.100000
    REFLECTANCE_ADD_BAND_2 = -0.100000
"""


@pytest.mark.parametrize(
    ("product", "end", "expected"),
    [(L2SP, "_SR_B", (1 / 3e-5, -0.2 / 3e-5)), (L1TP, "_B", (25000, -2500))],
)
def test_landsats_metadata_beside_its_files_counts_more_than_its_name(
    tmp_path, product, end, expected
):
    files = [
        write_scene(tmp_path / f"{product}{end}{band}.TIF", LAND[:1] + 8000) for band in (4, 3, 2)
    ]
    with open_scene(tmp_path) as scene:
        assert calibrate(scene).origin.startswith("the name: Landsat")
    (tmp_path / f"{product}_MTL.txt").write_text(MTL.format(two="3.0E-05"))
    for src in (tmp_path, files):
        with open_scene(src) as scene:
            found = calibrate(scene)
            assert (found.scale, found.offset) == pytest.approx(expected)
            assert found.origin == "Landsat's metadata (MTL)"


def test_a_date_is_settled_by_the_darkest_pixels(tmp_path):
    name = "S2A_L2A_20221005_T29UNU.tif"
    for dn, offset, words in (
        (LAND + 1000, -1000, "the date: Sentinel-2 of 2022-10-05"),
        (LAND, 0, "offset is applied"),
    ):
        with open_scene(write_scene(tmp_path / name, dn)) as scene:
            if offset:
                with pytest.warns(RadiometryWarning, match="`offset` 0"):
                    found = calibrate(scene)
            else:
                found = calibrate(scene)
        assert (found.offset, found.guessed) == (offset, False)
        assert words in found.origin
    floats = write_scene(tmp_path / name, (LAND + 1000).astype(np.float32))
    with open_scene(floats) as scene, pytest.warns(RadiometryWarning, match="`offset` 0"):
        assert calibrate(scene).offset == -1000  # whatever dtype holds the DN


@pytest.mark.parametrize(
    ("name", "dn", "words"),
    [
        ("scene.tif", LAND + 1000, "`offset` -1000"),
        ("S2_scene.tif", LAND + 1000, "suggests Sentinel-2"),
        ("S2A_L2A_20210410.tif", LAND + 1000, "suggests Sentinel-2"),
        ("scene.tif", LAND // 10, "8-bit picture: give `scale` 927"),
        ("scene.tif", LAND / np.float32(10000) + np.float32(0.1), "`offset`: -0.1"),
        ("scene.tif", (LAND // 20).astype(np.float32), "or percent: give `scale` 100"),
        ("scene.tif", 10 * np.log10(LAND / np.float32(10000)), "maybe decibels"),
        ("scene.tif", -LAND.astype(np.int16), "not reflectance"),
        (
            "scene.tif",
            LAND.astype(np.int16) - 1400,
            r"median .*\); if .* one twice, give `offset` 1000",
        ),
        ("scene.tif", LAND / np.float32(10000) - np.float32(0.14), "one twice, give `offset` 0.1"),
    ],
)
def test_pixels_that_contradict_a_guess_are_refused_with_the_remedy(tmp_path, name, dn, words):
    src, out = write_scene(tmp_path / name, dn), tmp_path / "out.tif"
    with pytest.raises(SceneError, match=words):
        decloud_scene(src, out, darken)
    assert not out.exists()
    with pytest.warns(RadiometryWarning, match=words):
        decloud_scene(src, out, darken, Settings(force=True))
    out.unlink()
    decloud_scene(src, out, darken, Settings(scale=20000, offset=-1))  # what the user says counts


@pytest.mark.parametrize(
    ("given", "words"),
    [({"offset": -1400}, "median reflectances"), ({"scale": 1e9}, "brightest pixels")],
)
def test_what_the_user_gives_counts_but_a_contradiction_is_said(tmp_path, given, words):
    src = write_scene(tmp_path / "scene.tif", LAND)
    with pytest.warns(RadiometryWarning, match=rf"{words} .*\(as given\)"):
        decloud_scene(src, tmp_path / "out.tif", darken, Settings(**given))


@pytest.mark.parametrize("name", ["2022_3B_AnalyticMS.tif", "2022_ortho_analytic_8b.tif"])
def test_radiance_is_not_taken_for_reflectance(tmp_path, name):
    src, out = write_scene(tmp_path / name, LAND), tmp_path / "out.tif"
    with rasterio.open(src, "r+") as file:
        file.descriptions = ("red", "green", "blue")
    with pytest.raises(SceneError, match="has the name of PlanetScope radiance; convert it"):
        decloud_scene(src, out, darken)
    decloud_scene(src, out, darken, Settings(scale=10_000))
    reflectance = src.rename(tmp_path / name.replace(".tif", "_toar_clip.tif"))
    decloud_scene(reflectance, tmp_path / "toar.tif", darken)


def test_water_that_is_dark_in_one_band_is_not_refused(tmp_path):
    dn = np.stack([LAND[0].astype(np.int16) - 1400, LAND[1], LAND[2]]).astype(np.int16)
    with pytest.warns(RadiometryWarning, match="median reflectances of -0"):
        decloud_scene(write_scene(tmp_path / "lake.tif", dn), tmp_path / "out.tif", darken)


def white_is_opaque(patches, dark_object):
    return np.concatenate([patches, (patches[:, :1] > 0.9) * 1.0], axis=1).astype(np.float32)


def _under_cloud(share: float):
    dn = LAND.copy()
    dn[:, : round(100 * share)] = 9000
    return dn


@pytest.mark.parametrize(
    ("name", "share", "refused"),
    [
        ("scene.tif", 0.4, False),
        ("scene.tif", 0.75, True),
        ("LC08_scene.tif", 1.0, True),
        ("S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU.tif", 0.7, False),
        ("S2A_MSIL2A_20221005T115411_N0301_R023_T29UNU.tif", 1.0, True),
    ],
)
def test_a_scene_that_would_be_mostly_invented_is_refused(tmp_path, name, share, refused):
    src, out = write_scene(tmp_path / name, _under_cloud(share)), tmp_path / "out.tif"
    chosen = Settings(provenance=tmp_path / "p.tif", preview=tmp_path / "v.png")
    if not refused:
        report = decloud_scene(src, out, white_is_opaque, chosen)
        assert abs(report.invented_fraction - share) < 0.1
        return
    with pytest.raises(SceneError, match="would be invented") as error:
        decloud_scene(src, out, white_is_opaque, chosen)
    assert ("suggests Landsat" in str(error.value)) == name.startswith("LC08")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.warns(FillWarning):
        report = decloud_scene(src, out, white_is_opaque, chosen.replace(force=True))
    assert report.invented_fraction > 0.5
    kept = Settings(opaque="keep", overwrite=True)
    assert decloud_scene(src, out, white_is_opaque, kept).invented_fraction == 0


def test_a_cloudy_part_does_not_make_the_radiometry_of_a_scene_doubtful(tmp_path):
    src = write_scene(tmp_path / "scene.tif", _under_cloud(0.4))
    width = LAND.shape[2]
    part = Settings(aoi=f"500000,{5500000 - 10 * 55},{500000 + 10 * width},5500000")
    with pytest.warns(FillWarning):
        report = decloud_scene(src, tmp_path / "out.tif", white_is_opaque, part)
    assert 0.76 < report.invented_fraction < 0.89


def test_what_a_reference_shows_is_not_invented(tmp_path):
    src = write_scene(tmp_path / "in.tif", np.tile(_under_cloud(0.8), (1, 2, 2)))
    clear = write_scene(tmp_path / "clear.tif", np.tile(LAND, (1, 2, 2)))
    chosen = Settings(references=[clear])
    assert decloud_scene(src, tmp_path / "o.tif", white_is_opaque, chosen).invented_fraction < 0.5
    (tmp_path / "o.tif").unlink()
    elsewhere = write_scene(
        tmp_path / "clear.tif", np.tile(_under_cloud(0.8), (1, 2, 2)), nodata=9000
    )
    with pytest.raises(SceneError, match="would be invented"):
        decloud_scene(src, tmp_path / "o.tif", white_is_opaque, Settings(references=[elsewhere]))
    assert not (tmp_path / "o.tif").exists()


def test_the_command_line_refuses_informs_and_goes_on(cli, tmp_path, tiny_model):
    src, out = write_scene(tmp_path / "scene.tif", LAND + 1000), tmp_path / "out.tif"
    assert cli(src, out, "--model", tiny_model).code == 1
    assert "--offset -1000" in cli.err
    assert "give --force to run anyway" in cli.err
    assert not out.exists()
    assert cli(src, out, "--model", tiny_model, "--dry-run").code == 1
    facts = json.loads(cli("info", src, "--json").out)
    assert "offset -1000" in cli.err
    assert (facts["radiometry_guessed"], facts["offset"]) == (True, 0)
    assert cli(src, out, "--model", tiny_model, "--force").code == 0


@pytest.mark.slow
def test_a_batch_refuses_what_the_command_line_refuses(cli, tmp_path, tiny_model):
    src = write_scene(tmp_path / "scene.tif", LAND + 1000)
    done = cli("batch", src, tmp_path / "batch", "--model", tiny_model, "--json")
    assert done.code != 0
    assert not list((tmp_path / "batch").glob("*.tif"))
    assert cli("batch", src, tmp_path / "batch", "--model", tiny_model, "--force").code == 0


def test_landsat_level_2_is_restored_in_its_own_reflectance(tmp_path):
    dn = np.rint((LAND / 10000 + 0.2) / 0.0000275).astype(np.uint16)
    plain = write_scene(tmp_path / "plain.tif", LAND)
    landsat = write_scene(tmp_path / f"{L2SP}_SR.tif", dn)
    for src in (plain, landsat):
        decloud_scene(src, tmp_path / f"out_{src.stem}.tif", darken)
    expected = read(tmp_path / "out_plain.tif") / 10000
    found = read(tmp_path / f"out_{L2SP}_SR.tif") * 0.0000275 - 0.2
    changed = np.abs(expected - LAND / 10000) > 0.01
    assert changed.any()
    np.testing.assert_allclose(found, expected, atol=0.02)
    with rasterio.open(tmp_path / f"out_{L2SP}_SR.tif") as out:
        assert "Landsat Collection 2" in out.tags()["GEODECLOUD_RADIOMETRY"]


def test_real_scenes_are_read_right_or_refused(shared, tmp_path):
    scenes = shared / "scenes"
    with (
        open_scene(scenes / "S2A_L2A_20221005_T29UNU_60m_rgb_uint16.tif") as scene,
        pytest.warns(RadiometryWarning, match="`offset` 0"),
    ):
        assert calibrate(scene).offset == -1000
    pairs = shared / "dev_pairs" / "sen12mscr20" / "cloudy"
    with pytest.raises(SceneError, match="would be invented"):
        decloud_scene(pairs / "2266.tif", tmp_path / "o.tif", white_is_opaque)
    for name in ("0316", "0581", "0746", "6553", "6780"):  # thin
        with open_scene(pairs / f"{name}.tif") as scene:
            assert calibrate(scene, Reading()).offset == 0


def test_noise_of_all_dn_is_a_scene(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 100, 90)))
    assert decloud_scene(src, tmp_path / "out.tif", darken).invented_fraction == 0
