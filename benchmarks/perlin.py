"""Compare the speed of our Perlin noise with a Python loop over ``noise.pnoise2``.

    python benchmarks/perlin.py [--repetitions 9] [--tiles 64] [--compile]

Prints the median time of a tile of 64 x 64 pixels in milliseconds, and the speed relative to the
loop. The contestants take turns:

- ``loop``: pixel by pixel into an array, as in the article's code; 12 octaves, and 5;
- ``ours``: ``fractal_perlin`` on rotated coordinates, as for clouds; 12 octaves, and 5;
- ``compiled``: the same with ``torch.compile``, if ``--compile`` is given. It needs a C++ compiler
  and one or two minutes.

Each tile has its own scale, 5 to 120 pixels per cell. ``pip install '.[train]'`` installs the
library of the loop.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import torch
from noise import pnoise2
from numpy.typing import NDArray

from geodecloud.data.perlin import fractal_perlin

SIZE = 64
LOOP_TILES = 4  # enough to time
OCTAVES = (12, 5)


def loop(scales: list[float], octaves: int) -> NDArray[np.float64]:
    """Return the noise of some tiles as the article's code makes it."""
    worlds = np.zeros((len(scales), SIZE, SIZE))
    for world, scale in zip(worlds, scales, strict=True):
        for i in range(SIZE):
            for j in range(SIZE):
                world[i][j] = pnoise2(
                    i / scale,
                    j / scale,
                    octaves=octaves,
                    persistence=0.5,
                    lacunarity=2.0,
                    repeatx=1024,
                    repeaty=1024,
                    base=0,
                )
    return worlds


def seconds(run: Callable[[], object], device: str) -> float:
    """Return the wall-clock time of one run, until the device is done."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = perf_counter()
    run()
    wait()
    return perf_counter() - start


def contestants(
    tiles: int, *, compiled: bool
) -> dict[tuple[str, str, int], tuple[Callable[[], object], int]]:
    """Return a function and its number of tiles, by name, device and octaves."""
    scales = torch.linspace(5, 120, tiles)
    few = scales[:: max(1, tiles // LOOP_TILES)].tolist()
    runs: dict[tuple[str, str, int], tuple[Callable[[], object], int]] = {}
    ways = {"ours": fractal_perlin}
    if compiled:
        ways["compiled"] = torch.compile(fractal_perlin, dynamic=False)
    for octaves in OCTAVES:
        runs["loop", "cpu", octaves] = partial(loop, few, octaves), len(few)
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            line = (torch.arange(SIZE) / scales[:, None]).to(device)
            rows, columns = torch.broadcast_tensors(line[:, :, None], line[:, None, :])
            x, y = 0.8 * rows + 0.6 * columns, 0.8 * columns - 0.6 * rows
            for name, way in ways.items():
                runs[name, device, octaves] = partial(way, x, y, octaves), tiles
    return runs


def main() -> None:
    """Let the contestants take turns, then print their medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--tiles", type=int, default=64, help="tiles in a batch")
    parser.add_argument("--compile", action="store_true", help="time torch.compile as well")
    args = parser.parse_args()
    runs = contestants(args.tiles, compiled=args.compile)
    times: dict[tuple[str, str, int], list[float]] = {key: [] for key in runs}
    for turn in range(args.repetitions + 1):
        for key, (run, tiles) in runs.items():
            taken = seconds(run, key[1]) / tiles
            if turn:  # the first turn warms up
                times[key].append(taken)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':10}{'device':8}{'octaves':>8}{'ms per tile':>14}{'times the loop':>16}")
    for key, taken in times.items():
        name, device, octaves = key
        ratio = median(times["loop", "cpu", octaves]) / median(taken)
        print(f"{name:10}{device:8}{octaves:8}{1000 * median(taken):14.4f}{ratio:16.1f}")


if __name__ == "__main__":
    main()
