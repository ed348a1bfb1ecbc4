"""Spread colours from known cells to unknown ones by the pull-push pyramid.

Gortler, Grzeszczuk, Szeliski, Cohen: "The Lumigraph", SIGGRAPH 1996, section 3.4. Each level fills
the gaps of the finer one.
"""

import numpy as np

from geodecloud.restore.filters import Floats, upsample

_PRIOR_WEIGHT = 0.01  # weight of the prior colour; that of a fully visible scene is 1


def pull_push(sums: Floats, prior: Floats) -> Floats:
    """Return the colour of every cell by pull-push: float32 (bands, rows, columns).

    Args:
        sums: float32 (bands + 1, rows, columns), colour times weight, and the weight, at most 1.
        prior: float32 (bands,), the colour if no cell is known.
    """
    count = sums[0].size
    known = sums.sum(axis=(1, 2), dtype=np.float64)
    mean_colour = (known[:-1] + _PRIOR_WEIGHT * count * prior) / (known[-1] + _PRIOR_WEIGHT * count)
    levels = [sums]
    while max(levels[-1].shape[1:]) > 1:
        levels.append(_pull(levels[-1]))
    colour: Floats = mean_colour.astype(np.float32)[:, None, None]
    for level in reversed(levels):
        colour = _push(colour, level.shape[1:])  # what follows works in place: memory peaks here
        colour *= 1 - level[-1]
        colour += level[:-1]
    return colour


def normalise(sums: Floats, full: float) -> Floats:
    """Return sums of the same colours, with weights divided by ``full`` and clipped to 1."""
    weight = np.minimum(sums[-1] / np.float32(full), 1)
    scale = np.divide(weight, sums[-1], out=np.zeros_like(weight), where=sums[-1] > 0)
    result: Floats = sums * scale
    return result


def _pull(fine: Floats) -> Floats:
    """Halve height and width; weights add up to at most 1."""
    return normalise(halved(fine), 1)


def halved(fine: Floats) -> Floats:
    """Halve height and width by sums of 2x2 cells."""
    even = np.pad(fine, ((0, 0), (0, fine.shape[1] % 2), (0, fine.shape[2] % 2)))
    tall = even[:, ::2] + even[:, 1::2]
    half: Floats = tall[:, :, ::2] + tall[:, :, 1::2]
    return half


def _push(coarse: Floats, shape: tuple[int, ...]) -> Floats:
    """Double height and width, cropped to ``shape``."""
    rows, columns = (
        min(2 * have, want) for have, want in zip(coarse.shape[1:], shape, strict=True)
    )
    return upsample(coarse, 2, (0, rows), columns)
