"""Laws of filling: from the land around, the same for any strips, never on or from nodata."""

import errno
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geodecloud import decloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import FillWarning, OutputError, UsageError
from geodecloud.evaluation.pairs import evaluate_pairs
from geodecloud.radiometry import Radiometry
from geodecloud.raster import rows as finished
from geodecloud.raster.distance_limit import DistanceLimit
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.rows import Rows
from geodecloud.raster.scene import open_scene
from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.fill import texture
from geodecloud.restore.fill.ground import LAND, Ground
from geodecloud.restore.fill.opaque import fill_opaque
from geodecloud.restore.fill.pyramid import pull_push
from geodecloud.restore.fill.survey import Survey
from geodecloud.restore.filters import box_mean, dilate, upsample
from geodecloud.restore.memory import MemoryPlan
from geodecloud.restore.screen import fill_weight
from geodecloud.restore.survey_feed import clear_weight
from geodecloud.settings import Policy, Settings
from tests.conftest import ROOT, SAMPLES, read, write_scene

WHITE = 16000  # DN of a cloud that nothing shines through
SIZE = 256
unit = st.floats(0, 1, width=32)
small = st.tuples(st.integers(1, 40), st.integers(1, 40))


def white_is_cloud(patches, _):
    """A network that calls cloud what is white, and answers with nonsense there."""
    cloud = (patches >= 1).all(axis=1, keepdims=True)
    return np.concatenate([np.where(cloud, 0.77, patches), cloud], axis=1).astype(np.float32)


def disc(radius=50, size=SIZE):
    rows, columns = np.ogrid[:size, :size]
    return (rows - size // 2) ** 2 + (columns - size // 2) ** 2 < radius**2


def ramp():
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.stack([400 + 3 * rows, 600 + 2 * columns, 900 + rows + columns]).astype(np.uint16)


def checkerboard():
    rows, columns = np.mgrid[:SIZE, :SIZE] // 8
    light = (rows + columns) % 2
    return np.stack([700 + 300 * light, 800 + 200 * light, 900 + 100 * light]).astype(np.uint16)


def real_land():
    return read(SAMPLES / "s2_clear.tif")[:3]


def discs(shape):
    """Four discs of 60 pixels, or one of 100 where there is no more room."""
    if shape == (SIZE, SIZE):
        return disc()
    cloud = np.zeros(shape, bool)
    for row in (70, 230):
        for column in (70, 230):
            cloud[row : row + 61, column : column + 61] |= disc(30, 61)
    return cloud


@given(hnp.arrays(np.float32, small, elements=unit), st.integers(0, 9))
def test_largest_and_mean_are_those_of_the_square(values, radius):
    padded = np.pad(values, radius, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1,) * 2)
    np.testing.assert_array_equal(dilate(values, radius), windows.max(axis=(2, 3)))
    np.testing.assert_allclose(box_mean(values, radius), windows.mean(axis=(2, 3)), atol=1e-5)


@given(hnp.arrays(np.float32, small, elements=unit), st.floats(0.3, 1))
def test_what_is_filled_is_no_source(opacity, above):
    policy = Policy(opaque_above=above)
    share, trusted = fill_weight(opacity, policy), clear_weight(opacity)
    assert ((share >= 0) & (share <= 1) & (trusted >= 0) & (trusted <= 1)).all()
    assert (trusted[opacity >= 0.5] == 0).all()
    if above > 0.6:
        assert (trusted[share > 0] == 0).all()
    assert (fill_weight(np.minimum(opacity, 0.1), policy) == 0).all()
    np.testing.assert_allclose(clear_weight(np.minimum(opacity, 0.03)), 1, rtol=1e-6)


@given(st.floats(0.41, 0.48), st.floats(0.26, 0.4))
def test_dense_haze_is_a_source_only_where_it_is_even(dense, clearer):
    haze = np.full((64, 64), dense, np.float32)
    assert (clear_weight(haze) > 0).all()
    haze[30:34, 30:34] -= np.float32(clearer)  # a gap
    weight = clear_weight(haze)
    assert weight[32, 32] == 0
    assert weight[0, 0] > 0


