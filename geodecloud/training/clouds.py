"""Synthetic clouds over clear tiles, batched, on the device of the tiles.

The physical model, per band:

    cloudy = (1 - a) * shadow * clear + a * airlight,   clipped to the model range

``a`` is how much of the ground's light the cloud takes away, airlight what the cloud itself
sends up. A cloud is bright: its airlight is mostly *beyond* the model range (reflectance 0.3 to
0.8, where the range ends at 0.275), so thin cloud adds much light and takes little contrast.

All randomness comes in as ``uniforms``, one row per tile: the same row gives the same cloud,
whatever else is in the batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geodecloud.config import CloudMix
from geodecloud.training.perlin import PERIOD, fractal_perlin
from geodecloud.training.surroundings import darkest_alone, darkest_under, missing_air

UNIFORMS = 49  # random numbers that one tile may use
WAVELENGTHS = (665.0, 560.0, 490.0)  # nm, Sentinel-2 B04, B03, B02 (ESA user guide)
FIELD_STD = 0.145  # of fractal_perlin with 5 octaves and persistence 0.5, over many cells
NONE, HAZE, VEIL, CIRRUS, CUMULUS, DECK = range(6)  # in the order of CloudMix


class Clouds(NamedTuple):
    """Clouds without land: ``cloudy = (1 - a) * shadow * clear + light``.

    a: float32 (N, 3, H, W), 0..1, the share of the ground's light that is taken away.
    light: float32 (N, 3, H, W), a * airlight, in units of the model range but not clipped to it.
    shadow: float32 (N, 1, H, W), 0..1, a factor; 1 is no shadow.
    """

    a: Tensor
    light: Tensor
    shadow: Tensor


@dataclass(frozen=True)
class Place:
    """Which pixels of a field of cloud are wanted.

    Args:
        height, width: in pixels.
        top: the first row.
        extent: pixels on the longer side of the whole, over which haze changes.
        zoom: how many times larger than on a tile a cloud is.
    """

    height: int
    width: int
    top: int = 0
    extent: int = 0
    zoom: float = 1.0

    def grid(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Row and column of each pixel, float32 (height, width), in units of ``zoom`` pixels."""
        rows = torch.arange(self.height, device=device, dtype=torch.float32) + self.top
        columns = torch.arange(self.width, device=device, dtype=torch.float32)
        rows, columns = torch.meshgrid(rows / self.zoom, columns / self.zoom, indexing="ij")
        return rows, columns

    @property
    def span(self) -> float:
        """The longer side of the whole, in units of ``zoom`` pixels."""
        return max(self.extent, self.height, self.width) / self.zoom


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
        return Clouded(cloudy, target, apparent_opacity(clouds.a, light), darkest_alone(cloudy))
    dark = darkest_under(cloudy, around, clouds.a, light, uniforms[:, 48])
    air = missing_air(dark)
    cloudy, target, light = air + (1 - air) * cloudy, air + (1 - air) * target, (1 - air) * light
    even = air.flatten(1)
    dark = torch.where(around.isinf(), darkest_alone(cloudy), even + (1 - even) * dark)
    return Clouded(cloudy, target, apparent_opacity(clouds.a, light), dark)


def draw_clouds(uniforms: Tensor, mix: CloudMix, place: Place) -> Clouds:
    """A cloud of a random kind for each row of the uniforms, on their device.

    Args:
        uniforms: float32 (N, UNIFORMS), 0..1; the last three columns are not used here.
        mix: how often each kind occurs.
        place: the pixels that are wanted.
    """
    draw = _Draw(uniforms)
    shares = torch.tensor(astuple(mix), device=uniforms.device).cumsum(0)[:-1]
    kind = torch.bucketize(draw.uniform().contiguous(), shares, right=True)  # (N, 1, 1)
    bright = draw.uniform() < torch.where(kind == HAZE, 0.55, 0.8)
    bright = bright | (kind >= CUMULUS)
    airlight = torch.where(bright, draw.between(0.9, 3.0), draw.between(0.4, 1.0))  # (N, 1, 1)

    depth, shadow = _depth_and_shadow(draw, kind, airlight, place)  # (N, H, W) each
    scatter = torch.where(kind < CUMULUS, draw.between(0, 1.6), draw.between(0, 0.2))
    depths = _parallax(draw, depth, kind) * _per_band(scatter)  # (N, 3, H, W)
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


class _Draw:
    """Hands out the columns of the uniforms, each once, as (N, 1, 1)."""

    def __init__(self, uniforms: Tensor) -> None:
        self._columns: Iterator[Tensor] = iter(uniforms.T[:, :, None, None])

    def uniform(self) -> Tensor:
        return next(self._columns)

    def between(self, low: float, high: float) -> Tensor:
        return self.uniform() * (high - low) + low

    def log_between(self, low: float, high: float) -> Tensor:
        return torch.pow(high / low, self.uniform()) * low

    def chance(self, share: float) -> Tensor:
        return self.uniform() < share

    def direction(self) -> tuple[Tensor, Tensor]:
        angle = self.between(0, 2 * np.pi)
        return angle.cos(), angle.sin()


