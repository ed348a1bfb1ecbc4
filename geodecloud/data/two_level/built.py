"""Draw halls and greenhouses: of one colour, with sharp edges, and as bright as thin cloud.

EuroSAT's Europe has few of them, and hardly any roofs of blue and turquoise steel.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from geodecloud.data.two_level.draw import Draw

_MOST = 20  # roofs of a window
# Colours of roofs without path radiance, in model range (1 is reflectance 0.275), and their shares.
_COLOURS = (
    (0.35, 0.55, 0.95),  # blue steel
    (0.45, 0.65, 0.75),  # turquoise steel
    (0.40, 0.42, 0.45),  # greenhouses, grey steel
    (0.85, 0.85, 0.85),  # white
    (0.70, 0.40, 0.35),  # red steel, tiles
)
_SHARES = (0.35, 0.2, 0.2, 0.15, 0.1)


@dataclass(frozen=True)
class _Roofs:
    """Rectangles along the streets of N windows; float32, lengths in pixels of the window.

    spot: (N, K, 2), middle: pixels down and right of the window's middle.
    half, across: (N, K), half of the length and of the width.
    angle: (N, K), of the length, radians.
    colour: (N, K, 3), light without path radiance, model range.
    opaque: (N, K), share of the ground's light that a roof hides: less where it is of glass.
    ridge, ridges: (N, K), contrast of the ridges, and pixels from one to the next.
    shift: (N, K, 2), from a roof to its shadow.
    shade: (N,), share of the light that is left in the shadow.
    """

    spot: Tensor
    half: Tensor
    across: Tensor
    angle: Tensor
    colour: Tensor
    opaque: Tensor
    ridge: Tensor
    ridges: Tensor
    shift: Tensor
    shade: Tensor


def draw_roofs(draw: Draw, bare: Tensor, level: Tensor, chosen: Tensor) -> Tensor:
    """Draw roofs and their shadows over the chosen windows.

    Args:
        bare: float32 (N, 3, S, S), light without path radiance, model range.
        level: float32 (N,), pixels of 10 m along a side of a window's pixel.
        chosen: bool (N,).

    Returns:
        bare: the same with roofs.
    """
    # Every window's numbers are drawn: they depend on the step alone, not on what is chosen.
    drawn = _draw(draw, level)
    roofs = _Roofs(*(getattr(drawn, one.name)[chosen] for one in fields(drawn)))
    line = torch.arange(bare.shape[-1], dtype=torch.float32, device=bare.device)
    line = line - line.mean()
    dark, _ = _covered(roofs, line, roofs.shift)
    dark = dark * (1 - roofs.shade[:, None, None, None])
    covered, along = _covered(roofs, line, torch.zeros_like(roofs.shift))
    hidden = covered * _each(roofs.opaque)
    ridges = torch.sin(along * (2 * torch.pi) / _each(roofs.ridges))
    light = 1 + _each(roofs.ridge) * ridges
    windows = bare[chosen]
    for k in range(_MOST):  # each roof over the ones before it
        colour = roofs.colour[:, k, :, None, None] * light[:, k, None]
        windows = torch.lerp(windows * (1 - dark[:, k, None]), colour, hidden[:, k, None])
    return bare.index_put((chosen,), windows)


def _draw(draw: Draw, level: Tensor) -> _Roofs:
    """Draw up to 20 roofs for each window, from houses to halls of some 400 m."""
    n, size, shape = len(level), level[:, None], (len(level), _MOST)
    half = draw.log_uniform("roof half", n, 1, low=1.0, high=14) * size**0.5
    half = half * draw.log_uniform("roof size", *shape, low=0.6, high=1.6) / size
    count = draw.log_uniform("roof count", n, 1, low=1, high=_MOST)
    half = torch.where(torch.arange(_MOST, device=level.device) < count, half, -1.0)
    spread = draw.log_uniform("roof spread", n, 1, 1, low=8, high=45)
    middle = draw.uniform("roof middle", n, 1, 2, low=-32, high=32)
    angle = draw.uniform("roof angle", n, 1, high=torch.pi)
    sun = draw.uniform("roof sun", n, 1, high=2 * torch.pi)
    shift = 0.4 * half.clamp_max(3)[..., None] * torch.stack([sun.sin(), sun.cos()], dim=-1)
    return _Roofs(
        middle + spread * draw.normal("roof spot", *shape, 2) / 2,
        half,
        half * draw.log_uniform("roof aspect", *shape, low=0.35, high=1.0),
        angle + 0.5 * torch.pi * draw.index("roof turn", 2, *shape),
        _colours(draw, n, level.device),
        draw.uniform("roof opaque", *shape, low=0.7, high=1.2).clamp_max(1),
        0.25 * draw.uniform("roof ridge", *shape) ** 2,
        (draw.log_uniform("roof ridges", *shape, low=1.5, high=12) / size).clamp_min(1.5),
        shift,
        draw.uniform("roof shade", n, low=0.3, high=1.0),
    )


def _colours(draw: Draw, n: int, device: torch.device) -> Tensor:
    """Draw the colours of roofs, most of a window alike: float32 (N, K, 3)."""
    table = torch.tensor(_COLOURS, device=device)
    usual = table[draw.kind("roof colour", _SHARES, n)][:, None]
    own = table[draw.kind("roof colours", _SHARES, n * _MOST)].view(n, _MOST, 3)
    alike = draw.chance("roof alike", 0.75, n, _MOST, 1)
    tint = draw.log_uniform("roof tint", n, _MOST, 3, low=0.85, high=1.18)
    light = draw.log_uniform("roof light", n, 1, 1, low=0.5, high=1.5)
    light = light * draw.log_uniform("roof own light", n, _MOST, 1, low=0.8, high=1.25)
    return torch.where(alike, usual, own) * tint * light


def _covered(roofs: _Roofs, line: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far each roof, moved by ``shift`` (N, K, 2), covers each pixel, 0..1.

    Returns:
        covered: float32 (N, K, S, S).
        along: float32 (N, K, S, S), pixels from the roof's middle along its length.
    """
    down, right = (roofs.spot + shift).unbind(-1)
    y, x = line[:, None] - _each(down), line - _each(right)
    cos, sin = _each(roofs.angle.cos()), _each(roofs.angle.sin())
    along, across = cos * x + sin * y, cos * y - sin * x
    inside = torch.minimum(_each(roofs.half) - along.abs(), _each(roofs.across) - across.abs())
    return (inside + 0.5).clamp(0, 1), along


def _each(values: Tensor) -> Tensor:
    """Return (N, K) as (N, K, 1, 1)."""
    return values[..., None, None]
