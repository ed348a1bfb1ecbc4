"""Screen the rows: find the pixels to fill, and clear the cloud outside of the mask."""

from collections import deque
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.rows import Rows, given
from geodecloud.restore.cells import CELL
from geodecloud.restore.classify import cover
from geodecloud.restore.filters import Floats, box_mean, dilate, runs, smoothstep, widened
from geodecloud.settings import Policy

_OWN = (0.10, 0.20)  # own opacity near opaque cloud: up to the first ground, from the second filled
_BLOCK = 128  # columns tested together
_RISE = 0.05  # opacity below ``opaque_above`` over which the fill weight rises


@dataclass(frozen=True)
class Fringe:
    """The ground around opaque cloud that it spoils: by thin rims, parallax, scattered light.

    At 10 m tuned on the thirteen thick pairs of benchmarks/CONTEXT.md, where the plateau is wide.

    around: pixels around opaque cloud.
    close: radius in pixels of the dilation of a pixel's own opacity.
    soft: radius in pixels of the box mean that softens the fill's edge, twice.
    """

    around: int = 10
    close: int = 1
    soft: int = 2

    @classmethod
    def of(cls, cell: int) -> "Fringe":
        """Return the fringe of a scene by the side of its cells in pixels, as wide on the ground.

        For large pixels it is not narrower than at 10 m.
        """
        times = max(1, cell / CELL)
        return cls(*(round(times * pixels) for pixels in astuple(cls())))

    @property
    def reach(self) -> int:
        """Number of rows above and below on which the fill weight of a row depends."""
        return self.around + 2 * self.soft


_USUAL = Fringe()


class Mask(Protocol):
    """A mask on the scene's grid: see :class:`geodecloud.raster.mask.CloudMask`."""

    def read(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return where rows ``first`` to ``last`` (excluded) may change: bool (rows, width)."""


def screen(
    rows: Iterator[Rows], mask: Mask | None, policy: Policy, fringe: Fringe = _USUAL
) -> Iterator[Rows]:
    """Yield the same rows with their fill weight, and without cloud outside of the mask.

    The result does not depend on the strips: rows are held back until the rows below them on which
    they depend have come.

    Args:
        mask: where pixels may change; None: everywhere.
    """
    above: list[Floats] = []  # cover of the last rows that were yielded
    held: deque[Rows] = deque()
    for more in chain(rows, [None]):  # None marks the end
        if more is not None:
            held.append(more)
        while held and (more is None or held[-1].last >= held[0].last + fringe.reach):
            current = held.popleft()
            around = np.concatenate([*above, *(cover(some, policy) for some in (current, *held))])
            first = sum(map(len, above))
            inner = slice(first, first + len(current.valid))
            above = [around[max(0, inner.stop - fringe.reach) : inner.stop].copy()]
            around = around[: inner.stop + fringe.reach]
            screened = _screened(current, around, inner, policy, fringe)
            yield screened if mask is None else _within(screened, mask)


def _screened(rows: Rows, around: Floats, inner: slice, policy: Policy, fringe: Fringe) -> Rows:
    """Return rows with their fill weight, computed only near opaque cloud, 0 elsewhere.

    Args:
        around: float32 (rows, width), cover of the rows and of ``fringe.reach`` rows around.
        inner: the rows themselves, in ``around``.
    """
    weight, width = np.zeros(rows.valid.shape, np.float32), around.shape[1]
    opaque = around.max(axis=0) >= np.float32(policy.opaque_above - _RISE)
    near = widened(runs(opaque, _BLOCK), fringe.reach, width)
    for some in near:
        (wide,) = widened([some], fringe.reach, width)
        part = fill_weight(around[:, wide], policy, fringe)[inner, some.start - wide.start :]
        np.multiply(part[:, : some.stop - some.start], rows.valid[:, some], out=weight[:, some])
    columns = widened((*rows.changing, *near), 0, width)
    return replace(rows, fill_weight=weight, columns=columns)


def _within(rows: Rows, mask: Mask) -> Rows:
    """Return rows whose opacity, shadow and fill weight are 0 outside of the mask."""
    cloud = mask.read(rows.first, rows.last)
    found = {name: given(getattr(rows, name)) * cloud for name in ("opacity", "fill_weight")}
    shadow = None if rows.shadow is None else rows.shadow * cloud
    return replace(rows, **found, shadow=shadow)


def fill_weight(opacity: Floats, policy: Policy, fringe: Fringe = _USUAL) -> Floats:
    """Return the weight of the fill at each pixel: float32 (rows, columns), 0..1.

    1 in the fringe of cloud above ``opaque_above`` where the pixel itself is cloudy too; 0
    elsewhere; smooth between.

    Args:
        opacity: float32 (rows, columns), 0..1. The weight of a row depends on ``fringe.reach`` rows
            above and below.
    """
    opaque_above = policy.opaque_above
    if (opacity < opaque_above - _RISE).all():
        return np.zeros_like(opacity)
    near = box_mean(box_mean(dilate(opacity, fringe.around), fringe.soft), fringe.soft)
    beside = smoothstep(1 - (np.float32(opaque_above) - near) / np.float32(_RISE), 0, 1)
    close = box_mean(dilate(opacity, fringe.close), fringe.soft)
    return beside * smoothstep(close, *_OWN)
