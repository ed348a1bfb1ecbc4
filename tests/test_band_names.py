"""Red, green and blue are found by the names that sensors and programs give to bands."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

import geodecloud
from geodecloud.errors import BandsWarning, SceneError, UsageError
from geodecloud.raster.bands import colour_of_file
from geodecloud.raster.scene import open_scene
from geodecloud.raster.source import find_source
from geodecloud.raster.wavelengths import find_other_bands
from geodecloud.settings import Reading
from tests.conftest import noise, write_scene

PLANETSCOPE = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
LANDSAT_7 = ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7")


def scene_of(path, names, colours=None, **tags):
    """A scene with these names of bands."""
    write_scene(path, noise((len(names), 8, 8)))
    with rasterio.open(path, "r+") as file:
        file.descriptions = names
        file.update_tags(**tags)
        if colours:
            file.colorinterp = [ColorInterp[colour] for colour in colours]
    return path


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (PLANETSCOPE, (6, 4, 2)),
        (("B4_count", "B3_count", "B2_count", "B4", "B3", "B2"), (4, 5, 6)),
        (("Red_stdDev", "Red", "Green", "Blue"), (2, 3, 4)),
        (("SR_B2", "SR_B3", "SR_B4"), (3, 2, 1)),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7"), (4, 3, 2)),
        (LANDSAT_7, (3, 2, 1)),
        (("SR_B1", "SR_B2", "SR_B3"), (3, 2, 1)),
        (("TOA_B2", "TOA_B3", "TOA_B4"), (3, 2, 1)),
        (
            ("nbart_coastal", "nbart_blue", "nbart_green", "nbart_red", "nbart_red_edge_1"),
            (4, 3, 2),
        ),
        (("sur_refl_b01", "sur_refl_b02", "sur_refl_b03", "sur_refl_b04"), (1, 4, 3)),
        (("B4, central wavelength 665 nm", "B3 (560 nm)", "Blue, 490"), (1, 2, 3)),
        (("B4_median", "B3_median", "B2_median"), (1, 2, 3)),
        (("B4_median", "B3", "B2", "B4"), (4, 2, 3)),
        (("green_red_ratio", "red", "green", "blue"), (2, 3, 4)),
        (("T33UXQ_20210410T102021_B04_60m", "B03_60m", "B02_60m", "B8A"), (1, 2, 3)),
        (("band_4", "Band 3", "band2"), (1, 2, 3)),
        (("Band 1 (Blue)", "Band 2 (Green)", "Band 3 (Red)", "Band 4 (NIR)"), (3, 2, 1)),
        (("B1: Blue", "B2: Green", "B3: Red", "B4: NIR"), (3, 2, 1)),
        (("1 - Blue", "2 - Green", "3 - Red"), (3, 2, 1)),
        (("2023-07-05_B02", "2023-07-05_B03", "2023-07-05_B04"), (3, 2, 1)),
        (("0_B2", "0_B3", "0_B4", "0_B8"), (3, 2, 1)),
        (("B02.tif", "B03.tif", "B04.tif"), (3, 2, 1)),
        (("B1", "B2", "B3", "B4", "B5", "B7"), (3, 2, 1)),
        (("B01", "B02", "B03", "B04"), (4, 3, 2)),
        (("B01", "B02", "B03", "B04", "B05", "B06", "B07"), (4, 3, 2)),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7", "ST_B6", "QA_PIXEL"), (3, 2, 1)),
        (("B1", "B2", "B3", "B4", "B5", "B6_VCID_1", "B6_VCID_2", "B7", "B8"), (3, 2, 1)),
        (("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11", "BQA"), (4, 3, 2)),
        (("Band 1: B02", "Band 2: B03", "Band 3: B04"), (3, 2, 1)),
        (("vis-red", "vis-green", "vis-blue"), (1, 2, 3)),
        (("TCI_R", "TCI_G", "TCI_B"), (1, 2, 3)),
        (("Red channel", "Green channel", "Blue channel"), (1, 2, 3)),
        (("/data/x/T33UXQ_B02_10m.jp2", "/data/x/T33UXQ_B03_10m.jp2", "/y/B04.jp2"), (3, 2, 1)),
        (("Sentinel-2 B4", "Sentinel-2 B3", "Sentinel-2 B2"), (1, 2, 3)),
    ],
)
def test_names_of_sensors_and_programs_are_known(tmp_path, names, bands):
    with open_scene(scene_of(tmp_path / "s.tif", names)) as scene:
        assert (scene.bands, scene.bands_from) == (bands, "by description")


def test_a_vrt_of_one_file_per_band_is_known_by_the_files(tmp_path):
    stems = [f"S2A_T18SVG_20210410T155819_{band}_10m" for band in ("B02", "B03", "B04", "B08")]
    for stem in stems:
        write_scene(tmp_path / f"{stem}.tif", noise((1, 8, 8)))
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{number}"><SimpleSource><SourceFilename '
        f'relativeToVRT="1">{stem}.tif</SourceFilename></SimpleSource></VRTRasterBand>'
        for number, stem in enumerate(stems, start=1)
    )
    path = tmp_path / "stack.vrt"
    path.write_text(f'<VRTDataset rasterXSize="8" rasterYSize="8">{bands}</VRTDataset>')
    with open_scene(path) as scene:
        assert (scene.bands, scene.bands_from) == ((3, 2, 1), "by description")
        assert [one.wavelength for one in find_other_bands(scene)] == [833]


def test_stated_wavelengths_tell_the_colours(tmp_path):
    for names in (
        ("492 nm", "560 nm", "665 nm", "842 nm"),
        ("0.49 um", "0.56 um", "0.66 um", "0.84 um"),
    ):
        with open_scene(scene_of(tmp_path / "s.tif", names)) as scene:
            assert (scene.bands, scene.bands_from) == ((3, 2, 1), "by wavelength")
            assert [round(one.wavelength, -1) for one in find_other_bands(scene)] == [840]
    path = scene_of(tmp_path / "tagged.tif", (None,) * 5)
    with rasterio.open(path, "r+") as file:
        for band, micrometres in enumerate((0.443, 0.49, 0.56, 0.665, 0.865), start=1):
            file.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=micrometres)
    with open_scene(path) as scene:
        assert scene.bands == (4, 3, 2)
        assert [one.wavelength for one in find_other_bands(scene)] == pytest.approx([443, 865])


@pytest.mark.parametrize("file", ["L8_2020.tif", "ls8.tif", "LC08_x.tif", "sen2.tif", "S2A_x.tif"])
def test_new_satellites_have_red_in_band_four(tmp_path, file):
    for names in (("B1", "B2", "B3", "B4"), ("B1", "B2", "B3", "B4", "B5", "B7")):
        with open_scene(scene_of(tmp_path / file, names)) as scene:
            assert scene.bands == (4, 3, 2)


def test_what_a_file_states_tells_the_bands_of_landsats_apart(tmp_path):
    names, colours = ("B1", "B2", "B3", "B4"), ("blue", "green", "red", "undefined")
    with open_scene(scene_of(tmp_path / "a.tif", names, colours)) as scene:
        assert (scene.bands, scene.bands_from) == ((3, 2, 1), "by colour interpretation")
    with open_scene(scene_of(tmp_path / "20200101_3B_AnalyticMS_SR.tif", names)) as scene:
        assert scene.bands == (3, 2, 1)
    path = scene_of(tmp_path / "b.tif", ("B3", "B2", "B1", "B4"))
    either = r"blue are 1,2,3\) .* \(4,1,2\); give `bands`"
    with pytest.raises(UsageError, match=either), open_scene(path):
        pass


@pytest.mark.parametrize(
    ("file", "tags"),
    [
        ("LE07_x.tif", {}),
        ("landsat7_2001.tif", {}),
        ("etm_2001.tif", {}),
        ("L5.tif", {}),
        ("x.tif", {"SPACECRAFT_ID": "LANDSAT_5"}),
    ],
)
def test_old_landsats_have_red_in_band_three(tmp_path, file, tags):
    with open_scene(scene_of(tmp_path / file, ("B1", "B2", "B3", "B4"), **tags)) as scene:
        assert scene.bands == (3, 2, 1)


@pytest.mark.parametrize(
    "names",
    [
        ("red", "B04", "green", "blue"),  # two fit equally
        ("B04_20220101", "B04_20220201", "B03", "B02"),
        ("B4_mean", "B4_median", "B3", "B2"),
        ("red", "green", "nir"),  # blue is not there
        ("B4_count", "B3_min", "x"),
        ("Bleu", "Vert", "Rouge", "PIR"),
        ("B12", "B40", "B11", "B20"),
        ("B1", "B2", "B3", "B4"),  # of Landsat 7 or of Landsat 8
        ("B3", "B2", "B1", "B4"),
        ("B1", "B2", "B3", "B4", "B5", "B6", "B7"),
        ("SR_B1", "SR_B2", "SR_B3", "SR_B4"),
        (None,) * 5,
        ("Band 1", "Band 2", "Band 3", "Band 4", "Band 5"),  # counted, not named
    ],
)
def test_where_names_leave_it_open_bands_are_asked_for(tmp_path, names):
    path = scene_of(tmp_path / "s.tif", names)
    with pytest.raises(UsageError, match="give `bands`"), open_scene(path):
        pass
    with open_scene(path, Reading(bands=(3, 2, 1))) as scene:
        assert scene.bands == (3, 2, 1)


def test_up_to_four_bands_without_names_are_assumed_with_a_warning(tmp_path):
    for names in (
        (None,) * 4,
        ("Band 1", "Band 2", "Band 3"),
        ("x_1", "x_2", "x_3", "x_4"),
        ("0", "1", "2"),
        ("band_data",) * 4,
    ):
        path = scene_of(tmp_path / "s.tif", names)
        with pytest.warns(BandsWarning, match="`bands`"), open_scene(path) as scene:
            assert scene.bands == (1, 2, 3)


def test_a_false_colour_picture_is_not_taken_for_a_true_one(tmp_path):
    colours = ("red", "green", "blue")
    path = scene_of(tmp_path / "s.tif", ("nir", "red", "green"), colours)
    with pytest.raises(UsageError, match="shown in red"), open_scene(path):
        pass


def test_planetscope_is_known_by_its_file(tmp_path):
    for count, bands in ((4, (3, 2, 1)), (8, (6, 4, 2))):
        path = scene_of(tmp_path / f"2022_3B_AnalyticMS_SR_{count}b.tif", (None,) * count)
        with open_scene(path) as scene:
            assert scene.bands == bands
            assert len(find_other_bands(scene)) == count - 3
            assert find_other_bands(scene)[-1].wavelength == 865
        path = scene_of(path, (None,) * (count + 1), (*("undefined",) * count, "alpha"))
        with open_scene(path) as scene:
            assert len(find_other_bands(scene)) == count - 3


@pytest.mark.parametrize(
    ("stem", "colour"),
    [
        ("LC08_L2SP_044034_20200101_20200113_02_T1_SR_B4", 0),
        ("T29UNU_20221005T115411_B03_10m", 1),
        ("x-B02_10m", 2),
        ("HLS.S30.T17MCV.2021001T102021.v2.0.B04", 0),
        ("coastal_blue", None),
        ("scene_red_edge", None),
        ("green_i", None),
        ("B4_count", None),
    ],
)
def test_a_files_name_ends_in_its_bands(stem, colour):
    fit = colour_of_file(stem, (4, 3, 2))
    assert (fit and fit[0]) == colour


def test_a_folder_of_an_old_landsat_is_read_by_its_own_numbers(tmp_path):
    dn = noise((4, 20, 20))
    for band in (1, 2, 3, 4):
        write_scene(tmp_path / f"LE07_L1TP_{band}_B{band}.TIF", dn[band - 1 : band])
    with open_scene(tmp_path) as scene:
        np.testing.assert_array_equal(scene.read(0, 20)[0], dn[[2, 1, 0, 3]])
    write_scene(tmp_path / "LM05_L1TP_B4.TIF", dn[:1])
    with pytest.raises(SceneError, match="no blue"):
        find_source(tmp_path)


@pytest.mark.parametrize("labels", ["band", "common_name", "long_name"])
def test_labels_of_a_dataarray_name_its_bands(tiny_model, labels):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("rioxarray")
    dn = noise((5, 70, 80))
    names = ["nir", "red", "green", "blue", "rededge"]
    data = xarray.DataArray(dn, dims=("band", "y", "x"))
    if labels == "band":
        data = data.assign_coords(band=names)
    elif labels == "common_name":
        data = data.assign_coords(common_name=("band", names))
    else:
        data.attrs["long_name"] = tuple(names)
    found, _ = geodecloud.decloud_dataarray(data, model=tiny_model)
    given, _ = geodecloud.decloud_dataarray(data, model=tiny_model, bands=(2, 3, 4))
    np.testing.assert_array_equal(found, given)
    with pytest.raises(UsageError, match="give `bands`"):
        geodecloud.decloud_dataarray(data.drop_vars(data.coords).drop_attrs(), model=tiny_model)
