"""What the networks are asked for."""

import torch
from torch import Tensor, nn

OPACITY_QUANTILE = 0.35  # 0.5 would be the median; a clear pixel that changes is the worse error

bce = nn.BCEWithLogitsLoss()


def restoration_loss(output: Tensor, target: Tensor, opacity: Tensor) -> tuple[Tensor, Tensor]:
    """L1 of the restored channels, weighted down by opacity, and the loss of the opacity.

    Under opaque cloud the ground is anybody's guess: full weight there would teach the mean of
    the training set. The opacity is learned as a low quantile (pinball loss): what may as well be
    the ground itself counts as ground, which is what keeps clear pixels untouched.

    Args:
        output: float32 (N, 4, H, W), restored R, G, B and opacity.
        target: float32 (N, 3, H, W) in model range.
        opacity: float32 (N, 1, H, W), 0..1.
    """
    weight = 1 - 0.85 * opacity
    restored = (weight * (output[:, :3] - target).abs()).mean()
    missing = opacity - output[:, 3:]
    pinball = torch.maximum(OPACITY_QUANTILE * missing, (OPACITY_QUANTILE - 1) * missing)
    return restored, 2 * pinball.mean()


def discriminator_loss(real: Tensor, restored: Tensor) -> Tensor:
    """Real tiles are 1, restored ones 0; logits (N,) each."""
    ones, zeros = real.new_ones(real.shape), restored.new_zeros(restored.shape)
    loss: Tensor = (bce(real, ones) + bce(restored, zeros)) / 2
    return loss


def adversarial_loss(restored: Tensor) -> Tensor:
    """The generator wants its tiles taken for real; logits (N,)."""
    loss: Tensor = bce(restored, restored.new_ones(restored.shape))
    return loss
