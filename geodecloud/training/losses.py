"""What the networks are asked for."""

import torch
from torch import Tensor, nn

from geodecloud.model.config import LossWeights

_CLEAR = 0.01  # opacity below which there is no cloud

bce = nn.BCEWithLogitsLoss()


def restoration_loss(
    restored: Tensor, target: Tensor, opacity: Tensor, plan: LossWeights
) -> Tensor:
    """L1 of the restored channels, by the weight of each pixel.

    Under opaque cloud the ground is anybody's guess: full weight there would teach the mean of
    the training set. Without cloud the opacity keeps the pixel as it is, whatever is restored:
    full weight there would teach to remove half of a cloud, in case there is none.

    Args:
        restored, target: float32 (N, 3, H, W) in model range.
        opacity: float32 (N, 1, H, W), 0..1.
    """
    weight = 1 - (1 - plan.under_opaque) * opacity
    weight = torch.where(opacity < _CLEAR, plan.without_cloud, weight)
    loss: Tensor = (weight * (restored - target).abs()).mean() / weight.mean()
    return loss


def opacity_loss(answer: Tensor, opacity: Tensor, quantile: float) -> Tensor:
    """The opacity as a quantile of what it may be (pinball loss, Koenker and Bassett 1978).

    A low quantile: what may as well be the ground itself counts as ground, which is what keeps
    clear pixels untouched. At 0.5 this is the L1.

    Args:
        answer, opacity: float32 (N, 1, H, W), 0..1.
        quantile: 0..1.
    """
    missing = opacity - answer
    return 2 * torch.maximum(quantile * missing, (quantile - 1) * missing).mean()


def discriminator_loss(real: Tensor, restored: Tensor) -> Tensor:
    """Real tiles are 1, restored ones 0; logits (N,) each."""
    ones, zeros = real.new_ones(real.shape), restored.new_zeros(restored.shape)
    loss: Tensor = (bce(real, ones) + bce(restored, zeros)) / 2
    return loss


def adversarial_loss(restored: Tensor) -> Tensor:
    """The generator wants its tiles taken for real; logits (N,)."""
    loss: Tensor = bce(restored, restored.new_ones(restored.shape))
    return loss
