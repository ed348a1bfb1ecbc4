"""A reference of another date: its colours are matched, its pixels are real, its marks say so."""

import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.transform import from_origin
from rasterio.warp import calculate_default_transform, reproject

from geodecloud.decloud import decloud_scene
from geodecloud.errors import GeodecloudWarning, NodataWarning, OutputError, SceneError, UsageError
from geodecloud.evaluation.metrics import psnr
from geodecloud.radiometry import Radiometry
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.scene import Scene
from geodecloud.restore.fill.reference import ReferenceImage, robust_line
from geodecloud.settings import Settings
from tests.conftest import SAMPLES, read, write_scene
from tests.test_context import WHITE, disc, real_land, white_is_cloud

GRID = {"crs": "EPSG:32633", "transform": from_origin(500000, 5500000, 10, 10)}


@pytest.fixture
def land():
    return real_land()[:, :256, :256]


@pytest.fixture
def cloudy(tmp_path, land):
    return write_scene(tmp_path / "cloudy.tif", np.where(disc(70), WHITE, land).astype(np.uint16))


def restore(cloudy, tmp_path, *references, **rule):
    chosen = Settings(
        **rule,
        references=references,
        provenance=tmp_path / "p.tif",
        overwrite=True,
    )
    report = decloud_scene(cloudy, tmp_path / "out.tif", white_is_cloud, chosen)
    marks = read(tmp_path / "p.tif")
    assert report.invented_fraction == np.mean(marks == Provenance.FILLED)
    from_reference = (marks >= Provenance.REFERENCE) & (marks != Provenance.NODATA)
    assert report.reference_fraction == np.mean(from_reference)
    return read(tmp_path / "out.tif"), read(tmp_path / "p.tif")[0]


@given(st.floats(0.4, 2.5), st.floats(-0.2, 0.2), st.integers(0, 99))
def test_the_line_of_the_many_is_found_among_outliers(gain, offset, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 0.6, 400).astype(np.float32)
    y = (gain * x + offset + rng.normal(0, 0.003, 400)).astype(np.float32)
    y[:100] = rng.uniform(0, 1, 100)  # a quarter of the ground has changed
    weight = rng.uniform(0.5, 1, 400).astype(np.float32)
    found = robust_line(x, y, weight)
    assert found[0] == pytest.approx(gain, abs=0.02)
    assert found[1] == pytest.approx(offset, abs=0.01)


@given(st.floats(0.5, 2), st.integers(0, 99))
def test_what_the_errors_leave_open_leans_to_a_gain_of_1(gain, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.01, 100).astype(np.float32)
    y = (gain * x + rng.normal(0, 0.1, 100)).astype(np.float32)  # alone it would be known to 1.0
    assert robust_line(x, y, np.ones(100, np.float32))[0] == pytest.approx(1, abs=0.75)


def test_even_ground_has_an_offset_and_no_gain():
    x = np.full(50, 0.3, np.float32)
    assert robust_line(x, x + 0.1, np.ones(50, np.float32)) == pytest.approx((1, 0.1))


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0), (0.8, 150), (1.3, -200)])
def test_another_date_fills_with_real_ground(tmp_path, land, cloudy, gain, offset):
    """Within 1 dB of what the reference itself, its colours known, differs by."""
    rng = np.random.default_rng(0)
    changed = land + rng.normal(0, 40, land.shape)  # DN; what differs between the dates
    other = np.clip(np.rint(changed * gain + offset), 1, 65535).astype(np.uint16)
    out, marks = restore(cloudy, tmp_path, write_scene(tmp_path / "other.tif", other))
    cloud = disc(70)
    assert (marks[cloud] == Provenance.REFERENCE).all()
    assert Provenance.FILLED not in marks
    to_model = Radiometry().to_model
    own = psnr(to_model(changed), to_model(land), cloud)
    assert psnr(to_model(out), to_model(land), cloud) >= own - 1
    clear = marks == 0
    np.testing.assert_array_equal(out[:, clear], land[:, clear])


