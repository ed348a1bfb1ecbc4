"""Run the generator on a CPU by PyTorch's C++ library alone, in the bytes that PyTorch gives."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from geodecloud.model import libtorch
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.libtorch import Tensor
from geodecloud.model.model_file import read_info, read_weights
from geodecloud.model.predictor import Kind, Predictor, compute_in_one_thread, threads_for
from geodecloud.radiometry import BRIGHTEST
from geodecloud.settings import Precision
from geodecloud.settings.cores import processor

# Errors after which PyTorch itself is tried; its messages are better.
NOT_POSSIBLE = (OSError, AttributeError, KeyError, ValueError, RuntimeError, SafetensorError)

_WINDOW = 64  # pixels of the windows that the weights are packed for; others are computed, too
_EPSILON = np.float32(1e-5)  # of BatchNorm, PyTorch's own
_COARSE = 5  # channels of the coarse answer

Weights = dict[str, NDArray[np.float32]]


class LibraryPredictor(Predictor):
    """The generator on a CPU, without importing PyTorch, see :class:`Predictor`.

    Raises:
        NOT_POSSIBLE: the library is not one that can be called alone, or the model is not one that
            it can run.
    """

    def __init__(self, model: Path, precision: Precision, threads: int | None) -> None:
        libtorch.load()
        self.device = "cpu"
        info = read_info(model)
        self._weights = _checked(read_weights(model), info.plan)
        alone = partial(compute_in_one_thread, libtorch.get_num_threads, libtorch.set_num_threads)
        super().__init__(info, threads_for(threads), alone)
        self._networks: dict[str, _Network] = {}
        self._settle(precision, fast_bf16=_fast_bf16())
        self._weights = {}

    def model_input(
        self, patches: NDArray[np.float32], dark_object: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the generator's input, see :func:`geodecloud.model.inputs.generator_input`."""
        plan, count = self.info.plan, len(patches)
        size = patches.shape[2:]
        made = np.zeros((count, *size, plan.channels), np.float32).transpose(0, 3, 1, 2)
        seen = patches[:, :3]
        np.clip(seen, 0, 1, out=made[:, :3])
        done = 3
        if plan.highlights:
            bright = _log(np.clip(seen, 1, BRIGHTEST))
            brightest = _log(np.array([BRIGHTEST], np.float32))
            np.divide(bright.view(), brightest.view(), out=made[:, done : done + 3])
            done += 3
        if plan.context:
            if patches.shape[1] > 3:
                made[:, done : done + _COARSE] = patches[:, 3:]
            done += _COARSE
        if plan.dark_object:
            made[:, done:] = dark_object.reshape(-1, 3, 1, 1)
        return made

    def _prepare(self, kind: Kind) -> None:
        making = self._pool.submit(  # in the pool, as one thread computes it
            _Network, self._weights, self.info.plan, kind, self._grain(_WINDOW)
        )
        self._networks[kind] = making.result()

    def _forget(self, kind: Kind) -> None:
        del self._networks[kind]

    def _run(self, batch: NDArray[np.float32], precision: str) -> NDArray[np.float32]:
        return self._networks[precision](batch)


def _log(values: NDArray[np.float32]) -> Tensor:
    return libtorch.log(libtorch.from_numpy(np.ascontiguousarray(values)))


def _fast_bf16() -> bool:
    """Return whether the processor computes in bf16 itself."""
    flags = processor().get("flags", "").split()
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def _blocks_of(plan: GeneratorPlan) -> list[str]:
    """Return the names of the blocks of two convolutions, in their order."""
    levels = range(plan.depth)
    names = [f"encoder.{i}" for i in levels], ["bottom"], [f"decoder.{i}" for i in levels]
    return [name for part in names for name in part]


