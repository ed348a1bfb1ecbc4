"""Scores on held-out tiles under fixed clouds."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geodecloud.data.clouds import Clouded, draw_uniforms
from geodecloud.data.tiles import Tiles
from geodecloud.evaluation.metrics import ssim, to_psnr
from geodecloud.radiometry import eurosat_to_model
from geodecloud.settings import Policy
from geodecloud.training.state import Run
from geodecloud.training.step import answer, put_clouds, question

_EPOCH = 1 << 20  # its clouds are none that training ever sees
_OPAQUE, _CLEAR = 0.9, 1e-3  # opacity from which, and up to which


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
def answer_tiles(run: Run, tiles: Tiles, items: list[int]) -> Answered:
    """The tiles of these numbers under the clouds that validation always has."""
    device = run.processes.device
    uniforms = draw_uniforms(run.config.training.seed, _EPOCH, items).to(device)
    clear = torch.from_numpy(eurosat_to_model(tiles.pixels[items])).to(device)
    clouded = put_clouds(clear, uniforms, run.config)
    output = answer(run, run.average, question(clouded, run.config))
    opacity = output[:, 3:] if run.config.generator.opacity else output[:, :1] * torch.nan
    return Answered(clouded, output[:, :3].clamp(0, 1), opacity)


def validate(run: Run, held_out: Tiles) -> dict[str, float]:
    """PSNR in dB and SSIM of input and restored, over the held-out tiles.

    The PSNR is over the pixels whose ground can be seen (opacity below 0.9): what is invented
    below the others is nobody's to judge. ``changed_clear`` is the share of the pixels without
    cloud that the opacity would change, ``opacity_mae`` the mean error of the opacity; a
    generator without opacity has neither.
    """
    sums: dict[str, float] = defaultdict(float)
    size = run.config.training.batch_size
    for first in range(0, len(held_out), size):
        items = list(range(first, min(first + size, len(held_out))))
        clouded, restored, opacity = answer_tiles(run, held_out, items)
        seen, clear = clouded.opacity < _OPAQUE, clouded.opacity < _CLEAR
        parts = {
            "seen": 3 * seen,
            "input": seen * (clouded.cloudy - clouded.target).square(),
            "restored": seen * (restored - clouded.target).square(),
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
        "psnr_input": to_psnr(sums["input"] / max(sums["seen"], 1)),
        "psnr_restored": to_psnr(sums["restored"] / max(sums["seen"], 1)),
        "ssim_input": sums["ssim_input"] / len(held_out),
        "ssim_restored": sums["ssim_restored"] / len(held_out),
    }
    if run.config.generator.opacity:
        scores["opacity_mae"] = sums["opacity"] / sums["pixels"]
        scores["changed_clear"] = sums["changed"] / max(sums["clear"], 1)
    return scores


def _ssim(images: Tensor, truths: Tensor) -> Tensor:
    pairs = zip(images.cpu().numpy(), truths.cpu().numpy(), strict=True)
    valid = np.ones(images.shape[-2:], bool)
    return torch.tensor([ssim(image, truth, valid) for image, truth in pairs])
