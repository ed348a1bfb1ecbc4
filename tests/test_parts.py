"""Masks, areas, forms of output, STAC, arrays: what is requests for beside the pixels."""

import http.server
import json
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.shutil
import rioxarray
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pystac.validation.local_validator import get_local_schema_cache
from rasterio.enums import ColorInterp
from rasterio.transform import Affine, array_bounds, from_origin
from rasterio.warp import transform, transform_bounds
from referencing import Registry, Resource

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import (
    BandsWarning,
    FillWarning,
    GeoreferenceWarning,
    OutputError,
    SceneError,
    UsageError,
)
from geodecloud.raster import profile
from geodecloud.raster.aoi import find_area
from geodecloud.raster.array import ArrayInfo
from geodecloud.raster.grid import Grid
from geodecloud.raster.profile import refuse_unknown_options
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.scene import open_scene
from geodecloud.restore_arrays import restore_array
from geodecloud.settings import Output, Reading, Settings
from tests.conftest import darken, identity, noise, read, write_scene

GRID = from_origin(500000, 5500000, 10, 10)


def blacken(patches, _):
    """Answer like a network that sees thin cloud everywhere, over black ground."""
    return np.concatenate([patches * 0, np.full_like(patches[:, :1], 0.3)], axis=1)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "wide.tif", noise((3, 300, 400)))


# --- formats -------------------------------------------------------------------------------


def test_a_cog_is_one_and_so_is_its_provenance(tmp_path):
    from rio_cogeo.cogeo import cog_validate  # which takes a quarter of a second

    src = write_scene(tmp_path / "in.tif", noise((3, 140, 530)), nodata=0, compress="zstd")
    out, provenance = tmp_path / "out.tif", tmp_path / "p.tif"
    decloud_scene(src, out, darken, Settings(format="cog", provenance=provenance))
    for path in (out, provenance):
        assert cog_validate(path, strict=True, quiet=True) == (True, [], [])
    with rasterio.open(out) as file, rasterio.open(provenance, overview_level=0) as small:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.profile["compress"] == "zstd"
        assert len(file.overviews(1)) > 0
        assert set(np.unique(small.read(1))) <= set(np.unique(read(provenance)))  # nearest
    decloud_scene(src, tmp_path / "plain.tif", darken)
    np.testing.assert_array_equal(read(out), read(tmp_path / "plain.tif"))


def test_creation_options(cli, tmp_path, scene, tiny_model):
    out = tmp_path / "out.tif"
    options = ["--model", tiny_model, "--co", "COMPRESS=ZSTD", "--co", "TILED=YES"]
    assert cli(scene, out, *options, "--co", "BLOCKXSIZE=32", "--co", "BLOCKYSIZE=16").code == 0
    with rasterio.open(out) as file:
        assert (file.profile["compress"], file.block_shapes[0]) == ("zstd", (16, 32))
    cog = ["--format", "cog", "--co", "BLOCKSIZE=128", "--overwrite"]
    assert cli(scene, out, "--model", tiny_model, *cog).code == 0
    with rasterio.open(out) as file:
        assert file.block_shapes[0] == (128, 128)
    before = out.read_bytes()
    for wrong, words in (
        ("COMPRESS", "KEY=VALUE pairs"),
        ("COMPRESS=JPEG", "clear"),
        ("COLOUR=RED", "COLOUR"),
        ("COMPRESS=SOFT", "SOFT"),
        ("BLOCKYSIZE=7", "BLOCKYSIZE"),
        ("TFW=YES", "second file"),
        ("NBITS=12", "may not hold all"),
        ("PROFILE=BASELINE", "may not hold all"),
        ("STREAMABLE_OUTPUT=YES", "may not hold all"),
        ("DISCARD_LSB=3", "DISCARD_LSB=3, which would change clear pixels"),
        ("PREDICTOR=3", "has TILED=YES, PREDICTOR=3: PREDICTOR=3 is only supported"),
    ):
        done = cli(
            scene, out, "--model", tiny_model, "--overwrite", "--co", "TILED=YES", "--co", wrong
        )
        assert done.code == 2, (wrong, done.err)
        assert words.lower() in done.err.lower()
        assert out.read_bytes() == before
    for wrong in (
        *("BLOCKSIZE=x", "BLOCKSIZE=0", "BLOCKSIZE=100", "TILED=YES", "COMPRESS=SOFT"),
        *("PREDICTOR=9", "TARGET_SRS=EPSG:4326", "TILING_SCHEME=GoogleMapsCompatible"),
    ):
        with pytest.raises(UsageError, match=wrong.split("=")[0]):
            refuse_unknown_options(Output(format="cog", creation_options=(wrong,)))
    with pytest.raises(UsageError, match="gtiff or cog"):
        Output(format="png")


