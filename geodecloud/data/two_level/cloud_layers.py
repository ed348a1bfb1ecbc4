"""Draw the layers of cloud: their kinds, their fields, and their opacity."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank, Placement, draw_placement, sample

NONE, FIELD, NOISE, CIRRUS, HAZE, SHADE = range(6)
KIND_NAMES = ("no cloud", "real cloud", "synthetic cloud", "cirrus", "haze", "shadow alone")
# Wavelengths of Sentinel-2 bands 4, 3, 2 (665, 560, 492 nm), relative to green.
_WAVELENGTHS = (665 / 560, 1.0, 492 / 560)


@dataclass(frozen=True)
class Layer:
    """One layer of cloud.

        opacity = max_opacity * (1 - (1 - clip(field * slope + intercept))^thickness)

    placement: of N windows.
    slope, intercept, thickness, max_opacity: float32 (N,).
    """

    placement: Placement
    slope: Tensor
    intercept: Tensor
    thickness: Tensor
    max_opacity: Tensor

    def opacity(self, bank: FieldBank, shift: Tensor | None = None) -> Tensor:
        """Return the opacity, float32 (N, 64, 64), seen from windows moved by (N, 2) pixels."""
        placement = self.placement if shift is None else self.placement.shifted(shift)
        numbers = (self.slope, self.intercept, self.thickness, self.max_opacity)
        slope, intercept, thickness, max_opacity = (one[:, None, None] for one in numbers)
        field = (sample(bank, placement, 64) * slope + intercept).clamp(0, 1)
        return max_opacity * (1 - (1 - field) ** thickness)


def first_layer(draw: Draw, bank: FieldBank, kind: Tensor, level: Tensor) -> Layer:
    """Draw the main cloud of each window, by its kind."""
    n, is_real = len(kind), kind == FIELD
    is_real = is_real | ((kind == SHADE) & draw.chance("shade field", 0.7, n))
    # A field's pixel is 30 m (Landsat): fine windows show clouds 1.5 times as large to 6 times as
    # small. Coarse windows see many small clouds at once, up to a whole field.
    step = draw.uniform("field step", n) * (2.0 * level / 0.22).log() + math.log(0.22)
    step = (step.exp() * 1.5 ** (level > 1).float()).clamp_max(8.0)
    real = draw_placement(draw, "field", step, count=bank.real)
    again = draw_placement(draw, "field again", step, count=bank.real)
    # Fields are mostly clear: of two placements the cloudier is kept; in 40 % always the first.
    denser = _window_mean(bank, real) >= _window_mean(bank, again)
    real = real.where(denser | draw.chance("field sparse", 0.4, n), again)
    elongation = draw.log_uniform("stretch", n, low=3, high=12)
    elongation = torch.where(kind == CIRRUS, elongation, torch.ones_like(elongation))
    step = draw.log_uniform("noise step", n, low=0.3, high=3) * level**0.5
    step = torch.where(kind == HAZE, step * 0.15, step)
    noise = draw_placement(
        draw, "noise", step, count=bank.noise, first=bank.real, elongation=elongation
    )
    placement = real.where(is_real, noise)
    slope, intercept = _draw_ramp(draw, kind, is_real)
    thickness = draw.log_uniform("thickness", n, low=0.3, high=3.2)
    max_opacity = _draw_max_opacity(draw, kind)
    return Layer(placement, slope, intercept, thickness, max_opacity)


def _window_mean(bank: FieldBank, placement: Placement) -> Tensor:
    """Return the mean of the field in each window, float32 (N,)."""
    wide = Placement(placement.field, placement.centre, placement.matrix * 8)
    return sample(bank, wide, 8).mean(dim=(1, 2))


def _draw_ramp(draw: Draw, kind: Tensor, is_real: Tensor) -> tuple[Tensor, Tensor]:
    """Draw slope and intercept that turn a field's values into opacity, float32 (N,) each."""
    n = len(kind)
    slope = 1 / draw.log_uniform("noise width", n, low=0.15, high=3)
    # From a closed deck to a few lone clouds, where the noise is above 2.2 standard deviations.
    intercept = -slope * draw.uniform("noise from", n, low=-1.2, high=2.2)
    haze_slope = 0.15 * draw.uniform("haze slope", n)
    haze_intercept = draw.uniform("haze from", n, low=0.3, high=1.2)
    is_haze = kind == HAZE
    slope = torch.where(is_haze, haze_slope, slope)
    intercept = torch.where(is_haze, haze_intercept, intercept)
    # Few real fields are saturated: without more contrast, opaque cloud would be rare.
    contrast = draw.log_uniform("field contrast", n, low=0.8, high=3.5)
    slope = torch.where(is_real, contrast, slope)
    return slope, torch.where(is_real, torch.zeros_like(intercept), intercept)


