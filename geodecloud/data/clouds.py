"""Put synthetic clouds over clear tiles, batched, on the device of the tiles.

The physical model, per band:

    cloudy = (1 - attenuation) * shadow * clear + attenuation * airlight,   clipped to 0..1

The attenuation is the fraction of the ground's light that the cloud takes away. The airlight is the
light that the cloud itself sends up. It is mostly *beyond* the model range: reflectance 0.3 to 0.8,
where the range ends at 0.275. So thin cloud adds much light and takes little contrast.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from geodecloud.data.cloud_fields import (
    FIELD_NUMBERS,
    HAZE,
    NONE,
    PARALLAX_NUMBERS,
    PixelGrid,
    depth_and_shadow,
    of_kind,
    parallax,
    spectral_ratio,
)
from geodecloud.data.cloud_kinds import KINDS
from geodecloud.data.config import CloudMix
from geodecloud.data.dark_object import (
    UNDER_NUMBERS,
    dark_object_alone,
    dark_object_under,
    missing_path_radiance,
)
from geodecloud.data.draw import TileDraw, draw_numbers, per_band

# The random numbers of a tile's cloud, as they are drawn. The spare ones are there to be renamed:
# with a number more or less, each seed of ``geodecloud simulate`` would give another cloud.
CLOUD_NUMBERS = (
    *("kind", "bright", "airlight of bright", "airlight of dim"),
    *FIELD_NUMBERS,
    *("scatter of thin cloud", "scatter of thick cloud"),
    *PARALLAX_NUMBERS,
    *per_band("tint"),
    *(f"spare {number}" for number in range(13)),
    *("tinted by land", "tint by land"),
    *UNDER_NUMBERS,
)


class Clouds(NamedTuple):
    """Clouds without land: ``cloudy = (1 - attenuation) * shadow * clear + light``.

    attenuation: float32 (N, 3, H, W), 0..1, the part of the ground's light that is taken away.
    light: float32 (N, 3, H, W), attenuation * airlight, in model range but not clipped to it.
    shadow: float32 (N, 1, H, W), 0..1, a factor; 1 is no shadow.
    """

    attenuation: Tensor
    light: Tensor
    shadow: Tensor


class Clouded(NamedTuple):
    """Tiles under cloud and what the generator should make of them, in model range.

    cloudy: float32 (N, 3, H, W), 0..1.
    target: float32 (N, 3, H, W), 0..1: the ground without cloud, its shadows kept.
    opacity: float32 (N, 1, H, W), 0..1: see :func:`apparent_opacity`.
    dark_object: float32 (N, 3), 0..1: of the scene that the tile lies in.
    """

    cloudy: Tensor
    target: Tensor
    opacity: Tensor
    dark_object: Tensor


def cloud_draw(seed: int, epoch: int, items: Sequence[int]) -> TileDraw:
    """Draw the random numbers of some tiles' clouds, see :func:`draw_numbers`."""
    return draw_numbers(seed, epoch, items, CLOUD_NUMBERS)


def draw_kind(draw: TileDraw, mix: CloudMix, spared: Tensor | None = None) -> Tensor:
    """Return a kind of cloud for each tile, as frequent as in the mix: int64 (N, 1, 1, 1).

    Args:
        spared: bool (N,), the tiles over which haze becomes no cloud; None: no tile.
    """
    fractions = [getattr(mix, name) for name in KINDS]
    limits = torch.tensor(fractions, device=draw.values.device).cumsum(0)[:-1]
    kind = torch.bucketize(draw.uniform("kind").contiguous(), limits, right=True)
    if spared is None:
        return kind
    return torch.where((kind == HAZE) & spared[:, None, None, None], NONE, kind)