def test_a_creation_option_for_one_dtype_is_refused_for_the_others():
    for_floats = Output(creation_options=("COMPRESS=DEFLATE", "PREDICTOR=3"))
    refuse_unknown_options(for_floats, ["float32"])
    refuse_unknown_options(for_floats)  # of scenes whose dtypes are not known yet
    with pytest.raises(UsageError, match="only supported with Float32"):
        refuse_unknown_options(for_floats, ["uint16"])
    in_cog = Output(format="cog", creation_options=("COMPRESS=WEBP",))
    with pytest.raises(UsageError, match="requires 8 bit"):
        refuse_unknown_options(in_cog, ["uint16"])


def test_a_lossy_output_is_noticed(tmp_path, scene, monkeypatch):
    monkeypatch.setattr(profile, "_LOSING", ())  # nobody refuses what loses pixels
    with pytest.raises(OutputError, match="not as written"):
        decloud_scene(
            scene,
            tmp_path / "out.tif",
            identity,
            Settings(creation_options={"COMPRESS": "NONE", "NBITS": "9"}),
        )
    assert {path.name for path in tmp_path.iterdir()} == {"scene.tif"}


def test_the_default_is_deflated_and_tags_say_what_was_done(tmp_path, wide):
    out = tmp_path / "out.tif"
    report = decloud_scene(wide, out, blacken, Settings(mask=None), model_name="m sha256:1")
    with rasterio.open(out) as file:
        tags, structure = file.tags(), file.tags(ns="IMAGE_STRUCTURE")
    assert (structure["COMPRESSION"], structure["PREDICTOR"]) == ("DEFLATE", "2")
    assert float(tags["GEODECLOUD_CHANGED_FRACTION"]) == pytest.approx(report.changed_fraction)
    assert tags["GEODECLOUD_INVENTED_FRACTION"] == "0.000000"
    assert tags["GEODECLOUD_VERSION"] == geodecloud.__version__
    assert json.loads(tags["GEODECLOUD_CONFIG"])["window"] == 64


# --- masks ---------------------------------------------------------------------------------


def _changed(src: Path, **chosen: object) -> np.ndarray:
    out = src.parent / "out.tif"
    decloud_scene(
        src, out, blacken, Settings(overwrite=True, provenance=src.parent / "p.tif", **chosen)
    )
    with open_scene(src, reading=Reading(aoi=chosen.get("aoi"))) as scene:
        before = scene.read(0, scene.shape[0])[0]
    provenance = read(src.parent / "p.tif")[0]
    changed = (read(out) != before).any(axis=0)
    assert not changed[provenance == Provenance.MEASURED].any()
    return changed


def test_only_what_the_mask_calls_cloud_changes(wide):
    cells = np.zeros((1, 300, 400), "uint8")
    cells[0, 50:90, 30:200] = 9
    cells[0, 100:120] = 4
    mask = write_scene(wide.parent / "T1_SCL.tif", cells, transform=GRID)
    np.testing.assert_array_equal(_changed(wide, mask=mask), cells[0] == 9)
    np.testing.assert_array_equal(_changed(wide, mask=mask, mask_values=(4,)), cells[0] == 4)
    other = write_scene(wide.parent / "clouds.tif", cells, transform=GRID)
    np.testing.assert_array_equal(_changed(wide, mask=other), cells[0] > 0)


@pytest.mark.parametrize(
    ("name", "dtype", "values", "words"),
    [
        ("mask.tif", "uint16", (21824, 22280), "Landsat's QA_PIXEL, which are bits"),
        ("x_QA_PIXEL.TIF", "uint16", (1, 21952), "holds bits, by its name; give the `mask_values`"),
        ("HLS.L30.T33.Fmask.tif", "uint8", (64, 66), "classes or bits, by its name"),
        ("MSK_CLDPRB_20m.tif", "uint8", (0, 40), "by its name; give the `mask_values`"),
        ("mask.tif", "float32", (0, 0.4), "values between 0 and 1, like probabilities"),
    ],
)
def test_a_mask_of_which_not_all_but_0_is_cloud_is_refused(wide, name, dtype, values, words):
    cells = np.full((1, 300, 400), values[0], dtype)
    cells[0, 100:120] = values[1]
    mask = write_scene(wide.parent / name, cells, transform=GRID)
    with pytest.raises(UsageError, match=re.escape(words)):
        _changed(wide, mask=mask)
    if dtype != "float32":
        one = tuple(int(value) for value in values[1:])
        np.testing.assert_array_equal(_changed(wide, mask=mask, mask_values=one), cells[0] == one)


def test_a_mask_of_classes_says_which_mean_cloud(wide):
    cells = np.repeat([0, 4, 5, 6, 9], 60).astype("uint8")[None, :, None] * np.ones(400, "uint8")
    mask = write_scene(wide.parent / "classes.tif", cells, transform=GRID)
    for options in ({}, {"mask_buffer": 50}):
        with pytest.raises(UsageError, match=r"classes \(0, 4, 5, 6, 9\); give the `mask_values`"):
            _changed(wide, mask=mask, **options)
    np.testing.assert_array_equal(_changed(wide, mask=mask, mask_values=(9,)), cells[0] == 9)


