"""Keep what a model knows while it learns new land.

A model tuned on new land alone forgets the rest. So windows without new land take the answers of
the starting model as their truth (Li and Hoiem 2016, "Learning without Forgetting").
"""

import dataclasses
from pathlib import Path

import torch

from geodecloud.data.two_level.synthesis import Batch
from geodecloud.errors import ModelError
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.inference import folded, forward_of
from geodecloud.training.two_level.state import Run


class Teacher:
    """The model that a run starts with.

    Args:
        model: its file.
        run: the run that it teaches, with a precision that is not "auto".

    Raises:
        ModelError: the file cannot be read, or its generator is not as the run's.
    """

    def __init__(self, model: Path, run: Run) -> None:
        generator, _ = load_generator(model)
        if generator.plan != run.config.generator:
            raise ModelError(
                f"{model}: its generator is not as the recipe's, so its answers cannot be kept; "
                f"set keep = false in [schedule]"
            )
        plan, device = run.config.schedule, run.processes.device
        network = folded(generator.eval().to(device))
        windows = plan.batch_size // run.processes.count
        self._answer = forward_of(network, device, plan.precision, windows)

    @torch.no_grad()
    def teach(self, batch: Batch) -> Batch:
        """Return the batch; its truth is this model's answer but for windows with new land."""
        known = ~batch.new_land
        truth = [batch.target.clone(), batch.opacity.clone(), batch.shadow.clone()]
        if known.any():
            answer = self._answer(batch.model_input[known])
            for part, channels in zip(truth, (slice(0, 3), slice(3, 4), slice(4, 5)), strict=True):
                part[known] = answer[:, channels].clamp(0, 1)
        target, opacity, shadow = truth
        return dataclasses.replace(batch, target=target, opacity=opacity, shadow=shadow)