def _shapes_of(plan: GeneratorPlan) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights and biases of all convolutions by their names."""
    widths = [plan.width * 2**level for level in range(plan.depth + 1)]
    upwards = widths[-2::-1]
    given = [plan.channels, *widths[:-1], *(2 * width for width in upwards)]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, channels, width in zip(_blocks_of(plan), given, [*widths, *upwards], strict=True):
        shapes[f"{name}.layers.0"] = width, channels, 3, 3
        shapes[f"{name}.layers.3"] = width, width, 3, 3
    for i, width in enumerate(upwards):
        shapes[f"up.{i}.mix"] = width, 2 * width, 1, 1
    shapes["head"] = plan.outputs, plan.width, 1, 1
    return shapes


def _checked(weights: dict[str, NDArray[np.generic]], plan: GeneratorPlan) -> Weights:
    """Return the weights and biases of the convolutions, with the BatchNorms folded into them.

    Raises:
        KeyError, ValueError: they are not those of the plan.
    """
    if plan.upsample != "bilinear":
        raise ValueError("only bilinear interpolation is computed here")
    left = {name for name in weights if not name.endswith("num_batches_tracked")}
    folded: Weights = {}

    def take(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        left.remove(name)
        if weights[name].shape != shape:
            raise ValueError(f"{name} has another shape than the plan")
        return weights[name].astype(np.float32)

    for name, shape in _shapes_of(plan).items():
        weight, bias = take(f"{name}.weight", shape), take(f"{name}.bias", shape[:1])
        block, _, layer = name.rpartition(".")
        if block.endswith("layers"):  # see :func:`geodecloud.model.inference.folded`
            norm = f"{block}.{int(layer) + 1}"
            scale, shift, mean, variance = (
                take(f"{norm}.{part}", shape[:1])
                for part in ("weight", "bias", "running_mean", "running_var")
            )
            inverse = np.float32(1) / np.sqrt(variance + _EPSILON)
            weight *= (scale * inverse).reshape(-1, 1, 1, 1)
            bias = (bias - mean) * inverse * scale + shift
        folded[f"{name}.weight"], folded[f"{name}.bias"] = weight, bias
    if left:
        raise ValueError(f"{min(left)} is not in the plan")
    return folded


class _Convolution:
    """A convolution whose weights oneDNN has packed, with its ReLU.

    Args:
        name: of its weights.
        shape: windows of a call, and their height and width at this level.
    """

    def __init__(
        self, weights: Weights, name: str, dtype: int, shape: tuple[int, int], *, relu: bool
    ) -> None:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        windows, side = shape
        self._dtype, self._relu, self._padding = dtype, relu, weight.shape[2] // 2
        self._bias = libtorch.converted(libtorch.from_numpy(bias), dtype)
        self._weight = libtorch.packed(
            libtorch.converted(libtorch.from_numpy(weight), dtype),
            self._padding,
            (windows, weight.shape[1], side, side),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Return ReLU(convolution(x)), or without ReLU, of the weights' dtype."""
        given = libtorch.converted(x, self._dtype)
        return libtorch.convolution(given, self._weight, self._bias, self._padding, relu=self._relu)


class _Network:
    """The folded generator, see :class:`geodecloud.model.inference._Packed`.

    Args:
        windows: usual number in one call.
    """

    def __init__(self, weights: Weights, plan: GeneratorPlan, kind: Kind, windows: int) -> None:
        dtype = libtorch.BFLOAT16 if kind == "bf16" else libtorch.FLOAT32
        blocks, depth = _blocks_of(plan), plan.depth
        exact = {f"{block}.layers.{i}" for block in blocks[:2] for i in (0, 3)}
        exact |= {f"{blocks[-1]}.layers.3", "head"}

        def convolution(name: str, level: int, *, relu: bool) -> _Convolution:
            chosen = libtorch.FLOAT32 if name in exact else dtype
            return _Convolution(weights, name, chosen, (windows, _WINDOW >> level), relu=relu)

        levels = [*range(depth), depth, *reversed(range(depth))]
        pairs = [
            [convolution(f"{block}.layers.{i}", level, relu=True) for i in (0, 3)]
            for block, level in zip(blocks, levels, strict=True)
        ]
        self._encoder, self._bottom, self._decoder = pairs[:depth], pairs[depth], pairs[depth + 1 :]
        self._mixes = [convolution(f"up.{i}.mix", depth - i, relu=False) for i in range(depth)]
        self._head = convolution("head", 0, relu=False)
        self._opacity = plan.opacity

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Restore a batch, (N, channels, S, S) -> (N, 3 to 5, S, S)."""
        last = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
        deep = libtorch.from_numpy(last.transpose(0, 3, 1, 2))
        skips = []
        for first, second in self._encoder:
            deep = second(first(deep))
            skips.append(deep)
            deep = libtorch.max_pool(deep)
        first, second = self._bottom
        deep = second(first(deep))
        for mix, (first, second), skip in zip(
            self._mixes, self._decoder, reversed(skips), strict=True
        ):
            up = libtorch.upsampled(mix(deep))
            beside = libtorch.converted(skip, up.dtype)
            deep = second(first(libtorch.concatenated(beside, up)))
        out = self._head(deep)
        begin = 3 if self._opacity else 0
        rates = libtorch.sigmoid(libtorch.from_numpy(out.view()[:, begin:]))
        result = np.empty(out.shape, np.float32)
        np.add(batch[:, :begin], out.view()[:, :begin], out=result[:, :begin])
        result[:, begin:] = rates.view()
        return result
