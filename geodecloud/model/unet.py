"""Define the generator: a UNet that restores the ground and estimates the cloud's opacity."""

import dataclasses
from itertools import pairwise

import torch
from torch import Tensor, nn

from geodecloud.model.config import GeneratorPlan

_DEFAULT = GeneratorPlan()


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm and ReLU, which keep height and width."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H, W)."""
        out: Tensor = self.layers(x)
        return out


class Upsample(nn.Module):
    """Doubling of height and width, with fewer channels, without a checkerboard.

    Interpolation and a 1x1 convolution instead of the article's transposed convolution, whose
    kernel leaves its grid where the land is invented (Odena et al., "Deconvolution and
    Checkerboard Artifacts", Distill 2016).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        # The convolution first: it commutes with the interpolation and is cheaper on few pixels.
        self.mix = nn.Conv2d(channels_in, channels_out, 1)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, 2 H, 2 W)."""
        out: Tensor = self.grow(self.mix(x))
        return out


class UNet(nn.Module):
    """UNet; with ``configs/article.toml`` the article's, 7.77 M parameters.

    The only normalisation is BatchNorm, with statistics frozen at inference: nothing may depend on
    the patch, or neighbouring windows would disagree along their seam.

    With ``opacity`` the head predicts a change to the input, so that no change is easy to learn,
    and a fourth channel, the opacity of the cloud. Without ``opacity`` the network is the
    article's, whose output is the image itself.
    """

    def __init__(self, plan: GeneratorPlan = _DEFAULT) -> None:
        super().__init__()
        self.plan = plan
        widths = plan.level_widths
        self.encoder = nn.ModuleList(
            DoubleConv(a, b) for a, b in pairwise([plan.channels, *widths[:-1]])
        )
        self.bottom = DoubleConv(*widths[-2:])
        self.up = nn.ModuleList(
            Upsample(below, w)
            if plan.upsample == "bilinear"
            else nn.ConvTranspose2d(below, w, 2, stride=2)
            for below, w in pairwise(widths[::-1])
        )
        self.decoder = nn.ModuleList(DoubleConv(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(widths[0], plan.outputs, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) in model range to (N, 4, H, W): restored R, G, B and opacity, 0..1.

        H and W are multiples of 2**depth. Without ``opacity`` the result is (N, 3, H, W), with
        ``shadow`` (N, 5, H, W): the shadow last, 0..1. With ``dark_object`` x is (N, 6, H, W), see
        :func:`with_dark_object`; with ``highlights`` and ``context`` too it is (N, 14, H, W), see
        :func:`geodecloud.model.inputs.generator_input`.
        """
        skips = []
        deep = x
        for level in self.encoder:
            deep = level(deep)  # (N, widths[i], H / 2^i, W / 2^i)
            skips.append(deep)
            deep = self.pool(deep)
        deep = self.bottom(deep)  # (N, widths[-1], H / 2^depth, W / 2^depth)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            deep = level(torch.cat([skip, up(deep)], dim=1))
        # The head runs in fp32 even under autocast: a step of bf16 is 5 DN at reflectance 0.1.
        with torch.autocast(deep.device.type, enabled=False):
            out: Tensor = self.head(deep.float())  # (N, 3 to 5, H, W)
        if not self.plan.opacity:
            return torch.sigmoid(out)
        restored = x[:, :3] + out[:, :3]
        return torch.cat([restored, torch.sigmoid(out[:, 3:])], dim=1)


def with_dark_object(tiles: Tensor, dark_object: Tensor) -> Tensor:
    """Append the dark object as channels: (N, 3, H, W), (N, 3) or (3,) -> (N, 6, H, W)."""
    return torch.cat([tiles, dark_object[..., None, None].expand_as(tiles)], dim=1)


def with_dark_object_input(generator: UNet) -> UNet:
    """Return the generator with a ``dark_object`` input whose weights are 0, so it is ignored."""
    wider = UNet(dataclasses.replace(generator.plan, dark_object=True))
    weights = generator.state_dict()
    first = "encoder.0.layers.0.weight"
    kernel = weights[first]  # (width, 3, 3, 3)
    wider.load_state_dict(weights | {first: torch.cat([kernel, kernel * 0], dim=1)})
    return wider
