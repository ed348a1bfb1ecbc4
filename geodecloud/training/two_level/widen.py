"""Widen an older generator: the same weights, more inputs and outputs."""

import dataclasses

import torch
from torch import Tensor

from geodecloud.errors import ModelError
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.unet import UNet
from geodecloud.training.saved_state import shape_differences

_FIRST, _HEAD = "encoder.0.layers.0.weight", "head"  # names in the UNet's state_dict
_NEW_OUTPUT_BIAS = -2.0  # logit; its sigmoid is 0.12, where the gradient is still large
_GROUPS = {"highlights": 3, "context": 5, "dark_object": 3}  # channels after red, green and blue


def with_new_channels(old: UNet, plan: GeneratorPlan) -> UNet:
    """Return a generator of a wider plan that predicts what the old one does until it is trained.

    New inputs have weights of 0; new outputs are 0.12 everywhere.

    Raises:
        ModelError: the plans differ in more than inputs and shadow, or the new one has fewer.
    """
    wider = {name: getattr(plan, name) for name in (*_GROUPS, "shadow")}
    for name, value in wider.items():
        if getattr(old.plan, name) and not value:
            raise ModelError(f"its generator has {name}; set {name} = true in [generator]")
    if (same := dataclasses.replace(old.plan, **wider)) != plan:
        text = shape_differences(same, plan)
        raise ModelError(f"its generator has another shape ({text}); give its shape in [generator]")
    new = UNet(plan)
    weights = old.state_dict()
    weights[_FIRST] = _with_new_inputs(weights[_FIRST], old.plan, plan)
    more = plan.outputs - old.plan.outputs
    head, bias = weights[f"{_HEAD}.weight"], weights[f"{_HEAD}.bias"]
    weights[f"{_HEAD}.weight"] = torch.cat([head, head.new_zeros(more, *head.shape[1:])])
    weights[f"{_HEAD}.bias"] = torch.cat([bias, bias.new_full((more,), _NEW_OUTPUT_BIAS)])
    new.load_state_dict(weights)
    return new


def _with_new_inputs(kernel: Tensor, old: GeneratorPlan, new: GeneratorPlan) -> Tensor:
    """Return the first kernel (width, old channels, 3, 3) as (width, new channels, 3, 3).

    Weights of channels that only the new plan has are 0.
    """
    parts, first = [kernel[:, :3]], 3
    for name, count in _GROUPS.items():
        if getattr(old, name):
            parts.append(kernel[:, first : first + count])
            first += count
        elif getattr(new, name):
            parts.append(kernel.new_zeros(len(kernel), count, 3, 3))
    return torch.cat(parts, dim=1)
