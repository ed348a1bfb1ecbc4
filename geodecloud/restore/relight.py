"""Relight the land under cloud shadows, by the depth of the scene's own shadows.

A shadow takes the sun's light from the ground and leaves the sky's. Path radiance stays:

    seen = path_radiance + (ground - path_radiance) * (1 - hidden * depth)    in each band

``hidden`` is the fraction of the sun that the cloud hides, see :mod:`geodecloud.restore.shadows`.
Path radiance and depth are the same in all shadows of a scene. They are estimated from the cores of
the shadows and the sunlit land beside these.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.filters import Floats, box_mean, dilate, upsample
from geodecloud.restore.shadows import UNKNOWN

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
# Relit land lies within so many standard deviations of the sunlit land beside, as bright fields are
# common beside dark ones, but not in a wood. Shadows are blue: land that lies in none turns yellow
# when relit.
_DEVIATIONS = np.float32(1.75)
_BRIGHTER = np.float32(1.15), np.float32(2.5)  # bounds of the upper bound, relative to the mean
_YELLOWER = np.float32(0.01)  # fraction of the light, by which any land may turn yellower
_DARKER = np.float32(0.5)  # relative to the mean; land that is nearly black is noise
_MOST_GAIN = 6  # largest gain of nearly black land
_SHADED = -0.3  # least lack of light, over the depth, of a core in later rounds
_ROUNDS = 2  # further rounds change nothing
_MOST_SAMPLES = 20_000  # from the rows that are computed at once
_NOTHING = 1000.0  # model range: stands for no sunlit land beside
_NO_LAND = 2.0  # model range: brighter than any land
_BLACK = 3e-3  # model range: least light without path radiance, where logarithms are taken
STEP = 8  # cells between samples of the light beside
_ROWS = 32 * STEP  # rows of cells at once


@dataclass(frozen=True)
class Shade:
    """The depth of a scene's shadows, and the sunlit land beside them.

    path_radiance: float32 (3, 1, 1), which a shadow does not dim, model range.
    depth: float32 (3, 1, 1), fraction of the remaining light that a shadow takes.
    beside: float16 (6, rows / 8, columns / 8), rounded up, of the sunlit land beside every eighth
        cell: mean light, standard deviation of brightness, mean and standard deviation of
        blueness; model range; 1000 where there is none.
    """

    path_radiance: Floats
    depth: Floats
    beside: NDArray[np.float16]

    def beside_at(self, cell: int, rows: tuple[int, int], width: int, left: int = 0) -> Floats:
        """Interpolate ``beside`` at pixels: float32 (6, rows, width).

        Args:
            cell: pixels along a side of a cell; 1: the pixels are cells.
            rows: the first pixel row, and the one after the last.
            left: the first pixel column.
        """
        side, (first, last) = STEP * cell, rows
        top = max(first // side - 1, 0)
        near = self.beside[:, top : -(-last // side) + 1].astype(np.float32)
        return upsample(near, side, (first - top * side, last - top * side), width, left)

    def darkness(self, light: Floats, around: Floats, beside: Floats) -> Floats:
        """Return how dark pixels are compared with sunlit land: float32 (rows, columns), 0..1.

        At 0 a pixel is as bright as the land beside, at 1 as dark as that land in full shadow. The
        scale is logarithmic. Where no sunlit land is beside, darkness is 0.5. Arguments are those
        of :meth:`relit`.
        """
        seen, cells, lit = (
            np.maximum((some - self.path_radiance).mean(axis=0), _BLACK)
            for some in (light, around, beside[:3])
        )
        full = np.log(1 - self.depth.mean())
        dark = np.log(np.sqrt(seen * cells) / lit) / full  # a pixel alone is noisy
        out: Floats = np.where(beside[0] < _NO_LAND, np.clip(dark, 0, 1), np.float32(UNKNOWN))
        return out

    def relit(self, light: Floats, hidden: Floats, around: Floats, beside: Floats) -> Floats:
        """Return the light without shadow, float32 (3, rows, columns).

        No pixel becomes darker. No cell becomes much brighter or yellower than the sunlit land
        beside it, as a shadow's sunlit edge would. No cell in full shadow stays much darker.

        Args:
            light: float32 (3, rows, columns), model range.
            hidden: float32 (rows, columns), 0..1, fraction of the sun that a cloud hides.
            around: float32 (3, rows, columns), light of the cells, interpolated at each pixel.
            beside: float32 (6, rows, columns), ``beside``, interpolated at each pixel.
        """
        # Cells are bounded, not pixels: bounds on pixels would flatten the detail of the land.
        mean = beside[:3]
        seen, lit = (
            np.maximum(some - self.path_radiance, np.float32(1e-3)) for some in (around, mean)
        )
        hidden = np.minimum(hidden, self._most_by_brightness(seen, lit, beside[3]))
        hidden = hidden * self._part_by_blueness(seen, hidden, beside[4:])
        left = 1 - hidden * self.depth
        least = np.where(mean < _NO_LAND, _DARKER * lit, 0)
        gain = 1 + hidden * (np.clip(least * left / seen, 1, _MOST_GAIN) - 1)
        out: Floats = self.path_radiance + (light - self.path_radiance) / left * gain
        return np.maximum(out, light)  # light below path radiance, noise or black water, stays

    def _most_by_brightness(self, seen: Floats, lit: Floats, deviation: Floats) -> Floats:
        """Return the largest ``hidden``, (rows, columns), that makes no cell too bright.

        Args:
            seen, lit: (3, rows, columns), light of the cells and of the land beside, without path
                radiance.
            deviation: (rows, columns), of the brightness of the land beside.
        """
        usual = lit.mean(axis=0)
        most = usual * np.clip(1 + _DEVIATIONS * deviation / usual, *_BRIGHTER)
        out: Floats = np.maximum(1 - seen.mean(axis=0) / most, 0) / self.depth.mean()
        return out

    def _part_by_blueness(self, seen: Floats, hidden: Floats, beside: Floats) -> Floats:
        """Return the fraction of ``hidden``, (rows, columns), that makes no cell too yellow.

        Blueness is taken as linear in ``hidden``.

        Args:
            seen: (3, rows, columns), light without path radiance.
            beside: (2, rows, columns), mean and standard deviation of the blueness beside.
        """
        before = _blueness(seen + self.path_radiance)
        after = _blueness(seen / (1 - hidden * self.depth) + self.path_radiance)
        least = np.where(beside[0] < _NO_LAND, beside[0] - _DEVIATIONS * beside[1], 0)
        allowed, change = np.maximum(before - least, _YELLOWER), before - after
        out: Floats = np.divide(allowed, change, out=np.ones_like(hidden), where=change > allowed)
        return out


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
        brightness, blueness = self.light.mean(axis=0), _blueness(self.light)
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
        thrown: uint8 (rows, columns), 0..255, fraction of the sun hidden, from the thrown clouds
            alone. The shadow that the network predicts would select dark land.
    """
    if not thrown.any():
        return None
    parts, light_beside = zip(*map(_look_at, _cell_rows(light, opacity, thrown)), strict=True)
    core, beside, core_contrast, near, near_contrast = (
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
        # Thrown shadows miss the real ones in places: drop cores far brighter than land beside.
        dark = _lack(core, beside, path_radiance) / depth.mean() > _SHADED
        if dark.sum() < _LEAST_CORES:
            return None
    return Shade(path_radiance[..., None], depth[..., None], np.concatenate(light_beside, axis=1))


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


def _blueness(light: Floats) -> Floats:
    """Return the part of blue in light: (rows, columns) of (3, rows, columns)."""
    out: Floats = light[2] / np.maximum(light.sum(axis=0), np.float32(1e-3))
    return out


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


def _every_eighth(rows: _CellRows, beside: Floats) -> NDArray[np.float16]:
    """Return ``Shade.beside`` of the own rows."""
    near = rows.sunlit_beside > _LEAST_BESIDE
    known = np.where(near, beside, np.float32(_NOTHING))[:, rows.own]
    below, right = (-length % STEP for length in known.shape[1:])
    padded = np.pad(known, [(0, 0), (0, below), (0, right)], "edge")
    return padded[:, STEP // 2 :: STEP, STEP // 2 :: STEP].astype(np.float16)


def _look_at(rows: _CellRows) -> tuple[tuple[Floats, ...], NDArray[np.float16]]:
    """Return the samples of some rows, and their part of ``Shade.beside``."""
    beside = rows.beside
    return _samples(rows, beside[:3]), _every_eighth(rows, beside)


def _samples(rows: _CellRows, beside: Floats) -> tuple[Floats, ...]:
    """Return samples, (3, n) each, of the own rows.

    For cores: light, light beside and contrast. For sunlit land near cores: light and contrast.
    """
    own = np.zeros_like(rows.core)
    own[rows.own] = True
    near = own & rows.sunlit & (box_mean(rows.core.astype(np.float32), _BESIDE) > _NEAR)
    core = own & rows.core & (rows.sunlit_beside > _LEAST_BESIDE)
    contrast = rows.light - _box_means(rows.light, _DETAIL)
    in_core = rows.light[:, core], beside[:, core], contrast[:, core]
    in_sun = rows.light[:, near], contrast[:, near]
    return (*map(_few, in_core), *map(_few, in_sun))


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
