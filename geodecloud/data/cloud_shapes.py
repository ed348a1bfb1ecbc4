"""The shapes of synthetic clouds: how deep they are, what they shade, how each band sees them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from geodecloud.data.perlin import PERIOD, fractal_perlin

NONE, HAZE, VEIL, CIRRUS, CUMULUS, DECK = range(6)  # kinds, in the order of config.CloudMix
WAVELENGTHS = (665.0, 560.0, 490.0)  # nm, Sentinel-2 B04, B03, B02 (ESA user guide)
FIELD_STD = 0.145  # of fractal_perlin with 5 octaves and persistence 0.5, over many cells


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


class Draw:
    """Hands out the columns of the uniforms, each once, as (N, 1, 1)."""

    def __init__(self, uniforms: Tensor) -> None:
        self._columns: Iterator[Tensor] = iter(uniforms.T[:, :, None, None])

    def uniform(self) -> Tensor:
        """The next column, 0..1."""
        return next(self._columns)

    def between(self, low: float, high: float) -> Tensor:
        """Uniform between the bounds."""
        return self.uniform() * (high - low) + low

    def log_between(self, low: float, high: float) -> Tensor:
        """Its logarithm uniform between those of the bounds."""
        return torch.pow(high / low, self.uniform()) * low

    def chance(self, share: float) -> Tensor:
        """True with this probability: bool."""
        return self.uniform() < share

    def direction(self) -> tuple[Tensor, Tensor]:
        """Cosine and sine of any angle."""
        angle = self.between(0, 2 * np.pi)
        return angle.cos(), angle.sin()


def depth_and_shadow(
    draw: Draw, kind: Tensor, airlight: Tensor, place: Place
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


def _cells(draw: Draw, kind: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
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
    draw: Draw,
    *,
    veil: tuple[float, float],
    cumulus: tuple[float, float],
    deck: tuple[float, float],
) -> Tensor:
    """A number between the bounds of the tile's kind; all thin kinds have the veil's."""
    bounds = torch.tensor([veil, veil, veil, veil, cumulus, deck], device=kind.device)[kind]
    return bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) * draw.uniform()


def per_band(exponent: Tensor) -> Tensor:
    """Optical depth per band over that at 560 nm, (N, 3, 1, 1): (560 / wavelength)^exponent.

    The Angstrom law; exponent 0 for water drops, to 1.6 for fine haze.
    """
    ratio = WAVELENGTHS[1] / torch.tensor(WAVELENGTHS, device=exponent.device)
    return ratio[None, :, None, None] ** exponent[:, None]


def parallax(draw: Draw, depth: Tensor, kind: Tensor) -> Tensor:
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
