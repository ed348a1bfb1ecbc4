"""Update both networks once, with one generator pass for both."""

import math

import torch
from torch import Tensor, nn

from geodecloud.data.two_level.synthesis import Batch
from geodecloud.errors import DataError
from geodecloud.training.losses import adversarial_loss, discriminator_loss
from geodecloud.training.two_level.losses import Answer, generator_losses
from geodecloud.training.two_level.state import Run

FINE = 1  # level of the windows that the discriminator judges


def train_step(run: Run, batch: Batch) -> dict[str, Tensor]:
    """Update the generator, and the discriminator once it has joined.

    Returns:
        The losses, still on the device, which may be at work on them: see :func:`read_losses`.
    """
    plan = run.config.schedule
    run.set_rates()
    run.generator.train(not plan.frozen_statistics)
    answer = ask(run, run.synchronised["generator"], batch.model_input)
    losses = generator_losses(answer, batch, run.config.losses)
    judged: dict[str, Tensor] = {}
    weight, fine = run.adversarial_weight, batch.level == FINE
    if weight > 0 and bool(fine.any()):
        restored = answer.restored[fine]
        judged["discriminator"] = _discriminator_step(run, batch.clear[fine], restored.detach())
        losses["adversarial"] = weight * _adversarial_loss(run, restored)
    loss = torch.stack(list(losses.values())).sum()
    run.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if plan.clip_gradient:
        nn.utils.clip_grad_norm_(run.generator.parameters(), plan.clip_gradient)
    run.generator_optimizer.step()
    run.step += 1
    _follow(run.average, run.generator, min(plan.ema_decay, run.step / (run.step + 10)))
    return {name: part.detach() for name, part in losses.items()} | judged


def read_losses(losses: dict[str, Tensor], step: int) -> dict[str, float]:
    """Wait for the losses of a step and read them.

    Raises:
        DataError: a loss is not finite.
    """
    # One copy from the device for all of them.
    values = torch.stack(list(losses.values())).tolist()
    for name, value in zip(losses, values, strict=True):
        if not math.isfinite(value):
            raise DataError(f"step {step}: the loss of {name} is {value}; lower the rate")
    return dict(zip(losses, values, strict=True))


def ask(run: Run, generator: nn.Module, model_input: Tensor) -> Answer:
    """Run a generator in the run's precision, and part its channels."""
    out = _predict(run, generator, model_input)
    return Answer(out[:, :3], out[:, 3:4], out[:, 4:5])


def _discriminator_step(run: Run, clear: Tensor, restored: Tensor) -> Tensor:
    """Teach the discriminator to tell clear windows from restored ones; return its loss.

    Each kind is a batch of its own, as restored windows are when they are judged: the statistics
    of a mixed batch would be others.
    """
    network = run.synchronised["discriminator"]
    loss = discriminator_loss(_predict(run, network, clear), _predict(run, network, restored))
    run.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    run.discriminator_optimizer.step()
    return loss.detach()


def _adversarial_loss(run: Run, restored: Tensor) -> Tensor:
    """Return the loss of restored windows that the discriminator does not take for clear."""
    # The bare network: here the discriminator gets no gradient, and none is averaged.
    run.discriminator.requires_grad_(False)
    loss = adversarial_loss(_predict(run, run.discriminator, restored))
    run.discriminator.requires_grad_(True)
    return loss


def _predict(run: Run, network: nn.Module, x: Tensor) -> Tensor:
    bf16 = run.config.schedule.precision == "bf16"
    with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        out: Tensor = network(x.contiguous(memory_format=torch.channels_last))
    return out.float()


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average of weights and statistics towards the network."""
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    ours, theirs = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(list(ours), list(theirs), 1 - decay)  # one call: a GPU waits for calls
    for own, other in pairs:
        if not own.is_floating_point():
            own.copy_(other)
