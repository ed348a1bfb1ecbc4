"""Speed up the generator: fold BatchNorm and, on a CPU, pack the weights once for oneDNN.

By default PyTorch casts and packs the weights in every call, and autocast casts activations to fp32
and back. The packed generator gives the same numbers, and calls of few windows cost little more per
window than calls of many.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from geodecloud.model.unet import DoubleConv, UNet, Upsample
from geodecloud.settings import Precision

# float32 (N, channels, S, S) -> float32 (N, 3 to 5, S, S), both on the network's device.
Forward = Callable[[Tensor], Tensor]

_WINDOW = 64  # size in pixels for which the weights are packed; other sizes work, too
_EVEN = [1, 1]  # strides and dilations


def folded(generator: UNet) -> UNet:
    """Fold each BatchNorm into the convolution before it, in place: the same function, less work.

    The first and last layers stay in fp32 under autocast. They are a fifth of the work and
    nearly all of bf16's error (``benchmarks/PRECISION.md``).
    """
    blocks = [*generator.encoder, generator.bottom, *generator.decoder]
    for block in blocks:
        layers = block.layers
        for i in (0, 3):
            _fold(layers[i], layers[i + 1])
            layers[i + 1] = torch.nn.Identity()
    exact = ((blocks[0], 0), (blocks[0], 3), (blocks[1], 0), (blocks[1], 3), (blocks[-1], 3))
    for block, i in exact:
        block.layers[i] = _Exact(block.layers[i])
    return generator


@torch.no_grad()
def _fold(convolution: torch.nn.Conv2d, norm: torch.nn.BatchNorm2d) -> None:
    """Fold a BatchNorm into the convolution before it, in place, to save allocations."""
    assert convolution.bias is not None  # noqa: S101  for the type check
    assert norm.running_mean is not None  # noqa: S101
    assert norm.running_var is not None  # noqa: S101
    inverse = torch.rsqrt(norm.running_var + norm.eps)
    convolution.weight *= (norm.weight * inverse).reshape(-1, 1, 1, 1)
    convolution.bias.copy_(
        (convolution.bias - norm.running_mean) * inverse * norm.weight + norm.bias
    )


class _Exact(torch.nn.Module):
    """A module that runs in fp32, even under autocast."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Run the module in fp32."""
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.module(x.float())
        return out


def forward_of(network: UNet, device: torch.device, precision: Precision, windows: int) -> Forward:
    """Return a folded generator as a fast function.

    Args:
        network: the generator, on ``device``.
        precision: "fp32" or "bf16".
        windows: usual number of windows in a call.
    """
    if device.type == "cpu" and network.plan.upsample == "bilinear":
        try:
            packed = _Packed(network, precision, windows)
            side = 2**network.plan.depth
            with torch.inference_mode():
                packed(torch.zeros(1, network.plan.channels, side, side))
        except (AttributeError, RuntimeError):
            pass  # no oneDNN, or not in this precision on this processor
        else:
            return packed

    def autocast(batch: Tensor) -> Tensor:
        """Run the generator without packed weights."""
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            out: Tensor = network(batch.contiguous(memory_format=torch.channels_last))
        return out.float()

    return autocast


class _Packed:
    """A folded generator with packed weights on a CPU; computes the same as ``UNet.forward``."""

    def __init__(self, network: UNet, precision: Precision, windows: int) -> None:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32

        def convolution(module: torch.nn.Module, level: int, *, relu: bool) -> _Convolution:
            exact = isinstance(module, _Exact)
            shape = windows, _WINDOW >> level
            inner = module.module if exact else module
            return _Convolution(inner, torch.float32 if exact else dtype, shape, relu=relu)  # type: ignore[arg-type]

        def block(module: DoubleConv, level: int) -> list[_Convolution]:
            return [convolution(module.layers[i], level, relu=True) for i in (0, 3)]

        depth = network.plan.depth
        up: list[Upsample] = list(network.up)  # type: ignore[arg-type]
        self._encoder = [block(each, i) for i, each in enumerate(network.encoder)]  # type: ignore[arg-type]
        self._bottom = block(network.bottom, depth)
        self._mixes = [convolution(each.mix, depth - i, relu=False) for i, each in enumerate(up)]
        self._decoder = [
            block(each, depth - 1 - i)  # type: ignore[arg-type]
            for i, each in enumerate(network.decoder)
        ]
        self._head = _Convolution(network.head, torch.float32, (windows, _WINDOW), relu=False)
        self._opacity = network.plan.opacity

    def __call__(self, batch: Tensor) -> Tensor:
        """Restore a batch, see :data:`Forward`."""
        skips = []
        deep = batch.contiguous(memory_format=torch.channels_last)
        for first, second in self._encoder:
            deep = second(first(deep))
            skips.append(deep)
            deep = max_pool2d(deep, 2)
        first, second = self._bottom
        deep = second(first(deep))
        for mix, (first, second), skip in zip(
            self._mixes, self._decoder, reversed(skips), strict=True
        ):
            up = interpolate(mix(deep), scale_factor=2.0, mode="bilinear", align_corners=False)
            deep = second(first(torch.cat([skip.to(up.dtype), up], dim=1)))
        out = self._head(deep)
        if not self._opacity:
            return torch.sigmoid(out)
        return torch.cat([batch[:, :3] + out[:, :3], torch.sigmoid(out[:, 3:])], dim=1)


class _Convolution:
    """A convolution with weights packed by oneDNN, and its ReLU.

    Args:
        shape: number of windows in a call, and their height and width at this level.
    """

    def __init__(
        self,
        module: torch.nn.Conv2d,
        dtype: torch.dtype,
        shape: tuple[int, int],
        *,
        relu: bool,
    ) -> None:
        assert module.bias is not None  # noqa: S101  for the type check
        windows, side = shape
        self._padding = [module.kernel_size[0] // 2] * 2
        self._dtype, self._activation = dtype, "relu" if relu else "none"
        self._bias = module.bias.detach().to(dtype)
        weight = module.weight.detach().to(dtype).to_mkldnn()
        size = [windows, module.in_channels, side, side]
        self._weight: Tensor = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]
            weight, self._padding, _EVEN, _EVEN, 1, size
        )
        self._run = torch.ops.mkldnn._convolution_pointwise.default

    def __call__(self, x: Tensor) -> Tensor:
        """Return the convolution of x, through ReLU if set, in the weights' dtype."""
        out: Tensor = self._run(
            x.to(self._dtype),
            self._weight,
            self._bias,
            self._padding,
            _EVEN,
            _EVEN,
            1,
            self._activation,
            [],
            "",
        )
        return out
