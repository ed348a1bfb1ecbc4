"""Tell a cloud's shadow from dark land and water: a shadow lies where its cloud throws it.

To the network a lake and a shadow are the same dark patch. But all clouds of a scene throw their
shadows in one direction, nearly as far (Zhu and Woodcock 2012 match clouds and shadows so). The
displacement is the one under which the displaced clouds cover the most of what looks like shadow.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from geodecloud.restore.filters import Floats, box_mean, dilate

_CLOUD = (0.2, 0.5)  # opacity that throws no shadow to speak of, and a full one
_AROUND = 40  # cells to each side over which land is dark or bright for itself
_REACH = (5, 75)  # cells from a cloud to its shadow: 3 km, of clouds up to 2 km above the ground
_SEEN = 0.5  # share of the cloud that a displacement must leave inside of the scene, to count fully
_LEAST_CLOUD = 20.0  # cells of cloud below which no displacement is believed
_CERTAIN = 5.0  # robust standard deviations by which the best displacement must stand out
_HEIGHTS = (0.55, 0.7, 0.85, 1.0, 1.15, 1.3, 1.45)  # of clouds, over that of most clouds
_NEAR = 6  # cells around a displaced cloud: its shadow is wider than what of it is opaque
_SOFT = 3  # cells over which that fades
_LIT_BELOW, _DEEP = 0.05, 0.33  # shadow of land in full light, and of a shadow's core
_BESIDE = 8  # cells around a core in which its land in full light lies
_LEAST_CORES = 25.0  # cells of core below which no gain is found
_BELIEVED = 0.75  # of the light that is missing: shadows seem deeper where the land is dark
_MOST_GAIN = 2.0
_MOST_CELLS = 1024  # along a side; of more, means are taken


@dataclass(frozen=True)
class Displacement:
    """Displacement of shadows: rows down and columns to the right of their clouds, in cells.

    certainty: robust standard deviations by which it stands out among all displacements.
    """

    rows: int
    columns: int
    certainty: float


def shadow_region(opacity: Floats, shadow: Floats) -> Floats:
    """Return where shadows may lie, float32 (rows, columns), 0..1; 0 where no cloud throws any.

    A cloud may lie outside of the scene: as far from its edge as shadows are thrown, any shadow is
    believed, once the displacement of the others is known.

    Args:
        opacity, shadow: float32 (rows, columns), 0..1, of the coarse answer.
    """
    (height, width), factor = opacity.shape, -(-max(opacity.shape) // _MOST_CELLS)
    if factor > 1:  # of a whole tile fewer cells tell as much
        opacity, shadow = _means(opacity, factor), _means(shadow, factor)
    cloud = np.clip((opacity - _CLOUD[0]) / np.float32(_CLOUD[1] - _CLOUD[0]), 0, 1)
    found = find_displacement(cloud, shadow, factor)
    region = np.zeros_like(cloud)
    if found is not None and found.certainty >= _CERTAIN:
        for times in _HEIGHTS:
            down, right = round(found.rows * times), round(found.columns * times)
            np.maximum(region, _shifted(cloud, down, right), out=region)
        region = box_mean(dilate(region, -(-_NEAR // factor)), -(-_SOFT // factor))
    large = np.minimum(region, 1).repeat(factor, axis=0).repeat(factor, axis=1)
    out: Floats = large[:height, :width]
    return out


def relight_gain(light: Floats, change: Floats, opacity: Floats, shadow: Floats) -> Floats:
    """Return how many times the change is too small under shadows: float32 (3,), 1 to 2.

    How deep shadows are depends on sun, sky and ground, and the network answers the middle of what
    may be. In one scene they are alike: over all of them, the land in the core of a shadow must be
    relit to the light of the land beside it.

    Args:
        light: float32 (3, rows, columns) of cells, model range; 0 where nothing is known.
        change: float32 (3, rows, columns), of the coarse answer.
        opacity, shadow: float32 (rows, columns), of the coarse answer.
    """
    ground = (opacity < _LIT_BELOW) & (light > 0).any(axis=0)
    lit = (ground & (shadow < _LIT_BELOW)).astype(np.float32)
    near = box_mean(lit, _BESIDE)
    core = ground & (shadow > _DEEP) & (near > 0.1)
    if core.sum() < _LEAST_CORES:
        return np.ones(len(light), np.float32)
    beside = (box_mean(band * lit, _BESIDE)[core] / near[core] for band in light)
    missing = [(around - band[core]).sum() for around, band in zip(beside, light, strict=True)]
    given = np.maximum([band[core].sum() for band in change], 1e-6)
    return np.clip(_BELIEVED * np.array(missing) / given, 1, _MOST_GAIN).astype(np.float32)


def find_displacement(cloud: Floats, shadow: Floats, factor: int = 1) -> Displacement | None:
    """Return the displacement of shadows; None where there is too little cloud.

    Args:
        cloud: float32 (rows, columns), 0..1, how much of the sun each cell hides.
        shadow: float32 (rows, columns), 0..1.
        factor: cells of the coarse answer along a side of these.
    """
    visible = (cloud < 0.5).astype(np.float32)
    if min(cloud.sum(), visible.sum()) < _LEAST_CLOUD / factor**2:
        return None
    wide = _AROUND // factor
    around = box_mean(shadow * visible, wide) / np.maximum(box_mean(visible, wide), 1e-3)
    darker = np.maximum(shadow - around, 0) * visible
    nearest, reach = -(-_REACH[0] // factor), min(_REACH[1] // factor, min(cloud.shape) - 1)
    if reach < nearest:
        return None
    under = _correlate(cloud, darker, reach)  # (2 reach + 1, 2 reach + 1), by displacement
    counted = _correlate(cloud, visible, reach)
    score = under / np.maximum(counted, np.float32(_SEEN) * cloud.sum())
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(down, right)
    wanted = (distance >= nearest) & (distance <= reach)
    middle = float(np.median(score[wanted]))
    spread = 1.4826 * float(np.median(np.abs(score[wanted] - middle)))
    best = np.argmax(np.where(wanted, score, -np.inf))
    row, column = np.unravel_index(best, score.shape)
    certainty = (float(score[row, column]) - middle) / max(spread, 1e-4)
    return Displacement(int(row) - reach, int(column) - reach, certainty)


def _correlate(cloud: Floats, other: Floats, reach: int) -> Floats:
    """Return the sum of cloud times the other one, displaced by -reach to reach cells."""
    shape = [fft.next_fast_len(length + reach, real=True) for length in cloud.shape]
    spectrum = np.conj(fft.rfft2(cloud, shape)) * fft.rfft2(other, shape)
    sums = fft.irfft2(spectrum, shape)
    around = np.arange(-reach, reach + 1)
    out: Floats = np.maximum(sums[np.ix_(around % shape[0], around % shape[1])], 0)
    return out.astype(np.float32)


def _shifted(cells: Floats, down: int, right: int) -> Floats:
    """Return cells moved down and to the right; 1 where they come from outside of the scene."""
    out = np.ones_like(cells)  # nobody knows that there is no cloud
    height, width = cells.shape
    if abs(down) < height and abs(right) < width:
        to = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
        of = np.s_[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
        out[to] = cells[of]
    return out


def _means(cells: Floats, factor: int) -> Floats:
    """Return the means of factor x factor cells; the last ones go on over the edge."""
    height, width = cells.shape
    padded = np.pad(cells, [(0, -height % factor), (0, -width % factor)], mode="edge")
    parts = padded.reshape(padded.shape[0] // factor, factor, -1, factor)
    means: Floats = parts.mean(axis=(1, 3))
    return means
