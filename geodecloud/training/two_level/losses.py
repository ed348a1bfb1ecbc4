"""Measure how far the networks are from their task."""

from dataclasses import dataclass

import torch
from torch import Tensor

from geodecloud.data.two_level.synthesis import Batch
from geodecloud.training.two_level.recipe import Losses

_CLEAR = 0.01  # opacity or shadow below which there is none


@dataclass(frozen=True)
class Answer:
    """The network's answer: restored (N, 3, H, W), opacity and shadow (N, 1, H, W), float32."""

    restored: Tensor
    opacity: Tensor
    shadow: Tensor


def generator_losses(answer: Answer, batch: Batch, plan: Losses) -> dict[str, Tensor]:
    """Return each loss of the generator with its weight in it."""
    return {
        "colour": plan.colour * colour_loss(answer.restored, batch, plan),
        "opacity": plan.opacity * opacity_loss(answer.opacity, batch.opacity, plan),
        "shadow": plan.shadow * shadow_loss(answer.shadow, batch),
    }


def colour_loss(restored: Tensor, batch: Batch, plan: Losses) -> Tensor:
    """Return the weighted L1 of the restored ground.

    Under opaque cloud the ground is anybody's guess: full weight there would teach the mean of the
    training set. Clear pixels stay as they are by their opacity, whatever is restored: full weight
    there would teach to remove half of a cloud in case there is none.
    """
    weight = 1 - (1 - plan.under_opaque) * batch.opacity
    clear = (batch.opacity < _CLEAR) & (batch.shadow < _CLEAR)
    weight = torch.where(clear, plan.without_cloud, weight)
    loss: Tensor = (weight * (restored - batch.target).abs()).mean() / weight.mean()
    return loss


def opacity_loss(opacity: Tensor, truth: Tensor, plan: Losses) -> Tensor:
    """Return the pinball loss of the opacity, and a share of cross entropy.

    A quantile alone gives no gradient where the sigmoid is at its end: cloud that is taken for
    ground for certain would stay ground.
    """
    certain = cross_entropy(opacity, truth).mean()
    return pinball(opacity, truth, plan.opacity_quantile) + plan.certain * certain


def shadow_loss(shadow: Tensor, batch: Batch) -> Tensor:
    """Return the cross entropy of the shadow where the ground is seen.

    Its least is the mean of what the shadow may be. The median is 0 wherever shadow and dark land
    look alike, and a network that is asked for it answers 0 everywhere.
    """
    return (cross_entropy(shadow, batch.shadow) * (1 - batch.opacity)).mean()


def cross_entropy(share: Tensor, truth: Tensor) -> Tensor:
    """Return the cross entropy of shares of 0..1 over that of the truth itself, pixel by pixel."""
    kept, least = share.clamp(1e-6, 1 - 1e-6), truth.clamp(1e-6, 1 - 1e-6)
    return truth * (least / kept).log() + (1 - truth) * ((1 - least) / (1 - kept)).log()


def pinball(answer: Tensor, truth: Tensor, quantile: float) -> Tensor:
    """Return the loss whose least is a quantile of the truth (Koenker and Bassett 1978).

    Below 0.5 what may as well be the ground itself counts as ground.
    """
    missing = truth - answer
    return 2 * torch.maximum(quantile * missing, (quantile - 1) * missing).mean()