def test_shadow_and_missed_cloud_are_not_matched(tmp_path, land):
    """What the scene has for this hour only: a shadow beside the cloud, and small white clouds."""
    rows, columns = np.mgrid[:256, :256]
    shadow = (rows > 200) & (columns < 160)
    small = (rows % 60 < 6) & (columns % 60 < 6) & ~disc(90)
    seen = np.where(shadow, land // 2, land)
    seen = np.where(small, 2700, seen)
    cloudy = write_scene(tmp_path / "cloudy.tif", np.where(disc(70), WHITE, seen).astype(np.uint16))
    changed = land + np.random.default_rng(0).normal(0, 40, land.shape)
    other = write_scene(tmp_path / "other.tif", np.rint(changed * 1.2 - 100).astype(np.uint16))
    out, _ = restore(cloudy, tmp_path, other)
    to_model, cloud = Radiometry().to_model, disc(70)
    own = psnr(to_model(changed), to_model(land), cloud)
    assert psnr(to_model(out), to_model(land), cloud) >= own - 1


def test_the_match_is_local(tmp_path, land, cloudy):
    """Haze over one side of the reference is taken away there, and nowhere else."""
    haze = np.linspace(0, 500, 256)[None, None]
    other = write_scene(tmp_path / "other.tif", (land + haze).astype(np.uint16))
    out, _ = restore(cloudy, tmp_path, other)
    difference = (out.astype(float) - land)[:, disc(70)]
    assert np.abs(difference).mean() < 20
    assert abs(difference.mean()) < 5


@pytest.mark.parametrize("off", [0, 5])
def test_no_data_in_one_band_of_a_reference_is_none_in_all(tmp_path, land, cloudy, off):
    """Where a swath ends, one band ends before another."""
    torn = land.copy()
    torn[0, :, :128] = 0
    place = {"transform": from_origin(500000 + off, 5500000 - off, 10, 10), "nodata": 0}
    _, marks = restore(cloudy, tmp_path, write_scene(tmp_path / "torn.tif", torn, **place))
    assert not (marks[:, :127] == Provenance.REFERENCE).any()
    assert (marks[:, 130:] == Provenance.REFERENCE).any()


def test_a_reference_on_another_grid_is_warped(tmp_path, land, cloudy):
    transform, width, height = calculate_default_transform(
        GRID["crs"], "EPSG:4326", 256, 256, 500000, 5500000 - 2560, 502560, 5500000
    )
    elsewhere = np.zeros((3, height, width), np.uint16)
    reproject(
        land, elsewhere, src_crs=GRID["crs"], src_transform=GRID["transform"],
        dst_crs="EPSG:4326", dst_transform=transform, resampling=rasterio.enums.Resampling.cubic,
    )  # fmt: skip
    other = write_scene(
        tmp_path / "other.tif", elsewhere, crs="EPSG:4326", transform=transform, nodata=0
    )
    out, marks = restore(cloudy, tmp_path, other)
    cloud = disc(70)
    assert (marks[cloud] == Provenance.REFERENCE).all()
    correlation = np.corrcoef(out[:, cloud].ravel(), land[:, cloud].ravel())[0, 1]
    assert correlation > 0.9


@pytest.mark.parametrize("declared", [None, 65535])
def test_undeclared_fill_of_a_warped_reference_is_no_ground(tmp_path, land, cloudy, declared):
    torn = land.copy()
    torn[:, :, :100] = 0
    if declared is None:
        torn[:, :, 150:] = 65535  # a second value
    place = {"transform": from_origin(500005, 5499995, 10, 10), "nodata": declared}
    with pytest.warns(NodataWarning, match="its border"):
        _, marks = restore(cloudy, tmp_path, write_scene(tmp_path / "torn.tif", torn, **place))
    assert not (marks[:, :99] == Provenance.REFERENCE).any()
    assert (marks[:, 102:148] == Provenance.REFERENCE).any()
    assert (marks[:, 152:] == Provenance.REFERENCE).any() == (declared is not None)


def test_kept_rows_of_a_warped_reference_go_with_it(tmp_path, land, cloudy, monkeypatch):
    forgotten = []
    forget = Scene.forget_rows
    monkeypatch.setattr(
        Scene, "forget_rows", lambda scene: (forgotten.append(scene._kept), forget(scene))
    )
    place = {"transform": from_origin(500005, 5499995, 10, 10), "compress": "lzma"}
    restore(cloudy, tmp_path, write_scene(tmp_path / "other.tif", land, **place))
    assert any(forgotten)


def test_references_are_read_only_while_pixels_are_missing(tmp_path, land, cloudy, monkeypatch):
    read_rows = []
    colours = ReferenceImage.colours

    def watched(reference, first, last):
        read_rows.append((reference._scene.path.stem, first))
        return colours(reference, first, last)

    monkeypatch.setattr(ReferenceImage, "colours", watched)
    first = land.copy()
    first[:, 128:192] = 0
    paths = [write_scene(tmp_path / f"{i}.tif", dn, nodata=0) for i, dn in enumerate((first, land))]
    _, marks = restore(cloudy, tmp_path, *paths)
    assert {top for name, top in read_rows if name == "1"} == {128}
    assert (marks[128:192][disc(70)[128:192]] == Provenance.REFERENCE + 1).all()


def test_the_first_reference_counts_most_and_where_none_has_data_the_land_does(
    tmp_path, land, cloudy
):
    first, second = land.copy(), land.copy()
    first[:, :, 128:] = 0
    second[:, 160:] = 0
    paths = [
        write_scene(tmp_path / f"{i}.tif", dn, nodata=0) for i, dn in enumerate([first, second])
    ]
    out, marks = restore(cloudy, tmp_path, *paths)
    rows, columns = np.indices(marks.shape)
    cloud = disc(70)
    assert (marks[cloud & (columns < 128)] == Provenance.REFERENCE).all()
    assert (marks[cloud & (columns >= 128) & (rows < 160)] == Provenance.REFERENCE + 1).all()
    assert (marks[cloud & (columns >= 128) & (rows >= 160)] == Provenance.FILLED).all()
    real = cloud & (marks >= Provenance.REFERENCE)
    assert np.abs(out.astype(float) - land)[:, real].mean() < 60


def test_beyond_the_limit_a_reference_still_fills(tmp_path, land, cloudy):
    other = write_scene(tmp_path / "other.tif", land)
    _, marks = restore(cloudy, tmp_path, other, fill_limit=100)
    assert (marks[disc(70)] == Provenance.REFERENCE).all()


def test_what_is_kept_beyond_the_limit_is_neither_changed_nor_invented(tmp_path, cloudy):
    marks, out = tmp_path / "p.tif", tmp_path / "out.tif"
    chosen = Settings(fill_limit=200, provenance=marks)
    report = decloud_scene(cloudy, out, white_is_cloud, chosen)
    beyond = read(marks)[0] == Provenance.BEYOND_LIMIT
    assert beyond.any()
    assert (read(out) == read(cloudy))[:, beyond].all()
    assert report.changed_fraction == np.mean((read(marks) > 0) & ~beyond)
    assert report.invented_fraction == np.mean(read(marks) == Provenance.FILLED)


def test_warnings_of_a_reference_name_no_option_of_the_scene(tmp_path, land, cloudy):
    other = write_scene(tmp_path / "other.tif", land + 1000)
    with rasterio.open(cloudy, "r+") as scene:
        scene.descriptions = ("red", "green", "blue")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeodecloudWarning)
        restore(cloudy, tmp_path, other, scale=10_000, offset=0)
    (message,) = [str(one.message) for one in caught if issubclass(one.category, GeodecloudWarning)]
    assert "set their descriptions" in message
    assert "`" not in message