def _depth_and_shadow(
    draw: _Draw, kind: Tensor, airlight: Tensor, place: Place
) -> tuple[Tensor, Tensor]:
    """Optical depth at 560 nm and the factor of the cloud's shadow, (N, H, W) each."""
    rows, columns = place.grid(kind.device)
    # Where the cover starts and how softly it sets in, in standard deviations of the noise.
    start = _by_kind(kind, draw, veil=(-2.0, 0.6), cumulus=(-0.6, 1.6), deck=(-5.0, -2.0))
    softness = _by_kind(kind, draw, veil=(1.2, 4.0), cumulus=(0.5, 3.6), deck=(0.5, 2.0))
    cells = _cells(draw, kind)

    def cover(x: Tensor, y: Tensor, wanted: Tensor) -> Tensor:
        t = ((cells(x, y, wanted) - start) / softness).clamp(0, 1)
        return t * t * (3 - 2 * t)

    # Haze: no noise, a slope across the tile.
    east, south = draw.direction()
    slope = draw.between(0, 0.6) * ((columns * east + rows * south) / place.span)
    noisy = (kind != HAZE) & (kind != NONE)
    shape = torch.where(kind == HAZE, (1 + slope).clamp_min(0.1), cover(columns, rows, noisy))
    # Often the gaps of a broken cover are not quite clear.
    shape = shape + torch.where(draw.chance(0.35), draw.between(0, 0.15), torch.zeros(()))

    # A thin cloud is named by the light that it adds, a thick one by the light that it takes.
    added = torch.where(kind == HAZE, draw.between(0.04, 0.75), draw.between(0.06, 1.1))
    a = _by_kind(kind, draw, veil=(0, 0), cumulus=(0.25, 1.0), deck=(0.92, 1.0))
    a = torch.where(kind < CUMULUS, added / airlight, a).clamp(0, 0.995)
    # Even haze that hides all is grey at best; so is water, and there is more of that.
    a = torch.where(kind == HAZE, a.clamp_max(0.8), a)
    depth = torch.where(kind == NONE, torch.zeros(()), -torch.log1p(-a) * shape)

    east, south = draw.direction()
    away = draw.between(4, 26)
    casts = draw.chance(0.6) & (kind == CUMULUS)
    dark = draw.between(0.25, 0.7) * cover(columns + away * east, rows + away * south, casts)
    # Below its own cloud the ground is not seen: no shadow there, or the fill would be dark.
    dark = dark * (1 - shape).clamp(0, 1)
    shadow = 1 - torch.where(casts, dark, torch.zeros(()))
    return depth, shadow


def _cells(draw: _Draw, kind: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The tile's noise as a function of pixel position, about N(0, 1); 0 where not wanted."""
    cell = draw.log_between(10, 150)
    stretch = torch.where(kind == VEIL, draw.log_between(1, 4), draw.log_between(1, 1.6))
    # Cirrus: streaks, many times longer than wide.
    stretch = torch.where(kind == CIRRUS, draw.between(5, 14), stretch)
    cell = torch.where(kind == CIRRUS, cell.clamp_max(50), cell)
    east, south = draw.direction()
    x0, y0 = draw.between(0, PERIOD), draw.between(0, PERIOD)
    persistence = draw.between(0.4, 0.62)

    def field(x: Tensor, y: Tensor, wanted: Tensor) -> Tensor:
        along = (x * east + y * south) / (cell * stretch) + x0
        across = (y * east - x * south) / cell + y0
        some = wanted.flatten()  # the noise costs more than all else here
        noise = torch.zeros_like(along)
        noise[some] = fractal_perlin(along[some], across[some], 5, persistence[some])
        return noise / FIELD_STD

    return field


def _by_kind(
    kind: Tensor,
    draw: _Draw,
    *,
    veil: tuple[float, float],
    cumulus: tuple[float, float],
    deck: tuple[float, float],
) -> Tensor:
    """A number between the bounds of the tile's kind; all thin kinds have the veil's."""
    bounds = torch.tensor([veil, veil, veil, veil, cumulus, deck], device=kind.device)[kind]
    return bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) * draw.uniform()


def _per_band(exponent: Tensor) -> Tensor:
    """Optical depth per band over that at 560 nm, (N, 3, 1, 1): (560 / wavelength)^exponent.

    The Angstrom law; exponent 0 for water drops, to 1.6 for fine haze.
    """
    ratio = WAVELENGTHS[1] / torch.tensor(WAVELENGTHS, device=exponent.device)
    return ratio[None, :, None, None] ** exponent[:, None]


def _parallax(draw: _Draw, depth: Tensor, kind: Tensor) -> Tensor:
    """The depth as each band sees it, (N, 3, H, W): Sentinel-2's bands look from other angles.

    High cloud, not the ground, is displaced by up to 3 pixels between R and B, G in the middle.
    """
    count, height, width = depth.shape
    moves = draw.chance(0.4) & (kind != HAZE)
    pixels = torch.where(moves, draw.between(0, 3), torch.zeros(()))
    east, south = draw.direction()
    shift = torch.cat([east, south], dim=1)[:, :, 0] * pixels[:, :, 0]  # (N, 2)
    bands = []
    for part in (-0.5, 0.0, 0.5):
        theta = torch.eye(2, 3, device=depth.device).repeat(count, 1, 1)
        theta[:, 0, 2] = shift[:, 0] * part * 2 / width
        theta[:, 1, 2] = shift[:, 1] * part * 2 / height
        grid = functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
        bands.append(
            functional.grid_sample(depth[:, None], grid, padding_mode="border", align_corners=False)
        )
    return torch.cat(bands, dim=1)


def _tint_of_land(clear: Tensor, uniforms: Tensor) -> Tensor:
    """How the land below colours its cloud, (N, 3, 1, 1): a factor per band of mean 1.

    Often not at all, else up to 60 % of the way to the land's own mean colour.
    """
    mean = clear.mean(dim=(2, 3), keepdim=True)  # (N, 3, 1, 1)
    colour = (mean / mean.mean(dim=1, keepdim=True).clamp_min(1e-3)).clamp(0.5, 1.6)
    tinted = uniforms[:, 0] < 0.35
    strength = torch.where(tinted, 0.6 * uniforms[:, 1], torch.zeros(()))[:, None, None, None]
    return 1 + strength * (colour - 1)
