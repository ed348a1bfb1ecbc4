"""Update both networks of a run at two levels once, with one generator pass for both."""

import math

import torch
from torch import Tensor, nn

from geodecloud.data.two_level.synthesis import Batch
from geodecloud.errors import DataError
from geodecloud.training.two_level.losses import Prediction, generator_losses
from geodecloud.training.two_level.state import Run
from geodecloud.training.update import (
    judge_restored,
    predict,
    update_average,
    update_discriminator,
    update_generator,
)

FINE = 1  # level of the windows that the discriminator judges


def train_step(run: Run, batch: Batch) -> dict[str, Tensor]:
    """Update the generator, and the discriminator once it has joined.

    Returns:
        The weighted losses by name, as tensors: a GPU may still compute them, see
        :func:`read_losses`.
    """
    plan = run.config.schedule
    run.set_rates()
    run.generator.train(not plan.frozen_statistics)
    predicted = predict_windows(run, run.synchronised["generator"], batch.model_input)
    losses = generator_losses(predicted, batch, run.config.losses)
    judged: dict[str, Tensor] = {}
    weight, fine = run.adversarial_weight, batch.level == FINE
    if weight > 0 and int(fine.sum()) > 1:  # BatchNorm needs more than one window
        restored = predicted.restored[fine]
        judged["discriminator"] = update_discriminator(run, batch.clear[fine], restored.detach())
        losses["adversarial"] = weight * judge_restored(run, restored)
    loss = torch.stack(list(losses.values())).sum()
    update_generator(run, loss)
    run.step += 1
    update_average(run, min(plan.ema_decay, run.step / (run.step + 10)))
    return {name: part.detach() for name, part in losses.items()} | judged


def read_losses(losses: dict[str, Tensor], step: int) -> dict[str, float]:
    """Wait for the losses of a step, and return them as numbers.

    Args:
        step: of the losses, for the message.

    Raises:
        DataError: a loss is not finite.
    """
    # One copy from the device for all losses, not one for each.
    values = torch.stack(list(losses.values())).tolist()
    for name, value in zip(losses, values, strict=True):
        if not math.isfinite(value):
            raise DataError(f"step {step}: the loss of {name} is {value}; lower rate in [schedule]")
    return dict(zip(losses, values, strict=True))


def predict_windows(run: Run, generator: nn.Module, model_input: Tensor) -> Prediction:
    """Run a generator in the run's precision, and split its output channels.

    Args:
        generator: with five output channels.
        model_input: float32 (N, 14, H, W).
    """
    return Prediction.of(predict(run, generator, model_input))
