"""Make the coarse answer under a fine window, with the errors of a real one.

The coarse answer is made from the pooled truth, which is corrupted. Trained with the coarse
network's own answers on mosaics of tiles, the fine level learns to ignore them. Trained with the
plain truth, it learns to copy it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geodecloud.data.two_level.draw import Draw

POOL = 4  # pixels of the fine level along a side of a coarse pixel


@dataclass(frozen=True)
class ContextPlan:
    """Fractions of the fine windows whose coarse answer has each error.

    nothing: without a coarse answer, all zeros.
    missed: the coarse answer misses all or most of the cloud.
    parted: the coarse answer misses some clouds and shadows wholly, and finds others.
    faint: the coarse answer misses thin cloud and faint shadow.
    wrong: the coarse answer has the clouds of another window.
    dark_unknown: fraction of all windows that belong to scenes too small to hold a dark object.
    """

    nothing: float = 0.35
    missed: float = 0.3
    parted: float = 0.5
    faint: float = 0.4
    wrong: float = 0.08
    dark_unknown: float = 0.35


def corrupted_answer(
    draw: Draw, truth: tuple[Tensor, Tensor, Tensor], seen: Tensor, fine: Tensor, plan: ContextPlan
) -> Tensor:
    """Make a coarse answer for each window out of the truth.

    Args:
        truth: target (N, 3, 64, 64), opacity and shadow (N, 1, 64, 64), float32.
        seen: float32 (N, 3, 64, 64), the window under clouds, 0..1.
        fine: bool (N,), windows of the fine level; the others get no coarse answer.

    Returns:
        float32 (N, 5, 64, 64): restored colour, opacity, shadow; zeros without a coarse answer.
    """
    n = len(seen)
    target, opacity, shadow, cloudy = (avg_pool2d(x, POOL) for x in (*truth, seen))
    found = draw.uniform("told found", n, 1, 1, 1, low=0.7, high=1.2)
    missed = draw.chance("told missed", plan.missed, n, 1, 1, 1)
    # In half of these windows none of the cloud is found.
    remainder = draw.uniform("told of missed", n, 1, 1, 1, low=-0.5, high=0.5).clamp_min(0)
    found = torch.where(missed, remainder, found)
    found = found * (1 + 0.25 * _smooth_noise(draw, "told smooth", n, 1)).clamp(0.2, 1.8)
    found = found * _draw_found(draw, "told", opacity, plan)
    # Cloud that is not found stays in the colour.
    left = (1 - found).clamp(-0.3, 1)
    colour = target + left * (cloudy - target)
    colour = colour + 0.03 * _smooth_noise(draw, "told colour", n, 3)
    answer = torch.cat([colour, opacity * found, _found_shadow(draw, shadow, plan)], dim=1)
    wrong = draw.chance("told wrong", plan.wrong, n, 1, 1, 1)
    answer = torch.where(wrong, _wrong_answer(draw, answer), answer).clamp(0, 1)
    answer = interpolate(answer, scale_factor=POOL, mode="bilinear", align_corners=False)
    present = fine & ~draw.chance("told nothing", plan.nothing, n)
    return answer * present[:, None, None, None]


def _wrong_answer(draw: Draw, answer: Tensor) -> Tensor:
    """Replace the cloud and shadow of each answer (N, 5, 16, 16) by those of other windows."""
    n = len(answer)
    opacity = answer[:, 3:4].roll(1, dims=0) * draw.uniform("wrong share", n, 1, 1, 1, high=0.7)
    # A network that takes land for haze darkens it.
    colour = answer[:, :3] - 0.5 * opacity * (1 - answer[:, :3])
    return torch.cat([colour.clamp_min(0), opacity, answer[:, 4:].roll(2, dims=0)], dim=1)


def _found_shadow(draw: Draw, shadow: Tensor, plan: ContextPlan) -> Tensor:
    """Return the shadow that is found, float32 (N, 1, 16, 16)."""
    n = len(shadow)
    found = draw.uniform("told shadow", n, 1, 1, 1, low=0.6, high=1.2)
    found = found * ~draw.chance("told no shadow", 0.25, n, 1, 1, 1)
    return shadow * found * _draw_found(draw, "told shadow", shadow, plan)


def _draw_found(draw: Draw, name: str, truth: Tensor, plan: ContextPlan) -> Tensor:
    """Draw which parts of a cloud or shadow are found at all: float32 (N, 1, 16, 16), 0 or 1."""
    n = len(truth)
    threshold = draw.uniform(f"{name} above", n, 1, 1, 1, low=-1.5, high=1.5)
    lost = _smooth_noise(draw, f"{name} parts", n, 1) > threshold
    lost &= draw.chance(f"{name} parted", plan.parted, n, 1, 1, 1)
    least = draw.uniform(f"{name} least", n, 1, 1, 1, high=0.5)
    faint = (truth < least) & draw.chance(f"{name} faint", plan.faint, n, 1, 1, 1)
    return (~(lost | faint)).float()


def _smooth_noise(draw: Draw, name: str, n: int, channels: int) -> Tensor:
    """Draw smooth noise of standard deviation about 1: float32 (N, channels, 16, 16)."""
    small = draw.normal(name, n, channels, 4, 4)
    return interpolate(small, scale_factor=4, mode="bicubic", align_corners=False)
