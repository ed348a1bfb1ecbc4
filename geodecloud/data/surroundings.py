"""The scene that a tile lies in, as far as the generator is told of it: its darkest light.

Haze over the whole of a scene and pale ground are the same picture in a window. Not so in the
scene: somewhere in it is shadow, water or forest, and what is brighter than these by nature is
the light of the air above them (dark-object subtraction, Chavez 1988).
"""

import torch
from torch import Tensor

from geodecloud.radiometry import (
    DARK_OBJECT_QUANTILE,
    L1C_DARK_OBJECT,
    PATH_RADIANCE,
    measure_path_radiance_removed,
)

# Of the tiles, up to these shares: alone, beside land, beside land and water; beside its own.
_ALONE, _LAND, _LAND_AND_WATER = 0.3, 0.6, 0.94
_ENDS = 0.25  # of the tiles: their cloud or haze ends with the tile
_THINNEST = 0.4  # of it that lies over the darkest land around, where it goes on


def darkest(tiles: Tensor) -> Tensor:
    """The darkest light of each tile's bands, (..., H, W) -> (...)."""
    values = tiles.flatten(-2)
    return values.kthvalue(max(round(DARK_OBJECT_QUANTILE * values.shape[-1]), 1), dim=-1).values


def dark_object_alone(cloudy: Tensor) -> Tensor:
    """Return the dark object of tiles that are scenes of their own, (N, 3)."""
    return torch.minimum(darkest(cloudy), cloudy.new_tensor(L1C_DARK_OBJECT))


def dark_object_around(neighbours: Tensor, water: Tensor, u: Tensor) -> Tensor:
    """The darkest light of the land around each tile, float32 (N, 3).

    inf where there is none, and -inf where it is more of the tile's own: a desert, a wood.

    Args:
        neighbours: float32 (N, 3, 3, S, S).
        water: float32 (N, 3, S, S).
        u: float32 (N,), 0..1.
    """
    land = darkest(neighbours).amin(dim=1)  # (N, 3)
    both = torch.minimum(land, darkest(water))
    u = u[:, None]
    around = torch.where(u < _LAND, land, both)
    around = torch.where(u < _LAND_AND_WATER, around, -torch.inf)
    return torch.where(u < _ALONE, torch.inf, around)


def dark_object_under(
    cloudy: Tensor, around: Tensor, a: Tensor, light: Tensor, u: Tensor
) -> Tensor:
    """The darkest light of the scene of each cloudy tile, float32 (N, 3).

    What of a cloud lies everywhere on the tile, haze above all, lies over most scenes, thinner.

    Args:
        cloudy, a, light: float32 (N, 3, H, W), see :mod:`geodecloud.data.clouds`.
        around: float32 (N, 3), the darkest light of the land around, without cloud; or inf.
        u: float32 (N,), 0..1.
    """
    covered = ((1 - a) * around[..., None, None] + light).amin(dim=(2, 3))
    share = (_THINNEST + (1 - _THINNEST) * (u - _ENDS) / (1 - _ENDS))[:, None]
    beside = torch.where(u[:, None] < _ENDS, around, around.lerp(covered, share))
    beside = torch.where(around.isinf(), around, beside)
    return torch.minimum(darkest(cloudy), beside).clamp(0, 1)


def missing_path_radiance(dark: Tensor) -> Tensor:
    """The air that is put back before the network sees a scene as dark, (N, 3) -> (N, 3, 1, 1).

    As :meth:`geodecloud.radiometry.Radiometry.to_network` does.
    """
    corrected = dark.new_tensor(
        [measure_path_radiance_removed(scene) for scene in dark.double().cpu().numpy()]
    )
    return (corrected[:, None] * dark.new_tensor(PATH_RADIANCE))[..., None, None]
