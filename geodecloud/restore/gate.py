"""Find the cloud in the coarse opacity, and so the windows that the fine pass computes.

Clear sea and pale fields look like faint, uniform haze. So haze counts as cloud only if its opacity
somewhere exceeds that of any clear land: hysteresis thresholding over the whole scene. Bright land
in pictures and turbid water are not cloud, see :func:`bright_land` and :func:`turbid_water`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geodecloud.restore.filters import Floats, smoothstep, soft_dilations, widened

Opacity = NDArray[np.floating[Any]]  # (rows, columns) of cells, 0..1
Where = NDArray[np.bool_]  # (rows, columns) of cells

FAINTEST_CLOUD = 0.05  # lower threshold of the hysteresis, opacity
_CERTAIN = 0.115  # upper threshold: clear land does not reach it in a coarse pass
CERTAIN_ONE_PASS = 0.2  # upper threshold in a scene without a coarse pass
_CERTAIN_FINE = (0.12, 0.22)  # fine opacity without coarse cloud: dropped below, kept above
# Small clouds: least opacity, largest mean opacity around, cells to each side.
_SMALL_CLOUD, _CLEAR_AROUND, _AROUND = 0.09, 0.025, 6
# Puffs, in the same units, in still clearer land. A puff adds the same light to all bands. Then:
# largest ratio of the light added to two bands; cells to each side of its land, and of its
# brightest cell. In the scenes of benchmarks/judge.py, puffs have ratios up to 1.3, coloured roofs
# from 1.5.
_PUFF, _CLEAR_LAND, _COLOURED, _LAND, _BRIGHTEST = 0.035, 0.008, 1.3, 12, 2
_WHITE, _LEAST_WHITE = 0.9, (3, 3)  # light of cloud in each band, model range; smallest in cells
_MARGIN = 4  # cells around cloud in which windows are needed
_SOFT = 2  # cells to each side over which the gate's edge is smoothed
# Bright land: least step of opacity from cell to cell at its rim, over its mean opacity; opacity
# that only dense cloud reaches; fewest cells. In the pictures of generality.py and the real pairs,
# thin cloud has steps up to 0.16, bright fields from 0.24.
_SHARP, _DENSE, _LARGE = 0.2, 0.75, 250
# Turbid water: opacity that it does not reach. At a shore, within _REACH cells: least fall of
# opacity, and largest opacity left. Least fraction of the rim that is shore.
_FAINT, _FALL, _LEFT, _SHORE = 0.25, 0.08, 0.02, 0.1
# Largest median step of the water's light from cell to cell, model range; least ratio of the land's
# median step to the water's. In crops of T18 (benchmarks/judge.py), lagoons with such a rim have
# steps of 0.004 to 0.014; the land's are 1.9 to 7.6 times as large. In the real pairs, two veils
# are as faint and large, and have such a rim. Their steps are 0.1, and the land's are at most 1.1
# times as large. Synthetic veils of opacity up to 0.1 over turbid water are sometimes lost.
_SMOOTH, _ROUGHER = 0.02, 2.0
_LARGEST = 1 << 20  # cells of a part's rectangle; larger parts stay cloud, as they need much memory
_REACH, _BESIDE = 2, 4  # cells over which opacity falls; cells from the shore that are beside it
_SQUARE = np.ones((3, 3), np.bool_)
_ROWS = 64  # rows of cells at once


@dataclass(frozen=True)
class Gate:
    """Hold the gate: where the fine pass computes windows, and how far coarse opacity counts.

    weight: uint8 (rows, columns) of cells, 0..255, of the coarse opacity; windows are computed
        where it is above 0.
    doubt: uint8 (rows, columns), 0..255, where the fine pass may see cloud by itself; None: 0.
    all_windows: whether windows are computed where the weight is 0, too.
    """

    weight: NDArray[np.uint8]
    doubt: NDArray[np.uint8] | None = None
    all_windows: bool = False


def find_gate(
    opacity: Opacity, light: NDArray[Any], *, of_picture: bool, known: Where | None = None
) -> NDArray[np.uint8]:
    """Return the weight of the coarse opacity: uint8 (rows, columns), 0..255.

    The fine pass computes the windows where it is above 0.

    Args:
        light: float16 or float32 (3, rows, columns), model range.
        of_picture: whether the scene is an 8-bit picture, whose land may be as bright as haze.
        known: cells with a valid pixel; None: all.
    """
    certain = (opacity > _CERTAIN) | small_clouds(opacity, known)
    cloud = cloud_around(certain, opacity)
    if of_picture:
        cloud &= ~bright_land(opacity, cloud, known)
    else:
        cloud |= puffs(opacity, light, known)
    cloud &= ~turbid_water(opacity, light, cloud, known)
    return _with_margin(cloud)


def find_doubt(light: NDArray[Any], known: Where | None = None) -> NDArray[np.uint8]:
    """Return where the fine pass may see cloud by itself: uint8 (rows, columns), 0..255.

    Compact bright cloud looks like a roof to the coarse pass. So cells as bright as cloud are
    doubtful, and the fine pass computes the windows there, whatever the coarse opacity.

    Args:
        light: (3, rows, columns), model range.
        known: cells with a valid pixel; None: all.
    """
    doubtful = ndimage.binary_opening(is_white(light, known), np.ones(_LEAST_WHITE))
    return _with_margin(doubtful)


def _with_margin(cells: Where) -> NDArray[np.uint8]:
    """Return 255 in these cells and near them, fading to 0 at the edge of the margin."""
    weight = np.zeros(cells.shape, np.uint8)
    if cells.any():
        for rows, near in soft_dilations(cells, _MARGIN, _SOFT):
            weight[rows] = np.rint(255 * near)
    return weight


def is_white(light: NDArray[Any], known: Where | None) -> Where:
    """Return which cells are as bright as cloud in all bands, see :func:`find_doubt`."""
    white: Where = light.min(axis=0) > _WHITE
    return white if known is None else white & known


def fine_only_weight(opacity: Floats) -> Floats:
    """Return the weight, 0..1, of a fine opacity where the coarse pass found no cloud."""
    return smoothstep(opacity, *_CERTAIN_FINE)


def certain_cloud(opacity: Opacity, certain: float) -> Where:
    """Return where connected cloud has an opacity above ``certain`` somewhere.

    Args:
        certain: opacity that no clear land reaches.
    """
    return cloud_around(opacity > certain, opacity)


def cloud_around(certain: Where, opacity: Opacity) -> Where:
    """Return the connected cloud that contains these cells."""
    cloud: Where = ndimage.binary_propagation(certain, mask=opacity > FAINTEST_CLOUD)
    return cloud


def small_clouds(
    opacity: Opacity,
    known: Where | None = None,
    limits: tuple[float, float] = (_SMALL_CLOUD, _CLEAR_AROUND),
) -> Where:
    """Return the tops of small clouds: cells that are certain, as the land around is clear.

    Args:
        known: cells with a valid pixel, see :func:`find_gate`; elsewhere opacity is 0.
        limits: opacity above which a cell is a top, and mean opacity around below which it is.
    """
    tops = np.zeros(opacity.shape, np.bool_)
    known = np.ones(opacity.shape, np.bool_) if known is None else known
    means = (soft_dilations(cells, 0, _AROUND) for cells in (opacity, known))  # few rows at once
    for (rows, around), (_, known_fraction) in zip(*means, strict=True):
        tops[rows] = (opacity[rows] > limits[0]) & (around < limits[1] * known_fraction)
    return tops


def puffs(opacity: Opacity, light: NDArray[Any], known: Where | None = None) -> Where:
    """Return the peaks of fainter small clouds, which add the same light to all bands.

    Coloured roofs look similar, but add unequal light. This fails in pictures whose bands are
    stretched separately.

    Args:
        light: float16 or float32 (3, rows, columns), model range.
        known: cells with a valid pixel, see :func:`find_gate`.
    """
    tops = small_clouds(opacity, known, (_PUFF, _CLEAR_LAND))
    for row, column in np.argwhere(tops):
        near = _around(opacity, row, column, _BRIGHTEST)
        is_peak = opacity[row, column] == near.max()  # the others lie within its margin
        tops[row, column] = is_peak and _adds_equal_light(light, row, column)
    return tops


def _around(cells: NDArray[Any], row: int, column: int, far: int) -> NDArray[Any]:
    """Return the cells up to so many cells to each side of one."""
    return cells[..., max(row - far, 0) : row + far + 1, max(column - far, 0) : column + far + 1]


def _adds_equal_light(light: NDArray[Any], row: int, column: int) -> bool:
    """Return whether a cell's surroundings are brighter than the land by equal light in all bands.

    Args:
        light: float16 or float32 (3, rows, columns), model range.
    """
    land, near = (_around(light, row, column, far) for far in (_LAND, _BRIGHTEST))
    cells = near.astype(np.float32).reshape(3, -1)
    brightest = cells[:, cells.min(axis=0).argmax()]
    added = brightest - np.median(land.astype(np.float32), axis=(1, 2))
    return bool(0 < added.max() <= _COLOURED * added.min())


def bright_land(opacity: Opacity, cloud: Where, known: Where | None = None) -> Where:
    """Return which connected parts of the cloud are bright land.

    In a picture, land may be as bright as haze. Thin cloud fades out over many cells, while land
    ends within one or two. Dense clouds and small ones end as sharply, so these always stay
    cloud. A rim at the edge of the scene's data is ignored.

    Args:
        cloud: where the opacity counts as cloud.
        known: cells with a valid pixel, see :func:`find_gate`.
    """
    parts, count = ndimage.label(cloud)
    rim = cloud & ~ndimage.binary_erosion(cloud, border_value=1)
    if known is not None and not known.all():
        rim &= ~ndimage.binary_dilation(~known, _SQUARE)
    sizes, rims, opacities, steps, densest = np.zeros((5, count + 1))  # of each part
    strips = [slice(first, first + _ROWS) for first in range(0, len(parts), _ROWS)]
    for rows in strips:  # few rows at once need little memory
        inside, edge, own = cloud[rows], rim[rows], parts[rows]
        values, labels = opacity[rows][inside].astype(np.float32), own[inside]
        np.add.at(sizes, labels, 1)
        np.add.at(opacities, labels, values)
        np.maximum.at(densest, labels, values)
        top = max(rows.start - 1, 0)
        near = _steps(opacity[top : rows.stop + 1].astype(np.float32))[rows.start - top :]
        np.add.at(rims, own[edge], 1)
        np.add.at(steps, own[edge], near[: len(edge)][edge])
    land = steps > _SHARP * (opacities / np.maximum(sizes, 1)) * rims
    land &= (densest < _DENSE) & (sizes >= _LARGE)
    found = np.zeros(cloud.shape, np.bool_)
    for rows in strips:
        found[rows] = land[parts[rows]]
    return found


def turbid_water(
    opacity: Opacity, light: NDArray[Any], cloud: Where, known: Where | None = None
) -> Where:
    """Return which connected parts of the cloud are turbid water: bool (rows, columns).

    Turbid water looks like faint haze. Ground shows through a faint veil and goes on beside the
    veil. Water is smooth and ends at the shore, where opacity falls to nearly 0 within two cells
    and the land is clear and much rougher. Parts that are small, very large, or end only in open
    water always stay cloud.

    Args:
        light: float16 or float32 (3, rows, columns), model range.
        cloud: where the opacity counts as cloud.
        known: cells with a valid pixel, see :func:`find_gate`.
    """
    water = np.zeros(cloud.shape, np.bool_)
    parts, _ = ndimage.label(cloud)
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        if not _LARGE <= math.prod(axis.stop - axis.start for axis in box) <= _LARGEST:
            continue
        around = tuple(
            widened([axis], _REACH + _BESIDE + 1, length)[0]
            for axis, length in zip(box, cloud.shape, strict=True)
        )
        part = parts[around] == number
        if part.sum() >= _LARGE and opacity[around][part].max() < _FAINT:
            values = opacity[around].astype(np.float32)
            there = np.ones_like(part) if known is None else known[around]
            water[around] |= part & _ends_at_shore(part, values, light[:, *around], there)
    return water


def _ends_at_shore(part: Where, opacity: Floats, light: NDArray[Any], known: Where) -> bool:
    """Return whether a part of the cloud is smooth and ends at rougher, clear land.

    Args:
        part: bool (rows, columns), a part, in a rectangle with the cells around it.
        opacity, light, known: of the same rectangle.
    """
    width = 2 * _REACH + 1
    whole = ndimage.binary_erosion(known, _SQUARE, _REACH, border_value=1)
    least = ndimage.minimum_filter(opacity, width, mode="nearest")
    own = np.where(part, opacity, np.float32(0))  # other cloud beside it makes no shore
    fall = ndimage.maximum_filter(own, width, mode="nearest") - least
    rim = part & ~ndimage.binary_erosion(part, border_value=1) & whole
    shore = rim & (fall > _FALL) & (least < _LEFT)
    if shore.sum() <= _SHORE * rim.sum():
        return False
    inside = ndimage.binary_erosion(part, _SQUARE, _REACH, border_value=1) & whole
    beside = ndimage.binary_dilation(shore, _SQUARE, _BESIDE) & (opacity < _LEFT) & whole
    if not inside.any() or not beside.any():
        return False
    steps = np.zeros(part.shape, np.float32)
    for band in light:  # one band at once needs less memory
        steps += _steps(np.clip(band, 0, 1).astype(np.float32)) ** 2
    np.sqrt(steps, out=steps)
    on_water, on_land = (float(np.median(steps[cells])) for cells in (inside, beside))
    return on_water < _SMOOTH and on_land > _ROUGHER * on_water


def _steps(values: Floats) -> Floats:
    """Return the magnitude of the gradient, in units of the values a cell: (rows, columns)."""
    steps: Floats = np.hypot(*(ndimage.sobel(values, axis, mode="nearest") / 8 for axis in (0, 1)))
    return steps
