"""From a model file to a plain function, numpy in and numpy out."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock, Thread
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geodecloud.errors import GeodecloudError, UsageError
from geodecloud.model.checkpoint import default_model, load_generator
from geodecloud.model.device import fast_bf16, find_device
from geodecloud.model.precision import difference, probe_patches
from geodecloud.model.unet import UNet, with_dark_object
from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.restore.memory import grain
from geodecloud.settings import ModelSpec, Precision, available_threads

log = logging.getLogger("geodecloud")

_FADING = 0.2  # up to 1 - _FADING of opacity the strength holds, at 1 there is none
_DEFAULT_SPEC = ModelSpec()
_THREAD_SETTING = Lock()


def load_predictor(spec: ModelSpec = _DEFAULT_SPEC, threads: int | None = None) -> "Predictor":
    """Load a model onto its device.

    Args:
        spec: model file, device and precision.
        threads: threads of the network on a CPU; None: one for each core.

    Raises:
        ModelError: the model file is missing, damaged or of another kind.
        UsageError: the device is not available on this machine.
        GeodecloudError: bf16 is asked for and does not work on this device.
    """
    return Predictor(spec.model or default_model(), spec.device, spec.precision, threads)


class Predictor:
    """The generator on a device: call it with patches, from any thread.

    Patches are computed in grains of a fixed number, the last one padded, each grain in one
    thread: a patch's result may change in its last bits with the number of patches beside it and
    with the number of threads, and the same scene must give the same bytes.

    Args:
        model: a model file.
        device: "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32"; "bf16"; "auto", bf16 where the device is fast at it and, in a check at
            the start, close enough to fp32, see :mod:`geodecloud.model.precision`.
        threads: grains computed side by side on a CPU; None: as many as there are cores.

    Attributes:
        threads: grains computed side by side, 1 on a GPU.
        seconds: that these threads spent in the network so far, divided by their number.
    """

    def __init__(
        self,
        model: Path,
        device: str = "auto",
        precision: Precision = "auto",
        threads: int | None = None,
    ) -> None:
        generator, self.info = load_generator(model)
        self.device = find_device(device)
        self.seconds = 0.0
        self.threads = (threads or available_threads()) if self.device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.threads, initializer=_compute_in_one_thread)
        self._smaller = 1  # a grain is divided by this, where a GPU has no memory for a whole one
        self._network = _for_inference(generator).to(self.device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision: Literal["fp32", "bf16"] = "fp32"
        if precision == "bf16" or (precision == "auto" and fast_bf16(self.device)):
            self.precision = self._bf16_or_not(demanded=precision == "bf16")

    @property
    def name(self) -> str:
        """The model's file name and the start of its hash, for tags and reports."""
        return f"{self.info.path.name} sha256:{self.info.sha256[:16]}"

    def __call__(
        self, patches: NDArray[np.float32], darkest: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(N, 3, S, S) in model range -> (N, 4, S, S): restored R, G, B, and opacity 0..1.

        ``darkest`` is the darkest light of their scene, (3,), or of a scene for each, (N, 3); a
        model may have no use for it.

        A model that does not know opacity is taken to have restored everything: opacity 0.5.

        Raises:
            UsageError: S is not a multiple of what the model's depth asks for, 16 as a rule.
        """
        multiple = 2**self.info.plan.depth
        if patches.shape[2] % multiple or patches.shape[3] % multiple:
            raise UsageError(
                f"window is {patches.shape[2]}: this model needs a multiple of {multiple}"
            )
        size = grain(patches.shape[2])
        asked = self.asked(patches, darkest)
        grains = [asked[first : first + size] for first in range(0, len(patches), size)]
        result = np.full((len(patches), 4, *patches.shape[2:]), 0.5, np.float32)
        for i, answer in enumerate(self._pool.map(self._answer, grains)):
            result[i * size : (i + 1) * size, : answer.shape[1]] = answer
        result[:, :3] += (self._strength(result[:, 3:]) - 1) * (result[:, :3] - patches)
        return result

    def asked(
        self, patches: NDArray[np.float32], darkest: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What the generator is asked: the patches, or (N, 6, S, S), the darkest light beside."""
        if not self.info.plan.darkest:
            return patches
        return with_dark_object(torch.from_numpy(patches), torch.from_numpy(darkest)).numpy()

    def _answer(self, grain_of_patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network says of one grain or less, (N, 3 or 6, S, S) -> (N, 3 or 4, S, S)."""
        begun = time.perf_counter()
        count, *shape = grain_of_patches.shape
        whole = np.zeros((grain(shape[1]), *shape), np.float32)
        whole[:count] = grain_of_patches
        answer = self._run_in_parts(whole, self.precision)[:count]
        self.seconds += (time.perf_counter() - begun) / self.threads
        return answer

    def _run_in_parts(self, batch: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
        """Run the network, on fewer patches at once where a GPU's memory ends."""
        while True:
            try:
                parts = np.array_split(batch, min(self._smaller, len(batch)))
                return np.concatenate([self._run(part, precision) for part in parts])
            except torch.OutOfMemoryError as error:
                if self._smaller >= len(batch):
                    raise GeodecloudError(
                        f"{self.device}: out of memory for one window; take a smaller --window"
                    ) from error
            # Not in the clause above: as long as it lasts, the traceback keeps the tensors alive.
            self._smaller *= 2
            torch.cuda.empty_cache()
            log.warning("%s is out of memory: batches of half the size", self.device)

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

    def _bf16_or_not(self, *, demanded: bool) -> Literal["fp32", "bf16"]:
        """Bf16 if it answers what fp32 answers, or if it is demanded; says how far it is off."""
        patches = self.asked(probe_patches(grain(64), 64), np.array(L1C_DARK_OBJECT, np.float32))
        try:
            answer = self._run_in_parts(patches, "bf16")
        except RuntimeError as error:
            if demanded:
                raise GeodecloudError(f"bf16 does not work on {self.device}: {error}") from error
            log.warning("bf16 does not work on %s (%s): fp32 it is", self.device, error)
            return "fp32"
        off = difference(answer, self._run_in_parts(patches, "fp32"))
        if not off.small:
            what = "taken all the same" if demanded else "fp32 it is"
            log.warning("bf16 on %s differs from fp32 by %s: %s", self.device, off, what)
        return "bf16" if off.small or demanded else "fp32"


def _compute_in_one_thread() -> None:
    """Let this thread of the pool compute alone: the threads of the pool share the cores.

    PyTorch takes the last setting of any thread as the default of threads that start later, the
    user's too. So another thread puts the default back.
    """
    with _THREAD_SETTING:
        default = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = Thread(target=torch.set_num_threads, args=(default,))
        restoring.start()
        restoring.join()


def _for_inference(generator: UNet) -> UNet:
    """Fold each BatchNorm into the convolution before it: the same function, less work.

    What reads the picture and what writes the answer stay in fp32 under autocast. They are a
    seventh of the work and nearly all of bf16's error (``benchmarks/PRECISION.md``).
    """
    blocks = [*generator.encoder, generator.bottom, *generator.decoder]
    for block in blocks:
        layers = block.layers
        for i in (0, 3):
            layers[i] = fuse_conv_bn_eval(layers[i], layers[i + 1])
            layers[i + 1] = torch.nn.Identity()
    for block, i in ((blocks[0], 0), (blocks[0], 3), (blocks[1], 0), (blocks[-1], 3)):
        block.layers[i] = _Exact(block.layers[i])
    return generator


class _Exact(torch.nn.Module):
    """A module in fp32, even under autocast."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the module's own."""
        with torch.autocast(x.device.type, enabled=False):
            out: torch.Tensor = self.module(x.float())
        return out
