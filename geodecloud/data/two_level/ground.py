"""Vary clear land: sun, soil, path radiance, bright sand, pale water, shores, roofs and coasts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geodecloud.data.two_level.built import draw_roofs
from geodecloud.data.two_level.coast import draw_coast
from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank, draw_placement, sample
from geodecloud.radiometry import PATH_RADIANCE

_EVEN = 0.03  # standard deviation of brightness below which a window is water or one field
# Surface colours of bright land, red to grey. Bright land is no bluer than the last: a clear Gulf
# city of mean (0.66, 0.64, 0.65) at the top of the atmosphere has it, and bluer light is haze.
_SOILS = ((1.0, 0.62, 0.42), (1.0, 0.82, 0.66), (1.0, 0.89, 0.78), (1.0, 0.93, 0.86))
_GREY = 2  # index of the first grey soil; it keeps its contrast, for even grey land looks like haze
_BLUE = 1.0  # blue over green of a water surface, at least; of woods and fields it is less
_ROUGH = 0.25  # standard deviation over mean of a window that may be bright in its own colours


@dataclass(frozen=True)
class GroundPlan:
    """The changes to land: fractions of the windows, light in model range.

    bright: windows made as bright as deserts, beaches and cities of the south.
    bright_mean: their mean brightness, smallest and largest.
    whiteness: about the largest 92nd percentile, over a window's pixels, of the pixel's darkest
        band. Ground that is white all over would be cloud; coloured ground may be brighter.
    mixed: windows in which two lands meet along a winding line, as on a shore.
    pale: of the windows of water, those that become turbid, shallow or glittering.
    sea: windows that become open sea: of one colour, with the sun's glint in waves.
    roofs: windows with halls and greenhouses, of which EuroSAT has few.
    coast: windows that turbid water floods in part.
    """

    bright: float = 0.18
    bright_mean: tuple[float, float] = (0.35, 1.1)
    whiteness: float = 0.85
    mixed: float = 0.15
    pale: float = 0.6
    sea: float = 0.03
    roofs: float = 0.06
    coast: float = 0.04


@dataclass(frozen=True)
class Ground:
    """Clear ground as seen from space.

    light: float32 (N, 3, 64, 64), top-of-atmosphere reflectance in model range, also beyond 1.
    path_radiance: float32 (N, 3, 1, 1), its part in ``light``, model range.
    new_land: bool (N,), windows with roofs or a flooded coast.
    """

    light: Tensor
    path_radiance: Tensor
    new_land: Tensor


def draw_ground(
    draw: Draw, land: Tensor, bank: FieldBank, level: Tensor, plan: GroundPlan
) -> Ground:
    """Vary the surface of each window and the path radiance over it.

    Path radiance p adds to the surface s as p + (1 - p) * s, as in :mod:`geodecloud.radiometry`.

    Args:
        land: float32 (N, 3, 64, 64), top-of-atmosphere reflectance in model range.
        level: float32 (N,), pixels of 10 m along a side of a window's pixel.
    """
    n = len(land)
    clear_air = torch.tensor(PATH_RADIANCE, device=land.device).view(1, 3, 1, 1)
    removed = clear_air * draw.uniform("air taken", n, 1, 1, 1, low=0.7)
    surface = ((land - removed) / (1 - removed)).clamp_min(0.002)
    surface = _add_sea(draw, _add_pale_water(draw, surface, plan.pale), bank, plan.sea)
    surface = _recolour(draw, surface)
    surface = _brighten(draw, surface, plan)
    surface = _mix(draw, surface, bank, plan.mixed)
    which = draw.uniform("new land", n)
    flooded, new_land = which < plan.coast, which < plan.coast + plan.roofs
    surface = draw_coast(draw, surface, bank, flooded)
    surface = draw_roofs(draw, surface, level, new_land & ~flooded)
    path_radiance = clear_air * draw.log_uniform("air", n, 1, 1, 1, low=0.6, high=1.5)
    path_radiance = path_radiance * draw.log_uniform("air colour", n, 3, 1, 1, low=0.9, high=1.1)
    surface = _limit_whiteness(surface, path_radiance, plan.whiteness)
    light = path_radiance + (1 - path_radiance) * surface
    return Ground(light, path_radiance, new_land)


def is_blue_water(ground: Ground) -> Tensor:
    """Return bool (N,), true for windows of open water, even and blue."""
    return _is_blue_water(ground.light - ground.path_radiance)


def _is_blue_water(surface: Tensor) -> Tensor:
    """Return bool (N,), true for windows of open water, from their surface (N, 3, 64, 64)."""
    even: Tensor = surface.mean(dim=1).std(dim=(1, 2)) < _EVEN
    _, green, blue = surface.mean(dim=(2, 3)).unbind(1)
    return even & (blue > _BLUE * green)


def _recolour(draw: Draw, surface: Tensor) -> Tensor:
    """Change sun and soil, in some windows hardly: gamma, gain, gain of each band."""
    n = len(surface)
    strength = draw.uniform("colour strength", n, 1, 1, 1)
    gamma = 1.25 ** (strength * draw.uniform("colour gamma", n, 1, 1, 1, low=-1))
    gain = 1.6 ** (strength * draw.uniform("colour gain", n, 1, 1, 1, low=-1))
    bands = 1.2 ** (strength * draw.uniform("colour bands", n, 3, 1, 1, low=-1))
    return surface**gamma * gain * bands


def _brighten(draw: Draw, surface: Tensor, plan: GroundPlan) -> Tensor:
    """Brighten some windows to a drawn mean, in the colours of a soil or in their own."""
    n = len(surface)
    chosen = draw.chance("bright", plan.bright, n, 1, 1, 1)
    which = draw.index("bright soil", len(_SOILS), n)
    soils = torch.tensor(_SOILS, device=surface.device)[which]
    soils = soils[:, :, None, None] * draw.uniform("bright tint", n, 3, 1, 1, low=0.94, high=1.06)
    own = surface / surface.mean(dim=(2, 3), keepdim=True)  # (N, 3, 64, 64), each band of mean 1
    contrast = draw.uniform("bright contrast", n, 1, 1, 1, low=0.25, high=1.1)
    grey = (which >= _GREY)[:, None, None, None]
    pattern = (own ** torch.where(grey, contrast.clamp_min(0.6), contrast)) * soils
    kept = surface / surface.mean(dim=(1, 2, 3), keepdim=True)
    rough = kept.mean(dim=1, keepdim=True).std(dim=(2, 3), keepdim=True) > _ROUGH
    pattern = torch.where(rough & draw.chance("bright own", 0.5, n, 1, 1, 1), kept, pattern)
    low, high = plan.bright_mean
    mean = draw.uniform("bright mean", n, 1, 1, 1, low=low, high=high)
    return torch.where(chosen, pattern * mean / pattern.mean(dim=(1, 2, 3), keepdim=True), surface)


def _add_pale_water(draw: Draw, surface: Tensor, fraction: float) -> Tensor:
    """Make a fraction of the windows of water turbid, shallow or glittering: add even light."""
    n = len(surface)
    water = _is_blue_water(surface)[:, None, None, None]
    chosen = water & draw.chance("pale", fraction, n, 1, 1, 1)
    light = 0.45 * draw.uniform("pale light", n, 1, 1, 1) ** 1.5
    tint = draw.uniform("pale tint", n, 3, 1, 1, low=0.5, high=1.0)
    return torch.where(chosen, surface + light * tint, surface)


def _add_sea(draw: Draw, surface: Tensor, bank: FieldBank, fraction: float) -> Tensor:
    """Replace a fraction of the windows by open sea: one colour, and grey glint in waves."""
    n = len(surface)
    chosen = draw.chance("sea", fraction, n, 1, 1, 1)
    water = 0.06 * draw.uniform("sea water", n, 3, 1, 1) ** 2
    glint = 0.3 * draw.uniform("sea glint", n, 1, 1, 1) ** 1.5
    glint = glint * draw.uniform("sea tint", n, 3, 1, 1, low=0.9, high=1.1)
    step = draw.log_uniform("sea step", n, low=0.1, high=6)
    placement = draw_placement(draw, "sea", step, count=bank.noise, first=bank.real)
    waves = sample(bank, placement, surface.shape[-1])[:, None]
    waves = 0.15 * draw.uniform("sea waves", n, 1, 1, 1) * waves
    return torch.where(chosen, (water + glint * (1 + waves)).clamp_min(0.002), surface)


def _mix(draw: Draw, surface: Tensor, bank: FieldBank, fraction: float) -> Tensor:
    """Replace a part of some windows by the batch's previous window, along a winding line."""
    n, size = len(surface), surface.shape[-1]
    step = draw.log_uniform("mixed step", n, low=0.2, high=1.5)
    placement = draw_placement(draw, "mixed", step, count=bank.noise, first=bank.real)
    level = draw.uniform("mixed level", n, 1, 1, low=-0.7, high=0.7)
    hard = draw.log_uniform("mixed hard", n, 1, 1, low=1.5, high=30)
    other = ((sample(bank, placement, size) - level) * hard + 0.5).clamp(0, 1)[:, None]
    mixed = torch.lerp(surface, surface.roll(1, dims=0), other)
    return torch.where(draw.chance("mixed", fraction, n, 1, 1, 1), mixed, surface)


def _limit_whiteness(surface: Tensor, path_radiance: Tensor, whiteness: float) -> Tensor:
    """Darken windows that are white all over to the ``whiteness`` that ground may have."""
    light = path_radiance + (1 - path_radiance) * surface
    darkest = light.amin(dim=1).flatten(1)  # (N, 64 * 64)
    high = darkest.kthvalue(int(0.92 * darkest.shape[1]), dim=1).values
    return surface * (whiteness / high.clamp_min(1e-3)).clamp_max(1)[:, None, None, None]
