"""Laws of keeping rows: they are those of the file, decoded once; no fault of the disk shows."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.shutil import copy

from geodecloud.decloud import decloud_scene
from geodecloud.errors import RoomWarning
from geodecloud.raster.kept_rows import KeptRows, Portions, is_slow
from geodecloud.raster.layout import Layout
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.vrt_sources import files_read
from geodecloud.settings import Reading, Settings
from tests.conftest import ROOT, darken, noise, read, write_scene

IN_A_FILE, IN_MEMORY = ({"decoding": 1 << 20, "keeping": room} for room in (0, 1 << 20))
FULL_DISK = Path("/dev/full")  # a file that nothing can be written to
SLOW = {"compress": "lzma", "nodata": 0}
LOSSLESS = {"QUALITY": "100", "REVERSIBLE": "YES", "YCC": "NO"}
TILED = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@st.composite
def slow_scenes(draw):
    """DN, the profile of a file that is slow to decode, an area of interest, and the room."""
    bands, rows, columns = (draw(st.integers(*ends)) for ends in ((3, 5), (8, 70), (8, 40)))
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    dn = noise((bands, rows, columns), dtype, draw(st.integers(0, 9)))
    dn[draw(st.integers(0, bands - 1)), : rows // 3, ::3] = 0
    blocks = draw(st.sampled_from([TILED, {"blockysize": 1}, {"blockysize": 7}]))
    profile = SLOW | blocks | {"interleave": draw(st.sampled_from(["pixel", "band"]))}
    if bands == 4 and draw(st.booleans()):
        profile["photometric"], profile["alpha"] = "rgb", "yes"
    top, left = draw(st.integers(0, rows - 8)), draw(st.integers(0, columns - 8))
    box = 500000 + 10 * left, 5500000 - 10 * rows, 500000 + 10 * columns, 5500000 - 10 * top
    room = draw(st.integers(1, 9999)), draw(st.sampled_from([0, 1 << 20]))
    return dn, profile, draw(st.sampled_from([None, box])), room


@settings(max_examples=20)
@given(slow_scenes(), st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_kept_rows_are_the_rows_of_the_file_in_each_pass(given_scene, steps):
    dn, profile, box, room = given_scene
    with tempfile.TemporaryDirectory() as folder:
        path = write_scene(Path(folder) / "s.tif", dn, **profile)
        reading = Reading(aoi=box and ",".join(map(str, box)), bands=(1, 2, 3))
        with open_scene(path, reading=reading) as kept, open_scene(path, reading=reading) as plain:
            kept.keep_rows(*room)
            for step in steps:
                for first in range(0, plain.shape[0], step):
                    rows = first, min(first + step, plain.shape[0])
                    for one, other in zip(kept.read(*rows), plain.read(*rows), strict=True):
                        assert one.dtype == other.dtype
                        np.testing.assert_array_equal(one, other)


@pytest.fixture
def slow(tmp_path):
    return write_scene(tmp_path / "slow.tif", noise((3, 200, 50)), **SLOW | TILED)


def passes(scene: Scene) -> bytes:
    """All that two passes over a scene read, of different steps."""
    found = b""
    for step in (48, 13):
        for first in range(0, scene.shape[0], step):
            dn, valid = scene.read(first, min(first + step, scene.shape[0]))
            found += dn.tobytes() + valid.tobytes()
    return found


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """How often each row is decoded from now on, by (band, row)."""
    counts: Counter[tuple[int, int]] = Counter()
    decode = Scene._decode

    def counted(scene, first, last, bands):
        counts.update((band, row) for band in bands for row in range(first, last))
        return decode(scene, first, last, bands)

    monkeypatch.setattr(Scene, "_decode", counted)
    return counts


def decoded(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: dict[str, int]
) -> tuple[bytes, Counter]:
    """What two passes read with rows kept, and how often each row of each band was decoded."""
    counts = count_decoded(monkeypatch)
    with open_scene(path) as scene:
        scene.keep_rows(**room)
        return passes(scene), counts


def unkept(path: Path) -> bytes:
    with open_scene(path) as scene:
        return passes(scene)


@pytest.mark.parametrize("room", [IN_A_FILE, IN_MEMORY, {"decoding": 1}])
def test_two_passes_decode_each_row_once(slow, monkeypatch, room):
    expected = unkept(slow)
    found, counts = decoded(slow, monkeypatch, room)
    assert found == expected
    assert set(counts.values()) == {1}
    assert len(counts) == 3 * 200


def test_a_scene_that_is_fast_to_decode_is_not_kept(tmp_path, monkeypatch):
    path = write_scene(tmp_path / "fast.tif", noise((3, 200, 50)), compress="deflate")
    assert set(decoded(path, monkeypatch, IN_MEMORY)[1].values()) == {2}


def test_too_little_room_means_decoding_again(slow, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=6 * 200 * 50 * 7 - 6))
    expected = unkept(slow)
    with pytest.warns(RoomWarning, match=r"slow\.tif: no room .*0 MiB are free"):
        found, counts = decoded(slow, monkeypatch, IN_A_FILE)
    assert found == expected
    assert set(counts.values()) == {2}


def test_room_that_others_take_meanwhile_means_decoding_again(slow, monkeypatch):
    left = iter([1 << 30] * 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(left, 0)))
    expected = unkept(slow)
    with pytest.warns(RoomWarning):
        assert decoded(slow, monkeypatch, IN_A_FILE)[0] == expected


def test_no_folder_for_temporary_files_means_decoding_again(slow, monkeypatch):
    expected = unkept(slow)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/no/such/folder")
    with pytest.warns(RoomWarning, match="/no/such/folder"):
        assert decoded(slow, monkeypatch, IN_A_FILE)[0] == expected


@pytest.mark.skipif(not FULL_DISK.exists(), reason="a system without /dev/full")
def test_a_disk_that_is_full_means_decoding_again(slow, monkeypatch):
    expected = unkept(slow)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: FULL_DISK.open("r+b"))
    with pytest.warns(RoomWarning, match="No space left"):
        found, counts = decoded(slow, monkeypatch, IN_A_FILE)
    assert found == expected
    assert max(counts.values()) <= 3


def test_rows_that_come_back_changed_are_decoded_again(slow, monkeypatch):
    expected = unkept(slow)
    file = tempfile.TemporaryFile()  # noqa: SIM115
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: file)
    with open_scene(slow) as scene:
        scene.keep_rows(1 << 20)
        scene.read(0, 200)
        file.seek(2 * 50 * 200 + 5000)
        file.write(bytes(200))
        file.flush()
        with pytest.warns(RoomWarning, match="damaged"):
            assert passes(scene) == expected


def test_a_killed_process_leaves_nothing_behind(slow, tmp_path):
    script = """
