"""An array is restored as its file would be, and what it cannot hold is refused in one line."""

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray
from rasterio.transform import from_origin

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import SceneError, UsageError
from geodecloud.raster.array import ArrayInfo
from geodecloud.raster.dataarray import info_of
from geodecloud.raster.provenance import Provenance
from geodecloud.restore_arrays import restore_array, restore_dataarray
from geodecloud.settings import Settings
from tests.conftest import darken, identity, noise, read, write_scene

RGB = {"bands": (1, 2, 3), "scale": 10000, "offset": 0}
SIZE = 70
CLOUD = np.zeros((SIZE, SIZE), bool)
CLOUD[20:50, 20:60] = True
HOLE = np.zeros((SIZE, SIZE), bool)
HOLE[:5] = True


def white_is_cloud(patches, _):
    """Answer like a network that changes nothing, and takes white for opaque cloud."""
    return np.concatenate([patches, (patches[:, :1] > 0.999).astype(np.float32)], axis=1)


def cloudy(bands=3):
    dn = np.where(CLOUD, 16000, noise((bands, SIZE, SIZE)) // 2 + 100)
    return np.where(HOLE, 0, dn).astype(np.uint16)


def opened(path, **options):
    with rioxarray.open_rasterio(path, **options) as data:
        return data.load()


@pytest.fixture
def src(tmp_path):
    """A scene with an opaque cloud and a hole, whose file states reflectance."""
    path = write_scene(tmp_path / "in.tif", cloudy(), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4,) * 3, (-0.01,) * 3
        file.descriptions = ("red", "green", "blue")
    return path


# --- nodata --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["masked", "mask_and_scale", "where", "where, nothing stated"])
def test_removed_cloud_is_nan_where_holes_are(src, how):
    if how.startswith("where"):
        data = opened(src)
        data = data.where(data != 0)
        if "nothing" in how:
            del data.attrs["_FillValue"]
    else:
        data = opened(src, **{how: True})
    restored, provenance = restore_dataarray(data, white_is_cloud, Settings(opaque="nodata"))
    np.testing.assert_array_equal(provenance == Provenance.CLOUD_REMOVED, CLOUD)
    for band in restored.values:
        np.testing.assert_array_equal(np.isnan(band), CLOUD | HOLE)
    np.testing.assert_array_equal(restored.values[:, ~CLOUD], data.values[:, ~CLOUD])


def test_a_decoded_pixel_may_have_the_value_that_means_nodata_in_the_file(src):
    dn = cloudy()
    dn[:, 60:65] = 100  # reflectance 0, like the file's nodata value
    with rasterio.open(src, "r+") as file:
        file.write(dn)
    data = opened(src, mask_and_scale=True)
    data.values[:, 60:65] = 0
    _, provenance = restore_dataarray(data, white_is_cloud, Settings())
    np.testing.assert_array_equal(provenance == Provenance.NODATA, HOLE)


def test_a_stated_nodata_value_that_pixels_have_means_nodata_beside_nan():
    data = xarray.DataArray(noise((3, 20, 20), "float32"), dims=("band", "y", "x"))
    data = data.assign_attrs(_FillValue=-9999.0)
    data[:, 0], data[:, 1, 1] = -9999, np.nan
    assert info_of(data).nodata == -9999
    assert np.isnan(info_of(data[:, 1:]).nodata)
    assert info_of(data[:, 2:]).nodata == -9999


@pytest.mark.parametrize("option", ["dst_nodata", "nodata"])
def test_a_dataarray_states_the_nodata_value_that_a_run_gave_it(tmp_path, option):
    dn = np.maximum(cloudy(), 100)
    data = opened(write_scene(tmp_path / "in.tif", dn))
    chosen = Settings(**RGB, opaque="nodata", **{option: 0})
    restored, provenance = restore_dataarray(data, white_is_cloud, chosen)
    assert restored.rio.nodata == 0
    assert (restored.values[:, provenance == Provenance.CLOUD_REMOVED] == 0).all()
    plain, _ = restore_dataarray(data, white_is_cloud, Settings(**RGB))
    assert plain.rio.nodata is None


# --- place ---------------------------------------------------------------------------------

PARTS = {
    "cut": lambda data: data[:, 10:40, 20:],
    "thinned": lambda data: data[:, ::2, ::3],
    "averaged": lambda data: data.coarsen(x=2, y=2, boundary="trim").mean(),
    "turned": lambda data: data[:, ::-1, ::-1],
    "sorted": lambda data: data.sortby("y"),
    "in float32": lambda data: data.assign_coords(x=data.x.astype("f4"), y=data.y.astype("f4")),
}


@pytest.mark.parametrize("part", PARTS)
def test_pixels_lie_where_their_coordinates_say(src, part):
    data = PARTS[part](opened(src))
    transform = info_of(data).transform
    for row, column in ((0, 0), (-1, -1)):
        inside = np.arange(data.sizes["x"])[column] + 0.5, np.arange(data.sizes["y"])[row] + 0.5
        place = float(data.x[column]), float(data.y[row])
        np.testing.assert_allclose(transform * inside, place, atol=0.5)  # float32


def test_a_whole_array_has_the_transform_of_its_file_to_the_last_bit(tmp_path):
    transform = from_origin(500000.1, 5500000.3, 14.999999999, 15.000000001)
    data = opened(write_scene(tmp_path / "in.tif", noise((3, 30, 31)), transform=transform))
    assert info_of(data).transform == transform
    assert info_of(data.drop_vars(["x", "y"])).transform == transform
    assert info_of(data[:, :1]).transform == transform


@pytest.mark.parametrize("axis", ["x", "y"])
def test_uneven_coordinates_are_refused(src, axis, tiny_model):
    data = opened(src)
    parts = [*range(20), *range(21, 40)]
    for uneven in (
        data.isel({axis: parts}),
        data.isel({axis: [0, 0]}),
        data.assign_coords({axis: np.full(SIZE, np.nan)}),
        data.assign_coords({axis: [f"{i}" for i in range(SIZE)]}),
    ):
        with pytest.raises(UsageError, match=f"coordinates {axis} are not evenly spaced"):
            geodecloud.decloud_dataarray(uneven, model=tiny_model)


def test_an_array_of_a_pixel_size_is_restored_as_its_file(tmp_path):
    dn = noise((3, 150, 140)) // 2 + 100
    dn[:, 40:90, 40:90] = 16000
    src = write_scene(tmp_path / "in.tif", dn, transform=from_origin(5e5, 5.5e6, 30, 30))
    chosen = Settings(**RGB, fill_limit=300, provenance=tmp_path / "p.tif")
    decloud_scene(src, tmp_path / "out.tif", white_is_cloud, chosen)
    info, same = ArrayInfo(pixel_size=30), Settings(**RGB, fill_limit=300)
    done = restore_array(dn, white_is_cloud, same, info=info)
    np.testing.assert_array_equal(done.array, read(tmp_path / "out.tif"))
    np.testing.assert_array_equal(done.provenance, read(tmp_path / "p.tif")[0])
    assert {Provenance.FILLED, Provenance.BEYOND_LIMIT} <= set(np.unique(done.provenance))
    codes = np.zeros((1, 150, 140), np.uint8)
    mask = write_scene(tmp_path / "mask.tif", codes)  # placed elsewhere, but of the same size
    clear = restore_array(dn, darken, Settings(**RGB, mask=mask), info=info)
    np.testing.assert_array_equal(clear.array, dn)


def test_a_cloud_mask_of_a_pixel_size_is_that_of_its_file(tmp_path, tiny_model):
    dn = noise((3, 150, 140))
    src = write_scene(tmp_path / "in.tif", dn, transform=from_origin(5e5, 5.5e6, 30, 30))
    geodecloud.mask_file(src, tmp_path / "m.tif", model=tiny_model, **RGB)
    found = geodecloud.cloud_mask(dn, pixel_size=30, model=tiny_model, **RGB)
    np.testing.assert_array_equal(found, read(tmp_path / "m.tif")[0])
    for wrong in (0, -30, "large", float("nan"), (30, 30)):
        with pytest.raises(UsageError, match=r"`pixel_size` is .* give metres"):
            geodecloud.cloud_mask(dn, pixel_size=wrong, model=tiny_model)


# --- attributes ----------------------------------------------------------------------------


def test_bands_keep_their_names_and_scales_when_they_are_selected(src):
    names, scales = ("B02", "B03", "B04", "B08"), (1e-4, 2e-4, 3e-4, 4e-4)
    data = xarray.concat([opened(src), opened(src)[:1]], "band").assign_coords(band=[1, 2, 3, 4])
    data = data.assign_attrs(long_name=names, scales=scales)
    for order in ([1, 2, 3, 4], [3, 2, 1, 4], [3, 2, 1], [4]):
        info = info_of(data.sel(band=order))
        assert info.descriptions == tuple(names[number - 1] for number in order)
        assert info.scales == tuple(scales[number - 1] for number in order)
    assert info_of(data.drop_vars("band")).descriptions == names
    del data.attrs["scales"]
    assert info_of(data.drop_vars("band")[:3]).descriptions == ()  # which three is not clear
    assert info_of(data[:3].assign_coords(band=[5, 6, 7])).descriptions == ()


def test_a_band_of_its_own_scale_is_treated_as_in_a_file(tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((5, 40, 40)))
    with rasterio.open(src, "r+") as file:
        file.descriptions = ("red", "green", "blue", "nir08", "lwir11")
        file.scales, file.offsets = (*(2.75e-5,) * 4, 0.003), (*(-0.01,) * 4, 149)
    report = geodecloud.decloud_file(src, tmp_path / "out.tif", model=tiny_model)
    assert len(report.others) == 1
    with pytest.warns(UserWarning, match="differ across bands"):
        data = opened(src)
    restored, _ = geodecloud.decloud_dataarray(data, model=tiny_model)
    np.testing.assert_array_equal(restored, read(tmp_path / "out.tif"))


def test_tags_of_a_file_count_as_attributes_too(tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((3, 40, 40)))
    with rasterio.open(src, "r+") as file:
        file.update_tags(BOA_ADD_OFFSET="-1000", AREA_OR_POINT="Point")
    report = geodecloud.decloud_file(src, tmp_path / "out.tif", model=tiny_model)
    assert report.radiometry.offset == -1000
    data = opened(src)
    restored, _ = geodecloud.decloud_dataarray(data, model=tiny_model)
    np.testing.assert_array_equal(restored, read(tmp_path / "out.tif"))
    renamed = {"s2:BOA_ADD_OFFSET": -1000, "s2:other": "a=b", "a=b": 1, "list": [1], 5: "five"}
    renamed |= {"bidx": 7, "a:ns": "b", "odd": "\udcff"}
    again, _ = geodecloud.decloud_dataarray(
        data.drop_attrs().assign_attrs(renamed),
        model=tiny_model,
        bands=(1, 2, 3),
    )
    np.testing.assert_array_equal(again, restored)


def test_a_restored_dataarray_is_refused_and_so_is_its_file(src, tmp_path, tiny_model):
    restored, _ = geodecloud.decloud_dataarray(opened(src), model=tiny_model)
    assert restored.attrs["GEODECLOUD_SOURCE"] == "the array"
    restored.rio.to_raster(tmp_path / "saved.tif")
    geodecloud.decloud_file(src, tmp_path / "out.tif", model=tiny_model)
    for again in (restored, opened(tmp_path / "out.tif")):
        with pytest.raises(SceneError, match=r"^the array: geodecloud has restored it already"):
            geodecloud.decloud_dataarray(again, model=tiny_model)
    with pytest.raises(SceneError, match="geodecloud has restored it already"):
        geodecloud.decloud_file(tmp_path / "saved.tif", tmp_path / "2.tif", model=tiny_model)
    geodecloud.decloud_dataarray(restored, model=tiny_model, force=True)


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ({"scale_factor": "abc"}, "scale_factor is 'abc': give a number"),
        ({"scale_factor": [1e-4, 1e-4]}, "one for each of its 3 bands"),
        ({"add_offset": ["a", None, 1]}, "add_offset"),
        ({"scales": (1, 2)}, "attribute scales is"),
        ({"_FillValue": np.nan}, "uint16, which cannot hold its nodata value"),
        ({"_FillValue": -1}, "set another by data.rio.write_nodata"),
        ({"_FillValue": (0, 0, 0)}, "nodata value"),
        ({"crs": "abc"}, "CRS cannot be read"),
    ],
)
def test_attributes_of_no_use_are_refused(src, attribute, words, tiny_model):
    data = opened(src).drop_vars("spatial_ref").assign_attrs(attribute)
    with pytest.raises(UsageError, match=words) as refused:
        geodecloud.decloud_dataarray(data, model=tiny_model)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "attribute",
    [
        {"scale_factor": "0.0001"},
        {"scale_factor": np.array([1e-4])},
        {"scale_factor": [1e-4, 1e-4, 1e-4]},
        {"scales": None},
        {"long_name": np.array(["red", "green", "blue"])},
        {"long_name": ["red", "green", "blue"]},
    ],
)
def test_attributes_may_be_written_in_several_ways(src, attribute):
    data = opened(src)
    plain, _ = restore_dataarray(data, darken, Settings())
    other, _ = restore_dataarray(data.assign_attrs(attribute), darken, Settings())
    np.testing.assert_array_equal(other, plain)


