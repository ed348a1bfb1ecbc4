"""Find undeclared fill: a value along the border of a scene that was not measured there.

A value that is never measured (1e20, anything below 0, or 0 in 16 bits) is nodata everywhere, as if
declared. Black in 8 bits may be a lake; the end of a sensor's range may be saturated cloud. Such a
value counts as fill only if its edge is sharp. It is nodata only where nothing else lies
between it and the border, along the row or the column. (GDAL's ``nearblack`` also searches from the
border inwards.) A scene may have several fill values.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from geodecloud.raster.dn import equal, exact, holds

_USUAL = (-9999, -32768, 32767, 65535)  # besides 0 and the ends of the dtype
_SATURATED = (127, 255, 32767, 65535)  # ends of sensors' and pictures' ranges: may be measured
_BRIGHTEST = 1e6  # no measured DN in floats is larger
_CORNER_RUN = 4  # pixels along the border, from a corner on
_SIDE_RUN = 32  # pixels along the border, anywhere
_SAMPLES = 1024  # most pixels read of the left and of the right border
_NEAR_BLACK, _NEAR_WHITE = 3 / 255, 1 / 8  # of the range: pixels beside a soft edge are as near
_STRIP = 1 << 21  # pixels read at once

Samples = NDArray[Any]  # (3, count): red, green, blue of some pixels


@dataclass(frozen=True)
class Collar:
    """The pixels of a scene from which a straight line through fill alone leads to the border.

    left, right: (rows,): the columns between which a row is not collar, ``right`` not included.
    top, bottom: (columns,): the rows between which a column is not collar, likewise.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    top: NDArray[np.int64]
    bottom: NDArray[np.int64]

    def holds(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pixels at ``rows`` and ``columns`` are collar: bool (rows, columns)."""
        down, across = rows[:, None], columns[None]
        beside = (across < self.left[down]) | (across >= self.right[down])
        held: NDArray[np.bool_] = beside | (down < self.top[across]) | (down >= self.bottom[across])
        return held


@dataclass(frozen=True)
class Fill:
    """One or more undeclared fill values.

    collar: where ``value`` is nodata; None: everywhere.
    others: further values, which are nodata everywhere.
    """

    value: float
    collar: Collar | None = None
    others: tuple[float, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(exact, (self.value, *self.others)))

    def covers(
        self, rgb: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return where pixels are fill: bool (rows, columns).

        Args:
            rgb: (3, rows, columns).
            rows, columns: the pixels' rows and columns in the scene.
        """
        filled = equal(rgb, self.value)
        if self.collar and filled.any():
            filled &= self.collar.holds(rows, columns)
        for value in self.others:
            filled |= equal(rgb, value)
        return filled


def find_fill(dataset: Any, bands: tuple[int, int, int], area: Window) -> Fill | None:
    """Return the undeclared fill along the border of a scene; None: there is none."""
    dtype, declared = np.dtype(dataset.dtypes[0]), dataset.nodata
    whole = declared is None
    borders = list((_borders if whole else _corners)(dataset, bands, area))
    candidates = _candidates(borders, dtype, declared)
    if not whole and any(_fills(borders, value) for value in candidates):
        borders = list(_borders(dataset, bands, area))
        candidates = _candidates(borders, dtype, declared)
    counts = {
        value: sum(int(equal(rgb, value).sum()) for rgb, _ in borders)
        for value in candidates
        if _fills(borders, value)
    }
    found: list[tuple[float, Collar | None]] = []
    for value in sorted(counts, key=lambda value: -counts[value]):
        if not _maybe_light(value, dtype):
            found.append((value, None))
        elif all(collar is None for _, collar in found):
            collar, edge = _find_collar(dataset, bands, area, value)
            if edge.size and _is_sharp(edge, value, dtype):
                found.append((value, collar))
    if not found:
        return None
    found.sort(key=lambda one: one[1] is None)  # the one with a collar first
    return Fill(*found[0], others=tuple(value for value, _ in found[1:]))


def _candidates(
    borders: list[tuple[Samples, int]], dtype: np.dtype[Any], declared: float | None
) -> list[float]:
    """Return the values that may be fill: the usual ones, and impossible ones on the border."""
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    values = dict.fromkeys(map(float, (0, limits.min, limits.max, *_USUAL)))
    for rgb, _ in borders if dtype.kind != "u" else ():
        grey = rgb[0, equal(rgb, rgb[0])]
        dark = (grey < 0) | (grey > _BRIGHTEST) if dtype.kind == "f" else grey < 0
        odd, counts = np.unique(grey[dark], return_counts=True)
        values |= dict.fromkeys(odd[counts >= _CORNER_RUN].astype(float).tolist())
    return [value for value in values if holds(dtype, value) and value != declared]


def _maybe_light(value: float, dtype: np.dtype[Any]) -> bool:
    """Return whether the value may be measured: black in 8 bits, or the end of a sensor's range."""
    return value in _SATURATED or (value == 0 and dtype.itemsize == 1)


def _fills(borders: list[tuple[Samples, int]], value: float) -> bool:
    """Return whether the value fills a long enough run of the border."""
    return any(_is_long(equal(rgb, value), step) for rgb, step in borders)


def _is_long(filled: NDArray[np.bool_], step: int) -> bool:
    """Return whether a run of fill is long enough for a collar.

    Args:
        filled: bool (count,), pixels along a border.
        step: distance between them, in pixels.
    """
    ends = np.flatnonzero(np.diff(np.concatenate([[False], filled, [False]]).astype(np.int8)))
    runs = (ends[1::2] - ends[::2]) * step
    if not runs.size:
        return False
    at_corner = (ends[0] == 0) * runs[0], (ends[-1] == len(filled)) * runs[-1]
    return bool(max(at_corner) >= _CORNER_RUN or runs.max() >= _SIDE_RUN)


def _corners(dataset: Any, bands: Any, area: Window) -> Iterator[tuple[Samples, int]]:
    """Yield the border pixels beside each corner, both ways, as many as a run needs."""
    rows, columns = min(_CORNER_RUN, area.height), min(_CORNER_RUN, area.width)
    for top in (0, area.height - rows):
        for left in (0, area.width - columns):
            rgb = _read(dataset, bands, area, (top, left, rows, columns))
            yield rgb[:, 0 if top == 0 else -1], 1
            yield rgb[:, :, 0 if left == 0 else -1], 1


def _borders(dataset: Any, bands: Any, area: Window) -> Iterator[tuple[Samples, int]]:
    """Yield the pixels of the four borders, and the distance between them.

    The left and right borders of a tall scene are read in some rows only: each costs a block.
    """
    height, width = area.height, area.width
    for row in (0, height - 1):
        yield _read(dataset, bands, area, (row, 0, 1, width))[:, 0], 1
    step = -(-height // _SAMPLES)
    for column in (0, width - 1):
        if step == 1:
            yield _read(dataset, bands, area, (0, column, height, 1))[:, :, 0], 1
            continue
        pixels = [
            _read(dataset, bands, area, (row, column, 1, 1)) for row in range(0, height, step)
        ]
        yield np.concatenate(pixels, axis=1)[:, :, 0], step


def _find_collar(dataset: Any, bands: Any, area: Window, value: float) -> tuple[Collar, Samples]:
    """Return the collar of a fill value, and the pixels just inside its edge.

    Reads the scene once, in strips.
    """
    height, width = area.height, area.width
    left, right = np.full(height, width), np.zeros(height, np.int64)
    top, bottom = np.full(width, height), np.zeros(width, np.int64)
    first, last = (np.zeros((3, width), dataset.dtypes[0]) for _ in range(2))
    edge: list[Samples] = []
    strip = max(1, _STRIP // width)
    for start in range(0, height, strip):
        rgb = _read(dataset, bands, area, (start, 0, min(strip, height - start), width))
        other = ~equal(rgb, value)
        rows = np.flatnonzero(other.any(axis=1))
        left[start + rows] = other[rows].argmax(axis=1)
        right[start + rows] = width - other[rows, ::-1].argmax(axis=1)
        for columns, beside in ((left, 0), (right, -1)):
            at = rows[(columns[start + rows] > 0) & (columns[start + rows] < width)]
            edge.append(rgb[:, at, columns[start + at] + beside])
        columns = np.flatnonzero(other.any(axis=0))
        new = columns[top[columns] == height]
        top[new] = start + other[:, new].argmax(axis=0)
        first[:, new] = rgb[:, top[new] - start, new]
        ends = other.shape[0] - other[::-1, columns].argmax(axis=0)
        bottom[columns] = start + ends
        last[:, columns] = rgb[:, ends - 1, columns]
    edge += [first[:, (top > 0) & (top < height)], last[:, (bottom > 0) & (bottom < height)]]
    return Collar(left, right, top, bottom), np.concatenate(edge, axis=1)


def _is_sharp(edge: Samples, value: float, dtype: np.dtype[Any]) -> bool:
    """Return whether most pixels beside a fill clearly differ from it.

    Pixels beside a saturated cloud or black water are nearly as bright or as dark.
    """
    reach = _NEAR_BLACK * np.iinfo(dtype).max if value == 0 else _NEAR_WHITE * value
    near = (np.abs(edge.astype(np.float64) - value) <= reach).all(axis=0)
    return bool(near.mean() < 0.5)


def _read(dataset: Any, bands: Any, area: Window, part: tuple[int, int, int, int]) -> NDArray[Any]:
    """Return red, green and blue of a part of a scene: (3, rows, columns).

    Args:
        part: first row, first column, number of rows, number of columns.
    """
    top, left, rows, columns = part
    window = Window(area.col_off + left, area.row_off + top, columns, rows)
    pixels: NDArray[Any] = dataset.read(list(bands), window=window)
    return pixels
