"""How far bf16 and int8 are from fp32, and how fast.

    pip install openvino nncf
    python benchmarks/precision.py SCENE.tif... [--windows 64]

Each SCENE holds red, green and blue as its first bands, reflectance x 10000. The built-in network
answers windows of each in fp32 and bf16 by PyTorch, and in int8 by OpenVINO, quantized after
training (NNCF, mixed preset) on other windows of the same scenes, which flatters it. Compared is
what the network says before anything is blended or composited. The time is of one thread; where
the processor has no bf16 PyTorch emulates it, so that bf16 is not timed.
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

from geodecloud.model.checkpoint import default_model
from geodecloud.model.device import fast_bf16
from geodecloud.model.predictor import Predictor
from geodecloud.radiometry import Radiometry
from geodecloud.restore.windows import Grid

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
L1C = Radiometry()
DARK = np.array(L1C.dark_object, np.float32)
BATCH = 16


def patches_of(path: Path, count: int) -> NDArray[np.float32]:
    """Some windows without nodata, in model range, the same every time."""
    with rasterio.open(path) as scene:
        dn = scene.read((1, 2, 3))
    grid, size = Grid(), Grid().size
    places = [(r, c) for r in grid.starts(dn.shape[1]) for c in grid.starts(dn.shape[2])]
    windows = [dn[:, r : r + size, c : c + size] for r, c in places]
    windows = [window for window in windows if (window > 0).all()]
    if len(windows) < count:
        raise SystemExit(f"{path}: {len(windows)} windows without nodata, but {count} are wanted")
    chosen = np.random.default_rng(0).permutation(len(windows))[:count]
    return np.stack([L1C.to_model(windows[i]) for i in chosen])


def by_torch(predictor: Predictor, precision: str) -> Network:
    """The network as geodecloud runs it."""
    return lambda batch: predictor._run(predictor.asked(batch, DARK), precision)


def by_openvino(predictor: Predictor, known: NDArray[np.float32]) -> Network:
    """The network quantized to int8 on the patches ``known``."""
    known = predictor.asked(known, DARK)
    shape = [BATCH, *known.shape[1:]]
    model = openvino.convert_model(
        predictor._network, example_input=torch.zeros(shape), input=shape
    )
    batches = nncf.Dataset(np.split(known, len(known) // BATCH))
    quantized = nncf.quantize(
        model,
        batches,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(known) // BATCH,
    )
    compiled = openvino.Core().compile_model(quantized, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda batch: compiled(predictor.asked(batch, DARK))[0]


def main() -> None:
    """Run and print all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--windows", type=int, default=64, help="of each scene, a multiple of 32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    half = options.windows // 2 // BATCH * BATCH
    patches = {path: patches_of(path, 2 * half) for path in options.scenes}
    predictor = Predictor(default_model(), "cpu", "fp32", 1)
    known = np.concatenate([some[:half] for some in patches.values()])
    networks = {
        "fp32": by_torch(predictor, "fp32"),
        "bf16": by_torch(predictor, "bf16"),
        "int8": by_openvino(predictor, known),
    }
    timed = {"int8", "bf16"} if fast_bf16(predictor.device) else {"int8"}
    for path, some in patches.items():
        batches = np.split(some[half:], half // BATCH)
        answers, seconds = {}, {}
        for name, network in networks.items():
            begun = time.perf_counter()
            answers[name] = np.concatenate([network(batch)[:, :3] for batch in batches])
            seconds[name] = time.perf_counter() - begun
        for name in ("bf16", "int8"):
            apart = np.abs(answers[name] - answers["fp32"]) * L1C.span
            figures = (
                f"mean {apart.mean():.2f} DN, 99.9th percentile {np.percentile(apart, 99.9):.1f}"
            )
            faster = f", {seconds['fp32'] / seconds[name]:.2f} x as fast" if name in timed else ""
            print(f"{path.stem:<50}{name}: {figures}{faster}", flush=True)


if __name__ == "__main__":
    main()
