"""The noise equals that of the noise library."""

import numpy as np
import pytest
import torch

from geodecloud.data import perlin as module
from geodecloud.data.perlin import PERIOD, fractal_perlin

FAR = {"repeatx": 2**20, "repeaty": 2**20}  # beyond all coordinates


@pytest.fixture
def pnoise2():
    reason = "the noise library (extra train) needs a compiler"
    return pytest.importorskip("noise", reason=reason).pnoise2


@pytest.mark.needs_train
@pytest.mark.parametrize("octaves", [1, 5, 12])
@pytest.mark.parametrize("persistence", [0.5, 0.62])
def test_anywhere(pnoise2, octaves, persistence):
    rng = np.random.default_rng(octaves)
    x, y = rng.uniform(-300, 300, (2, 2000)).astype(np.float32)
    reference = [
        pnoise2(float(a), float(b), octaves=octaves, persistence=persistence, **FAR)
        for a, b in zip(x, y, strict=True)
    ]
    ours = fractal_perlin(torch.from_numpy(x), torch.from_numpy(y), octaves, persistence)
    np.testing.assert_allclose(ours.numpy(), reference, atol=1e-5)


@pytest.mark.needs_train
@pytest.mark.parametrize("scale", [5.0, 33.3, 120.0])
def test_on_a_grid_as_the_article_has_it(pnoise2, scale):
    line = torch.arange(64, dtype=torch.float32)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    ours = fractal_perlin(rows / scale, columns / scale, 12).numpy()
    reference = [
        [pnoise2(i / scale, j / scale, octaves=12, repeatx=1024, repeaty=1024) for j in range(64)]
        for i in range(64)
    ]
    np.testing.assert_allclose(ours, reference, atol=1e-5)


def test_parts_make_the_whole(monkeypatch):
    x, y = torch.rand(2, 5, 30, 40) * PERIOD
    persistence = torch.rand(5, 1, 1)
    whole = fractal_perlin(x, y, 4, persistence)
    monkeypatch.setattr(module, "_chunk", lambda device: 777)
    torch.testing.assert_close(fractal_perlin(x, y, 4, persistence), whole)
    assert fractal_perlin(x[:0], y[:0], 4, persistence[:0]).shape == (0, 30, 40)


def test_it_repeats_and_is_nothing_at_lattice_points():
    x, y = torch.rand(2, 100) * 8
    torch.testing.assert_close(
        fractal_perlin(x + PERIOD, y - PERIOD, 1), fractal_perlin(x, y, 1), atol=1e-4, rtol=0
    )
    assert fractal_perlin(x.floor(), y.floor(), 5).abs().max() == 0
