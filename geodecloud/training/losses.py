"""Compute the losses of both networks."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from geodecloud.training.config import LossWeights
    from geodecloud.training.two_level.recipe import Losses

_CLEAR = 0.01  # opacity or shadow below which there is none

bce = nn.BCEWithLogitsLoss()


def restoration_loss(
    restored: Tensor,
    target: Tensor,
    opacity: Tensor,
    plan: "LossWeights | Losses",
    shadow: Tensor | None = None,
) -> Tensor:
    """Return the L1 of the restored channels, with a weight for each pixel.

    Under opaque cloud the ground is unknown: full weight there would teach the mean of the
    training set. Without cloud the opacity keeps the pixel as it is, whatever is restored: full
    weight there would teach to remove half of a cloud, in case there is none.

    Args:
        restored, target: float32 (N, 3, H, W) in model range.
        opacity, shadow: float32 (N, 1, H, W), 0..1; no shadow: there is none in the data.
    """
    weight = 1 - (1 - plan.under_opaque) * opacity
    clear = opacity < _CLEAR
    if shadow is not None:
        clear = clear & (shadow < _CLEAR)
    weight = torch.where(clear, plan.without_cloud, weight)
    loss: Tensor = (weight * (restored - target).abs()).mean() / weight.mean()
    return loss


def pinball(predicted: Tensor, opacity: Tensor, quantile: float) -> Tensor:
    """Return the pinball loss of the opacity (Koenker and Bassett 1978).

    Its minimum is a quantile of the possible opacities. With a low quantile, pixels that may be
    ground count as ground, so that clear pixels stay as they are. At 0.5 the loss is the L1.

    Args:
        predicted, opacity: float32 (N, 1, H, W), 0..1.
        quantile: 0..1.
    """
    missing = opacity - predicted
    return 2 * torch.maximum(quantile * missing, (quantile - 1) * missing).mean()


def discriminator_loss(real: Tensor, restored: Tensor) -> Tensor:
    """Return the discriminator's loss: real tiles are 1, restored ones 0; logits (N,) each."""
    ones, zeros = real.new_ones(real.shape), restored.new_zeros(restored.shape)
    loss: Tensor = (bce(real, ones) + bce(restored, zeros)) / 2
    return loss


def adversarial_loss(restored: Tensor) -> Tensor:
    """Return the generator's loss against the discriminator, which should say 1; logits (N,)."""
    loss: Tensor = bce(restored, restored.new_ones(restored.shape))
    return loss
