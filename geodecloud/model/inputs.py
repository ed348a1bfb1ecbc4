"""Assemble the generator's input channels."""

import torch
from torch import Tensor

from geodecloud.model.config import GeneratorPlan
from geodecloud.radiometry import BRIGHTEST

COARSE = 5  # channels of the coarse answer: restored R, G, B, opacity, shadow


def generator_input(plan: GeneratorPlan, patches: Tensor, dark_object: Tensor) -> Tensor:
    """Return the generator's input, float32 (N, 3 to 14, H, W).

    Channels: R, G, B clipped to the model range; ``highlights``, log(light) / log(4) of light from
    1 to 4 times the model range; ``context``, the coarse answer; ``dark_object``. The plan decides
    which of the last three are present.

    Args:
        patches: (N, 3 or 8, H, W): R, G, B in model range, also above 1; then the coarse answer,
            which defaults to 0, unknown.
        dark_object: (3,), (N, 3) or (N, 3, 1, 1), of the patches' scenes, model range.
    """
    seen = patches[:, :3]
    channels = [seen.clamp(0, 1)]
    if plan.highlights:
        channels.append(seen.clamp(1, BRIGHTEST).log() / torch.tensor(BRIGHTEST).log())
    if plan.context:
        shape = len(seen), COARSE, *seen.shape[2:]
        channels.append(patches[:, 3:] if patches.shape[1] > 3 else seen.new_zeros(shape))
    if plan.dark_object:
        channels.append(dark_object.reshape(-1, 3, 1, 1).expand_as(seen))
    return torch.cat(channels, dim=1)
