"""Clouds and their shadows over clear ground, all windows of a batch at once.

    shaded = base + (ground - base) * (1 - shadow * depth)
    seen   = (1 - opacity) * shaded + opacity * cloud           for each layer, the lower one first

base is the path radiance, opacity and depth differ a little by band.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank, Placement, draw_placement, sample
from geodecloud.data.two_level.ground import Ground, is_water

NONE, FIELD, NOISE, CIRRUS, HAZE, SHADE = range(6)
KIND_NAMES = ("no cloud", "real cloud", "made cloud", "cirrus", "haze", "shadow alone")
# Wavelengths of red, green and blue over green's (Sentinel-2 bands 4, 3, 2: 665, 560, 492 nm).
_WAVES = (665 / 560, 1.0, 492 / 560)


@dataclass(frozen=True)
class SkyPlan:
    """Clouds of the windows; shares, lengths in pixels of 10 m.

    none, field, noise, cirrus, haze, shade: shares of windows without cloud, under real fields,
        clouds of noise, stretched noise, even haze, and in the shadow of a cloud outside.
    clear_water: share of the windows of open water whose haze is taken away: nothing tells it from
        paler water, which is far more frequent.
    clear_new_land: share of the windows with roofs or a flooded coast whose cloud is taken away.
    second: share of the clouded windows that have thin cloud below or above the first.
    shadows: share of the windows under real fields and noise in which the cloud casts a shadow.
    reach: from and to, how far from its cloud the shadow lies.
    parallax: most pixels by which the bands see low cloud at different places.
    high_parallax: the same of cirrus, which shows colours like a prism.
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
    def shares(self) -> tuple[float, ...]:
        """Return the shares in the order of the kinds."""
        return (self.none, self.field, self.noise, self.cirrus, self.haze, self.shade)


@dataclass(frozen=True)
class Sky:
    """Windows under clouds; float32, light in model range.

    seen: (N, 3, 64, 64), the ground under shadow and cloud.
    opacity: (N, 1, 64, 64), share of the ground's green light that cloud takes, 0..1.
    shadow: (N, 1, 64, 64), share of the ground's green light that the shadow takes, 0..1.
    haze_share: (N, 1, 1, 1), least opacity over the window.
    haze_light: (N, 3, 1, 1), light of the cloud itself.
    kind: int64 (N,), index in ``KIND_NAMES``.
    """

    seen: Tensor
    opacity: Tensor
    shadow: Tensor
    haze_share: Tensor
    haze_light: Tensor
    kind: Tensor


@dataclass(frozen=True)
class _Layer:
    """One layer of cloud: opacity = most * (1 - (1 - clip(field * slope + level))^thickness).

    All float32; place for N windows, the others (N, 1, 1).
    """

    place: Placement
    slope: Tensor
    level: Tensor
    thickness: Tensor
    most: Tensor

    def opacity(self, bank: FieldBank, shift: Tensor | None = None) -> Tensor:
        """Return the opacity (N, 64, 64), of the place moved by (N, 2) pixels."""
        place = self.place if shift is None else self.place.shifted(shift)
        field = (sample(bank, place, 64) * self.slope + self.level).clamp(0, 1)
        return self.most * (1 - (1 - field) ** self.thickness)


def draw_sky(draw: Draw, ground: Ground, bank: FieldBank, level: Tensor, plan: SkyPlan) -> Sky:
    """Draw clouds and shadows over the ground.

    Args:
        level: float32 (N,), pixels of 10 m along a side of a window's pixel: 1, 2 or 4.
    """
    n = len(ground.light)
    kind = draw.kind("cloud", plan.shares, n)
    alike = (kind == HAZE) & is_water(ground) & draw.chance("clear water", plan.clear_water, n)
    clear = ground.new_land & draw.chance("clear new", plan.clear_new_land, n)
    kind = torch.where(alike | clear, torch.full_like(kind, NONE), kind)
    first = _first_layer(draw, bank, kind, level)
    shadow = _shadow(draw, bank, first, kind, level, plan)
    depth = _depth(draw, n, ground.light.device)
    shaded = ground.base + (ground.light - ground.base) * (1 - shadow * depth)
    second = _second_layer(draw, bank, kind, level, plan.second)
    shift = _parallax(draw, kind, plan) / level[:, None]
    below = draw.chance("second below", 0.5, n, 1, 1, 1)
    seen, clear_share = shaded, torch.ones_like(shadow)
    layers = [
        _bands(draw, bank, layer, name, shift)
        for name, layer in (("first", first), ("second", second))
    ]
    light = [_cloud_light(draw, bank, name, kind) for name in ("first", "second")]
    for chosen in (below, ~below):
        opacity = torch.where(chosen, layers[1], layers[0])
        cloud = torch.where(chosen, light[1], light[0])
        seen = (1 - opacity) * seen + opacity * cloud
        clear_share = clear_share * (1 - opacity[:, 1:2])
    opacity = 1 - clear_share
    least = opacity.amin(dim=(2, 3), keepdim=True)
    haze_light = light[0].mean((2, 3), keepdim=True)
    return Sky(seen, opacity, shadow * depth[:, 1:2], least, haze_light, kind)


