"""Run the coarse pass: the network over the means of a scene's cells."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.rows import given
from geodecloud.restore.cells import PooledScene
from geodecloud.restore.coarse import DEPTH, Coarse
from geodecloud.restore.filters import Floats
from geodecloud.restore.find_shade import find_shade
from geodecloud.restore.memory import MemoryPlan
from geodecloud.restore.other_bands import NO_OTHERS, OtherBands
from geodecloud.restore.patches import CHANNELS, OPACITY, SHADOW, Network, RowSource
from geodecloud.restore.shadows import (
    hidden_fraction,
    shadow_displacement,
    thrown_shadows,
    with_black_shadows,
)
from geodecloud.restore.survey_feed import AddRows, SurveyFeed
from geodecloud.restore.window_pass import window_pass
from geodecloud.settings import Windows

_ROWS = 64  # rows of cells at once
_UNEVEN = 0.3  # unevenness of the shadows' depth, from which black land may be in shadow
_LESS_SURE = 1.4  # factor on the coarse shadow: the network is less sure of shadows of cells


def coarse_pass(
    scene: RowSource,
    network: Network,
    windows: Windows,
    plan: MemoryPlan,
    add_rows: AddRows | None,
    cell: int,
    others: OtherBands = NO_OTHERS,
) -> Coarse:
    """Run the network over the means of a scene's cells.

    Args:
        windows: used where cells are pixels; over larger cells the default windows are used.
        plan: of the memory; the coarse pass computes one row of windows at a time.
        add_rows: takes rows of the scene as the coarse answer restores them, like
            :meth:`geodecloud.restore.fill.survey.Survey.add`; None: not called.
        cell: pixels along a side of a cell, see :func:`~geodecloud.restore.cells.cell_of`.
        others: bands besides red, green and blue, to sample and to pass to ``add_rows``.
    """
    if cell > 1:
        windows = Windows()  # the network is trained on these; larger ones find less
    source = PooledScene(scene, network, cell, kept=add_rows is not None, others=others)
    dtype = np.float32 if cell == 1 else np.float16
    height, width = source.shape
    coarse = Coarse(
        cell,
        scene.shape[1],
        np.zeros((3, height, width), dtype),
        np.zeros((CHANNELS, height, width), dtype),
        gives_context=network.takes_context,
        computed={},
        thrown=np.zeros((2, height, width), np.uint8),
        of_picture=network.radiometry.is_picture,
        known=np.zeros((height, width), np.bool_),
        sampled=source.sampled,
    )
    feed = None
    if add_rows:
        feed = SurveyFeed(coarse, scene.shape[0], source, network, add_rows, others)
    plan = replace(plan, rows_of_windows=1)
    with closing(window_pass(source, network, windows, plan, light_of=_as_it_is)) as strips:
        for strip in strips:
            rows = slice(strip.first, strip.first + strip.answer.shape[1])
            coarse.light[:, rows] = strip.light
            valid = strip.swath.valid[: strip.answer.shape[1]]
            coarse.answer[:, rows] = strip.answer * valid  # 0 in a cell without a valid pixel
            given(coarse.known)[rows] = valid
            coarse.computed[strip.first] = strip.computed
            if feed:
                feed.until(rows.stop)
    return _with_shadows(coarse)


def _with_shadows(coarse: Coarse) -> Coarse:
    """Return the coarse answer with the shadows that the scene's clouds cast, and their depth.

    The shadow in the answer is replaced in place: the network takes lakes for shadows, too.
    """
    opacity, shadow = coarse.answer[OPACITY], coarse.answer[SHADOW]
    sought = coarse.gives_context and not coarse.is_full_resolution
    displacement = shadow_displacement(opacity, shadow) if sought else None
    if displacement is None:
        shadow[:] = 0
        return coarse
    thrown = thrown_shadows(opacity, shadow, displacement)
    shade = find_shade(coarse.light, opacity, thrown[0])
    distinctness = shade.distinctness if shade else 0.0
    if shade and shade.unevenness > _UNEVEN:
        black = shade.black_cells(coarse.light) & given(coarse.known)
        thrown = with_black_shadows(thrown, black, opacity, displacement)
        again = find_shade(coarse.light, opacity, thrown[0])  # without black land among the sunlit
        shade = replace(again, distinctness=distinctness) if again else shade
    height, width = shadow.shape
    for first in range(0, height, _ROWS):
        rows = first, min(first + _ROWS, height)
        light, parts, looks = (
            cells[..., slice(*rows), :].astype(np.float32)
            for cells in (coarse.light, thrown, shadow)
        )
        dark = shade.darkness(light, light, shade.beside_at(1, rows, width)) if shade else None
        hidden = hidden_fraction(parts, np.float32(_LESS_SURE) * looks, dark, distinctness)
        known = given(coarse.known)[slice(*rows)]  # elsewhere 0, see Coarse.at_known
        shadow[slice(*rows)] = DEPTH * hidden * known
    return replace(coarse, thrown=thrown, shade=shade)


def _as_it_is(light: NDArray[Any]) -> Floats:
    return light
