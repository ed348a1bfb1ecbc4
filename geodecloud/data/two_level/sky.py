"""Draw clouds and their shadows over clear ground, for all windows of a batch at once.

    shaded = path_radiance + (ground - path_radiance) * (1 - shadow * depth)
    seen   = (1 - opacity) * shaded + opacity * cloud           for each layer, the lower one first

Opacity and depth differ a little by band.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geodecloud.data.two_level.cloud_layers import (
    CIRRUS,
    FIELD,
    HAZE,
    NOISE,
    NONE,
    SHADE,
    Layer,
    first_layer,
    opacity_by_band,
    second_layer,
)
from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank, draw_placement, sample
from geodecloud.data.two_level.ground import Ground, is_blue_water


@dataclass(frozen=True)
class SkyPlan:
    """Clouds of the windows: fractions of the windows, lengths in pixels of 10 m.

    none: without cloud.
    field, noise: under real fields, and under clouds made of noise.
    cirrus, haze: under noise drawn out along one direction, and under uniform haze.
    shade: in the shadow of a cloud outside of the window.
    clear_water: of the hazy windows of open water, those whose haze is removed: it looks like paler
        water, which is far more frequent.
    clear_new_land: of the windows with roofs or a flooded coast, those whose cloud is removed.
    second: of the cloudy windows, those with thin cloud below or above the first.
    shadows: of the windows under real fields and noise, those whose cloud casts a shadow.
    reach: distance of a shadow from its cloud, smallest and largest.
    parallax: largest displacement between low cloud in red and in blue.
    high_parallax: the same for cirrus and 15 % of the other clouds, whose edges show colours.
    """

    none: float = 0.16
    field: float = 0.38
    noise: float = 0.10
    cirrus: float = 0.14
    haze: float = 0.14
    shade: float = 0.08
    clear_water: float = 0.7
    clear_new_land: float = 0.6
    second: float = 0.3
    shadows: float = 0.5
    reach: tuple[float, float] = (4.0, 150.0)
    parallax: float = 1.1
    high_parallax: float = 4.0

    @property
    def kind_weights(self) -> tuple[float, ...]:
        """Fractions of the kinds, in the order of ``cloud_layers.KIND_NAMES``."""
        return (self.none, self.field, self.noise, self.cirrus, self.haze, self.shade)


@dataclass(frozen=True)
class Sky:
    """Windows under clouds; float32, light in model range.

    seen: (N, 3, 64, 64), the ground under shadow and cloud.
    opacity: (N, 1, 64, 64), fraction of the ground's green light that cloud hides, 0..1.
    shadow: (N, 1, 64, 64), fraction of the ground's green light that the shadow takes, 0..1.
    least_opacity: (N, 1, 1, 1), smallest opacity in the window.
    cloud_light: (N, 3, 1, 1), mean light of the first layer itself.
    kind: int64 (N,), index in ``cloud_layers.KIND_NAMES``.
    """

    seen: Tensor
    opacity: Tensor
    shadow: Tensor
    least_opacity: Tensor
    cloud_light: Tensor
    kind: Tensor


def draw_sky(draw: Draw, ground: Ground, bank: FieldBank, level: Tensor, plan: SkyPlan) -> Sky:
    """Draw clouds and shadows over the ground.

    Args:
        level: float32 (N,), pixels of 10 m along a side of a window's pixel: 1, 2 or 4.
    """
    n = len(ground.light)
    kind = draw.kind("cloud", plan.kind_weights, n)
    pale = (kind == HAZE) & is_blue_water(ground) & draw.chance("clear water", plan.clear_water, n)
    clear = ground.new_land & draw.chance("clear new", plan.clear_new_land, n)
    kind = torch.where(pale | clear, torch.full_like(kind, NONE), kind)
    first = first_layer(draw, bank, kind, level)
    shadow = _shadow(draw, bank, first, kind, level, plan)
    depth = _draw_depth(draw, n)
    surface = ground.light - ground.path_radiance
    shaded = ground.path_radiance + surface * (1 - shadow * depth)
    second = second_layer(draw, bank, kind, level, plan.second)
    shift = _parallax(draw, kind, plan) / level[:, None]
    below = draw.chance("second below", 0.5, n, 1, 1, 1)
    seen, transmission = shaded, torch.ones_like(shadow)
    layers = [
        opacity_by_band(draw, bank, layer, name, shift)
        for name, layer in (("first", first), ("second", second))
    ]
    light = [_draw_cloud_light(draw, bank, name, kind) for name in ("first", "second")]
    for chosen in (below, ~below):
        opacity = torch.where(chosen, layers[1], layers[0])
        cloud = torch.where(chosen, light[1], light[0])
        seen = (1 - opacity) * seen + opacity * cloud
        transmission = transmission * (1 - opacity[:, 1:2])
    opacity = 1 - transmission
    least = opacity.amin(dim=(2, 3), keepdim=True)
    cloud_light = light[0].mean((2, 3), keepdim=True)
    return Sky(seen, opacity, shadow * depth[:, 1:2], least, cloud_light, kind)


def _parallax(draw: Draw, kind: Tensor, plan: SkyPlan) -> Tensor:
    """Draw the displacement between a cloud in red and in blue: float32 (N, 2), pixels of 10 m."""
    n = len(kind)
    high = (kind == CIRRUS) | draw.chance("parallax high", 0.15, n)
    angle = draw.uniform("parallax angle", n, high=2 * torch.pi)
    largest = torch.where(high, plan.high_parallax, plan.parallax)
    distance = largest * draw.uniform("parallax", n)
    return distance[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)


def _draw_cloud_light(draw: Draw, bank: FieldBank, name: str, kind: Tensor) -> Tensor:
    """Draw the light of a layer itself: float32 (N, 3, 64, 64), model range."""
    n = len(kind)
    bright = draw.log_uniform(f"{name} light", n, 1, 1, 1, low=0.8, high=3.0)
    thin = draw.uniform(f"{name} thin light", n, 1, 1, 1, low=0.7, high=2.3)
    is_thin = ((kind == CIRRUS) | (kind == HAZE))[:, None, None, None]
    light = thin if name == "second" else torch.where(is_thin, thin, bright)
    tint = draw.uniform(f"{name} tint", n, 3, 1, 1, low=0.94, high=1.06)
    step = draw.log_uniform(f"{name} relief step", n, low=0.3, high=2)
    placement = draw_placement(draw, f"{name} relief", step, count=bank.noise, first=bank.real)
    relief = 0.35 * draw.uniform(f"{name} relief", n, 1, 1, 1)
    return light * tint * (1 + relief * sample(bank, placement, 64)[:, None]).clamp_min(0.4)


def _shadow(
    draw: Draw, bank: FieldBank, cloud: Layer, kind: Tensor, level: Tensor, plan: SkyPlan
) -> Tensor:
    """Draw the shadow of a cloud: its own shape, displaced and softer.

    Returns:
        float32 (N, 1, 64, 64), fraction of the sun that is hidden, 0..1.
    """
    n = len(kind)
    reach = draw.log_uniform("shadow reach", n, low=plan.reach[0], high=plan.reach[1]) / level
    angle = draw.uniform("shadow angle", n, high=2 * torch.pi)
    shift = reach[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    # Thin edges through which the satellite sees the ground scatter much of the sun's light, so a
    # shadow is wider than its cloud.
    wider = draw.uniform("shadow wider", n, low=1.0, high=2.5)
    one = torch.ones_like(cloud.max_opacity)
    caster = Layer(cloud.placement, cloud.slope, cloud.intercept, cloud.thickness * wider, one)
    shadow = _soften(draw, caster.opacity(bank, shift)[:, None], level)
    dense = (kind == FIELD) | (kind == NOISE)
    present = (dense & draw.chance("shadow", plan.shadows, n)) | (kind == SHADE)
    return shadow * present[:, None, None, None]


def _soften(draw: Draw, shadow: Tensor, level: Tensor) -> Tensor:
    """Blur each shadow over some 0, 4 or 8 pixels of 10 m, or 0 or 4 of 20 m; not those of 40 m."""
    soft = (draw.index("shadow soft", 3, len(shadow)) / level).long()[:, None, None, None]
    softened = shadow
    for index, cell in ((1, 4), (2, 8)):
        means = avg_pool2d(shadow, cell)
        blurred = interpolate(means, scale_factor=cell, mode="bilinear", align_corners=False)
        softened = torch.where(soft == index, blurred, softened)
    return softened


def _draw_depth(draw: Draw, n: int) -> Tensor:
    """Draw the fraction of the ground's light that comes straight from the sun: (N, 3, 1, 1).

    The rest is skylight, which reaches into a shadow too; most of it is blue.
    """
    red = draw.uniform("shadow depth", n, low=0.35, high=0.97)
    blue = red * draw.uniform("shadow blue", n, low=0.75, high=1.0)
    return torch.stack([red, (red + blue) / 2, blue], dim=1)[:, :, None, None]