def test_a_reference_with_unknown_bands_has_a_remedy_of_its_own(tmp_path, land, cloudy):
    other = write_scene(tmp_path / "other.tif", land)
    with rasterio.open(other, "r+") as file:
        file.descriptions = ("rouge", "vert", "bleu")
    with pytest.raises(SceneError, match=r"named rouge, vert, bleu; set the descriptions"):
        restore(cloudy, tmp_path, other)


def test_too_little_overlap_is_refused_and_nothing_written(tmp_path, land, cloudy):
    other = land.copy()
    other[:, :, 20:] = 0
    other[:, 20:] = 0
    path = write_scene(tmp_path / "other.tif", other, nodata=0)
    with pytest.raises(SceneError, match="shares too little visible ground"):
        restore(cloudy, tmp_path, path)
    assert not (tmp_path / "out.tif").exists()
    far = write_scene(tmp_path / "far.tif", land, transform=from_origin(900000, 5500000, 10, 10))
    with pytest.raises(SceneError, match="too little"):
        restore(cloudy, tmp_path, far)


def test_what_does_not_go_together_is_refused(tmp_path, land, cloudy):
    nowhere = write_scene(tmp_path / "nowhere.tif", land[:, :200], crs=None)
    with pytest.raises(SceneError, match="256x256"):
        restore(cloudy, tmp_path, nowhere)
    with pytest.raises(SceneError, match="no such file"):
        restore(cloudy, tmp_path, tmp_path / "missing.tif")
    other = write_scene(tmp_path / "other.tif", land)
    with pytest.raises(UsageError, match="works only with fill"):
        restore(cloudy, tmp_path, other, opaque="keep")
    with pytest.raises(UsageError, match=r"cloudy\.tif: is the scene itself; leave it out"):
        restore(cloudy, tmp_path, other, cloudy)
    with pytest.raises(OutputError, match="is the input itself"):
        decloud_scene(cloudy, other, white_is_cloud, Settings(references=(other,), overwrite=True))
    np.testing.assert_array_equal(read(other), land)


