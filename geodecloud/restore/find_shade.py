"""Estimate the depth of a scene's shadows, and the sunlit land beside them.

Path radiance and depth are taken as the same in all shadows of a scene. They are estimated from the
cores of the shadows and the sunlit land beside them. The depth is uneven as far as the cores'
brightness varies more than that of the sunlit land.
"""

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
    sunlit_beside: float32 (own rows, columns), fraction of the cells beside that are sunlit.
    """

    own: slice
    light: Floats
    core: NDArray[np.bool_]
    sunlit: NDArray[np.bool_]
    sunlit_beside: Floats

    @property
    def beside(self) -> Floats:
        """See :class:`Shade`, float32 (6, own rows, columns)."""
        light = np.stack([self._mean_beside(band) for band in self.light])
        brightness = self._deviation_beside(self.light.mean(axis=0), light.mean(axis=0))
        values = blueness_of(self.light)
        blueness = self._mean_beside(values)
        return np.stack([*light, brightness, blueness, self._deviation_beside(values, blueness)])

    def _mean_beside(self, values: Floats) -> Floats:
        """Return the mean of values over the sunlit cells beside each own cell."""
        mean = box_mean(values * self.sunlit, _BESIDE)[self.own]
        known = self.sunlit_beside > _LEAST_BESIDE
        return np.divide(mean, self.sunlit_beside, out=mean, where=known)

    def _deviation_beside(self, values: Floats, mean: Floats) -> Floats:
        """Return the standard deviation of values over those cells, from their mean."""
        square = self._mean_beside(values**2)
        square -= mean**2
        out: Floats = np.sqrt(np.maximum(square, 0))
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
    firsts = range(0, len(opacity), _ROWS)  # some rows at a time, to save memory
    measured = [_measure(_cell_rows(light, opacity, thrown, first)) for first in firsts]
    samples, eighths = zip(*measured, strict=True)
    core, beside, core_contrast, near, beside_near, near_contrast = (
        np.concatenate(some, axis=1) for some in zip(*samples, strict=True)
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
        pull_push(np.concatenate(eighths, axis=1), _mean_and_deviation(near)).astype(np.float16),
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


def _mean_and_deviation(light: Floats) -> Floats:
    """Return the mean and the deviation of light (3, n), as ``Shade.beside`` has them: (6,)."""
    blueness = blueness_of(light)
    out: Floats = np.stack(
        [*light.mean(axis=1), light.mean(axis=0).std(), blueness.mean(), blueness.std()]
    )
    return out


def _measure(rows: _CellRows) -> tuple[tuple[Floats, ...], Floats]:
    """Return the samples of some rows, and ``beside`` of every eighth own cell.

    The latter is float32 (7, rows / 8, columns / 8), rounded up: ``Shade.beside`` where sunlit land
    is beside, otherwise 0; and 1 where there is.
    """
    beside = rows.beside
    known = _every_eighth((rows.sunlit_beside > _LEAST_BESIDE)[None])
    eighth = np.concatenate([_every_eighth(beside) * known, known])
    return _samples(rows, beside[:3]), eighth.astype(np.float32)


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
    own, known = rows.own, rows.sunlit_beside > _LEAST_BESIDE
    cores_beside = box_mean(rows.core.astype(np.float32), _BESIDE)[own]
    near = known & rows.sunlit[own] & (cores_beside > _NEAR)
    core = known & rows.core[own]
    contrast = np.stack([band[own] - box_mean(band, _DETAIL)[own] for band in rows.light])
    every = rows.light[:, own], beside, contrast
    return tuple(_few(values[:, where]) for where in (core, near) for values in every)


def _few(values: Floats) -> Floats:
    """Return at most ``_MOST_SAMPLES`` evenly spaced values of (3, n)."""
    # A view would keep all values in memory.
    return values[:, :: -(-values.shape[1] // _MOST_SAMPLES) or 1].copy()


def _cell_rows(
    light: NDArray[np.floating],
    opacity: NDArray[np.floating],
    thrown: NDArray[np.uint8],
    first: int,
) -> _CellRows:
    """Return ``_ROWS`` rows of cells, from the first on.

    Args:
        light, opacity, thrown: of all cells, see :func:`find_shade`.
    """
    last, reach = min(first + _ROWS, len(opacity)), _BESIDE + 1
    top = max(first - reach, 0)
    own, some = slice(first - top, last - top), slice(top, last + reach)
    around = np.asarray(light[:, some], np.float32)
    sun = thrown[some].astype(np.float32) / np.float32(255)
    clear = (opacity[some] < _CLEAR) & (around > 0).any(axis=0)
    core = clear & (-dilate(-sun, 1) > _CORE)
    sunlit = clear & (dilate(sun, 1) < _SUNLIT)
    beside = box_mean(sunlit.astype(np.float32), _BESIDE)[own]
    return _CellRows(own, around, core, sunlit, beside)
