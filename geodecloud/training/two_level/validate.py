"""Score the averaged generator on held-out land under fixed clouds."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

from geodecloud.data.two_level.cloud_layers import KIND_NAMES
from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.synthesis import Batch, make_batch
from geodecloud.evaluation.metrics import to_psnr
from geodecloud.settings import Policy
from geodecloud.training.judge import CLEAR, OPAQUE, Examples
from geodecloud.training.two_level.library import Library
from geodecloud.training.two_level.losses import Prediction
from geodecloud.training.two_level.state import Run
from geodecloud.training.two_level.step import predict_windows

_SEED = 1_000_003  # unlike a run's, so that training never sees these clouds
_BATCH_SIZE = 64
_EXAMPLES = 10


class WindowJudge:
    """Validator of a run at two levels, see :class:`geodecloud.training.judge.Judge`."""

    def __init__(self, run: Run, library: Library) -> None:
        self.run, self.library = run, library

    @torch.inference_mode()
    def scores(self) -> dict[str, float]:
        """Return the scores over the held-out windows of all levels.

        Returns:
            ``psnr_input``, ``psnr_restored``: dB, over the pixels whose ground can be seen (opacity
                below 0.9). Clear pixels are kept, as by restoring.
            ``opacity_mae``, ``shadow_mae``: mean absolute errors.
            ``changed_clear``: fraction of the pixels without cloud and shadow that restoring would
                change.
        """
        sums: dict[str, float] = defaultdict(float)
        for batch in self._batches():
            predicted = predict_windows(self.run, self.run.average, batch.model_input)
            seen, weight = batch.model_input[:, :3], _restored_weight(predicted)
            restored = torch.lerp(seen, predicted.restored.clamp(0, 1), weight)
            visible = (batch.opacity < OPAQUE).float()
            clear = torch.maximum(batch.opacity, batch.shadow) < CLEAR
            parts = {
                "visible": 3 * visible,
                "input": visible * (seen - batch.target).square(),
                "restored": visible * (restored - batch.target).square(),
                "pixels": torch.ones_like(weight),
                "opacity": (predicted.opacity - batch.opacity).abs(),
                "shadow": (predicted.shadow - batch.shadow).abs(),
                "clear": clear,
                "changed": clear & (weight > 0),
            }
            for name, values in parts.items():
                sums[name] += values.cpu().sum(dtype=torch.float64).item()
        return {
            "psnr_input": to_psnr(sums["input"] / max(sums["visible"], 1)),
            "psnr_restored": to_psnr(sums["restored"] / max(sums["visible"], 1)),
            "opacity_mae": sums["opacity"] / sums["pixels"],
            "shadow_mae": sums["shadow"] / sums["pixels"],
            "changed_clear": sums["changed"] / max(sums["clear"], 1),
        }

    @torch.inference_mode()
    def examples(self) -> Examples:
        """Return up to ten held-out windows, of all levels, before and after restoring."""
        batch = next(self._batches())
        chosen = torch.linspace(0, len(batch.level) - 1, min(_EXAMPLES, len(batch.level))).long()
        predicted = predict_windows(self.run, self.run.average, batch.model_input)
        rows = {
            "input": batch.model_input[:, :3],
            "target": batch.target,
            "generated": predicted.restored.clamp(0, 1),
            "opacity": predicted.opacity,
            "shadow": predicted.shadow,
        }
        chosen = chosen.to(batch.level.device)
        kinds, levels = batch.kind[chosen].tolist(), batch.level[chosen].tolist()
        captions = [
            f"{KIND_NAMES[kind]},\n{10 * level:g} m"
            for kind, level in zip(kinds, levels, strict=True)
        ]
        shown = {name: pictures[chosen] for name, pictures in rows.items()}
        return Examples(shown, tuple(captions))

    def _batches(self) -> Iterator[Batch]:
        """Yield the held-out windows, each time the same."""
        library, recipe = self.library, self.run.config
        count = recipe.schedule.validation_windows
        for first in range(0, count, _BATCH_SIZE):
            draw = Draw(_SEED, first, library.device)
            size = min(_BATCH_SIZE, count - first)
            yield make_batch(draw, library.held_out, library.bank, size, recipe.synthesis)


def _restored_weight(predicted: Prediction) -> Tensor:
    """Approximate the weight of the restored pixel by the default policy: float32 (N, 1, H, W).

    It is linear, and shadow has the ramp of opacity.
    """
    policy = Policy()
    found = torch.maximum(predicted.opacity, predicted.shadow)
    ramp = (found - policy.clear_below) / (policy.restored_above - policy.clear_below)
    return ramp.clamp(0, 1)
