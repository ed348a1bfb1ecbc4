"""How visible the borders of the windows are in a restored scene."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.decloud import decloud_scene
from geodecloud.errors import DataError
from geodecloud.evaluation.tables import Scores
from geodecloud.model.checkpoint import default_model
from geodecloud.model.predictor import Predictor
from geodecloud.raster.scene import open_scene
from geodecloud.raster.writer import read_provenance
from geodecloud.restore.composite import FILLED, MEASURED
from geodecloud.restore.windows import Grid
from geodecloud.settings import Settings

_AWAY = 3  # pixels: so far from every border, a place says what chance is


def evaluate_seams(src: Path, model: Path | None, grid: Grid) -> Scores:
    """Restore a scene and measure the borders of its windows; the scene is held in memory.

    Args:
        model: a model file; None: the built-in one.

    Returns:
        see :func:`seams`.

    Raises:
        DataError: too few pixels were changed to say anything.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, marks = Path(folder) / "restored.tif", Path(folder) / "provenance.tif"
        settings = Settings(window=grid.size, overlap=grid.overlap, provenance=marks)
        report = decloud_scene(src, out, Predictor(model or default_model()), settings)
        with open_scene(out, report.bands) as restored:
            dn = restored.read(0, report.height)[0][restored.rgb]
        provenance = read_provenance(marks)
    figures = seams(dn, (provenance > MEASURED) & (provenance <= FILLED), grid)
    if figures is None:
        raise DataError(f"{src}: too few pixels are changed to measure seams; take a cloudier one")
    return figures


def seams(dn: NDArray[Any], where: NDArray[np.bool_], grid: Grid) -> Scores | None:
    """Differences between neighbours across the borders of windows, and one pixel beside them.

    Land and the blend have a pattern of their own, so the same is asked of places away from all
    borders, as many and as regular: what comes out there is chance.

    Args:
        dn: (bands, rows, width).
        where: (rows, width), the pixels that count; of each border, all four pixels must.

    Returns:
        ``across`` and ``beside``: mean and 99th percentile (p99) in DN. ``ratio``, of the two
        means; ``chance``, the mean ratio away from borders, and ``chance_deviation``, its standard
        deviation from place to place; ``excess`` = ratio / chance - 1, near 0 where no seam is.
        None where no pixel counts at the borders, or away from them, or all are of one value.
    """
    across, beside = _differences(dn, where, grid, 0)
    others = [_differences(dn, where, grid, shift) for shift in range(_AWAY, grid.stride)]
    ratios = [there.mean() / next_to.mean() for there, next_to in others if next_to.any()]
    if not (beside.any() and any(ratios)):
        return None
    ratio, chance = across.mean() / beside.mean(), np.mean(ratios)
    return {
        **{
            name: {"mean": float(values.mean()), "p99": float(np.percentile(values, 99))}
            for name, values in (("across", across), ("beside", beside))
        },
        "ratio": float(ratio),
        "chance": float(chance),
        "chance_deviation": float(np.std(ratios)),
        "excess": float(ratio / chance - 1),
    }


def _differences(
    dn: NDArray[Any], where: NDArray[np.bool_], grid: Grid, shift: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Absolute differences across places ``shift`` from the borders, and one pixel beside them."""
    across, beside = [np.empty(0)], [np.empty(0)]
    for values, counted in ((dn, where), (dn.transpose(0, 2, 1), where.T)):
        for place in _places(grid, counted.shape[1], shift):
            around = slice(place - 2, place + 2)  # two pixels on each side
            rows = counted[:, around].all(axis=1)
            steps = np.abs(np.diff(values[:, rows, around].astype(np.float64), axis=2))
            across.append(steps[:, :, 1].ravel())
            beside.append(steps[:, :, ::2].ravel())
    return np.concatenate(across), np.concatenate(beside)


def _places(grid: Grid, length: int, shift: int) -> Iterator[int]:
    """The borders along an axis, as the first pixel beyond each, or places at a shift from them."""
    starts = grid.starts(length)
    borders = np.array(sorted({*starts, *(start + grid.size for start in starts)}))
    for border in borders:
        place = int(border) + shift
        if 2 <= place <= length - 2 and (shift == 0 or np.abs(borders - place).min() >= _AWAY):
            yield place
