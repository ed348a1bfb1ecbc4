"""Log a run for TensorBoard."""

import math
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

_SCALARS = {
    "images_per_second": "speed/images_per_second",
    "learning_rate": "learning_rate/generator",
    "discriminator": "adversarial/discriminator",
    "adversarial": "adversarial/adversarial",
}


class Board:
    """The run's log in a folder of TensorBoard.

    Args:
        step: of the run. What the folder has of later steps is hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(folder, purge_step=step + 1)

    def log_losses(self, line: dict[str, float]) -> None:
        """Log a line of losses, learning rate and images per second."""
        for name, value in line.items():
            if name != "step":
                self._writer.add_scalar(_SCALARS.get(name, f"loss/{name}"), value, line["step"])

    def log_state(self, scores: dict[str, float], step: int, figure: Path) -> None:
        """Log scores on held-out land, and the figure of windows where there is one."""
        for name, value in scores.items():
            if math.isfinite(value):
                self._writer.add_scalar(f"score/{name}", value, step)
        if figure.exists():
            with Image.open(figure) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._writer.add_image("windows", pixels, step, dataformats="HWC")
        self._writer.flush()  # for those who watch

    def close(self) -> None:
        """Write what is held back, and end."""
        self._writer.close()
