"""Time the network on a CPU in one thread by the windows of a call, packed and as PyTorch runs it.

    python benchmarks/network.py [--rounds 6] [--model MODEL]

Prints milliseconds of processor time for a window, the least of the rounds, and whether all calls
give the same bytes.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geodecloud.model import inference
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.inputs import generator_input
from geodecloud.model.model_file import default_model
from geodecloud.model.precision import probe_patches
from geodecloud.radiometry import L1C_DARK_OBJECT

CALLS = (1, 2, 4, 8, 16, 48)


def by_module(network: torch.nn.Module, precision: str) -> Callable[[Tensor], Tensor]:
    """Return the folded network as a module under autocast."""

    def run(batch: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            out: Tensor = network(batch)
        return out.float()

    return run


def milliseconds(forward: Callable[[Tensor], Tensor], batch: Tensor, rounds: int) -> float:
    """Return the least processor time of a window."""
    forward(batch)
    spent = []
    for _ in range(rounds):
        begun = time.process_time()
        forward(batch)
        spent.append(time.process_time() - begun)
    return 1000 * min(spent) / len(batch)


@torch.inference_mode()
def main() -> None:
    """Print a line for each precision and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--model", type=Path, default=default_model())
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator, info = load_generator(options.model)
    network = inference.folded(generator)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    light = torch.from_numpy(probe_patches(max(CALLS), 64))
    dark_object = torch.from_numpy(np.array(L1C_DARK_OBJECT, np.float32))
    whole = generator_input(info.plan, light, dark_object)
    print(f"{'windows of a call':<20}" + "".join(f"{count:>8}" for count in CALLS))
    for precision in ("bf16", "fp32"):
        ways = {
            "packed": inference.forward_of(network, torch.device("cpu"), precision, 16),
            "module": by_module(network, precision),
        }
        expected = ways["packed"](whole[:16])
        for name, forward in ways.items():
            line, same = "", True
            for count in CALLS:
                batch = whole[:count].contiguous(memory_format=torch.channels_last)
                least = min(count, 16)
                same &= torch.equal(forward(batch)[:least], expected[:least])
                line += f"{milliseconds(forward, batch, options.rounds):>8.1f}"
            print(
                f"{precision}, {name:<14}{line}  {'the same' if same else 'other'} bytes",
                flush=True,
            )


if __name__ == "__main__":
    main()
