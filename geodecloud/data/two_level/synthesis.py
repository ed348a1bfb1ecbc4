"""Make a batch of training windows on the device that trains, from (seed, step, part) alone."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from geodecloud.data.two_level.context import ContextPlan, corrupted_answer
from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank
from geodecloud.data.two_level.ground import Ground, GroundPlan, draw_ground
from geodecloud.data.two_level.land import LandBank, LandPlan, draw_land
from geodecloud.data.two_level.sensor import SensorPlan, draw_sensor, expose, first_percentile
from geodecloud.data.two_level.sky import Sky, SkyPlan, draw_sky
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.inputs import generator_input
from geodecloud.radiometry import L1C_DARK_OBJECT

_PLAN = GeneratorPlan(highlights=True, context=True, shadow=True)


@dataclass(frozen=True)
class SynthesisPlan:
    """The recipe of a batch of windows.

    coarse, middle: fractions of the windows with pixels of 40 m and 20 m; the others have 10 m.
    """

    coarse: float = 0.35
    middle: float = 0.08
    land: LandPlan = field(default_factory=LandPlan)
    ground: GroundPlan = field(default_factory=GroundPlan)
    sky: SkyPlan = field(default_factory=SkyPlan)
    sensor: SensorPlan = field(default_factory=SensorPlan)
    context: ContextPlan = field(default_factory=ContextPlan)


@dataclass(frozen=True)
class Batch:
    """Windows for one step, float32 on one device.

    model_input: (N, 14, 64, 64), see :func:`model_input`.
    target: (N, 3, 64, 64), the ground without cloud and shadow in the sensor's radiometry, model
        range, 0..1.
    clear: (N, 3, 64, 64), the same with the sensor's blur, noise, clipping and 8 bits.
    opacity, shadow: (N, 1, 64, 64), 0..1, see ``sky.Sky``.
    level: (N,), pixels of 10 m along a side of a window's pixel: 1, 2 or 4.
    kind: int64 (N,), kind of cloud, an index in ``cloud_layers.KIND_NAMES``.
    new_land: bool (N,), windows of clear scenes, with roofs or with a flooded coast.
    """

    model_input: Tensor
    target: Tensor
    clear: Tensor
    opacity: Tensor
    shadow: Tensor
    level: Tensor
    kind: Tensor
    new_land: Tensor


def make_batch(
    draw: Draw, land: LandBank, bank: FieldBank, size: int, plan: SynthesisPlan
) -> Batch:
    """Draw windows of land, put clouds over them, and imitate the sensors that see them.

    Args:
        draw: random numbers of the batch.
        size: number of windows.
    """
    coarse = round(plan.coarse * size)
    middle = min(round(plan.middle * size), size - coarse)
    counts = {4: coarse, 2: middle, 1: size - coarse - middle}
    device = bank.values.device
    drawn = [draw_land(draw, land, level, count, plan.land) for level, count in counts.items()]
    windows, of_scene = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    level = torch.cat([torch.full((c,), float(v), device=device) for v, c in counts.items()])
    ground = draw_ground(draw, windows, bank, level, plan.ground)
    sky = draw_sky(draw, ground, bank, level, plan.sky)
    sensor = draw_sensor(draw, ground.light, ground.path_radiance, plan.sensor)
    seen, clear = expose(draw, (sky.seen, ground.light), sensor, level, plan.sensor)
    target = sensor.radiometry(ground.light).clamp(0, 1)
    truth = (target, sky.opacity, sky.shadow)
    answer = corrupted_answer(draw, truth, seen.clamp(0, 1), level == 1, plan.context)
    dark = sensor.radiometry(_dark_object(draw, ground, sky)).clamp(0, 1)
    unknown = draw.chance("dark unknown", plan.context.dark_unknown, size)[:, None, None, None]
    dark = torch.where(unknown, assumed_dark(seen), dark)
    channels = model_input(seen, answer, dark)
    clear = clear.clamp(0, 1)
    new_land = ground.new_land | of_scene
    return Batch(channels, target, clear, sky.opacity, sky.shadow, level, sky.kind, new_land)


def model_input(seen: Tensor, answer: Tensor, dark: Tensor) -> Tensor:
    """Return the generator's input, float32 (N, 14, H, W), see :func:`generator_input`.

    Args:
        seen: (N, 3, H, W), the scene in model range, also beyond 1.
        answer: (N, 5, H, W), the coarse answer: restored colour, opacity, shadow; zeros: none.
        dark: (N, 3, 1, 1), the dark object of the scene, or :func:`assumed_dark`, model range.
    """
    return generator_input(_PLAN, torch.cat([seen, answer], dim=1), dark)


def assumed_dark(seen: Tensor) -> Tensor:
    """Return the dark object that is assumed for scenes too small to hold one, (N, 3, 1, 1).

    It is the window's own 1st percentile, at most the dark object of clear air in L1C: something
    dark may lie just outside of the window.
    """
    most = torch.tensor(L1C_DARK_OBJECT, device=seen.device).view(1, 3, 1, 1)
    return torch.minimum(first_percentile(seen), most)


def _dark_object(draw: Draw, ground: Ground, sky: Sky) -> Tensor:
    """Draw the dark object of each window's scene: float32 (N, 3, 1, 1), model range.

    It is mostly a little above the path radiance. In a scene without anything dark it is the
    window's own, and the brighter the window, the likelier is such a scene. In half of the scenes
    it is seen through the window's haze.
    """
    n = len(ground.path_radiance)
    dark = ground.path_radiance + 0.04 * draw.uniform("dark ground", n, 1, 1, 1) ** 2
    own = first_percentile(ground.light)
    above = (own - ground.path_radiance).amin(dim=1, keepdim=True)
    likely = 0.08 + 0.5 * ((above - 0.06) / 0.12).clamp(0, 1)
    alone = draw.uniform("dark own", n, 1, 1, 1) < likely
    dark = torch.where(alone, torch.maximum(own, dark), torch.minimum(own, dark))
    haze = sky.least_opacity * draw.uniform("dark haze", n, 1, 1, 1, low=0.6)
    hazy = draw.chance("dark hazy", 0.5, n, 1, 1, 1)
    return torch.where(hazy, (1 - haze) * dark + haze * sky.cloud_light, dark)
