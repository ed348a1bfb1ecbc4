"""Scores on held-out tiles under fixed clouds."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geodecloud.composite import Rule
from geodecloud.metrics import ssim
from geodecloud.radiometry import eurosat_to_model
from geodecloud.training.clouds import Clouded, draw_uniforms
from geodecloud.training.run import Run
from geodecloud.training.step import answer, put_clouds
from geodecloud.training.tiles import Tiles

_EPOCH = 1 << 20  # its clouds are none that training ever sees


class Answered(NamedTuple):
    """Some tiles under cloud, and what the averaged generator makes of them.

    clouded: see there.
    restored: float32 (N, 3, H, W) in model range.
    opacity: float32 (N, 1, H, W), 0..1; NaN from a generator that does not know it.
    """

    clouded: Clouded
    restored: Tensor
    opacity: Tensor


@torch.inference_mode()
def answer_tiles(run: Run, tiles: Tiles, first: int, count: int) -> Answered:
    """Tiles ``first`` to ``first + count`` under the clouds that validation always has."""
    pixels = tiles.pixels[first : first + count]
    items = list(range(first, first + len(pixels)))
    device = run.processes.device
    uniforms = draw_uniforms(run.config.training.seed, _EPOCH, items).to(device)
    clear = torch.from_numpy(eurosat_to_model(pixels)).to(device)
    clouded = put_clouds(clear, uniforms, run.config)
    output = answer(run, run.average, clouded.cloudy)
    opacity = output[:, 3:] if run.config.generator.opacity else output[:, :1] * torch.nan
    return Answered(clouded, output[:, :3].clamp(0, 1), opacity)


def validate(run: Run, held_out: Tiles) -> dict[str, float]:
    """PSNR in dB and SSIM of input and restored, over all pixels of the held-out tiles.

    ``changed_clear`` is the share of the pixels without cloud that the opacity would change,
    ``opacity_mae`` the mean error of the opacity; a generator without opacity has neither.
    """
    sums: dict[str, list[float]] = {}
    size = run.config.training.batch_size
    for first in range(0, len(held_out), size):
        clouded, restored, opacity = answer_tiles(run, held_out, first, size)
        clear = clouded.opacity < 1e-3
        changed = (opacity > Rule().clear_below) & clear
        batch = {
            "input": (clouded.cloudy - clouded.target).square().mean((1, 2, 3)),
            "restored": (restored - clouded.target).square().mean((1, 2, 3)),
            "opacity_mae": (opacity - clouded.opacity).abs().mean((1, 2, 3)),
            "changed": changed.sum((1, 2, 3)),
            "clear": clear.sum((1, 2, 3)),
            "ssim_input": _ssim(clouded.cloudy, clouded.target),
            "ssim_restored": _ssim(restored, clouded.target),
        }
        for name, values in batch.items():
            sums.setdefault(name, []).extend(values.tolist())
    means = {name: float(np.mean(values)) for name, values in sums.items()}
    scores = {
        "psnr_input": -10 * float(np.log10(means["input"])),
        "psnr_restored": -10 * float(np.log10(means["restored"])),
        "ssim_input": means["ssim_input"],
        "ssim_restored": means["ssim_restored"],
    }
    if run.config.generator.opacity:
        scores["opacity_mae"] = means["opacity_mae"]
        scores["changed_clear"] = means["changed"] / max(means["clear"], 1e-9)
    return scores


def _ssim(images: Tensor, truths: Tensor) -> Tensor:
    pairs = zip(images.cpu().numpy(), truths.cpu().numpy(), strict=True)
    valid = np.ones(images.shape[-2:], bool)
    return torch.tensor([ssim(image, truth, valid) for image, truth in pairs])
