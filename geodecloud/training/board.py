"""Log a run for TensorBoard."""

import math
from pathlib import Path

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

_SCALARS = {  # TensorBoard's name of each number that is not a loss of the restored image
    "images_per_second": "speed/images_per_second",
    "learning_rate": "learning_rate/generator",
    "discriminator": "adversarial/discriminator",
    "adversarial": "adversarial/adversarial",
}


class Board:
    """The run's log in a folder of TensorBoard.

    Args:
        folder: made if it does not exist.
        step: of the run. TensorBoard hides what the folder holds of later steps.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = SummaryWriter(folder, purge_step=step + 1)

    def log_losses(self, line: dict[str, float]) -> None:
        """Log a line of ``losses.jsonl``: losses, learning rate, images per second."""
        for name, value in line.items():
            if name != "step":
                self._writer.add_scalar(_SCALARS.get(name, f"loss/{name}"), value, line["step"])

    def log_state(self, scores: dict[str, float], step: int, figure: Path) -> None:
        """Log scores on held-out land, and the figure of windows if it exists."""
        for name, value in scores.items():
            if math.isfinite(value):
                self._writer.add_scalar(f"score/{name}", value, step)
        if figure.exists():
            with Image.open(figure) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._writer.add_image("windows", pixels, step, dataformats="HWC")
        self._writer.flush()  # so that TensorBoard shows the scores while the run goes on

    def close(self) -> None:
        """Write what is buffered, and close the log."""
        self._writer.close()
