"""Put the article's own clouds over tiles, to compare its recipe with ours.

Grey Perlin noise is mixed over the whole tile. The noise darkens as often as it brightens, and no
mask says which pixels are clear. See :mod:`geodecloud.data.prepare` for the data set on disk.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from geodecloud.data.clouds import Clouded
from geodecloud.data.dark_object import dark_object_alone
from geodecloud.data.draw import TileDraw, draw_numbers
from geodecloud.data.perlin import fractal_perlin
from geodecloud.data.prepare import OCTAVES, SCALES

ARTICLE_NUMBERS = ("scale", "alpha")


def article_draw(seed: int, epoch: int, items: Sequence[int]) -> TileDraw:
    """Draw the random numbers of some tiles' noise, see :func:`draw_numbers`."""
    return draw_numbers(seed, epoch, items, ARTICLE_NUMBERS)


def overlay_noise(clear: Tensor, draw: TileDraw) -> Clouded:
    """Mix each tile with noise; its ``opacity`` is the weight of the noise.

    cloudy = (1 - alpha) * clear + alpha * noise, alpha uniform in 0..1, the noise normalised to
    0..1 over the tile and always from the same origin.

    Args:
        clear: float32 (N, 3, S, S) in model range.
        draw: of the tiles, see :func:`article_draw`.
    """
    alpha = draw.uniform("alpha")
    noise = article_noise(draw.between("scale", *SCALES), clear.shape[-1])  # (N, 1, S, S)
    cloudy = (1 - alpha) * clear + alpha * noise
    return Clouded(cloudy, clear, alpha.expand_as(noise), dark_object_alone(cloudy))


def article_noise(scale: Tensor, size: int) -> Tensor:
    """Return fractal noise of 12 octaves from the origin, normalised to 0..1 over each tile.

    Args:
        scale: float32 (N, 1, 1, 1), pixels in a cell of the coarsest octave.
        size: in pixels.

    Returns:
        float32 (N, 1, size, size).
    """
    line = torch.arange(size, dtype=torch.float32, device=scale.device)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    noise = fractal_perlin(rows / scale, columns / scale, OCTAVES)
    low, high = noise.amin(dim=(2, 3), keepdim=True), noise.amax(dim=(2, 3), keepdim=True)
    return (noise - low) / (high - low)