@given(
    hnp.arrays(np.float32, st.tuples(st.just(4), *[st.integers(1, 60)] * 2), elements=unit),
    st.lists(st.integers(1, 25), max_size=60),
)
def test_the_ground_does_not_depend_on_the_strips(values, heights):
    colour, weight = values[:3], values[3]
    grounds = []
    for parts in ([], heights):
        ground, first = Ground(*weight.shape), 0
        for height in [*parts, weight.shape[0]]:
            ground.add(colour[:, first : first + height], weight[first : first + height])
            first += height
        ground.finish()
        grounds.append(ground.sums)
    np.testing.assert_array_equal(*grounds)
    np.testing.assert_allclose(grounds[0][3].sum(), weight.sum(), rtol=1e-4)


@given(
    hnp.arrays(np.float32, st.tuples(st.just(3), *[st.integers(1, 40)] * 2), elements=unit),
    st.integers(0, 99),
)
def test_spreading_keeps_what_is_known_and_makes_no_new_colours(colour, seed):
    known = np.random.default_rng(seed).random(colour.shape[1:]) < 0.3
    sums = np.concatenate([colour * known, known[None]]).astype(np.float32)
    prior = np.full(3, 0.5, np.float32)
    result = pull_push(sums, prior)
    np.testing.assert_allclose(result[:, known], colour[:, known], atol=1e-5)
    for band in range(3):
        values = [*colour[band][known], 0.5]
        assert result[band].min() >= min(values) - 1e-5
        assert result[band].max() <= max(values) + 1e-5


