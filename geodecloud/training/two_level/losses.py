"""Compute the losses of the generator at two levels."""

from dataclasses import dataclass

from torch import Tensor

from geodecloud.data.two_level.synthesis import Batch
from geodecloud.training.losses import pinball, restoration_loss
from geodecloud.training.two_level.recipe import Losses


@dataclass(frozen=True)
class Answer:
    """The network's answer: restored (N, 3, H, W), opacity and shadow (N, 1, H, W), float32."""

    restored: Tensor
    opacity: Tensor
    shadow: Tensor


def generator_losses(answer: Answer, batch: Batch, plan: Losses) -> dict[str, Tensor]:
    """Return each loss of the generator with its weight in it."""
    colour = restoration_loss(answer.restored, batch.target, batch.opacity, plan, batch.shadow)
    return {
        "colour": plan.colour * colour,
        "opacity": plan.opacity * opacity_loss(answer.opacity, batch.opacity, plan),
        "shadow": plan.shadow * shadow_loss(answer.shadow, batch),
    }


def opacity_loss(opacity: Tensor, truth: Tensor, plan: Losses) -> Tensor:
    """Return the pinball loss of the opacity, and a share of cross entropy.

    A quantile alone gives no gradient where the sigmoid is at its end: cloud that is taken for
    ground for certain would stay ground.
    """
    certain = cross_entropy(opacity, truth).mean()
    return pinball(opacity, truth, plan.opacity_quantile) + plan.certain * certain


def shadow_loss(shadow: Tensor, batch: Batch) -> Tensor:
    """Return the cross entropy of the shadow where the ground is seen.

    Its minimum is the mean of the possible shadows. Their median is 0 wherever shadow and dark land
    look alike, so a network trained for the median would predict 0 everywhere.
    """
    return (cross_entropy(shadow, batch.shadow) * (1 - batch.opacity)).mean()


def cross_entropy(share: Tensor, truth: Tensor) -> Tensor:
    """Return the cross entropy of shares of 0..1 over that of the truth itself, pixel by pixel."""
    kept, least = share.clamp(1e-6, 1 - 1e-6), truth.clamp(1e-6, 1 - 1e-6)
    return truth * (least / kept).log() + (1 - truth) * ((1 - least) / (1 - kept)).log()
