"""Begin with an older generator: the same weights, more inputs and outputs."""

import dataclasses

import torch
from torch import Tensor

from geodecloud.errors import ModelError
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.unet import UNet

_FIRST, _HEAD = "encoder.0.layers.0.weight", "head"
_UNSEEN = -2.0  # logit with which a new output begins: 0.12, where a sigmoid still learns
_GROUPS = (
    ("highlights", 3),
    ("context", 5),
    ("dark_object", 3),
)  # inputs after red, green and blue


def widened(old: UNet, plan: GeneratorPlan) -> UNet:
    """Return a generator of another plan that answers as the old one until it is trained.

    New inputs have weights of 0, new outputs are unlikely everywhere.

    Raises:
        ModelError: the plans differ in more than inputs and outputs, or the new one has fewer.
    """
    same = {"highlights": plan.highlights, "context": plan.context, "dark_object": plan.dark_object}
    if dataclasses.replace(old.plan, **same, shadow=plan.shadow) != plan:  # type: ignore[arg-type]
        raise ModelError(f"a generator of {old.plan} cannot become one of {plan}")
    new = UNet(plan)
    weights = old.state_dict()
    weights[_FIRST] = _kernel(weights[_FIRST], old.plan, plan)
    more = plan.outputs - old.plan.outputs
    if more < 0:
        raise ModelError(f"a generator of {old.plan} cannot become one of {plan}")
    head, bias = weights[f"{_HEAD}.weight"], weights[f"{_HEAD}.bias"]
    weights[f"{_HEAD}.weight"] = torch.cat([head, head.new_zeros(more, *head.shape[1:])])
    weights[f"{_HEAD}.bias"] = torch.cat([bias, bias.new_full((more,), _UNSEEN)])
    new.load_state_dict(weights)
    return new


def _kernel(kernel: Tensor, old: GeneratorPlan, new: GeneratorPlan) -> Tensor:
    """Spread the first kernel (width, old channels, 3, 3) over the new plan's channels."""
    spread, taken = [kernel[:, :3]], 3
    for name, count in _GROUPS:
        there, wanted = getattr(old, name), getattr(new, name)
        if there and not wanted:
            raise ModelError(f"a generator with {name} cannot do without")
        if wanted:
            part = kernel[:, taken : taken + count]
            spread.append(part if there else kernel.new_zeros(len(kernel), count, 3, 3))
        taken += count * there
    return torch.cat(spread, dim=1)
