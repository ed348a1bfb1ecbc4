"""Laws of dividing the work: order, errors, memory; and that the result does not depend on it."""

import re
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodecloud.decloud import decloud_scene
from geodecloud.errors import GeodecloudError, UsageError
from geodecloud.model.model_file import default_model
from geodecloud.model.predictor import Predictor
from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.restore.coarse import coarse_bytes
from geodecloud.restore.memory import MIB, Footprint, MemoryPlan, grain, plan_memory, side_by_side
from geodecloud.restore.stages import ordered_map, prefetch
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import Limits, Settings
from tests.conftest import identity, noise, write_scene

DARK = np.array(L1C_DARK_OBJECT, np.float32)


@given(st.lists(st.integers(), max_size=20))
def test_ahead_gives_the_same_items(items):
    assert list(prefetch(iter(items))) == items


@settings(deadline=None)
@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 4))
def test_in_order_is_map_whatever_each_call_takes(items, calls):
    def slow(x):
        time.sleep(x / 2000)
        return -x

    assert list(ordered_map(slow, iter(items), calls)) == [(x, -x) for x in items]


def test_ahead_is_ahead_by_one():
    made = []
    second = threading.Event()

    def items():
        for i in range(10):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    stage = prefetch(items())
    assert next(stage) == 0
    assert second.wait(10)
    time.sleep(0.05)
    assert made == [0, 1]  # one in hand, one waits
    stage.close()


@pytest.mark.parametrize("stage", [prefetch, lambda items: ordered_map(abs, items, 2)])
def test_an_error_comes_through_and_leaves_no_thread(stage):
    def items():
        yield 1
        raise KeyError("here")

    before = threading.active_count()
    with pytest.raises(KeyError, match="here"):
        list(stage(items()))
    assert threading.active_count() == before


@pytest.mark.parametrize("stage", [prefetch, lambda items: ordered_map(abs, items, 2)])
def test_who_stops_asking_closes_what_is_upstream(stage):
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    before = threading.active_count()
    asking = stage(items())
    next(asking)
    asking.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_a_stage_that_gathers_can_be_cancelled():
    cancelled = threading.Event()

    def items():
        yield 1
        assert cancelled.wait(10)

    asking = prefetch(items(), cancelled=cancelled)
    next(asking)
    asking.close()
    assert cancelled.is_set()


@pytest.mark.parametrize("where", ["network", "progress"])
def test_after_an_error_nothing_reads_the_scene(tmp_path, some_scene, where, monkeypatch):
    """The traceback, which is held here, keeps alive what has read it."""
    monkeypatch.setattr(
        "geodecloud.decloud.plan_memory", lambda *_: MemoryPlan()
    )  # many small strips

    def fail(*_):
        raise ZeroDivisionError(where)

    before = threading.active_count()
    how = {"progress": fail} if where == "progress" else {}
    with pytest.raises(ZeroDivisionError, match=where) as caught:
        decloud_scene(some_scene, tmp_path / "out.tif", identity if how else fail, **how)
    assert threading.active_count() == before
    assert caught.tb is not None
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.fixture(scope="module")
def some_scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "in.tif"
    dn = noise((3, 200, 120)) // 30 + 600
    dn[:, 60:160, 20:100] += 6000  # something like cloud
    return write_scene(path, dn, tiled=True, blockxsize=64, blockysize=64, compress="deflate")


def test_the_same_bytes_however_the_work_is_divided(tmp_path, some_scene, monkeypatch):
    """For any number of threads, windows in a call, and height of the strips."""
    outputs = set()
    for threads, batch_size, rows in [(1, 64, 1), (2, 1, 1), (3, 5, 2), (2, 64, 9)]:
        work = MemoryPlan(rows, batch_size)
        monkeypatch.setattr("geodecloud.decloud.plan_memory", lambda *_, work=work: work)
        limits = Limits(threads, batch_size)
        out, marks = tmp_path / "out.tif", tmp_path / "marks.tif"
        predictor = Predictor(default_model(), "cpu", "fp32", threads)
        chosen = Settings(limits=limits, provenance=marks, overwrite=True)
        report = decloud_scene(some_scene, out, predictor, chosen)
        assert report.changed > 1000
        outputs.add((out.read_bytes(), marks.read_bytes()))
    assert len(outputs) == 1


