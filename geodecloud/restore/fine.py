"""Run the fine pass: the windows of a scene at full resolution that its gate lets through."""

from collections.abc import Generator
from contextlib import closing

import numpy as np

from geodecloud.radiometry import Radiometry
from geodecloud.raster.rows import Rows
from geodecloud.restore.coarse import Coarse
from geodecloud.restore.memory import MemoryPlan
from geodecloud.restore.patches import (
    CHANGE,
    OPACITY,
    SHADOW,
    Network,
    RowSource,
    read_swaths,
)
from geodecloud.restore.stages import prefetch
from geodecloud.restore.window_pass import Strip, window_pass
from geodecloud.restore.windows import grid_of
from geodecloud.settings import Windows


def fine_pass(
    scene: RowSource, network: Network, windows: Windows, plan: MemoryPlan, coarse: Coarse
) -> Generator[Rows]:
    """Yield the rows of the scene, from the top down, with change, opacity and shadow.

    Args:
        coarse: the coarse answer; for a small scene it is final, and no window is computed again.
    """
    if coarse.is_full_resolution:
        yield from _known_rows(scene, network.radiometry, windows, plan, coarse)
        return
    guide = coarse if coarse.gives_context else None
    with closing(window_pass(scene, network, windows, plan, guide)) as strips:
        for strip in strips:
            columns = None
            if coarse.gives_context:
                columns = coarse.cloudy_columns(strip.first, strip.swath.end)
                coarse.merge(strip.first, strip.light, strip.answer, columns)
            yield _rows(strip, network.radiometry, columns)


def _known_rows(
    scene: RowSource, radiometry: Radiometry, windows: Windows, plan: MemoryPlan, coarse: Coarse
) -> Generator[Rows]:
    grid = grid_of(windows)
    with closing(prefetch(read_swaths(scene, grid, plan.rows_of_windows))) as swaths:
        for swath in swaths:
            rows = slice(swath.first, swath.end)
            light, answer = coarse.light[:, rows], coarse.answer[:, rows].copy()
            computed = sum(coarse.computed[top] for top in {top for top, _ in swath.corners})
            yield _rows(Strip(swath, light, answer, computed), radiometry)


def _rows(strip: Strip, radiometry: Radiometry, columns: tuple[slice, ...] | None = None) -> Rows:
    """Return the rows of a strip, with the change in the scene's radiometry.

    Args:
        columns: see :class:`Rows`.
    """
    swath, answer = strip.swath, strip.answer
    count = answer.shape[1]
    rows = Rows(
        first=swath.first,
        dn=swath.dn[:, :count],
        valid=swath.valid[:count],
        change=radiometry.from_network(answer[CHANGE]),
        opacity=answer[OPACITY],
        shadow=answer[SHADOW],
        windows=len(swath.corners),
        windows_skipped=len(swath.corners) - strip.computed,
        columns=columns,
    )
    for some in rows.changing:  # pixels without data have no cloud
        np.copyto(answer[OPACITY:, :, some], 0, where=~rows.valid[:, some])  # NaN * 0 is NaN
    return rows
