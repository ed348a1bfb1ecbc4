"""Load a model file as a function from NumPy arrays to NumPy arrays."""

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodecloud.errors import DeviceWarning, GeodecloudError, UsageError, warn
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.device import fast_bf16, find_device
from geodecloud.model.inference import Forward, folded, forward_of
from geodecloud.model.inputs import generator_input
from geodecloud.model.model_file import default_model
from geodecloud.model.pool import pool_of
from geodecloud.model.precision import difference, probe_patches
from geodecloud.model.staging import GRAIN_FACTOR, GRAINS, Staging, parts_that_fit
from geodecloud.model.unet import UNet
from geodecloud.model.verdict import is_known_good, remember_good
from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.restore.filters import smoothstep
from geodecloud.restore.memory import fitting_grain, grain
from geodecloud.settings import ModelSpec, Precision
from geodecloud.settings.cores import available_threads

Kind = Literal["fp32", "bf16"]

# Opacity over which the model's strength rises, and fades. Faint haze needs none, and opaque
# cloud hides the ground; benchmarks/strength.py measures both.
_RISING, _FADING = (0.1, 0.24), (0.5, 0.8)
_NO_OPACITY = 0.3  # between `restored_above` and `opaque_above` as they are by default
_DEFAULT_SPEC = ModelSpec()
_PROBES = 16  # windows on which bf16 is compared with fp32


def load_predictor(spec: ModelSpec = _DEFAULT_SPEC, threads: int | None = None) -> "Predictor":
    """Load a model onto its device.

    Args:
        threads: threads of the network on a CPU; None: one for each core.

    Raises:
        ModelError: the model file is missing, damaged or of another kind.
        UsageError: the device is not available on this machine.
        GeodecloudError: bf16 is requested but does not work on this device, or the system cannot
            start as many threads.
    """
    return Predictor(spec.model or default_model(), spec.device, spec.precision, threads)


