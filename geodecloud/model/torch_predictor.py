"""Run the generator with PyTorch: on a GPU, and on a CPU where its library is not called alone."""

from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray

from geodecloud.errors import DeviceWarning, GeodecloudError, warn
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.device import fast_bf16, find_device
from geodecloud.model.inference import Forward, folded, forward_of
from geodecloud.model.inputs import generator_input
from geodecloud.model.predictor import Kind, Predictor, compute_in_one_thread, threads_for
from geodecloud.model.staging import GRAIN_FACTOR, GRAINS, Staging, parts_that_fit
from geodecloud.restore.memory import grain
from geodecloud.settings import Precision


class TorchPredictor(Predictor):
    """The generator on a device of PyTorch, see :class:`Predictor`.

    Args:
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32"; "bf16"; "auto", bf16 where the device is fast at it and, in a check at
            the start, close enough to fp32, see :mod:`geodecloud.model.precision`.
        threads: grains computed side by side on a CPU; None: one for each core.
    """

    def __init__(
        self,
        model: Path,
        device: str = "auto",
        precision: Precision = "auto",
        threads: int | None = None,
    ) -> None:
        generator, info = load_generator(model)
        self.device = find_device(device)
        self.on_cpu, on_cuda = self.device.type == "cpu", self.device.type == "cuda"
        side_by_side = GRAINS if on_cuda else 1
        super().__init__(
            info, threads_for(threads) if self.on_cpu else side_by_side, _compute_in_one_thread
        )
        self._staging = Staging(self.device) if on_cuda else None
        self._halving = Lock()
        self._parts = 1  # of a grain, where a GPU has no memory for a whole one
        if on_cuda:
            free = torch.cuda.mem_get_info(self.device)[0]
            self._parts = parts_that_fit(self._grain(64), 64, free)
        self._network = folded(generator).to(self.device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if on_cuda:
            torch.cuda.synchronize(self.device)  # the weights are there before other streams begin
        self._forwards: dict[str, Forward] = {}
        self._settle(precision, fast_bf16=precision != "fp32" and fast_bf16(self.device))

    def model_input(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the generator's input: float32 (N, channels, S, S)."""
        tensors = torch.from_numpy(patches), torch.from_numpy(dark_object)
        return generator_input(self.info.plan, *tensors).numpy()

    def _prepare(self, kind: Kind) -> None:
        making = self._pool.submit(  # in the pool, as one thread computes it
            forward_of, self._network, self.device, kind, self._grain(64)
        )
        self._forwards[kind] = making.result()

    def _forget(self, kind: Kind) -> None:
        del self._forwards[kind]

    def _grain(self, window: int) -> int:
        return grain(window) * (GRAIN_FACTOR if self.device.type == "cuda" else 1)

    def _run_in_parts(self, batch: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
        """Run the network, on fewer patches at once where a GPU's memory ends."""
        while True:
            tried = self._parts
            try:
                parts = np.array_split(batch, min(tried, len(batch)))
                return np.concatenate([self._run(part, precision) for part in parts])
            except torch.OutOfMemoryError as error:
                if tried >= len(batch):
                    raise GeodecloudError(
                        f"{self.device}: out of memory for one window; take a smaller `window`"
                    ) from error
            # Not in the clause above: as long as it lasts, the traceback keeps the tensors alive.
            torch.cuda.empty_cache()
            with self._halving:
                if self._parts == tried:  # or another thread was short of memory, too
                    self._parts *= 2
                    text = f"{self.device}: out of memory; using batches of half the size"
                    warn(DeviceWarning, text)

    @torch.inference_mode()
    def _run(self, batch: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
        """Run the network on a batch, (N, 3 to 14, S, S) -> (N, 3 to 5, S, S)."""
        if self._staging:
            return self._staging(self._forwards[precision], batch)
        output = self._forwards[precision](torch.from_numpy(batch).to(self.device))
        result: NDArray[np.float32] = output.cpu().numpy()
        return result


def _compute_in_one_thread() -> None:
    compute_in_one_thread(torch.get_num_threads, torch.set_num_threads)
