"""Laws of the two passes: the same for any division, gated, merged, never from nodata."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.transform import from_origin
from scipy import ndimage

from geodecloud import decloud
from geodecloud.decloud import decloud_scene
from geodecloud.radiometry import PATH_RADIANCE, Radiometry
from geodecloud.raster.array import ArrayInfo
from geodecloud.raster.provenance import Provenance
from geodecloud.restore.cells import PooledScene, cell_of, pooled
from geodecloud.restore.coarse import Coarse, coarse_bytes, for_fine_pass, gated
from geodecloud.restore.coarse_pass import _with_shadows, coarse_pass
from geodecloud.restore.displacement import Displacement
from geodecloud.restore.fine import _rows, fine_pass
from geodecloud.restore.gate import (
    CERTAIN_ONE_PASS,
    Gate,
    bright_land,
    certain_cloud,
    cloud_around,
    find_doubt,
    find_gate,
    puffs,
    small_clouds,
    turbid_water,
)
from geodecloud.restore.memory import MemoryPlan
from geodecloud.restore.patches import Network, Swath
from geodecloud.restore.relight import Shade
from geodecloud.restore.shadows import hidden_fraction
from geodecloud.restore.window_pass import Strip, window_pass
from geodecloud.restore.windows import grid_of
from geodecloud.restore_arrays import restore_array
from geodecloud.settings import Settings, Windows
from tests.conftest import noise, read, write_scene

PLANS = [MemoryPlan(1, 64), MemoryPlan(2, 1), MemoryPlan(3, 5), MemoryPlan(9, 64)]
unit = st.floats(0, 1, width=32)


class SeesHaze:
    """A network that takes context: bright is haze, very dark is shadow; it remembers its windows.

    Its answer depends on all that it sees of a window, so that no difference stays hidden.
    """

    takes_context = True

    def __init__(self):
        self.coarse, self.fine = [], []  # patches that it was given

    def __call__(self, patches, dark_object):
        (self.fine if patches.shape[1] == 8 else self.coarse).extend(patches)
        light = np.clip(patches[:, :3], 0, 1)
        around = patches.mean(axis=(2, 3), keepdims=True).mean(axis=1, keepdims=True)
        told = patches[:, 3:].sum(axis=1, keepdims=True)
        bright = light.mean(axis=1, keepdims=True)
        opacity = np.clip(2 * bright - 0.7, 0, 1) * (0.9 + 0.1 * np.clip(around, 0, 1))
        shadow = np.clip(0.8 - 8 * bright, 0, 1)
        restored = light + (0.1 + 0.1 * around + 0.01 * told) * (shadow - opacity)
        return np.concatenate([restored, opacity, shadow], axis=1).astype(np.float32)


class Pixels:
    """A scene in memory, its bands blue, green, red, something."""

    def __init__(self, dn, valid=None):
        self.rgb = [2, 1, 0]
        self.dn = dn
        self.valid = np.ones(dn.shape[1:], bool) if valid is None else valid
        self.shape = self.valid.shape

    def read(self, first, last):
        return self.dn[:, first:last], self.valid[first:last]


def clear_land(shape, seed=0):
    """DN of land that is neither bright nor very dark."""
    return 400 + noise((4, *shape), seed=seed) // 14


def some_sky(shape, seed=0):
    """DN of land under thin haze, opaque cloud and shadow, with much clear land between."""
    rows, columns = np.indices(shape) / np.array(shape)[:, None, None]
    far = np.hypot(rows - 0.3, columns - 0.3)
    dn = clear_land(shape, seed) * (1 + 2 * np.clip(1 - far / 0.2, 0, 1))
    dn[:, np.hypot(rows - 0.8, columns - 0.75) < 0.1] = 5000
    dn[:, np.hypot(rows - 0.75, columns - 0.45) < 0.07] = 120
    return np.rint(dn).astype(np.uint16)


def some_holes(shape):
    """Where there is no data: along an edge, in the middle, and here and there a pixel."""
    rows, columns = np.indices(shape)
    holes = (columns < rows // 4) | ((rows // 20 == 3) & (columns // 30 == 2))
    return holes | (noise((1, *shape))[0] % 97 == 0)


def run(scene, predict, windows=Windows(), plan=PLANS[0]):  # noqa: B008
    """The gated coarse answer, fields of the rows of the fine pass, and the bands shown."""
    network, bands = Network(predict, Radiometry()), []
    cell = cell_of(scene.shape)
    coarse = coarse_pass(scene, network, windows, plan, lambda *band: bands.append(band), cell)
    coarse = gated(coarse, windows)
    return coarse, joined(fine_pass(scene, network, windows, plan, coarse)), bands


def coarse_of(width, light, answer, gate=None):
    """A coarse answer of cells, with shadows wherever it says."""
    anywhere = np.full((2, *answer.shape[1:]), 255, np.uint8)
    return Coarse(
        4,
        width,
        light,
        answer,
        gives_context=True,
        computed={},
        thrown=anywhere,
        gate=None if gate is None else Gate(gate),
    )


def joined(rows):
    """Change, opacity and shadow of all rows: (5, rows, width)."""
    parts = [np.concatenate([some.change, some.opacity[None], some.shadow[None]]) for some in rows]
    return np.concatenate(parts, axis=1)


def gate_of(coarse, height):
    """The weight of the gate, (rows, width)."""
    return coarse.at(coarse.gate.weight[None], 0, height)[0] / 255


# --- means of cells ------------------------------------------------------------------------


@given(
    hnp.arrays(np.float32, st.tuples(st.just(3), *[st.integers(1, 23)] * 2), elements=unit),
    st.integers(0, 99),
    st.sampled_from([1, 2, 4]),
)
def test_a_cell_is_the_mean_of_its_valid_pixels(light, seed, cell):
    valid = np.random.default_rng(seed).random(light.shape[1:]) < 0.6
    light[:, ~valid] = np.nan
    means, known = pooled(light, valid, cell)
    assert known.shape == tuple(-(-length // cell) for length in valid.shape)
    for row, column in np.ndindex(known.shape):
        part = np.s_[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        assert known[row, column] == valid[part].any()
        if known[row, column]:
            expected = light[:, *part][:, valid[part]].mean(axis=1, dtype=np.float64)
            np.testing.assert_allclose(means[:, row, column], expected, atol=1e-6)
        elif cell > 1:
            assert (means[:, row, column] == 0).all()


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 20)),
    st.lists(st.integers(1, 5), max_size=15),
    st.sampled_from([1, 4, 13, 100]),
    st.integers(0, 9),
)
def test_cells_do_not_depend_on_the_rows_that_are_read(shape, heights, cell, seed):
    scene = Pixels(noise((4, *shape), seed=seed), noise((1, *shape), seed=seed)[0] % 3 > 0)
    network = Network(SeesHaze(), Radiometry())
    whole, parts = PooledScene(scene, network, cell), PooledScene(scene, network, cell)
    count, first, found = whole.shape[0], 0, []
    for height in [*heights, count]:
        last = min(first + height, count)
        found.append(parts.read(first, last))
        first = last
    light, valid = whole.read(0, count)
    np.testing.assert_array_equal(np.concatenate([one for one, _ in found], axis=1), light)
    np.testing.assert_array_equal(np.concatenate([one for _, one in found]), valid)
    read_rows = [parts.read_rows.get() for _ in range(parts.read_rows.qsize())]
    dn = np.concatenate([some for some, _ in read_rows], axis=1)
    np.testing.assert_array_equal(dn, scene.dn[[2, 1, 0]])  # each row once, in order


@given(
    hnp.arrays(
        np.float16,
        st.tuples(st.just(2), *[st.integers(1, 20)] * 2),
        elements=st.floats(0, 1, width=16),
    ),
    st.data(),
)
def test_pixels_between_cells_do_not_depend_on_the_rows(cells, data):
    height, width = 4 * cells.shape[1] - 1, 4 * cells.shape[2] - 3
    coarse = coarse_of(width, cells, cells)
    whole = coarse.at(cells, 0, height)
    assert (whole.dtype, whole.shape) == (np.float32, (2, height, width))
    first = data.draw(st.integers(0, height - 1))
    last = data.draw(st.integers(first + 1, height))
    np.testing.assert_array_equal(coarse.at(cells, first, last), whole[:, first:last])


# --- division ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(333, 214), (130, 300), (100, 90)])
def test_both_passes_are_the_same_for_any_plan(shape):
    scene = Pixels(some_sky(shape), ~some_holes(shape))
    results = []
    for plan in PLANS:
        coarse, rows, bands = run(scene, SeesHaze(), plan=plan)
        shown = [np.concatenate([band[i] for band in bands], axis=2 - i) for i in (1, 2)]
        results.append([coarse.light, coarse.answer, rows, *shown])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("windows", [Windows(window=128, overlap=0), Windows(window=32)])
def test_the_coarse_pass_has_windows_of_its_own(windows):
    scene = Pixels(some_sky((333, 214)))
    usual, other = (run(scene, SeesHaze(), chosen)[0] for chosen in (Windows(), windows))
    np.testing.assert_array_equal(usual.answer, other.answer)
    np.testing.assert_array_equal(usual.gate.weight, other.gate.weight)


@pytest.mark.parametrize(("shadows", "metres"), [("restore", 10), ("fill", 10), ("restore", 6)])
def test_the_same_bytes_for_any_plan(tmp_path, monkeypatch, shadows, metres):
    dn = np.where(some_holes((260, 230)), 0, some_sky((260, 230)))[:3].astype(np.uint16)
    grid = from_origin(500000, 5500000, metres, metres)
    src = write_scene(tmp_path / "in.tif", dn, nodata=0, transform=grid)
    paths = [tmp_path / name for name in ("out.tif", "codes.tif", "found.tif")]
    chosen = Settings(
        provenance=paths[1], opacity=paths[2], overwrite=True, fill_limit=900, shadows=shadows
    )
    outputs = set()
    for plan in PLANS:
        monkeypatch.setattr(decloud, "plan_run", lambda *_, plan=plan: plan)
        report = decloud_scene(src, paths[0], SeesHaze(), chosen)
        assert 0 < report.windows_skipped < report.windows
        outputs.add((*(path.read_bytes() for path in paths[:2]), read(paths[2]).tobytes()))
    assert len(outputs) == 1
    codes = set(np.unique(read(paths[1])).tolist())
    assert {0, 1, 100, Provenance.FILLED, Provenance.NODATA} <= codes
    assert (Provenance.SHADOW in codes) == (shadows == "restore")


TILES = {"tiled": True, "blockxsize": 128, "blockysize": 128}


@pytest.mark.parametrize("context", [True, False])
def test_the_same_pixels_however_a_file_or_an_array_holds_them(tmp_path, context):
    """In strips, tiles, band after band, another type, and as an array: the fill, too."""
    dn = np.where(some_holes((150, 190)), 0, some_sky((150, 190)))[:3].astype(np.uint16)
    network = SeesHaze() if context else SeesHaze().__call__
    expected = None
    for number, (dtype, layout) in enumerate(
        [
            ("uint16", {}),
            ("uint16", TILES),
            ("uint16", {"interleave": "band", "blockysize": 16, "compress": "deflate"}),
            ("int32", TILES),
            ("float64", {"blockysize": 1}),
        ]
    ):
        src = write_scene(tmp_path / f"{number}.tif", dn.astype(dtype), nodata=0, **layout)
        chosen = Settings(scale=10000, offset=0, provenance=tmp_path / f"{number}p.tif")
        report = decloud_scene(src, tmp_path / f"{number}o.tif", network, chosen)
        out = np.rint(read(tmp_path / f"{number}o.tif")).astype(int)
        found = out, read(tmp_path / f"{number}p.tif")[0], report.radiometry
        expected = expected or found
        fractions = dtype == "float64"  # that stay until the fill is laid over
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=fractions)
        np.testing.assert_array_equal(found[1], expected[1])
        assert found[2] == expected[2]
    assert (expected[1] == Provenance.FILLED).any()
    done = restore_array(dn, network, Settings(scale=10000, offset=0), info=ArrayInfo(nodata=0))
    np.testing.assert_array_equal(done.array, expected[0])
    np.testing.assert_array_equal(done.provenance, expected[1])


# --- the gate ------------------------------------------------------------------------------


def test_in_clear_land_no_fine_window_is_computed(tmp_path):
    dn = clear_land((300, 260))[:3]
    src, dst = write_scene(tmp_path / "in.tif", dn), tmp_path / "out.tif"
    gated, all_windows = SeesHaze(), SeesHaze()
    report = decloud_scene(src, dst, gated, Settings())
    assert not gated.fine
    assert report.windows_skipped == report.windows == 6 * 6
    np.testing.assert_array_equal(read(dst), dn)
    report = decloud_scene(src, dst, all_windows, Settings(gate="off", overwrite=True))
    assert (len(all_windows.fine), report.windows_skipped) == (report.windows, 0)
    np.testing.assert_array_equal(read(dst), dn)
    for network in (gated, all_windows):
        assert len(network.coarse) == 2 * 2  # 75 x 65 cells


def test_a_window_has_its_light_and_what_is_known_of_the_land_around():
    dn = clear_land((200, 210))
    dn[:, 90:150, 80:150] = 20_000
    coarse, *_ = run(Pixels(dn), network := SeesHaze(), Windows(gate="off"))
    light = Radiometry().to_model(dn[[2, 1, 0]], 4)
    assert light.max() == 4
    known = coarse.context(0, 0, 200, coarse.width)
    assert known[:3].max() <= 1
    expected = np.concatenate([light, known])
    starts = grid_of(Windows()).starts(200), grid_of(Windows()).starts(210)
    corners = [(row, column) for row in starts[0] for column in starts[1]]
    wanted = {
        expected[:, row : row + 64, column : column + 64].tobytes() for row, column in corners
    }
    assert {patch.tobytes() for patch in network.fine} == wanted  # calls end in any order
    assert len(network.fine) == len(corners)
    assert all(patch.shape == (3, 64, 64) for patch in network.coarse)


@pytest.mark.parametrize("seed", range(2))
def test_inside_of_the_gate_all_is_as_without_one(seed):
    """Outside there is no cloud; on its soft edge there is less.

    The network of this test answers for each pixel by itself, so any window of a pixel will do.
    """
    scene = Pixels(some_sky((330, 350), seed), ~some_holes((330, 350)))
    coarse, with_gate, _ = run(scene, SeesHaze())
    ungated, without, _ = run(scene, SeesHaze(), Windows(gate="off"))
    np.testing.assert_array_equal(coarse.gate.weight, ungated.gate.weight)
    np.testing.assert_array_equal(coarse.answer, ungated.answer)
    weight = gate_of(coarse, 330)
    inside, outside = weight == 1, weight == 0
    assert inside.mean() > 0.05
    assert outside.mean() > 0.05
    np.testing.assert_array_equal(with_gate[:, inside], without[:, inside])
    assert not with_gate[3, outside].any()
    assert (with_gate[3] <= without[3] + 1e-6).all()


def bump(radius, edge, top, side=64):
    """Opacity of cells that falls from the top to 0 within so many cells around a disc."""
    far = np.hypot(*(np.indices((side, side)) - side / 2))
    return np.clip(top * (radius + edge / 2 - far) / edge, 0, top).astype(np.float32)


@pytest.mark.parametrize("haze", [0, 0.03, 0.06])
def test_a_small_faint_cloud_is_certain_where_the_land_around_is_clear(haze):
    opacity = np.maximum(bump(2, 2, 0.1), np.float32(haze))
    found = cloud_around(small_clouds(opacity), opacity)
    np.testing.assert_array_equal(found, (opacity > 0.05) & (haze == 0))
    assert not certain_cloud(opacity, 0.12).any()


@pytest.mark.parametrize(
    ("added", "haze", "expected"),
    [
        ((0.4, 0.4, 0.4), 0, True),
        ((0.4, 0.35, 0.33), 0, True),
        ((0.3, 0.4, 0.6), 0, False),  # a blue roof
        ((0, 0, 0), 0, False),
        ((-0.2, -0.2, -0.2), 0, False),
        ((0.4, 0.4, 0.4), 0.02, False),  # the land around is not clear
    ],
)
def test_a_puff_adds_the_same_light_to_all_bands(added, haze, expected):
    opacity = np.maximum(bump(2, 2, 0.05), np.float32(haze))
    land = np.array([0.3, 0.25, 0.2], np.float32)[:, None, None]
    light = land + np.array(added, np.float32)[:, None, None] * (bump(2, 2, 1.0) > 0.5)
    found = puffs(opacity, light.astype(np.float16))
    assert not small_clouds(opacity).any()
    assert found.any() == expected
    assert (opacity[found] == opacity.max()).all()
    for of_picture in (False, True):
        gate = find_gate(opacity, light, of_picture=of_picture)
        assert gate.any() == (expected and not of_picture)


@pytest.mark.parametrize("haze", [0, 0.03])
def test_cells_without_data_are_no_clear_land_around_a_small_cloud(haze):
    known = np.arange(64) < 34  # the cloud lies at the border of the data
    opacity = known * np.maximum(bump(2, 2, 0.1), np.float32(haze))
    found = small_clouds(opacity, np.broadcast_to(known, opacity.shape))
    assert found.any() == (haze == 0)
    assert small_clouds(opacity).any()  # it would be one if that were clear land


@pytest.mark.parametrize(
    ("opacity", "is_land"),
    [
        (bump(16, 1, 0.4), True),
        (bump(16, 16, 0.4), False),  # fades out
        (bump(16, 1, 0.95), False),  # dense
        (bump(5, 1, 0.4), False),  # small
        (np.full((64, 64), 0.4, np.float32), False),  # its edges lie outside
        (np.zeros((64, 64), np.float32), False),
    ],
)
def test_in_a_picture_what_ends_as_sharply_as_land_is_land(opacity, is_land):
    cloud = certain_cloud(opacity, 0.12)
    np.testing.assert_array_equal(bright_land(opacity, cloud), cloud & is_land)
    answer = np.concatenate([np.zeros((3, 64, 64), np.float32), [opacity, 0 * opacity]])
    for of_picture in (False, True):
        coarse = replace(coarse_of(256, answer[:3], answer), of_picture=of_picture)
        assert gated(coarse, Windows()).gate.weight.any() == (
            cloud.any() and not (of_picture and is_land)
        )


@pytest.mark.parametrize(("edge", "is_land"), [(1, True), (16, False)])
def test_where_the_data_of_a_picture_end_no_cloud_ends(edge, is_land):
    known = np.ones((64, 64), np.bool_)
    known[:28] = False
    opacity = bump(16, edge, 0.4) * known
    cloud = certain_cloud(opacity, 0.12)
    np.testing.assert_array_equal(bright_land(opacity, cloud, known), cloud & is_land)
    answer = np.concatenate([np.zeros((3, 64, 64), np.float32), [opacity, 0 * opacity]])
    coarse = replace(coarse_of(256, answer[:3], answer), of_picture=True, known=known)
    assert gated(coarse, Windows()).gate.weight.any() != is_land


def ground_of(smooth):
    """Light of cells: rough land, and water in the flagged cells."""
    rough = np.random.default_rng(0).uniform(0.2, 0.4, (3, *smooth.shape))
    return np.where(smooth, 0.3, rough).astype(np.float32)


LAGOON = bump(16, 1, 0.2)


@pytest.mark.parametrize(
    ("opacity", "smooth", "is_water"),
    [
        (LAGOON, LAGOON > 0, True),
        (np.maximum(LAGOON, bump(24, 24, 0.15) * (np.arange(64) > 34)), LAGOON > 0, True),
        (LAGOON, LAGOON < 0, False),  # the land shows through, and goes on
        (LAGOON, LAGOON >= 0, False),  # it ends in open water, or over even forest
        (LAGOON, np.indices((64, 64))[0] < 32, False),  # half of it covers land
        (bump(16, 16, 0.2), bump(16, 1, 0.2) > 0, False),  # fades out
        (1.5 * LAGOON, LAGOON > 0, False),  # not faint
        (bump(7, 1, 0.2), bump(7, 1, 0.2) > 0, False),  # small
        (np.full((64, 64), 0.2, np.float32), LAGOON >= 0, False),  # its edges lie outside
    ],
)
def test_faint_haze_that_ends_at_the_shore_of_smooth_water_is_water(opacity, smooth, is_water):
    cloud, light = certain_cloud(opacity, 0.12), ground_of(smooth)
    np.testing.assert_array_equal(turbid_water(opacity, light, cloud), cloud & is_water)
    answer = np.concatenate([np.zeros((3, 64, 64), np.float32), [opacity, 0 * opacity]])
    gate = gated(coarse_of(256, light, answer), Windows()).gate.weight
    assert gate.any() != is_water


def test_where_the_data_end_there_is_no_shore():
    """A veil over open water, at the edge of the data."""
    known = np.hypot(*(np.indices((64, 64)) - 32)) < 16
    opacity, light = LAGOON * known, ground_of(known)
    cloud = certain_cloud(opacity, 0.12)
    assert turbid_water(opacity, light, cloud).any()
    assert not turbid_water(opacity, light, cloud, known).any()


@pytest.mark.parametrize(("down", "right"), [(0, 0), (36, 4), (10, -30), (-17, 33)])
def test_water_is_found_anywhere_and_beside_dense_cloud(down, right):
    opacity, light = np.zeros((140, 130), np.float32), ground_of(np.zeros((140, 130), np.bool_))
    at = np.s_[40 + down : 104 + down, 30 + right : 94 + right]
    opacity[at], light[:, *at] = LAGOON, ground_of(LAGOON > 0)
    water = opacity > 0.05
    opacity[:10, :10] = 0.9
    found = turbid_water(opacity, light, certain_cloud(opacity, 0.12))
    np.testing.assert_array_equal(found, water)


def test_dense_cloud_beside_a_veil_makes_no_shore():
    """Within two cells of the rim of a veil that fades out there are both dense cloud and none."""
    far = np.hypot(*(np.indices((64, 64)) - 32))
    opacity = np.where(far < 14.5, bump(10, 24, 0.14), np.float32(0))
    opacity[(far > 14.5) & (far < 16) & (np.indices(far.shape).sum(axis=0) % 2 == 0)] = 0.9
    light = ground_of(far < 14)
    assert not turbid_water(opacity, light, certain_cloud(opacity, 0.12)).any()


@given(hnp.arrays(np.bool_, (12, 20)), unit)
def test_only_white_cells_are_in_doubt(white, light):
    pixels = np.full((3, 12, 20), min(light, 0.85), np.float32) + 0.5 * white
    pixels[2] += 0.5 * white  # a band more makes no colour white
    doubt = find_doubt(pixels)
    found = ndimage.binary_opening(white & (pixels[0] > 0.9), np.ones((3, 3)))
    assert (doubt[found] == 255).all()
    assert bool(doubt.any()) == bool(found.any())
    assert not doubt[~ndimage.binary_dilation(found, np.ones((3, 3)), iterations=6)].any()


class SeesOnlyByPixels(SeesHaze):
    """A network whose coarse level takes compact cloud for a roof."""

    def __call__(self, patches, dark_object):
        answer = super().__call__(patches, dark_object)
        if patches.shape[1] != 8:
            answer[:, 3] = 0
        return answer


def test_compact_cloud_that_the_coarse_pass_misses_is_filled(tmp_path):
    dn = np.full((3, 256, 256), 700, np.uint16)
    dn[:, 100:140, 80:130] = 4500
    roof = dn.copy()
    roof[:, 104:140, 80:130] = 700  # as bright, but thin
    for scene, is_filled in ((dn, True), (roof, False)):
        src = write_scene(tmp_path / "s.tif", scene)
        codes = tmp_path / "codes.tif"
        settings = Settings().replace(provenance=codes, overwrite=True, force=True)
        decloud_scene(src, tmp_path / "out.tif", SeesOnlyByPixels(), settings)
        white = scene[0] > 4000
        filled = read(codes)[0][white] == Provenance.FILLED
        assert filled.all() if is_filled else not filled.any()
        if is_filled:
            assert read(tmp_path / "out.tif")[0][white].max() < 1500


def test_all_windows_find_a_small_cloud_too_and_no_faint_haze_more():
    opacity = np.zeros((13, 9), np.float16)
    answer = np.concatenate([np.zeros((3, 13, 9), np.float16), [opacity, opacity]])
    fine = np.zeros((5, 50, 34), np.float32)
    fine[3, 10:14, 10:14], fine[3, 30:34, 10:14] = 0.3, 0.1
    found = {}
    for gate in ("on", "off"):
        coarse = gated(coarse_of(34, answer[:3], answer), Windows(gate=gate))
        found[gate] = coarse.merge(0, fine[:3], fine.copy())[3]
    assert not found["on"].any()
    np.testing.assert_array_equal(found["off"], np.where(fine[3] > 0.2, fine[3], 0))


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 99), st.sampled_from([16, 64]))
def test_a_window_is_computed_wherever_the_gate_has_weight(rows, columns, seed, size):
    rng = np.random.default_rng(seed)
    answer = (rng.random((5, rows, columns)) > 1 - 2 / (rows * columns)).astype(np.float16)
    plain = coarse_of(4 * columns - 3, answer[:3], answer)
    coarse, height = gated(plain, Windows()), 4 * rows - 1
    weight = gate_of(coarse, height)
    seen = coarse.at(answer, 0, height)[3]
    all_windows = replace(coarse.gate, all_windows=True)
    assert (weight[seen > 0.15] == 1).all()
    for row in {*range(0, height, 24), max(0, height - size)}:
        for column in {*range(0, coarse.width, 24), max(0, coarse.width - size)}:
            pixels = slice(row, row + size), slice(column, column + size)
            needed = coarse.is_needed(*pixels)
            assert plain.is_needed(*pixels)
            assert replace(coarse, gate=all_windows).is_needed(*pixels)
            assert needed or not weight[row : row + size, column : column + size].any()
            near = np.s_[max(0, row - 8) : row + size + 8, max(0, column - 8) : column + size + 8]
            assert not needed or weight[near].any()


@pytest.mark.parametrize("gate", ["on", "off"])
def test_a_network_without_context_sees_all_windows_by_itself(gate):
    """Its coarse answer is shown to the survey alone."""
    scene, windows, seen = Pixels(some_sky((200, 333))), Windows(gate=gate), []

    def network(patches, dark_object):
        seen.extend(patches)
        return SeesHaze()(patches, dark_object)

    coarse, rows, _ = run(scene, network, windows)
    grid = grid_of(windows)
    fine = len(grid.starts(200)) * len(grid.starts(333))
    assert len(seen) == fine + len(grid.starts(50)) * len(grid.starts(84))
    assert {patch.shape for patch in seen} == {(3, 64, 64)}
    assert max(patch.max() for patch in seen) <= 1
    assert coarse.gate is None
    strips = window_pass(scene, Network(network, Radiometry()), windows, PLANS[0])
    one_pass = np.concatenate([strip.answer for strip in strips], axis=1)
    np.testing.assert_array_equal(rows, one_pass)


# --- both answers together -----------------------------------------------------------------


def cells_of(pixels, dtype=np.float32):
    """The means of 4x4 pixels."""
    return pooled(pixels.astype(np.float32), np.ones(pixels.shape[1:], bool), 4)[0].astype(dtype)


@given(
    hnp.arrays(np.float32, (5, 13, 9), elements=unit),
    hnp.arrays(np.float32, (5, 50, 34), elements=unit),
)
def test_where_the_coarse_opacity_is_no_stronger_the_fine_change_stays(answer, fine):
    coarse = coarse_of(34, answer[:3], answer)
    known = coarse.at(answer, 0, 50)
    fine[3] = np.maximum(fine[3], known[3])
    merged = coarse.merge(0, fine[:3] / 2, fine.copy())
    np.testing.assert_array_equal(merged[:4], fine[:4])
    hidden = hidden_fraction(np.full((2, 50, 34), 255, np.float32), fine[4])
    np.testing.assert_allclose(merged[4], 0.6 * hidden, rtol=1e-6)


@given(
    hnp.arrays(np.float32, (5, 13, 9), elements=unit),
    hnp.arrays(np.float32, (5, 50, 34), elements=unit),
)
def test_behind_the_gate_shadows_are_those_of_the_coarse_answer(answer, fine):
    answer[4] *= 0.6
    coarse = coarse_of(34, answer[:3], answer, np.zeros((13, 9), np.uint8))
    merged = coarse.merge(0, fine[:3] / 2, fine.copy())
    assert not merged[3].any()
    np.testing.assert_allclose(merged[4], coarse.at(answer, 0, 50)[4], rtol=1e-5, atol=1e-6)


@given(
    hnp.arrays(np.float32, (5, 13, 9), elements=unit),
    hnp.arrays(np.float32, (5, 50, 34), elements=unit),
    hnp.arrays(np.float32, (2, 3, 1, 1), elements=st.floats(0.125, 0.75, width=32)),
)
def test_relighting_changes_shadows_alone(answer, fine, shade):
    coarse = coarse_of(34, answer[:3], answer)
    coarse.thrown[..., :4] = 0
    beside = np.full((6, 2, 2), 0.5, np.float16)
    relit = replace(coarse, shade=Shade(*shade, beside))
    plain, bright = (one.merge(0, fine[:3] / 2, fine.copy()) for one in (coarse, relit))
    np.testing.assert_array_equal(plain[3], bright[3])
    np.testing.assert_array_equal(plain[:, :, :10], bright[:, :, :10])


def test_shadows_do_not_reach_from_cells_without_data(monkeypatch):
    coarse = "geodecloud.restore.coarse_pass"
    monkeypatch.setattr(f"{coarse}.shadow_displacement", lambda *_: Displacement(9, 5))
    monkeypatch.setattr(
        f"{coarse}.thrown_shadows", lambda opacity, *_: np.full((2, *opacity.shape), 255, np.uint8)
    )
    known = np.arange(9) + np.arange(13)[:, None] > 8
    answer, light = np.zeros((5, 13, 9), np.float32), 0.5 * known * np.ones((3, 1, 1), np.float32)
    coarse = replace(coarse_of(34, light, answer, np.zeros((13, 9), np.uint8)), known=known)
    found = _with_shadows(coarse)
    assert not found.answer[4][~known].any()
    merged = found.merge(0, np.full((3, 50, 34), 0.5, np.float32), np.zeros((5, 50, 34), "f4"))
    assert merged[4].max() <= found.answer[4].max() + 1e-6


@pytest.mark.parametrize("shadows", ["restore", "keep"])
def test_shadows_that_are_kept_are_found_and_not_relit(shadows):
    rng = np.random.default_rng(2)
    answer, fine = rng.random((5, 13, 9), np.float32), rng.random((5, 50, 34), np.float32)
    fine[3] = 1  # the fine opacity alone counts
    fine[3, :, :20] = 0.05
    answer[3] = 0
    shade = Shade(*np.full((2, 3, 1, 1), 0.3, np.float32), np.full((6, 2, 2), 0.5, np.float16))
    coarse = replace(coarse_of(34, answer[:3], answer), shade=shade)
    chosen = for_fine_pass(coarse, Settings(shadows=shadows, gate="off"))
    merged = replace(chosen, gate=None).merge(0, fine[:3] / 2, fine.copy())
    assert (merged[4] > 0).any()
    assert np.array_equal(merged[:3], fine[:3]) == (shadows == "keep")


def test_behind_the_gate_merging_is_left_out_with_the_same_result():
    """With the gate shut and no shadow thrown, merging would find nothing."""
    rng = np.random.default_rng(1)
    width, height, first = 1500, 21, 12
    answer = rng.random((5, 13, width // 4), np.float32)
    gate, thrown = np.zeros((13, width // 4), np.uint8), np.zeros((2, 13, width // 4), np.uint8)
    gate[3, 70:75], gate[7, 128] = 200, 1
    thrown[1, 5, 330:] = 9
    answer[4] *= thrown.any(axis=0)
    shade = Shade(*np.full((2, 3, 1, 1), 0.3, np.float32), np.full((6, 2, 47), 0.5, np.float16))
    fine = rng.random((5, height, width), np.float32)
    for relit in (None, shade):
        coarse = coarse_of(width, answer[:3], answer, gate)
        coarse = replace(coarse, thrown=thrown, shade=relit)
        columns = coarse.cloudy_columns(first, first + height)
        assert 0 < sum(some.stop - some.start for some in columns) < width / 2
        whole, lean = (coarse.merge(first, fine[:3], fine.copy(), c) for c in (None, columns))
        np.testing.assert_array_equal(lean[3:], whole[3:])
        for some in columns:
            np.testing.assert_array_equal(lean[..., some], whole[..., some])
        assert replace(coarse, gate=None).cloudy_columns(0, height) == (slice(0, width),)


@given(
    hnp.arrays(np.float32, (3, 50, 34), elements=unit),
    st.floats(0.1, 0.5),
    st.floats(0, 1),
    hnp.arrays(np.float32, (5, 50, 34), elements=unit),
)
def test_a_thin_haze_that_the_coarse_pass_alone_sees_is_undone_exactly(ground, a, haze, fine):
    """Pixel by pixel: no detail of the ground is lost, none is made, whatever lies there."""
    seen = ((1 - a) * ground + a * haze).astype(np.float32)
    opacity = np.full((1, 13, 9), a, np.float32)
    answer = np.concatenate([cells_of(ground) - cells_of(seen), opacity, 0 * opacity])
    fine[3] *= max(a - 0.101, 0)
    for dtype, error in ((np.float32, 1e-5), (np.float16, 4e-3)):
        coarse = coarse_of(34, cells_of(seen, dtype), answer.astype(dtype))
        merged = coarse.merge(0, seen, fine.copy())
        if a > 0.102:
            np.testing.assert_allclose(seen + merged[:3], ground, atol=error)
        np.testing.assert_allclose(merged[3], a, atol=1e-3)


@given(
    hnp.arrays(np.float32, (5, 13, 9), elements=unit),
    hnp.arrays(np.float32, (5, 50, 34), elements=unit),
    hnp.arrays(np.uint8, (13, 9)),
    st.integers(0, 49),
)
def test_merging_does_not_depend_on_the_rows(answer, fine, gate, first):
    coarse = coarse_of(34, answer[:3], answer, gate)
    light = fine[::-1][:3]
    whole = coarse.merge(0, light, fine.copy())
    part = coarse.merge(first, light[:, first:], fine[:, first:].copy())
    np.testing.assert_array_equal(part, whole[:, first:])
    assert (whole[3:] <= 1 + 1e-6).all()
    nothing = gate_of(coarse, 50) == 0
    assert (whole[3, nothing] == 0).all()


def test_haze_that_only_the_coarse_pass_sees_is_restored(tmp_path):
    """From file to file: here it is too even for a window."""

    def coarse_only(patches, _):
        told = patches.shape[1] == 8
        light = np.clip(patches[:, :3], 0, 1)
        haze = (light.mean(axis=1, keepdims=True) > 0.4) * np.float32(0 if told else 0.25)
        ground = (light - haze * 0.8) / (1 - haze)
        return np.concatenate([ground, haze, 0 * haze], axis=1).astype(np.float32)

    class Blind:
        takes_context = True

        def __call__(self, patches, dark_object):
            return coarse_only(patches, dark_object)

    truth = clear_land((400, 400))[:3] + 300
    dn = truth.copy()
    dn[:, :, 200:] = np.rint(0.75 * truth[:, :, 200:] + 0.25 * 0.8 * 2750)
    src, dst = write_scene(tmp_path / "in.tif", dn), tmp_path / "out.tif"
    decloud_scene(src, dst, Blind(), Settings(scale=10000, offset=0))
    out = read(dst).astype(int)
    np.testing.assert_allclose(out[:, :, 216:], truth[:, :, 216:], atol=4)
    np.testing.assert_array_equal(out[:, :, :170], truth[:, :, :170])


# --- small scenes --------------------------------------------------------------------------


@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("shape", [(127, 300), (300, 127), (64, 64), (20, 9)])
def test_a_small_scene_has_one_pass(shape, context):
    scene, network = Pixels(some_sky(shape), ~some_holes(shape)), SeesHaze()
    predict = network if context else network.__call__
    coarse, rows, _ = run(scene, predict, Windows(gate="off"))
    assert coarse.is_full_resolution
    grid = grid_of(Windows())
    assert len(network.coarse) == len(grid.starts(shape[0])) * len(grid.starts(shape[1]))
    assert not network.fine
    strips = window_pass(scene, Network(predict, Radiometry()), Windows(), PLANS[2])
    one_pass = np.concatenate([strip.answer for strip in strips], axis=1)
    if context:
        one_pass[3] *= certain_cloud(one_pass[3] * scene.valid, CERTAIN_ONE_PASS)
    np.testing.assert_array_equal(rows[:4, scene.valid], one_pass[:4, scene.valid])
    assert (rows[4, scene.valid] <= one_pass[4, scene.valid]).all()  # where a cloud throws it
    assert not rows[3:, ~scene.valid].any()


def test_a_small_scene_counts_each_window_once(tmp_path):
    dn = some_sky((127, 200))[:3]
    dn[:, :70, :70] = 0
    src = write_scene(tmp_path / "in.tif", dn, nodata=0)
    report = decloud_scene(src, tmp_path / "out.tif", network := SeesHaze(), Settings())
    assert (report.windows, report.windows_skipped) == (3 * 4, 1)
    assert len(network.coarse) == 11


def test_from_128_pixels_on_there_are_two_passes():
    for shape, two in [((128, 128), True), ((127, 128), False), ((128, 127), False)]:
        coarse, *_ = run(Pixels(some_sky(shape)), SeesHaze())
        assert coarse.is_full_resolution != two


def test_a_narrow_scene_that_is_very_long_has_two_passes_too(monkeypatch):
    """Else its answer would be kept at full resolution."""
    assert (cell_of((70_000, 61)), cell_of((60_000, 61))) == (4, 1)
    monkeypatch.setattr("geodecloud.restore.cells._MOST_FINE", 61 * 500)
    coarse, *_ = run(Pixels(np.full((4, 700, 61), 500, np.uint16)), SeesHaze())
    assert not coarse.is_full_resolution


@pytest.mark.parametrize("shape", [(300, 260), (127, 260)])
def test_the_memory_of_the_coarse_answer_is_known(shape):
    coarse, *_ = run(Pixels(some_sky(shape)), SeesHaze())
    gate = coarse.gate.weight.nbytes if coarse.gate else 0
    held = coarse.light.nbytes + coarse.answer.nbytes + gate + coarse.thrown.nbytes
    assert (
        0.8 * coarse_bytes(*shape, cell_of(shape)) <= held <= coarse_bytes(*shape, cell_of(shape))
    )


@pytest.mark.parametrize("of_picture", [False, True])
def test_the_gate_needs_little_memory_beside_the_answer(of_picture):
    answer = np.zeros((5, 1200, 600), np.float16)
    answer[3, ::50, ::50] = 0.3
    coarse = replace(coarse_of(2400, answer[:3], answer), of_picture=of_picture)
    tracemalloc.start()
    assert gated(coarse, Windows()).gate.weight.any()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 0.5 * coarse_bytes(4800, 2400)


# --- the survey ----------------------------------------------------------------------------


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("shape", [(333, 140), (128, 200), (448, 130), (100, 70), (64, 64), (7, 9)])
def test_the_survey_is_shown_each_row_once_in_bands_of_64(shape, plan):
    dn, holes = clear_land(shape), some_holes(shape)
    _, _, bands = run(Pixels(dn, ~holes), SeesHaze(), plan=plan)
    assert [first for first, *_ in bands] == list(range(0, shape[0], 64))
    lights, weights = ([band[i] for band in bands] for i in (1, 2))
    assert {len(weight) for weight in weights[:-1]} <= {64}
    light, weight = np.concatenate(lights, axis=1), np.concatenate(weights)
    assert (light.dtype, light.shape, weight.shape) == (np.float32, (3, *shape), shape)
    np.testing.assert_array_equal(weight, ~holes)  # all that has data is visible
    np.testing.assert_array_equal(light, Radiometry().to_model(dn[[2, 1, 0]]))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_survey_is_not_shown_cloud_and_what_lies_beside_it(times):
    """However many pixels a cell has: 12 to 28 pixels of 10 m beside it."""
    dn = clear_land((300 * times, 310 * times))
    cloud, near, far = np.zeros((3, 300, 310), bool).repeat(times, axis=1).repeat(times, axis=2)
    for part, beside in ((cloud, 0), (near, 12), (far, 28)):
        rows, columns = ((first - beside, first + 80 + beside) for first in (100, 120))
        part[slice(*np.multiply(rows, times)), slice(*np.multiply(columns, times))] = True
    dn[:, cloud] = 9000
    bands, network = [], Network(SeesHaze(), Radiometry())
    coarse_pass(Pixels(dn), network, Windows(), PLANS[0], lambda *b: bands.append(b), 4 * times)
    weight = np.concatenate([band[2] for band in bands])
    assert (weight[near] == 0).all()
    assert (weight[~far] == 1).all()


@pytest.mark.parametrize("removed", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(200, 200), (100, 100)])
def test_the_survey_is_shown_colours_as_the_scene_has_them(shape, removed):
    """The network may see the path radiance of L1C; the fill is laid over the scene itself."""
    radiometry = Radiometry(path_radiance_removed=removed)
    dn, thin = clear_land(shape), np.float32(0.2)

    def lifts(patches, _):
        """Takes away the light of a thin haze, and with it some of the path radiance."""
        ground = (1 - np.array(PATH_RADIANCE, np.float32) * np.float32(removed))[:, None, None]
        opacity = np.full_like(patches[:, :1], thin)
        return np.concatenate([patches - 0.05 * ground, opacity], axis=1).astype(np.float32)

    bands = []
    network = Network(lifts, radiometry)
    scene = Pixels(dn)
    cell = cell_of(scene.shape)
    coarse_pass(scene, network, Windows(), PLANS[0], lambda *band: bands.append(band), cell)
    light = np.concatenate([band[1] for band in bands], axis=1)
    expected = radiometry.to_model(dn[[2, 1, 0]]) - 0.05
    np.testing.assert_allclose(light, expected, atol=2e-3)


# --- nodata --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(260, 300), (120, 150)])
def test_nodata_reaches_no_neighbour_in_either_pass(tmp_path, shape):
    holes, results = some_holes(shape), []
    for nodata in (0, 40_000):
        dn = np.where(holes, nodata, some_sky(shape))[:3].astype(np.uint16)
        src = write_scene(tmp_path / f"{nodata}.tif", dn, nodata=nodata)
        codes, found = tmp_path / f"p{nodata}.tif", tmp_path / f"f{nodata}.tif"
        chosen = Settings(provenance=codes, opacity=found)
        decloud_scene(src, tmp_path / f"o{nodata}.tif", SeesHaze(), chosen)
        out = read(tmp_path / f"o{nodata}.tif")
        assert (out[:, holes] == nodata).all()
        assert (read(codes)[0][holes] == Provenance.NODATA).all()
        results.append([out[:, ~holes], read(codes), read(found)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_beside_nodata_the_land_is_known_as_it_is():
    """Cells without a pixel are not black: they reach no neighbour."""
    dn, holes = np.full((4, 200, 220), 800, np.uint16), np.zeros((200, 220), bool)
    holes[:, :53] = holes[70:101, 90:130] = True
    coarse, rows, _ = run(Pixels(dn, ~holes), network := SeesHaze(), Windows(gate="off"))
    known = coarse.context(0, 0, 200, coarse.width)
    np.testing.assert_allclose(known[:3, ~holes], 800 / 2750, atol=1e-3)
    for patch in network.fine:
        np.testing.assert_allclose(patch[3:6], 800 / 2750, atol=1e-3)
    assert not rows[3:].any()


def test_clear_pixels_come_back_whatever_the_network_says_of_their_colour(tmp_path):
    dn = some_sky((300, 320))[:3]
    src, codes = write_scene(tmp_path / "in.tif", dn), tmp_path / "codes.tif"

    class Wild(SeesHaze):
        def __call__(self, patches, dark_object):
            answer = super().__call__(patches, dark_object)
            answer[:, :3] -= 0.2
            return answer

    for gate in ("on", "off"):
        chosen = Settings(provenance=codes, overwrite=True, gate=gate)
        report = decloud_scene(src, tmp_path / "out.tif", Wild(), chosen)
        measured = read(codes)[0] == Provenance.MEASURED
        assert 0.3 < measured.mean() < 0.95
        np.testing.assert_array_equal(read(tmp_path / "out.tif")[:, measured], dn[:, measured])
        assert report.changed == (~measured).sum()


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.sampled_from([Windows(32, 8), Windows(64, 0), Windows(64, 32, "linear"), Windows(128, 48)]),
    st.sampled_from(PLANS),
    st.integers(0, 9),
)
def test_no_change_is_exactly_no_change_in_two_passes(shape, windows, plan, seed):
    class Sees(SeesHaze):
        def __call__(self, patches, dark_object):
            answer = super().__call__(patches, dark_object)
            answer[:, :3] = np.clip(patches[:, :3], 0, 1)
            answer[:, 3] = np.float32(0.4)
            return answer

    scene = Pixels(noise((4, *shape), seed=seed), ~some_holes(shape))
    _, rows, _ = run(scene, Sees(), windows, plan)
    valid = scene.valid
    assert not rows[:3, valid].any()
    np.testing.assert_allclose(rows[3, valid], 0.4, atol=1e-3)
    assert not rows[3:, ~valid].any()


def test_cells_are_of_some_40_metres_and_fit_into_memory():
    tile = (10_980, 10_980)
    assert cell_of(tile, (10.0, 10.0)) == cell_of(tile) == 4
    assert cell_of((900, 800), (30.0, 30.0)) == cell_of((5490, 5490), (20.0, 20.0)) == 2
    assert cell_of((7_800, 7_700), (30.0, 30.0)) == 4  # a whole Landsat scene
    assert cell_of((100, 900), (30.0, 30.0)) == 1
    assert [cell_of(tile, (side, side)) for side in (6.4, 5.0, 3.125, 0.5)] == [6, 8, 13, 16]
    assert cell_of(tile, (10.0, 6.0)) == 4
    assert [cell_of((side, 900), (3.0, 3.0)) for side in (127, 128, 256, 900)] == [1, 4, 8, 13]


@pytest.mark.parametrize(("metres", "warns"), [(2.0, True), (2.5, False), (None, False)])
def test_pixels_too_small_for_the_model_are_told(tmp_path, metres, warns):
    side = metres or 1.0
    grid = {} if metres else {"crs": None}
    dn = clear_land((70, 80))[:3]
    src = write_scene(tmp_path / "in.tif", dn, transform=from_origin(5e5, 5e6, side, side), **grid)
    report = decloud_scene(src, tmp_path / "out.tif", SeesHaze(), Settings())
    assert any("of 2 m are smaller" in message for message in report.warnings) == warns


def test_pixels_without_data_have_neither_cloud_nor_shadow():
    """Not even NaN, which would spread to the pixels around."""
    valid = np.random.default_rng(0).random((20, 30)) < 0.8
    light = np.where(valid, noise((3, 20, 30), "float32"), np.float32(np.nan))
    answer = np.where(valid, noise((5, 20, 30), "float32"), np.float32(np.nan))
    expected = np.where(valid, answer[3:], 0)
    rows = _rows(Strip(Swath(0, light, valid, [], [], 20), light, answer, 0), Radiometry())
    np.testing.assert_array_equal([rows.opacity, rows.shadow], expected)