class Predictor:
    """The generator on a device, callable with patches from any thread.

    The last bits of a patch's result may vary with the number of patches beside it and with
    PyTorch's threads, and the same scene must give the same bytes. So patches are computed in
    grains of a fixed size, each in one thread; the last grain is padded.

    Args:
        model: the model file.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32"; "bf16"; "auto", bf16 if the device is fast at it and a check at the
            start finds it close enough to fp32, see :mod:`geodecloud.model.precision`.
        threads: grains computed concurrently on a CPU; None: one for each core.

    Attributes:
        info: the model file's metadata.
        device: the device in use.
        precision: "fp32" or "bf16", the one in use.
        threads: grains computed concurrently; on a GPU, one is copied while one is computed.
        seconds: time that these threads have spent in the network, divided by their number.
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
        on_cpu, on_cuda = self.device.type == "cpu", self.device.type == "cuda"
        self._staging = Staging(self.device) if on_cuda else None
        side_by_side = GRAINS if on_cuda else 1
        self.threads = (threads or available_threads()) if on_cpu else side_by_side
        self._pool = pool_of(self.threads)
        self._halving, self._timing = Lock(), Lock()
        self._parts = 1  # of a grain, where a GPU has no memory for a whole one
        if on_cuda:
            free = torch.cuda.mem_get_info(self.device)[0]
            self._parts = parts_that_fit(self._grain(64), 64, free)
        network = folded(generator).to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if on_cuda:
            torch.cuda.synchronize(self.device)  # the weights are there before other streams begin
        wanted = precision == "bf16" or (precision == "auto" and fast_bf16(self.device))
        self.precision: Kind = "bf16" if wanted else "fp32"
        self._forward = self._forward_in(network, self.precision)
        if wanted and not (on_cpu and is_known_good(self.info.sha256, _PROBES)):
            exact = self._forward_in(network, "fp32")
            if not self._takes_bf16(exact, required=precision == "bf16"):
                self.precision, self._forward = "fp32", exact

    @property
    def name(self) -> str:
        """Name of the model file and the start of its hash, for tags and reports."""
        return self.info.name

    @property
    def takes_context(self) -> bool:
        """True if the generator sees the coarse answer, and light beyond the model range."""
        return self.info.plan.context

    def __call__(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Restore patches, see :data:`geodecloud.restore.patches.Predict`.

        A model that predicts no opacity is given opacity 0.3 everywhere: all of it is restored, and
        nothing counts as opaque.

        Args:
            patches: float32 (N, 3 or 8, S, S): R, G, B in model range, then the coarse answer.
            dark_object: float32 (3,), of the patches' scene, or (N, 3), of each patch's scene;
                some models ignore it.

        Returns:
            float32 (N, 4 or 5, S, S): restored R, G, B; opacity, 0..1; shadow, 0..1.

        Raises:
            UsageError: S is not a multiple of 2**depth of the model, usually 16.
        """
        return self.predict(patches, dark_object, self._grain(patches.shape[2]))

    def fitted(self, windows: int, size: int) -> "Fitted":
        """Return the predictor with a grain for a pass over windows of ``size`` pixels a side.

        Args:
            windows: number of windows of the pass.
        """
        most = self._grain(size)
        on_cpu = self.device.type == "cpu"
        return Fitted(self, fitting_grain(windows, most) if on_cpu else most)

    def predict(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32], size: int
    ) -> NDArray[np.float32]:
        """Restore patches in grains of ``size`` windows; otherwise like calling the predictor."""
        multiple = 2**self.info.plan.depth
        if patches.shape[2] % multiple or patches.shape[3] % multiple:
            raise UsageError(
                f"`window` is {patches.shape[2]}: this model needs a multiple of {multiple}"
            )
        each = np.array(np.broadcast_to(dark_object, (len(patches), 3)))
        grains = [slice(first, first + size) for first in range(0, len(patches), size)]
        outputs = self._pool.map(
            lambda part: self._predict_grain(patches[part], each[part], size), grains
        )
        channels = max(4, self.info.plan.outputs)
        result = np.full((len(patches), channels, *patches.shape[2:]), _NO_OPACITY, np.float32)
        for part, output in zip(grains, outputs, strict=True):
            result[part, : output.shape[1]] = output
        if self.info.strength != (1, 1, 1):
            change = result[:, :3] - np.clip(patches[:, :3], 0, 1)
            result[:, :3] += (self._strength(result[:, 3:4]) - 1) * change
        return result

    def _predict_grain(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32], size: int
    ) -> NDArray[np.float32]:
        """Run the network on at most one grain: float32 (N, 3 to 5, S, S).

        Args:
            patches: (N, 3 or 8, S, S).
            dark_object: (N, 3).
            size: windows of a grain.
        """
        begun = time.perf_counter()
        count = len(patches)
        missing = size - count
        if missing:
            patches = np.pad(patches, ((0, missing), (0, 0), (0, 0), (0, 0)))
            dark_object = np.pad(dark_object, ((0, missing), (0, 0)))
        output = self._run_in_parts(patches, dark_object, self._forward)[:count]
        with self._timing:
            self.seconds += (time.perf_counter() - begun) / self.threads
        return output

    def _grain(self, window: int) -> int:
        """Return the grain for windows of this size on this device."""
        return grain(window) * (GRAIN_FACTOR if self.device.type == "cuda" else 1)

    def _run_in_parts(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32], forward: Forward
    ) -> NDArray[np.float32]:
        """Run the network; if a GPU runs out of memory, on fewer patches at once.

        Args:
            patches: (N, 3 or 8, S, S).
            dark_object: (N, 3).
        """
        while True:
            tried = self._parts
            try:
                count = min(tried, len(patches))
                parts = zip(
                    np.array_split(patches, count), np.array_split(dark_object, count), strict=True
                )
                return np.concatenate([self._run(*part, forward) for part in parts])
            except torch.OutOfMemoryError as error:
                if tried >= len(patches):
                    raise GeodecloudError(
                        f"{self.device}: out of memory for one window; take a smaller `window`"
                    ) from error
            # Outside of the except clause, where the traceback keeps the tensors alive.
            torch.cuda.empty_cache()
            with self._halving:
                if self._parts == tried:  # else another thread has halved already
                    self._parts *= 2
                    text = f"{self.device}: out of memory; using batches of half the size"
                    warn(DeviceWarning, text)

    def _strength(self, opacity: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the factors on the generator's change, float32 (N, 3, S, S).

        They offset that an uncertain generator removes too little of thin cloud, above all in red.

        Args:
            opacity: float32 (N, 1, S, S), 0..1.
        """
        rising, fading = (smoothstep(opacity, *ends) for ends in (_RISING, _FADING))
        more = np.array(self.info.strength, np.float32)[:, None, None] - 1
        factors: NDArray[np.float32] = 1 + more * rising * (1 - fading)
        return factors

    @torch.inference_mode()
    def _run(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32], forward: Forward
    ) -> NDArray[np.float32]:
        """Run the network: float32 (N, 3 to 5, S, S).

        The generator's input is assembled on the device: it has up to 14 channels, so copying the
        patches is cheaper.

        Args:
            patches: (N, 3 or 8, S, S).
            dark_object: (N, 3).
        """

        def network(*given: Tensor) -> Tensor:
            return forward(generator_input(self.info.plan, *given))

        if self._staging:
            return self._staging(network, patches, dark_object)
        tensors = (torch.from_numpy(one).to(self.device) for one in (patches, dark_object))
        result: NDArray[np.float32] = network(*tensors).cpu().numpy()
        return result

    def _forward_in(self, network: UNet, kind: Kind) -> Forward:
        """Return the network as a function, made in the pool, where PyTorch uses one thread."""
        return self._pool.submit(forward_of, network, self.device, kind, self._grain(64)).result()

    def _takes_bf16(self, exact: Forward, *, required: bool) -> bool:
        """Return whether to use bf16: it is close enough to fp32, or required; warn if not close.

        Args:
            exact: the network in fp32.

        Raises:
            GeodecloudError: bf16 is required but does not work on this device.
        """
        patches = probe_patches(_PROBES, 64)
        dark_object = np.tile(np.array(L1C_DARK_OBJECT, np.float32), (len(patches), 1))
        outputs = [  # in the pool, where PyTorch uses one thread
            self._pool.submit(self._run_in_parts, patches, dark_object, one)
            for one in (self._forward, exact)
        ]
        try:
            output = outputs[0].result()
        except RuntimeError as error:
            if required:
                raise GeodecloudError(
                    f"`precision` bf16 does not work on {self.device} ({error}); give fp32"
                ) from error
            warn(DeviceWarning, f"bf16 does not work on {self.device} ({error}); using fp32")
            return False
        found = difference(output, outputs[1].result())
        if found.small:
            if self.device.type == "cpu":
                remember_good(self.info.sha256, _PROBES)
            return True
        chosen = "bf16" if required else "fp32"
        warn(DeviceWarning, f"bf16 on {self.device} differs from fp32 by {found}; using {chosen}")
        return required


@dataclass(frozen=True)
class Fitted:
    """A predictor for one pass over a scene, with a grain to suit the number of windows."""

    predictor: Predictor
    grain: int

    @property
    def takes_context(self) -> bool:
        """True if the generator sees the coarse answer, and light beyond the model range."""
        return self.predictor.takes_context

    def __call__(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Restore patches, see :class:`Predictor`."""
        return self.predictor.predict(patches, dark_object, self.grain)
