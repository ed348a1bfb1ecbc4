"""Augment clear tiles, to imitate other places, sun, products and sensors."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from geodecloud.data.config import Augmentation
from geodecloud.data.dark_object import AROUND_NUMBERS, dark_object_around, measure_dark_object
from geodecloud.data.draw import TileDraw, draw_numbers, per_band, scoped
from geodecloud.data.perlin import PERIOD, fractal_perlin
from geodecloud.radiometry import PATH_RADIANCE

_FIELD = ("cell", "x", "y")  # random numbers of a smooth field
_PALING = ("chosen", *_FIELD, *per_band("colour"), "brightness")
AUGMENTATION_NUMBERS = (
    *("scale", "turned", "quarter turns", "mirrored"),
    *scoped("patches", "chosen", *_FIELD, *per_band("strength"), "strength"),
    *("recoloured", "recolour strength", "gamma", "gain", *per_band("gain"), "path radiance"),
    *scoped("pale", *_PALING),
    *("product", "path radiance removed", "stretch", *per_band("stretch"), "stretch offset"),
    *scoped("shore", "chosen", *_FIELD),
    *scoped("pale water", *_PALING),
    *scoped("sand", "chosen", *_FIELD, "cover", "softness", *per_band("colour"), "detail"),
    *AROUND_NUMBERS,
)
_SEED = 1_000_003  # keeps the numbers of the changes apart from those of the clouds
# Standard deviation of brightness, up to which a tile is water. In model range EuroSAT's SeaLake
# has 0.002 to 0.012 (5th to 75th percentile, median 0.005), its Forest 0.008 to 0.015.
WATER_STD = 0.007
_MAX_BRIGHTNESS = 0.9  # model range: what is brighter looks like cloud


class Augmented(NamedTuple):
    """Clear tiles, and the scene that each lies in.

    clear: float32 (N, 3, S, S) in model range.
    around: float32 (N, 3), the dark object of the land around each tile, see
        :mod:`geodecloud.data.dark_object`; inf where there is none.
    """

    clear: Tensor
    around: Tensor


Change = Callable[[Tensor], Tensor]  # (N, 3, H, W) in model range -> the same, of any H and W


def augmentation_draw(seed: int, epoch: int, items: Sequence[int]) -> TileDraw:
    """Draw the random numbers of some tiles' changes, see :func:`draw_numbers`."""
    return draw_numbers(seed + _SEED, epoch, items, AUGMENTATION_NUMBERS)


def is_water(clear: Tensor) -> Tensor:
    """Return which tiles are water, by their even brightness: float32 (N, 3, H, W) -> bool (N,)."""
    return clear.mean(dim=1).flatten(1).std(dim=1) < WATER_STD


def augment(
    clear: Tensor, neighbours: Tensor, water: Tensor, draw: TileDraw, plan: Augmentation
) -> Augmented:
    """Return clear tiles as other places would show them.

    Brightness stays below what would make bright ground look like cloud: the 98th percentile of
    a tile is never raised above 0.9.

    Args:
        clear: float32 (N, 3, S, S) in model range.
        neighbours: float32 (N, 3, 3, S, S), three other tiles for each, to lower the resolution.
        water: float32 (N, 3, S, S), a tile of water for each, to lie beside its land.
        draw: of the tiles, see :func:`augmentation_draw`.
    """
    around = dark_object_around(neighbours, water, draw)[..., None, None]  # (N, 3, 1, 1)
    rescaled = _rescaled(clear, neighbours, draw, plan)
    turned = _turned(_with_shore(rescaled, water, draw, plan.shores), draw, plan.turned)
    changed = _with_sand(_with_patches(turned, draw, plan.patches), draw, plan.sand)
    # The same sun, path radiance and product over the land around.
    recolour = _recolouring(draw, plan.colours)
    changed, beside = recolour(changed), recolour(around)
    to_product = _product(beside, draw, plan)
    changed, beside = to_product(changed), to_product(beside)
    changed = _paled(changed, draw, "pale", plan.pale)
    bright = _brightness(changed)
    darken = torch.where(bright > _MAX_BRIGHTNESS, _MAX_BRIGHTNESS / bright, torch.ones(()))
    unchanged = _brightness(turned) > _MAX_BRIGHTNESS
    clear = torch.where(unchanged, turned, changed * darken).clamp(0, 1)
    dark = torch.where(unchanged, around, beside * darken).clamp_min(0).flatten(1)
    own = around.flatten(1) == -torch.inf
    return Augmented(clear, torch.where(own, measure_dark_object(clear), dark))


