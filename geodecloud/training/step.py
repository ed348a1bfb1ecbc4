"""One update of the GAN: discriminator step, then generator step, one generator pass for both."""

import torch
from torch import Tensor

from geodecloud.data.article import overlay_noise
from geodecloud.data.augment import augment
from geodecloud.data.clouds import Clouded, simulate_clouds
from geodecloud.data.water import without_haze_over_water
from geodecloud.errors import DataError
from geodecloud.model.config import Config
from geodecloud.model.unet import UNet, with_dark_object
from geodecloud.training.loader import Batch
from geodecloud.training.losses import (
    adversarial_loss,
    discriminator_loss,
    opacity_loss,
    restoration_loss,
)
from geodecloud.training.state import Run


def train_step(run: Run, batch: Batch) -> dict[str, float]:
    """Update both networks (the generator alone during the warm-up); returns the losses.

    Raises:
        DataError: a loss is not finite.
    """
    land = augment(*batch[:4], run.config.augmentation)
    clouded = put_clouds(land.clear, batch.clouds, run.config, land.around)
    run.generator.train()
    output = answer(
        run, run.shared["generator"], question(clouded, run.config)
    )  # (N, 4 or 3, H, W)
    losses = {}
    weight = run.adversarial_weight
    if weight > 0:
        losses["discriminator"] = _discriminator_step(run, clouded.target, output[:, :3].detach())
    parts = _generator_losses(run, clouded, output, weight)
    loss = torch.stack([share * part for share, part in parts.values()]).sum()
    losses |= {name: part.item() for name, (_, part) in parts.items()}
    if not torch.isfinite(loss):
        raise DataError(f"step {run.step}: the loss is {loss.item()}; lower generator_rate")
    run.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if run.config.training.clip_gradient:
        torch.nn.utils.clip_grad_norm_(
            run.generator.parameters(), run.config.training.clip_gradient
        )
    run.generator_optimizer.step()
    run.schedule.step()
    _follow(run.average, run.generator, run.config.training.ema_decay, run.step)
    return losses


def put_clouds(
    clear: Tensor, uniforms: Tensor, config: Config, around: Tensor | None = None
) -> Clouded:
    """The clouds of the configuration's recipe over clear tiles."""
    if config.recipe == "article":
        return overlay_noise(clear, uniforms)
    uniforms = without_haze_over_water(clear, uniforms, config.clouds)
    return simulate_clouds(clear, uniforms, config.clouds, around)


def question(clouded: Clouded, config: Config) -> Tensor:
    """What the generator is asked of cloudy tiles."""
    if not config.generator.darkest:
        return clouded.cloudy
    return with_dark_object(clouded.cloudy, clouded.darkest)


def answer(run: Run, network: torch.nn.Module, tiles: Tensor) -> Tensor:
    """What a network says of tiles, in the precision of the run."""
    bf16 = run.config.training.precision == "bf16"
    with torch.autocast(tiles.device.type, torch.bfloat16, enabled=bf16):
        out: Tensor = network(tiles.contiguous(memory_format=torch.channels_last))
    return out.float()


def _generator_losses(
    run: Run, clouded: Clouded, output: Tensor, adversarial_weight: float
) -> dict[str, tuple[float, Tensor]]:
    """Each loss of the generator with its weight."""
    plan = run.config.losses
    loss = restoration_loss(output[:, :3], clouded.target, clouded.opacity, plan)
    parts = {"restored": (plan.l1, loss)}
    if run.config.generator.opacity:
        loss = opacity_loss(output[:, 3:], clouded.opacity, plan.opacity_quantile)
        parts["opacity"] = (plan.opacity, loss)
    if adversarial_weight > 0:
        # The bare network: the discriminator's own gradient is neither wanted nor shared here.
        run.discriminator.requires_grad_(False)
        logits = answer(run, run.discriminator, output[:, :3])
        run.discriminator.requires_grad_(True)
        parts["adversarial"] = (adversarial_weight, adversarial_loss(logits))
    return parts


def _discriminator_step(run: Run, target: Tensor, restored: Tensor) -> float:
    network = run.shared["discriminator"]
    loss = discriminator_loss(answer(run, network, target), answer(run, network, restored))
    run.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    run.discriminator_optimizer.step()
    run.discriminator_schedule.step()
    return loss.item()


@torch.no_grad()
def _follow(average: UNet, generator: UNet, decay: float, step: int) -> None:
    """Exponential moving average of the weights, quicker at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), generator.state_dict()
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, 1 - decay)
        else:
            ours[name].copy_(value)
