"""Find the dark object of the scene that a training tile lies in.

In a window, haze over the whole scene and pale ground look the same. The scene as a whole tells
them apart. It has shadow, water or forest somewhere, and the light there beyond their own is path
radiance (dark-object subtraction, Chavez 1988).
"""

import torch
from torch import Tensor

from geodecloud.data.draw import TileDraw
from geodecloud.radiometry import (
    DARK_OBJECT_QUANTILE,
    L1C_DARK_OBJECT,
    PATH_RADIANCE,
    measure_path_radiance_removed,
)

AROUND_NUMBERS, UNDER_NUMBERS = ("land around",), ("cloud around",)

# A tile is alone up to the first fraction; then it lies beside land, beside land and water, and
# beside more of its own.
_ALONE, _LAND, _LAND_AND_WATER = 0.3, 0.6, 0.94
_ENDS = 0.25  # fraction of the tiles whose cloud or haze ends with the tile
_THINNEST = 0.4  # least fraction of the cloud over the dark object around, where it goes on


def measure_dark_object(tiles: Tensor) -> Tensor:
    """Return the dark object of each tile's bands, (..., H, W) -> (...)."""
    values = tiles.flatten(-2)
    return values.kthvalue(max(round(DARK_OBJECT_QUANTILE * values.shape[-1]), 1), dim=-1).values


def dark_object_alone(cloudy: Tensor) -> Tensor:
    """Return the dark object of tiles that are scenes of their own, (N, 3).

    As :func:`geodecloud.radiometry.find_dark_object` does.
    """
    return torch.minimum(measure_dark_object(cloudy), cloudy.new_tensor(L1C_DARK_OBJECT))


def dark_object_around(neighbours: Tensor, water: Tensor, draw: TileDraw) -> Tensor:
    """Return the dark object of the land around each tile, float32 (N, 3).

    inf where there is no land, and -inf where it is like the tile: a desert, a forest.

    Args:
        neighbours: float32 (N, 3, 3, S, S).
        water: float32 (N, 3, S, S).
        draw: of the tiles, with AROUND_NUMBERS.
    """
    land = measure_dark_object(neighbours).amin(dim=1)  # (N, 3)
    both = torch.minimum(land, measure_dark_object(water))
    lies = draw.uniform("land around")[:, :, 0, 0]  # (N, 1)
    around = torch.where(lies < _LAND, land, both)
    around = torch.where(lies < _LAND_AND_WATER, around, -torch.inf)
    return torch.where(lies < _ALONE, torch.inf, around)


def dark_object_under(
    cloudy: Tensor, around: Tensor, attenuation: Tensor, light: Tensor, draw: TileDraw
) -> Tensor:
    """Return the dark object of the scene of each cloudy tile, float32 (N, 3).

    Cloud that lies everywhere on the tile, haze above all, lies over most scenes, but thinner.

    Args:
        cloudy, attenuation, light: float32 (N, 3, H, W), see :mod:`geodecloud.data.clouds`.
        around: float32 (N, 3), the dark object of the land around, without cloud; or inf.
        draw: of the tiles, with UNDER_NUMBERS.
    """
    covered = ((1 - attenuation) * around[..., None, None] + light).amin(dim=(2, 3))  # (N, 3)
    goes_on = draw.uniform("cloud around")[:, :, 0, 0]  # (N, 1)
    thickness = _THINNEST + (1 - _THINNEST) * (goes_on - _ENDS) / (1 - _ENDS)
    beside = torch.where(goes_on < _ENDS, around, around.lerp(covered, thickness))
    beside = torch.where(around.isinf(), around, beside)
    return torch.minimum(measure_dark_object(cloudy), beside).clamp(0, 1)


def missing_path_radiance(dark: Tensor) -> Tensor:
    """Return the path radiance that is put back for the network, (N, 3) -> (N, 3, 1, 1).

    As :meth:`geodecloud.radiometry.Radiometry.to_network` does for a scene with this dark object.
    """
    corrected = dark.new_tensor(
        [measure_path_radiance_removed(scene) for scene in dark.double().cpu().numpy()]
    )
    return (corrected[:, None] * dark.new_tensor(PATH_RADIANCE))[..., None, None]
