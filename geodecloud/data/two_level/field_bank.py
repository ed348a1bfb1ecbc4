"""Hold fields on the device, real clouds and 1/f noise, and cut windows from them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from geodecloud.data.two_level.draw import Draw

SIDE = 512  # pixels of a field
_LEVELS = 4  # of a field's pyramid of means: 512, 256, 128 and 64 pixels
_SLOPES = (2.2, 4.0)  # range of the power spectrum's slope, 1/f^slope: ragged to smooth


@dataclass(frozen=True)
class FieldBank:
    """Fields of 512x512 on the device, with their means over 2x2, 4x4 and 8x8 pixels.

    values: float16 (real + noise, 512 * 512 + 256 * 256 + ...), a row for each field: its levels,
        finest first. Real fields, 0..1, come first, then noise of N(0, 1).
    real: number of real fields.
    """

    values: Tensor
    real: int

    @classmethod
    def of(cls, fields: Tensor, real: int) -> "FieldBank":
        """Build a bank from float16 (count, 512, 512), of which the first ``real`` are real."""
        levels, means = [], fields
        for _ in range(_LEVELS):
            levels.append(means.flatten(1))
            means = avg_pool2d(means[:, None].float(), 2)[:, 0].half()
        return cls(torch.cat(levels, dim=1), real)

    @property
    def noise(self) -> int:
        """Number of noise fields."""
        return len(self.values) - self.real


@dataclass(frozen=True)
class Placement:
    """The placement of windows on fields.

    field: int64 (N,), index of each window's field.
    centre: float32 (N, 2), row and column of the window's centre, in field pixels.
    matrix: float32 (N, 2, 2), from window pixels (down, right) to field pixels.
    """

    field: Tensor
    centre: Tensor
    matrix: Tensor

    def where(self, chosen: Tensor, other: "Placement") -> "Placement":
        """Return these placements where ``chosen``, bool (N,), is true, the other's elsewhere."""
        return Placement(
            torch.where(chosen, self.field, other.field),
            torch.where(chosen[:, None], self.centre, other.centre),
            torch.where(chosen[:, None, None], self.matrix, other.matrix),
        )

    def shifted(self, shift: Tensor) -> "Placement":
        """Return the windows moved by ``shift``, float32 (N, 2), window pixels down and right."""
        return replace(self, centre=self.centre + (self.matrix @ shift[:, :, None])[..., 0])


def make_bank(real: Tensor, noise: int, seed: int) -> FieldBank:
    """Build a bank from real fields and new noise.

    Args:
        real: uint8 (count, 512, 512), 255 is opaque cloud; the bank is made on its device.
        noise: number of noise fields.
        seed: of the noise.
    """
    draw = Draw(seed, 0, real.device)
    slopes = draw.uniform("slope", noise, low=_SLOPES[0], high=_SLOPES[1]).tolist()
    made = [_noise(draw.normal(f"noise {i}", SIDE, SIDE), slope) for i, slope in enumerate(slopes)]
    # In parts: all at once would take three times the memory of the real fields.
    values = [part.half() / 255 for part in torch.split(real, 16)]
    values += [field[None].half() for field in made]
    return FieldBank.of(torch.cat(values), len(real))


def _noise(white: Tensor, slope: float) -> Tensor:
    """Filter white noise to a power spectrum of 1/f^slope: float32 (512, 512), N(0, 1)."""
    down = torch.fft.fftfreq(SIDE, device=white.device)[:, None]
    right = torch.fft.rfftfreq(SIDE, device=white.device)[None]
    # Waves longer than a third of the field would turn each field into one gradient.
    frequency = (down**2 + right**2).sqrt().clamp_min(3 / SIDE)
    spectrum = torch.fft.rfft2(white) / frequency ** (slope / 2)
    spectrum[0, 0] = 0
    field = torch.fft.irfft2(spectrum, s=(SIDE, SIDE))
    normal: Tensor = field / field.std()
    return normal


def draw_placement(
    draw: Draw,
    name: str,
    step: Tensor,
    *,
    count: int,
    first: int = 0,
    elongation: Tensor | None = None,
) -> Placement:
    """Draw placements of windows on fields: anywhere, turned by any angle, mirrored or not.

    Args:
        step: float32 (N,), field pixels for each window pixel.
        count, first: the fields to choose from, ``count`` of them from ``first`` on.
        elongation: float32 (N,), by which the field is stretched along one direction; None: 1.
    """
    n = len(step)
    angle = draw.uniform(f"{name} angle", n, high=2 * torch.pi)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    mirror = 1 - 2 * draw.chance(f"{name} mirror", 0.5, n).float()
    along = step if elongation is None else step / elongation
    scale = torch.diag_embed(torch.stack([along, step * mirror], dim=1))
    return Placement(
        first + draw.index(f"{name} field", count, n),
        draw.uniform(f"{name} centre", n, 2, high=float(SIDE)),
        scale @ turn,
    )


def sample(bank: FieldBank, placement: Placement, size: int) -> Tensor:
    """Cut windows from fields by bilinear interpolation; beyond its edges a field is mirrored.

    A window with larger pixels than the field's is cut from the field's means, like the light that
    a large pixel sees.

    Args:
        size: pixels of a window along a side.

    Returns:
        float32 (N, size, size).
    """
    line = torch.arange(size, dtype=torch.float32, device=bank.values.device) - (size - 1) / 2
    steps = torch.stack(torch.meshgrid(line, line, indexing="ij"))  # (2, size, size)
    points = torch.einsum("nij,jhw->nihw", placement.matrix, steps)
    points = _mirrored(points + placement.centre[:, :, None, None])  # (N, 2, size, size)
    level = _level(placement)[:, None, None, None]
    pixel = 2.0**level  # in pixels of the field
    side = (SIDE / pixel).long()
    # The centre of a mean is the centre of the pixels that it is taken over.
    points = ((points + 0.5) / pixel - 0.5).clamp_min(0)
    low = torch.minimum(points.floor(), side - 2).clamp_min(0)
    row, column = (points - low).clamp_max(1).unbind(1)  # weights of the next row and column
    side = side[:, 0]
    # All finer levels lie before a level: 4/3 (512^2 - side^2) pixels.
    first = placement.field[:, None, None] * bank.values.shape[1] + (SIDE**2 - side**2) * 4 // 3
    first = first + low[:, 0].long() * side + low[:, 1].long()
    flat = bank.values.view(-1)
    top = torch.lerp(flat[first].float(), flat[first + 1].float(), column)
    below = torch.lerp(flat[first + side].float(), flat[first + side + 1].float(), column)
    return torch.lerp(top, below, row)


def _level(placement: Placement) -> Tensor:
    """Return the pyramid level whose pixels are nearest in size to the window's: float32 (N,)."""
    step = placement.matrix.square().sum(dim=1).amax(dim=1).sqrt()  # of a step down or right
    return step.log2().round().clamp(0, _LEVELS - 1)


def _mirrored(points: Tensor) -> Tensor:
    """Fold coordinates of any size into 0..511."""
    last = float(SIDE - 1)
    return last - ((points % (2 * last)) - last).abs()