def _parallax(draw: Draw, kind: Tensor, plan: SkyPlan) -> Tensor:
    """Draw by how far red and blue see a cloud apart, float32 (N, 2), pixels of 10 m."""
    n = len(kind)
    high = (kind == CIRRUS) | draw.chance("parallax high", 0.15, n)
    angle = draw.uniform("parallax angle", n, high=2 * torch.pi)
    most = torch.where(high, plan.high_parallax, plan.parallax)
    distance = most * draw.uniform("parallax", n)
    return distance[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)


def _first_layer(draw: Draw, bank: FieldBank, kind: Tensor, level: Tensor) -> _Layer:
    """Draw the shape of the main cloud of each window by its kind."""
    n, is_real = len(kind), kind == FIELD
    is_real = is_real | ((kind == SHADE) & draw.chance("shade field", 0.7, n))
    # A field's pixel is 30 m; it is shown from three times as small to 4.5 times as large.
    # Coarse windows see many small clouds at once: up to a whole field in one window.
    step = draw.uniform("field step", n) * (2.0 * level / 0.22).log() + math.log(0.22)
    step = (step.exp() * 1.5 ** (level > 1).float()).clamp_max(8.0)
    real = draw_placement(draw, "field", step, count=bank.real)
    again = draw_placement(draw, "field again", step, count=bank.real)
    denser = _centre(bank, real) >= _centre(bank, again)
    real = real.where(denser | draw.chance("field sparse", 0.4, n), again)
    stretch = draw.log_uniform("stretch", n, low=3, high=12)
    stretch = torch.where(kind == CIRRUS, stretch, torch.ones_like(stretch))
    step = draw.log_uniform("noise step", n, low=0.3, high=3) * level**0.5
    step = torch.where(kind == HAZE, step * 0.15, step)
    noise = draw_placement(draw, "noise", step, count=bank.noise, first=bank.real, stretch=stretch)
    place = real.where(is_real, noise)
    slope, height = _ramp(draw, kind, is_real)
    thickness = draw.log_uniform("thickness", n, low=0.3, high=3.2)
    most = _most(draw, kind)
    return _Layer(place, *(v[:, None, None] for v in (slope, height, thickness, most)))


def _centre(bank: FieldBank, place: Placement) -> Tensor:
    """Return the mean of each field around the centre of the window, float32 (N,)."""
    wide = Placement(place.field, place.centre, place.matrix * 8)
    return sample(bank, wide, 8).mean(dim=(1, 2))


def _ramp(draw: Draw, kind: Tensor, is_real: Tensor) -> tuple[Tensor, Tensor]:
    """Draw slope and level that make an opacity of a field's values, float32 (N,) each."""
    n = len(kind)
    slope = 1 / draw.log_uniform("noise width", n, low=0.15, high=3)
    level = -slope * draw.uniform("noise from", n, low=-1.2, high=2.2)  # up to a few lone clouds
    even = draw.uniform("haze from", n, low=0.3, high=1.2)
    uneven = 0.15 * draw.uniform("haze slope", n)
    is_haze = kind == HAZE
    slope, level = torch.where(is_haze, uneven, slope), torch.where(is_haze, even, level)
    # Few real fields are saturated: as they are, opaque cloud would be rare.
    contrast = draw.log_uniform("field contrast", n, low=0.8, high=3.5)
    return torch.where(is_real, contrast, slope), torch.where(
        is_real, torch.zeros_like(level), level
    )


def _most(draw: Draw, kind: Tensor) -> Tensor:
    """Draw the largest opacity of the first layer, float32 (N,)."""
    n = len(kind)
    dense = draw.uniform("most", n, low=0.2, high=2.0).clamp_max(1)
    # Evenly: a prior for the thinnest would teach to remove too little.
    # Haze that is more than thin is a deck: windows under nothing but opaque cloud are common.
    thin = draw.uniform("most of thin", n, low=0.08, high=1.0)
    deck = draw.uniform("most of haze", n, low=0.08, high=1.4).clamp_max(1)
    most = torch.where(kind == CIRRUS, thin, torch.where(kind == HAZE, deck, dense))
    return torch.where((kind == NONE) | (kind == SHADE), torch.zeros_like(most), most)


