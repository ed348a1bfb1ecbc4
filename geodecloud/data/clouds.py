"""Synthetic clouds over clear tiles, batched, on the device of the tiles.

The physical model, per band:

    cloudy = (1 - a) * shadow * clear + a * airlight,   clipped to the model range

``a`` is how much of the ground's light the cloud takes away, airlight what the cloud itself
sends up. A cloud is bright: its airlight is mostly *beyond* the model range (reflectance 0.3 to
0.8, where the range ends at 0.275), so thin cloud adds much light and takes little contrast.

All randomness comes in as ``uniforms``, one row per tile: the same row gives the same cloud,
whatever else is in the batch.
"""

from dataclasses import astuple
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geodecloud.data.cloud_shapes import (
    CUMULUS,
    HAZE,
    Draw,
    Place,
    depth_and_shadow,
    parallax,
    per_band,
)
from geodecloud.data.surroundings import dark_object_alone, dark_object_under, missing_path_radiance
from geodecloud.model.config import CloudMix

UNIFORMS = 49  # random numbers that one tile may use


class Clouds(NamedTuple):
    """Clouds without land: ``cloudy = (1 - a) * shadow * clear + light``.

    a: float32 (N, 3, H, W), 0..1, the share of the ground's light that is taken away.
    light: float32 (N, 3, H, W), a * airlight, in units of the model range but not clipped to it.
    shadow: float32 (N, 1, H, W), 0..1, a factor; 1 is no shadow.
    """

    a: Tensor
    light: Tensor
    shadow: Tensor


class Clouded(NamedTuple):
    """What the generator sees and what it should answer, in model range.

    cloudy: float32 (N, 3, H, W), 0..1.
    target: float32 (N, 3, H, W), 0..1: the ground without cloud, its shadows kept.
    opacity: float32 (N, 1, H, W), 0..1: see :func:`apparent_opacity`.
    darkest: float32 (N, 3), 0..1: the darkest light of the scene that the tile lies in.
    """

    cloudy: Tensor
    target: Tensor
    opacity: Tensor
    darkest: Tensor


def draw_uniforms(seed: int, epoch: int, items: list[int], count: int = UNIFORMS) -> Tensor:
    """Random numbers for some tiles: float32 (len(items), count), 0..1.

    Row i depends on (seed, epoch, items[i]) only, not on the worker or the batch.
    """
    rows = [np.random.default_rng([seed, epoch, i]).random(count) for i in items]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def simulate_clouds(
    clear: Tensor, uniforms: Tensor, mix: CloudMix, around: Tensor | None = None
) -> Clouded:
    """Put a cloud of a random kind over each clear tile.

    Args:
        clear: float32 (N, 3, H, W) in model range, R, G, B.
        uniforms: float32 (N, UNIFORMS), 0..1.
        mix: how often each kind occurs.
        around: float32 (N, 3), the darkest light of the clear land around, inf where there is
            none; None: there is none anywhere.
    """
    clouds = draw_clouds(uniforms, mix, Place(*clear.shape[-2:]))
    target = clouds.shadow * clear
    light = clouds.light * _tint_of_land(clear, uniforms[:, 46:48])
    cloudy = ((1 - clouds.a) * target + light).clamp(0, 1)
    if around is None:
        return Clouded(cloudy, target, apparent_opacity(clouds.a, light), dark_object_alone(cloudy))
    dark = dark_object_under(cloudy, around, clouds.a, light, uniforms[:, 48])
    air = missing_path_radiance(dark)
    cloudy, target, light = air + (1 - air) * cloudy, air + (1 - air) * target, (1 - air) * light
    even = air.flatten(1)
    dark = torch.where(around.isinf(), dark_object_alone(cloudy), even + (1 - even) * dark)
    return Clouded(cloudy, target, apparent_opacity(clouds.a, light), dark)


def draw_clouds(uniforms: Tensor, mix: CloudMix, place: Place) -> Clouds:
    """A cloud of a random kind for each row of the uniforms, on their device.

    Args:
        uniforms: float32 (N, UNIFORMS), 0..1; the last three columns are not used here.
        mix: how often each kind occurs.
        place: the pixels that are wanted.
    """
    draw = Draw(uniforms)
    shares = torch.tensor(astuple(mix), device=uniforms.device).cumsum(0)[:-1]
    kind = torch.bucketize(draw.uniform().contiguous(), shares, right=True)  # (N, 1, 1)
    bright = draw.uniform() < torch.where(kind == HAZE, 0.55, 0.8)
    bright = bright | (kind >= CUMULUS)
    airlight = torch.where(bright, draw.between(0.9, 3.0), draw.between(0.4, 1.0))  # (N, 1, 1)

    depth, shadow = depth_and_shadow(draw, kind, airlight, place)  # (N, H, W) each
    scatter = torch.where(kind < CUMULUS, draw.between(0, 1.6), draw.between(0, 0.2))
    depths = parallax(draw, depth, kind) * per_band(scatter)  # (N, 3, H, W)
    a = 1 - torch.exp(-depths)
    tint = torch.cat([draw.between(0.94, 1.06) for _ in range(3)], dim=1)[..., None]
    return Clouds(a, a * airlight[:, None] * tint, shadow[:, None])


def apparent_opacity(a: Tensor, light: Tensor) -> Tensor:
    """How much of the ground is hidden from someone who sees the model range only.

    A share ``1 - a`` of the ground's contrast is left, in a share ``1 - light`` of the range:
    1 - (1 - a)(1 - light), the mean of the bands. 0 without cloud; 1 where the ground's light is
    gone or where the cloud's own light fills the range, so that a saturated pixel is opaque
    although a thick sensor range would still see through it.

    Args:
        a, light: float32 (N, 3, H, W).

    Returns:
        float32 (N, 1, H, W), 0..1.
    """
    return (1 - (1 - a) * (1 - light.clamp(0, 1))).mean(dim=1, keepdim=True)


def _tint_of_land(clear: Tensor, uniforms: Tensor) -> Tensor:
    """How the land below colours its cloud, (N, 3, 1, 1): a factor per band of mean 1.

    Often not at all, else up to 60 % of the way to the land's own mean colour.
    """
    mean = clear.mean(dim=(2, 3), keepdim=True)  # (N, 3, 1, 1)
    colour = (mean / mean.mean(dim=1, keepdim=True).clamp_min(1e-3)).clamp(0.5, 1.6)
    tinted = uniforms[:, 0] < 0.35
    strength = torch.where(tinted, 0.6 * uniforms[:, 1], torch.zeros(()))[:, None, None, None]
    return 1 + strength * (colour - 1)
