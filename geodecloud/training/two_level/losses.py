"""Compute the losses of the generator at two levels."""

from dataclasses import dataclass

from torch import Tensor

from geodecloud.data.two_level.synthesis import Batch
from geodecloud.training.losses import pinball, restoration_loss
from geodecloud.training.two_level.recipe import Losses


@dataclass(frozen=True)
class Prediction:
    """The generator's output, float32.

    restored: (N, 3, H, W), model range.
    opacity, shadow: (N, 1, H, W), 0..1.
    """

    restored: Tensor
    opacity: Tensor
    shadow: Tensor

    @classmethod
    def of(cls, output: Tensor) -> "Prediction":
        """Split the generator's five channels, (N, 5, H, W)."""
        return cls(output[:, :3], output[:, 3:4], output[:, 4:5])


def generator_losses(predicted: Prediction, batch: Batch, plan: Losses) -> dict[str, Tensor]:
    """Return each loss of the generator by name, times its weight: scalars."""
    colour = restoration_loss(predicted.restored, batch.target, batch.opacity, plan, batch.shadow)
    return {
        "colour": plan.colour * colour,
        "opacity": plan.opacity * opacity_loss(predicted.opacity, batch.opacity, plan),
        "shadow": plan.shadow * shadow_loss(predicted.shadow, batch),
    }


def opacity_loss(opacity: Tensor, truth: Tensor, plan: Losses) -> Tensor:
    """Return the pinball loss of the opacity plus ``certain`` times its cross entropy, a scalar.

    The pinball loss alone has no gradient where the sigmoid is saturated: cloud that the generator
    is certain is ground would stay ground.

    Args:
        opacity, truth: float32 (N, 1, H, W), 0..1.
    """
    entropy = cross_entropy(opacity, truth).mean()
    return pinball(opacity, truth, plan.opacity_quantile) + plan.certain * entropy


def shadow_loss(shadow: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross entropy of the shadow, each pixel weighted by the ground seen in it.

    Its minimum is the mean of the possible shadows. Their median is 0 wherever shadow and dark land
    look alike, so a network trained for the median would predict 0 everywhere.

    Args:
        shadow: float32 (N, 1, H, W), 0..1.
    """
    return (cross_entropy(shadow, batch.shadow) * (1 - batch.opacity)).mean()


def cross_entropy(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the cross entropy of each pixel, less the entropy of the truth, so that 0 is perfect.

    This is the Kullback-Leibler divergence; its gradient is that of the cross entropy.

    Args:
        predicted, truth: of one shape, 0..1.
    """
    p, q = truth.clamp(1e-6, 1 - 1e-6), predicted.clamp(1e-6, 1 - 1e-6)
    return truth * (p / q).log() + (1 - truth) * ((1 - p) / (1 - q)).log()
