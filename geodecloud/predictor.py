"""From a model file to a plain function, numpy in and numpy out."""

import logging
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geodecloud.checkpoint import load_generator
from geodecloud.device import fast_bf16, find_device
from geodecloud.errors import GeodecloudError, UsageError
from geodecloud.models.generator import UNet

log = logging.getLogger("geodecloud")

Precision = Literal["auto", "fp32", "bf16"]

BATCH_SIZE = 16
_BF16_TOLERANCE = 0.02  # model range; mean absolute difference from fp32 at the start-up check
_FADING = 0.2  # up to 1 - _FADING of opacity the strength holds, at 1 there is none


class Predictor:
    """The generator on a device: call it with patches.

    Every batch has the same shape, the last one padded: a patch's result may change in its last
    bits with the size of the batch, and the same scene must give the same bytes every time.

    Args:
        model: a model file.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32"; "bf16"; "auto", bf16 where the device is fast at it and a check
            against fp32 passes.

    Attributes:
        seconds: spent in the network so far.
    """

    def __init__(self, model: Path, device: str = "auto", precision: Precision = "auto") -> None:
        generator, self.info = load_generator(model)
        self.device = find_device(device)
        self.seconds = 0.0
        self._network = _fold(generator).to(self.device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision: Literal["fp32", "bf16"] = "fp32"
        if precision == "bf16" or (precision == "auto" and fast_bf16(self.device)):
            self.precision = self._checked_bf16(demanded=precision == "bf16")

    @property
    def name(self) -> str:
        """The model's file name and the start of its hash, for tags and reports."""
        return f"{self.info.path.name} sha256:{self.info.sha256[:16]}"

    def __call__(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, S, S) in model range -> (N, 4, S, S): restored R, G, B, and opacity 0..1.

        A model that does not know opacity is taken to have restored everything: opacity 0.5.

        Raises:
            UsageError: S is not a multiple of what the model's depth asks for, 16 as a rule.
        """
        multiple = 2**self.info.plan.depth
        if patches.shape[2] % multiple or patches.shape[3] % multiple:
            raise UsageError(
                f"window is {patches.shape[2]}: this model needs a multiple of {multiple}"
            )
        begun = time.perf_counter()
        result = np.full((len(patches), 4, *patches.shape[2:]), 0.5, np.float32)
        batch = np.zeros((BATCH_SIZE, *patches.shape[1:]), np.float32)
        for first in range(0, len(patches), BATCH_SIZE):
            count = min(BATCH_SIZE, len(patches) - first)
            batch[:count] = patches[first : first + count]
            batch[count:] = 0
            answer = self._run(batch, self.precision)[:count]
            result[first : first + count, : answer.shape[1]] = answer
        result[:, :3] += (self._strength(result[:, 3:]) - 1) * (result[:, :3] - patches)
        self.seconds += time.perf_counter() - begun
        return result

    def _strength(self, opacity: NDArray[np.float32]) -> NDArray[np.float32]:
        """By how much to multiply the change, float32 of the opacity's shape.

        Where the ground shines through a generator in doubt removes too little. Where it does not
        the answer is a guess at the ground, and more of it would be another colour.
        """
        seen: NDArray[np.float32] = np.clip((1 - opacity) / _FADING, 0, 1)
        return 1 + np.float32(self.info.strength - 1) * seen

    @torch.inference_mode()
    def _run(self, batch: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
        patches = (
            torch.from_numpy(batch).to(self.device).contiguous(memory_format=torch.channels_last)
        )
        enabled = precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
            output: NDArray[np.float32] = self._network(patches).float().cpu().numpy()
        return output

    def _checked_bf16(self, *, demanded: bool) -> Literal["fp32", "bf16"]:
        """Bf16 if it answers what fp32 answers, for a fixed batch of noise."""
        noise = np.random.default_rng(0).random((BATCH_SIZE, 3, 64, 64), np.float32)
        try:
            difference = np.abs(self._run(noise, "bf16") - self._run(noise, "fp32")).mean()
        except RuntimeError as error:
            if demanded:
                raise GeodecloudError(f"bf16 does not work on {self.device}: {error}") from error
            difference = np.float32("inf")
        if difference <= _BF16_TOLERANCE or demanded:
            return "bf16"
        log.warning("bf16 differs from fp32 by %.3f on this machine: fp32 it is", difference)
        return "fp32"


def _fold(generator: UNet) -> UNet:
    """Fold each BatchNorm into the convolution before it: the same function, less work."""
    for block in [*generator.encoder, generator.bottom, *generator.decoder]:
        layers = block.layers
        for i in (0, 3):
            layers[i] = fuse_conv_bn_eval(layers[i], layers[i + 1])
            layers[i + 1] = torch.nn.Identity()
    return generator