@given(
    hnp.arrays(np.float32, st.tuples(st.just(3), *[st.integers(1, 9)] * 2), elements=unit),
    st.sampled_from([4, 8, 13]),
)
def test_cells_as_pixels_do_not_depend_on_rows_and_columns(cells, cell):
    height, width = cell * cells.shape[1] - 3, cell * cells.shape[2] - 3
    whole = upsample(cells, cell, (0, height), width)
    right = upsample(cells, cell, (0, height), width - width // 3, width // 3)
    np.testing.assert_array_equal(right, whole[:, :, width // 3 :])
    np.testing.assert_array_equal(
        upsample(cells, cell, (height // 3, height), width), whole[:, height // 3 :]
    )
    assert whole.min() >= cells.min() - 1e-6
    assert whole.max() <= cells.max() + 1e-6


@given(st.sampled_from([6, 7, 13, 16]), st.integers(1, 900), st.integers(0, 99))
def test_cells_as_pixels_do_not_depend_on_the_cells_before(cell, before, seed):
    """As strips take only the cells that they need."""
    cells = np.random.default_rng(seed).random((1, 2, before + 5), np.float32)
    part = upsample(cells[..., before:], cell, (0, 2 * cell), 3 * cell, cell)
    whole = upsample(cells, cell, (0, 2 * cell), 3 * cell, (before + 1) * cell)
    np.testing.assert_array_equal(part, whole)


@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    st.integers(1, 12),
    st.floats(1, 200),
)
def test_the_limit_is_that_of_the_nearest_visible_pixel(seen, height, metres):
    """However the rows are cut into pieces."""
    rows, columns = np.indices(seen.shape)
    exact = np.full(seen.shape, np.inf)
    for row, column in np.argwhere(seen):
        exact = np.minimum(exact, np.hypot(10 * (rows - row), 20 * (columns - column)))
    pieces = range(0, len(seen), height)
    with DistanceLimit(metres, (10.0, 20.0), Path(tempfile.gettempdir())) as limit:
        for first in pieces:
            limit.add(first, seen[first : first + height])
        limit.finish()
        found = [limit.beyond(first, seen[first : first + height]) for first in pieces]
    np.testing.assert_array_equal(np.concatenate(found), exact > metres)


def _error(picture, truth, where):
    return float(np.sqrt(np.mean((picture[:, where] - truth[:, where].astype(float)) ** 2)))


@pytest.mark.parametrize(
    ("land", "of_pull_push", "of_mean"),
    [(ramp, 3, 0.35), (checkerboard, 1.02, 1.02), (real_land, 1.35, 1.1)],
)
def test_land_under_discs_of_cloud(tmp_path, monkeypatch, land, of_pull_push, of_mean):
    """Against pull-push from the very pixels at the edge, and against the mean of all land.

    The edge of a real cloud is no land yet, so its pixels are not used here either: on a ramp, that
    is what the difference is. Texture that happens to be the very opposite of the land's would add
    as much error as its amount.
    """
    truth = land()
    cloud = discs(truth.shape[1:])
    src = write_scene(tmp_path / "in.tif", np.where(cloud, WHITE, truth).astype(np.uint16))
    report = decloud_scene(
        src, tmp_path / "out.tif", white_is_cloud, Settings(provenance=tmp_path / "p.tif")
    )
    out, marks = read(tmp_path / "out.tif"), read(tmp_path / "p.tif")[0]
    with monkeypatch.context() as patch:
        patch.setattr(texture, "_AMOUNT", 0)
        decloud_scene(src, tmp_path / "smooth.tif", white_is_cloud)
    smooth = read(tmp_path / "smooth.tif")
    assert (marks[cloud] == Provenance.FILLED).all()
    measured = marks == Provenance.MEASURED
    np.testing.assert_array_equal(out[:, measured], truth[:, measured])
    assert report.filled == (marks == Provenance.FILLED).sum() < 3 * cloud.sum()

    pixels = np.concatenate([truth * ~cloud, ~cloud[None]]).astype(np.float32)
    spread = pull_push(pixels, np.zeros(3, np.float32))
    average = np.broadcast_to(truth[:, ~cloud].mean(axis=1)[:, None, None], truth.shape)
    assert _error(smooth, truth, cloud) <= of_pull_push * _error(spread, truth, cloud)
    assert _error(smooth, truth, cloud) <= of_mean * _error(average, truth, cloud)
    assert _error(out, truth, cloud) <= 1.8 * _error(smooth, truth, cloud) + 1


def test_nodata_is_neither_filled_nor_a_source(tmp_path):
    truth, cloud = ramp(), disc()
    hole = disc(20) | (np.indices(cloud.shape)[1] > 230)
    results = []
    for nodata in (0, 15000):
        dn = np.where(hole, nodata, np.where(cloud, WHITE, truth)).astype(np.uint16)
        src = write_scene(tmp_path / f"{nodata}.tif", dn, nodata=nodata)
        out, marks = tmp_path / f"out{nodata}.tif", tmp_path / f"p{nodata}.tif"
        decloud_scene(src, out, white_is_cloud, Settings(provenance=marks))
        assert (read(out)[:, hole] == nodata).all()
        assert (read(marks)[0][hole] == Provenance.NODATA).all()
        results.append(read(out)[:, ~hole])
    np.testing.assert_array_equal(*results)


def test_outside_of_the_mask_nothing_is_filled(tmp_path):
    dn = np.where(disc(), WHITE, ramp()).astype(np.uint16)
    left = np.zeros((1, SIZE, SIZE), np.uint8)
    left[:, :, :128] = 1
    src, mask = write_scene(tmp_path / "in.tif", dn), write_scene(tmp_path / "mask.tif", left)
    decloud_scene(src, tmp_path / "out.tif", white_is_cloud, Settings(mask=mask))
    out = read(tmp_path / "out.tif")
    np.testing.assert_array_equal(out[:, :, 128:], dn[:, :, 128:])
    assert (out[:, :, :128][:, disc()[:, :128]] != WHITE).all()


@pytest.mark.parametrize("tiled", [True, False])
def test_the_same_bytes_for_any_strip(tmp_path, monkeypatch, tiled):
    """Rows that wait, and rows that do not, in blocks of any height."""
    dn = np.concatenate([ramp()[..., :150]] * 2, axis=1)
    dn[:, 100:180, 30:100] = WHITE
    dn[:, 400:, 110:] = WHITE
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64} if tiled else {"blockysize": 1}
    src = write_scene(tmp_path / "in.tif", dn, compress="deflate", **blocks)
    results = []
    for rows in (1, 3, 100):
        work = MemoryPlan(rows_of_windows=rows, batch_size=7 * rows)
        monkeypatch.setattr(decloud, "plan_run", lambda *_, work=work: work)
        paths = [tmp_path / f"{rows}{name}" for name in ("o.tif", "p.tif", "p.png")]
        chosen = Settings(provenance=paths[1], preview=paths[2])
        decloud_scene(src, paths[0], white_is_cloud, chosen)
        results.append([read(path) for path in paths])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    assert {Provenance.MEASURED, Provenance.FILLED} == set(np.unique(results[0][1]).tolist())
    clear = (results[0][1] == Provenance.MEASURED)[0]
    np.testing.assert_array_equal(results[0][0][:, clear], dn[:, clear])


def test_shadow_beside_the_cloud_does_not_darken_the_fill(tmp_path):
    truth = np.full((3, SIZE, SIZE), 1200, np.uint16)
    dn = truth.copy()
    dn[:, :, 150:200] = 300  # shadow, right of the cloud
    dn[:, :, 60:150] = WHITE
    src = write_scene(tmp_path / "in.tif", dn)
    decloud_scene(src, tmp_path / "out.tif", white_is_cloud)
    assert read(tmp_path / "out.tif")[:, :, 70:130].min() > 1100


def test_where_nothing_is_seen_there_is_the_land_at_large(tmp_path):
    src = write_scene(tmp_path / "in.tif", np.full((3, 90, 70), WHITE, np.uint16))
    with pytest.warns(FillWarning, match="no ground is visible"):
        report = decloud_scene(src, tmp_path / "out.tif", white_is_cloud, Settings(force=True))
    assert report.invented_fraction == 1
    expected = np.rint(np.array(LAND) * 2750)[:, None, None]
    np.testing.assert_allclose(read(tmp_path / "out.tif") - expected, 0, atol=1)


@pytest.mark.parametrize("beyond", ["keep", "nodata"])
def test_beyond_the_limit_nothing_is_filled(tmp_path, beyond):
    truth, cloud = ramp(), disc(100)
    src = write_scene(tmp_path / "in.tif", np.where(cloud, WHITE, truth).astype("uint16"), nodata=0)
    chosen = Settings(  # 50 pixels
        fill_limit=500, beyond_limit=beyond, provenance=tmp_path / "p.tif"
    )
    decloud_scene(src, tmp_path / "out.tif", white_is_cloud, chosen)
    out, marks = read(tmp_path / "out.tif"), read(tmp_path / "p.tif")[0]
    code = Provenance.BEYOND_LIMIT if beyond == "keep" else Provenance.CLOUD_REMOVED
    assert (out[:, marks == code] == (WHITE if beyond == "keep" else 0)).all()
    assert (marks[disc(100 - 50 - 1)] == code).all()
    assert (marks[cloud & ~disc(100 - 50 + 1)] == Provenance.FILLED).all()  # from visible ground
    assert (out[:, marks == Provenance.FILLED] != WHITE).all()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"fill_limit": -3.0}, "fill_limit"),
        ({"fill_limit": float("nan")}, "fill_limit"),
        ({"fill_limit": 100.0, "opaque": "keep"}, "works only with fill"),
        ({"beyond_limit": "nodata"}, "give `fill_limit`"),
        ({"fill_limit": 100.0, "beyond_limit": "paint"}, "keep or nodata"),
    ],
)
def test_impossible_limits_are_refused(rule, words):
    with pytest.raises(UsageError, match=words):
        Policy(**rule)