def test_a_patchs_answer_does_not_depend_on_its_neighbours():
    predictor = Predictor(default_model(), "cpu", "fp32", 2)
    patches = np.random.default_rng(0).random((grain(64) + 3, 3, 64, 64), np.float32)
    together = predictor(patches, DARK)
    for i in (0, 7, grain(64) + 2):
        np.testing.assert_array_equal(predictor(patches[i : i + 1], DARK)[0], together[i])


LOADS = st.builds(
    Footprint,
    width=st.integers(1, 200_000),
    bytes_per_pixel=st.integers(3, 104),
    block_row=st.integers(1, 30 * MIB),
    cells=st.integers(1, 1 << 21),
    coarse=st.integers(0, 300 * MIB),
    cell=st.integers(1, 16),
    references=st.integers(0, 3),
)
GRIDS = st.sampled_from(
    [WindowGrid(), WindowGrid(64, 32), WindowGrid(128, 32), WindowGrid(256, 64)]
)
LIMITS = st.builds(
    Limits,
    threads=st.integers(1, 64),
    batch_size=st.integers(1, 256),
    max_memory=st.integers(1, 8192).map(lambda n: n * MIB),
)


@given(LOADS, GRIDS, LIMITS)
def test_a_plan_keeps_to_the_memory_or_says_what_it_needs(load, grid, limits):
    try:
        work = plan_memory(load, grid, limits)
    except UsageError as error:
        [needed] = re.findall(r"needs (\d+) MiB", str(error))
        enough = Limits(limits.threads, limits.batch_size, int(needed) * MIB)
        assert plan_memory(load, grid, enough).bytes > limits.max_memory
        return
    assert 0 < work.bytes <= limits.max_memory
    assert work.rows_of_windows >= 1
    more = Limits(limits.threads, limits.batch_size, 2 * limits.max_memory)
    assert plan_memory(load, grid, more).rows_of_windows >= work.rows_of_windows


def test_a_full_tile_fits_into_the_default():
    coarse = coarse_bytes(10_980, 10_980)
    tile = Footprint(10_980, 6, 512 * 10_980, cells=1373**2, coarse=coarse)
    assert plan_memory(tile, WindowGrid(), Limits(threads=2)).bytes <= 1 << 30
    many = plan_memory(tile, WindowGrid(), Limits(threads=64, batch_size=512))
    assert many.bytes <= 1 << 30
    assert side_by_side(64, Limits(64, many.batch_size)) >= 2  # what memory allows
    large = plan_memory(tile, WindowGrid(), Limits(64, 512, 8 << 30))
    assert side_by_side(64, Limits(64, large.batch_size)) == 64


@pytest.mark.parametrize(
    ("text", "size"), [("1GiB", 1 << 30), ("600 mib", 600 << 20), ("1.5G", 3 << 29), (7, 7)]
)
def test_sizes_are_read(text, size):
    assert Settings(max_memory=text).limits.max_memory == size


@pytest.mark.parametrize("text", ["", "much", "-1G", "1GG", "600"])
def test_other_sizes_are_refused(text):
    with pytest.raises(UsageError, match="max_memory"):
        Settings(max_memory=text)


@pytest.mark.parametrize("answer", ["three", "none", "smaller", "fewer"])
def test_a_network_that_answers_in_another_shape_is_refused(answer, scene, tmp_path):
    def network(patches, _):
        answers = {
            "three": patches,
            "none": None,
            "smaller": np.zeros((len(patches), 4, 32, 32), np.float32),
            "fewer": np.zeros((1, 4, 64, 64), np.float32)[: len(patches) - 1],
        }
        return answers[answer]

    with pytest.raises(GeodecloudError, match=r"the network returned .* must return \(\d+, 4, 64"):
        decloud_scene(scene, tmp_path / "out.tif", network, Settings(bands=(1, 2, 3)))
