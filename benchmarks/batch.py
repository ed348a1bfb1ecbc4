"""Time batches: throughput per core with two workers, and a manifest of 10,000 lines.

    OMP_NUM_THREADS=1 python benchmarks/batch.py [--scenes 12] [--size 1000]

Each scene is a square of noise. The rate is in pixels per second of a worker with one thread,
alone and beside another worker. It comes from the seconds that the manifest has for each scene,
so it leaves out the start of the processes. Absolute times are noisy; the ratio is the result (at
least 0.9).
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
        one = rate(scenes, folder / "one", "--threads", "1")
        two = rate(scenes, folder / "two", "--workers", "2", "--threads", "2")
        print(f"1 process, 1 thread:  {one / 1e6:.3f} Mpixel/s")
        print(f"2 workers, 1 thread each: {two / 1e6:.3f} Mpixel/s per worker")
        print(f"ratio per core: {two / one:.2f}")
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
    subprocess.run([*command, "-q"], check=True)
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    return sum(line["pixels"] for line in lines) / sum(line["seconds"] for line in lines)


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
