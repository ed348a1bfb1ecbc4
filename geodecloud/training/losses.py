"""Compute the losses of both networks."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from geodecloud.training.config import LossWeights
    from geodecloud.training.two_level.recipe import Losses

_CLEAR = 0.01  # opacity or shadow below which there is none
_TINY = 1e-12  # avoids a division by 0

bce = nn.BCEWithLogitsLoss()


def restoration_loss(
    restored: Tensor,
    target: Tensor,
    opacity: Tensor,
    plan: "LossWeights | Losses",
    shadow: Tensor | None = None,
) -> Tensor:
    """Return the L1 of the restored channels, with a weight for each pixel.

    Under opaque cloud the ground is unknown: with full weight there, the generator would learn the
    mean of the training set. Without cloud, an opacity of 0 keeps the pixel, whatever is restored.
    With full weight there, the generator would learn to hedge: to remove half of a doubtful cloud.

    Args:
        restored, target: float32 (N, 3, H, W), model range.
        opacity, shadow: true ones, float32 (N, 1, H, W), 0..1; None: the data has no shadows.
        plan: has the weights ``under_opaque`` (opacity 1) and ``without_cloud``. Other pixels weigh
            from ``under_opaque`` to 1, by their opacity.

    Returns:
        The weighted mean, a scalar in model range; 0 where no pixel has a weight.
    """
    weight = 1 - (1 - plan.under_opaque) * opacity
    clear = opacity < _CLEAR
    if shadow is not None:
        clear = clear & (shadow < _CLEAR)
    weight = torch.where(clear, plan.without_cloud, weight)
    loss: Tensor = (weight * (restored - target).abs()).mean() / weight.mean().clamp_min(_TINY)
    return loss


def pinball(predicted: Tensor, opacity: Tensor, quantile: float) -> Tensor:
    """Return twice the mean pinball loss of the opacity (Koenker and Bassett 1978), a scalar.

    Its minimum is a quantile of the possible opacities. With a low quantile, pixels that may be
    ground count as ground, so that clear pixels stay as they are. At 0.5 the loss is the L1.

    Args:
        predicted, opacity: float32 (N, 1, H, W), 0..1.
        quantile: 0..1.
    """
    missing = opacity - predicted
    return 2 * torch.maximum(quantile * missing, (quantile - 1) * missing).mean()


def discriminator_loss(real: Tensor, restored: Tensor) -> Tensor:
    """Return the discriminator's loss: the cross entropy of real tiles as 1, restored ones as 0.

    Args:
        real, restored: the discriminator's logits, float32 (N,).
    """
    ones, zeros = real.new_ones(real.shape), restored.new_zeros(restored.shape)
    loss: Tensor = (bce(real, ones) + bce(restored, zeros)) / 2
    return loss


def adversarial_loss(restored: Tensor) -> Tensor:
    """Return the generator's adversarial loss: the cross entropy of restored tiles as 1.

    Args:
        restored: the discriminator's logits, float32 (N,).
    """
    loss: Tensor = bce(restored, restored.new_ones(restored.shape))
    return loss
