"""Test the seam scores: no seam from a network of single pixels, seams from one of patches."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodecloud.errors import DataError
from geodecloud.evaluation.seams import evaluate_seams, measure_seams
from geodecloud.restore.windows import WindowGrid
from tests.conftest import noise, write_scene


def lighten(patches, _):
    """Change every pixel, each by its own value alone."""
    return np.concatenate([patches * 0.8, np.full_like(patches[:, :1], 0.3)], axis=1)


def tint(patches, _):
    """Shift the colour of each patch by a random amount."""
    shift = np.random.default_rng(patches.size).uniform(-0.1, 0.1, (len(patches), 3, 1, 1))
    return np.concatenate(
        [patches * 0.8 + shift, np.full_like(patches[:, :1], 0.3)], axis=1
    ).astype(np.float32)


@pytest.fixture
def restored_by(tmp_path, monkeypatch):
    """Score smooth land with a little noise, restored by a plain function."""
    rows, columns = np.mgrid[:400, :500]
    land = 1500 + 300 * np.sin(rows / 40) + 300 * np.cos(columns / 50)
    src = write_scene(tmp_path / "in.tif", (land + noise((3, 400, 500)) / 100).astype(np.uint16))

    def run(function, grid):
        monkeypatch.setattr("geodecloud.evaluation.seams.load_predictor", lambda _: function)
        return evaluate_seams(src, None, grid)

    return run


@pytest.mark.parametrize("grid", [WindowGrid(), WindowGrid(128), WindowGrid(64, 0)])
def test_no_seam_if_each_pixel_is_restored_by_itself(restored_by, grid):
    figures = restored_by(lighten, grid)
    assert abs(figures["excess"]) < 0.02
    assert figures["across"]["p99"] >= figures["across"]["mean"] > 0


def test_hard_borders_between_patches_are_found_and_the_blend_hides_them(restored_by):
    hard = restored_by(tint, WindowGrid(64, 0))["excess"]
    assert hard > 0.5
    assert abs(restored_by(tint, WindowGrid(64, 16))["excess"]) < hard / 10


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 1000), st.integers(100, 180), st.integers(100, 180))
def test_a_step_at_the_borders_is_measured_exactly(step, height, width):
    """Put a step at each border of an image that rises by 1 from pixel to pixel."""
    grid = WindowGrid(32, 0)

    def ramp(length):
        starts = np.array(grid.starts(length)[1:])
        passed = np.searchsorted(starts, np.arange(length), "right")
        return np.arange(length) + step * passed

    rows, columns = height - height % 32, width - width % 32  # no window is moved back
    picture = ramp(rows)[:, None] + ramp(columns)[None, :]
    figures = measure_seams(picture[None], np.ones(picture.shape, bool), grid)
    assert figures["across"] == {"mean": 1 + step, "p99": 1 + step}
    assert figures["beside"] == {"mean": 1, "p99": 1}
    assert figures["chance"] == 1
    assert figures["excess"] == pytest.approx(step)


def test_pixels_that_are_not_counted_have_no_influence():
    rng = np.random.default_rng(0)
    dn = rng.integers(0, 4000, (3, 300, 200))
    where = np.ones((300, 200), bool)
    where[100:180] = False
    spoiled = dn.copy()
    spoiled[:, ~where] = 65535
    assert measure_seams(dn, where, WindowGrid()) == measure_seams(spoiled, where, WindowGrid())


def test_a_scene_without_changes_is_refused_in_one_line(tmp_path, monkeypatch, cli):
    def see_nothing(patches, _):
        return np.concatenate([patches, 0 * patches[:, :1]], axis=1)

    src = write_scene(tmp_path / "in.tif", noise((3, 150, 150)), photometric="rgb")
    monkeypatch.setattr("geodecloud.evaluation.seams.load_predictor", lambda _: see_nothing)
    with pytest.raises(DataError, match=r"in\.tif: too few pixels"):
        evaluate_seams(src, None, WindowGrid())
    ran = cli("evaluate", "--seams", src)
    assert ran.code == 1
    assert ran.err.count("\n") == 1


def test_on_the_command_line(tmp_path, monkeypatch, cli):
    src = write_scene(tmp_path / "in.tif", noise((3, 300, 300)))
    monkeypatch.setattr("geodecloud.evaluation.seams.load_predictor", lambda _: lighten)
    figures = json.loads(cli("evaluate", "--seams", src, "--json").out)
    assert figures["ratio"] == pytest.approx(1, abs=0.02)
    assert "from chance" in cli("evaluate", "--seams", src, "--window", "128").out
    assert cli("evaluate", "--seams", src, "--tiles", tmp_path).code == 2
