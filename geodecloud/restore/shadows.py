"""Tell cloud shadow from dark land and water: a shadow lies where its cloud casts it.

To the network a lake and a shadow are the same dark patch. But all clouds of a scene cast their
shadows in one direction and nearly as far (as used by Zhu and Woodcock 2012). The displacement
chosen is the one under which the displaced clouds best cover the shadow that the network predicts.
A shadow takes the shape of its cloud; the network and the darkness of the land strengthen or weaken
it. In scenes of nearly black shadows, black land is in shadow under clouds of any height, too.
"""

import math

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.displacement import (
    REACH,
    Displacement,
    darker_than_around,
    displaced,
    find_displacement,
)
from geodecloud.restore.filters import Floats, box_mean, smoothstep, soft_dilations, upsample

_CLOUD = (0.2, 0.5)  # opacity up to which cloud casts no shadow, and from which a full one
_HEIGHTS = (0.55, 0.7, 0.85, 1.0, 1.15, 1.3, 1.45)  # of clouds, relative to most of the scene's
_SIMILAR = 30  # cells to each side over which clouds have one height
_ANY_HEIGHT, _STEP = (0.25, 1.8), 2.0  # of clouds that may cast a shadow; cells between two of them
_SHARP, _UNUSUAL = 60.0, 0.5  # sharpness of the choice (softmax); penalty per unit off height 1
_MOST_CELLS = 1024  # along a side; a larger scene is averaged to find displacement and heights
_COVERED = 0.5  # least fraction of the sun that a cloud hides from black land
# Black land in shadow, of 255. With its darkness this means full shadow. It is too little for the
# core of a shadow, as its depth is not that of most shadows.
_BLACK = 200
_NEAR = 3  # cells around displaced cloud, as a shadow is wider than the opaque part of its cloud
_SOFT = 1  # cells over which that margin fades
_ROWS = 64  # rows at once

# Weights of the evidence of a shadow: displaced cloud, the network's shadow, darkness; ``_DOUBT``
# is subtracted. They were fitted to shadows made over six clear scenes, and to the labels of two
# cloudy ones (benchmarks/judge.py, masks.py). Darkness alone counts little: it may be a wood.
_THROWN, _LOOKS, _DARKNESS, _DOUBT = 1.1, 2.0, 0.5, 0.36
# Further weight of darkness for each standard deviation by which full shadow is darker than land
# in the sun, beyond the first ones, and its bound. It counts for shadow and against it.
_FURTHER, _INDISTINCT, _MOST_FURTHER = 0.6, 2.5, 2.0
_NEITHER = 0.5  # darkness that further weight leaves as it is
# Stands for darkness where the depth of the scene's shadows is not known. Displaced cloud alone
# then hides at most 15 % of the sun.
_NO_DEPTH = -1.0


def shadow_displacement(
    opacity: NDArray[np.floating], shadow: NDArray[np.floating]
) -> Displacement | None:
    """Return the displacement of a scene's shadows from their clouds; None if none stands out.

    Args:
        opacity, shadow: (rows, columns), 0..1, of the coarse answer.
    """
    factor = _factor(opacity.shape)
    if factor > REACH[1]:
        return None  # a scene so long and narrow that averaging leaves no displacement
    return find_displacement(*_averaged(opacity, shadow, factor), factor)


def thrown_shadows(
    opacity: NDArray[np.floating], shadow: NDArray[np.floating], displacement: Displacement
) -> NDArray[np.uint8]:
    """Return where the clouds of a scene cast their shadows: uint8 (2, rows, columns), 0..255.

    The first band is the fraction of the sun hidden by displaced clouds. The second is the weight
    of all evidence of a shadow. It is high around displaced clouds, and where the cloud would lie
    outside of the scene.

    Args:
        opacity, shadow: (rows, columns), 0..1, of the coarse answer.
        displacement: of the shadows, see :func:`shadow_displacement`.
    """
    (height, width), factor = opacity.shape, _factor(opacity.shape)
    chosen = _heights(*_averaged(opacity, shadow, factor), displacement, factor)
    cloud = _casting(opacity)
    inside = np.ones((height, 1), np.float32)
    out = np.empty((2, height, width), np.uint8)
    for first in range(0, height, _ROWS):
        rows = first, min(first + _ROWS, height)
        weights = upsample(chosen, factor, rows, width) if factor > 1 else chosen[:, slice(*rows)]
        thrown = sum(
            weight * displaced(cloud, *displacement.times(times), rows)
            for weight, times in zip(weights, _HEIGHTS, strict=True)
        )
        within = displaced(inside, displacement.rows, 0, rows).repeat(width, axis=1)
        outside = 1 - displaced(within, 0, displacement.columns, (0, len(within)))
        out[:, slice(*rows)] = np.rint(255 * np.clip([thrown, outside], 0, 1))
    return _with_margin(out)