def _brightness(tiles: Tensor) -> Tensor:
    """Return the 98th percentile of each tile, (N, 1, 1, 1)."""
    values = tiles.flatten(1)
    return values.kthvalue(round(0.98 * values.shape[1]), dim=1).values[:, None, None, None]


def _rescaled(clear: Tensor, neighbours: Tensor, draw: TileDraw, plan: Augmentation) -> Tensor:
    """Change the resolution: join four tiles at half of it, or enlarge a quarter of a tile."""
    size = clear.shape[-1]
    top = torch.cat([clear, neighbours[:, 0]], dim=3)
    bottom = torch.cat([neighbours[:, 1], neighbours[:, 2]], dim=3)
    coarse = functional.avg_pool2d(torch.cat([top, bottom], dim=2), 2)  # (N, 3, S, S)
    quarter = clear[:, :, : size // 2, : size // 2]
    fine = functional.interpolate(quarter, size=(size, size), mode="bilinear", align_corners=False)
    scale = draw.uniform("scale")
    out = torch.where(scale < plan.coarse, coarse, clear)
    return torch.where(scale > 1 - plan.fine, fine, out)


def _with_shore(clear: Tensor, water: Tensor, draw: TileDraw, fraction: float) -> Tensor:
    """Lay water along a winding line into some tiles, most of it pale.

    Where a tile holds both land and water, the even part is plainly no haze. EuroSAT has few such
    tiles, and its water is dark.
    """
    chosen = draw.chance("shore chosen", fraction).flatten()
    if not chosen.any():
        return clear
    out, draw = clear.clone(), draw.select(chosen)
    wet = _paled(water[chosen], draw, "pale water", 0.8)
    line = _smooth_field(draw, "shore", clear.shape[-1])  # (chosen, 1, S, S)
    out[chosen] = torch.where(line > 0, wet, clear[chosen])
    return out


def _turned(clear: Tensor, draw: TileDraw, fraction: float) -> Tensor:
    """Rotate some tiles by quarter turns and mirror half of them."""
    chosen = draw.chance("turned", fraction).flatten().tolist()
    quarters = (draw.uniform("quarter turns") * 4).int().flatten().tolist()
    mirrored = draw.chance("mirrored", 0.5).flatten().tolist()
    tiles = []
    for i, tile in enumerate(clear):
        turned = torch.rot90(tile, quarters[i], dims=(1, 2)) if chosen[i] else tile
        tiles.append(turned.flip(2) if chosen[i] and mirrored[i] else turned)
    return torch.stack(tiles)


def _with_patches(clear: Tensor, draw: TileDraw, fraction: float) -> Tensor:
    """Lay smooth patches of another colour over some tiles: turbid water, wet soil, ripe crops.

    Clouds are smooth and nearly grey; the network should not learn that whatever is smooth is
    cloud. Each band changes by a factor of its own.
    """
    chosen = draw.chance("patches chosen", fraction).flatten()
    out, draw = clear.clone(), draw.select(chosen)
    common = 2 * draw.uniform("patches strength") - 1
    own = 2 * draw.per_band("patches strength") - 1
    strength = 0.25 * common + 0.2 * own  # (chosen, 3, 1, 1)
    field = _smooth_field(draw, "patches", clear.shape[-1])  # (chosen, 1, S, S)
    out[chosen] = clear[chosen] * torch.exp(strength * field)
    return out


def _with_sand(clear: Tensor, draw: TileDraw, fraction: float) -> Tensor:
    """Lay bright bare ground in smooth patches over some tiles: beaches, river beds, dunes.

    EuroSAT has little of it, and bright ground would pass for cloud. Sand is as bright as thin
    cloud, but warm, and its detail stays.
    """
    chosen = draw.chance("sand chosen", fraction).flatten()
    out, clear, draw = clear.clone(), clear[chosen], draw.select(chosen)
    field = _smooth_field(draw, "sand", clear.shape[-1])  # (chosen, 1, S, S)
    edge = 0.1 + 0.6 * draw.uniform("sand softness")
    cover = ((field + 1.5 - 2.5 * draw.uniform("sand cover")) / edge).clamp(0, 1)
    red = 0.5 + 0.5 * draw.uniform("sand colour red")
    green = red * (0.72 + 0.23 * draw.uniform("sand colour green"))
    blue = green * (0.68 + 0.27 * draw.uniform("sand colour blue"))
    grey = clear.mean(dim=1, keepdim=True)  # (chosen, 1, S, S)
    detail = (grey / grey.mean(dim=(2, 3), keepdim=True).clamp_min(1e-3)).clamp(0.4, 1.8)
    detail = detail ** (0.15 + 0.7 * draw.uniform("sand detail"))
    sand = torch.cat([red, green, blue], dim=1) * detail
    out[chosen] = clear + cover * (sand.clamp(0, 1) - clear)
    return out


def _paled(clear: Tensor, draw: TileDraw, scope: str, fraction: float) -> Tensor:
    """Brighten some of the tiles of water evenly: turbid, shallow or glittering.

    EuroSAT's water is dark. Paler water looks like water under haze. Where nothing but the
    brightness differs, the network should answer: ground.
    """
    chosen = is_water(clear) & draw.chance(f"{scope} chosen", fraction).flatten()
    out, draw = clear.clone(), draw.select(chosen)
    field = 1 + 0.25 * _smooth_field(draw, scope, clear.shape[-1])  # (chosen, 1, S, S)
    colour = 1 + 0.3 * (2 * draw.per_band(f"{scope} colour") - 1)  # (chosen, 3, 1, 1)
    out[chosen] += 0.28 * draw.uniform(f"{scope} brightness") * colour * field
    return out


def _product(around: Tensor, draw: TileDraw, plan: Augmentation) -> Change:
    """Return the change that makes some tiles L2A, without path radiance, and some 8-bit pictures.

    A picture's bands end at the darkest and brightest of its scene, of which the tile is a part.

    Args:
        around: float32 (N, 3, 1, 1), the dark object of that scene, where it is finite.
        draw: of the tiles.
    """
    product = draw.uniform("product")
    path_radiance = torch.tensor(PATH_RADIANCE, device=product.device)[:, None, None]
    taken = draw.uniform("path radiance removed")
    removed = path_radiance * (0.6 + 0.5 * taken).clamp_max(1)
    low = torch.where(around.isfinite(), around * (0.8 + 0.2 * taken), removed)
    span = 0.25 * 4 ** draw.uniform("stretch") * 1.18 ** (2 * draw.per_band("stretch") - 1)
    offset = 0.14 * draw.uniform("stretch offset")

    def change(tiles: Tensor) -> Tensor:
        airless = ((tiles - removed) / (1 - removed)).clamp_min(0.004)
        picture = (tiles - low).clamp_min(0) / span + offset
        out = torch.where(product < plan.airless, airless, tiles)
        return torch.where(product > 1 - plan.pictures, picture, out)

    return change


def _recolouring(draw: TileDraw, fraction: float) -> Change:
    """Return the change of some tiles' brightness, gamma, colours and path radiance."""
    strength = draw.uniform("recolour strength")  # (N, 1, 1, 1): some tiles hardly change
    gamma = 1.25 ** (strength * (2 * draw.uniform("gamma") - 1))
    gain = 1.55 ** (strength * (2 * draw.uniform("gain") - 1))
    gain = gain * 1.15 ** (strength * (2 * draw.per_band("gain") - 1))
    # Path radiance is stronger towards blue.
    sky = torch.tensor([0.5, 0.75, 1.0], device=strength.device)[:, None, None]
    offset = strength * (0.11 * draw.uniform("path radiance") - 0.06) * sky
    chosen = draw.chance("recoloured", fraction)

    def change(tiles: Tensor) -> Tensor:
        return torch.where(chosen, tiles.clamp_min(1e-4) ** gamma * gain + offset, tiles)

    return change


def _smooth_field(draw: TileDraw, scope: str, size: int) -> Tensor:
    """Return noise of about N(0, 1) in cells of 15 to 120 pixels: float32 (N, 1, size, size)."""
    line = torch.arange(size, dtype=torch.float32, device=draw.values.device)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    cell = draw.log_between(f"{scope} cell", 15, 120)
    x = columns / cell + draw.between(f"{scope} x", 0, PERIOD)  # (N, 1, size, size)
    y = rows / cell + draw.between(f"{scope} y", 0, PERIOD)
    return fractal_perlin(x, y, octaves=3) / 0.2
