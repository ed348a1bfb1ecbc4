"""The generator: a UNet that restores the ground and says how much cloud hid it."""

import torch
from torch import Tensor, nn


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm and ReLU; height and width stay."""

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
        """(N, channels_in, H, W) -> (N, channels_out, H, W)."""
        out: Tensor = self.layers(x)
        return out


class UNet(nn.Module):
    """UNet of four levels; 7.77 M parameters at ``width=32``, as in the article.

    Only BatchNorm, whose statistics are frozen when the generator restores: nothing may depend
    on the patch, or neighbouring windows would disagree along their seam.

    Args:
        width: channels of the first level; each level below has twice as many.
        opacity: with the fourth output channel, the opacity. Then the restored channels are a
            change to the input (zero change where there is no cloud is the easy answer);
            without it the network is the article's, whose output is the image itself.
    """

    def __init__(self, width: int = 32, *, opacity: bool = True) -> None:
        super().__init__()
        self.width, self.opacity = width, opacity
        widths = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(
            DoubleConv(a, b) for a, b in zip([3, *widths[:3]], widths[:4], strict=True)
        )
        self.bottom = DoubleConv(widths[3], widths[4])
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:4])
        )
        self.decoder = nn.ModuleList(DoubleConv(2 * w, w) for w in reversed(widths[:4]))
        self.head = nn.Conv2d(width, 4 if opacity else 3, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in model range -> (N, 4, H, W): restored R, G, B and opacity, 0..1.

        H and W are multiples of 16. Without ``opacity`` the result is (N, 3, H, W).
        """
        skips = []
        deep = x
        for level in self.encoder:
            deep = level(deep)  # (N, width * 2^i, H / 2^i, W / 2^i)
            skips.append(deep)
            deep = self.pool(deep)
        deep = self.bottom(deep)  # (N, 16 width, H/16, W/16)
        for up, level, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            deep = level(torch.cat([skip, up(deep)], dim=1))
        out: Tensor = self.head(deep).float()  # (N, 4 or 3, H, W); fp32 even under autocast
        if not self.opacity:
            return torch.sigmoid(out)
        restored = x + out[:, :3]
        return torch.cat([restored, torch.sigmoid(out[:, 3:])], dim=1)
