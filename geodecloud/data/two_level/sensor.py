"""Imitate sensors and processing: other levels, 8 bits, noise, blur."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from geodecloud.data.two_level.draw import Draw

L1C, L2A, TCI, PICTURE = range(4)
_TCI_WHITES = (0.909, 1.294)  # model range at 255: L2A's 0.25 and L1C's 0.3558 over 0.275


@dataclass(frozen=True)
class SensorPlan:
    """Shares of the windows by radiometry, and of the changes to each.

    l1c, l2a, tci, picture: as measured; without path radiance; true-colour images; 8-bit pictures
        whose bands are stretched.
    clipped: share of the first two that end at 0.8 to 1.4 of the model range.
    eight_bit: share of the clipped that are rounded to 8 bits.
    blurred: share that are blurred a little.
    noise: standard deviation of the sensor's noise, model range, from and to.
    """

    l1c: float = 0.58
    l2a: float = 0.22
    tci: float = 0.08
    picture: float = 0.12
    clipped: float = 0.25
    eight_bit: float = 0.4
    blurred: float = 0.25
    noise: tuple[float, float] = (0.0004, 0.012)


@dataclass(frozen=True)
class Radiometry:
    """One linear change of light for each window: (light - low) / span; float32 (N, 3, 1, 1)."""

    low: Tensor
    span: Tensor

    def __call__(self, light: Tensor) -> Tensor:
        """Apply it to light of (N, 3, H, W)."""
        return (light - self.low) / self.span


@dataclass(frozen=True)
class Sensor:
    """A radiometry for each window, and where its values end.

    end: float32 (N, 1, 1, 1), model range.
    eight_bit: bool (N, 1, 1, 1).
    """

    radiometry: Radiometry
    end: Tensor
    eight_bit: Tensor


def draw_sensor(draw: Draw, light: Tensor, base: Tensor, plan: SensorPlan) -> Sensor:
    """Draw a sensor for each window.

    Args:
        light: float32 (N, 3, 64, 64), the clear ground.
        base: float32 (N, 3, 1, 1), the path radiance in it.
    """
    n = len(light)
    kind = draw.kind("level", (plan.l1c, plan.l2a, plan.tci, plan.picture), n)
    kind = kind[:, None, None, None]
    bare_low = base * draw.uniform("path taken", n, 1, 1, 1, low=0.8, high=1.03)
    bare_span = (1 - bare_low) * draw.uniform("transmission", n, 1, 1, 1, low=0.85, high=1.05)
    white = draw.chance("tci level", 0.5, n, 1, 1, 1)
    tci_span = torch.where(white, bare_low * 0 + _TCI_WHITES[0], bare_low * 0 + _TCI_WHITES[1])
    tci_low = torch.where(white, bare_low, bare_low * 0)
    picture_low, picture_span = _stretch(draw, light, base)
    low = torch.where(kind == L2A, bare_low, torch.zeros_like(base))
    low = torch.where(kind == TCI, tci_low, torch.where(kind == PICTURE, picture_low, low))
    span = torch.where(kind == L2A, bare_span, torch.ones_like(base))
    span = torch.where(kind == TCI, tci_span, torch.where(kind == PICTURE, picture_span, span))
    clipped = draw.chance("clipped", plan.clipped, n, 1, 1, 1)
    ends = draw.uniform("end", n, 1, 1, 1, low=0.8, high=1.4)
    end = torch.where(clipped, ends, torch.full_like(ends, 8.0))
    end = torch.where(kind >= TCI, torch.ones_like(end), end)
    eight = (clipped & draw.chance("eight bit", plan.eight_bit, n, 1, 1, 1)) | (kind >= TCI)
    return Sensor(Radiometry(low, span), end, eight)


def _stretch(draw: Draw, light: Tensor, base: Tensor) -> tuple[Tensor, Tensor]:
    """Draw low and span of a picture whose bands end near the ground's own ends, (N, 3, 1, 1)."""
    n = len(light)
    darkest = light.flatten(2).kthvalue(40, dim=2).values[:, :, None, None]
    share = draw.uniform("stretch own", n, 1, 1, 1)
    low = torch.lerp(base * 0.9, darkest, share) * draw.uniform("stretch low", n, 1, 1, 1, low=0.8)
    span = draw.log_uniform("stretch span", n, 1, 1, 1, low=0.25, high=1.1)
    bands = draw.log_uniform("stretch bands", n, 3, 1, 1, low=0.85, high=1.18)
    brightest = light.flatten(2).kthvalue(4000, dim=2).values[:, :, None, None] - low
    own = draw.chance("stretch by band", 0.5, n, 1, 1, 1)
    own_span = brightest.clamp_min(0.12) * draw.uniform("stretch room", n, 1, 1, 1, low=1, high=1.8)
    # A picture that is white all over is of cloud.
    span = torch.maximum(span * bands, 0.9 * brightest)
    span = torch.where(own, own_span, span)
    offset = draw.uniform("stretch offset", n, 1, 1, 1, high=0.14)
    return low - offset * span, span


def expose(
    draw: Draw, lights: tuple[Tensor, ...], sensor: Sensor, level: Tensor, plan: SensorPlan
) -> list[Tensor]:
    """Make of light what a file holds: blur, noise, radiometry, clipping, 8 bits.

    Args:
        lights: float32 (N, 3, 64, 64) each, model range of L1C; all get the same blur and noise.
        level: float32 (N,); means of pixels have less noise.

    Returns:
        float32 (N, 3, 64, 64) of each, model range of the file, 0 to 8.
    """
    n = len(level)
    blurred = draw.chance("blurred", plan.blurred, n, 1, 1, 1) & (level == 1)[:, None, None, None]
    deviation = draw.log_uniform("noise level", n, low=plan.noise[0], high=plan.noise[1]) / level
    noise = deviation[:, None, None, None] * draw.normal("sensor noise", *lights[0].shape)
    files = []
    for light in lights:
        shown = sensor.radiometry(torch.where(blurred, blur(light), light) + noise)
        shown = torch.minimum(shown.clamp_min(0), sensor.end)
        files.append(torch.where(sensor.eight_bit, (shown * 255).round() / 255, shown))
    return files


def blur(light: Tensor) -> Tensor:
    """Blur (N, C, H, W) by a binomial of 3x3 pixels."""
    line = torch.tensor([0.25, 0.5, 0.25], device=light.device)
    kernel = (line[:, None] * line[None]).expand(light.shape[1], 1, 3, 3)
    return conv2d(pad(light, (1, 1, 1, 1), mode="replicate"), kernel, groups=light.shape[1])
