"""Of products and folders of files, bands besides red, green and blue are read too."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import BandsWarning, SceneError, UsageError
from geodecloud.raster.scene import open_scene
from geodecloud.raster.wavelengths import find_other_bands
from geodecloud.restore.fill.reference import open_reference
from geodecloud.settings import Reading, Settings
from tests.conftest import darken, noise, read, write_scene
from tests.products import COARSE, write_product

DN = noise((3, 120, 180)) + np.uint16(1001)
LANDSAT = "LC08_L2SP_195025_20200701_20200710_02_T1"
HLS = "HLS.S30.T29UNU.2020123T101010.v2.0"


def coarse_bands():
    """Coarse bands of a product, by name."""
    return {
        band: noise((120 * 10 // metres, 180 * 10 // metres), seed=number) + np.uint16(1)
        for number, (band, metres) in enumerate(COARSE.items())
    }


def names_and_wavelengths(src, **reading):
    with open_scene(src, reading=Reading(**reading)) as scene:
        others = {one.index: one.wavelength for one in find_other_bands(scene)}
        names = scene.dataset.descriptions
    return {names[index]: nm for index, nm in others.items()} | {"count": len(names)}


def write_bands(folder, stems, size=40, metres=30, **profile):
    folder.mkdir(exist_ok=True)
    for number, stem in enumerate(stems):
        grid = from_origin(499980, 5900040, metres, metres)
        values = noise((1, size, size), seed=number)
        write_scene(folder / f"{stem}.tif", values, crs="EPSG:32629", transform=grid, **profile)
    return folder


@pytest.mark.parametrize(
    ("prefix", "stem"),
    [("", "qa_nir"), ("T33UUU_", "S2_std_B08"), ("clouds_", "MSK_B08"), ("", "VAA_B8A")],
)
def test_a_file_about_a_band_is_not_that_band(tmp_path, prefix, stem):
    bands = [f"{prefix}{name}" for name in ("red", "green", "blue")]
    folder = write_bands(tmp_path / "in", [*bands, stem])
    for wanted in (None, ("all",)):
        assert names_and_wavelengths(folder, extra_bands=wanted) == {"count": 3}
    write_bands(folder, [f"{prefix}nir"])
    assert names_and_wavelengths(folder) == {"nir": 842, "count": 4}


def test_all_bands_of_landsat_are_those_of_the_ground_without_a_warning(tmp_path):
    folder = write_bands(tmp_path / LANDSAT, [f"{LANDSAT}_SR_B{band}" for band in range(1, 8)])
    write_bands(folder, [f"{LANDSAT}_{name}" for name in ("SR_QA_AEROSOL", "QA_PIXEL", "ST_B10")])
    names = names_and_wavelengths(folder, extra_bands="all")
    assert names == {"B1": 443, "B5": 865, "B6": 1609, "B7": 2201, "count": 7}


def test_all_bands_of_a_product_are_brought_to_its_pixels(tmp_path):
    coarse = coarse_bands()
    root = write_product(tmp_path, DN, coarse=coarse)
    assert names_and_wavelengths(root, extra_bands="all") == {
        "B05": 705,
        "B08": 842,
        "B8A": 865,
        "B09": 945,
        "B11": 1610,
        "count": 8,
    }
    with open_scene(root, reading=Reading(extra_bands="all")) as scene:
        whole, _ = scene.read(0, 120)
        parts = [scene.read(first, min(first + 7, 120))[0] for first in range(0, 120, 7)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(whole[:3], DN)
    for index, band in ((3, "B05"), (5, "B8A"), (6, "B09"), (7, "B11")):
        times = COARSE[band] // 10
        np.testing.assert_array_equal(whole[index], coarse[band].repeat(times, 0).repeat(times, 1))


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_bands_are_chosen_by_name_in_any_spelling_and_in_the_users_order(tmp_path, level):
    root = write_product(tmp_path, DN, level, coarse=coarse_bands())
    for wanted in ("B11,B8A,B5", ["b11", "b8a", "Band 5"], ("B11", "B08A", "B05")):
        found = names_and_wavelengths(root, extra_bands=wanted)
        assert list(found) == ["B11", "B8A", "B05", "count"]
    assert names_and_wavelengths(root, extra_bands="B08,b8") == {"B08": 842, "count": 4}
    assert names_and_wavelengths(root, extra_bands="none") == {"count": 3}
    assert names_and_wavelengths(root, extra_bands=()) == {"count": 3}
    assert names_and_wavelengths(root) == {"B08": 842, "count": 4}


def test_red_green_and_blue_do_not_depend_on_the_bands_that_are_read(tmp_path):
    root = write_product(tmp_path, DN, coarse=coarse_bands())
    outs = {}
    for wanted in ("none", None, "B8A,B11"):
        out = tmp_path / f"{wanted}.tif"
        decloud_scene(root, out, darken, Settings(extra_bands=wanted))
        outs[wanted] = read(out)
        with rasterio.open(out) as file:
            assert (file.nodata, file.tags(1)["WAVELENGTH"]) == (0, "665")
    for other in (None, "B8A,B11"):
        np.testing.assert_array_equal(outs[other][:3], outs["none"])
    assert names_and_wavelengths(tmp_path / "B8A,B11.tif") == {
        "B8A": 865,
        "B11": 1610,
        "count": 5,
    }
    assert (outs[None][3] != DN[0] // 2).any()  # restored like the colours


def test_a_product_as_reference_has_all_bands_of_the_scene(tmp_path):
    root = write_product(tmp_path, DN, coarse=coarse_bands())
    with (
        open_scene(root, reading=Reading(extra_bands="B08,B11")) as scene,
        open_reference(root, scene, None, find_other_bands(scene)) as reference,
    ):
        assert reference.bands == [0, 1, 2, 3, 4]


def test_a_band_that_cannot_be_read_is_named(tmp_path):
    root = write_product(tmp_path, DN, coarse=coarse_bands())
    with pytest.raises(SceneError, match=r"band B12 of `extra_bands`.* B05, B08, B8A, B09, B11"):
        names_and_wavelengths(root, extra_bands="B12")
    next(root.rglob("*_B08_10m.jp2")).unlink()
    with pytest.raises(SceneError, match="B08_10m"):
        names_and_wavelengths(root, extra_bands="B08")
    with pytest.warns(BandsWarning, match="near infrared band B08 cannot be opened"):
        assert names_and_wavelengths(root) == {"count": 3}
    raster = write_scene(tmp_path / "one.tif", DN)
    with pytest.raises(UsageError, match="leave `extra_bands` out"):
        names_and_wavelengths(raster, extra_bands="B08")
    with pytest.raises(UsageError, match="give names like"):
        Reading(extra_bands="all,B08")


@pytest.mark.parametrize(
    ("stems", "near", "every"),
    [
        (
            [f"{LANDSAT}_SR_B{n}" for n in range(1, 8)]
            + [f"{LANDSAT}_QA_PIXEL", f"{LANDSAT}_ST_B10"],
            {"B5": 865},
            {"B1": 443, "B5": 865, "B6": 1609, "B7": 2201},
        ),
        (
            [
                f"HLS.S30.T29UNU.2020123T101010.v2.0.{n}"
                for n in ("B02", "B03", "B04", "B08", "B8A", "Fmask")
            ],
            {"B08": 833},
            {"B08": 833, "B8A": 865},
        ),
        (
            ["red", "green", "blue", "nir", "rededge1", "swir16", "scl", "aot"],
            {"nir": 842},
            {"rededge1": 704, "nir": 842, "swir16": 1610},
        ),
        (
            [f"LT05_L2SP_195025_20000701_20200910_02_T1_SR_B{n}" for n in (1, 2, 3, 4, 5, 7)],
            {"B4": 840},
            {"B4": 840, "B5": 1676, "B7": 2223},
        ),
    ],
)
def test_folders_of_files_as_they_are_delivered(tmp_path, stems, near, every):
    folder = write_bands(tmp_path / "scene", stems)
    assert names_and_wavelengths(folder) == {**near, "count": 4}
    assert names_and_wavelengths(folder, extra_bands="all") == {**every, "count": 3 + len(every)}


def test_near_infrared_of_other_pixels_or_another_type_is_not_read_unasked(tmp_path):
    folder = write_bands(tmp_path / "scene", ["red", "green", "blue"])
    write_bands(folder, ["nir08"], size=20, metres=60)
    with pytest.warns(BandsWarning, match=r"left out: .*nir08\.tif .*give `extra_bands` nir08"):
        assert names_and_wavelengths(folder) == {"count": 3}
    assert names_and_wavelengths(folder, extra_bands="nir08") == {"nir08": 865, "count": 4}
    write_bands(folder, ["nir"], nodata=7)
    with pytest.warns(BandsWarning, match=r"left out: nir\.tif has nodata 7, red has none"):
        assert names_and_wavelengths(folder) == {"count": 3}
    with pytest.warns(BandsWarning, match=r"band nir is left out: nir\.tif has nodata 7"):
        assert names_and_wavelengths(folder, extra_bands="all") == {"nir08": 865, "count": 4}
    with pytest.raises(SceneError, match=r"band nir .*nir\.tif has nodata 7"):
        names_and_wavelengths(folder, extra_bands="nir")
    write_bands(folder, ["nir"], size=80, metres=15)
    with pytest.raises(SceneError, match=r"band nir .*nir\.tif"):
        names_and_wavelengths(folder, extra_bands="nir")


def test_files_after_that_of_blue_are_further_bands(tmp_path):
    folder = write_bands(tmp_path / "scene", ["red", "green", "blue", "nir", "swir16", "scl"])
    files = [folder / f"{name}.tif" for name in ("red", "green", "blue", "swir16", "nir")]
    assert names_and_wavelengths(files) == {"swir16": 1610, "nir": 842, "count": 5}
    with pytest.raises(UsageError, match=r"scl\.tif.*does not say"):
        names_and_wavelengths([*files[:3], folder / "scl.tif"])
    other = write_bands(tmp_path / "other", ["nir"])
    with pytest.raises(UsageError, match="two files of band nir"):
        names_and_wavelengths([*files, other / "nir.tif"])


def test_the_command_and_python_take_names(tmp_path, cli, tiny_model):
    root = write_product(tmp_path, DN, coarse=coarse_bands())
    out = tmp_path / "o.tif"
    options = ["--extra-bands", "B08,B11", "--model", tiny_model]
    assert cli(root, out, *options).code == 0
    assert names_and_wavelengths(out) == {"B08": 842, "B11": 1610, "count": 5}
    mine = tmp_path / "p.tif"
    geodecloud.decloud_file(root, mine, model=tiny_model, extra_bands=("B08", "B11"))
    np.testing.assert_array_equal(read(mine), read(out))
    said = cli("info", root, "--extra-bands", "B11", "--json")
    assert '"4": 1610' in said.out


@pytest.mark.slow
def test_a_batch_takes_names(tmp_path, cli, tiny_model):
    root = write_product(tmp_path, DN, coarse=coarse_bands())
    options = ["--extra-bands", "B08,B11", "--model", tiny_model]
    assert cli("batch", root, tmp_path / "many", *options).code == 0
    (written,) = (tmp_path / "many").glob("*.tif")
    assert names_and_wavelengths(written) == {"B08": 842, "B11": 1610, "count": 5}
