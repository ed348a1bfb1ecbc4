"""Whole scenes with the model that comes with the package: the samples, and the real ones."""

import functools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from scipy import ndimage

from geodecloud import decloud_file
from geodecloud.decloud import decloud_scene
from geodecloud.evaluation.metrics import psnr
from geodecloud.evaluation.pairs import evaluate_pairs
from geodecloud.radiometry import Radiometry
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.scene import open_scene
from geodecloud.raster.wavelengths import find_other_bands
from geodecloud.settings import Reading, Settings
from tests.conftest import SAMPLES, identity, read, write_scene

REAL = {
    "S2_L1C_T18_10m_clear_4band_uint16": Settings(),
    "L8_L1_30m_cloudy_rgb_uint16DN": Settings(scale=50000, offset=-5000),
    "S2A_L2A_20210410_T33UXQ_60m_rgbnir_uint16": Settings(),
    "S2A_L2A_20221005_T29UNU_60m_rgb_uint16": Settings(offset=-1000),
    "S2A_L2A_20221005_T29UNU_60m_TCI_uint8": Settings(),
    "S2_L1C_ukis_512_rgb_uint16_nocrs": Settings(),
    "S2_L2A_Demmin_10m_EPSG4326_4band_uint16": Settings(),
}
LARGE = {name for name in REAL if "S2A_L2A" in name or "T18_10m" in name}
THIN = ["0316", "0581", "0746", "1302", "2729", "6553", "6780"]


def _marked(settings: Settings, provenance: Path) -> Settings:
    return settings.replace(provenance=provenance)


def _check(src: Path, out: Path, marks: Path, bands: tuple[int, ...]) -> None:
    """What must hold of every output, whatever the network says."""
    with rasterio.open(src) as before, rasterio.open(out) as after, rasterio.open(marks) as mark:
        for name in ("profile", "descriptions", "colorinterp", "scales", "offsets", "units"):
            assert getattr(after, name) == getattr(before, name), name
        assert before.tags().items() <= after.tags().items()
        assert (mark.shape, mark.transform, mark.crs) == (
            (before.height, before.width),
            before.transform,
            before.crs,
        )
        old, new, provenance = before.read(), after.read(), mark.read(1)
        valid = (before.read_masks(list(bands)) > 0).all(axis=0)
    np.testing.assert_array_equal(provenance == Provenance.NODATA, ~valid)
    same = np.isin(provenance, (Provenance.MEASURED, Provenance.NODATA))
    np.testing.assert_array_equal(new[:, same], old[:, same])
    with open_scene(
        src, Reading(bands=bands)
    ) as scene:  # of the samples, all that is not restored is kept
        restored = {band.index + 1 for band in find_other_bands(scene)}
    others = [b for b in range(len(old)) if b + 1 not in {*bands, *restored}]
    np.testing.assert_array_equal(new[others], old[others])


@pytest.fixture(scope="module")
def restored(tmp_path_factory):
    """A function that gives output, provenance and report of a sample."""

    @functools.cache
    def restore(name):
        folder = tmp_path_factory.mktemp(name)
        out, marks = folder / "out.tif", folder / "p.tif"
        return (
            out,
            marks,
            decloud_file(SAMPLES / f"{name}.tif", out, Settings(provenance=marks)),
        )

    return restore


@pytest.mark.parametrize("name", ["s2_cloudy", "l8_cloudy"])
def test_samples(restored, name):
    out, marks, report = restored(name)
    _check(SAMPLES / f"{name}.tif", out, marks, report.bands)
    assert report.changed_fraction > 0.02


def test_the_sample_is_what_its_script_makes(tmp_path):
    make = runpy.run_path(str(SAMPLES / "make.py"))
    make["put_clouds"](SAMPLES / "s2_clear.tif", tmp_path / "made.tif")
    made = read(tmp_path / "made.tif").astype(int)
    np.testing.assert_allclose(made, read(SAMPLES / "s2_cloudy.tif"), atol=2)


def test_the_sample_is_nearer_to_its_truth_than_before(restored):
    out, *_ = restored("s2_cloudy")
    clear_of = read(SAMPLES / "s2_clear.tif")
    valid = clear_of[:3].all(axis=0)
    model = Radiometry().to_model
    for bands in ([2, 1, 0], [3]):
        scores = [
            psnr(model(read(path)[bands], 4), model(clear_of[bands], 4), valid)
            for path in (SAMPLES / "s2_cloudy.tif", out)
        ]
        assert scores[1] > scores[0] + 2


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in REAL],
)
def test_identity_on_real_scenes(shared, tmp_path, name):
    src = shared / "scenes" / f"{name}.tif"
    marks = tmp_path / "p.tif"
    report = decloud_scene(src, tmp_path / "out.tif", identity, _marked(REAL[name], marks))
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), read(src))
    _check(src, tmp_path / "out.tif", marks, report.bands)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_scenes(shared, tmp_path, name):
    src, out, marks = shared / "scenes" / f"{name}.tif", tmp_path / "out.tif", tmp_path / "p.tif"
    report = decloud_file(src, out, _marked(REAL[name], marks))
    _check(src, out, marks, report.bands)


@pytest.mark.slow
def test_real_thin_cloud_is_removed(shared):
    pairs = shared / "dev_pairs" / "sen12mscr20"
    scores = evaluate_pairs(pairs / "cloudy", pairs / "clear", None, THIN)
    assert scores["pairs"] == len(THIN)
    assert scores["restored"]["psnr"] > scores["identity"]["psnr"] + 3


@pytest.mark.slow
@pytest.mark.parametrize("metres", [5.0, 10 / 3])
def test_clear_land_stays_clear_in_smaller_pixels(shared, tmp_path, metres):
    """Cells cover the same ground whatever the pixel."""
    with rasterio.open(shared / "clear_l1c" / "mockdata_gulf_city_444x456_rgb_uint16.tif") as city:
        zoom = 1, round(10 / metres), round(10 / metres)
        dn = ndimage.zoom(city.read()[:, :400, :400], zoom, order=1, mode="nearest", grid_mode=True)
    grid = from_origin(500000, 2800000, metres, metres)
    src = write_scene(tmp_path / "in.tif", dn, transform=grid)
    report = decloud_file(src, tmp_path / "out.tif", scale=10000, offset=0)
    assert report.changed_fraction < 0.01


def test_evaluate_counts_its_pairs(cli, tmp_path, tiny_model):
    for folder, name in (("cloudy", "s2_cloudy"), ("clear", "s2_clear")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.tif").write_bytes((SAMPLES / f"{name}.tif").read_bytes())
    folders = [tmp_path / "cloudy", tmp_path / "clear"]
    scores = json.loads(cli("evaluate", *folders, "--model", tiny_model, "--json").out)
    assert scores["pairs"] == 1
    assert 5 < scores["identity"]["psnr"] < 40
    assert scores["each"].keys() == {"one"}
    (tmp_path / "clear" / "one.tif").unlink()
    assert "missing" in cli("evaluate", *folders, "--model", tiny_model).err
    assert cli.code == 1
