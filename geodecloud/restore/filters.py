"""Filter and resample arrays; no result depends on the division of a scene into strips."""

from collections.abc import Iterable, Iterator
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_ROWS = 64  # rows filtered at once, to save memory
_POWERS = (2, 4, 8, 16, 32, 64, 128, 256)  # of 2
_AT_ONCE = 1 << 15  # values processed at once, which fit into a cache


def dilate(values: Floats, radius: int) -> Floats:
    """Return the maximum over a square of ``2 radius + 1`` pixels a side, float32 (rows, columns).

    The filter is separable: one axis after the other. Each step doubles the length covered.
    """
    for axis in (0, 1):
        padded = _with_edges(values, axis, radius)
        length, known = values.shape[axis], 1
        while known < 2 * radius + 1:
            step = min(known, 2 * radius + 1 - known)
            left, right = _cut(axis, 0, -step), _cut(axis, step, None)
            padded = np.maximum(padded[left], padded[right])
            known += step
        values = padded[_cut(axis, 0, length)]
    return values


def runs(flags: NDArray[np.bool_], block: int = 1) -> tuple[slice, ...]:
    """Return slices that cover the blocks with a flagged element.

    Args:
        flags: bool (count,).
        block: elements in a block; the last may have fewer.
    """
    padded: NDArray[np.bool_] = np.pad(flags, (0, -len(flags) % block))
    flagged = padded.reshape(-1, block).any(axis=1).astype(np.int8)
    ends = np.flatnonzero(np.diff(flagged, prepend=0, append=0)) * block
    return tuple(slice(int(a), min(int(b), len(flags))) for a, b in ends.reshape(-1, 2))


def widened(columns: Iterable[slice], by: int, width: int) -> tuple[slice, ...]:
    """Return columns widened by ``by`` on each side; slices that then touch become one.

    Args:
        columns: slices in any order.
        width: number of columns in all.
    """
    out: list[slice] = []
    for some in sorted(columns, key=lambda some: some.start):
        start, stop = max(some.start - by, 0), min(some.stop + by, width)
        if out and start <= out[-1].stop:
            start, stop = out[-1].start, max(out.pop().stop, stop)
        out.append(slice(start, stop))
    return tuple(out)


def soft_dilations(values: NDArray[Any], radius: int, soft: int) -> Iterator[tuple[slice, Floats]]:
    """Yield a dilation followed by a box mean, a few rows at once: their slice and float32 values.

    Args:
        values: (rows, columns), any dtype.
        radius: of the dilation, in pixels.
        soft: radius of the box mean, in pixels.
    """
    height, reach = len(values), radius + soft
    for first in range(0, height, _ROWS):
        last, top = min(first + _ROWS, height), max(first - reach, 0)
        around = dilate(values[top : last + reach].astype(np.float32), radius)
        yield slice(first, last), box_mean(around, soft)[first - top : last - top]


def box_mean(values: Floats, radius: int) -> Floats:
    """Return the mean of a square of ``2 radius + 1`` pixels a side, float32 (..., rows, columns).

    Runs of 1, 2, 4... pixels are summed in the same order for every pixel, so that the result does
    not depend on the strip.
    """
    wanted = 2 * radius + 1
    for axis in (values.ndim - 2, values.ndim - 1):
        sums = _with_edges(values, axis, radius)  # sums of ``length`` pixels
        total, start, length = np.zeros_like(values), 0, 1
        while length <= wanted:
            if wanted & length:
                total += sums[_cut(axis, start, start + values.shape[axis])]
                start += length
            sums = sums[_cut(axis, 0, -length)] + sums[_cut(axis, length, None)]
            length *= 2
        values = total / np.float32(wanted)
    return values


def cell_sums(values: Floats, cell: int) -> Floats:
    """Return the sums over cells, float32 (bands, rows / cell, columns / cell), rounded up.

    The order of summation is fixed, so strips do not matter.

    Args:
        values: float32 (bands, rows, columns); whole rows of cells.
        cell: height and width of a cell in pixels.
    """
    rows: Floats = reduce(np.add, (values[:, i::cell] for i in range(cell)))
    if beyond := -rows.shape[2] % cell:
        rows = np.pad(rows, ((0, 0), (0, 0), (0, beyond)))
    return reduce(np.add, (rows[:, :, i::cell] for i in range(cell)))


