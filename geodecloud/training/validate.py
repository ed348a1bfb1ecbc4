"""Score the averaged generator on held-out tiles under fixed clouds."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geodecloud.data.clouds import Clouded
from geodecloud.data.tiles import Tiles
from geodecloud.evaluation.metrics import ssim, to_psnr
from geodecloud.radiometry import eurosat_to_model
from geodecloud.settings import Policy
from geodecloud.training.judge import CLEAR, OPAQUE, Examples
from geodecloud.training.loader import RunTiles
from geodecloud.training.state import Run
from geodecloud.training.step import cloud_names, model_input, put_clouds
from geodecloud.training.update import predict

_EPOCH = 1 << 20  # training never reaches this epoch, so it never sees its clouds
_FIGURE_TILES = 10


class RestoredTiles(NamedTuple):
    """Tiles under cloud, restored by the averaged generator.

    clouded: the tiles before restoring, and the truth.
    restored: float32 (N, 3, H, W) in model range.
    opacity: float32 (N, 1, H, W), 0..1; NaN from a generator without opacity.
    """

    clouded: Clouded
    restored: Tensor
    opacity: Tensor


class TileJudge:
    """Validator of a run at one level, see :class:`geodecloud.training.judge.Judge`."""

    def __init__(self, run: Run, data: RunTiles) -> None:
        self.run, self.held_out, self.tiles = run, data.held_out, len(data.training)

    def scores(self) -> dict[str, float]:
        """Return the scores of :func:`validate`, and the epoch."""
        epoch = self.run.step * self.run.config.training.batch_size / self.tiles
        return {"epoch": round(epoch, 3), **validate(self.run, self.held_out)}

    def examples(self) -> Examples:
        """Return ten held-out tiles before and after restoring."""
        count = min(_FIGURE_TILES, len(self.held_out))
        shown = np.linspace(0, len(self.held_out) - 1, count).astype(int).tolist()
        tiles = restore_tiles(self.run, self.held_out, shown)
        rows = {"input": tiles.clouded.cloudy, "target": tiles.clouded.target}
        rows["generated"] = tiles.restored
        if self.run.config.generator.opacity:
            rows["opacity"] = tiles.opacity
        clear = _clear_tiles(self.run, self.held_out, shown)
        return Examples(rows, cloud_names(clear, self.run.config, _EPOCH, shown))


@torch.inference_mode()
def restore_tiles(run: Run, tiles: Tiles, items: list[int]) -> RestoredTiles:
    """Restore some tiles under the clouds of validation, which are always the same.

    Args:
        items: indices of the tiles.
    """
    clouded = put_clouds(_clear_tiles(run, tiles, items), run.config, _EPOCH, items)
    output = predict(run, run.average, model_input(clouded, run.config))
    opacity = output[:, 3:] if run.config.generator.opacity else output[:, :1] * torch.nan
    return RestoredTiles(clouded, output[:, :3].clamp(0, 1), opacity)


def _clear_tiles(run: Run, tiles: Tiles, items: list[int]) -> Tensor:
    """Return some tiles on the run's device: float32 (N, 3, 64, 64), model range."""
    return torch.from_numpy(eurosat_to_model(tiles.pixels[items])).to(run.processes.device)


def validate(run: Run, held_out: Tiles) -> dict[str, float]:
    """Return the scores of the averaged generator over the held-out tiles.

    Returns:
        ``psnr_input``, ``psnr_restored``: dB, over the pixels whose ground can be seen (opacity
            below 0.9); below the others it is invented.
        ``ssim_input``, ``ssim_restored``: means over the tiles.
        ``opacity_mae``: mean absolute error of the opacity.
        ``changed_clear``: fraction of the pixels without cloud that restoring would change.

        A generator without opacity has neither of the last two.
    """
    sums: dict[str, float] = defaultdict(float)
    size = run.config.training.batch_size
    for first in range(0, len(held_out), size):
        items = list(range(first, min(first + size, len(held_out))))
        clouded, restored, opacity = restore_tiles(run, held_out, items)
        visible, clear = clouded.opacity < OPAQUE, clouded.opacity < CLEAR
        parts = {
            "visible": 3 * visible,
            "input": visible * (clouded.cloudy - clouded.target).square(),
            "restored": visible * (restored - clouded.target).square(),
            "pixels": torch.ones_like(opacity),
            "opacity": (opacity - clouded.opacity).abs(),
            "clear": clear,
            "changed": clear & (opacity > Policy().clear_below),
            "ssim_input": _ssim(clouded.cloudy, clouded.target),
            "ssim_restored": _ssim(restored, clouded.target),
        }
        for name, values in parts.items():
            sums[name] += values.cpu().sum(dtype=torch.float64).item()
    scores = {
        "psnr_input": to_psnr(sums["input"] / max(sums["visible"], 1)),
        "psnr_restored": to_psnr(sums["restored"] / max(sums["visible"], 1)),
        "ssim_input": sums["ssim_input"] / len(held_out),
        "ssim_restored": sums["ssim_restored"] / len(held_out),
    }
    if run.config.generator.opacity:
        scores["opacity_mae"] = sums["opacity"] / sums["pixels"]
        scores["changed_clear"] = sums["changed"] / max(sums["clear"], 1)
    return scores


def _ssim(images: Tensor, truths: Tensor) -> Tensor:
    """Return the SSIM of each image: (N, 3, H, W) each -> (N,)."""
    pairs = zip(images.cpu().numpy(), truths.cpu().numpy(), strict=True)
    valid = np.ones(images.shape[-2:], bool)
    return torch.tensor([ssim(image, truth, valid) for image, truth in pairs])
