"""Other land from the same windows: suns, soils, air, bright sand, pale water, shores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geodecloud.data.two_level.built import draw_roofs
from geodecloud.data.two_level.coast import draw_coast
from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank, draw_placement, sample
from geodecloud.radiometry import PATH_RADIANCE

_EVEN = 0.03  # standard deviation of brightness below which a window is water or one field
# Colours of bright land without path radiance, red to grey. Bright land is not bluer than this: the
# clear Gulf city of mean (0.66, 0.64, 0.65) has (1, 0.93, 0.86), and what is bluer is haze.
_SOILS = ((1.0, 0.62, 0.42), (1.0, 0.82, 0.66), (1.0, 0.89, 0.78), (1.0, 0.93, 0.86))
_BLUE = 1.0  # blue over green of water, without path radiance; of woods and fields it is less
_GREY = 2  # of these, from here on they are grey: even grey land would be haze
_ROUGH = 0.25  # standard deviation over mean of a window that may be bright in its own colours


@dataclass(frozen=True)
class GroundPlan:
    """The changes to land: shares of the windows, light in model range.

    bright: share that is made as bright as deserts, beaches and cities of the south.
    bright_mean: mean brightness of these, from and to.
    whiteness: the 92nd percentile of the darkest band is at most this: what is white all over is
        cloud. Ground may be bright if it is coloured.
    mixed: share in which two lands meet along a winding line, as on a shore.
    pale: share of the windows of water that become turbid, shallow or glittering.
    sea: share that becomes open sea: of one colour, with the sun's glint in waves.
    roofs: share with halls and greenhouses, of which EuroSAT has few.
    coast: share that turbid water floods in part.
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

    light: float32 (N, 3, 64, 64), model range, beyond 1 too.
    base: float32 (N, 3, 1, 1), the path radiance in it, model range.
    new_land: bool (N,), windows with roofs or a flooded coast.
    """

    light: Tensor
    base: Tensor
    new_land: Tensor


def draw_ground(
    draw: Draw, land: Tensor, bank: FieldBank, level: Tensor, plan: GroundPlan
) -> Ground:
    """Change land into other land.

    Args:
        land: float32 (N, 3, 64, 64) in L1C's radiometry, model range.
        level: float32 (N,), pixels of 10 m along a side of a window's pixel.
    """
    n = len(land)
    air = torch.tensor(PATH_RADIANCE, device=land.device).view(1, 3, 1, 1)
    taken = air * draw.uniform("air taken", n, 1, 1, 1, low=0.7)
    bare = ((land - taken) / (1 - taken)).clamp_min(0.002)
    bare = _sea(draw, _pale(draw, bare, plan.pale), bank, plan.sea)
    bare = _recoloured(draw, bare)
    bare = _bright(draw, bare, plan)
    bare = _mixed(draw, bare, bank, plan.mixed)
    which = draw.uniform("new land", n)
    flooded, new_land = which < plan.coast, which < plan.coast + plan.roofs
    bare = draw_coast(draw, bare, bank, flooded)
    bare = draw_roofs(draw, bare, level, new_land & ~flooded)
    base = air * draw.log_uniform("air", n, 1, 1, 1, low=0.6, high=1.5)
    base = base * draw.log_uniform("air colour", n, 3, 1, 1, low=0.9, high=1.1)
    bare = _not_white(bare, base, plan.whiteness)
    return Ground(base + (1 - base) * bare, base, new_land)


def is_water(ground: Ground) -> Tensor:
    """Return which windows are open water, bool (N,): even and blue."""
    return _is_water(ground.light - ground.base)


def _is_water(bare: Tensor) -> Tensor:
    """Return the same of light without path radiance, (N, 3, 64, 64)."""
    even: Tensor = bare.mean(dim=1).std(dim=(1, 2)) < _EVEN
    _, green, blue = bare.mean(dim=(2, 3)).unbind(1)
    return even & (blue > _BLUE * green)


def _recoloured(draw: Draw, bare: Tensor) -> Tensor:
    """Give other suns and soils: gamma, gain, gain of each band; some hardly change."""
    n = len(bare)
    strength = draw.uniform("colour strength", n, 1, 1, 1)
    gamma = 1.25 ** (strength * draw.uniform("colour gamma", n, 1, 1, 1, low=-1))
    gain = 1.6 ** (strength * draw.uniform("colour gain", n, 1, 1, 1, low=-1))
    bands = 1.2 ** (strength * draw.uniform("colour bands", n, 3, 1, 1, low=-1))
    return bare**gamma * gain * bands


def _bright(draw: Draw, bare: Tensor, plan: GroundPlan) -> Tensor:
    """Brighten some windows to a mean that is drawn, in the colour of soil or their own."""
    n = len(bare)
    chosen = draw.chance("bright", plan.bright, n, 1, 1, 1)
    which = draw.index("bright soil", len(_SOILS), n)
    soils = torch.tensor(_SOILS, device=bare.device)[which]
    soils = soils[:, :, None, None] * draw.uniform("bright tint", n, 3, 1, 1, low=0.94, high=1.06)
    own = bare / bare.mean(dim=(2, 3), keepdim=True)  # (N, 3, 64, 64), each band of mean 1
    contrast = draw.uniform("bright contrast", n, 1, 1, 1, low=0.25, high=1.1)
    grey = (which >= _GREY)[:, None, None, None]
    pattern = (own ** torch.where(grey, contrast.clamp_min(0.6), contrast)) * soils
    kept = bare / bare.mean(dim=(1, 2, 3), keepdim=True)
    rough = kept.mean(dim=1, keepdim=True).std(dim=(2, 3), keepdim=True) > _ROUGH
    pattern = torch.where(rough & draw.chance("bright own", 0.5, n, 1, 1, 1), kept, pattern)
    low, high = plan.bright_mean
    mean = draw.uniform("bright mean", n, 1, 1, 1, low=low, high=high)
    return torch.where(chosen, pattern * mean / pattern.mean(dim=(1, 2, 3), keepdim=True), bare)


def _pale(draw: Draw, bare: Tensor, share: float) -> Tensor:
    """Add light of one colour to some windows of water: turbid, shallow or glittering."""
    n = len(bare)
    water = _is_water(bare)[:, None, None, None]
    chosen = water & draw.chance("pale", share, n, 1, 1, 1)
    light = 0.45 * draw.uniform("pale light", n, 1, 1, 1) ** 1.5
    tint = draw.uniform("pale tint", n, 3, 1, 1, low=0.5, high=1.0)
    return torch.where(chosen, bare + light * tint, bare)


def _sea(draw: Draw, bare: Tensor, bank: FieldBank, share: float) -> Tensor:
    """Replace some windows by open sea: an even colour, and grey glint that varies a little."""
    n = len(bare)
    chosen = draw.chance("sea", share, n, 1, 1, 1)
    water = 0.06 * draw.uniform("sea water", n, 3, 1, 1) ** 2
    glint = 0.3 * draw.uniform("sea glint", n, 1, 1, 1) ** 1.5
    glint = glint * draw.uniform("sea tint", n, 3, 1, 1, low=0.9, high=1.1)
    step = draw.log_uniform("sea step", n, low=0.1, high=6)
    place = draw_placement(draw, "sea", step, count=bank.noise, first=bank.real)
    waves = (
        0.15 * draw.uniform("sea waves", n, 1, 1, 1) * sample(bank, place, bare.shape[-1])[:, None]
    )
    return torch.where(chosen, (water + glint * (1 + waves)).clamp_min(0.002), bare)


def _mixed(draw: Draw, bare: Tensor, bank: FieldBank, share: float) -> Tensor:
    """Let some windows share their place with the next one of the batch, along a winding line."""
    n, size = len(bare), bare.shape[-1]
    step = draw.log_uniform("mixed step", n, low=0.2, high=1.5)
    place = draw_placement(draw, "mixed", step, count=bank.noise, first=bank.real)
    level = draw.uniform("mixed level", n, 1, 1, low=-0.7, high=0.7)
    hard = draw.log_uniform("mixed hard", n, 1, 1, low=1.5, high=30)
    other = ((sample(bank, place, size) - level) * hard + 0.5).clamp(0, 1)[:, None]
    mixed = torch.lerp(bare, bare.roll(1, dims=0), other)
    return torch.where(draw.chance("mixed", share, n, 1, 1, 1), mixed, bare)


def _not_white(bare: Tensor, base: Tensor, most: float) -> Tensor:
    """Darken what is white all over to the whiteness that ground may have."""
    darkest = (base + (1 - base) * bare).amin(dim=1).flatten(1)  # (N, 64 * 64)
    high = darkest.kthvalue(int(0.92 * darkest.shape[1]), dim=1).values
    return bare * (most / high.clamp_min(1e-3)).clamp_max(1)[:, None, None, None]
