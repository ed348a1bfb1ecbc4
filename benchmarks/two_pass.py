"""Restore a picture in two passes, coarse and fine: a prototype in torch and numpy.

The passes are computed once (:func:`run_passes`); how they are combined (:class:`Combination`) can
then be varied without the network.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from geodecloud.data.two_level.synthesis import model_input
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.unet import UNet
from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.restore.blend import ramp_weights
from geodecloud.restore.windows import WindowGrid

Image = NDArray[np.float32]
GRID = WindowGrid(64, 16)
POOL = 4
_SMALLEST = 128  # pixels; smaller scenes have no coarse pass
_GRAIN = 64  # windows in one call of the network


@dataclass(frozen=True)
class Passes:
    """What the network says of a scene; float32.

    seen: (3, H, W), the scene in model range, beyond 1 too.
    valid: bool (H, W).
    coarse_seen: (3, h, w), means of 4x4 pixels; None for small scenes.
    coarse: (5, h, w), restored, opacity, shadow; None for small scenes.
    told, untold: (5, H, W), the fine pass with and without the coarse answer; told is None where
        there is none.
    """

    seen: Image
    valid: NDArray[np.bool_]
    coarse_seen: Image | None
    coarse: Image | None
    told: Image | None
    untold: Image | None


@dataclass(frozen=True)
class Combination:
    """How the passes become one picture.

    fine: which fine pass counts: "told", "untold", "least" or "most" of both, "none".
    coarse: whether the coarse pass counts where its opacity is the stronger.
    ramp: opacity where pixels begin to change, and where they change wholly.
    shadow_ramp: the same for shadow; None: shadows are kept.
    gate: coarse opacity above which fine windows count; 0: everywhere.
    shadow_gate: coarse shadow above which they do too.
    margin: pixels by which the gate is widened.
    opaque: opacity where land begins to be filled, and where it is filled wholly.
    """

    fine: str = "told"
    coarse: bool = True
    ramp: tuple[float, float] = (0.03, 0.12)
    shadow_ramp: tuple[float, float] | None = (0.20, 0.40)
    gate: float = 0.05
    shadow_gate: float = 0.25
    margin: int = 20
    opaque: tuple[float, float] = (0.35, 0.60)


@dataclass(frozen=True)
class Restored:
    """A restored picture (3, H, W), its opacity, shadow and gate (H, W)."""

    picture: Image
    opacity: Image
    shadow: Image
    gate: NDArray[np.bool_]


class Network:
    """A generator that reads a scene's windows and blends its answers."""

    def __init__(self, model: Path) -> None:
        self.generator: UNet = load_generator(model)[0]
        self.generator.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, seen: Image, told: Image | None, dark: Image) -> Image:
        """(3, H, W), the coarse answer (5, H, W) or None, and (3,) -> (5, H, W)."""
        height, width = seen.shape[1:]
        told = np.zeros((5, height, width), np.float32) if told is None else told
        after = [(0, 0), (0, max(0, 64 - height)), (0, max(0, 64 - width))]
        both = np.pad(np.concatenate([seen, told]), after, mode="symmetric")
        seen = both[:3]
        corners = [(t, c) for t in GRID.starts(seen.shape[1]) for c in GRID.starts(seen.shape[2])]
        ramp = ramp_weights(GRID)
        weight = ramp[:, None] * ramp[None]
        total = np.zeros((5, *seen.shape[1:]), np.float32)
        weights = np.zeros(seen.shape[1:], np.float32)
        for first in range(0, len(corners), _GRAIN):
            part = corners[first : first + _GRAIN]
            windows = np.stack([both[:, t : t + 64, c : c + 64] for t, c in part])
            for (t, c), answer in zip(part, self.windows(windows, dark), strict=True):
                total[:, t : t + 64, c : c + 64] += answer * weight
                weights[t : t + 64, c : c + 64] += weight
        blended: Image = (total / weights)[:, :height, :width]
        return blended

    @torch.inference_mode()
    def windows(self, windows: Image, dark: Image) -> Image:
        """Run the network on windows (N, 8, 64, 64) and dark objects (3,) or (N, 3)."""
        x = torch.from_numpy(windows)
        light = torch.from_numpy(dark).view(-1, 3, 1, 1)
        full = model_input(x[:, :3], x[:, 3:], light)
        if not self.generator.plan.dark_object:
            full = full[:, :11]
        with torch.autocast("cpu", torch.bfloat16):
            out = self.generator(full.contiguous(memory_format=torch.channels_last))
        answer: Image = out.float().numpy()
        return answer


