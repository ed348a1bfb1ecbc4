"""A training run from its first step to its last, through interruptions."""

import dataclasses
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import FieldBank
from geodecloud.data.two_level.land import Land
from geodecloud.data.two_level.synthesis import Batch, make_batch
from geodecloud.errors import DataError
from geodecloud.model.checkpoint import load_generator, save_generator
from geodecloud.model.resnet import ResNet
from geodecloud.model.unet import UNet
from geodecloud.training.two_level.losses import Answer, generator_losses
from geodecloud.training.two_level.recipe import Recipe, Schedule
from geodecloud.training.two_level.widen import widened

_LINE_EVERY = 10.0  # seconds from one printed line to the next


@dataclass(frozen=True)
class Library:
    """All that windows are made of, on one device."""

    land: Land
    bank: FieldBank

    @property
    def device(self) -> torch.device:
        """Return the device."""
        return self.bank.values.device


class Run:
    """Networks, optimisers and the step; everything that a resumed run needs."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.schedule.seed)
        self.recipe, self.device, self.step = recipe, device, 0
        self.generator = UNet(recipe.generator)
        self.average = UNet(recipe.generator).eval().requires_grad_(False)
        self.average.load_state_dict(self.generator.state_dict())
        self.discriminator = ResNet(recipe.discriminator)
        for network in (self.generator, self.average, self.discriminator):
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        plan = recipe.schedule
        head = list(self.generator.head.parameters())
        body = [part for name, part in self.generator.named_parameters() if "head" not in name]
        self.generator_optimizer = torch.optim.AdamW(
            [{"params": body, "times": 1.0}, {"params": head, "times": plan.head_rate}],
            plan.rate,
            weight_decay=plan.weight_decay,
        )
        self.discriminator_optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), plan.discriminator_rate, betas=(0.5, 0.999)
        )
        self._parts = {
            name: getattr(self, name)
            for name in (
                "generator",
                "average",
                "discriminator",
                "generator_optimizer",
                "discriminator_optimizer",
            )
        }

    def save(self, out: Path) -> None:
        """Write state (``last.pt``) and model (``step_N.safetensors``, averaged weights)."""
        about = {"recipe": dataclasses.asdict(self.recipe), "steps": self.step}
        save_generator(self.average, out / f"step_{self.step:06d}.safetensors", about)
        state = {name: part.state_dict() for name, part in self._parts.items()}
        torch.save(state | {"step": self.step}, out / "last.tmp")
        (out / "last.tmp").replace(out / "last.pt")

    def start_from(self, path: Path) -> None:
        """Begin with the networks of a saved state, or with the generator of a model file."""
        if path.suffix == ".pt":
            self.load(path, only_networks=True)
            return
        weights = widened(load_generator(path)[0], self.recipe.generator).state_dict()
        self.generator.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def load(self, path: Path, *, only_networks: bool = False) -> None:
        """Go on from a saved state, or begin anew with its networks alone."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        for name, part in self._parts.items():
            if not (only_networks and name.endswith("optimizer")):
                part.load_state_dict(state[name])
        self.step = 0 if only_networks else state["step"]


def train(run: Run, library: Library, out: Path) -> None:
    """Train from the run's step to the last one; one line of losses every ten seconds."""
    out.mkdir(parents=True, exist_ok=True)
    plan, sums, count = run.recipe.schedule, defaultdict[str, float](float), 0
    begun = saved = shown = time.monotonic()
    first = run.step
    for batch in _batches(run, library):
        for name, value in train_step(run, batch).items():
            sums[name] += value
        count += 1
        now = time.monotonic()
        if now - shown >= _LINE_EVERY or run.step == plan.steps:
            speed = (run.step - first) * plan.batch_size / (now - begun)
            line = {"step": run.step, "windows/s": round(speed, 1)}
            print(json.dumps(line | {k: round(v / count, 4) for k, v in sums.items()}), flush=True)  # noqa: T201
            shown, count = now, 0
            sums.clear()
        if now - saved >= plan.save_every or run.step == plan.steps:
            run.save(out)
            saved = now


def _batches(run: Run, library: Library) -> Iterator[Batch]:
    """Make the batch of each step that is left."""
    recipe = run.recipe
    while run.step < recipe.schedule.steps:
        draw = Draw(recipe.schedule.seed, run.step, library.device)
        yield make_batch(
            draw, library.land, library.bank, recipe.schedule.batch_size, recipe.synthesis
        )


def train_step(run: Run, batch: Batch) -> dict[str, float]:
    """Update the generator, and the discriminator where it has joined; returns the losses.

    Raises:
        DataError: a loss is not finite.
    """
    plan, recipe = run.recipe.schedule, run.recipe
    rate = rate_at(run.step, plan)
    for optimizer, full in (
        (run.generator_optimizer, plan.rate),
        (run.discriminator_optimizer, plan.discriminator_rate),
    ):
        for group in optimizer.param_groups:
            group["lr"] = full * rate * group.get("times", 1.0)
    run.generator.train(not plan.frozen_statistics)
    answer = ask(run.generator, batch.model_input)
    losses = generator_losses(answer, batch, recipe.losses)
    judged: dict[str, float] = {}
    if 0 <= plan.join <= run.step:
        fine = batch.level == 1
        judged["discriminator"] = _discriminator_step(run, answer, batch, fine)
        run.discriminator.requires_grad_(False)
        logits = _autocast(run.discriminator, answer.restored[fine])
        run.discriminator.requires_grad_(True)
        losses["adversarial"] = recipe.losses.adversarial * _bce(logits, real=True)
    loss = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(loss):
        raise DataError(f"step {run.step}: the loss is {loss.item()}; lower the rate")
    run.generator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.generator.parameters(), plan.clip_gradient)
    run.generator_optimizer.step()
    run.step += 1
    _follow(run.average, run.generator, min(plan.ema_decay, run.step / (run.step + 10)))
    return {name: part.item() for name, part in losses.items()} | judged


def ask(generator: nn.Module, model_input: Tensor) -> Answer:
    """Run the generator in bf16 and part its channels."""
    out = _autocast(generator, model_input.contiguous(memory_format=torch.channels_last))
    return Answer(out[:, :3], out[:, 3:4], out[:, 4:5])


def rate_at(step: int, plan: Schedule) -> float:
    """Return the share of the full rate: rising, level, then falling in a straight line."""
    left = (plan.steps - step) / max(plan.cooling * plan.steps, 1)
    return max(min((step + 1) / max(plan.warm_up, 1), 1.0, left), 0.0)


def _discriminator_step(run: Run, answer: Answer, batch: Batch, fine: Tensor) -> float:
    """Teach the discriminator to tell clear windows from restored ones."""
    both = torch.cat([batch.target[fine], answer.restored[fine].detach()])
    real, restored = _autocast(run.discriminator, both).chunk(2)
    loss = (_bce(real, real=True) + _bce(restored, real=False)) / 2
    run.discriminator_optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    run.discriminator_optimizer.step()
    return loss.item()


def _bce(logits: Tensor, *, real: bool) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(
        logits, torch.full_like(logits, float(real))
    )


def _autocast(network: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16):
        out: Tensor = network(x)
    return out.float()


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average of weights and statistics towards the network."""
    theirs = network.state_dict()
    for name, ours in average.state_dict().items():
        if ours.is_floating_point():
            ours.lerp_(theirs[name], 1 - decay)
        else:
            ours.copy_(theirs[name])
