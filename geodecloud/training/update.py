"""Update the networks of a run, whatever its recipe."""

import torch
from torch import Tensor, nn

from geodecloud.training.losses import adversarial_loss, discriminator_loss
from geodecloud.training.state import State


def predict(run: State, network: nn.Module, images: Tensor) -> Tensor:
    """Compute the output of a network in the run's precision, and return it as float32."""
    bf16 = run.plan.precision == "bf16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        out: Tensor = network(images.contiguous(memory_format=torch.channels_last))
    return out.float()


def update_discriminator(run: State, clear: Tensor, restored: Tensor) -> Tensor:
    """Update the discriminator, so that it tells clear images from restored ones; return its loss.

    Clear and restored images are batches of their own, as restored images are for
    :func:`judge_restored`. In a mixed batch, BatchNorm would have other statistics.

    Args:
        clear, restored: float32 (N, 3, H, W), model range.
    """
    network = run.synchronised["discriminator"]
    loss = discriminator_loss(predict(run, network, clear), predict(run, network, restored))
    run.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    run.discriminator_optimizer.step()
    return loss.detach()


def judge_restored(run: State, restored: Tensor) -> Tensor:
    """Return the generator's adversarial loss for restored images, float32 (N, 3, H, W)."""
    # Not the synchronised network: the discriminator gets no gradient here, so none is averaged.
    run.discriminator.requires_grad_(False)
    loss = adversarial_loss(predict(run, run.discriminator, restored))
    run.discriminator.requires_grad_(True)
    return loss


def update_generator(run: State, loss: Tensor) -> None:
    """Update the generator by the gradient of its loss."""
    run.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if run.plan.clip_gradient:
        nn.utils.clip_grad_norm_(run.generator.parameters(), run.plan.clip_gradient)
    run.generator_optimizer.step()


@torch.no_grad()
def update_average(run: State, decay: float) -> None:
    """Move the average of the generator's weights and statistics towards the generator.

    Why not ``torch.optim.swa_utils.AveragedModel``: its decay is constant, it copies the weights of
    the first step, and it rounds the average of whole numbers.

    Args:
        decay: weight of the old average, 0..1.
    """
    states = run.average.state_dict().values(), run.generator.state_dict().values()
    pairs = list(zip(*states, strict=True))
    ours, theirs = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    # One call for all tensors: on a GPU many small calls take longer than the work.
    torch._foreach_lerp_(list(ours), list(theirs), 1 - decay)
    for own, other in pairs:
        if not own.is_floating_point():
            own.copy_(other)
