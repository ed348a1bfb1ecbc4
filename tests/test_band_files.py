"""Bands in a file each equal one file of three bands, for all that a file can say."""

import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.rpc import RPC
from rasterio.shutil import copy
from rasterio.transform import from_origin

from geodecloud.decloud import decloud_scene
from geodecloud.errors import SceneError, UsageError
from geodecloud.raster.scene import open_scene
from geodecloud.settings import Reading, Settings
from tests.conftest import darken, identity, noise, read, write_scene

COLOURS = ("red", "green", "blue")
DN = noise((3, 150, 170))
HOLE = np.full((150, 170), 255, np.uint8)
HOLE[:40, :90] = 0
POINTS = [
    GroundControlPoint(0.25, 0.123456789, 500000.123456789, 5.7e6),
    GroundControlPoint(0, 150, 501500, 5.7e6),
    GroundControlPoint(150, 0, 500000, 5698500),
]
POLYNOMIAL = [0.0] * 20
RATIONAL = RPC(
    *(100.0, 500.0, 48.0, 0.1, POLYNOMIAL, POLYNOMIAL, 10.0, 75.0, 11.0, 0.1),
    *(POLYNOMIAL, POLYNOMIAL, 10.0, 80.0, 0.5, 0.5),
)


def scaled(file):
    file.scales, file.offsets = (2.75e-5,) * file.count, (-0.2,) * file.count
    file.units = ("reflectance",) * file.count


def tagged(file):
    file.update_tags(AREA_OR_POINT="Point", TIFFTAG_DATETIME="2022:05:05 10:00:00", ACQ="<&>")
    file.update_tags(ns="MISSION", ORBIT="12")
    for band in file.indexes:
        file.update_tags(band, WAVELENGTH="665")


def with_hole(file):
    file.write_mask(HOLE)


def with_points(file):
    file.gcps = (POINTS, CRS.from_epsg(32629))


def with_polynomials(file):
    file.rpcs = RATIONAL


def with_overviews(file):
    file.build_overviews([2, 4], Resampling.nearest)


def as_it_is(file):
    pass


def write_files(folder, dn, after, internal=True, **profile):
    """One file for each of the bands of ``dn``, and a file of all of them."""
    folder.mkdir()
    stacked = folder / "stacked.tif"
    names = [folder / f"{colour}.tif" for colour in COLOURS]
    for path, values in [(stacked, dn), *zip(names, dn[:3, None], strict=True)]:
        if len(dn) == 4 and path != stacked:
            values = np.concatenate([values, dn[3:]])  # noqa: PLW2901
        write_scene(path, values, **({"interleave": "band"} | profile))
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
            after(file)
    with rasterio.open(stacked, "r+") as file:
        file.descriptions = COLOURS + (None,) * (len(dn) - 3)
        file.colorinterp = [ColorInterp[c] for c in (*COLOURS, "alpha")][: len(dn)]
    return stacked, names


def all_that_is_said(path):
    """All that a file says, by name."""
    with rasterio.open(path) as file:
        tags = {
            (band, space): file.tags(band, ns=space)
            for band in (0, *file.indexes)
            for space in (None, *file.tag_namespaces(band))
            if space != "DERIVED_SUBDATASETS"  # they name the file
        }
        tags[0, None].pop("GEODECLOUD_SOURCE")
        keys = ("crs", "transform", "descriptions", "colorinterp", "scales", "offsets", "units")
        keys += ("nodatavals", "block_shapes", "mask_flag_enums", "dtypes", "rpcs", "interleaving")
        said = {key: getattr(file, key) for key in keys}
        points = [(p.row, p.col, p.x, p.y, p.z) for p in file.gcps[0]]
        overviews = [file.overviews(band) for band in file.indexes]
        masks = [zlib.crc32(file.read_masks(band)) for band in file.indexes]
        pixels = zlib.crc32(file.read())
        return {**said, "tags": tags, "gcps": (points, file.gcps[1]), "overviews": overviews} | {
            "masks": masks,
            "pixels": pixels,
        }


LOOSE = {"crs": None, "transform": None}  # without a georeference of its own


