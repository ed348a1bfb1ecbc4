"""Measure the error and the speed of bf16 and int8 against fp32.

    pip install openvino nncf
    python benchmarks/precision.py SCENE.tif... [--windows 64]

Each SCENE has red, green and blue as its first bands, reflectance x 10000. PyTorch runs the
built-in network on windows of each scene in fp32 and bf16, OpenVINO in int8. NNCF quantizes the
network after training (mixed preset) on other windows of the same scenes, which favours int8. The
outputs of the network are compared, before blend and composite. Times are of one thread. A
processor without bf16 emulates it, so bf16 is not timed there.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import nncf
import numpy as np
import openvino
import rasterio
import torch
from numpy.typing import NDArray

from geodecloud.model.checkpoint import load_generator
from geodecloud.model.device import fast_bf16
from geodecloud.model.inference import folded
from geodecloud.model.inputs import generator_input
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.radiometry import Radiometry
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import ModelSpec

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
L1C = Radiometry()
DARK_OBJECT = np.array(L1C.dark_object, np.float32)
BATCH = 16


def patches_of(path: Path, count: int) -> NDArray[np.float32]:
    """Return windows without nodata in model range, the same ones every time."""
    with rasterio.open(path) as scene:
        dn = scene.read((1, 2, 3))
    grid, size = WindowGrid(), WindowGrid().size
    starts = [(r, c) for r in grid.starts(dn.shape[1]) for c in grid.starts(dn.shape[2])]
    windows = [dn[:, r : r + size, c : c + size] for r, c in starts]
    windows = [window for window in windows if (window > 0).all()]
    if len(windows) < count:
        raise SystemExit(f"{path}: {len(windows)} windows without nodata, but {count} are needed")
    chosen = np.random.default_rng(0).permutation(len(windows))[:count]
    return np.stack([L1C.to_model(windows[i]) for i in chosen])


def by_torch(predictor: Predictor) -> Network:
    """Return the network as geodecloud runs it."""
    forward = predictor._forward
    return lambda batch: predictor._run(batch, DARK_OBJECT, forward)


def by_openvino(predictor: Predictor, calibration: NDArray[np.float32]) -> Network:
    """Return the network quantized to int8 on some patches."""
    calibration = model_input(predictor, calibration)
    shape = [BATCH, *calibration.shape[1:]]
    network = folded(load_generator(predictor.info.path)[0])
    model = openvino.convert_model(network, example_input=torch.zeros(shape), input=shape)
    batches = nncf.Dataset(np.split(calibration, len(calibration) // BATCH))
    quantized = nncf.quantize(
        model,
        batches,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration) // BATCH,
    )
    compiled = openvino.Core().compile_model(quantized, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda batch: compiled(model_input(predictor, batch))[0]


def model_input(predictor: Predictor, patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the generator's input: float32 (N, channels, S, S)."""
    tensors = torch.from_numpy(patches), torch.from_numpy(DARK_OBJECT)
    return generator_input(predictor.info.plan, *tensors).numpy()


def main() -> None:
    """Run every precision on every scene and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument(
        "--windows", type=int, default=64, help="windows of each scene, a multiple of 32"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = options.windows // 2 // BATCH * BATCH
    patches = {path: patches_of(path, 2 * half) for path in options.scenes}
    exact, predictor = (
        load_predictor(ModelSpec(device="cpu", precision=kind), threads=1)
        for kind in ("fp32", "bf16")
    )
    calibration = np.concatenate([some[:half] for some in patches.values()])
    networks = {
        "fp32": by_torch(exact),
        "bf16": by_torch(predictor),
        "int8": by_openvino(predictor, calibration),
    }
    timed = {"int8", "bf16"} if fast_bf16(predictor.device) else {"int8"}
    for path, some in patches.items():
        batches = np.split(some[half:], half // BATCH)
        outputs, seconds = {}, {}
        for name, network in networks.items():
            begun = time.perf_counter()
            outputs[name] = np.concatenate([network(batch)[:, :3] for batch in batches])
            seconds[name] = time.perf_counter() - begun
        for name in ("bf16", "int8"):
            error = np.abs(outputs[name] - outputs["fp32"]) * L1C.span
            figures = (
                f"mean {error.mean():.2f} DN, 99.9th percentile {np.percentile(error, 99.9):.1f}"
            )
            faster = f", {seconds['fp32'] / seconds[name]:.2f} x as fast" if name in timed else ""
            print(f"{path.stem:<50}{name}: {figures}{faster}", flush=True)


if __name__ == "__main__":
    main()