def with_black_shadows(
    thrown: NDArray[np.uint8],
    black: NDArray[np.bool_],
    opacity: NDArray[np.floating],
    displacement: Displacement,
) -> NDArray[np.uint8]:
    """Return ``thrown`` with black land as shadow where a cloud of any height may cast one.

    Only the clouds within the scene count: black land at its edge may be a lake.

    Args:
        thrown: see :func:`thrown_shadows`.
        black: bool (rows, columns), land too dark for shadows of one depth, see
            :meth:`geodecloud.restore.relight.Shade.black_cells`.
        opacity, displacement: those of :func:`thrown_shadows`.
    """
    (height, width), factor = opacity.shape, _factor(opacity.shape)
    cloud = _means(_casting(opacity), factor)
    lowest, highest = _ANY_HEIGHT
    steps = (highest - lowest) * math.hypot(*displacement.times(1 / factor)) / _STEP
    reached = np.zeros(cloud.shape, np.bool_)
    for times in np.linspace(lowest, highest, math.ceil(steps) + 1):
        cast = displaced(cloud, *displacement.times(times / factor), (0, len(cloud)))
        reached |= cast > _COVERED
    shaded = reached.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width] & black
    out = thrown.copy()
    for band, least in zip(out, (_BLACK, 255), strict=True):
        band[shaded] = np.maximum(band[shaded], least)
    return _with_margin(out)


def _factor(shape: tuple[int, ...]) -> int:
    """Return how many cells along each side are averaged to find displacement and heights."""
    return -(-max(shape) // _MOST_CELLS)


def _averaged(
    opacity: NDArray[np.floating], shadow: NDArray[np.floating], factor: int
) -> tuple[Floats, Floats]:
    """Return the means of the sun hidden by clouds, and of the predicted shadow."""
    return _means(_casting(opacity), factor), _means(shadow, factor)


def _casting(opacity: NDArray[np.floating]) -> Floats:
    """Return the fraction of the sun that clouds hide: float32 (rows, columns), 0..1."""
    cloud = np.subtract(opacity, np.float32(_CLOUD[0]), dtype=np.float32)
    cloud /= np.float32(_CLOUD[1] - _CLOUD[0])
    out: Floats = np.clip(cloud, 0, 1, out=cloud)
    return out


def _with_margin(thrown: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``thrown``, its second band widened in place by the margin around the first."""
    for some, near in soft_dilations(thrown[0], _NEAR, _SOFT):
        thrown[1, some] = np.maximum(thrown[1, some], np.rint(near))
    return thrown


def hidden_fraction(
    thrown: Floats, shadow: Floats, darkness: Floats | None = None, distinctness: float = 0.0
) -> Floats:
    """Return the hidden fraction of the sun, float32 (rows, columns), 0..1.

    Args:
        thrown: float32 (2, rows, columns), 0..255, see :func:`thrown_shadows`.
        shadow: float32 (rows, columns), 0..1, predicted by the network.
        darkness: float32 (rows, columns), 0..1, see
            :meth:`geodecloud.restore.relight.Shade.darkness`; None: the depth of the scene's
            shadows is not known.
        distinctness: see :class:`geodecloud.restore.relight.Shade`.
    """
    cloud, may = thrown / np.float32(255)
    evidence = np.float32(_THROWN) * cloud + np.float32(_LOOKS) * shadow
    dark = np.float32(_NO_DEPTH) if darkness is None else darkness
    evidence += np.float32(_DARKNESS) * dark - np.float32(_DOUBT)
    further = min(_FURTHER * max(distinctness - _INDISTINCT, 0), _MOST_FURTHER)
    evidence += np.float32(further) * (dark - np.float32(_NEITHER))
    out: Floats = may * smoothstep(evidence, 0, 1)
    return out


def _heights(cloud: Floats, shadow: Floats, displacement: Displacement, factor: int) -> Floats:
    """Return the weight of each cloud height at each cell: float32 (heights, rows, columns), sum 1.

    The weight grows with the local correlation of predicted shadow and clouds displaced by that
    height.

    Args:
        factor: side of these cells, in cells of the coarse answer.
    """
    darker, visible = darker_than_around(cloud, shadow, factor)
    radius = max(_SIMILAR // factor, 1)
    darker = np.maximum(darker, 0)
    rows, energy = (0, len(cloud)), box_mean(darker**2, radius) + np.float32(1e-5)
    match = np.empty((len(_HEIGHTS), *cloud.shape), np.float32)
    for i, times in enumerate(_HEIGHTS):
        thrown = displaced(cloud, *displacement.times(times / factor), rows) * visible
        own = box_mean(thrown**2, radius) + np.float32(1e-4)
        match[i] = box_mean(thrown * darker, radius) / np.sqrt(own * energy)
        match[i] -= np.float32(_UNUSUAL * abs(times - 1))
    match -= match.max(axis=0)
    np.exp(np.float32(_SHARP) * match, out=match)
    match /= match.sum(axis=0)
    return match


def _means(cells: NDArray[np.floating], factor: int) -> Floats:
    """Return the means of factor x factor cells, float32; edge cells repeat beyond the edge."""
    if factor == 1:
        return cells.astype(np.float32)
    means = []
    for first in range(0, len(cells), _ROWS * factor):
        some = cells[first : first + _ROWS * factor].astype(np.float32)
        padded = np.pad(some, [(0, -length % factor) for length in some.shape], mode="edge")
        parts = padded.reshape(len(padded) // factor, factor, -1, factor)
        means.append(parts.mean(axis=(1, 3)))
    return np.concatenate(means)
