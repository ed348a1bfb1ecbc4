"""Imitate sensors and processing: levels, 8 bits, noise, blur."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from geodecloud.data.two_level.draw import Draw

L1C, L2A, TCI, PICTURE = range(4)
_TCI_WHITES = (0.909, 1.294)  # model range at DN 255: L2A's 0.25 and L1C's 0.3558 over 0.275
_UINT16_END = 8.0  # model range; no window is brighter, see land.UNIT


@dataclass(frozen=True)
class SensorPlan:
    """Fractions of the windows by radiometry, and of the changes to each.

    l1c, l2a: top-of-atmosphere and surface reflectance.
    tci: true-colour images.
    picture: 8-bit pictures whose bands are stretched.
    clipped: of L1C and L2A, windows that end at 0.8 to 1.4 of the model range.
    eight_bit: of the clipped windows, those that are rounded to 8 bits.
    blurred: of the fine windows, those that are blurred a little.
    noise: standard deviation of the sensor's noise, model range, smallest and largest.
    """

    l1c: float = 0.58
    l2a: float = 0.22
    tci: float = 0.08
    picture: float = 0.12
    clipped: float = 0.25
    eight_bit: float = 0.4
    blurred: float = 0.25
    noise: tuple[float, float] = (0.0004, 0.012)

    @property
    def kind_weights(self) -> tuple[float, ...]:
        """Fractions of the radiometries, in the order of ``L1C`` to ``PICTURE``."""
        return (self.l1c, self.l2a, self.tci, self.picture)


@dataclass(frozen=True)
class WindowRadiometry:
    """A linear radiometry for each window: (light - low) / span; float32 (N, 3, 1, 1) each."""

    low: Tensor
    span: Tensor

    def __call__(self, light: Tensor) -> Tensor:
        """Return the file's values of light (N, 3, H, W), both in model range."""
        return (light - self.low) / self.span


@dataclass(frozen=True)
class Sensor:
    """A radiometry for each window, and the end and depth of its values.

    end: float32 (N, 1, 1, 1), largest value, model range.
    eight_bit: bool (N, 1, 1, 1), whether values are rounded to 8 bits.
    """

    radiometry: WindowRadiometry
    end: Tensor
    eight_bit: Tensor


def draw_sensor(draw: Draw, light: Tensor, path_radiance: Tensor, plan: SensorPlan) -> Sensor:
    """Draw a sensor for each window.

    Args:
        light: float32 (N, 3, 64, 64), the clear ground, model range.
        path_radiance: float32 (N, 3, 1, 1), its part in ``light``.
    """
    n = len(light)
    kind = draw.kind("level", plan.kind_weights, n)[:, None, None, None]
    l2a_low = path_radiance * draw.uniform("path taken", n, 1, 1, 1, low=0.8, high=1.03)
    l2a_span = (1 - l2a_low) * draw.uniform("transmission", n, 1, 1, 1, low=0.85, high=1.05)
    is_l2a_tci = draw.chance("tci level", 0.5, n, 1, 1, 1)
    zero = torch.zeros_like(path_radiance)
    tci_span = torch.where(is_l2a_tci, zero + _TCI_WHITES[0], zero + _TCI_WHITES[1])
    tci_low = torch.where(is_l2a_tci, l2a_low, zero)
    picture_low, picture_span = _draw_stretch(draw, light, path_radiance)
    low = torch.where(kind == L2A, l2a_low, zero)
    low = torch.where(kind == TCI, tci_low, torch.where(kind == PICTURE, picture_low, low))
    span = torch.where(kind == L2A, l2a_span, torch.ones_like(path_radiance))
    span = torch.where(kind == TCI, tci_span, torch.where(kind == PICTURE, picture_span, span))
    clipped = draw.chance("clipped", plan.clipped, n, 1, 1, 1)
    clipped_end = draw.uniform("end", n, 1, 1, 1, low=0.8, high=1.4)
    end = torch.where(clipped, clipped_end, torch.full_like(clipped_end, _UINT16_END))
    end = torch.where(kind >= TCI, torch.ones_like(end), end)
    eight = (clipped & draw.chance("eight bit", plan.eight_bit, n, 1, 1, 1)) | (kind >= TCI)
    return Sensor(WindowRadiometry(low, span), end, eight)


def first_percentile(light: Tensor) -> Tensor:
    """Return each band's 1st percentile in each window: (N, 3, H, W) -> (N, 3, 1, 1)."""
    pixels = light.flatten(2)
    return pixels.kthvalue(max(1, pixels.shape[2] // 100), dim=2).values[:, :, None, None]


def _draw_stretch(draw: Draw, light: Tensor, path_radiance: Tensor) -> tuple[Tensor, Tensor]:
    """Draw the contrast stretch of a picture, whose ends lie near the ground's own.

    Returns:
        low, span: float32 (N, 3, 1, 1), model range.
    """
    n = len(light)
    darkest = first_percentile(light)
    own_low = draw.uniform("stretch own", n, 1, 1, 1)
    low = torch.lerp(path_radiance * 0.9, darkest, own_low)
    low = low * draw.uniform("stretch low", n, 1, 1, 1, low=0.8)
    span = draw.log_uniform("stretch span", n, 1, 1, 1, low=0.25, high=1.1)
    bands = draw.log_uniform("stretch bands", n, 3, 1, 1, low=0.85, high=1.18)
    brightest = light.flatten(2).kthvalue(4000, dim=2).values[:, :, None, None] - low
    by_band = draw.chance("stretch by band", 0.5, n, 1, 1, 1)
    own_span = brightest.clamp_min(0.12) * draw.uniform("stretch room", n, 1, 1, 1, low=1, high=1.8)
    # Land that a stretch turns white all over would look like cloud.
    span = torch.maximum(span * bands, 0.9 * brightest)
    span = torch.where(by_band, own_span, span)
    offset = draw.uniform("stretch offset", n, 1, 1, 1, high=0.14)
    return low - offset * span, span


def expose(
    draw: Draw, lights: tuple[Tensor, ...], sensor: Sensor, level: Tensor, plan: SensorPlan
) -> list[Tensor]:
    """Turn light into a file's values: blur, noise, radiometry, clipping, 8 bits.

    Args:
        lights: float32 (N, 3, 64, 64) each, top-of-atmosphere reflectance in model range; all get
            the same blur and noise.
        level: float32 (N,), pixels of 10 m along a side of a window's pixel. A mean of many pixels
            has less noise, and is not blurred.

    Returns:
        float32 (N, 3, 64, 64) each, model range of the file, 0 to 8.
    """
    n = len(level)
    blurred = draw.chance("blurred", plan.blurred, n, 1, 1, 1) & (level == 1)[:, None, None, None]
    deviation = draw.log_uniform("noise level", n, low=plan.noise[0], high=plan.noise[1]) / level
    noise = deviation[:, None, None, None] * draw.normal("sensor noise", *lights[0].shape)
    files = []
    for light in lights:
        values = sensor.radiometry(torch.where(blurred, blur(light), light) + noise)
        values = torch.minimum(values.clamp_min(0), sensor.end)
        files.append(torch.where(sensor.eight_bit, (values * 255).round() / 255, values))
    return files


def blur(light: Tensor) -> Tensor:
    """Blur light of (N, C, H, W) with a binomial kernel of 3x3 pixels."""
    line = torch.tensor([0.25, 0.5, 0.25], device=light.device)
    kernel = (line[:, None] * line[None]).expand(light.shape[1], 1, 3, 3)
    return conv2d(pad(light, (1, 1, 1, 1), mode="replicate"), kernel, groups=light.shape[1])
