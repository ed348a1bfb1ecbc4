"""Relight the land under a cloud's shadow by the law of light, as deep as this scene's shadows are.

A shadow takes the sun from the ground and leaves it the sky; the air above goes on shining:

    seen = air + (ground - air) * (1 - hidden * depth)         in each band

``hidden`` is the fraction of the sun that the cloud hides, see :mod:`geodecloud.restore.shadows`.
Air and depth are alike in all shadows of a scene. They are found from the shadows' cores and the
land beside.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.filters import Floats, box_mean, dilate

_CORE = 0.9  # of the sun that is hidden in a core, and around it
_SUNLIT = 0.05  # of the sun that may be hidden of sunlit land, and around it
_CLEAR = 0.1  # opacity of land that counts
_BESIDE = 30  # cells around a core in which its land in full light lies
_LEAST_BESIDE = 0.05  # fraction of these that must be sunlit
_NEAR = 0.02  # fraction of the cells around sunlit land that must be cores, if its contrast counts
_LEAST_CORES = 30  # cells of core below which nothing is known of a scene's shadows
_DETAIL = 2  # cells around, over which contrast is measured
_DARKEST = 0.03  # quantile of the cores that air is darker than
_SAME = 0.95  # ratio of contrasts from which nothing is learned of air
_MOST_DEPTH = 0.8  # more would raise noise fivefold
_LEAST_DEPTH = 0.1  # less is no shadow
_USUAL = (0.15, 0.85)  # quantiles of light that bound what counts: some cores are not in shadow
# Times the land beside: relit land is not brighter, and not darker. What is nearly black is noise.
_BRIGHTER, _DARKER = np.float32(1.25), np.float32(0.5)
_MOST_GAIN = 6  # by which nearly black land is brightened
_SHADED = -0.3  # of what a shadow takes, that a cell must lack to count as core in later rounds
_ROUNDS = 2  # more change nothing
_MOST_SAMPLES = 20_000  # of each swath
_NOTHING = 100.0  # model range: far brighter than land
_NO_LAND = 2.0  # model range: brighter than land
STEP = 8  # cells from one to the next of which the light beside is known
_ROWS = 32 * STEP  # of cells, at once


@dataclass(frozen=True)
class Shade:
    """A scene's shadows.

    air: float32 (3, 1, 1), light that a shadow leaves as it is, model range.
    depth: float32 (3, 1, 1), fraction of the other light that a shadow takes.
    beside: float16 (3, rows / 8, columns / 8), rounded up: light of the sunlit land around every
        eighth cell, model range; 100 where none is near.
    """

    air: Floats
    depth: Floats
    beside: NDArray[np.float16]

    def relit(self, light: Floats, hidden: Floats, around: Floats, beside: Floats) -> Floats:
        """Return the light without shadow, float32 (3, rows, columns).

        No land becomes darker. No cell becomes much brighter than the sunlit land beside it: at the
        edge of a shadow it would be lit twice. None in full shadow stays much darker, either.

        Args:
            light: float32 (3, rows, columns), model range.
            hidden: float32 (rows, columns), 0..1, fraction of the sun that a cloud hides.
            around: float32 (3, rows, columns), mean light of the cell around each pixel.
            beside: float32 (3, rows, columns), the light beside, at each pixel.
        """
        # By the cell, not the pixel, as the limits would take the detail of the land.
        seen, lit = (np.maximum(some - self.air, np.float32(1e-3)) for some in (around, beside))
        most = 1 - seen.mean(axis=0) / (_BRIGHTER * lit.mean(axis=0))
        hidden = np.minimum(hidden, np.maximum(most, 0) / self.depth.mean())
        left = 1 - hidden * self.depth
        least = np.where(beside < _NO_LAND, _DARKER * lit, 0)
        gain = 1 + hidden * (np.clip(least * left / seen, 1, _MOST_GAIN) - 1)
        out: Floats = self.air + (light - self.air) / left * gain
        return np.maximum(out, light)  # light below air is noise, or water without any


@dataclass(frozen=True)
class _Swath:
    """Rows of cells with their surroundings, which are to be left out.

    own: rows that are to be used.
    light: float32 (3, rows, columns).
    core, sunlit: bool (rows, columns), in the core of a shadow; in full light.
    around: float32 (rows, columns), fraction of the land around that is sunlit.
    """

    own: slice
    light: Floats
    core: NDArray[np.bool_]
    sunlit: NDArray[np.bool_]
    around: Floats

    @property
    def beside(self) -> Floats:
        """Light of the sunlit land around each cell, float32 (3, rows, columns)."""
        sums = _box_means((colour * self.sunlit for colour in self.light), _BESIDE)
        return np.divide(sums, self.around, out=sums, where=self.around > _LEAST_BESIDE)


def find_shade(
    light: NDArray[np.floating], opacity: NDArray[np.floating], thrown: NDArray[np.uint8]
) -> Shade | None:
    """Return how deep a scene's shadows are; None where too little of them is seen.

    Args:
        light: (3, rows, columns) of cells, model range; 0 where nothing is known.
        opacity: (rows, columns), 0..1.
        thrown: uint8 (rows, columns), 0..255, the fraction of the sun that thrown clouds hide. What
            looks like shadow is of no use: it is darker land than the rest.
    """
    if not thrown.any():
        return None
    parts, light_beside = zip(*map(_look_at, _swaths(light, opacity, thrown)), strict=True)
    core, beside, core_contrast, near, near_contrast = (
        np.concatenate(some, axis=1) for some in zip(*parts, strict=True)
    )
    if min(core.shape[1], near.shape[1]) < _LEAST_CORES:
        return None
    sunlit, near_contrast = _usual(near), np.median(np.abs(near_contrast), axis=1)
    dark = np.ones(core.shape[1], np.bool_)
    for _ in range(_ROUNDS):
        ratio = np.median(np.abs(core_contrast[:, dark]), axis=1) / np.maximum(near_contrast, 1e-6)
        air, depth = _fit(core[:, dark], sunlit, ratio)
        if depth.mean() < _LEAST_DEPTH:
            return None
        # A thrown shadow fits the real one badly here and there: land in full light is no core.
        dark = _lack(core, beside, air) / depth.mean() > _SHADED
        if dark.sum() < _LEAST_CORES:
            return None
    return Shade(air[..., None], depth[..., None], np.concatenate(light_beside, axis=1))


def _fit(core: Floats, sunlit: Floats, ratio: Floats) -> tuple[Floats, Floats]:
    """Return air and depth that make the sunlit land out of that in the cores: (3, 1) each.

    A shadow takes as much of the contrast as of the light, but nothing of the air.

    Args:
        core: (3, n).
        sunlit: (3,), usual light of the sunlit land near cores.
        ratio: (3,), contrast in cores over contrast there.
    """
    known, shaded = np.minimum(ratio, np.float32(_SAME)), _usual(core)
    air = (shaded - known * sunlit) / (1 - known)
    air = np.clip(air, 0, 0.9 * np.quantile(core, _DARKEST, axis=1))
    left = np.maximum(shaded - air, 0) / np.maximum(sunlit - air, 1e-3)
    depth = np.clip(1 - left, 0, _MOST_DEPTH)
    return air[:, None].astype(np.float32), depth[:, None].astype(np.float32)


def _usual(light: Floats) -> Floats:
    """Return the mean of each band, (3,), without its darkest and its brightest values, (3, n)."""
    values = np.sort(light, axis=1)
    first, last = (round(quantile * values.shape[1]) for quantile in _USUAL)
    mean: Floats = values[:, first:last].mean(axis=1)
    return mean


def _lack(core: Floats, beside: Floats, air: Floats) -> Floats:
    """Return the fraction of the light beside that cores lack, (n,), less than 0 in brighter land.

    Args:
        core, beside: (3, n).
        air: (3, 1).
    """
    left = np.maximum(core - air, 0).sum(axis=0)
    left /= np.maximum((beside - air).sum(axis=0), 1e-6)
    out: Floats = 1 - left
    return out


def _every_eighth(swath: _Swath, beside: Floats) -> NDArray[np.float16]:
    """Return the light beside as a :class:`Shade` holds it, of the rows that are to be used."""
    near = swath.around > _LEAST_BESIDE
    known = np.where(near, beside, np.float32(_NOTHING))[:, swath.own]
    below, right = (-length % STEP for length in known.shape[1:])
    padded = np.pad(known, [(0, 0), (0, below), (0, right)], "edge")
    return padded[:, STEP // 2 :: STEP, STEP // 2 :: STEP].astype(np.float16)


def _look_at(swath: _Swath) -> tuple[tuple[Floats, ...], NDArray[np.float16]]:
    """Return the samples of a swath, and its light beside, which both need the same means."""
    beside = swath.beside
    return _samples(swath, beside), _every_eighth(swath, beside)


def _samples(swath: _Swath, beside: Floats) -> tuple[Floats, ...]:
    """Return samples, (3, n).

    Of cores: light, light beside and contrast; of sunlit land near them: light and contrast.
    """
    own = np.zeros_like(swath.core)
    own[swath.own] = True
    near = own & swath.sunlit & (box_mean(swath.core.astype(np.float32), _BESIDE) > _NEAR)
    core = own & swath.core & (swath.around > _LEAST_BESIDE)
    contrast = swath.light - _box_means(swath.light, _DETAIL)
    in_core = swath.light[:, core], beside[:, core], contrast[:, core]
    in_sun = swath.light[:, near], contrast[:, near]
    return (*map(_few, in_core), *map(_few, in_sun))


def _box_means(colours: Iterable[Floats], radius: int) -> Floats:
    """Return the box means of each colour, one after the other: that needs a third of the memory.

    Args:
        colours: float32 (rows, columns) each.
    """
    return np.stack([box_mean(colour, radius) for colour in colours])


def _few(values: Floats) -> Floats:
    """Return evenly spread ones of many values, (3, n)."""
    # A view would keep all of them.
    return values[:, :: -(-values.shape[1] // _MOST_SAMPLES) or 1].copy()


def _swaths(
    light: NDArray[np.floating], opacity: NDArray[np.floating], thrown: NDArray[np.uint8]
) -> Iterator[_Swath]:
    """Yield all cells, some rows at a time, so that little is held at once."""
    height = len(opacity)
    for first in range(0, height, _ROWS):
        top, below = max(first - 2 * _BESIDE, 0), min(first + _ROWS + 2 * _BESIDE, height)
        some = np.asarray(light[:, top:below], np.float32)
        sun = thrown[top:below].astype(np.float32) / np.float32(255)
        clear = (opacity[top:below] < _CLEAR) & (some > 0).any(axis=0)
        core = clear & (-dilate(-sun, 1) > _CORE)
        sunlit = clear & (dilate(sun, 1) < _SUNLIT)
        around = box_mean(sunlit.astype(np.float32), _BESIDE)
        own = slice(first - top, min(first + _ROWS, height) - top)
        yield _Swath(own, some, core, sunlit, around)
