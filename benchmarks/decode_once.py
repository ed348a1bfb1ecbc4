"""Time the decoding of a JPEG 2000 scene as both passes read it, with its rows kept and without.

    OMP_NUM_THREADS=1 python benchmarks/decode_once.py SRC [--rows 1024] [--columns 10980]

SRC is mirrored to so many pixels, and written without loss as one JPEG 2000 file for each of its
bands, in tiles of 1024 x 1024, as a Sentinel-2 product has them. Seconds are processor time of all
threads of the process: a pass reads as many rows at once as a run of default memory does.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio

from geodecloud.decloud import find_cell, plan_run
from geodecloud.raster.gdal import gdal_resources
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.restore.cells import CELL
from geodecloud.restore.memory import MemoryPlan, cache_bytes
from geodecloud.restore.windows import WindowGrid, grid_of
from geodecloud.settings import Settings

BANDS = ("B02", "B03", "B04", "B08")
LOSSLESS = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": "1024", "BLOCKYSIZE": "1024"}

warnings.simplefilter("ignore")


def write_bands(src: Path, folder: Path, rows: int, columns: int) -> None:
    """Write the bands of a mirrored scene."""
    with rasterio.open(src) as scene:
        dn = scene.read()
        profile = {key: scene.profile[key] for key in ("crs", "transform", "dtype")}
    shape = {"height": rows, "width": columns, "count": 1}
    down, across = (
        np.pad(np.arange(n), (0, max(0, to - n)), mode="symmetric")[:to]
        for n, to in zip(dn.shape[1:], (rows, columns), strict=True)
    )
    for name, band in zip(BANDS, dn, strict=False):
        path = folder / f"T18TXX_20200101T000000_{name}.jp2"
        with rasterio.open(path, "w", driver="JP2OpenJPEG", **shape, **profile, **LOSSLESS) as out:
            out.write(band[down][:, across], 1)


def passes(scene: Scene, plan: MemoryPlan, grid: WindowGrid) -> Iterator[tuple[str, float]]:
    """Read all rows twice, as the passes do; yield the name of each and its seconds."""
    for name, rows in (("coarse", CELL), ("fine", plan.rows_of_windows)):
        step = rows * grid.stride
        begun = time.process_time()
        for first in range(0, scene.shape[0], step):
            scene.read(first, min(first + step, scene.shape[0]))
        yield name, time.process_time() - begun


def main() -> None:
    """Write the scene, and read it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("src", type=Path)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--columns", type=int, default=10980)
    given = parser.parse_args()
    settings = Settings(threads=1)
    # GDAL asks for the size of its cache when it opens its first raster.
    with gdal_resources(cache_bytes(settings.limits), 1), tempfile.TemporaryDirectory() as folder:
        write_bands(given.src, Path(folder), given.rows, given.columns)
        print(f"{given.rows} x {given.columns} pixels, bands: {len(list(Path(folder).iterdir()))}")
        print(f"{'rows':<12}{'coarse pass':>12}{'fine pass':>12}  s")
        for kept, room in (("in a file", 0), ("in memory", 1 << 40), ("not kept", None)):
            with open_scene(folder) as scene:
                plan = plan_run(scene, settings, find_cell(scene), scene.dataset.count - 3)
                if room is not None:
                    scene.keep_rows(plan.decoding, room)
                seconds = dict(passes(scene, plan, grid_of(settings.windows)))
            print(f"{kept:<12}{seconds['coarse']:>12.2f}{seconds['fine']:>12.2f}", flush=True)


if __name__ == "__main__":
    main()