def test_names_that_are_no_texts_name_nothing(src):
    data = opened(src)
    for names in ([1, 2, 3], (None, None, None), 5, "reflectance"):
        restore_dataarray(data.assign_attrs(long_name=names), darken, Settings(bands=(1, 2, 3)))


# --- masked pixels -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("nodata", [None, 7])
def test_what_a_mask_hides_in_another_band_has_no_effect(dtype, nodata):
    dn = noise((5, 140, 130), dtype)  # GDAL takes the last of four bytes for alpha
    dn[dn == 7] = 8
    if dtype == "uint8":
        dn = dn // 2 + 10  # some values are free
    mask = np.zeros(dn.shape, bool)
    mask[3, :, :60] = True
    chosen = Settings(bands=(1, 2, 3), wavelengths=(842, 0), force=True)
    found = []
    for hidden in (dn.min(), dn.max()):
        array = np.ma.MaskedArray(np.where(mask, hidden, dn), mask)
        done = restore_array(array, darken, chosen, info=ArrayInfo(nodata=nodata))
        np.testing.assert_array_equal(done.array.mask, mask)
        assert (done.array.data[mask] == hidden).all()
        found.append(done)
    np.testing.assert_array_equal(found[0].array.filled(0), found[1].array.filled(0))
    np.testing.assert_array_equal(found[0].provenance, found[1].provenance)
    assert (found[0].array.data[3] != dn[3])[:, 60:].any()


