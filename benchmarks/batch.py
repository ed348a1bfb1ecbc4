"""Time batches: throughput per core with two workers, and a manifest of 10,000 lines.

    OMP_NUM_THREADS=1 python benchmarks/batch.py [--scenes 12] [--size 1000]

Each scene is a square of noise. The rate is in pixels per second of a worker with one thread,
alone and beside another worker. It comes from the seconds that the manifest has for each scene,
so it leaves out the start of the processes. Absolute times are noisy; the ratio is the result (at
least 0.9).

The windows per second of one worker are compared with those of the network alone in one thread,
timed before and after; for scenes of 256 x 256 the aim is 0.8. Small scenes have few windows: the
last grain of each pass is filled up, and the network computes more windows than there are.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from geodecloud.batch.manifest import NAME, Manifest
from geodecloud.batch.plan import Job
from geodecloud.batch.search import Fingerprint
from geodecloud.model.predictor import load_predictor
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import ModelSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scenes = folder / "scenes"
        scenes.mkdir()
        for i in range(given.scenes):
            write_noise(scenes / f"{i}.tif", given.size, seed=i)
        before = network_rate()
        one = rate(scenes, folder / "one", "--threads", "1")
        network = (before + network_rate()) / 2
        two = rate(scenes, folder / "two", "--workers", "2", "--threads", "2")
        print(f"1 process, 1 thread:  {one / 1e6:.3f} Mpixel/s")
        print(f"2 workers, 1 thread each: {two / 1e6:.3f} Mpixel/s per worker")
        print(f"ratio per core: {two / one:.2f}")
        windows = one / given.size**2 * len(WindowGrid().starts(given.size)) ** 2
        print(f"network alone: {network:.1f} windows/s; in scenes: {windows:.1f}, ", end="")
        print(f"{windows / network:.2f} of that; {60 * one / given.size**2:.0f} scenes a minute")
        print(
            "10,000 lines of the manifest: {:.2f} s to write, {:.2f} s to read and look up".format(
                *manifest_seconds(folder / "manifest", 10_000)
            )
        )


def write_noise(path: Path, size: int, seed: int) -> None:
    dn = np.random.default_rng(seed).integers(1, 4000, (3, size, size)).astype(np.uint16)
    georeference = {"crs": "EPSG:32633", "transform": from_origin(500000, 5500000, 10, 10)}
    shape = {"count": 3, "height": size, "width": size, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **georeference) as out:
        out.write(dn)


def rate(scenes: Path, out: Path, *options: str) -> float:
    """Return the pixels per second of a worker."""
    command = [sys.executable, "-m", "geodecloud", "batch", str(scenes), str(out), *options]
    subprocess.run([*command, "-q", "--force"], check=True)  # noise looks like cloud
    return total(out, "pixels") / total(out, "seconds")


def total(out: Path, field: str) -> float:
    """Return the sum of a field over the scenes of a manifest."""
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    return float(sum(line[field] for line in lines))


def network_rate(count: int = 64) -> float:
    """Return the windows per second of the network alone in one thread."""
    predictor = load_predictor(ModelSpec(device="cpu"), threads=1)
    patches = np.random.default_rng(0).random((count, 3, 64, 64), np.float32)
    begun = time.perf_counter()
    predictor(patches, np.zeros(3, np.float32))
    return count / (time.perf_counter() - begun)


def manifest_seconds(folder: Path, count: int) -> tuple[float, float]:
    """Return the seconds to append so many lines, and to read them and look up each job."""
    configuration = {"settings": {f"option{i}": i for i in range(20)}, "model": "0" * 64}
    jobs = [
        Job(f"/scenes/{i}.tif", Fingerprint(i, float(i)), folder / f"{i}_clear.tif")
        for i in range(count)
    ]
    begun = time.perf_counter()
    with Manifest(folder) as manifest:
        for job in jobs:
            manifest.add(job, {**configuration, "status": "done"})
    written = time.perf_counter()
    with Manifest(folder) as manifest:
        for job in jobs:
            manifest.is_done(job, configuration)
    return written - begun, time.perf_counter() - written


if __name__ == "__main__":
    main()
