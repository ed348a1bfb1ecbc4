"""Measure how visible the borders of the windows are in a restored scene."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.decloud import decloud_scene
from geodecloud.errors import DataError
from geodecloud.evaluation.tables import Scores
from geodecloud.model.predictor import load_predictor
from geodecloud.raster.provenance import COMPUTED, Provenance, among, read_provenance
from geodecloud.raster.scene import open_scene
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import ModelSpec, Reading, Settings

_CHANCE_DISTANCE = 3  # least distance in pixels of a chance edge from every border


def evaluate_seams(src: Path, model: Path | None, grid: WindowGrid) -> Scores:
    """Restore a scene and measure the seams at its windows' borders; it must fit into memory.

    Args:
        model: a model file; None: the built-in one.
        grid: the grid of windows to restore with.

    Returns:
        the scores of :func:`measure_seams`.

    Raises:
        DataError: too few pixels changed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, provenance_path = Path(folder) / "restored.tif", Path(folder) / "provenance.tif"
        settings = Settings(
            window=grid.size, overlap=grid.overlap, provenance=provenance_path, force=True
        )
        report = decloud_scene(src, out, load_predictor(ModelSpec(model=model)), settings)
        settled = Reading(bands=report.bands, declared_nodata_only=True)
        with open_scene(out, settled) as restored:
            dn = restored.read(0, report.height)[0][restored.rgb]
        provenance = read_provenance(provenance_path)
    changed = among(provenance, (*COMPUTED, Provenance.FILLED))
    scores = measure_seams(dn, changed, grid)
    if scores is None:
        raise DataError(f"{src}: too few pixels changed to measure seams; give a cloudier scene")
    return scores


def measure_seams(dn: NDArray[Any], counted: NDArray[np.bool_], grid: WindowGrid) -> Scores | None:
    """Compare the DN steps across the borders of windows with the steps one pixel beside them.

    The land and the blend have patterns of their own. So the same ratio is measured at the borders
    shifted away from all windows' borders; it is the chance ratio.

    Args:
        dn: (bands, rows, columns).
        counted: bool (rows, columns); an edge counts where two pixels on each side are True.

    Returns:
        ``across`` and ``beside``: ``mean`` and 99th percentile ``p99`` of the steps, in DN.
        ``ratio``: of the two means. ``chance``: the mean ratio over the shifts, and
        ``chance_deviation``, its standard deviation. ``excess``: ratio / chance - 1, near 0
        without seams. None if no edge counts at the borders or away from them, or if all pixels
        are equal.
    """
    across, beside = _steps(dn, counted, grid, 0)
    elsewhere = [_steps(dn, counted, grid, shift) for shift in range(_CHANCE_DISTANCE, grid.stride)]
    ratios = [there.mean() / next_to.mean() for there, next_to in elsewhere if next_to.any()]
    if not (beside.any() and any(ratios)):
        return None
    ratio, chance = across.mean() / beside.mean(), np.mean(ratios)
    return {
        **{
            name: {"mean": float(steps.mean()), "p99": float(np.percentile(steps, 99))}
            for name, steps in (("across", across), ("beside", beside))
        },
        "ratio": float(ratio),
        "chance": float(chance),
        "chance_deviation": float(np.std(ratios)),
        "excess": float(ratio / chance - 1),
    }


def _steps(
    dn: NDArray[Any], counted: NDArray[np.bool_], grid: WindowGrid, shift: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the absolute DN steps across shifted borders, and one pixel beside them: 1-D each."""
    across, beside = [np.empty(0)], [np.empty(0)]
    for values, usable in ((dn, counted), (dn.transpose(0, 2, 1), counted.T)):  # borders as columns
        for edge in _edges(grid, usable.shape[1], shift):
            around = slice(edge - 2, edge + 2)  # two pixels on each side
            rows = usable[:, around].all(axis=1)
            steps = np.abs(np.diff(values[:, rows, around].astype(np.float64), axis=2))
            across.append(steps[:, :, 1].ravel())
            beside.append(steps[:, :, ::2].ravel())
    return np.concatenate(across), np.concatenate(beside)


def _edges(grid: WindowGrid, length: int, shift: int) -> Iterator[int]:
    """Yield the first pixel after each border along an axis, or after each shifted border."""
    starts = grid.starts(length)
    borders = np.array(sorted({*starts, *(start + grid.size for start in starts)}))
    for border in borders:
        edge = int(border) + shift
        far = shift == 0 or np.abs(borders - edge).min() >= _CHANCE_DISTANCE
        if 2 <= edge <= length - 2 and far:
            yield edge
