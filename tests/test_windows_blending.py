"""Laws of windows and blending: cover all, add up, agree with a naive float64 blend."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodecloud.errors import UsageError
from geodecloud.restore.blend import StripBlend, ramp_weights
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import Windows

grids = st.integers(1, 8).flatmap(
    lambda n: st.integers(0, 8 * n).map(lambda overlap: WindowGrid(16 * n, overlap))
)
ramps = st.sampled_from(["cosine", "linear"])


@given(grids, st.integers(1, 700))
def test_windows_cover_every_pixel_and_stay_inside(grid, length):
    starts = grid.starts(length)
    covered = np.zeros(length, bool)
    for start in starts:
        covered[start : start + grid.size] = True
    assert covered.all()
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] + grid.size <= max(length, grid.size)
    assert max(np.diff(starts), default=0) <= grid.stride


@given(grids, st.integers(1, 700))
def test_cores_cover_every_pixel_and_stay_in_their_windows(grid, length):
    covered = np.zeros(length, bool)
    for start in grid.starts(length):
        core = grid.core(start, length)
        assert start <= core.start < core.stop <= min(start + grid.size, length)
        covered[core] = True
    assert covered.all()


@pytest.mark.parametrize("size", [0, -16, 8, 17, 63])
def test_window_is_a_multiple_of_16(size):
    with pytest.raises(UsageError, match="`window`"):
        Windows(window=size, overlap=0)


@pytest.mark.parametrize("overlap", [-1, 33, 64])
def test_overlap_is_at_most_half_the_window(overlap):
    with pytest.raises(UsageError, match="`overlap`"):
        Windows(window=64, overlap=overlap)


@given(grids, ramps)
def test_ramp_is_positive_symmetric_and_neighbours_add_up_to_one(grid, ramp):
    weights = ramp_weights(grid, ramp)
    assert weights.dtype == np.float32
    assert 0 < weights.min() <= weights.max() <= 1
    np.testing.assert_array_equal(weights, weights[::-1])
    shared = weights[grid.stride :] + weights[: grid.overlap]
    np.testing.assert_allclose(shared, 1, atol=1e-6)


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([WindowGrid(16, 0), WindowGrid(32, 16), WindowGrid(48, 7), WindowGrid(64, 16)]),
    ramps,
    st.integers(0, 2**32 - 1),
)
def test_strip_equals_a_naive_blend_in_any_order(height, width, grid, ramp, seed):
    rng = np.random.default_rng(seed)
    rows, columns = grid.starts(height), grid.starts(width)
    places = [(row, column) for row in rows for column in columns]
    patches = rng.random((len(places), 2, grid.size, grid.size)).astype(np.float32)

    total = np.zeros((2, height + grid.size, width + grid.size))
    weights = np.zeros(total.shape[1:])
    weight = np.multiply.outer(*[ramp_weights(grid, ramp).astype(np.float64)] * 2)
    for (row, column), patch in zip(places, patches, strict=True):
        area = (slice(row, row + grid.size), slice(column, column + grid.size))
        total[(slice(None), *area)] += patch * weight
        weights[area] += weight
    expected = (total / np.maximum(weights, 1e-300))[:, :height, :width]

    whole = StripBlend(2, height, width, grid, ramp)
    for i in rng.permutation(len(places)):
        whole.add(patches[i], *places[i])
    np.testing.assert_allclose(whole.take(height), expected, atol=2e-6)

    rolling = StripBlend(2, min(grid.size, height), width, grid, ramp)
    parts = []
    for row, below in zip(rows, [*rows[1:], height], strict=True):
        for (top, column), patch in zip(places, patches, strict=True):
            if top == row:
                rolling.add(patch, 0, column)
        parts.append(rolling.take(below - row))
    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, atol=2e-6)


def test_where_no_patch_was_added_the_blend_is_zero():
    blend = StripBlend(1, 64, 200, WindowGrid())
    blend.add(np.ones((1, 64, 64), np.float32), 0, 0)
    blended = blend.take(64)
    assert (blended[:, :, :64] == 1).all()
    assert (blended[:, :, 64:] == 0).all()
