"""Damaged and lying files: a clear line or a correct result, whatever they hold."""

import json
import subprocess
import sys

import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS

from geodecloud.decloud import decloud_scene
from geodecloud.errors import SceneError
from geodecloud.settings import Settings
from tests.conftest import ROOT, identity, noise, write_scene
from tests.products import write_product

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits of memory as Linux has them"
)


def _fuzz(*options: object) -> list[dict]:
    command = [sys.executable, ROOT / "benchmarks" / "fuzz.py", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("kind", ["lying-geotiff"])  # all kinds are among the slow tests
def test_damaged_files(kind, tmp_path):
    (facts,) = _fuzz("--kind", kind, "--examples", 10, "--here", tmp_path)
    assert facts["inputs"] == 10
    assert facts["refused"] > 0
    assert facts["restored"] > 0


@pytest.mark.parametrize(
    "kind", [pytest.param("band-files", marks=pytest.mark.slow), "undeclared-fill"]
)
def test_whole_files_that_say_too_little(kind, tmp_path):
    (facts,) = _fuzz("--kind", kind, "--examples", 10, "--seed", 3, "--here", tmp_path)
    assert facts["inputs"] == 10
    assert facts["restored"] > 0


@pytest.mark.slow
def test_damaged_files_of_all_kinds():
    facts = _fuzz("--examples", "150", "--seed", "1")
    assert len(facts) == 15
    assert all(one["inputs"] == 150 for one in facts)


@pytest.mark.parametrize(("width", "height"), [(10**6, 10**6), (2**31 - 1, 64), (100, 2**31 - 1)])
def test_a_scene_that_claims_to_be_huge_is_refused_before_it_is_read(tmp_path, width, height):
    band = (
        '<VRTRasterBand dataType="UInt16" band="{}"><SimpleSource><SourceFilename>none.tif'
        "</SourceFilename></SimpleSource></VRTRasterBand>"
    )
    bands = "".join(band.format(number) for number in (1, 2, 3))
    vrt = tmp_path / "huge.vrt"
    vrt.write_text(f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{bands}</VRTDataset>')
    with pytest.raises(SceneError, match="`aoi`"):
        decloud_scene(vrt, tmp_path / "out.tif", identity)
    assert {path.name for path in tmp_path.iterdir()} == {"huge.vrt"}


def test_a_part_of_a_huge_mosaic_is_restored(tmp_path):
    source = write_scene(tmp_path / "source.tif", noise((3, 80, 90)))
    band = (
        '<VRTRasterBand dataType="UInt16" band="{0}"><SimpleSource>'
        f"<SourceFilename>{source}</SourceFilename><SourceBand>{{0}}</SourceBand>"
        '<SrcRect xOff="0" yOff="0" xSize="90" ySize="80"/>'
        '<DstRect xOff="500000" yOff="500000" xSize="90" ySize="80"/></SimpleSource>'
        "</VRTRasterBand>"
    )
    vrt = tmp_path / "huge.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="1000000" rasterYSize="1000000">'
        "<GeoTransform>0, 1, 0, 1000000, 0, -1</GeoTransform>"
        f"{''.join(band.format(number) for number in (1, 2, 3))}</VRTDataset>"
    )
    chosen = Settings(aoi="500000,499920,500090,500000")
    report = decloud_scene(vrt, tmp_path / "out.tif", identity, chosen)
    assert (report.height, report.width, report.valid) == (80, 90, 80 * 90)


def test_a_block_larger_than_memory_is_refused(tmp_path):
    src = tmp_path / "in.tif"
    write_scene(src, noise((3, 64, 64)), tiled=True, blockxsize=64, blockysize=64)
    data = bytearray(src.read_bytes())
    for tag in (322, 323):  # TileWidth, TileLength
        at = data.index(tag.to_bytes(2, "little") + (3).to_bytes(2, "little"))
        data[at + 2 : at + 12] = (
            (4).to_bytes(2, "little") + bytes([1, 0, 0, 0]) + (1 << 16).to_bytes(4, "little")
        )
    src.write_bytes(data)
    with pytest.raises(SceneError):
        decloud_scene(src, tmp_path / "out.tif", identity)


BOMB = '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{part};" * 10}">'
    for part, name in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


def test_entities_in_metadata_are_not_expanded(tmp_path):
    root = write_product(tmp_path, noise((3, 60, 60)), doctype=BOMB + "]>")
    metadata = next(root.glob("MTD_*.xml"))
    metadata.write_text(metadata.read_text().replace("S2MSI2A<", "&l;<"))
    report = decloud_scene(root, tmp_path / "out.tif", identity)
    assert report.radiometry.offset == -1000
    outside = '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    metadata.write_text(metadata.read_text().replace(BOMB + "]>", outside).replace("&l;", "&x;"))
    chosen = Settings(overwrite=True)
    decloud_scene(root, tmp_path / "out.tif", identity, chosen)
    assert b"root:" not in (tmp_path / "out.tif").read_bytes()


def test_control_points_without_a_crs(tmp_path):
    points = [GroundControlPoint(r, c, 13 + c, 50 - r) for r in (0, 9) for c in (0, 9)]
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20)), crs=None, transform=None)
    with rasterio.open(src, "r+") as file:
        file.gcps = (points, CRS())
    decloud_scene(src, tmp_path / "out.tif", identity)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert len(out.gcps[0]) == 4


@pytest.mark.parametrize("length", [0x0100, 0, 1, 7, 2**31, 2**32 - 1])
def test_a_box_that_ends_elsewhere_is_damage_and_no_circle(tmp_path, length):
    """Some of these keep GDAL busy for ever."""
    src, size = tmp_path / "in.jp2", {"count": 3, "height": 40, "width": 50, "dtype": "uint16"}
    with rasterio.open(src, "w", driver="JP2OpenJPEG", QUALITY="100", **size) as out:
        out.write(noise((3, 40, 50)))
    decloud_scene(src, tmp_path / "out.tif", identity)
    data = bytearray(src.read_bytes())
    at = data.index(b"colr") - 4  # within the header
    data[at : at + 4] = length.to_bytes(4, "big")
    src.write_bytes(data)
    with pytest.raises(SceneError, match=r"in\.jp2: damaged JP2"):
        decloud_scene(src, tmp_path / "no.tif", identity)


@pytest.mark.parametrize("tag", [258, 262, 34735])  # what bands are, what they mean, the CRS
def test_late_complaints_are_one_line(cli, tmp_path, tiny_model, tag):
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20)))
    data = bytearray(src.read_bytes())
    at = data.index(tag.to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[at + 2] = 22  # no type that TIFF has
    src.write_bytes(data)
    done = cli(src, tmp_path / "out.tif", "--model", tiny_model)
    assert done.code in (0, 1)
    assert "Traceback" not in done.err
    assert done.code == 0 or done.err.count("error:") == 1
