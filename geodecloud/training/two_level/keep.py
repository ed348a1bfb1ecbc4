"""Keep what a model knows while it learns new land and thin cloud.

A model tuned on a few kinds of windows forgets the rest. So in the rest it learns the answers of
the starting model (Li and Hoiem 2016, "Learning without Forgetting").
"""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from geodecloud.data.two_level.cloud_layers import HAZE
from geodecloud.data.two_level.synthesis import Batch
from geodecloud.errors import ModelError
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.inference import folded, forward_of
from geodecloud.training.saved_state import shape_differences
from geodecloud.training.two_level.losses import Prediction
from geodecloud.training.two_level.narrow import is_narrower
from geodecloud.training.two_level.state import Run

_THIN = (0.03, 0.6)  # greatest opacity of a window under thin cloud, from and to


class Teacher:
    """The model that a run starts from, whose answers the run keeps.

    Args:
        model: file of the model.
        run: the run to teach, with a precision that is not "auto".

    Raises:
        ModelError: the file cannot be read, or the run's generator has another shape and is not
            narrower.
    """

    def __init__(self, model: Path, run: Run) -> None:
        generator, _ = load_generator(model)
        ours = run.config.generator
        if generator.plan != ours and not is_narrower(ours, generator.plan):
            text = shape_differences(generator.plan, ours)
            raise ModelError(
                f"{model}: its answers cannot be kept, as its generator has another shape "
                f"({text}); set keep = false in [schedule]"
            )
        plan, device = run.config.schedule, run.processes.device
        network = folded(generator.eval().to(device))
        windows = plan.batch_size // run.processes.count
        self._predict = forward_of(network, device, plan.precision, windows)

    @torch.no_grad()
    def teach(self, batch: Batch) -> Batch:
        """Return the batch with this model's answers as truth, except for the windows to learn."""
        known = ~to_learn(batch)
        if not known.any():
            return batch
        answer = Prediction.of(self._predict(batch.model_input[known]).clamp(0, 1))
        target, opacity, shadow = batch.target.clone(), batch.opacity.clone(), batch.shadow.clone()
        target[known], opacity[known] = answer.restored, answer.opacity
        shadow[known] = answer.shadow
        return dataclasses.replace(batch, target=target, opacity=opacity, shadow=shadow)


def to_learn(batch: Batch) -> Tensor:
    """Return which windows learn the truth, bool (N,).

    These are new land, and thin cloud other than uniform haze. Nothing in a window tells haze
    from pale ground, so a model that is taught the truth of haze finds less of it.
    """
    greatest = batch.opacity.amax(dim=(1, 2, 3))
    thin = (greatest > _THIN[0]) & (greatest < _THIN[1]) & (batch.kind != HAZE)
    return batch.new_land | thin