def test_metres_need_a_crs(tmp_path, cli, tiny_model):
    src = write_scene(tmp_path / "in.tif", ramp(), crs=None)
    run = cli(src, tmp_path / "out.tif", "--fill-limit", 500, "--model", tiny_model)
    assert run.code == 2
    assert "has no georeferenced grid, so metres are unknown; leave --fill-limit out" in run.err
    degrees = write_scene(
        tmp_path / "degrees.tif",
        ramp(),
        crs="EPSG:4326",
        transform=rasterio.transform.from_origin(13, 60, 1e-4, 1e-4),
    )
    with open_scene(degrees) as scene:
        height, width = scene.pixel_metres
    assert height == pytest.approx(11.1, abs=0.1)
    assert width == pytest.approx(11.1 / 2, abs=0.1)


def test_no_room_for_what_waits_is_one_error_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    src = write_scene(tmp_path / "in.tif", np.where(disc(), WHITE, ramp()).astype(np.uint16))
    monkeypatch.setattr(finished.np, "save", full)
    with pytest.raises(OutputError, match="no room"):
        decloud_scene(src, tmp_path / "out.tif", white_is_cloud, Settings(fill_limit=500))
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_what_waits_lies_beside_the_output_and_goes(tmp_path, monkeypatch):
    folders = []
    real = tempfile.TemporaryFile

    def watched(*args, **options):
        folders.append(options["dir"])
        return real(*args, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", watched)
    src = write_scene(tmp_path / "in.tif", np.where(disc(), WHITE, ramp()).astype(np.uint16))
    decloud_scene(src, tmp_path / "out.tif", white_is_cloud)
    assert folders == []  # without a limit nothing waits
    chosen = Settings(fill_limit=500, overwrite=True)
    decloud_scene(src, tmp_path / "out.tif", white_is_cloud, chosen)
    assert set(folders) == {tmp_path}
    assert {path.name for path in tmp_path.iterdir()} == {"in.tif", "out.tif"}


def test_rows_that_are_filled_are_held_no_longer(tmp_path):
    """When the next rows are made, whoever took the last ones has all there is of them."""
    height, width = 256, 80
    facts = SceneFacts(height, width, [0, 1, 2], Radiometry())
    survey = Survey(facts)
    survey.add(0, np.full((3, height, width), 0.3, np.float32), np.ones((height, width)))
    done, held = [], []

    def strips():
        for first in range(0, height, 32):
            held.append(sum(rows() is not None for rows in done))
            dn, ones = np.full((3, 32, width), 900, np.uint16), np.ones((32, width), np.float32)
            codes = np.zeros((32, width), np.uint8)
            done.append(weakref.ref(out := dn.copy()))
            yield Rows(first, dn, codes == 0, fill_weight=ones, out=out, provenance=codes)
            del out

    for rows in fill_opaque(strips(), facts, Policy(), survey.finish(), tmp_path):
        assert (rows.out != 900).all()
        del rows
    assert held == [0] * (height // 32)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_height_of_the_cloud(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from geodecloud.restore.heap import use_one_heap\n"
        "use_one_heap()\n"
        "from tests.conftest import peak_memory\n"
        "from tests.test_context import white_is_cloud\n"
        "from geodecloud.decloud import decloud_scene\n"
        "from geodecloud.settings import Limits, Settings\n"
        "few = Settings(limits=Limits(threads=1, max_memory=600 << 20), force=True)\n"
        "decloud_scene(Path(sys.argv[1]), Path(sys.argv[2]), white_is_cloud, few)\n"
        "print(peak_memory())\n"
    )
    peaks = []
    for height in (7000, 21000):  # the shorter one fills GDAL's cache too
        dn = np.full((3, height, 500), WHITE, np.uint16)
        dn[:, :, :100] = 1000
        src = write_scene(tmp_path / f"{height}.tif", dn, tiled=True, compress="lzw")
        command = [sys.executable, "-c", script, src, tmp_path / f"out{height}.tif"]
        environment = {"PATH": ""}
        done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]


@pytest.mark.slow
def test_real_pairs_under_thick_cloud(shared):
    """The network alone comes 8.9 dB above identity, see benchmarks/CONTEXT.md."""
    pairs = shared / "dev_pairs" / "sen12mscr20"
    thick = "2266 3968 4065 4287 4294 4433 4438 5254 5278 5349 6317 7264 7657".split()
    scores = evaluate_pairs(pairs / "cloudy", pairs / "clear", None, only=thick)
    assert scores["restored"]["psnr"] >= scores["identity"]["psnr"] + 11
    assert scores["reprod_mae"] == 0
