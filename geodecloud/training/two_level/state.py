"""Hold the state of a run at two levels: networks and optimizers."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from geodecloud.errors import ModelError
from geodecloud.model.resnet import ResNet
from geodecloud.model.unet import UNet
from geodecloud.training.distributed import Processes
from geodecloud.training.state import State
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

    def _fitted(self, generator: UNet, path: Path) -> UNet:
        plan = self.config.generator
        try:
            if is_narrower(plan, generator.plan):
                generator = narrowed(generator, plan, self._windows())
            return with_new_channels(generator, plan)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error


def rate_at(step: int, plan: Schedule) -> float:
    """Return the factor of the full rate, 0..1: it rises, stays, then falls, all linearly."""
    left = (plan.steps - step) / max(plan.cooling * plan.steps, 1)
    return max(min((step + 1) / max(plan.warm_up, 1), 1.0, left), 0.0)
