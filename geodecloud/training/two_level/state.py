"""Hold the state of a run at two levels: networks and optimizers."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from geodecloud.errors import ModelError
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.resnet import ResNet
from geodecloud.model.unet import UNet
from geodecloud.training.distributed import Processes
from geodecloud.training.state import DAMAGED, State
from geodecloud.training.two_level.narrow import is_narrower, narrowed
from geodecloud.training.two_level.recipe import Recipe, Schedule
from geodecloud.training.two_level.widen import with_new_channels


class Run(State):
    """State of a run at two levels.

    Args:
        recipe: with a precision that is not "auto".
        processes: of the run.
        data: digest of the training data.
        windows: returns inputs of the generator, float32 (N, 14, 64, 64), by which a wider model to
            start from is narrowed.
    """

    def __init__(
        self,
        recipe: Recipe,
        processes: Processes,
        data: str = "",
        windows: Callable[[], Iterable[Tensor]] = tuple,
    ) -> None:
        plan = recipe.schedule
        self._windows = windows
        super().__init__(recipe, plan, processes, data)
        self.config: Recipe = recipe
        torch.manual_seed(plan.seed)
        generator, average = UNet(recipe.generator), UNet(recipe.generator)
        self._set_networks(generator, average, ResNet(recipe.discriminator))
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

    @property
    def adversarial_weight(self) -> float:
        """Weight of the adversarial loss: 0 before the discriminator joins, then a ramp."""
        plan = self.config.schedule
        past = self.step - plan.join * plan.steps
        if past < 0 or plan.join == 1:
            return 0.0
        ramp = (past + 1) / max(plan.ramp * plan.steps, 1)
        return self.config.losses.adversarial * min(ramp, 1.0)

    def set_rates(self) -> None:
        """Set the rates of both optimizers for the current step."""
        plan = self.config.schedule
        rate = rate_at(self.step, plan)
        for optimizer, full in (
            (self.generator_optimizer, plan.rate),
            (self.discriminator_optimizer, plan.discriminator_rate),
        ):
            for group in optimizer.param_groups:
                group["lr"] = full * rate * group.get("times", 1.0)

    def start_from(self, model: Path) -> None:
        """Start from the generator of a model file, or from the networks of a state (``.pt``).

        Raises:
            ModelError: the file cannot be read, or its networks do not fit the recipe's.
        """
        if model.suffix == ".pt":
            self._start_from_state(model)
            return
        generator, info = load_generator(model)
        plan = self.config.generator
        try:
            if is_narrower(plan, generator.plan):
                generator = narrowed(generator, plan, self._windows())
            weights = with_new_channels(generator, plan).state_dict()
        except ModelError as error:
            raise ModelError(f"{model}: {error}") from error
        self.generator.load_state_dict(weights)
        self.average.load_state_dict(weights)
        self.started_from = info.metadata

    def _start_from_state(self, path: Path) -> None:
        """Start from generator, average and discriminator of a saved state, with new optimizers."""
        try:
            state = torch.load(path, map_location=self.processes.device, weights_only=True)
            for name in ("generator", "average", "discriminator"):
                getattr(self, name).load_state_dict(state[name])
        except DAMAGED as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise ModelError(
                f"{path}: damaged, or not the state of a run with these networks ({reason})"
            ) from error
        self.started_from = {"state": path.name, "steps": state["step"]}


def rate_at(step: int, plan: Schedule) -> float:
    """Return the factor of the full rate, 0..1: it rises, stays, then falls, all linearly."""
    left = (plan.steps - step) / max(plan.cooling * plan.steps, 1)
    return max(min((step + 1) / max(plan.warm_up, 1), 1.0, left), 0.0)
