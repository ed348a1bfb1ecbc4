"""Narrow a generator: fewer channels, nearly the same answers.

Each layer keeps the channels from which the others are predicted best. A dropped one is predicted
from the kept ones by least squares, and the layers that read it get weights that do so (He et al.
2017, "Channel Pruning for Accelerating Very Deep Neural Networks"). The prediction has no constant
term: beyond the border of a window all channels are 0.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from geodecloud.errors import ModelError
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.unet import UNet
from geodecloud.training.saved_state import shape_differences

_INPUT, _HEAD = "input", "head"  # the generator's input and its last layer, beside the others
_RIDGE = 1e-7  # fraction of the mean square, added so that moments can be inverted
_TINY = 1e-12  # avoids a division by 0
_KNOWN = 1e-9  # fraction of a channel's mean square below which the chosen channels tell all of it


def is_narrower(plan: GeneratorPlan, wide: GeneratorPlan) -> bool:
    """Return whether the plans differ in widths alone, and no level of ``plan`` is wider."""
    ours, theirs = plan.level_widths, wide.level_widths
    if len(ours) != len(theirs) or ours == theirs:
        return False
    alike = dataclasses.replace(plan, width=wide.width, widths=wide.widths) == wide
    return alike and all(own <= other for own, other in zip(ours, theirs, strict=True))


@torch.no_grad()
def narrowed(wide: UNet, plan: GeneratorPlan, windows: Iterable[Tensor]) -> UNet:
    """Return a generator of a narrower plan that answers nearly as the wide one does.

    Args:
        wide: set to evaluate, and left so.
        windows: inputs of the generator, float32 (N, channels, H, W): they show what each channel
            says of the others.

    Raises:
        ModelError: ``plan`` is not narrower, ``upsample`` is not bilinear, or there are no windows.
    """
    if not is_narrower(plan, wide.plan) or plan.upsample != "bilinear":
        text = shape_differences(wide.plan, plan)
        raise ModelError(f"its generator cannot be narrowed ({text}); see widths in [generator]")
    narrow = UNet(plan)
    old, new = (dict(network.named_modules()) for network in (wide, narrow))
    parts = _parts(wide.eval(), windows)
    kept = {_INPUT: list(range(plan.channels)), _HEAD: list(range(plan.outputs))}
    for layer in parts:
        if layer != _HEAD:
            readers = [part for each in parts.values() for part in each if part.source == layer]
            kept[layer] = _most_telling(readers, new[layer].out_channels)
    for layer, sources in parts.items():
        weight = torch.cat([part.weight_for(kept[part.source]) for part in sources], dim=1)
        new[layer].weight.copy_(weight[kept[layer]])
        new[layer].bias.copy_(old[layer].bias[kept[layer]])
        block, _, place = layer.rpartition(".layers.")
        if block:
            norm = f"{block}.layers.{int(place) + 1}"
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(new[norm], name).copy_(getattr(old[norm], name)[kept[layer]])
    return narrow


@dataclass(frozen=True)
class _Part:
    """The channels of one layer as another layer reads them.

    source: the layer that they come from.
    moments: float64 (C, C), the mean product of each two channels over pixels.
    weight: float32 (channels out, C, K, K), of the layer that reads them.
    """

    source: str
    moments: Tensor
    weight: Tensor

    @property
    def importance(self) -> Tensor:
        """Float64 (C, C): the square of what an error of the channels changes in the reader."""
        weight = self.weight.double().transpose(0, 1).flatten(1)
        return weight @ weight.T

    def weight_for(self, kept: list[int]) -> Tensor:
        """Return the weight to read these channels alone: float32 (channels out, kept, K, K)."""
        if len(kept) == len(self.moments):
            return self.weight
        known = self.moments[kept][:, kept]
        ridge = _RIDGE * known.diagonal().mean() + _TINY
        inverted = known + ridge * torch.eye(len(kept), dtype=known.dtype)
        factors = torch.linalg.solve(inverted, self.moments[kept]).T  # (C, kept)
        return torch.einsum("ocij,ck->okij", self.weight, factors.float())


def _parts(wide: UNet, windows: Iterable[Tensor]) -> dict[str, tuple[_Part, ...]]:
    """Return by layer the parts of its input, measured on windows."""
    layers = dict(wide.named_modules())
    reads = _reads(wide.plan.depth)
    moments = _moments(wide, {name: layers[name] for name in reads}, windows)
    found = {}
    for layer, sources in reads.items():
        weight, first, parts = layers[layer].weight.detach().cpu(), 0, []
        for source in sources:
            count = wide.plan.channels if source == _INPUT else layers[source].out_channels
            some = slice(first, first + count)
            parts.append(_Part(source, moments[layer][some, some], weight[:, some]))
            first += count
        found[layer] = tuple(parts)
    return found


def _reads(depth: int) -> dict[str, tuple[str, ...]]:
    """Return by convolution, in the order of computation, the layers whose channels it reads."""
    reads: dict[str, tuple[str, ...]] = {}
    last = _INPUT
    for block in (*(f"encoder.{level}" for level in range(depth)), "bottom"):
        reads[f"{block}.layers.0"] = (last,)
        reads[f"{block}.layers.3"] = (f"{block}.layers.0",)
        last = f"{block}.layers.3"
    for i in range(depth):
        skip, block = f"encoder.{depth - 1 - i}.layers.3", f"decoder.{i}"
        reads[f"up.{i}.mix"] = (last,)
        reads[f"{block}.layers.0"] = (skip, f"up.{i}.mix")
        reads[f"{block}.layers.3"] = (f"{block}.layers.0",)
        last = f"{block}.layers.3"
    reads[_HEAD] = (last,)
    return reads


def _moments(
    network: UNet, layers: dict[str, nn.Module], windows: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Return the mean product of each two input channels of each layer, over all pixels."""
    products: dict[str, Tensor] = {}
    counts: dict[str, int] = defaultdict(int)

    def measure(name: str, given: Tensor) -> None:
        pixels = given.cpu().double().transpose(0, 1).flatten(1)  # (C, N * H * W)
        products[name] = products.get(name, 0) + pixels @ pixels.T
        counts[name] += pixels.shape[1]

    hooks = [
        layer.register_forward_pre_hook(lambda _, given, name=name: measure(name, given[0]))
        for name, layer in layers.items()
    ]
    try:
        for batch in windows:
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not products:
        raise ModelError("its generator cannot be narrowed without windows")
    return {name: total / counts[name] for name, total in products.items()}


def _most_telling(readers: list[_Part], count: int) -> list[int]:
    """Return the channels from which the others are predicted best, in ascending order.

    They are chosen one by one: each is the one that leaves the readers the smallest error.
    """
    width = len(readers[0].moments)
    if count == width:
        return list(range(width))
    unknown = [part.moments for part in readers]  # of what the chosen channels do not tell
    scales = [(part.importance * part.moments).sum() for part in readers]
    chosen: list[int] = []
    for _ in range(count):
        gain = torch.zeros(width, dtype=torch.float64)
        for part, rest, scale in zip(readers, unknown, scales, strict=True):
            power = rest.diagonal()
            told = (rest * (part.importance @ rest)).sum(dim=0) / power.clamp_min(_TINY)
            is_new = power > _KNOWN * part.moments.diagonal()
            gain += torch.where(is_new, told, 0) / scale.clamp_min(_TINY)
        gain[chosen] = -1
        best = int(gain.argmax())
        chosen.append(best)
        unknown = [
            rest - torch.outer(rest[:, best], rest[best]) / rest[best, best].clamp_min(_TINY)
            for rest in unknown
        ]
    return sorted(chosen)
