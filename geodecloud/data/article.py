"""The article's own clouds, kept for comparison: see :mod:`geodecloud.data.prepare`.

Grey Perlin noise mixed over the whole tile. It darkens as often as it brightens, and never says
which pixels are clear.
"""

import torch
from torch import Tensor

from geodecloud.data.clouds import Clouded
from geodecloud.data.perlin import fractal_perlin
from geodecloud.data.prepare import OCTAVES, SCALES
from geodecloud.data.surroundings import dark_object_alone


def overlay_noise(clear: Tensor, uniforms: Tensor) -> Clouded:
    """Mix each tile with noise; its ``opacity`` is the noise's share.

    cloudy = (1 - alpha) * clear + alpha * noise, alpha uniform in 0..1, the noise stretched to
    0..1 over the tile and always from the same origin.

    Args:
        clear: float32 (N, 3, S, S) in model range.
        uniforms: float32 (N, at least 2), 0..1.
    """
    scale = SCALES[0] + (SCALES[1] - SCALES[0]) * uniforms[:, 0, None, None]
    alpha = uniforms[:, 1, None, None, None]
    grey = article_noise(scale, clear.shape[-1])[:, None]
    cloudy = (1 - alpha) * clear + alpha * grey
    return Clouded(cloudy, clear, alpha.expand_as(grey), dark_object_alone(cloudy))


def article_noise(scale: Tensor, size: int) -> Tensor:
    """Fractal noise of 12 octaves from the origin, stretched to 0..1: float32 (N, size, size).

    Args:
        scale: float32 (N, 1, 1), pixels in a cell of the coarsest octave.
        size: in pixels.
    """
    line = torch.arange(size, dtype=torch.float32, device=scale.device)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    noise = fractal_perlin(rows / scale, columns / scale, OCTAVES)
    low, high = noise.amin(dim=(1, 2), keepdim=True), noise.amax(dim=(1, 2), keepdim=True)
    return (noise - low) / (high - low)