def test_a_byte_array_that_uses_all_values_is_restored_all_the_same():
    dn = np.arange(5 * 64 * 64, dtype=np.uint8).reshape(5, 64, 64)
    mask = np.zeros(dn.shape, bool)
    mask[3, :5] = True
    chosen = Settings(bands=(1, 2, 3), wavelengths=(842, 0), force=True)
    done = restore_array(np.ma.MaskedArray(dn, mask), identity, chosen)
    np.testing.assert_array_equal(done.array.mask, mask)


def test_the_fourth_band_of_bytes_is_alpha_only_if_it_hides_or_shows():
    dn = noise((4, 70, 60), "uint8")
    dn[3, :20] = 0
    hidden = np.zeros(dn.shape[1:], bool)
    for near_infrared in (True, False):
        if not near_infrared:
            dn[3, 20:], hidden[:20] = 255, True
        chosen = Settings(force=True, wavelengths=(842,) if near_infrared else None)
        done = restore_array(dn, identity, chosen)
        np.testing.assert_array_equal(done.provenance == Provenance.NODATA, hidden)


# --- refusals ------------------------------------------------------------------------------


def test_a_dataarray_is_no_plain_array_but_has_a_mask(src, tmp_path, tiny_model):
    data = opened(src)
    for thing in (data, data.to_dataset(name="scene")):
        with pytest.raises(UsageError, match="call decloud_dataarray"):
            geodecloud.decloud_array(thing, model=tiny_model)
    geodecloud.mask_file(src, tmp_path / "m.tif", model=tiny_model)
    mask = geodecloud.cloud_mask(data.transpose("y", "x", "band"), model=tiny_model)
    np.testing.assert_array_equal(mask, read(tmp_path / "m.tif")[0])
    assert (mask.dims, mask.dtype, mask.rio.crs) == (("y", "x"), np.uint8, data.rio.crs)
    with pytest.raises(UsageError, match="`pixel_size` is given"):
        geodecloud.cloud_mask(data, pixel_size=30, model=tiny_model)


