"""Time the code around the network: windows, blending, radiometry and cloud synthesis.

    pip install pytest-benchmark
    python -m pytest benchmarks/test_micro.py -W default

The result is the last column, OPS. No time is asserted: compare two revisions on a quiet machine.
"""

import numpy as np
import pytest
import torch

from geodecloud.data.clouds import cloud_draw, simulate_clouds
from geodecloud.data.config import CloudMix
from geodecloud.radiometry import Radiometry
from geodecloud.restore.blend import StripBlend
from geodecloud.restore.windows import WindowGrid

WIDTH = 10_980  # of a Sentinel-2 tile at 10 m
GRID = WindowGrid()


def test_windows(benchmark):
    assert len(benchmark(GRID.starts, WIDTH)) == 229


def test_blending_one_row_of_windows(benchmark):
    blend = StripBlend(4, GRID.size, WIDTH, GRID)
    patch = np.ones((4, GRID.size, GRID.size), np.float32)
    columns = GRID.starts(WIDTH)

    def row():
        for column in columns:
            blend.add(patch, 0, column)
        return blend.take(GRID.stride)

    np.testing.assert_allclose(benchmark(row), 1, rtol=1e-6)


def test_radiometry_one_row_of_windows(benchmark):
    dn = np.full((3, GRID.size, WIDTH), 1375, np.uint16)
    assert benchmark(Radiometry().to_model, dn).max() == pytest.approx(0.5)


def test_synthesis_of_clouds_on_16_tiles(benchmark):
    clear = torch.full((16, 3, 64, 64), 0.3)
    draw = cloud_draw(0, 0, range(16))
    cloudy = benchmark(simulate_clouds, clear, draw, CloudMix()).cloudy
    assert cloudy.shape == clear.shape
