"""Plot the losses of a run, and windows before and after restoring, as the article does."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from geodecloud.training.judge import Examples

_LOSSES = ("restored", "colour", "opacity", "shadow")
_ADVERSARIAL = ("discriminator", "adversarial")
_SCORES = {"psnr_input": "under cloud", "psnr_restored": "restored"}
_FEW = 40  # number of points up to which each has a marker


def plot_losses(losses: list[dict[str, Any]], scores: list[dict[str, Any]], path: Path) -> None:
    """Plot losses and scores over the steps, and write a PNG.

    Args:
        losses: lines of ``losses.jsonl``.
        scores: lines of ``metrics.jsonl``.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _plot(left, losses, {name: name for name in _LOSSES})
    left.set(title="Losses of the generator", ylabel="loss")
    _plot(middle, losses, {name: name for name in _ADVERSARIAL})
    middle.set(title="Generator against discriminator", ylabel="loss", yscale="log")
    _plot(right, scores, _SCORES)
    right.set(title="Held-out land", ylabel="PSNR, dB (higher is better)")
    last = max([line["step"] for line in (*losses, *scores)], default=1)
    for axes in (left, middle, right):
        axes.set(xlabel="step", xlim=(0, 1.03 * last))
        axes.grid(alpha=0.3)
    _write(figure, path)


def _plot(axes: Axes, lines: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Plot a curve for each of ``names`` (name in the lines: label) that the lines have."""
    for name, label in names.items():
        points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        if points:
            marker = "." if len(points) <= _FEW else ""
            axes.plot(*zip(*points, strict=True), marker=marker, linewidth=1.2, label=label)
    if axes.lines:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "none yet", transform=axes.transAxes, ha="center", color="gray")


def plot_tiles(examples: Examples, path: Path) -> None:
    """Plot pictures, a row for each name and a column for each caption, and write a PNG.

    Light beyond the model range is shown white.
    """
    rows, captions = examples
    figure = Figure(figsize=(1.3 * len(captions), 1.35 * len(rows) + 0.3), layout="constrained")
    cells = figure.subplots(len(rows), len(captions), squeeze=False)
    for line, (name, pictures) in zip(cells, rows.items(), strict=True):
        for axes, picture in zip(line, pictures.cpu().clamp(0, 1).numpy(), strict=True):
            axes.imshow(np.moveaxis(picture, 0, -1).squeeze(), vmin=0, vmax=1, cmap="gray")
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    for axes, caption in zip(cells[0], captions, strict=True):
        axes.set_title(caption, fontsize=8)
    _write(figure, path)


def _write(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without a display."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)