def test_what_is_no_dataarray_is_refused(src, tiny_model):
    data = opened(src)
    for thing, words in (
        (data.to_dataset(name="scene"), r"type Dataset: .*to_dataarray"),
        (data.values, "type ndarray: .*decloud_array"),
        (None, "type NoneType"),
        (str(src), "type str: .*open_rasterio"),
        (data.rename(y="lat", x="lon"), "rename columns to x"),
        (data[:, :0], "it is empty"),
        (data[:0], "it is empty"),
        (data[0], "bands, rows and columns"),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            geodecloud.decloud_dataarray(thing, model=tiny_model)
        assert "\n" not in str(refused.value)


def test_an_array_is_restored_whole(src, tiny_model):
    for restore, array in (
        (geodecloud.decloud_array, cloudy()),
        (geodecloud.cloud_mask, cloudy()),
        (geodecloud.decloud_dataarray, opened(src)),
    ):
        with pytest.raises(UsageError, match="`aoi` is 1,2,3,4: an array is restored whole"):
            restore(array, aoi=(1, 2, 3, 4), model=tiny_model)


def test_a_fill_limit_needs_the_size_of_the_pixels(tiny_model):
    with pytest.raises(UsageError, match="`fill_limit` is in metres: give `pixel_size`, too"):
        geodecloud.decloud_array(cloudy(), fill_limit=300, model=tiny_model, **RGB)


@pytest.mark.parametrize("nodata", [(0, 0, 0), "abc", np.zeros(3), float("inf"), False])
def test_a_nodata_value_of_an_array_is_one_number(nodata, tiny_model):
    with pytest.raises(UsageError, match=r"^`nodata` is .*: give a number, or nan"):
        geodecloud.decloud_array(cloudy(), nodata=nodata, model=tiny_model)


@pytest.mark.parametrize("nodata", [1.5, -1, 70000, float("nan")])
def test_integers_hold_whole_nodata_values_only(nodata, tiny_model):
    with pytest.raises(SceneError, match=r"uint16, which cannot hold .*; give another `nodata`"):
        geodecloud.decloud_array(cloudy(), nodata=nodata, model=tiny_model)


def test_lists_are_arrays_of_decimal_numbers(tiny_model):
    with pytest.raises(UsageError, match="give lists of equal lengths"):
        geodecloud.decloud_array([[1, 2], [3]], model=tiny_model)
    with pytest.raises(SceneError, match="nested lists of whole numbers are int64"):
        geodecloud.decloud_array(np.full((3, 9, 9), 700).tolist(), model=tiny_model)