def simulate_clouds(
    clear: Tensor,
    draw: TileDraw,
    mix: CloudMix,
    around: Tensor | None = None,
    spared: Tensor | None = None,
) -> Clouded:
    """Put a cloud of a random kind over each clear tile.

    Args:
        clear: float32 (N, 3, H, W) in model range, R, G, B.
        draw: of the tiles, see :func:`cloud_draw`.
        around: float32 (N, 3), the dark object of the clear land around, inf where there is
            none; None: there is none anywhere.
        spared: bool (N,), the tiles over which haze becomes no cloud; None: no tile.
    """
    kind = draw_kind(draw, mix, spared)
    clouds = draw_clouds(draw, kind, PixelGrid(*clear.shape[-2:]))
    target = clouds.shadow * clear
    light = clouds.light * _tint_by_land(clear, draw)
    cloudy = ((1 - clouds.attenuation) * target + light).clamp(0, 1)
    if around is None:
        opacity = apparent_opacity(clouds.attenuation, light)
        return Clouded(cloudy, target, opacity, dark_object_alone(cloudy))
    dark = dark_object_under(cloudy, around, clouds.attenuation, light, draw)
    air = missing_path_radiance(dark)
    cloudy, target, light = air + (1 - air) * cloudy, air + (1 - air) * target, (1 - air) * light
    even = air.flatten(1)
    dark = torch.where(around.isinf(), dark_object_alone(cloudy), even + (1 - even) * dark)
    return Clouded(cloudy, target, apparent_opacity(clouds.attenuation, light), dark)


def draw_clouds(draw: TileDraw, kind: Tensor, grid: PixelGrid) -> Clouds:
    """Return a cloud of the given kind for each tile, on the device of the draw.

    Args:
        draw: of the tiles, see :func:`cloud_draw`.
        kind: int64 (N, 1, 1, 1), see :func:`draw_kind`.
    """
    bright = draw.chance("bright", of_kind(kind, "bright"))
    of_bright = draw.between("airlight of bright", 0.9, 3.0)
    of_dim = draw.between("airlight of dim", 0.4, 1.0)
    airlight = torch.where(bright, of_bright, of_dim)  # (N, 1, 1, 1)
    depth, shadow = depth_and_shadow(draw, kind, airlight, grid)  # (N, 1, H, W) each
    scatter = torch.where(
        of_kind(kind, "thin"),
        draw.between("scatter of thin cloud", 0, 1.6),
        draw.between("scatter of thick cloud", 0, 0.2),
    )
    depths = parallax(draw, depth, kind) * spectral_ratio(scatter)  # (N, 3, H, W)
    attenuation = 1 - torch.exp(-depths)
    tint = draw.per_band("tint") * (1.06 - 0.94) + 0.94
    return Clouds(attenuation, attenuation * airlight * tint, shadow)


def apparent_opacity(attenuation: Tensor, light: Tensor) -> Tensor:
    """Return how far the ground is hidden from someone who sees the model range only.

    A part ``1 - attenuation`` of the ground's contrast is left, in a part ``1 - light`` of the
    range: 1 - (1 - attenuation)(1 - light), the mean of the bands. The opacity is 0 without cloud.
    It is 1 where the ground's light is gone or where the cloud's own light fills the range: a
    saturated pixel is opaque although a sensor of a larger range would still see through it.

    Args:
        attenuation, light: float32 (N, 3, H, W).

    Returns:
        float32 (N, 1, H, W), 0..1.
    """
    return (1 - (1 - attenuation) * (1 - light.clamp(0, 1))).mean(dim=1, keepdim=True)


def _tint_by_land(clear: Tensor, draw: TileDraw) -> Tensor:
    """Return how the land below colours its cloud: a factor per band of mean 1, (N, 3, 1, 1).

    65 % of the clouds have no tint, the others up to 60 % of the land's own mean colour.
    """
    mean = clear.mean(dim=(2, 3), keepdim=True)  # (N, 3, 1, 1)
    colour = (mean / mean.mean(dim=1, keepdim=True).clamp_min(1e-3)).clamp(0.5, 1.6)
    strength = 0.6 * draw.uniform("tint by land")
    strength = torch.where(draw.chance("tinted by land", 0.35), strength, torch.zeros(()))
    return 1 + strength * (colour - 1)
