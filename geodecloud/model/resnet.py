"""Define the discriminator: a ResNet that tells a clear tile from a restored one."""

from torch import Tensor, nn

from geodecloud.model.config import DiscriminatorPlan

_DEFAULT = DiscriminatorPlan()


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; ``stride`` divides height and width."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride),
                nn.BatchNorm2d(channels_out),
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


class ResNet(nn.Module):
    """ResNet; by default the article's, 5.04 M parameters.

    The output is a *logit*: the loss applies the sigmoid (``BCEWithLogits``).
    """

    def __init__(self, plan: DiscriminatorPlan = _DEFAULT) -> None:
        super().__init__()
        blocks, widths = plan.blocks, plan.widths
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        layers: list[nn.Module] = []
        channels = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(ResidualBlock(channels, width, stride))
                channels = width
        self.stages = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, H, W) in model range to (N,) logits; positive means a clear tile."""
        deep = self.stages(self.stem(x))  # (N, 256, H/16, W/16)
        out: Tensor = self.head(deep.mean(dim=(2, 3))).squeeze(1)
        return out