@pytest.mark.parametrize(
    ("after", "profile"),
    [
        (as_it_is, {}),
        (as_it_is, {"nodata": 0}),
        (scaled, {"nodata": 0}),
        (tagged, {}),
        (with_hole, {}),
        (with_hole, {"internal": False}),
        (with_hole, {"nodata": 7}),
        (with_points, LOOSE),
        (with_polynomials, LOOSE),
        (with_overviews, {"tiled": True, "blockxsize": 64, "blockysize": 64}),
        (as_it_is, {"compress": "lzw", "predictor": 2, "blockysize": 5}),
        (as_it_is, {"compress": "zstd", "tiled": True, "blockxsize": 32, "blockysize": 48}),
        (as_it_is, {"crs": "EPSG:4326", "transform": from_origin(9, 48, 1e-4, 1e-4)}),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_three_files_give_what_one_gives(tmp_path, after, profile):
    stacked, names = write_files(tmp_path / "in", DN, after, **profile)
    outputs = []
    for number, src in enumerate((stacked, names)):
        dst, codes = tmp_path / f"{number}.tif", tmp_path / f"{number}p.tif"
        report = decloud_scene(src, dst, darken, Settings(provenance=codes))
        outputs.append((all_that_is_said(dst), zlib.crc32(read(codes)), report.radiometry.scale))
    one, three = outputs
    for what, said in one[0].items():
        assert three[0][what] == said, what
    assert three[1:] == one[1:]


def test_alpha_beside_each_band_is_the_alpha_of_the_scene(tmp_path):
    alpha = np.where(HOLE, np.uint8(90), np.uint8(0))[None]
    dn = np.concatenate([noise((3, 150, 170), "uint8"), alpha])
    stacked, names = write_files(
        tmp_path / "in", dn, as_it_is, alpha="YES", photometric="MINISBLACK"
    )
    decloud_scene(stacked, tmp_path / "one.tif", darken)
    report = decloud_scene(names, tmp_path / "three.tif", darken)
    assert report.valid == np.count_nonzero(HOLE)
    one, three = (all_that_is_said(tmp_path / name) for name in ("one.tif", "three.tif"))
    assert three["pixels"] == one["pixels"]
    assert three["colorinterp"] == one["colorinterp"]


def test_nodata_or_a_mask_of_one_band_counts_for_all(tmp_path):
    _, names = write_files(tmp_path / "in", DN, as_it_is)
    dn = DN.copy()
    dn[2, :20] = 0
    write_scene(names[2], dn[2:], nodata=0)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(names[0], "r+") as file:
        file.write_mask(np.roll(HOLE, 50, axis=1))
    report = decloud_scene(names, tmp_path / "o.tif", darken)
    assert report.valid == 150 * 170 - 20 * 170 - 20 * 90
    with rasterio.open(tmp_path / "o.tif") as out:
        assert np.count_nonzero(out.read_masks(1)) == report.valid


def test_tags_that_differ_stay_with_their_bands(tmp_path):
    _, names = write_files(tmp_path / "in", DN, as_it_is)
    for name in names:
        with rasterio.open(name, "r+") as file:
            file.update_tags(SENSOR="OLI", GAIN=name.stem)
    decloud_scene(names, tmp_path / "o.tif", darken)
    with rasterio.open(tmp_path / "o.tif") as out:
        assert out.tags()["SENSOR"] == "OLI"
        assert "GAIN" not in out.tags()
        assert [out.tags(band)["GAIN"] for band in (1, 2, 3)] == list(COLOURS)


def test_control_points_that_differ_are_refused(tmp_path):
    _, names = write_files(tmp_path / "in", DN, with_points, **LOOSE)
    with rasterio.open(names[1], "r+") as file:
        file.gcps = (POINTS[::-1], CRS.from_epsg(32629))
    with pytest.raises(SceneError, match=r"differs from .* in size, grid"):
        decloud_scene(names, tmp_path / "o.tif", darken)


def test_different_nodata_of_the_files_is_refused_by_name(tmp_path):
    _, names = write_files(tmp_path / "in", DN, as_it_is, nodata=0)
    write_scene(names[1], DN[1:2], nodata=9)
    with pytest.raises(SceneError, match=r"nodata \(0\.0, 9\.0, 0\.0\) differs"):
        decloud_scene(names, tmp_path / "o.tif", darken)


def test_numbers_of_bands_in_files_are_refused(tmp_path):
    _, names = write_files(tmp_path / "in", DN, as_it_is)
    with (
        pytest.raises(UsageError, match=r"`bands` are 4,3,2: .* leave `bands` out"),
        open_scene(names, reading=Reading(bands="4,3,2")),
    ):
        pass
    with open_scene(names, reading=Reading(bands="1,2,3")) as scene:
        assert scene.bands == (1, 2, 3)


def test_a_zip_with_a_damaged_directory_is_refused(tmp_path):
    path = tmp_path / "scene.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MTD_MSIL1C.xml", "<xml/>")
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
    with pytest.raises(SceneError, match=r"scene\.zip: damaged zip"), open_scene(path):
        pass


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_an_archive_of_files_is_refused(tmp_path, suffix):
    _, names = write_files(tmp_path / "in", DN, as_it_is)
    archive = shutil.make_archive(str(tmp_path / "scene"), suffix[1:], Path(names[0]).parent)
    with pytest.raises(SceneError, match="is an archive; unpack it"), open_scene(archive):
        pass


def zipped(file: Path) -> str:
    with zipfile.ZipFile(file.with_suffix(".zip"), "w") as archive:
        archive.write(file, file.name)
    return f"/vsizip/{file.with_suffix('.zip')}/{file.name}"


def as_netcdf(file: Path) -> str:
    copy(file, file.with_suffix(".nc"), driver="netCDF")
    return f"NETCDF:{file.with_suffix('.nc')}:Band1"


def as_zarr(file: Path) -> str:
    copy(file, file.with_suffix(".zarr"), driver="Zarr")
    return f'ZARR:"{file.with_suffix(".zarr")}"'


KINDS = {
    "GTIFF_DIR": lambda file: f"GTIFF_DIR:1:{file}",
    "zip": zipped,
    "vrt": lambda file: f"vrt://{file}?bands=1",
    "relative": lambda file: f"GTIFF_DIR:1:{file.name}",
    "relative vrt": lambda file: f"vrt://{file.name}?bands=1",
    "netCDF": as_netcdf,
    "Zarr": as_zarr,
}


def named(kind: str, file: Path) -> str:
    driver = {"netCDF": "netCDF", "Zarr": "Zarr"}.get(kind)
    with rasterio.Env() as env:
        if driver and driver not in env.drivers():
            pytest.skip(f"GDAL without {driver}")
    return KINDS[kind](file)


@pytest.mark.parametrize("kind", KINDS)
def test_bands_and_masks_are_opened_by_any_name_that_gdal_knows(tmp_path, monkeypatch, kind):
    stacked, names = write_files(tmp_path / "in", DN, as_it_is, nodata=0)
    monkeypatch.chdir(tmp_path / "in")
    decloud_scene([named(kind, name) for name in names], tmp_path / "o.tif", darken)
    decloud_scene(stacked, tmp_path / "one.tif", darken)
    np.testing.assert_array_equal(read(tmp_path / "o.tif"), read(tmp_path / "one.tif"))
    half = np.zeros((1, 150, 170), np.uint8)
    half[:, :, :80] = 1
    mask = named(kind, write_scene(tmp_path / "in" / "mask.tif", half))
    settings = Settings(mask=mask)
    report = decloud_scene(stacked, tmp_path / "masked.tif", darken, settings)
    assert 0 < report.changed <= 150 * 80


@pytest.mark.parametrize("kind", ["GTIFF_DIR", "zip", "relative vrt"])
def test_scenes_and_references_are_opened_by_any_name(tmp_path, monkeypatch, kind):
    stacked, _ = write_files(tmp_path / "in", DN, as_it_is, nodata=0)
    monkeypatch.chdir(tmp_path / "in")
    name = named(kind, stacked).replace("bands=1", "bands=1,2,3")
    with open_scene(name) as scene:
        np.testing.assert_array_equal(scene.read(0, 150)[0], DN)
    report = decloud_scene(name, tmp_path / "o.tif", identity, Settings(references=[name]))
    assert report.valid == 150 * 170
