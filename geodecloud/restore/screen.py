"""Screen the rows: find the pixels to fill, and clear the cloud outside of the mask."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.rows import Rows, given
from geodecloud.restore.classify import cover
from geodecloud.restore.filters import Floats, box_mean, dilate, runs, smoothstep, widened
from geodecloud.settings import Policy

# The fill, tuned on the thirteen thick pairs of benchmarks/CONTEXT.md, where the plateau is wide.
_FRINGE = 10  # pixels around opaque cloud of spoilt ground: fringes, parallax, adjacency effect
_CLOSE = 1  # radius in pixels of the dilation of a pixel's own opacity
_OWN = (0.10, 0.20)  # own opacity near opaque cloud: up to the first ground, from the second filled
_SOFT = 2  # radius in pixels of the box mean that softens the fill's edge, twice
_BLOCK = 128  # columns tested together
_RISE = 0.05  # opacity below ``opaque_above`` over which the fill weight rises

REACH = _FRINGE + 2 * _SOFT  # rows above and below on which the fill weight of a row depends


class Mask(Protocol):
    """A mask on the scene's grid: see :class:`geodecloud.raster.mask.CloudMask`."""

    def read(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return where rows ``first`` to ``last`` (excluded) may change: bool (rows, width)."""


def screen(rows: Iterator[Rows], mask: Mask | None, policy: Policy) -> Iterator[Rows]:
    """Yield the same rows with their fill weight, and without cloud outside of the mask.

    The result does not depend on the strips: rows are held back until the ``REACH`` rows below them
    have come.

    Args:
        mask: where pixels may change; None: everywhere.
    """
    above: list[Floats] = []  # cover of the last rows that were yielded
    held: deque[Rows] = deque()
    for more in chain(rows, [None]):  # None marks the end
        if more is not None:
            held.append(more)
        while held and (more is None or held[-1].last >= held[0].last + REACH):
            current = held.popleft()
            around = np.concatenate([*above, *(cover(some, policy) for some in (current, *held))])
            first = sum(map(len, above))
            inner = slice(first, first + len(current.valid))
            above = [around[max(0, inner.stop - REACH) : inner.stop].copy()]
            screened = _screened(current, around[: inner.stop + REACH], inner, policy)
            yield screened if mask is None else _within(screened, mask)


def _screened(rows: Rows, around: Floats, inner: slice, policy: Policy) -> Rows:
    """Return rows with their fill weight, computed only near opaque cloud, 0 elsewhere.

    Args:
        around: float32 (rows, width), cover of the rows and of the ``REACH`` rows around.
        inner: the rows themselves, in ``around``.
    """
    weight, width = np.zeros(rows.valid.shape, np.float32), around.shape[1]
    opaque = around.max(axis=0) >= np.float32(policy.opaque_above - _RISE)
    near = widened(runs(opaque, _BLOCK), REACH, width)
    for some in near:
        (wide,) = widened([some], REACH, width)
        part = fill_weight(around[:, wide], policy)[inner, some.start - wide.start :]
        np.multiply(part[:, : some.stop - some.start], rows.valid[:, some], out=weight[:, some])
    columns = widened((*rows.changing, *near), 0, width)
    return replace(rows, fill_weight=weight, columns=columns)


def _within(rows: Rows, mask: Mask) -> Rows:
    """Return rows whose opacity, shadow and fill weight are 0 outside of the mask."""
    cloud = mask.read(rows.first, rows.last)
    found = {name: given(getattr(rows, name)) * cloud for name in ("opacity", "fill_weight")}
    shadow = None if rows.shadow is None else rows.shadow * cloud
    return replace(rows, **found, shadow=shadow)


def fill_weight(opacity: Floats, policy: Policy) -> Floats:
    """Return the weight of the fill at each pixel: float32 (rows, columns), 0..1.

    1 within 10 px of cloud above ``opaque_above`` where the pixel itself is cloudy too; 0
    elsewhere; smooth between.

    Args:
        opacity: float32 (rows, columns), 0..1. The weight of a row depends on ``REACH`` rows above
            and below.
    """
    opaque_above = policy.opaque_above
    if (opacity < opaque_above - _RISE).all():
        return np.zeros_like(opacity)
    near = box_mean(box_mean(dilate(opacity, _FRINGE), _SOFT), _SOFT)
    beside = smoothstep(1 - (np.float32(opaque_above) - near) / np.float32(_RISE), 0, 1)
    close = box_mean(dilate(opacity, _CLOSE), _SOFT)
    return beside * smoothstep(close, *_OWN)
