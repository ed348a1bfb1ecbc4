"""Decide which pixels may change, and how far.

The network answers window by window. Here its opacity is weighed by what lies around a pixel, and
by the user's mask, before any pixel changes.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.filters import Floats, box_mean, dilate, smoothstep
from geodecloud.restore.rows import Rows, SceneFacts, given
from geodecloud.settings import Policy

# Hysteresis: thin cloud counts where certain cloud is near.
_DOUBTFUL, _CERTAIN = 0.30, 0.40  # opacity that pale water does not reach, and that cloud does
_PATCH = 3  # pixels to each side over which it does: a roof or a sandbank is smaller
_NEAR = 12  # pixels from certain cloud within which thin cloud counts
_FADE = 6  # pixels over which that fades
# Water: even and dim.
_EVEN = (0.015, 0.03)  # standard deviation of brightness: water, and what only land has
_DIM = (0.5, 0.6)  # mean brightness: of water still, and of cloud alone
_AROUND = 24  # pixels to each side over which both are taken
# Fill, chosen on the thirteen thick pairs of benchmarks/CONTEXT.md, where the plateau is wide.
_FRINGE = 10  # pixels around opaque cloud that are no ground yet: fringes, parallax, glare
_CLOSE = 3  # pixels that count as the pixel itself
_OWN = (0.10, 0.20)  # opacity there: of ground all the same, and of what is filled
_SOFT = 3  # pixels over which the edge of the fill is made soft, twice
_RISE = 0.15  # of opacity, over which the fill sets in below ``opaque_above``
_DISTRUST = 14  # pixels around cloud from which no colour is taken
_SEEN, _UNSEEN = 0.1, 0.4  # opacity: ground used as it is, and not at all

REACH = max(_PATCH + _NEAR + _FADE, _AROUND)  # rows around a row on which its answer depends


class Mask(Protocol):
    """A mask on the scene's grid: see :class:`geodecloud.raster.mask.CloudMask`."""

    def read(self, first: int, last: int) -> NDArray[np.bool_]:
        """Return where rows ``first`` to ``last`` (not included) may change: (rows, width)."""


def screen(
    rows: Iterator[Rows], facts: SceneFacts, mask: Mask | None, policy: Policy
) -> Iterator[Rows]:
    """Yield the same rows with screened opacity, fill weight and clear weight.

    The answer is the one for the whole scene at once: rows are held back until the ``REACH`` rows
    below them are there.

    Args:
        mask: where alone pixels may change; None: everywhere.
    """
    above: list[Floats] = []  # opacity and brightness of the last rows that were given out
    held: deque[tuple[Rows, Floats]] = deque()
    for more in chain(rows, [None]):  # None: no more will come
        if more is not None:
            held.append((more, _evidence(more, facts)))
        while held and (more is None or _count(held) >= len(held[0][0].valid) + REACH):
            current, evidence = held.popleft()
            around = np.concatenate([*above, evidence, *(below for _, below in held)], axis=1)
            first = sum(part.shape[1] for part in above)
            inner = slice(first, first + len(current.valid))
            above = [around[:, max(0, inner.stop - REACH) : inner.stop].copy()]
            screened = _screened(current, around[:, : inner.stop + REACH], inner, policy)
            yield screened if mask is None else _within(screened, mask)


def screen_opacity(opacity: Floats, brightness: Floats) -> Floats:
    """Return the opacity by which pixels change: float32 (rows, columns), 0..1.

    Args:
        opacity: float32 (rows, columns), 0..1, by the network.
        brightness: float32 (rows, columns), mean of R, G, B as the network saw them.
    """
    return hysteresis(opacity) * water_weight(brightness)


def _evidence(rows: Rows, facts: SceneFacts) -> Floats:
    """Return opacity and brightness, float32 (2, rows, width)."""
    radiometry = facts.radiometry
    seen = radiometry.to_network(radiometry.to_model(rows.dn[facts.rgb])).mean(axis=0)
    return np.stack([given(rows.opacity), np.where(rows.valid, seen, np.float32(0))])


