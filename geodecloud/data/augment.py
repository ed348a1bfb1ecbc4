"""Other places, suns and sensors than those of the training tiles.

Each function takes one row of uniforms per tile: what becomes of a tile depends on its row only.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from geodecloud.data.perlin import PERIOD, fractal_perlin
from geodecloud.data.surroundings import dark_object_around, darkest
from geodecloud.data.water import is_water
from geodecloud.model.config import Augmentation
from geodecloud.radiometry import PATH_RADIANCE

UNIFORMS = 78  # random numbers that one tile may use


class Land(NamedTuple):
    """Clear tiles, and the scene that each lies in.

    clear: float32 (N, 3, S, S) in model range.
    around: float32 (N, 3): the darkest light of the land around each, see
        :mod:`geodecloud.data.surroundings`; inf where there is none.
    """

    clear: Tensor
    around: Tensor


def augment(
    clear: Tensor, neighbours: Tensor, water: Tensor, uniforms: Tensor, plan: Augmentation
) -> Land:
    """Clear tiles as other places would show them.

    Brightness stays below what would make bright ground look like cloud: the 98th percentile of
    a tile is never raised above 0.9.

    Args:
        clear: float32 (N, 3, S, S) in model range.
        neighbours: float32 (N, 3, 3, S, S): three other tiles for each, to see them from higher.
        water: float32 (N, 3, S, S): a tile of water for each, to lie beside its land.
        uniforms: float32 (N, UNIFORMS), 0..1.
        plan: the share of tiles that each change happens to.
    """
    around = dark_object_around(neighbours, water, uniforms[:, 76])[..., None, None]  # (N, 3, 1, 1)
    seen = _at_another_scale(clear, neighbours, uniforms[:, :4], plan)
    seen = _with_shore(seen, water, uniforms[:, 52:64], plan.shores)
    turned = _turned(seen, uniforms[:, 4:8], plan.turned)
    changed = _with_patches(turned, uniforms[:, 8:20], plan.patches)
    changed = _with_sand(changed, uniforms[:, 64:76], plan.sand)
    changed = _recoloured(changed, uniforms[:, 20:32], plan.colours)
    # The same sun, air and product over the land around.
    beside = _recoloured(around, uniforms[:, 20:32], plan.colours)
    product = _product(beside, uniforms[:, 40:52], plan)
    changed, beside = product(changed), product(beside)
    changed = _paled(changed, uniforms[:, 32:40], plan.pale)
    bright = _brightness(changed)
    limit = torch.where(bright > 0.9, 0.9 / bright, torch.ones(()))
    as_it_is = _brightness(turned) > 0.9
    clear = torch.where(as_it_is, turned, changed * limit).clamp(0, 1)
    dark = torch.where(as_it_is, around, beside * limit).clamp_min(0).flatten(1)
    return Land(clear, torch.where(around.flatten(1) == -torch.inf, darkest(clear), dark))


def _brightness(tiles: Tensor) -> Tensor:
    """The 98th percentile of each tile, (N, 1, 1, 1)."""
    values = tiles.flatten(1)
    return values.kthvalue(round(0.98 * values.shape[1]), dim=1).values[:, None, None, None]


def _at_another_scale(clear: Tensor, three: Tensor, u: Tensor, plan: Augmentation) -> Tensor:
    """Some tiles as four of half the resolution, some as their quarter of twice the resolution."""
    size = clear.shape[-1]
    top = torch.cat([clear, three[:, 0]], dim=3)
    bottom = torch.cat([three[:, 1], three[:, 2]], dim=3)
    coarse = functional.avg_pool2d(torch.cat([top, bottom], dim=2), 2)  # (N, 3, S, S)
    quarter = clear[:, :, : size // 2, : size // 2]
    fine = functional.interpolate(quarter, size=(size, size), mode="bilinear", align_corners=False)
    choice = u[:, 0, None, None, None]
    out = torch.where(choice < plan.coarse, coarse, clear)
    return torch.where(choice > 1 - plan.fine, fine, out)


def _with_shore(clear: Tensor, water: Tensor, u: Tensor, share: float) -> Tensor:
    """Some tiles with water along a winding line, most of it pale.

    Where land ends in a tile, the eye sees at once that the even part is no haze; EuroSAT has few
    such tiles, and its water is dark.
    """
    chosen = u[:, 0] < share
    if not chosen.any():
        return clear
    out, u = clear.clone(), u[chosen]
    wet = _paled(water[chosen], u[:, 4:12], 0.8)
    line = _smooth_field(u[:, 1:4], clear.shape[-1])[:, None]  # (chosen, 1, S, S)
    out[chosen] = torch.where(line > 0, wet, clear[chosen])
    return out


def _turned(clear: Tensor, u: Tensor, share: float) -> Tensor:
    tiles = []
    for tile, (turns, mirror, chance) in zip(clear, u[:, :3].tolist(), strict=True):
        if chance >= share:
            tiles.append(tile)
            continue
        turned = torch.rot90(tile, int(turns * 4), dims=(1, 2))
        tiles.append(turned.flip(2) if mirror < 0.5 else turned)
    return torch.stack(tiles)


def _with_patches(clear: Tensor, u: Tensor, share: float) -> Tensor:
    """Smooth patches of another colour: turbid water, wet soil, ripe crops.

    Clouds are smooth and nearly grey; the network should not learn that whatever is smooth is
    cloud. Each band changes by a factor of its own.
    """
    chosen = u[:, 0] < share
    out, u = clear.clone(), u[chosen]
    field = _smooth_field(u[:, 1:4], clear.shape[-1])
    common, own = (2 * u[:, 7:8] - 1), (2 * u[:, 4:7] - 1)
    strength = (0.25 * common + 0.2 * own)[..., None, None]  # (chosen, 3, 1, 1)
    out[chosen] = clear[chosen] * torch.exp(strength * field[:, None])
    return out


def _with_sand(clear: Tensor, u: Tensor, share: float) -> Tensor:
    """Bright bare ground in smooth patches: beaches, river beds, quarries, dunes.

    EuroSAT has little of it, and what is bright would be cloud. Sand is as bright as thin cloud,
    but warm, and its detail stays.
    """
    chosen = u[:, 0] < share
    out, clear, u = clear.clone(), clear[chosen], u[chosen, :, None, None]
    field = _smooth_field(u[:, 1:4, 0, 0], clear.shape[-1])[:, None]  # (chosen, 1, S, S)
    cover = ((field + 1.5 - 2.5 * u[:, 4:5]) / (0.1 + 0.6 * u[:, 5:6])).clamp(0, 1)
    red = 0.5 + 0.5 * u[:, 6:7]
    green = red * (0.72 + 0.23 * u[:, 7:8])
    blue = green * (0.68 + 0.27 * u[:, 8:9])
    grey = clear.mean(dim=1, keepdim=True)  # (chosen, 1, S, S)
    detail = (grey / grey.mean(dim=(2, 3), keepdim=True).clamp_min(1e-3)).clamp(0.4, 1.8)
    sand = torch.cat([red, green, blue], dim=1) * detail ** (0.15 + 0.7 * u[:, 9:10])
    out[chosen] = clear + cover * (sand.clamp(0, 1) - clear)
    return out


def _paled(clear: Tensor, u: Tensor, share: float) -> Tensor:
    """Some of the water brightened evenly: turbid, shallow or glittering.

    EuroSAT's water is dark. Paler water looks like water under haze, and where nothing but the
    level differs the answer has to be: ground.
    """
    chosen = is_water(clear) & (u[:, 0] < share)
    out, u = clear.clone(), u[chosen]
    field = 1 + 0.25 * _smooth_field(u[:, 1:4], clear.shape[-1])[:, None]  # (chosen, 1, S, S)
    colour = 1 + 0.3 * (2 * u[:, 4:7, None, None] - 1)  # (chosen, 3, 1, 1)
    out[chosen] += 0.28 * u[:, 7:8, None, None] * colour * field
    return out


def _product(around: Tensor, u: Tensor, plan: Augmentation) -> Callable[[Tensor], Tensor]:
    """What some tiles become without the light of the air (L2A), some as a stretched picture.

    A picture's bands end at the darkest and brightest of its scene, of which the tile is a part.

    Args:
        around: float32 (N, 3, 1, 1), the darkest light of that scene, where it is finite.
    """
    u = u[:, :, None, None]
    air = torch.tensor(PATH_RADIANCE, device=u.device)[:, None, None]
    cut = air * (0.6 + 0.5 * u[:, 1:2]).clamp_max(1)
    low = torch.where(around.isfinite(), around * (0.8 + 0.2 * u[:, 1:2]), cut)
    span = 0.25 * 4 ** u[:, 2:3] * 1.18 ** (2 * u[:, 3:6] - 1)  # (N, 3, 1, 1)

    def seen(tiles: Tensor) -> Tensor:
        airless = ((tiles - cut) / (1 - cut)).clamp_min(0.004)
        picture = (tiles - low).clamp_min(0) / span + 0.14 * u[:, 6:7]
        out = torch.where(u[:, 0:1] < plan.airless, airless, tiles)
        return torch.where(u[:, 0:1] > 1 - plan.pictures, picture, out)

    return seen


def _smooth_field(u: Tensor, size: int) -> Tensor:
    """Noise of about N(0, 1) in cells of 15 to 120 pixels: float32 (N, size, size)."""
    line = torch.arange(size, dtype=torch.float32, device=u.device)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    cell = 15 * 8 ** u[:, 0, None, None]
    x = columns / cell + u[:, 1, None, None] * PERIOD  # (N, size, size)
    y = rows / cell + u[:, 2, None, None] * PERIOD
    return fractal_perlin(x, y, octaves=3) / 0.2


def _recoloured(clear: Tensor, u: Tensor, share: float) -> Tensor:
    """Brighter or darker, with another gamma, other colours, more air or less."""
    u = u[:, :, None, None]
    strength = u[:, 0:1]  # (N, 1, 1, 1): some tiles hardly change
    gamma = 1.25 ** (strength * (2 * u[:, 1:2] - 1))
    gain = 1.55 ** (strength * (2 * u[:, 2:3] - 1)) * 1.15 ** (strength * (2 * u[:, 3:6] - 1))
    # Stronger towards blue, as the sky is.
    sky = torch.tensor([0.5, 0.75, 1.0], device=u.device)[:, None, None]
    offset = strength * (0.11 * u[:, 6:7] - 0.06) * sky
    changed = clear.clamp_min(1e-4) ** gamma * gain + offset
    return torch.where(u[:, 7:8] < share, changed, clear)
