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
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.device import fast_bf16
from geodecloud.model.inference import folded, forward_of
from geodecloud.settings import Precision


class Teacher:
    """The model that a run starts with.

    Args:
        model: its file.
        plan: of the run's generator.
        device: the run's device.
        windows: of a batch.

    Raises:
        ModelError: the file cannot be read, or its generator is not as the run's.
    """

    def __init__(
        self, model: Path, plan: GeneratorPlan, device: torch.device, windows: int
    ) -> None:
        generator, _ = load_generator(model)
        if generator.plan != plan:
            raise ModelError(
                f"{model}: its generator is not as the recipe's, so its answers cannot be kept; "
                f"set keep = false in [schedule]"
            )
        network = folded(generator.eval().to(device))
        precision: Precision = "bf16" if fast_bf16(device) else "fp32"
        self._answer = forward_of(network, device, precision, windows)

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
