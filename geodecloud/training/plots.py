"""Plot the losses of a run, and tiles before and after, as the article does."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

_PANELS = (
    ("losses", ("restored", "colour", "opacity", "shadow")),
    ("adversarial losses", ("discriminator", "adversarial")),
    ("PSNR on held-out tiles, dB", ("psnr_input", "psnr_restored")),
)


def plot_losses(lines: list[dict[str, Any]], path: Path) -> None:
    """Plot losses and scores over the steps, as PNG.

    Args:
        lines: of ``metrics.jsonl``.
    """
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, 3), _PANELS, strict=True):
        for name in names:
            points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", label=name)
                axes.legend()
        axes.set(title=title, xlabel="step")
    _write(figure, path)


def plot_tiles(rows: dict[str, Tensor], path: Path) -> None:
    """Plot pictures as PNG, a row for each name: float32 (N, 3 or 1, H, W), 0..1."""
    count = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.3 * count, 1.35 * len(rows)), layout="constrained")
    cells = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, pictures) in zip(cells, rows.items(), strict=True):
        for axes, picture in zip(line, pictures.cpu().numpy(), strict=True):
            axes.imshow(np.moveaxis(picture, 0, -1).squeeze(), vmin=0, vmax=1, cmap="gray")
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)
