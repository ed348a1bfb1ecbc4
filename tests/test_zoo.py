"""gdalinfo prints the same of a scene and of its output."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine

from geodecloud.decloud import decloud_scene
from geodecloud.settings import Settings
from tests.conftest import identity, noise, read, write_scene

NAMES_13 = [f"B{n}" for n in ("01 02 03 04 05 06 07 08 8A 09 10 11 12".split())]
LZW = {"compress": "lzw"}
GDALINFO = shutil.which("gdalinfo")


def _bands(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        count = file.count
        file.descriptions = [f"B{n:02}" for n in range(count, 0, -1)]
        file.scales, file.offsets = (2e-4,) * count, (-0.1,) * count
        file.units = ("reflectance",) * count
        file.update_tags(ACQUIRED="2021-04-10", AREA_OR_POINT="Point", TIFFTAG_ARTIST="a é ü")
        file.update_tags(ns="MY_SPACE", KEY="value = 1")
        for band in range(1, count + 1):
            file.update_tags(band, WAVELENGTH=str(400 + band))
            file.update_tags(band, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.56")


def _colours(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        names = ["gray", "blue", "green", "red", "undefined", "undefined"][: file.count]
        file.colorinterp = [ColorInterp[name] for name in names]


def _control_points(path: Path) -> None:
    points = [GroundControlPoint(r, c, 13 + c, 50 - r, 5) for r in (0, 69) for c in (0, 79)]
    with rasterio.open(path, "r+") as file:
        file.gcps = (points, "EPSG:4326")


def _rpcs(path: Path) -> None:
    places = dict.fromkeys(("height_off", "lat_off", "line_off", "long_off", "samp_off"), 1.0)
    sizes = dict.fromkeys(
        ("height_scale", "lat_scale", "line_scale", "long_scale", "samp_scale"), 2.0
    )
    terms = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
    rpcs = RPC(**places, **sizes, **dict.fromkeys(terms, [0.5] * 20), err_bias=0.0, err_rand=0.0)
    with rasterio.open(path, "r+") as file:
        file.rpcs = rpcs


def _mask(path: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        valid = np.ones(file.shape, bool)
        valid[:30, 20:] = False
        file.write_mask(valid)


def _overviews(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4])


def _names_13(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        file.descriptions = NAMES_13


UNPLACED = {"crs": None, "transform": Affine.identity()}
ROTATED = Affine(7, 3, 1e5, 3, -7, 5e6)
TILES = {"tiled": True, "blockxsize": 48, "blockysize": 80, "compress": "deflate", "predictor": 2}
# name: (bands, dtype, profile, what else is written)
ZOO: dict[str, tuple[int, str, dict[str, Any], Callable[[Path], None] | None]] = {
    "plain": (3, "uint16", {}, None),
    "band by band, all metadata": (6, "uint16", {**LZW, "interleave": "band"}, _bands),
    "pixel interleaved, all metadata": (4, "int16", {**LZW, "interleave": "pixel"}, _bands),
    "colours": (6, "uint8", LZW, _colours),
    "rgb": (3, "uint8", {"photometric": "RGB"}, None),
    "alpha": (4, "uint8", {"photometric": "RGB", "alpha": "YES"}, None),
    "alpha after two others": (6, "uint16", {"photometric": "RGB", "alpha": "YES"}, None),
    "mask": (3, "uint16", {**LZW, **TILES}, _mask),
    "control points": (3, "uint16", {**LZW, **UNPLACED}, _control_points),
    "rpcs": (3, "uint16", {**LZW, **UNPLACED}, _rpcs),
    "rotated": (3, "uint16", {"transform": ROTATED}, None),
    "south up": (3, "uint16", {"transform": Affine(10, 0, 1e5, 0, 10, 5e6)}, None),
    "degrees": (
        3,
        "float32",
        {"crs": "EPSG:4326", "transform": Affine(1e-4, 0, 13, 0, -1e-4, 53)},
        None,
    ),
    "no crs": (3, "uint16", UNPLACED, None),
    "nodata 0": (3, "uint16", {"nodata": 0}, None),
    "nodata -9999": (3, "int16", {"nodata": -9999, **LZW}, None),
    "nodata -9999, float": (4, "float32", {"nodata": -9999}, _bands),
    "nodata nan": (3, "float64", {"nodata": np.nan}, None),
    "nodata 65535": (3, "uint16", {"nodata": 65535, **TILES}, None),
    "13 bands": (13, "uint16", {**LZW, "interleave": "band"}, _names_13),
    "odd tiles": (3, "uint16", TILES, None),
    "strips": (3, "uint16", {"blockysize": 7, "compress": "zstd"}, None),
    "strips of a row": (3, "uint8", {"blockysize": 1, "compress": "packbits"}, None),
    "overviews": (3, "uint16", {**LZW, "tiled": True}, _overviews),
    "lerc of floats": (3, "float32", {"compress": "deflate", "predictor": 3}, None),
}
# Together they have all that gdalinfo prints, and rasterio is asked about each animal.
RICH = {"band by band, all metadata", "alpha", "mask", "control points", "rpcs", "overviews"}


def _animal(folder: Path, name: str) -> Path:
    count, dtype, profile, more = ZOO[name]
    path = write_scene(folder / "in.tif", noise((count, 70, 80), dtype), **profile)
    if more:
        more(path)
    return path


def _gdalinfo(path: Path) -> dict[str, Any]:
    done = subprocess.run([GDALINFO, "-json", path], capture_output=True, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    for key in ("description", "files", "stac"):  # stac repeats the rest
        facts.pop(key, None)
    facts["metadata"][""] = {
        key: value
        for key, value in facts["metadata"].get("", {}).items()
        if not key.startswith("GEODECLOUD_")
    }
    return facts


def _rasterio(path: Path) -> dict[str, Any]:
    names = """
    shape count dtypes crs transform colorinterp descriptions scales offsets units block_shapes
    mask_flag_enums
    """
    with rasterio.open(path) as file:
        facts = {name: str(getattr(file, name)) for name in names.split()}
        facts["nodata"] = str(file.nodatavals)
        facts["gcps"] = str([point.asdict() | {"id": 0} for point in file.gcps[0]])
        facts["rpcs"] = str(file.rpcs and file.rpcs.to_dict())
        facts["overviews"] = str([file.overviews(band) for band in file.indexes])
        facts["structure"] = file.tags(ns="IMAGE_STRUCTURE")
        facts["tags"] = [
            {k: v for k, v in file.tags(band).items() if not k.startswith("GEODECLOUD_")}
            for band in range(file.count + 1)
        ]
    return facts


@pytest.fixture(scope="module", params=ZOO)
def pair(request, tmp_path_factory) -> tuple[Path, Path]:
    """A scene and its output."""
    folder = tmp_path_factory.mktemp("zoo")
    src, out = _animal(folder, request.param), folder / "out.tif"
    decloud_scene(src, out, identity)
    return src, out


def test_all_that_is_known_of_a_scene_is_known_of_the_output(pair):
    src, out = pair
    np.testing.assert_array_equal(read(out), read(src))
    before, after = _rasterio(src), _rasterio(out)
    if "COMPRESSION" not in before["structure"]:  # then the output is deflated
        assert after["structure"].pop("COMPRESSION") == "DEFLATE"
        after["structure"].pop("PREDICTOR")
    assert after == before
    assert {path.name for path in src.parent.iterdir()} == {"in.tif", "out.tif"}


@pytest.mark.skipif(not GDALINFO, reason="no gdalinfo: apt install gdal-bin")
@pytest.mark.parametrize(
    "pair",
    [name if name in RICH else pytest.param(name, marks=pytest.mark.slow) for name in ZOO],
    indirect=True,
)
def test_gdalinfo_prints_the_same(pair):
    before, after = map(_gdalinfo, pair)
    structure = after["metadata"]["IMAGE_STRUCTURE"]
    if "COMPRESSION" not in before["metadata"]["IMAGE_STRUCTURE"]:
        assert structure.pop("COMPRESSION") == "DEFLATE"
        structure.pop("PREDICTOR", None)
    assert after == before


@pytest.mark.parametrize("name", ZOO)
def test_a_cog_keeps_all_but_its_layout(tmp_path, name):
    src, out = _animal(tmp_path, name), tmp_path / "out.tif"
    decloud_scene(src, out, identity, Settings(format="cog"))
    np.testing.assert_array_equal(read(out), read(src))
    before, after = _rasterio(src), _rasterio(out)
    for layout in ("structure", "block_shapes", "overviews"):
        del before[layout], after[layout]
    assert after == before
    assert {path.name for path in tmp_path.iterdir()} <= {"in.tif", "out.tif"}


def test_statistics_do_not_outlive_their_pixels(tmp_path):
    src = write_scene(tmp_path / "in.tif", noise((4, 70, 80)))
    stale = {"STATISTICS_MEAN": "1", "STATISTICS_MINIMUM": "0", "STATISTICS_MAXIMUM": "2"}
    with rasterio.open(src, "r+") as file:
        for band in (1, 4):
            file.update_tags(band, **stale)
    decloud_scene(src, tmp_path / "out.tif", identity)
    decloud_scene(
        src, tmp_path / "part.tif", identity, Settings(aoi="500100,5499600,500400,5499900")
    )
    with rasterio.open(tmp_path / "out.tif") as out, rasterio.open(tmp_path / "part.tif") as part:
        assert out.tags(1) == {}
        assert out.tags(4) == stale  # untouched
        assert part.tags(4) == {}
