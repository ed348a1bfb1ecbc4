"""Divide the processor time of a start, as of ``geodecloud SRC DST``, among its parts.

    OMP_NUM_THREADS=1 python benchmarks/start.py SRC [--scale 10000 --offset 0]

One part after the other, but for PyTorch's library, which another thread loads while NumPy is
imported. The first start on a machine compares bf16 with fp32, so run this twice.
"""

import tempfile
import time
import warnings
from pathlib import Path

marks = [("Python", time.process_time())]


def mark(name: str) -> None:
    """End a part of the start."""
    marks.append((name, time.process_time()))


def main() -> None:
    """Go through the start, then print the seconds of each part."""
    import argparse

    from geodecloud.cli import main as _program  # noqa: F401

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("src", type=Path)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--offset", type=float, default=0.0)
    given = parser.parse_args()
    mark("command line")
    from geodecloud.model.startup import quick_imports

    with quick_imports():
        import numpy as np  # noqa: F401

        mark("NumPy; PyTorch's library beside it")
        import torch  # noqa: F401

        mark("PyTorch")
        from geodecloud.model.predictor import load_predictor

        predictor = load_predictor(threads=1)
        mark("model loaded")
        from geodecloud.decloud import decloud_scene
        from geodecloud.settings import Settings

        mark("the rest, with rasterio and SciPy")
    settings = Settings().replace(threads=1)
    if given.scale:
        settings = settings.replace(scale=given.scale, offset=given.offset)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        decloud_scene(given.src, Path(folder) / "out.tif", predictor, settings)
    mark("the scene")
    before = 0.0
    for name, seconds in marks:
        print(f"{name:<38}{seconds - before:>8.3f} s")
        before = seconds
    print(f"{'all':<38}{before:>8.3f} s of processor time")


if __name__ == "__main__":
    main()