def _draw_max_opacity(draw: Draw, kind: Tensor) -> Tensor:
    """Draw the largest opacity of the first layer, float32 (N,)."""
    n = len(kind)
    dense = draw.uniform("most", n, low=0.2, high=2.0).clamp_max(1)
    # Uniform: with mostly thin cloud the network would learn to remove too little.
    thin = draw.uniform("most of thin", n, low=0.08, high=1.0)
    # Dense haze is a deck: windows under nothing but opaque cloud are common.
    deck = draw.uniform("most of haze", n, low=0.08, high=1.4).clamp_max(1)
    max_opacity = torch.where(kind == CIRRUS, thin, torch.where(kind == HAZE, deck, dense))
    no_cloud = (kind == NONE) | (kind == SHADE)
    return torch.where(no_cloud, torch.zeros_like(max_opacity), max_opacity)


def second_layer(
    draw: Draw, bank: FieldBank, kind: Tensor, level: Tensor, fraction: float
) -> Layer:
    """Draw thin cloud beside the main one in a fraction of the windows, even or drawn out."""
    n = len(kind)
    step = draw.log_uniform("second step", n, low=0.05, high=2) * level**0.5
    elongation = draw.log_uniform("second stretch", n, low=1, high=8)
    placement = draw_placement(
        draw, "second", step, count=bank.noise, first=bank.real, elongation=elongation
    )
    slope = draw.uniform("second slope", n, low=0.1, high=0.8)
    intercept = draw.uniform("second level", n, low=-0.4, high=0.8)
    max_opacity = draw.log_uniform("second most", n, low=0.04, high=0.5)
    present = draw.chance("second", fraction, n) & (kind != NONE) & (kind != SHADE)
    max_opacity = torch.where(present, max_opacity, torch.zeros_like(max_opacity))
    return Layer(placement, slope, intercept, torch.ones_like(slope), max_opacity)


def opacity_by_band(draw: Draw, bank: FieldBank, layer: Layer, name: str, shift: Tensor) -> Tensor:
    """Return a layer's opacity in red, green and blue: displaced, and larger in blue.

    Args:
        name: of the layer, for its random numbers.
        shift: float32 (N, 2), between the cloud in red and in blue, pixels of the window.

    Returns:
        float32 (N, 3, 64, 64).
    """
    n = len(shift)
    exponent = draw.uniform(f"{name} blue", n, 1, 1, high=1.9)
    smoke = draw.chance(f"{name} smoke", 0.1, n, 1, 1)
    exponent = torch.where(smoke, exponent + 1.2, exponent)
    bands = []
    for side, wavelength in zip((-0.5, 0.0, 0.5), _WAVELENGTHS, strict=True):
        opacity = layer.opacity(bank, shift * side if side else None)
        # Optical depth falls with the wavelength by a power law (Angstrom 1929).
        bands.append(1 - (1 - opacity) ** (wavelength**-exponent))
    return torch.stack(bands, dim=1)