import sys
from geodecloud.raster.scene import open_scene
with open_scene(sys.argv[1]) as scene:
    scene.keep_rows(1 << 20)
    scene.read(0, 200)
    print(scene._kept._planes is not None, flush=True)
    sys.stdin.read()
"""
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(slow)],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path / "temporary")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "True\n"
        process.kill()
    assert not list((tmp_path / "temporary").iterdir())


def test_a_jpeg_2000_gives_the_bytes_of_a_geotiff_of_its_pixels(tmp_path, monkeypatch):
    tif = write_scene(tmp_path / "s.tif", noise((3, 300, 150)), **TILED)
    copy(tif, tmp_path / "s.jp2", driver="JP2OpenJPEG", **LOSSLESS)
    chosen = Settings(scale=10000.0, offset=0.0, force=True)
    counts = count_decoded(monkeypatch)
    for name in ("s.tif", "s.jp2"):
        counts.clear()
        out = tmp_path / f"{name}.out.tif"
        beside = chosen.replace(provenance=out.with_suffix(".p.tif"))
        decloud_scene(tmp_path / name, out, darken, beside)
    assert set(counts.values()) == {1}  # of the JPEG 2000, in both passes
    for end in ("out.tif", "out.p.tif"):
        one, other = (read(tmp_path / f"{name}.{end}") for name in ("s.tif", "s.jp2"))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("names", "compression", "expected"),
    [
        (["scene.jp2"], "", True),
        (["<VRTDataset/>", "a/B04.JP2", "a/B03.JP2"], "", True),
        (["all.vrt", "/vsizip/s.zip/T33/B04.jp2"], "", True),
        (["/vsicurl/https://host/scene.tif"], "deflate", True),
        (["s3://bucket/scene.tif"], "", True),
        (["<VRTDataset>http://host/</VRTDataset>", "one.tif"], "deflate", False),
        (["/vsimem/scene.tif"], "deflate", False),
        (["scene.tif"], "lzma", True),
        (["scene.tif"], "zstd", False),
    ],
)
def test_jpeg_2000_lzma_and_the_network_are_slow(names, compression, expected):
    layout = Layout("GTiff", (16, 16), True, "pixel", compression, 1, ())
    assert is_slow(files_read(names), layout) == expected


def test_a_jpeg_2000_is_slow_behind_each_vrt(tmp_path):
    tif = write_scene(tmp_path / "s.tif", noise((3, 20, 30)))
    for name in ("s.jp2", "copy.tif"):
        copy(tif, tmp_path / name, driver="JP2OpenJPEG" if name == "s.jp2" else "GTiff")
    for source, expected in (("s.jp2", True), ("copy.tif", False)):
        copy(tmp_path / source, tmp_path / "inner.vrt", driver="VRT")
        text = (tmp_path / "inner.vrt").read_text().replace(source, "inner.vrt")
        (tmp_path / "outer.vrt").write_text(text)
        with open_scene(tmp_path / "outer.vrt") as scene:
            assert is_slow(scene.files, scene.layout) == expected


@given(st.integers(1, 5000), st.integers(1, 3000), st.integers(0, 5000), st.integers(1, 1 << 30))
def test_portions_are_whole_rows_of_blocks_where_these_fit(height, block, offset, most):
    dataset = SimpleNamespace(indexes=(1, 2, 3), dtypes=["uint16"] * 3)
    layout = Layout("JP2OpenJPEG", (block, block), True, "band", "", 1, ())
    area = SimpleNamespace(row_off=offset, width=1000, height=height)
    portions = Portions.of(dataset, layout, area, most)
    starts = [0, *portions.ends[:-1]]
    lengths = np.diff([*starts, portions.ends[-1]])
    assert portions.ends[-1] == height
    assert lengths.min() > 0
    assert lengths.max() * 2000 <= max(most, 64 * 2000)
    if block * 2000 < most and block > 64:
        assert all((offset + start) % block == 0 for start in starts[1:])


def test_rows_that_cannot_be_decoded_are_an_error_each_time(tmp_path):
    def broken(first, last, bands):
        raise OSError("damaged")

    portions = Portions([8], [[1]])
    kept = KeptRows(broken, portions, (1, 8, 8), "uint8", 0)
    for _ in range(2):
        with pytest.raises(OSError, match="damaged"):
            kept.read(0, 4)
    kept.close()
