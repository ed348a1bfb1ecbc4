"""Measure the cost of the fill: a scene with 30 % opaque cloud, filled and kept.

    OMP_NUM_THREADS=1 python benchmarks/fill.py CLEAR.tif [--opaque 0.3] [--rounds 3]

CLEAR.tif is a clear 16-bit scene, reflectance x 10000. White cloud covers it where noise with a
power-law spectrum is high. Both ways take turns on one thread. Seconds are processor time, which
other work on the machine disturbs less.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import rasterio
from generality import power_law

from geodecloud.decloud import Report, decloud_scene
from geodecloud.errors import GeodecloudWarning
from geodecloud.model.predictor import load_predictor
from geodecloud.settings import Limits, ModelSpec, Settings

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
warnings.simplefilter("ignore", GeodecloudWarning)

WHITE = 12000  # DN of opaque cloud
ONE_THREAD = Limits(threads=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clear", type=Path)
    parser.add_argument(
        "--opaque", type=float, default=0.3, help="fraction of the scene under opaque cloud"
    )
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    predictor = load_predictor(ModelSpec(device="cpu"), threads=1)
    seconds: dict[str, list[float]] = {"keep": [], "fill": []}
    with tempfile.TemporaryDirectory() as folder:
        cloudy = put_cloud(given.clear, Path(folder) / "cloudy.tif", given.opaque)
        for _ in range(given.rounds):
            for opaque, spent in seconds.items():
                settings = Settings(opaque=opaque, limits=ONE_THREAD, overwrite=True)
                begun = time.process_time()
                report = decloud_scene(cloudy, Path(folder) / "out.tif", predictor, settings)
                spent.append(time.process_time() - begun)
    show(report, seconds)


def put_cloud(clear: Path, cloudy: Path, fraction: float) -> Path:
    with rasterio.open(clear) as scene:
        dn, profile = scene.read(), scene.profile
        descriptions = scene.descriptions
    field = power_law(dn.shape[1:], np.random.default_rng(0), 2.4)
    dn[:, field > np.quantile(field, 1 - fraction)] = WHITE
    with rasterio.open(cloudy, "w", **profile) as out:
        out.write(dn)
        out.descriptions = descriptions
    return cloudy


def show(report: Report, seconds: dict[str, list[float]]) -> None:
    for opaque, spent in seconds.items():
        print(
            f"--opaque {opaque}: " + ", ".join(f"{s:.1f}" for s in spent) + " s of processor time"
        )
    ratio = min(seconds["fill"]) / min(seconds["keep"])
    filled = report.filled / (report.height * report.width)
    print(f"{filled:.1%} of the pixels filled; fastest fill / fastest keep: {ratio:.3f}")


if __name__ == "__main__":
    main()