def run_passes(
    network: Network,
    seen: Image,
    valid: NDArray[np.bool_],
    *,
    which: tuple[str, ...] = ("told", "untold"),
) -> Passes:
    """Run the coarse pass and the fine ones over a whole scene."""
    seen = np.where(valid, seen, 0).astype(np.float32)
    light = dark_object(seen, valid)
    if min(seen.shape[1:]) < _SMALLEST:
        return Passes(seen, valid, None, None, None, network(seen, None, light))
    coarse_seen = pooled(seen, valid)
    coarse = network(coarse_seen, None, light)
    coarse[:3] = coarse[:3].clip(0, 1)
    told = untold = None
    if "told" in which:
        told = network(seen, enlarged(coarse, seen.shape[1:]), light)
    if "untold" in which:
        untold = network(seen, None, light)
    return Passes(seen, valid, coarse_seen, coarse, told, untold)


def dark_object(seen: Image, valid: NDArray[np.bool_]) -> Image:
    """Return a scene's darkest light, (3,): 1st percentiles; of a small one at most L1C's."""
    own = np.percentile(seen[:, valid], 1, axis=1).clip(0, 1).astype(np.float32)
    if valid.sum() < _SMALLEST**2:
        own = np.minimum(own, np.array(L1C_DARK_OBJECT, np.float32))
    return own


