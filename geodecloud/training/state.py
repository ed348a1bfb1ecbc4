"""Hold the state of a training run: networks, optimizers, schedules; save it and resume from it."""

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR, OneCycleLR

from geodecloud.errors import GeodecloudError, ModelError, OutputError
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.model_file import sha256_of
from geodecloud.model.resnet import ResNet
from geodecloud.model.unet import UNet, with_dark_object_input
from geodecloud.raster.atomic import atomic_write
from geodecloud.training.config import Config, Training
from geodecloud.training.distributed import Processes
from geodecloud.training.means import Means
from geodecloud.training.saved_state import (
    DAMAGED,
    NO_RESUME,
    NO_START,
    changed_values,
    is_origin,
    read_networks,
    read_state,
    shape_differences,
)

if TYPE_CHECKING:
    from geodecloud.training.two_level.recipe import Recipe, Schedule

_FACTS = ("step", "best", "data", "started_from")  # attributes that are saved beside the networks


class State:
    """Everything that a resumed run needs to be the same run.

    A subclass adds networks and optimizers; :meth:`save` saves all that have a ``state_dict``.

    Args:
        config: a run resumes only from a state of the same configuration.
        plan: the schedule of ``config``.
        processes: of the run.
        data: digest of the training data; a run resumes only from a state of the same data.

    Attributes:
        step: number of steps taken.
        average: the generator's weights, averaged over the steps.
        synchronised: generator and discriminator, with gradients averaged over the processes.
        best: the highest ``psnr_restored`` so far, dB.
        losses: their means since the last validation.
        started_from: metadata and SHA-256 of the model, or name, steps and SHA-256 of the state,
            that the run began with; None: random weights.
    """

    generator: UNet
    average: UNet
    discriminator: ResNet
    synchronised: dict[str, nn.Module]
    generator_optimizer: AdamW
    discriminator_optimizer: AdamW

    def __init__(
        self,
        config: "Config | Recipe",
        plan: "Training | Schedule",
        processes: Processes,
        data: str,
    ) -> None:
        self.config, self.plan, self.processes, self.data = config, plan, processes, data
        self.step, self.best = 0, -math.inf
        self.losses = Means()
        self.started_from: dict[str, Any] | None = None

    def _set_networks(self, generator: UNet, average: UNet, discriminator: ResNet) -> None:
        """Put the networks on the device; the average begins as a copy of the generator."""
        average.load_state_dict(generator.state_dict())
        average.requires_grad_(False).eval()
        for network in (generator, average, discriminator):
            network.to(self.processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.generator, self.average, self.discriminator = generator, average, discriminator
        self.synchronised = {
            "generator": self.processes.synchronise(generator),
            "discriminator": self.processes.synchronise(discriminator),
        }

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return self.plan.steps

    @property
    def batch_size(self) -> int:
        """Number of images of a step, over all processes."""
        return self.plan.batch_size

    @property
    def learning_rate(self) -> float:
        """The current learning rate of the generator."""
        return float(self.generator_optimizer.param_groups[0]["lr"])

    def start_from(self, path: Path) -> None:
        """Start from a model file, or from the networks of another run's state (``.pt``).

        Raises:
            GeodecloudError: its networks have another shape than the configuration's.
            ModelError: the file cannot be read.
        """
        start = self._start_from_state if path.suffix == ".pt" else self._start_from_model
        self.started_from = {**start(path), "sha256": sha256_of(path)}

    def _start_from_model(self, path: Path) -> dict[str, Any]:
        """Start from the weights of a model file, and return its metadata."""
        generator, info = load_generator(path)
        weights = self._fitted(generator, path).state_dict()
        self.generator.load_state_dict(weights)
        self.average.load_state_dict(weights)
        return info.metadata

    def _fitted(self, generator: UNet, path: Path) -> UNet:
        """Return the generator of a model file in the shape of the configuration's.

        Raises:
            GeodecloudError: it cannot be brought into that shape.
        """
        raise NotImplementedError

    def _start_from_state(self, path: Path) -> dict[str, Any]:
        """Start from the networks of a saved state, with new optimizers; return its origin."""
        state, generator, discriminator = read_networks(path, self.processes.device)
        texts = (
            shape_differences(generator, self.config.generator),
            shape_differences(discriminator, self.config.discriminator),
        )
        if differences := ", ".join(filter(None, texts)):
            raise ModelError(
                f"{path}: its networks have other shapes ({differences}); give these in the "
                "recipe, or start from last.safetensors beside it"
            )
        try:
            for name in ("generator", "average", "discriminator"):
                getattr(self, name).load_state_dict(state[name])
        except DAMAGED as error:
            raise ModelError(f"{path}: {NO_START}") from error
        origin = {"state": path.name, "steps": state["step"]}
        before = state["started_from"] or {}
        if "strength" in before:  # of the model that the other run has started from
            origin["strength"] = before["strength"]
        return origin

    def parts(self) -> dict[str, Any]:
        """Return networks, optimizers, schedules and the means of losses by name."""
        return {k: v for k, v in vars(self).items() if hasattr(v, "load_state_dict")}

    def save(self, path: Path) -> None:
        """Write the state; the file appears whole or not at all.

        Raises:
            OutputError: the file cannot be written, for example to a full disk.
        """
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {name: getattr(self, name) for name in _FACTS}
        state["config"] = self.config.to_dict()
        try:
            with atomic_write(path) as part, part.open("wb") as file:
                torch.save(state, file)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError for a full disk
            raise OutputError(f"{path}: cannot be written ({error})") from error

    def load(self, path: Path, start: Path | None = None) -> None:
        """Resume from a saved state of the same configuration, data and start.

        Args:
            start: file that the run must have started from; None: it is not checked.

        Raises:
            GeodecloudError: the file is damaged, or of another version, another configuration,
                other data or another start.
        """
        state = read_state(path, self.processes.device, NO_RESUME)
        if differences := changed_values(state["config"], self.config.to_dict()):
            text, narrower = ", ".join(differences), state["started_from"] and not start
            raise GeodecloudError(
                f"{path}: started with another configuration ({text}); "
                f"{'give the same `start`, or ' if narrower else ''}use another `out`"
            )
        if state["data"] != self.data:
            raise GeodecloudError(f"{path}: started with other training data; use another `out`")
        if start and not is_origin(start, state["started_from"]):
            raise GeodecloudError(
                f"{path}: started with other weights than {start}; give the same `start`, or use "
                "another `out`"
            )
        state.setdefault("losses", Means().state_dict())  # earlier versions did not save them
        try:
            for name in _FACTS:
                setattr(self, name, state[name])
            for name, part in self.parts().items():
                part.load_state_dict(state[name])
        except DAMAGED as error:
            raise ModelError(f"{path}: {NO_RESUME}") from error


class Run(State):
    """State of a run at one level.

    Args:
        config: with steps instead of epochs, and a precision that is not "auto".
        data: digest of the tiles.
    """

    def __init__(self, config: Config, processes: Processes, data: str = "") -> None:
        plan = config.training
        super().__init__(config, plan, processes, data)
        self.config: Config = config
        torch.manual_seed(plan.seed)
        generator, discriminator = UNet(config.generator), ResNet(config.discriminator)
        self._set_networks(generator, copy.deepcopy(generator), discriminator)
        self.generator_optimizer = AdamW(
            self.generator.parameters(), plan.generator_rate, weight_decay=plan.weight_decay
        )
        self.discriminator_optimizer = AdamW(
            self.discriminator.parameters(),
            plan.discriminator_rate,
            betas=(plan.discriminator_momentum, 0.999),
            weight_decay=plan.weight_decay,
        )
        self.schedule = self._schedule(self.generator_optimizer)
        self.discriminator_schedule = self._schedule(self.discriminator_optimizer)

    def _schedule(self, optimizer: AdamW) -> LRScheduler:
        """Return the schedule of an optimizer's rate, as the configuration names it."""
        plan = self.config.training
        if plan.schedule == "step":  # the article's StepLR(10, 0.1) over 15 epochs
            first = 0 if optimizer is self.generator_optimizer else plan.warm_up * plan.steps
            return MultiStepLR(optimizer, [max(math.ceil(plan.steps * 2 / 3 - first), 1)])
        if optimizer is self.generator_optimizer:
            steps = max(plan.steps, 11)  # torch divides by zero where the rise is one step
            return OneCycleLR(optimizer, plan.generator_rate, steps, pct_start=0.1)
        return MultiStepLR(optimizer, [plan.steps])  # a constant rate

    @property
    def adversarial_weight(self) -> float:
        """Weight of the adversarial loss: 0 during the warm-up, then a ramp to the full weight."""
        plan = self.config.training
        past = self.step / plan.steps - plan.warm_up
        if past < 0:
            return 0.0
        ramp = min(past / plan.adversarial_ramp, 1.0) if plan.adversarial_ramp else 1.0
        return self.config.losses.adversarial * ramp

    def _fitted(self, generator: UNet, path: Path) -> UNet:
        plan = self.config.generator
        if plan.dark_object and not generator.plan.dark_object:
            generator = with_dark_object_input(generator)
        if generator.plan != plan:
            text = shape_differences(generator.plan, plan)
            raise GeodecloudError(
                f"{path}: its generator has another shape ({text}); give its shape in [generator]"
            )
        return generator
