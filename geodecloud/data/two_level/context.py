"""Make the coarse answer under a fine window, with the errors that one has.

Training takes the pooled truth and spoils it: with the coarse network's own answers on mosaics of
tiles the fine level learns to ignore them, with the bare truth it learns to believe them blindly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geodecloud.data.two_level.draw import Draw

POOL = 4  # pixels of the fine level along a side of the coarse level's


@dataclass(frozen=True)
class ContextPlan:
    """Fractions of the fine windows by the errors of their coarse answer.

    nothing: without a coarse answer, all zeros.
    missed: the coarse answer misses all or most of the cloud.
    parted: the coarse answer misses some clouds and shadows wholly, and finds others.
    faint: the coarse answer misses thin or small clouds.
    wrong: the coarse answer has the clouds of another window.
    dark_unknown: share of all windows in scenes too small to hold a dark object.
    """

    nothing: float = 0.35
    missed: float = 0.3
    parted: float = 0.5
    faint: float = 0.4
    wrong: float = 0.08
    dark_unknown: float = 0.35


def spoiled_answer(
    draw: Draw, truth: tuple[Tensor, Tensor, Tensor], seen: Tensor, fine: Tensor, plan: ContextPlan
) -> Tensor:
    """Make a coarse answer for each window out of the truth.

    Args:
        truth: target (N, 3, 64, 64), opacity and shadow (N, 1, 64, 64), float32.
        seen: float32 (N, 3, 64, 64), the window under clouds, 0..1.
        fine: bool (N,), windows of the fine level; the others are told nothing.

    Returns:
        float32 (N, 5, 64, 64): restored colour, opacity, shadow; zeros where nothing is told.
    """
    n = len(seen)
    target, opacity, shadow, clouded = (avg_pool2d(x, POOL) for x in (*truth, seen))
    found = draw.uniform("told found", n, 1, 1, 1, low=0.7, high=1.2)
    missed = draw.chance("told missed", plan.missed, n, 1, 1, 1)
    # Half of them wholly.
    some = draw.uniform("told of missed", n, 1, 1, 1, low=-0.5, high=0.5).clamp_min(0)
    found = torch.where(missed, some, found)
    found = found * (1 + 0.25 * _smooth(draw, "told smooth", n, 1)).clamp(0.2, 1.8)
    found = found * _seen(draw, "told", opacity, plan)
    # Cloud that is not found is still in the colour.
    left = (1 - found).clamp(-0.3, 1)
    colour = target + left * (clouded - target)
    colour = colour + 0.03 * _smooth(draw, "told colour", n, 3)
    answer = torch.cat([colour, opacity * found, _shadow_found(draw, shadow, plan)], dim=1)
    wrong = draw.chance("told wrong", plan.wrong, n, 1, 1, 1)
    answer = torch.where(wrong, _wrong(draw, answer), answer).clamp(0, 1)
    answer = interpolate(answer, scale_factor=POOL, mode="bilinear", align_corners=False)
    something = fine & ~draw.chance("told nothing", plan.nothing, n)
    return answer * something[:, None, None, None]


def _wrong(draw: Draw, answer: Tensor) -> Tensor:
    """Replace the cloud of each window by the next one's: where it was not, land looks hazy."""
    n = len(answer)
    opacity = answer[:, 3:4].roll(1, dims=0) * draw.uniform("wrong share", n, 1, 1, 1, high=0.7)
    # What is taken for haze is darkened.
    colour = answer[:, :3] - 0.5 * opacity * (1 - answer[:, :3])
    return torch.cat([colour.clamp_min(0), opacity, answer[:, 4:].roll(2, dims=0)], dim=1)


def _shadow_found(draw: Draw, shadow: Tensor, plan: ContextPlan) -> Tensor:
    """Return the shadow that is found, float32 (N, 1, 16, 16)."""
    n = len(shadow)
    found = draw.uniform("told shadow", n, 1, 1, 1, low=0.6, high=1.2)
    found = found * ~draw.chance("told no shadow", 0.25, n, 1, 1, 1)
    return shadow * found * _seen(draw, "told shadow", shadow, plan)


def _seen(draw: Draw, name: str, truth: Tensor, plan: ContextPlan) -> Tensor:
    """Draw which parts of a cloud or shadow are found at all: (N, 1, 16, 16), 0 or 1."""
    n = len(truth)
    above = draw.uniform(f"{name} above", n, 1, 1, 1, low=-1.5, high=1.5)
    lost = _smooth(draw, f"{name} parts", n, 1) > above
    lost &= draw.chance(f"{name} parted", plan.parted, n, 1, 1, 1)
    least = draw.uniform(f"{name} least", n, 1, 1, 1, high=0.5)
    faint = (truth < least) & draw.chance(f"{name} faint", plan.faint, n, 1, 1, 1)
    return (~(lost | faint)).float()


def _smooth(draw: Draw, name: str, n: int, bands: int) -> Tensor:
    """Draw smooth noise of standard deviation about 1: float32 (N, bands, 16, 16)."""
    small = draw.normal(name, n, bands, 4, 4)
    return interpolate(small, scale_factor=4, mode="bicubic", align_corners=False)