def test_a_mask_under_which_nothing_changes_is_named(wide):
    def see_nothing(patches, _):
        return np.concatenate([patches, 0 * patches[:, :1]], axis=1)

    for value, warned in ((1, True), (0, False)):
        dn = np.full((1, 300, 400), value, "uint8")
        mask = write_scene(wide.parent / "m.tif", dn, transform=GRID)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FillWarning)
            chosen = Settings(mask=mask, overwrite=True)
            decloud_scene(wide, wide.parent / "o.tif", see_nothing, chosen)
        said = [str(one.message) for one in caught if one.category is FillWarning]
        assert [mask.name in message for message in said] == [True] * warned


def test_of_a_mask_of_several_bands_the_first_is_taken_with_a_warning(wide):
    cells = np.zeros((2, 300, 400), "uint8")
    cells[0, 100:120], cells[1] = 1, 1
    mask = write_scene(wide.parent / "m.tif", cells, transform=GRID, photometric="MINISBLACK")
    with pytest.warns(BandsWarning, match="has 2 bands; the first is taken for the cloud mask"):
        np.testing.assert_array_equal(_changed(wide, mask=mask), cells[0] == 1)


@pytest.mark.parametrize("name", ["sceneSCL.tif", "s2SCL_20m.tif", "T1_scl.tif"])
def test_a_scene_classification_is_known_by_its_name(wide, name):
    cells = np.full((1, 300, 400), 4, "uint8")
    cells[0, 100:120] = 9
    mask = write_scene(wide.parent / name, cells, transform=GRID)
    np.testing.assert_array_equal(_changed(wide, mask=mask), cells[0] == 9)


@pytest.mark.parametrize("metres", [20, 60, 5])
def test_a_mask_of_another_resolution_is_laid_on_by_nearest(wide, metres):
    rng = np.random.default_rng(metres)
    cells = rng.integers(0, 2, (1, 3000 // metres, 4000 // metres)).astype("uint8")
    mask = write_scene(
        wide.parent / "m.tif", cells, transform=from_origin(500000, 5500000, metres, metres)
    )
    # The cell under the centre of each pixel.
    rows = ((np.arange(300) + 0.5) * 10 // metres).astype(int)
    columns = ((np.arange(400) + 0.5) * 10 // metres).astype(int)
    inside = (rows < cells.shape[1])[:, None] & (columns < cells.shape[2])
    expected = cells[0][np.minimum(rows, cells.shape[1] - 1)][
        :, np.minimum(columns, cells.shape[2] - 1)
    ].astype(bool)
    np.testing.assert_array_equal(_changed(wide, mask=mask), expected & inside)


def test_masks_elsewhere_in_another_crs_with_nodata_or_an_area(wide):
    ones = np.ones((1, 100, 100), "uint8")
    part = write_scene(wide.parent / "part.tif", ones, transform=GRID, nodata=0)
    expected = np.zeros((300, 400), bool)
    expected[:100, :100] = True
    np.testing.assert_array_equal(_changed(wide, mask=part), expected)
    area = "500500,5499300,501500,5499800"  # columns 50-150, rows 20-70
    np.testing.assert_array_equal(_changed(wide, mask=part, aoi=area), expected[20:70, 50:150])
    west, _, east, north = transform_bounds(
        "EPSG:32633", "EPSG:4326", *array_bounds(300, 400, GRID)
    )
    size = (east - west) / 800
    degrees = write_scene(
        wide.parent / "degrees.tif",
        np.ones((1, 900, 900), "uint8"),
        crs="EPSG:4326",
        transform=from_origin(west - 20 * size, north + 20 * size, size, size),
    )
    assert _changed(wide, mask=degrees).all()
    elsewhere = write_scene(
        wide.parent / "far.tif", ones, transform=from_origin(0, 5500000, 10, 10)
    )
    unplaced = write_scene(wide.parent / "unplaced.tif", ones, crs=None)
    for mask, words in ((elsewhere, "another area"), (unplaced, "no CRS"), (wide / "x", "no such")):
        with pytest.raises(SceneError, match=words):
            _changed(wide, mask=mask)
    text = wide.parent / "text.tif"
    text.write_text("no mask")
    with pytest.raises(SceneError, match="opened as a mask"):
        _changed(wide, mask=text)
    with pytest.raises(OutputError, match="input itself"):
        decloud_scene(wide, part, identity, Settings(mask=part, overwrite=True))


def test_masks_that_lie_upside_down_or_have_alpha_or_holes(wide):
    upside_down = Affine(10, 0, 500000, 0, 10, 5497000)
    south_up = write_scene(wide.parent / "south.tif", read(wide), transform=upside_down)
    part = np.zeros((1, 300, 400), "float32")
    part[0, 50:90, 30:200] = 1
    mask = write_scene(wide.parent / "m.tif", part, transform=GRID)
    np.testing.assert_array_equal(_changed(south_up, mask=mask), part[0, ::-1] > 0)
    coloured = np.concatenate([part, part, part, np.ones_like(part)]).astype("uint8") * 255
    coloured = np.pad(coloured, ((0, 0), (0, 9), (0, 9)))
    rgba = write_scene(wide.parent / "rgba.tif", coloured, transform=GRID, photometric="rgb")
    with rasterio.open(rgba, "r+") as file:
        file.colorinterp = (*file.colorinterp[:3], ColorInterp.alpha)
    np.testing.assert_array_equal(_changed(wide, mask=rgba), part[0] > 0)
    holes = write_scene(wide.parent / "nan.tif", np.where(part, part, np.nan), transform=GRID)
    np.testing.assert_array_equal(_changed(wide, mask=holes), part[0] > 0)


# --- areas ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_an_area_is_the_pixels_that_it_touches(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "area.tif"
    dn = noise((3, 60, 80))
    step = data.draw(st.sampled_from([(10, -10), (10, 10), (0.1, -0.3)]))
    transform = Affine(step[0], 0, 1000, 0, step[1], 5000)
    write_scene(path, dn, transform=transform)
    left, right = sorted(data.draw(st.tuples(st.integers(0, 79), st.integers(1, 80))))
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, 59), st.integers(1, 60))))
    inset = data.draw(st.floats(0, 0.4))
    if left == right or top == bottom:
        return
    corners = [transform * (left + inset, top + inset), transform * (right - inset, bottom - inset)]
    x, y = zip(*corners, strict=True)
    aoi = f"{min(x)!r},{min(y)!r},{max(x)!r},{max(y)!r}"
    with open_scene(path, reading=Reading(aoi=aoi)) as scene:
        got, _ = scene.read(0, scene.shape[0])
        np.testing.assert_array_equal(got, dn[:, top:bottom, left:right])
        assert scene.transform * (0, 0) == pytest.approx(transform * (left, top))