def test_on_the_command_line(cli, tmp_path):
    """The sample under simulated cloud, with its clear truth as the other date."""
    out, marks = tmp_path / "out.tif", tmp_path / "p.tif"
    clear = SAMPLES / "s2_clear.tif"
    options = ["--reference", clear, "--reference", clear, "--provenance", marks, "-q"]
    assert cli(SAMPLES / "s2_cloudy.tif", out, *options, "--device", "cpu").code == 0
    filled = read(marks)[0] == Provenance.REFERENCE
    assert filled.any()
    to_model = Radiometry().to_model
    assert psnr(to_model(read(out)[:3]), to_model(read(clear)[:3]), filled) > 30


@pytest.mark.parametrize("moved", [0, 500])
def test_a_reference_with_other_control_points_shows_other_ground(tmp_path, land, cloudy, moved):
    dn = {cloudy: read(cloudy), tmp_path / "may.tif": land.astype(np.uint16)}
    for path, east in zip(dn, (500000, 500000 + moved), strict=True):
        write_scene(path, dn[path], crs=None, transform=None)
        with rasterio.open(path, "r+") as file:
            corners = ((0, 0), (0, 256), (256, 0))
            file.gcps = (
                [
                    GroundControlPoint(row, column, east + 10 * column, 5500000 - 10 * row)
                    for row, column in corners
                ],
                "EPSG:32633",
            )
    if moved:
        with pytest.raises(SceneError, match=r"may\.tif: its control points or RPCs are not those"):
            restore(cloudy, tmp_path, tmp_path / "may.tif")
    else:
        _, marks = restore(cloudy, tmp_path, tmp_path / "may.tif")
        assert (marks == Provenance.REFERENCE).any()