def _count(held: deque[tuple[Rows, Floats]]) -> int:
    return sum(len(rows.valid) for rows, _ in held)


def _screened(rows: Rows, around: Floats, inner: slice, policy: Policy) -> Rows:
    """Return the rows ``inner`` of the evidence around them, screened."""
    opacity, brightness = around
    water = water_weight(brightness)
    return replace(
        rows,
        opacity=(hysteresis(opacity) * water)[inner],
        fill_weight=(fill_weight(opacity, policy.opaque_above) * water)[inner] * rows.valid,
        clear_weight=clear_weight(opacity)[inner] * rows.valid,
    )


def _within(rows: Rows, mask: Mask) -> Rows:
    """Return rows that are clear outside of the mask."""
    cloud = mask.read(rows.first, rows.last)
    opacity, weight = given(rows.opacity) * cloud, given(rows.fill_weight) * cloud
    return replace(rows, opacity=opacity, fill_weight=weight)


def hysteresis(opacity: Floats) -> Floats:
    """Return the opacity near certain cloud, fading to 0 where there is none.

    To one window, pale water and fields look like thin haze: low opacity everywhere, high nowhere.
    The thin rim of a cloud has its cloud beside it. On a clear Sentinel-2 coast this leaves a
    hundredth of the pixels changed instead of a quarter, for a tenth of a dB on real thin cloud
    (benchmarks/TRAINING_LOG.md).

    Args:
        opacity: float32 (rows, columns), 0..1. The answer for a row depends on ``REACH`` rows
            above and below it.
    """
    near = dilate(box_mean(opacity, _PATCH), _NEAR)
    certain = smoothstep((near - _DOUBTFUL) / (_CERTAIN - _DOUBTFUL))
    return opacity * np.minimum(box_mean(certain, _FADE), 1)


def water_weight(brightness: Floats) -> Floats:
    """Return a factor for opacity: 0 where the scene is even and dim all around, else up to 1.

    Turbid water and haze over water are the same picture, and to change what was measured would
    be a guess. What is even and bright is cloud (benchmarks/TRAINING_LOG.md has what this saves).

    Args:
        brightness: float32 (rows, columns), mean of R, G, B as the network saw them. The answer
            for a row depends on ``REACH`` rows above and below it.
    """
    level = box_mean(brightness, _AROUND)
    variance = box_mean(np.square(brightness), _AROUND) - np.square(level)
    uneven = (np.sqrt(np.maximum(variance, 0)) - _EVEN[0]) / (_EVEN[1] - _EVEN[0])
    bright = (level - _DIM[0]) / (_DIM[1] - _DIM[0])
    weight: Floats = np.clip(np.maximum(uneven, bright), 0, 1)
    return weight


def fill_weight(opacity: Floats, opaque_above: float) -> Floats:
    """Return how far each pixel takes the colour of the land around: float32, 0..1.

    1 within 10 px of cloud above ``opaque_above`` where the pixel itself is cloudy too; 0
    elsewhere; smooth between.

    Args:
        opacity: float32 (rows, columns), 0..1. The answer for a row depends on 16 rows around.
    """
    if (opacity < opaque_above - _RISE).all():
        return np.zeros_like(opacity)
    near = box_mean(box_mean(dilate(opacity, _FRINGE), _SOFT), _SOFT)
    beside = smoothstep(1 - (np.float32(opaque_above) - near) / np.float32(_RISE))
    close = box_mean(dilate(opacity, _CLOSE), _SOFT)
    return beside * smoothstep((close - _OWN[0]) / np.float32(_OWN[1] - _OWN[0]))


def clear_weight(opacity: Floats) -> Floats:
    """Return how far each pixel's colour may be used elsewhere: float32, 0..1; 0 beside cloud.

    Args:
        opacity: float32 (rows, columns), 0..1. The answer for a row depends on 14 rows around.
    """
    if (opacity <= _SEEN).all():
        return np.ones_like(opacity)
    near = dilate(opacity, _DISTRUST)
    return smoothstep((_UNSEEN - near) / np.float32(_UNSEEN - _SEEN))
