"""Time the network by other engines on a CPU, in one thread, and compare their output with fp32.

    pip install openvino onnxruntime onnx
    OMP_NUM_THREADS=1 python benchmarks/engines.py [--rounds 8]

Prints milliseconds of processor time for a window in calls of 8, the least of the rounds; how far
the output is from PyTorch's in fp32; and seconds of processor time to import the engine and to load
the network into it. Of bf16 geodecloud demands at most 1 DN on average and 8 DN at the 99.9th
percentile.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geodecloud.model.checkpoint import load_generator
from geodecloud.model.inference import folded
from geodecloud.model.inputs import generator_input
from geodecloud.model.model_file import default_model
from geodecloud.model.precision import difference, probe_patches
from geodecloud.model.predictor import Predictor
from geodecloud.radiometry import L1C_DARK_OBJECT

CALL = 8
WINDOWS = 16

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def by_torch(predictor: Predictor) -> Run:
    """Return the network as geodecloud runs it."""

    @torch.inference_mode()
    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = predictor._forward(torch.from_numpy(batch)).numpy()
        return output

    return run


def by_openvino(path: Path, precision: str) -> Run:
    """Return the network as OpenVINO computes it, in "f32" or "bf16"."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(path, "CPU", options).create_infer_request()
    return lambda batch: np.array(next(iter(request.infer({0: batch}).values())))


def by_onnxruntime(path: Path) -> Run:
    """Return the network as ONNX Runtime computes it, in fp32; it has no bf16 on a CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run(None, {"x": batch})[0])


def import_seconds(module: str) -> float:
    """Return the processor time of an import."""
    begun = time.process_time()
    __import__(module)
    return time.process_time() - begun


def main() -> None:
    """Print a line for each engine and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    ours = {kind: Predictor(default_model(), "cpu", kind, 1) for kind in ("fp32", "bf16")}
    given = torch.from_numpy(probe_patches(WINDOWS, 64)), torch.tensor(L1C_DARK_OBJECT)
    batch = generator_input(ours["fp32"].info.plan, *given).numpy()
    expected = by_torch(ours["fp32"])(batch)

    def show(name: str, run: Run, started: str = "") -> None:
        parts = [batch[first : first + CALL] for first in range(0, WINDOWS, CALL)]
        output, spent = np.concatenate([run(part) for part in parts]), []
        for _ in range(rounds):
            begun = time.process_time()
            for part in parts:
                run(part)
            spent.append(time.process_time() - begun)
        print(
            f"{name:<18}{1000 * min(spent) / WINDOWS:>6.1f} ms, {difference(output, expected)}"
            f"{started}",
            flush=True,
        )

    for kind, predictor in ours.items():
        show(f"packed, {kind}", by_torch(predictor))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        network = folded(load_generator(default_model())[0])
        torch.onnx.export(
            network, torch.from_numpy(batch[:CALL]), path, dynamo=False, input_names=["x"]
        )
        engines = (("openvino", "f32"), ("openvino", "bf16"), ("onnxruntime", ""))
        for module, precision in engines:
            known = module in sys.modules
            imported = "" if known else f"import {import_seconds(module):.2f} s, "
            begun = time.process_time()
            run = by_openvino(path, precision) if precision else by_onnxruntime(path)
            loaded = time.process_time() - begun
            show(f"{module} {precision}", run, f"; {imported}load {loaded:.2f} s")


if __name__ == "__main__":
    main()
