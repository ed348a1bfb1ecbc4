"""Flood land with turbid water: lagoons, estuaries and creeks.

Turbid water looks like haze over dark land. But its shore is sharp, and the edge of haze is not.
"""

import torch
from torch import Tensor

from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank, draw_placement, sample

_SAND = (1.0, 0.9, 0.8)  # surface reflectance of a beach in red, green and blue, model range


def draw_coast(draw: Draw, surface: Tensor, bank: FieldBank, chosen: Tensor) -> Tensor:
    """Flood a part of each chosen window; in some, the remaining land becomes marsh or beach.

    Args:
        surface: float32 (N, 3, 64, 64), surface reflectance in model range.
        chosen: bool (N,).

    Returns:
        The surface with water, float32 (N, 3, 64, 64).
    """
    n = len(surface)
    depth = _draw_depth(draw, bank, n)  # negative on land
    hard = draw.log_uniform("coast hard", n, 1, 1, low=12, high=80)
    marsh = draw.chance("marsh", 0.4, n, 1, 1, 1).float()
    marsh = marsh * draw.uniform("marsh dark", n, 1, 1, 1, low=0.3)
    land = surface * (1 - 0.8 * marsh)
    width = draw.uniform("beach width", n, 1, 1, low=0.03, high=0.2)
    near = ((width + depth) * hard + 0.5).clamp(0, 1)[:, None]
    near = near * draw.chance("beach", 0.35, n, 1, 1, 1)
    sand = torch.tensor(_SAND, device=surface.device).view(1, 3, 1, 1)
    light = draw.log_uniform("sand light", n, 1, 1, 1, low=0.5, high=1.5)
    land = torch.lerp(land, sand * light, near)
    flooded = (depth * hard + 0.5).clamp(0, 1)[:, None]
    coast = torch.lerp(land, _draw_water(draw, bank, n), flooded)
    return torch.where(chosen[:, None, None, None], coast, surface)


def _draw_depth(draw: Draw, bank: FieldBank, n: int) -> Tensor:
    """Draw the depth of water: a winding shore, islands, in some windows creeks.

    Returns:
        float32 (N, 64, 64), in units of the noise's standard deviation; negative on land.
    """
    shore = _noise(draw, bank, "shore", n, (0.15, 1.5))
    shore = shore + 0.35 * _noise(draw, bank, "islands", n, (1.0, 5.0))
    depth = shore - draw.uniform("coast level", n, 1, 1, low=-1.0, high=0.6)
    width = draw.uniform("creek width", n, 1, 1, low=0.02, high=0.2)
    creeks = 0.7 * (width - _noise(draw, bank, "creeks", n, (0.3, 2.0)).abs())
    lowland = draw.chance("creek", 0.4, n, 1, 1) & (depth > -0.8)
    return torch.where(lowland, torch.maximum(depth, creeks), depth)


def _draw_water(draw: Draw, bank: FieldBank, n: int) -> Tensor:
    """Draw turbid water, blue to brown, with plumes of sediment: float32 (N, 3, 64, 64)."""
    light = 0.02 + 0.30 * draw.uniform("water light", n, 1, 1, 1)
    tint = draw.uniform("water tint", n, 3, 1, 1, low=0.6, high=1.0)
    contrast = 0.3 * draw.uniform("water contrast", n, 1, 1, 1)
    plumes = _noise(draw, bank, "plumes", n, (0.05, 1.0))[:, None]
    return (light * tint * (1 + contrast * plumes)).clamp_min(0.002)


def _noise(draw: Draw, bank: FieldBank, name: str, n: int, steps: tuple[float, float]) -> Tensor:
    """Draw a piece of noise for each window: float32 (N, 64, 64), N(0, 1).

    Args:
        steps: smallest and largest number of noise pixels for each pixel of the window.
    """
    step = draw.log_uniform(f"{name} step", n, low=steps[0], high=steps[1])
    placement = draw_placement(draw, name, step, count=bank.noise, first=bank.real)
    return sample(bank, placement, 64)