def test_an_area_comes_out_on_the_grid(tmp_path, wide):
    aoi = "500501,5498001,501999,5499499"
    out, provenance = tmp_path / "out.tif", tmp_path / "p.tif"
    report = decloud_scene(wide, out, identity, Settings(aoi=aoi, provenance=provenance))
    assert (report.height, report.width) == (150, 150)
    np.testing.assert_array_equal(read(out), read(wide)[:, 50:200, 50:200])
    with rasterio.open(out) as file, rasterio.open(provenance) as codes:
        assert file.transform == codes.transform == from_origin(500500, 5499500, 10, 10)


def test_an_area_is_smaller_than_the_overviews_of_its_file(tmp_path, wide):
    with rasterio.open(wide, "r+") as file:
        file.build_overviews([2, 4, 8, 16, 32, 64, 128, 256])
    out = tmp_path / "out.tif"
    decloud_scene(wide, out, identity, Settings(aoi="500500,5499000,500700,5499200"))
    with rasterio.open(out) as file:
        assert len(file.overviews(1)) == 4  # the last is of 2 x 2 pixels


def test_an_area_as_geojson(tmp_path, wide):
    bounds = (500500, 5498000, 502000, 5499500)
    west, south, east, north = transform_bounds("EPSG:32633", "EPSG:4326", *bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    features = {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": polygon}]}
    aoi = tmp_path / "aoi.geojson"
    for thing in (polygon, features, {"type": "GeometryCollection", "geometries": [polygon]}):
        aoi.write_text(json.dumps(thing))
        with open_scene(wide, reading=Reading(aoi=aoi)) as scene:
            left, bottom, right, top = array_bounds(*scene.shape, scene.transform)
        assert left <= bounds[0] + 10
        assert right >= bounds[2] - 10
        assert abs(top - bounds[3]) <= 20
        assert abs(bottom - bounds[1]) <= 20
    x, y = ((bounds[0], bounds[2]), (bounds[1], bounds[3]))
    ring = [[x[0], y[0]], [x[1], y[0]], [x[1], y[1]], [x[0], y[0]]]
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    aoi.write_text(json.dumps({"type": "Polygon", "coordinates": [ring], "crs": named}))
    with open_scene(wide, reading=Reading(aoi=aoi)) as scene:
        assert (scene.shape, scene.area.col_off) == ((150, 150), 50)


def _touched(scene, west, south, east, north):
    """The rows and columns of the pixels whose centres lie in a rectangle of degrees."""
    rows, columns = (places.ravel() for places in np.indices(scene.shape))
    x, y = scene.transform * (columns + 0.5, rows + 0.5)
    longitude, latitude = np.array(transform(scene.crs, "OGC:CRS84", x, y))
    longitude += 360 * np.round(((west + east) / 2 - longitude) / 360)
    inside = (longitude > west) & (longitude < east) & (latitude > south) & (latitude < north)
    return rows[inside], columns[inside]


def _area(path, *rectangles):
    """Write rectangles of degrees as GeoJSON."""
    rings = [
        [[west, south], [east, south], [east, north], [west, north], [west, south]]
        for west, south, east, north in rectangles
    ]
    geometry = {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}
    path.write_text(json.dumps(geometry))
    return path


PLACES = {  # left, top, pixel
    "EPSG:32633": (600000, 5500000, 1000),
    "EPSG:32601": (200000, 7000000, 500),  # from the other side of the antimeridian
    "EPSG:3413": (-40000, 40000, 1000),  # around the pole
    "EPSG:3035": (4300000, 3100000, 2000),
    "EPSG:4326": (179.92, -17, 0.002),
    "EPSG:4272": (179.92, -17, 0.002),  # of another datum
    "OGC:CRS84": (-180.04, 60, 0.001),
}


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_an_area_in_degrees_loses_no_ground(tmp_path_factory, data):
    """The edges of a rectangle of degrees are curved in the scene, and longitudes may turn."""
    folder = tmp_path_factory.getbasetemp()
    crs = data.draw(st.sampled_from(sorted(PLACES)))
    left, top, step = PLACES[crs]
    place = {"crs": crs, "transform": from_origin(left, top, step, step)}
    with rasterio.open(write_scene(folder / "degrees.tif", noise((1, 70, 80)), **place)) as scene:
        west, south, east, north = Grid.of(scene).bounds_in("OGC:CRS84")
        east += 360 * (east < west)
        places = st.lists(st.integers(-20, 60), min_size=2, max_size=2, unique=True).map(sorted)
        x, y = (
            [first + place / 40 * (last - first) for place in data.draw(places)]
            for first, last in ((west, east), (south, north))
        )
        box = (x[0], max(-90, y[0]), x[1], min(90, y[1]))
        rows, columns = _touched(scene, *box)
        turn = -360 if x[0] > 0 and data.draw(st.booleans()) else 0
        if not rows.size:
            return
        area = _area(folder / "degrees.json", (box[0] + turn, box[1], box[2] + turn, box[3]))
        (first, last), (begin, end) = find_area(scene, area).toranges()
    assert first <= rows.min() <= rows.max() < last
    assert begin <= columns.min() <= columns.max() < end


def test_a_wide_area_is_as_low_as_its_edge_is_in_the_scene(tmp_path):
    place = {"crs": "EPSG:32633", "transform": from_origin(600000, 5500020, 100, 100)}
    path = write_scene(tmp_path / "s.tif", noise((1, 600, 500)), **place)
    area = _area(tmp_path / "a.json", (12, 49.23, 18, 51))
    with rasterio.open(path) as scene:
        rows, _ = _touched(scene, 12, 49.23, 18, 51)
        (first, last), columns = find_area(scene, area).toranges()
    assert (first, columns) == (0, (0, 500))
    assert rows.max() < last <= rows.max() + 3


@pytest.mark.parametrize("crs", PLACES)
def test_an_area_of_the_whole_world_is_the_whole_scene(tmp_path, crs):
    left, top, step = PLACES[crs]
    place = {"crs": crs, "transform": from_origin(left, top, step, step)}
    path = write_scene(tmp_path / "s.tif", noise((1, 70, 80)), **place)
    with rasterio.open(path) as scene:
        area = find_area(scene, _area(tmp_path / "a.json", (-180, -90, 180, 90)))
        assert area.toranges() == ((0, 70), (0, 80))


def test_an_area_that_is_split_at_the_antimeridian_is_whole(tmp_path):
    place = {"crs": "EPSG:4326", "transform": from_origin(179.92, -17, 0.002, 0.002)}
    path = write_scene(tmp_path / "s.tif", noise((1, 70, 80)), **place)
    east, west = (179.95, -17.1, 180, -17.05), (-180, -17.1, -179.951, -17.05)
    with rasterio.open(path) as scene:
        both = find_area(scene, _area(tmp_path / "a.json", east, west, (1, 2, 3, 4)))
        assert both.toranges() == ((25, 50), (15, 65))
        assert find_area(scene, _area(tmp_path / "a.json", west)).col_off == 40
        with pytest.raises(UsageError, match="outside the scene"):
            find_area(scene, _area(tmp_path / "a.json", (-179.9, -17.1, 179.9, -17.05)))


BAD_AREAS = {
    "1,2,3": "neither",
    "5,5,1,1": "left < right",
    "nan,0,1,1": "left < right",
    "0,0,10,10": "outside",
    "none.geojson": "neither",
    "{": "not a GeoJSON",
    '{"type": "Point"}': "not a GeoJSON",
    '{"type": "Point", "coordinates": []}': "has no geometry",
    "[]": "not a GeoJSON",
    '{"type": "FeatureCollection", "features": []}': "has no geometry",
    '{"type": "Point", "coordinates": [1, 2], "crs": {"properties": {}}}': "not a GeoJSON",
}


@pytest.mark.parametrize("text", BAD_AREAS)
def test_areas_that_are_none(tmp_path, scene, text):
    aoi = text
    if text[0] in "{[":
        aoi = tmp_path / "aoi.geojson"
        aoi.write_text(text)
    with (
        pytest.raises(UsageError, match=BAD_AREAS[text]),
        open_scene(scene, reading=Reading(aoi=aoi)),
    ):
        pass


# --- STAC ----------------------------------------------------------------------------------


def _schema_errors(document: dict) -> list[str]:
    """Return where an item breaks STAC's core schemas, which pystac ships without extensions."""
    schemas = get_local_schema_cache()
    known = [(uri, Resource.from_contents(schema)) for uri, schema in schemas.items()]
    core = next(schema for uri, schema in schemas.items() if uri.endswith("/item.json"))
    validator = Draft7Validator(core, registry=Registry().with_resources(known))
    assert not validator.is_valid({**document, "bbox": "here"})
    return [error.message for error in validator.iter_errors(document)]


def test_the_item_beside_the_output(cli, tmp_path, tiny_model):
    src = write_scene(tmp_path / "S2_20210410T101559_x.tif", noise((4, 90, 80)), nodata=0)
    out = tmp_path / "out.tif"
    options = ["--offset", "-1000", "--format", "cog", "--stac", "--provenance", tmp_path / "p.tif"]
    options += ["--opacity", tmp_path / "o.tif"]
    assert cli(src, out, *options, "--model", tiny_model).code == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert _schema_errors(document) == []
    item = pystac.Item.from_dict(document)
    assert item.datetime.isoformat() == "2021-04-10T10:15:59+00:00"
    assert [link.href for link in item.get_links("derived_from")] == [str(src)]
    assert item.properties["proj:code"] == "EPSG:32633"
    assert item.properties["proj:shape"] == [90, 80]
    assert item.properties["processing:software"] == {"geodecloud": geodecloud.__version__}
    bands = item.assets["data"].extra_fields["raster:bands"]
    assert bands[0] == {"nodata": 0, "data_type": "uint16", "scale": 1e-4, "offset": -0.1}
    assert "scale" not in bands[3]  # its wavelength is not known
    assert {name: asset.href for name, asset in item.assets.items()} == {
        "data": "./out.tif",
        "provenance": "./p.tif",
        "opacity": "./o.tif",
    }
    assert (out.parent / item.assets["data"].href).exists()
    west, south, east, north = item.bbox
    with rasterio.open(out) as file:
        expected = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    assert (west, south, east, north) == pytest.approx(expected)
    assert cli(src, out, *options, "--model", tiny_model).code == 1  # exists already


def test_an_item_has_the_scale_of_restored_bands_and_the_day_of_hls(tmp_path):
    src = write_scene(tmp_path / "HLS.S30.T18SVG.2021100T155819.v2.0.tif", noise((4, 90, 80)) // 8)
    with rasterio.open(src, "r+") as file:
        file.descriptions = ("B04", "B03", "B02", "B08")
    decloud_scene(src, tmp_path / "out.tif", identity, Settings(stac=True, scale=10_000, offset=0))
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["properties"]["datetime"] == "2021-04-10T15:58:19Z"
    bands = document["assets"]["data"]["raster:bands"]
    assert [band.get("scale") for band in bands] == [1e-4] * 4


PLANET, SENTINEL = "20190302_102441_1025_3B_AnalyticMS.tif", "S2A_MSIL2A_20210410T100031.tif"


@pytest.mark.parametrize(
    ("name", "made", "says"),
    [
        (SENTINEL, "2025:01:01 10:00:00", "2021-04-10T10:00:31Z"),
        (PLANET, "2019:03:04 01:02:03", "2019-03-02T10:24:41Z"),
        ("LC08_L2SP_190026_20210410_20210416_02_T1.tif", None, "2021-04-10T00:00:00Z"),
        ("S2_2021-04-10.tif", "2025:01:01 10:00:00", "2021-04-10T00:00:00Z"),
        ("MOD09GA.A2020123.h18v04.tif", "2025:01:01 10:00:00", "2020-05-02T00:00:00Z"),
        ("in_2012345.tif", "2025:01:01 10:00:00", "2025-01-01T10:00:00Z"),
    ],
)
def test_a_scene_is_older_than_its_file(tmp_path, name, made, says):
    src = write_scene(tmp_path / name, noise((3, 30, 30)))
    with rasterio.open(src, "r+") as file:
        file.update_tags(**({"TIFFTAG_DATETIME": made} if made else {}))
    with warnings.catch_warnings(action="ignore"):
        report = decloud_scene(src, tmp_path / "out.tif", identity, Settings(stac=True, force=True))
    guessed = [text for text in report.warnings if "says when its file was made" in text]
    assert len(guessed) == name.startswith("in")
    assert json.loads((tmp_path / "out.json").read_text())["properties"]["datetime"] == says


@pytest.mark.parametrize(
    "place",
    [
        {"crs": "EPSG:32660", "transform": from_origin(667000, 6654000, 10, 10)},
        {"crs": "EPSG:4326", "transform": from_origin(179.95, -17, 0.001, 0.001)},
        {"crs": "EPSG:4326", "transform": from_origin(-180.05, -17, 0.001, 0.001)},
    ],
)
def test_a_footprint_is_cut_at_the_antimeridian(tmp_path, place):
    src = write_scene(tmp_path / "in.tif", noise((3, 100, 100)), **place)
    with pytest.warns(GeoreferenceWarning, match="when it was taken"):
        decloud_scene(src, tmp_path / "out.tif", identity, Settings(stac=True))
    document = json.loads((tmp_path / "out.json").read_text())
    assert _schema_errors(document) == []
    assert document["bbox"][0] > document["bbox"][2]
    west, east = (ring for (ring,) in document["geometry"]["coordinates"])
    assert [min(x for x, _ in west), max(x for x, _ in west)] == [document["bbox"][0], 180]
    assert [min(x for x, _ in east), max(x for x, _ in east)] == [-180, document["bbox"][2]]


@pytest.mark.parametrize("nodata", [np.nan, None])
@pytest.mark.parametrize("crs", [None, 'LOCAL_CS["site",UNIT["metre",1]]'])
def test_items_of_scenes_without_place_or_time(tmp_path, nodata, crs):
    src = write_scene(tmp_path / "in.tif", noise((3, 30, 30), "float32"), crs=crs, nodata=nodata)
    with pytest.warns(GeoreferenceWarning, match="when it was taken"):
        decloud_scene(src, tmp_path / "out.tif", identity, Settings(stac=True))
    document = json.loads((tmp_path / "out.json").read_text())
    assert _schema_errors(document) == []
    assert document["geometry"] is None
    assert document["properties"]["proj:transform"][2] == 500000


def test_the_item_of_a_scene_without_a_transform_has_none(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 30, 30)), crs=None, transform=None)
    with pytest.warns(GeoreferenceWarning):
        decloud_scene(src, tmp_path / "out.tif", identity, Settings(stac=True))
    document = json.loads((tmp_path / "out.json").read_text())
    assert _schema_errors(document) == []
    assert "proj:transform" not in document["properties"]


# --- arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_an_array_goes_the_way_of_a_file(tmp_path, dtype):
    dn = noise((4, 90, 80), dtype)
    dn[:, :20] = 0
    src = write_scene(tmp_path / "in.tif", dn, nodata=0)
    chosen = Settings(bands=(3, 2, 1), provenance=tmp_path / "p.tif")
    decloud_scene(src, tmp_path / "out.tif", darken, chosen)
    done = restore_array(dn, darken, Settings(bands=(3, 2, 1)), info=ArrayInfo(nodata=0))
    np.testing.assert_array_equal(done.array, read(tmp_path / "out.tif"))
    np.testing.assert_array_equal(done.provenance, read(tmp_path / "p.tif")[0])
    assert done.array.dtype == dn.dtype


def test_a_placed_mask_goes_with_an_array_of_its_size(tmp_path):
    dn = noise((3, 90, 80))
    cells = np.zeros((1, 90, 80), "uint8")
    cells[0, 30:50] = 1
    mask = write_scene(tmp_path / "mask.tif", cells)
    done = restore_array(dn, blacken, Settings(mask=mask))
    np.testing.assert_array_equal(done.provenance > 0, cells[0] > 0)


def test_a_dataarray_with_an_offset_alone_is_read_as_its_file(tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((3, 40, 40)))
    with rasterio.open(src, "r+") as file:
        file.offsets = (-1000.0,) * 3
    with rioxarray.open_rasterio(src) as data:
        restored, _ = geodecloud.decloud_dataarray(data, model=tiny_model)
    report = geodecloud.decloud_file(src, tmp_path / "out.tif", model=tiny_model)
    assert report.radiometry.offset == -1000
    np.testing.assert_array_equal(restored.values, read(tmp_path / "out.tif"))


def test_arrays_that_are_none(tiny_model):
    for array, words in (
        (np.zeros((5, 5)), "moveaxis"),
        (np.zeros((3, 0, 5)), "empty"),
        (np.zeros((2, 5, 5)), r"2 band"),
        (np.zeros((3, 5, 5), complex), "complex"),
        (np.zeros((3, 5, 5), "U1"), "convert to one type of uint8"),
        (np.zeros((3, 5, 5), "float16"), "float16 bands; convert to one type of uint8"),
        (np.zeros((3, 5, 5), bool), "bool bands; convert to one type of uint8"),
        (np.zeros((50, 60, 3)).tolist(), "moveaxis"),
        (np.zeros((3, 5, 5), "uint64"), "uint64"),
    ):
        with pytest.raises(geodecloud.errors.GeodecloudError, match=words):
            geodecloud.decloud_array(array, model=tiny_model)
    with pytest.raises(geodecloud.errors.GeodecloudError, match="nodata"):
        geodecloud.decloud_array(np.zeros((3, 5, 5), "uint8"), nodata=-1, model=tiny_model)
    with pytest.raises(UsageError, match="leave out `stac`"):
        geodecloud.decloud_array(noise((3, 9, 9)), Settings(stac=True), model=tiny_model)


@pytest.mark.parametrize("other", [lambda dn: dn.astype(">f4"), lambda dn: dn.tolist()])
def test_an_array_may_have_another_byte_order_or_be_lists(tiny_model, other):
    dn = noise((3, 20, 30), "float32")
    restored = geodecloud.decloud_array(other(dn), model=tiny_model).array
    np.testing.assert_allclose(
        restored, geodecloud.decloud_array(dn, model=tiny_model).array, rtol=1e-6
    )


def test_a_dataarray_keeps_what_it_says(tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((4, 90, 80)), nodata=7)
    with rasterio.open(src, "r+") as file:
        file.descriptions = ("B02", "B03", "B04", "B08")
        file.scales, file.offsets = (2e-5,) * 4, (-0.1,) * 4
    with rioxarray.open_rasterio(src) as data:
        restored, provenance = geodecloud.decloud_dataarray(data, model=tiny_model)
        report = geodecloud.decloud_file(src, tmp_path / "out.tif", model=tiny_model)
        assert (report.radiometry.scale, report.bands) == (pytest.approx(50000), (3, 2, 1))
        np.testing.assert_array_equal(restored.values, read(tmp_path / "out.tif"))
        assert data.attrs.items() <= restored.attrs.items()
        assert restored.coords.equals(data.coords)
        assert (restored.rio.crs, restored.rio.nodata) == (data.rio.crs, 7)
        assert (provenance.dims, provenance.dtype) == (("y", "x"), np.uint8)
        assert provenance.rio.transform() == data.rio.transform()
        turned, _ = geodecloud.decloud_dataarray(data.transpose("y", "x", "band"), model=tiny_model)
        np.testing.assert_array_equal(turned.transpose(*data.dims), restored)
        with pytest.raises(UsageError, match="dimensions"):
            geodecloud.decloud_dataarray(data[0], model=tiny_model)


# --- the network ---------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of a server on this machine, and the list of the paths that it was asked for."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", requests
        running.shutdown()
        thread.join()


WMS = (
    '&lt;GDAL_WMS&gt;&lt;Service name="TMS"&gt;&lt;ServerUrl&gt;{url}/${{z}}/${{x}}/${{y}}.png'
    "&lt;/ServerUrl&gt;&lt;/Service&gt;&lt;DataWindow&gt;&lt;UpperLeftX&gt;0&lt;/UpperLeftX&gt;"
    "&lt;UpperLeftY&gt;9&lt;/UpperLeftY&gt;&lt;LowerRightX&gt;9&lt;/LowerRightX&gt;"
    "&lt;LowerRightY&gt;0&lt;/LowerRightY&gt;&lt;TileLevel&gt;4&lt;/TileLevel&gt;&lt;/DataWindow"
    "&gt;&lt;Projection&gt;EPSG:3857&lt;/Projection&gt;&lt;BandsCount&gt;3&lt;/BandsCount&gt;"
    "&lt;/GDAL_WMS&gt;"
)


@pytest.mark.parametrize(
    "source", ["/vsicurl/{url}/a.tif", "/vsicurl_streaming/{url}/b.tif", "{url}/c.tif", WMS]
)
def test_a_vrt_does_not_reach_the_network_unless_asked(tmp_path, server, source, monkeypatch):
    url, requests = server
    monkeypatch.setenv("no_proxy", "*")
    band = (
        '<VRTRasterBand dataType="Byte" band="BAND"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{source.format(url=url)}</SourceFilename>'
        "</SimpleSource></VRTRasterBand>"
    )
    for allowed in (False, True):
        # GDAL remembers what it did not find, so the second time the names are other ones.
        bands = "".join(band.replace("BAND", str(b)) for b in (1, 2, 3))
        bands = bands.replace(url, f"{url}/{allowed}")
        vrt = tmp_path / "in.vrt"
        vrt.write_text(f'<VRTDataset rasterXSize="9" rasterYSize="9">{bands}</VRTDataset>')
        with pytest.raises(
            (SceneError, UsageError), match=r"damaged|on the network; give `allow_net"
        ):
            decloud_scene(vrt, tmp_path / "o.tif", identity, Settings(allow_network=allowed))
        assert bool(requests) == allowed


@pytest.mark.parametrize("dst", ["s3://bucket/o.tif", "/vsis3/bucket/o.tif", "https://host/o.tif"])
def test_outputs_are_local_files(tmp_path, dst):
    src = write_scene(tmp_path / "in.tif", noise((3, 70, 70)))
    with pytest.raises(OutputError, match="is not a local file"):
        decloud_scene(src, Path(dst), identity)


def test_a_file_of_subdatasets_names_one(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((3, 30, 30), "int16"))
    rasterio.shutil.copy(src, tmp_path / "in.nc", driver="netCDF")
    with pytest.raises(SceneError, match=r"holds 3 subdatasets, like .*Band1; give one"):
        decloud_scene(tmp_path / "in.nc", tmp_path / "o.tif", identity)


@pytest.mark.parametrize(
    "name", ["/vsicurl/{url}/a.tif", "{url}/a.tif", "/vsizip//vsicurl/{url}/a.zip"]
)
def test_a_scene_on_the_network_is_named_as_such(tmp_path, server, name):
    url, requests = server
    src = name.format(url=url)
    with pytest.raises(UsageError, match="`allow_network`"):
        decloud_scene(src, tmp_path / "o.tif", identity)
    assert requests == []
    with pytest.raises(SceneError, match=re.escape(url)) as refused:
        decloud_scene(src, tmp_path / "o.tif", identity, Settings(allow_network=True))
    assert requests, refused.value