def pooled(light: Image, valid: NDArray[np.bool_]) -> Image:
    """Return the means of the valid ones of 4x4 pixels, the last ones of fewer."""
    height, width = light.shape[1:]
    after = [(0, -height % POOL), (0, -width % POOL)]
    weight = np.pad(valid.astype(np.float32), after)
    padded = np.pad(light * valid, [(0, 0), *after])
    shape = (weight.shape[0] // POOL, POOL, weight.shape[1] // POOL, POOL)
    counts = weight.reshape(shape).sum(axis=(1, 3))
    sums = padded.reshape(-1, *shape).sum(axis=(2, 4))
    return (sums / np.maximum(counts, 1)).astype(np.float32)


def enlarged(small: Image, shape: tuple[int, ...]) -> Image:
    """Enlarge (C, h, w) four times, bilinear, and cut to (C, H, W)."""
    whole = torch.nn.functional.interpolate(
        torch.from_numpy(small)[None], scale_factor=POOL, mode="bilinear", align_corners=False
    )
    return whole[0, :, : shape[0], : shape[1]].numpy()


def combine(passes: Passes, how: Combination) -> Restored:
    """Make one picture of the passes: restored by the ramps, filled where it is opaque."""
    shape = passes.seen.shape[1:]
    shown = passes.seen.clip(0, 1)
    answer = _fine(passes, how.fine).copy()
    gate = np.ones(shape, bool)
    if passes.coarse is not None and passes.coarse_seen is not None:
        coarse = enlarged(passes.coarse, shape)
        if how.gate:
            most = passes.coarse[3] > how.gate
            if how.shadow_ramp:
                most |= passes.coarse[4] > how.shadow_gate
            radius = max(1, round(how.margin / POOL))
            wide = ndimage.binary_dilation(most, _disc(radius))
            gate = enlarged(wide[None].astype(np.float32), shape)[0] > 0.5
            answer[3:] *= gate
        if how.coarse or how.fine == "none":
            answer = _stronger(answer, _coarse_at_fine(passes, coarse, shown))
    opacity, shadow = answer[3], answer[4]
    weight = ramp(opacity, how.ramp)
    if how.shadow_ramp:
        weight = np.maximum(weight, ramp(shadow, how.shadow_ramp))
    weight = weight * passes.valid
    picture = passes.seen + weight * (answer[:3].clip(0, 1) - shown)
    fill_weight = ramp(opacity, how.opaque) * passes.valid
    if fill_weight.any():
        fill = _fill(picture, opacity, passes.valid)
        picture = np.where(fill_weight > 0, picture + fill_weight * (fill - picture), picture)
    return Restored(picture.astype(np.float32), opacity, shadow, gate)


def ramp(value: Image, ends: tuple[float, float]) -> Image:
    """0 below the first end, 1 above the second, straight between."""
    return ((value - ends[0]) / (ends[1] - ends[0])).clip(0, 1)


def _fine(passes: Passes, which: str) -> Image:
    told, untold = passes.told, passes.untold
    if which == "none":
        return np.concatenate([passes.seen, np.zeros_like(passes.seen[:2])])
    if told is None or which == "untold":
        assert untold is not None
        return untold
    if which == "told" or untold is None:
        return told
    more = told[3:4] > untold[3:4] if which == "most" else told[3:4] < untold[3:4]
    return np.where(more, told, untold)


def _stronger(fine: Image, coarse: Image) -> Image:
    """Take the coarse pass where its opacity is clearly the stronger one, smoothly."""
    share = ((coarse[3] - fine[3]) / 0.1).clip(0, 1)
    out = fine + share * (coarse - fine)
    out[3:] = np.maximum(fine[3:], coarse[3:])
    return out


def _coarse_at_fine(passes: Passes, coarse: Image, shown: Image) -> Image:
    """Apply the coarse pass to full pixels: thin cloud as an affine map, the rest as a change.

    seen = (1 - a) ground + a cloud, so ground = (seen - a cloud) / (1 - a), and a cloud is known
    from the coarse level: coarse seen - (1 - a) coarse ground.
    """
    assert passes.coarse_seen is not None
    assert passes.coarse is not None
    below = enlarged(passes.coarse_seen.clip(0, 1), shown.shape[1:])
    opacity = coarse[3].clip(0, 0.5)  # more of it would raise noise, not ground
    added = below - (1 - opacity) * coarse[:3]
    ground = (shown - added) / (1 - opacity)
    return np.concatenate([ground, coarse[3:]]).astype(np.float32)


def _disc(radius: int) -> NDArray[np.bool_]:
    line = np.arange(-radius, radius + 1)
    return line[:, None] ** 2 + line[None] ** 2 <= radius**2


def _fill(picture: Image, opacity: Image, valid: NDArray[np.bool_]) -> Image:
    """Fill opaque land from what is trusted around it: pull-push over means of 4x4 pixels."""
    trust = (1 - opacity).clip(0, 1) ** 2 * (opacity < 0.6) * valid
    weight = pooled(trust[None].astype(np.float32), np.ones_like(valid))
    colour = pooled((picture.clip(0, 1) * trust).astype(np.float32), np.ones_like(valid))
    return enlarged(_pull_push(colour, weight), picture.shape[1:])


def _pull_push(colour: Image, weight: Image) -> Image:
    """Return colours everywhere: colour (3, h, w) is weighted already, weight is (1, h, w)."""
    here = colour / np.maximum(weight, 1e-6)
    if min(colour.shape[1:]) == 1:
        return here
    after = [(0, 0), (0, colour.shape[1] % 2), (0, colour.shape[2] % 2)]

    def half(x: Image) -> Image:
        x = np.pad(x, after)
        return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).sum(axis=(2, 4)) / 4

    behind = _pull_push(half(colour), half(weight))
    size = tuple(colour.shape[1:])
    wide = torch.nn.functional.interpolate(
        torch.from_numpy(behind)[None], scale_factor=2, mode="bilinear", align_corners=False
    )[0, :, : size[0], : size[1]].numpy()
    share = (weight / 0.25).clip(0, 1)
    return (share * here + (1 - share) * wide).astype(np.float32)