def upsample(cells: Floats, cell: int, rows: tuple[int, int], width: int, left: int = 0) -> Floats:
    """Interpolate cells to pixels bilinearly: float32 (bands, rows, width).

    Args:
        cells: float32 (bands, rows, columns).
        cell: height and width of a cell in pixels.
        rows: the first pixel row, and the one after the last.
        width: number of pixel columns to return.
        left: the first pixel column.
    """
    for axis, (first, last) in ((1, rows), (2, (left, left + width))):
        if axis == 2 and cell in _POWERS:
            return _upsample_columns(cells, cell, first, last)
        lower, upper, weight = _between(cell, first, last, cells.shape[axis])
        weight = weight[:, None] if axis == 1 else weight
        below, cells = cells.take(lower, axis), cells.take(upper, axis)
        cells -= below
        cells *= weight
        cells += below
    return cells


def _upsample_columns(cells: Floats, cell: int, first: int, last: int) -> Floats:
    """Interpolate along the columns in half the time, for cells of 2, 4, 8... pixels.

    Args:
        first, last: the first pixel column, and the one after the last.
    """
    start = max(first // cell - 1, 0)
    cells = cells[..., start : -(-last // cell) + 1]
    gaps = cells.shape[2] + 1  # between the centres of cells, and half a gap at each edge
    before = np.empty((*cells.shape[:2], gaps), np.float32)
    before[..., 1:], before[..., 0] = cells, cells[..., 0]
    step = np.zeros_like(before)
    np.subtract(cells[..., 1:], cells[..., :-1], out=step[..., 1:-1])
    base, rise = before.ravel(), step.ravel()
    out, shift = np.empty((len(base), cell), np.float32), cell // 2 - start * cell
    for at in range(0, len(base), _AT_ONCE):
        some = slice(at, at + _AT_ONCE)
        for i in range(cell):
            np.add(rise[some] * np.float32((i + 0.5) / cell), base[some], out=out[some, i])
    return out.reshape(*cells.shape[:2], gaps * cell)[..., first + shift : last + shift]


@lru_cache(16)  # windows and strips need the same few again and again
def _between(
    cell: int, first: int, last: int, count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return the cells before and after each pixel along an axis, and the weight of the latter.

    Args:
        first, last: the first pixel, and the one after the last.
        count: number of cells.
    """
    side = 2 * cell  # of a cell, in half pixels: whole numbers, so that no strip rounds otherwise
    position = np.clip(2 * np.arange(first, last) + 1 - cell, 0, side * (count - 1))
    lower, beyond = np.divmod(position, side)
    return lower, np.minimum(lower + 1, count - 1), (beyond / side).astype(np.float32)


def smoothstep(values: Floats, start: float, end: float) -> Floats:
    """Return a smooth step from 0 at ``start`` to 1 at ``end``, which may be smaller: float32.

    It is 3 t^2 - 2 t^3 of t, which rises linearly between the two.
    """
    t: Floats = (values - np.float32(start)) / np.float32(end - start)
    t = np.clip(t, 0, 1).astype(np.float32)
    return t * t * (3 - 2 * t)


def _with_edges(values: Floats, axis: int, radius: int) -> Floats:
    """Pad an axis with its edge values: ``np.pad``, ``mode="edge"``, without its overhead.

    Args:
        radius: number of pixels to add on each side.
    """
    length, shape = values.shape[axis], list(values.shape)
    shape[axis] += 2 * radius
    out = np.empty(shape, values.dtype)
    out[_cut(axis, radius, radius + length)] = values
    out[_cut(axis, 0, radius)] = values[_cut(axis, 0, 1)]
    out[_cut(axis, radius + length, None)] = values[_cut(axis, length - 1, None)]
    return out


def _cut(axis: int, start: int, stop: int | None) -> tuple[Any, ...]:
    return (slice(None),) * axis + (slice(start, stop),)