def _second_layer(draw: Draw, bank: FieldBank, kind: Tensor, level: Tensor, share: float) -> _Layer:
    """Draw thin cloud beside the main one, even or stretched."""
    n = len(kind)
    step = draw.log_uniform("second step", n, low=0.05, high=2) * level**0.5
    stretch = draw.log_uniform("second stretch", n, low=1, high=8)
    place = draw_placement(draw, "second", step, count=bank.noise, first=bank.real, stretch=stretch)
    slope = draw.uniform("second slope", n, low=0.1, high=0.8)
    height = draw.uniform("second level", n, low=-0.4, high=0.8)
    most = draw.log_uniform("second most", n, low=0.04, high=0.5)
    there = draw.chance("second", share, n) & (kind != NONE) & (kind != SHADE)
    most = torch.where(there, most, torch.zeros_like(most))
    one = torch.ones_like(most)
    return _Layer(place, *(v[:, None, None] for v in (slope, height, one, most)))


def _bands(draw: Draw, bank: FieldBank, layer: _Layer, name: str, shift: Tensor) -> Tensor:
    """Return a layer's opacity in each band, (N, 3, 64, 64): displaced, thin cloud bluer."""
    n = len(shift)
    exponent = draw.uniform(f"{name} blue", n, 1, 1, high=1.9)
    smoke = draw.chance(f"{name} smoke", 0.1, n, 1, 1)
    exponent = torch.where(smoke, exponent + 1.2, exponent)
    out = []
    for side, wave in zip((-0.5, 0.0, 0.5), _WAVES, strict=True):
        opacity = layer.opacity(bank, shift * side if side else None)
        out.append(1 - (1 - opacity) ** (wave**-exponent))
    return torch.stack(out, dim=1)


def _cloud_light(draw: Draw, bank: FieldBank, name: str, kind: Tensor) -> Tensor:
    """Draw the light of a layer itself, (N, 3, 64, 64), model range: 1 is reflectance 0.275."""
    n = len(kind)
    bright = draw.log_uniform(f"{name} light", n, 1, 1, 1, low=0.8, high=3.0)
    thin = draw.uniform(f"{name} thin light", n, 1, 1, 1, low=0.7, high=2.3)
    is_thin = ((kind == CIRRUS) | (kind == HAZE))[:, None, None, None]
    light = thin if name == "second" else torch.where(is_thin, thin, bright)
    tint = draw.uniform(f"{name} tint", n, 3, 1, 1, low=0.94, high=1.06)
    step = draw.log_uniform(f"{name} relief step", n, low=0.3, high=2)
    place = draw_placement(draw, f"{name} relief", step, count=bank.noise, first=bank.real)
    relief = 0.35 * draw.uniform(f"{name} relief", n, 1, 1, 1)
    return light * tint * (1 + relief * sample(bank, place, 64)[:, None]).clamp_min(0.4)


def _shadow(
    draw: Draw, bank: FieldBank, cloud: _Layer, kind: Tensor, level: Tensor, plan: SkyPlan
) -> Tensor:
    """Draw where the sun is hidden, (N, 1, 64, 64), 0..1: the same cloud, displaced and softer."""
    n = len(kind)
    reach = draw.log_uniform("shadow reach", n, low=plan.reach[0], high=plan.reach[1]) / level
    angle = draw.uniform("shadow angle", n, high=2 * torch.pi)
    shift = reach[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    # The sun's light is scattered where the satellite still sees ground: shadows are wide.
    wider = draw.uniform("shadow wider", n, 1, 1, low=1.0, high=2.5)
    whole = torch.ones_like(cloud.most)
    caster = _Layer(cloud.place, cloud.slope, cloud.level, cloud.thickness * wider, whole)
    shadow = _softened(draw, caster.opacity(bank, shift)[:, None], level)
    dense = (kind == FIELD) | (kind == NOISE)
    there = (dense & draw.chance("shadow", plan.shadows, n)) | (kind == SHADE)
    return shadow * there[:, None, None, None]


def _softened(draw: Draw, shadow: Tensor, level: Tensor) -> Tensor:
    """Blur each shadow by nothing, some 4 or some 8 pixels of 10 m; coarse ones are sharp."""
    soft = (draw.index("shadow soft", 3, len(shadow)) / level).long()[:, None, None, None]
    out = shadow
    for index, cell in ((1, 4), (2, 8)):
        means = avg_pool2d(shadow, cell)
        blurred = interpolate(means, scale_factor=cell, mode="bilinear", align_corners=False)
        out = torch.where(soft == index, blurred, out)
    return out


def _depth(draw: Draw, n: int, device: torch.device) -> Tensor:
    """Draw the share of the ground's light that comes from the sun alone, (N, 3, 1, 1).

    The sky goes on shining into a shadow, most in blue.
    """
    red = draw.uniform("shadow depth", n, low=0.35, high=0.97)
    blue = red * draw.uniform("shadow blue", n, low=0.75, high=1.0)
    return torch.stack([red, (red + blue) / 2, blue], dim=1)[:, :, None, None].to(device)
