"""Divide the processor time of a restored scene among its stages.

    OMP_NUM_THREADS=1 python benchmarks/where_time_goes.py SRC [--threads 1] [--stand-in]
                                                           [--scale 10000 --offset 0]

Each stage is timed by the processor time of its thread, without the stages within it. "Elsewhere"
is what no stage has: the threads of GDAL that compress, and Python between the stages. Processor
time says what a stage costs, whatever else the machine does; waiting is the wall time that is not
processor time. With --stand-in, the network's place is taken by a rule that calls bright pixels
cloud: the stages around it do the same work, and a large scene takes seconds.
"""

import argparse
import functools
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geodecloud import decloud
from geodecloud.errors import GeodecloudWarning
from geodecloud.raster import writer
from geodecloud.raster.outputs import Outputs
from geodecloud.raster.scene import Scene
from geodecloud.restore import blend, cells, coarse, coarse_pass, patches, survey_feed, window_pass
from geodecloud.restore.fill import opaque, survey
from geodecloud.settings import Settings

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
warnings.simplefilter("ignore", GeodecloudWarning)

seconds: dict[str, float] = defaultdict(float)
_lock, _within = threading.Lock(), threading.local()


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its thread's time added to a stage, less that of stages within."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        outer, _within.spent = getattr(_within, "spent", 0.0), 0.0
        begun = time.thread_time()
        try:
            return function(*args, **options)
        finally:
            spent = time.thread_time() - begun
            with _lock:
                seconds[name] += spent - _within.spent
            _within.spent = outer + spent

    return run


def time_stages() -> None:
    """Put a clock into each stage; a generator's stage is timed by the functions that it calls."""
    stages: tuple[tuple[str, Any, str], ...] = (
        ("open, calibrate", decloud, "calibrate"),
        ("read and decompress", Scene, "read"),
        ("light", patches.Network, "light"),
        ("coarse means", cells, "pooled"),
        ("shadows' places", coarse_pass, "shadow_displacement"),
        ("shadows' places", coarse_pass, "thrown_shadows"),
        ("shadows' places", coarse_pass, "with_black_shadows"),
        ("shadows' depth", coarse_pass, "find_shade"),
        ("relight", coarse.Coarse, "_relight"),
        ("gate", coarse, "gated"),
        ("survey of the land", survey_feed.SurveyFeed, "until"),
        ("land: colours and texture", survey.Survey, "finish"),
        ("context of windows", coarse.Coarse, "context"),
        ("gather windows", patches._Batch, "add"),
        ("gather windows", patches._Batch, "finished"),
        ("around the network", patches.Network, "change"),
        ("blend", blend.StripBlend, "add"),
        ("blend", blend.StripBlend, "take"),
        ("merge with the coarse answer", coarse.Coarse, "merge"),
        ("composite", decloud, "composite"),
        ("fill", opaque._Fill, "__call__"),
        ("count, check", Outputs, "_write_rows"),
        ("write, compress", writer.RowWriter, "_flush"),
        ("read back", writer, "_read_back"),
    )
    for name, owner, attribute in stages:
        setattr(owner, attribute, timed(name, getattr(owner, attribute)))
    from geodecloud.restore import screen

    screen.fill_weight = timed("screen", screen.fill_weight)  # type: ignore[assignment]


class StandIn:
    """Calls bright pixels cloud, and darkens them; takes context like the shipped model."""

    takes_context = True
    name = "stand-in"

    def __call__(self, some: NDArray[np.float32], _: NDArray[np.float32]) -> NDArray[np.float32]:
        light = np.clip(some[:, :3], 0, 1)
        opacity = np.clip(2.5 * light.mean(axis=1, keepdims=True) - 1, 0, 1)
        return np.concatenate([light * (1 - opacity / 2), opacity, 0 * opacity], axis=1)


def main() -> None:
    """Restore the scene once to warm the disk, then once with clocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("src", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stand-in", action="store_true")
    parser.add_argument("--scale", type=float)
    parser.add_argument("--offset", type=float)
    given = parser.parse_args()
    settings = Settings().replace(threads=given.threads, overwrite=True)
    if given.scale:
        settings = settings.replace(scale=given.scale, offset=given.offset or 0.0)
    if given.stand_in:
        predict: Any = StandIn()
    else:
        from geodecloud.model.predictor import Predictor, load_predictor

        predict = load_predictor(threads=given.threads)
        Predictor._predict_grain = timed("network", Predictor._predict_grain)  # type: ignore
    assert window_pass.window_pass  # its stages are timed by what they call
    time_stages()
    with tempfile.TemporaryDirectory() as folder:
        wall, begun = time.perf_counter(), time.process_time()
        report = decloud.decloud_scene(given.src, Path(folder) / "out.tif", predict, settings)
        spent, wall = time.process_time() - begun, time.perf_counter() - wall
    print(
        f"{report.height} x {report.width}, {report.windows} windows, "
        f"{report.windows - report.windows_skipped} computed"
    )
    network = seconds.get("network", 0.0)
    rest = {"elsewhere": spent - sum(seconds.values())}
    print(f"{'stage':<32}{'seconds':>9}{'of all':>8}{'of the rest':>13}")
    for name, value in sorted((seconds | rest).items(), key=lambda item: -item[1]):
        share = "" if name == "network" else f"{value / (spent - network):.1%}"
        print(f"{name:<32}{value:>9.3f}{value / spent:>8.1%}{share:>13}")
    print(f"{'all':<32}{spent:>9.3f}   wall {wall:.3f}")


if __name__ == "__main__":
    main()
