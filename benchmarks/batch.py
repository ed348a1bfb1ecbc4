"""Time batches: throughput per core with two workers, and a manifest of 10,000 lines.

    OMP_NUM_THREADS=1 python benchmarks/batch.py [--scenes 12] [--size 1000] [--workers 2] [--dask]

Each scene is a square of land, half under cloud. The rate is in pixels per second of a worker with
one thread, alone and beside others. It comes from the median of the seconds that the manifest has
for a scene, from the time when it was given out, so it leaves out the start of the processes.
Absolute times are noisy; the ratio is the result (at least 0.9). With --workers 1 there are none
beside it. With --dask the workers of a local Dask cluster restore the scenes, too.

The windows per second of one worker, those of the coarse pass included, are compared with those of
the network alone in one thread, timed before and after; for scenes of 256 x 256 the aim is 0.8. The
first line has the same of processor time, from scenes that are restored in this process: it says
what a scene costs, whatever else the machine does.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from geodecloud.batch.manifest import NAME, Manifest
from geodecloud.batch.plan import Job
from geodecloud.batch.search import Fingerprint
from geodecloud.batch.worker import Restorer, WorkerSpec
from geodecloud.model.precision import probe_patches
from geodecloud.model.predictor import load_predictor
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import ModelSpec, Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dask", action="store_true", help="workers of a Dask cluster, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scenes = folder / "scenes"
        scenes.mkdir()
        write_scenes(scenes, given.scenes, given.size)
        in_this_process(scenes, folder / "0", given.size)
        alone = ("--threads", "1")
        beside = ("--workers", str(given.workers), "--threads", str(given.workers))
        report("1 process, 1 thread", given.size, lambda: seconds_of(scenes, folder / "1", alone))
        if given.workers > 1:
            name = f"{given.workers} workers, 1 thread each"
            report(name, given.size, lambda: seconds_of(scenes, folder / "2", beside))
        if given.dask:
            name = f"{given.workers} Dask workers, 1 thread each"
            report(name, given.size, lambda: dask_seconds(scenes, folder / "3", given.workers))
        print(
            "10,000 lines of the manifest: {:.2f} s to write, {:.2f} s to read and look up".format(
                *manifest_seconds(folder / "manifest", 10_000)
            )
        )


def report(name: str, size: int, run: Callable[[], float]) -> None:
    """Print the rate of a worker, and the network's, which is timed before and after."""
    before = network_seconds()
    seconds = run()
    network = (before + network_seconds()) / 2
    windows = windows_of(size)
    print(
        f"{name}: {size**2 / seconds / 1e6:.3f} Mpixel/s and {60 / seconds:.0f} scenes a minute "
        f"per worker, {windows / seconds:.1f} windows/s; the network alone {1 / network:.1f}: "
        f"{windows * network / seconds:.2f}",
        flush=True,
    )


def in_this_process(scenes: Path, out: Path, size: int) -> None:
    """Print the processor time of a scene and of the network, the medians of all scenes."""
    restore = Restorer(WorkerSpec(Settings().replace(threads=1, force=True), ModelSpec()))
    patches = np.random.default_rng(0).random((64, 3, 64, 64), np.float32)
    spent: list[float] = []
    alone: list[float] = []
    paths = sorted(scenes.iterdir())
    for path in [paths[0], *paths]:  # the first one twice, to warm up
        begun = time.process_time()
        restore._predictor(patches, np.zeros(3, np.float32))
        alone.append((time.process_time() - begun) / len(patches))
        job = Job(str(path), Fingerprint(0, 0.0), out / path.name, overwrite=True)
        begun = time.process_time()
        outcome = restore(job, lambda *_: None)
        spent.append(time.process_time() - begun)
        assert outcome.report, outcome.error
    seconds, network = statistics.median(spent[1:]), statistics.median(alone[1:])
    windows = windows_of(size)
    print(
        f"processor time of a scene: {seconds:.3f} s, {windows} windows; the network alone "
        f"{1000 * network:.1f} ms a window: {windows * network / seconds:.2f}",
        flush=True,
    )


def windows_of(size: int) -> int:
    """Return the number of windows of a scene, those of the coarse pass included."""
    return sum(len(WindowGrid().starts(-(-size // cell))) ** 2 for cell in (1, 4))


def write_scenes(folder: Path, count: int, size: int) -> None:
    """Write scenes of land under broken cloud, turned and of other brightness."""
    light = probe_patches(3, size)[1]
    georeference = {"crs": "EPSG:32633", "transform": from_origin(500000, 5500000, 10, 10)}
    shape = {"count": 3, "height": size, "width": size, "dtype": "uint16"}
    for i in range(count):
        dn = np.rint(np.rot90(light, i, (1, 2)) * 2750 * (1 - i / 10 / count)).clip(1)
        with rasterio.open(
            folder / f"{i}.tif", "w", driver="GTiff", **shape, **georeference
        ) as out:
            out.write(dn.astype(np.uint16))


def seconds_of(scenes: Path, out: Path, options: tuple[str, ...]) -> float:
    """Return the seconds of a worker for a scene, the median of a batch."""
    command = [sys.executable, "-m", "geodecloud", "batch", str(scenes), str(out), *options]
    subprocess.run([*command, "-q", "--force"], check=True)  # much of each scene is invented
    lines = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    return statistics.median(line["seconds"] for line in lines)


def dask_seconds(scenes: Path, out: Path, workers: int) -> float:
    """Return the same for the workers of a Dask cluster of this machine."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
        return seconds_of(scenes, out, ("--scheduler", cluster.scheduler_address))


def network_seconds(count: int = 64) -> float:
    """Return the seconds per window of the network alone in one thread."""
    predictor = load_predictor(ModelSpec(device="cpu"), threads=1)
    patches = np.random.default_rng(0).random((count, 3, 64, 64), np.float32)
    predictor(patches[:16], np.zeros(3, np.float32))
    begun = time.perf_counter()
    predictor(patches, np.zeros(3, np.float32))
    return (time.perf_counter() - begun) / count


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
