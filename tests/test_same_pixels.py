"""The same pixels give the same output, however the file holds them."""

import shutil

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import Window

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.raster import sampling
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import open_scene
from geodecloud.settings import Settings
from tests.conftest import darken, noise, read, write_scene

TILES = {"tiled": True, "blockxsize": 64, "blockysize": 64}


def with_overviews(path, resampling, beside=True):
    with rasterio.Env(TIFF_USE_OVR=beside), rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], resampling)
    return path


@pytest.fixture
def outputs(tmp_path):
    """A function that restores a scene: its radiometry, pixels and provenance."""

    def restore(src):
        codes, dst = tmp_path / "codes.tif", tmp_path / "out.tif"
        settings = Settings(provenance=codes, overwrite=True)
        report = decloud_scene(src, dst, darken, settings)
        return report.radiometry, read(dst).tobytes(), read(codes).tobytes()

    return restore


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("kind", ["averaged", "stale", "empty"])
def test_overviews_change_nothing(tmp_path, outputs, kind, beside):
    dn = noise((3, 70, 1300))
    plain = write_scene(tmp_path / "plain.tif", dn, nodata=0, **TILES)
    other = {"averaged": dn, "stale": dn // 8 + 1, "empty": dn * 0}[kind]
    path = write_scene(tmp_path / "o.tif", other, nodata=0, **TILES)
    with_overviews(path, Resampling.average, beside)
    if beside:
        shutil.copy(plain, path)
    else:  # the pixels change, and the overviews stay
        with rasterio.open(path, "r+") as file:
            file.write(dn)
    assert outputs(path) == outputs(plain)


def test_overviews_of_band_files_change_nothing(tmp_path, outputs):
    dn = noise((3, 70, 1300))
    plain = write_scene(tmp_path / "plain.tif", dn, nodata=0)
    names = [
        write_scene(tmp_path / f"{i}.tif", dn[i : i + 1], nodata=0, **TILES) for i in (0, 1, 2)
    ]
    for name in names:
        with_overviews(name, Resampling.average)
    assert outputs(names) == outputs(plain)


@pytest.mark.parametrize(
    "layout",
    [{"blockysize": 1}, TILES, {"interleave": "band"}, {"interleave": "band", **TILES}],
)
def test_the_layout_of_the_file_changes_nothing(tmp_path, outputs, layout):
    dn = noise((3, 150, 600))
    plain = write_scene(tmp_path / "plain.tif", dn, nodata=0)
    assert outputs(write_scene(tmp_path / "o.tif", dn, nodata=0, **layout)) == outputs(plain)


@pytest.mark.parametrize("dtype", ["int16", "uint32", "int32"])
def test_the_type_that_holds_the_pixels_changes_nothing(tmp_path, dtype):
    dn = noise((3, 150, 160))
    restored = []
    for kind in ("uint16", dtype):
        src = write_scene(tmp_path / f"{kind}.tif", dn.astype(kind), nodata=0)
        decloud_scene(src, tmp_path / f"{kind}_out.tif", darken)
        restored.append(read(tmp_path / f"{kind}_out.tif").astype(int))
    np.testing.assert_array_equal(*restored)


def test_an_array_gives_what_its_file_gives(tmp_path, tiny_model):
    dn = noise((3, 200, 210))
    src = write_scene(tmp_path / "s.tif", dn, nodata=0, **TILES)
    geodecloud.decloud_file(src, tmp_path / "o.tif", model=tiny_model)
    done = geodecloud.decloud_array(dn, nodata=0, model=tiny_model)
    np.testing.assert_array_equal(done.array, read(tmp_path / "o.tif"))


@pytest.mark.parametrize("size", [(30, 40), (511, 513), (600, 1025), (1303, 37)])
def test_the_sample_is_of_the_pixels_in_the_middle(tmp_path, size):
    dn = noise((3, *size))
    path = write_scene(tmp_path / "s.tif", dn, **TILES)
    with open_scene(path) as scene:
        found, valid = sampling.sample(scene)
        shape = [max(1, round(length / max(1, max(size) / 512))) for length in size]
        expected = scene.dataset.read(out_shape=(3, *shape), window=Window(0, 0, *size[::-1]))
        # The order of the samples is that of the blocks.
        np.testing.assert_array_equal(np.sort(found), np.sort(expected.reshape(3, -1)))
        assert valid.all()
        assert calibrate(scene).scale == 10000


def test_of_a_large_scene_a_part_is_read_all_over_it(tmp_path, monkeypatch):
    for name, value in {"_LARGE_SIDE": 300, "_SQUARE": 64, "_ENOUGH": 500}.items():
        monkeypatch.setattr(sampling, name, value)
    dn = np.zeros((3, 700, 900), np.uint16)
    dn[0], dn[1] = np.arange(700)[:, None] + 1, np.arange(900) + 1
    dn[2] = noise((700, 900)) + 1
    samples = []
    for layout in (TILES, {}, {"tiled": True, "blockxsize": 256, "blockysize": 128}):
        path = write_scene(tmp_path / "s.tif", dn, **layout)
        with open_scene(path) as scene:
            samples.append(sampling.sample(scene)[0])
    for other in samples[1:]:
        np.testing.assert_array_equal(samples[0], other)
    squares = {(row // 64, column // 64) for row, column in samples[0][:2].T - 1}
    assert 0.15 < len(squares) / (11 * 15) < 0.25
    assert {row for row, _ in squares} == set(range(11))
    assert {column for _, column in squares} == set(range(15))
    dn[:, 2:] = 0  # too little is left in the part
    with open_scene(write_scene(tmp_path / "s.tif", dn, nodata=0)) as scene:
        found, valid = sampling.sample(scene)
    assert found.shape[1] == 512 * 398
    assert 0 < valid.sum() < found.shape[1] / 50
