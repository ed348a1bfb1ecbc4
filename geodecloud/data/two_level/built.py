"""Draw halls and greenhouses: of one colour, with sharp edges, and as bright as thin cloud.

EuroSAT has few of them, and hardly any roofs of blue and turquoise steel.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from geodecloud.data.two_level.draw import Draw

_MAX_ROOFS = 20  # in a window
# Surface colours of roofs in model range (1 is reflectance 0.275), and how often each is drawn.
_COLOURS = (
    (0.35, 0.55, 0.95),  # blue steel
    (0.45, 0.65, 0.75),  # turquoise steel
    (0.40, 0.42, 0.45),  # greenhouses, grey steel
    (0.85, 0.85, 0.85),  # white
    (0.70, 0.40, 0.35),  # red steel, tiles
)
_COLOUR_WEIGHTS = (0.35, 0.2, 0.2, 0.15, 0.1)


@dataclass(frozen=True)
class _Roofs:
    """K rectangles in each of N windows; float32, lengths in pixels of the window.

    centre: (N, K, 2), down and right of the window's centre.
    half_length, half_width: (N, K); negative where there is no roof.
    angle: (N, K), direction of the length, radians.
    colour: (N, K, 3), surface reflectance in model range.
    opacity: (N, K), fraction of the ground's light that a roof hides; less than 1 for glass.
    ridge_contrast, ridge_spacing: (N, K), amplitude of the ridges, and distance between them.
    shadow_offset: (N, K, 2), from a roof to its shadow, down and right.
    shadow_light: (N,), fraction of the light that is left in a shadow.
    """

    centre: Tensor
    half_length: Tensor
    half_width: Tensor
    angle: Tensor
    colour: Tensor
    opacity: Tensor
    ridge_contrast: Tensor
    ridge_spacing: Tensor
    shadow_offset: Tensor
    shadow_light: Tensor


def draw_roofs(draw: Draw, surface: Tensor, level: Tensor, chosen: Tensor) -> Tensor:
    """Draw roofs and their shadows over the chosen windows.

    Args:
        surface: float32 (N, 3, S, S), surface reflectance in model range.
        level: float32 (N,), pixels of 10 m along a side of a window's pixel.
        chosen: bool (N,).

    Returns:
        The surface with roofs, float32 (N, 3, S, S).
    """
    # Numbers are drawn for every window, so that they depend on the step alone, not on the choice.
    drawn = _draw_all(draw, level)
    roofs = _Roofs(*(getattr(drawn, one.name)[chosen] for one in fields(drawn)))
    line = torch.arange(surface.shape[-1], dtype=torch.float32, device=surface.device)
    line = line - line.mean()
    dark, _ = _coverage(roofs, line, roofs.shadow_offset)
    dark = dark * (1 - roofs.shadow_light[:, None, None, None])
    covered, along = _coverage(roofs, line, torch.zeros_like(roofs.shadow_offset))
    hidden = covered * _per_pixel(roofs.opacity)
    ridges = torch.sin(along * (2 * torch.pi) / _per_pixel(roofs.ridge_spacing))
    light = 1 + _per_pixel(roofs.ridge_contrast) * ridges
    windows = surface[chosen]
    for k in range(_MAX_ROOFS):  # each roof lies over those before it
        colour = roofs.colour[:, k, :, None, None] * light[:, k, None]
        windows = torch.lerp(windows * (1 - dark[:, k, None]), colour, hidden[:, k, None])
    return surface.index_put((chosen,), windows)


def _draw_all(draw: Draw, level: Tensor) -> _Roofs:
    """Draw 1 to 20 roofs for each window, 12 to 450 m long; in coarse windows up to 900 m."""
    n, size, shape = len(level), level[:, None], (len(level), _MAX_ROOFS)
    half = draw.log_uniform("roof half", n, 1, low=1.0, high=14) * size**0.5
    half = half * draw.log_uniform("roof size", *shape, low=0.6, high=1.6) / size
    count = draw.log_uniform("roof count", n, 1, low=1, high=_MAX_ROOFS)
    half = torch.where(torch.arange(_MAX_ROOFS, device=level.device) < count, half, -1.0)
    spread = draw.log_uniform("roof spread", n, 1, 1, low=8, high=45)
    middle = draw.uniform("roof middle", n, 1, 2, low=-32, high=32)
    angle = draw.uniform("roof angle", n, 1, high=torch.pi)
    sun = draw.uniform("roof sun", n, 1, high=2 * torch.pi)
    offset = 0.4 * half.clamp_max(3)[..., None] * torch.stack([sun.sin(), sun.cos()], dim=-1)
    ridges = draw.log_uniform("roof ridges", *shape, low=1.5, high=12)
    return _Roofs(
        centre=middle + spread * draw.normal("roof spot", *shape, 2) / 2,
        half_length=half,
        half_width=half * draw.log_uniform("roof aspect", *shape, low=0.35, high=1.0),
        angle=angle + 0.5 * torch.pi * draw.index("roof turn", 2, *shape),
        colour=_colours(draw, n),
        opacity=draw.uniform("roof opaque", *shape, low=0.7, high=1.2).clamp_max(1),
        ridge_contrast=0.25 * draw.uniform("roof ridge", *shape) ** 2,
        ridge_spacing=(ridges / size).clamp_min(1.5),
        shadow_offset=offset,
        shadow_light=draw.uniform("roof shade", n, low=0.3, high=1.0),
    )


def _colours(draw: Draw, n: int) -> Tensor:
    """Draw the colours of roofs, most of a window's alike: float32 (N, K, 3)."""
    table = torch.tensor(_COLOURS, device=draw.device)
    usual = table[draw.kind("roof colour", _COLOUR_WEIGHTS, n)][:, None]
    own = table[draw.kind("roof colours", _COLOUR_WEIGHTS, n * _MAX_ROOFS)].view(n, _MAX_ROOFS, 3)
    alike = draw.chance("roof alike", 0.75, n, _MAX_ROOFS, 1)
    tint = draw.log_uniform("roof tint", n, _MAX_ROOFS, 3, low=0.85, high=1.18)
    light = draw.log_uniform("roof light", n, 1, 1, low=0.5, high=1.5)
    light = light * draw.log_uniform("roof own light", n, _MAX_ROOFS, 1, low=0.8, high=1.25)
    return torch.where(alike, usual, own) * tint * light


def _coverage(roofs: _Roofs, line: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far each roof, moved by an offset, covers each pixel.

    Args:
        line: float32 (S,), coordinates of the pixels along a side, 0 at the window's centre.
        offset: float32 (N, K, 2), pixels down and right.

    Returns:
        covered: float32 (N, K, S, S), 0..1.
        along: float32 (N, K, S, S), pixels from the roof's centre along its length.
    """
    down, right = (roofs.centre + offset).unbind(-1)
    y, x = line[:, None] - _per_pixel(down), line - _per_pixel(right)
    cos, sin = _per_pixel(roofs.angle.cos()), _per_pixel(roofs.angle.sin())
    along, across = cos * x + sin * y, cos * y - sin * x
    inside = torch.minimum(
        _per_pixel(roofs.half_length) - along.abs(), _per_pixel(roofs.half_width) - across.abs()
    )
    return (inside + 0.5).clamp(0, 1), along


def _per_pixel(values: Tensor) -> Tensor:
    """Return values of (N, K) as (N, K, 1, 1)."""
    return values[..., None, None]
