"""Make the fields of synthetic clouds: optical depth and shadow, and their parallax by band."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geodecloud.data.cloud_kinds import KINDS
from geodecloud.data.draw import TileDraw
from geodecloud.data.perlin import PERIOD, fractal_perlin

NONE, HAZE, VEIL, CIRRUS = map(list(KINDS).index, ("none", "haze", "veil", "cirrus"))
WAVELENGTHS = (665.0, 560.0, 490.0)  # nm, Sentinel-2 B04, B03, B02 (ESA user guide)
FIELD_STD = 0.145  # of fractal_perlin with 5 octaves and persistence 0.5, over many cells

# The random numbers of :func:`depth_and_shadow` and :func:`parallax`, as they are drawn.
FIELD_NUMBERS = (
    *("cover start", "cover softness", "cell"),
    *("elongation of veil", "elongation", "elongation of cirrus", "streaks"),
    *("x", "y", "persistence", "slope towards", "slope", "gaps hazy", "haze in gaps"),
    *("light of haze", "light of thin cloud", "attenuation of thick cloud"),
    *("shadow towards", "shadow distance", "casts shadow", "shadow darkness"),
)
PARALLAX_NUMBERS = ("parallax", "parallax pixels", "parallax towards")


@dataclass(frozen=True)
class PixelGrid:
    """The pixels of a field of cloud that are wanted.

    Args:
        height, width: in pixels.
        top: the first row.
        extent: pixels on the longer side of the whole scene, over which haze changes.
        zoom: how many times larger than on a tile a cloud is.
    """

    height: int
    width: int
    top: int = 0
    extent: int = 0
    zoom: float = 1.0

    def positions(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return row and column of each pixel, float32 (height, width), in ``zoom`` pixels."""
        rows = torch.arange(self.height, device=device, dtype=torch.float32) + self.top
        columns = torch.arange(self.width, device=device, dtype=torch.float32)
        rows, columns = torch.meshgrid(rows / self.zoom, columns / self.zoom, indexing="ij")
        return rows, columns

    @property
    def span(self) -> float:
        """Longer side of the whole scene, in units of ``zoom`` pixels."""
        return max(self.extent, self.height, self.width) / self.zoom


def depth_and_shadow(
    draw: TileDraw, kind: Tensor, airlight: Tensor, grid: PixelGrid
) -> tuple[Tensor, Tensor]:
    """Return the optical depth at 560 nm and the factor of the cloud's shadow.

    Args:
        draw: of the tiles, with FIELD_NUMBERS.
        kind: int64 (N, 1, 1, 1).
        airlight: float32 (N, 1, 1, 1), in units of the model range.

    Returns:
        float32 (N, 1, H, W) each.
    """
    rows, columns = grid.positions(kind.device)
    start = _between(kind, "start", draw.uniform("cover start"))
    softness = _between(kind, "softness", draw.uniform("cover softness"))
    noise = _noise_field(draw, kind)

    def cover(x: Tensor, y: Tensor, wanted: Tensor) -> Tensor:
        t = ((noise(x, y, wanted) - start) / softness).clamp(0, 1)
        return t * t * (3 - 2 * t)

    # Haze has no noise, but a slope across the tile.
    east, south = draw.direction("slope towards")
    slope = draw.between("slope", 0, 0.6) * ((columns * east + rows * south) / grid.span)
    noisy = (kind != HAZE) & (kind != NONE)
    shape = torch.where(kind == HAZE, (1 + slope).clamp_min(0.1), cover(columns, rows, noisy))
    # The gaps of a broken cover are often not quite clear.
    in_gaps = draw.between("haze in gaps", 0, 0.15)
    shape = shape + torch.where(draw.chance("gaps hazy", 0.35), in_gaps, torch.zeros(()))
    full_depth = _depth_at_full_cover(draw, kind, airlight)
    depth = torch.where(kind == NONE, torch.zeros(()), full_depth * shape)

    east, south = draw.direction("shadow towards")
    away = draw.between("shadow distance", 4, 26)
    casts = draw.chance("casts shadow", 0.6) & of_kind(kind, "casts_shadow")
    darkness = draw.between("shadow darkness", 0.25, 0.7)
    dark = darkness * cover(columns + away * east, rows + away * south, casts)
    # Below its own cloud the ground is not seen: no shadow there, or the fill would be dark.
    dark = dark * (1 - shape).clamp(0, 1)
    return depth, 1 - torch.where(casts, dark, torch.zeros(()))


