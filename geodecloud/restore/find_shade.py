"""Estimate the depth of a scene's shadows, and the sunlit land beside them.

Path radiance and depth are taken as the same in all shadows of a scene. They are estimated from the
cores of the shadows and the sunlit land beside them. The depth is uneven as far as the cores'
brightness varies more than that of the sunlit land.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.fill.pyramid import pull_push
from geodecloud.restore.filters import Floats, box_mean, dilate
from geodecloud.restore.relight import BLACK, STEP, Shade, blueness_of

_CORE = 0.9  # least fraction of the sun hidden in a core and the cells around
_SUNLIT = 0.05  # largest fraction of the sun hidden in sunlit land and the cells around
_CLEAR = 0.1  # opacity below which a cell is used
_BESIDE = 30  # cells to each side: the land beside a cell
_LEAST_BESIDE = 0.05  # least fraction of the land beside that is sunlit
_NEAR = 0.02  # least fraction of the cells beside that are cores, for a sunlit cell to be used
_LEAST_CORES = 30  # fewest cells of core from which shadows are estimated
_DETAIL = 2  # cells to each side, over which contrast is measured
_DARKEST = 0.03  # quantile of the cores' light that bounds path radiance
_SAME = 0.95  # ratio of contrasts above which path radiance cannot be estimated
_MOST_DEPTH = 0.8  # keeps noise from growing more than fivefold
_LEAST_DEPTH = 0.1  # less is no shadow
_USUAL = (0.15, 0.85)  # quantiles of a trimmed mean of light, as some cores are not in shadow
_SHADED = -0.3  # least lack of light, over the depth, of a core in later rounds
_ROUNDS = 2  # further rounds change nothing
# Unexplained fraction of the spread, up to which depth is taken as even, and from which as uneven.
# Shadows of one depth, made over clear scenes, have 0.32 at most. The nearly black shadows of four
# corrected scenes have 0.56 to 0.9 (benchmarks/README.md).
_UNEXPLAINED = (0.35, 0.5)
# Depth up to which one depth is good enough, and from which shadows are nearly black. Levelled
# shadows that are less deep, as in the sample, have worse near infrared.
_NEARLY_BLACK = (0.45, 0.5)
_TAILS = (0.02, 0.98)  # quantiles that bound the values
_LEAST_SPREAD = 0.05  # of the log brightness of land; less is chance
_MOST_SAMPLES = 20_000  # from the rows that are computed at once
_ROWS = 32 * STEP  # rows of cells at once


@dataclass(frozen=True)
class _CellRows:
    """Rows of cells, with the rows above and below that their filters need.

    own: the rows without those above and below.
    light: float32 (3, rows, columns), model range.
    core, sunlit: bool (rows, columns), clear cells in the core of a shadow; in full sun.
    sunlit_beside: float32 (rows, columns), fraction of the cells beside that are sunlit.
    """

    own: slice
    light: Floats
    core: NDArray[np.bool_]
    sunlit: NDArray[np.bool_]
    sunlit_beside: Floats

    @property
    def beside(self) -> Floats:
        """See :class:`Shade`, float32 (6, rows, columns)."""
        brightness, blueness = self.light.mean(axis=0), blueness_of(self.light)
        parts = (*self.light, brightness**2, blueness, blueness**2)
        out = _box_means((part * self.sunlit for part in parts), _BESIDE)
        np.divide(out, self.sunlit_beside, out=out, where=self.sunlit_beside > _LEAST_BESIDE)
        for mean, square in ((out[:3].mean(axis=0), out[3]), (out[4], out[5])):
            square[:] = np.sqrt(np.maximum(square - mean**2, 0))
        return out


def find_shade(
    light: NDArray[np.floating], opacity: NDArray[np.floating], thrown: NDArray[np.uint8]
) -> Shade | None:
    """Estimate the depth of a scene's shadows; None if too few cells are shaded or sunlit.

    Args:
        light: (3, rows, columns) of cells, model range; 0 in cells without a valid pixel.
        opacity: (rows, columns), 0..1.
        thrown: uint8 (rows, columns), 0..255, fraction of the sun hidden, from the displaced clouds
            alone. The shadow that the network predicts would select dark land.
    """
    if not thrown.any():
        return None
    parts, sums = zip(*map(_look_at, _cell_rows(light, opacity, thrown)), strict=True)
    core, beside, core_contrast, near, beside_near, near_contrast = (
        np.concatenate(some, axis=1) for some in zip(*parts, strict=True)
    )
    if min(core.shape[1], near.shape[1]) < _LEAST_CORES:
        return None
    sunlit, near_contrast = _usual(near), np.median(np.abs(near_contrast), axis=1)
    dark = np.ones(core.shape[1], np.bool_)
    for _ in range(_ROUNDS):
        ratio = np.median(np.abs(core_contrast[:, dark]), axis=1) / np.maximum(near_contrast, 1e-6)
        path_radiance, depth = _fit(core[:, dark], sunlit, ratio)
        if depth.mean() < _LEAST_DEPTH:
            return None
        # Displaced clouds miss the shadows in places: drop cores far brighter than land beside.
        dark = _lack(core, beside, path_radiance) / depth.mean() > _SHADED
        if dark.sum() < _LEAST_CORES:
            return None
    shaded = _log_ratio(core[:, dark], beside[:, dark], path_radiance)
    in_sun = _log_ratio(near, beside_near, path_radiance)
    lit = np.maximum(sunlit[:, None] - path_radiance, BLACK)
    full = float(np.log(((1 - depth) * lit).sum() / lit.sum()))
    return Shade(
        path_radiance[..., None],
        depth[..., None],
        # Between clouds, where no sunlit land is beside, the nearest counts.
        pull_push(np.concatenate(sums, axis=1), _land(near)).astype(np.float16),
        unevenness=_unevenness(shaded, in_sun, full),
        distinctness=-full / max(float(in_sun.std()), _LEAST_SPREAD),
    )


def _fit(core: Floats, sunlit: Floats, ratio: Floats) -> tuple[Floats, Floats]:
    """Fit path radiance and depth, (3, 1) each, to the light of cores and of sunlit land.

    A shadow reduces contrast by the same factor as light, but leaves path radiance.

    Args:
        core: (3, n), light of the cores.
        sunlit: (3,), trimmed mean light of the sunlit land near cores.
        ratio: (3,), contrast in cores over contrast in that land.
    """
    known, shaded = np.minimum(ratio, np.float32(_SAME)), _usual(core)
    path_radiance = (shaded - known * sunlit) / (1 - known)
    path_radiance = np.clip(path_radiance, 0, 0.9 * np.quantile(core, _DARKEST, axis=1))
    left = np.maximum(shaded - path_radiance, 0) / np.maximum(sunlit - path_radiance, 1e-3)
    depth = np.clip(1 - left, 0, _MOST_DEPTH)
    return path_radiance[:, None].astype(np.float32), depth[:, None].astype(np.float32)


def _unevenness(shaded: Floats, sunlit: Floats, full: float) -> float:
    """Return the unevenness of the shadows' depth, see :class:`Shade`.

    Under shadows of one depth, the brightness relative to the land beside spreads as in the sun.

    Args:
        shaded: (n,), of the cores, see :func:`_log_ratio`.
        sunlit: (m,), of sunlit land near cores.
        full: log of the fraction of the brightness that most shadows leave.
    """
    spread = np.square(shaded - full).mean()
    unexplained = 1 - max(float(sunlit.var()), _LEAST_SPREAD**2) / max(spread, 1e-6)
    black = np.interp(1 - np.exp(full), _NEARLY_BLACK, (0, 1))
    return float(unexplained * black * np.interp(unexplained, _UNEXPLAINED, (0, 1)))


def _log_ratio(light: Floats, beside: Floats, path_radiance: Floats) -> Floats:
    """Return the log of brightness relative to the sunlit land beside, (n,), without its tails.

    Args:
        light, beside: (3, n).
        path_radiance: (3, 1).
    """
    seen, lit = (np.maximum((some - path_radiance).mean(axis=0), BLACK) for some in (light, beside))
    ratio: Floats = np.log(seen / lit)
    return np.clip(ratio, *np.quantile(ratio, _TAILS))


def _usual(light: Floats) -> Floats:
    """Return the trimmed mean of each band, (3,), of light (3, n)."""
    values = np.sort(light, axis=1)
    first, last = (round(quantile * values.shape[1]) for quantile in _USUAL)
    mean: Floats = values[:, first:last].mean(axis=1)
    return mean


def _lack(core: Floats, beside: Floats, path_radiance: Floats) -> Floats:
    """Return the fraction of the light beside that each core lacks, (n,); negative if brighter.

    Args:
        core, beside: (3, n), light of the cores and of the sunlit land beside.
        path_radiance: (3, 1).
    """
    left = np.maximum(core - path_radiance, 0).sum(axis=0)
    left /= np.maximum((beside - path_radiance).sum(axis=0), 1e-6)
    out: Floats = 1 - left
    return out


def _land(light: Floats) -> Floats:
    """Return the mean and the deviation of light (3, n), as ``Shade.beside`` has them: (6,)."""
    blueness = blueness_of(light)
    out: Floats = np.stack(
        [*light.mean(axis=1), light.mean(axis=0).std(), blueness.mean(), blueness.std()]
    )
    return out


def _look_at(rows: _CellRows) -> tuple[tuple[Floats, ...], Floats]:
    """Return the samples of some rows, and ``beside`` of every eighth own cell.

    The latter is float32 (7, rows / 8, columns / 8), rounded up: ``Shade.beside`` where sunlit land
    is beside, otherwise 0; and 1 where there is.
    """
    beside = rows.beside
    known = _every_eighth((rows.sunlit_beside > _LEAST_BESIDE)[None, rows.own])
    land = _every_eighth(beside[:, rows.own]) * known
    return _samples(rows, beside[:3]), np.concatenate([land, known]).astype(np.float32)


def _every_eighth(cells: NDArray[Any]) -> NDArray[Any]:
    """Return the middle of every eighth cell of (bands, rows, columns); edge cells repeat."""
    rows, columns = (
        np.minimum(np.arange(STEP // 2, length + STEP // 2, STEP), length - 1)
        for length in cells.shape[1:]
    )
    return cells[:, rows[:, None], columns]


def _samples(rows: _CellRows, beside: Floats) -> tuple[Floats, ...]:
    """Return samples, (3, n) each, of the own rows.

    For cores, then for sunlit land near cores: light, light beside and contrast.
    """
    own = np.zeros_like(rows.core)
    own[rows.own] = True
    known = own & (rows.sunlit_beside > _LEAST_BESIDE)
    near = known & rows.sunlit & (box_mean(rows.core.astype(np.float32), _BESIDE) > _NEAR)
    core = known & rows.core
    contrast = rows.light - _box_means(rows.light, _DETAIL)
    every = rows.light, beside, contrast
    return tuple(_few(values[:, where]) for where in (core, near) for values in every)


def _box_means(parts: Iterable[Floats], radius: int) -> Floats:
    """Return the box mean of each part, computed one by one to save memory.

    Args:
        parts: float32 (rows, columns) each.
    """
    return np.stack([box_mean(part, radius) for part in parts])


def _few(values: Floats) -> Floats:
    """Return at most ``_MOST_SAMPLES`` evenly spaced values of (3, n)."""
    # A view would keep all values in memory.
    return values[:, :: -(-values.shape[1] // _MOST_SAMPLES) or 1].copy()


def _cell_rows(
    light: NDArray[np.floating], opacity: NDArray[np.floating], thrown: NDArray[np.uint8]
) -> Iterator[_CellRows]:
    """Yield all cells, some rows at a time, to save memory."""
    height = len(opacity)
    for first in range(0, height, _ROWS):
        top, below = max(first - 2 * _BESIDE, 0), min(first + _ROWS + 2 * _BESIDE, height)
        some = np.asarray(light[:, top:below], np.float32)
        sun = thrown[top:below].astype(np.float32) / np.float32(255)
        clear = (opacity[top:below] < _CLEAR) & (some > 0).any(axis=0)
        core = clear & (-dilate(-sun, 1) > _CORE)
        sunlit = clear & (dilate(sun, 1) < _SUNLIT)
        beside = box_mean(sunlit.astype(np.float32), _BESIDE)
        own = slice(first - top, min(first + _ROWS, height) - top)
        yield _CellRows(own, some, core, sunlit, beside)
