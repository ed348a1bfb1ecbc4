"""Update both networks once, discriminator then generator, with one generator pass for both."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geodecloud.data.article import article_draw, overlay_noise
from geodecloud.data.augment import augment, augmentation_draw, is_water
from geodecloud.data.cloud_kinds import KINDS
from geodecloud.data.clouds import Clouded, cloud_draw, draw_kind, simulate_clouds
from geodecloud.errors import DataError
from geodecloud.model.unet import with_dark_object
from geodecloud.training.config import Config
from geodecloud.training.loader import Batch
from geodecloud.training.losses import pinball, restoration_loss
from geodecloud.training.state import Run
from geodecloud.training.update import (
    judge_restored,
    predict,
    update_average,
    update_discriminator,
    update_generator,
)


def train_step(run: Run, batch: Batch) -> dict[str, float]:
    """Update both networks, or during the warm-up the generator alone.

    Returns:
        The losses by name, without their weights.

    Raises:
        DataError: the generator's loss is not finite.
    """
    config, epoch, items = run.config, batch.epoch, batch.items
    changes = augmentation_draw(config.training.seed, epoch, items).to(batch.clear.device)
    land = augment(batch.clear, batch.neighbours, batch.water, changes, config.augmentation)
    clouded = put_clouds(land.clear, config, epoch, items, land.around)
    run.generator.train()
    network = run.synchronised["generator"]
    output = predict(run, network, model_input(clouded, config))  # (N, 4 or 3, H, W)
    losses = {}
    weight = run.adversarial_weight
    if weight > 0:
        loss = update_discriminator(run, clouded.target, output[:, :3].detach())
        losses["discriminator"] = loss.item()
        run.discriminator_schedule.step()
    parts = _generator_losses(run, clouded, output, weight)
    loss = torch.stack([factor * part for factor, part in parts.values()]).sum()
    losses |= {name: part.item() for name, (_, part) in parts.items()}
    if not torch.isfinite(loss):
        raise DataError(
            f"step {run.step}: the loss is {loss.item()}; lower generator_rate in [training]"
        )
    update_generator(run, loss)
    run.schedule.step()
    update_average(run, min(run.plan.ema_decay, (1 + run.step) / (10 + run.step)))
    return losses


def put_clouds(
    clear: Tensor,
    config: Config,
    epoch: int,
    items: Sequence[int],
    around: Tensor | None = None,
) -> Clouded:
    """Put the clouds of the configuration's recipe over clear tiles.

    Haze over water alone looks like paler water. Training has to decide for one of them, and to
    change clear water is the worse mistake. So no haze is put over water, unless the configuration
    wants no tile without cloud.

    Args:
        clear: float32 (N, 3, H, W), model range.
        config: of the run; its seed, the epoch and the item define each cloud.
        epoch: of the run.
        items: index of each tile in the data.
        around: as for :func:`geodecloud.data.clouds.simulate_clouds`.
    """
    seed = config.training.seed
    if config.recipe == "article":
        return overlay_noise(clear, article_draw(seed, epoch, items).to(clear.device))
    draw = cloud_draw(seed, epoch, items).to(clear.device)
    return simulate_clouds(clear, draw, config.clouds, around, _without_haze(clear, config))


def cloud_names(clear: Tensor, config: Config, epoch: int, items: Sequence[int]) -> tuple[str, ...]:
    """Return the kind of cloud that :func:`put_clouds` puts over each tile."""
    if config.recipe == "article":
        return ("Perlin noise",) * len(items)
    draw = cloud_draw(config.training.seed, epoch, items).to(clear.device)
    kinds = draw_kind(draw, config.clouds, _without_haze(clear, config)).flatten().tolist()
    texts = [kind.text for kind in KINDS.values()]
    return tuple(texts[kind] for kind in kinds)


def _without_haze(clear: Tensor, config: Config) -> Tensor | None:
    """Return bool (N,), true for tiles over which no haze is put; None: for no tile."""
    return is_water(clear) if config.clouds.none > 0 else None


def model_input(clouded: Clouded, config: Config) -> Tensor:
    """Return the generator's input: cloudy tiles, and their dark object if the generator takes it.

    Returns:
        float32 (N, 3 or 6, H, W).
    """
    if not config.generator.dark_object:
        return clouded.cloudy
    return with_dark_object(clouded.cloudy, clouded.dark_object)


def _generator_losses(
    run: Run, clouded: Clouded, output: Tensor, adversarial_weight: float
) -> dict[str, tuple[float, Tensor]]:
    """Return each loss of the generator by name: its weight, and its value, a scalar."""
    plan = run.config.losses
    loss = restoration_loss(output[:, :3], clouded.target, clouded.opacity, plan)
    parts = {"restored": (plan.l1, loss)}
    if run.config.generator.opacity:
        loss = pinball(output[:, 3:], clouded.opacity, plan.opacity_quantile)
        parts["opacity"] = (plan.opacity, loss)
    if adversarial_weight > 0:
        parts["adversarial"] = (adversarial_weight, judge_restored(run, output[:, :3]))
    return parts