def _depth_at_full_cover(draw: TileDraw, kind: Tensor, airlight: Tensor) -> Tensor:
    """Return the optical depth where the cover is 1: float32 (N, 1, 1, 1).

    The light that it adds defines a thin cloud, the light that it takes defines a thick one.
    """
    of_haze = draw.between("light of haze", 0.04, 0.75)
    light = torch.where(kind == HAZE, of_haze, draw.between("light of thin cloud", 0.06, 1.1))
    thick = draw.uniform("attenuation of thick cloud")
    attenuation = _between(kind, "attenuation", thick)
    attenuation = torch.where(of_kind(kind, "thin"), light / airlight, attenuation).clamp_min(0)
    return -torch.log1p(-attenuation.minimum(of_kind(kind, "most_attenuation")))


def _noise_field(draw: TileDraw, kind: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the tile's noise as a function of pixel position, about N(0, 1).

    The function takes x and y in pixels, float32 (N, 1, H, W) or (H, W), and ``wanted``, bool
    (N, 1, 1, 1); it returns float32 (N, 1, H, W), 0 where not wanted.
    """
    cell = draw.log_between("cell", 10, 150)
    of_veil = draw.log_between("elongation of veil", 1, 4)
    of_cirrus = draw.between("elongation of cirrus", 5, 14)  # streaks
    elongation = torch.where(kind == VEIL, of_veil, draw.log_between("elongation", 1, 1.6))
    elongation = torch.where(kind == CIRRUS, of_cirrus, elongation)
    cell = torch.where(kind == CIRRUS, cell.clamp_max(50), cell)
    east, south = draw.direction("streaks")
    x0, y0 = draw.between("x", 0, PERIOD), draw.between("y", 0, PERIOD)
    persistence = draw.between("persistence", 0.4, 0.62)

    def field(x: Tensor, y: Tensor, wanted: Tensor) -> Tensor:
        along = (x * east + y * south) / (cell * elongation) + x0
        across = (y * east - x * south) / cell + y0
        some = wanted.flatten()  # the noise costs more than all else here
        noise = torch.zeros_like(along)
        noise[some] = fractal_perlin(along[some], across[some], 5, persistence[some])
        return noise / FIELD_STD

    return field


def of_kind(kind: Tensor, field: str) -> Tensor:
    """Return a field of :class:`CloudKind` for each tile: (N, 1, 1, 1), or (N, 1, 1, 1, 2)."""
    return torch.tensor([getattr(one, field) for one in KINDS.values()], device=kind.device)[kind]


def _between(kind: Tensor, field: str, uniform: Tensor) -> Tensor:
    """Return a number between the bounds of the tile's kind: float32 (N, 1, 1, 1)."""
    bounds = of_kind(kind, field)
    return bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) * uniform


def spectral_ratio(exponent: Tensor) -> Tensor:
    """Return the optical depth per band over that at 560 nm: float32 (N, 3, 1, 1).

    The Angstrom law, (560 / wavelength)^exponent.

    Args:
        exponent: float32 (N, 1, 1, 1), 0 for water drops to 1.6 for fine haze.
    """
    ratio = WAVELENGTHS[1] / torch.tensor(WAVELENGTHS, device=exponent.device)
    return ratio[None, :, None, None] ** exponent


def parallax(draw: TileDraw, depth: Tensor, kind: Tensor) -> Tensor:
    """Return the depth as each band sees it: Sentinel-2's bands look from different angles.

    High cloud, not the ground, is displaced by up to 3 pixels between R and B, with G between.

    Args:
        draw: of the tiles, with PARALLAX_NUMBERS.
        depth: float32 (N, 1, H, W).
        kind: int64 (N, 1, 1, 1).

    Returns:
        float32 (N, 3, H, W).
    """
    count, _, height, width = depth.shape
    moves = draw.chance("parallax", 0.4) & (kind != HAZE)
    pixels = torch.where(moves, draw.between("parallax pixels", 0, 3), torch.zeros(()))
    east, south = draw.direction("parallax towards")
    shift = (torch.cat([east, south], dim=1) * pixels).flatten(1)  # (N, 2)
    bands = []
    for part in (-0.5, 0.0, 0.5):
        theta = torch.eye(2, 3, device=depth.device).repeat(count, 1, 1)
        theta[:, 0, 2] = shift[:, 0] * part * 2 / width
        theta[:, 1, 2] = shift[:, 1] * part * 2 / height
        grid = functional.affine_grid(theta, [count, 1, height, width], align_corners=False)
        bands.append(
            functional.grid_sample(depth, grid, padding_mode="border", align_corners=False)
        )
    return torch.cat(bands, dim=1)
