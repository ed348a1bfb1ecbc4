"""Clear Sentinel-2 scenes as windows to train on, in 16 bits, beyond the model range too.

Roofs, sand and salt are brighter than EuroSAT's 8 bits can say: only scenes show them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.data.two_level.land import WINDOW, cut_scene
from geodecloud.errors import DataError
from geodecloud.radiometry import PATH_RADIANCE
from geodecloud.raster.gdal import failures_as, open_raster

LEVELS = (1, 2, 4)
_STRIDES = {1: 32, 2: 16, 4: 8}  # pixels of the level from one window to the next
_DN_WHITE = 2750.0  # DN at the top of the model range: reflectance 0.275 x 10000
_METRES = 10.0  # on the ground, a pixel of level 1


def load_clear_scenes(folder: Path) -> dict[int, NDArray[np.uint16]]:
    """Cut all clear scenes of a folder.

    Args:
        folder: of GeoTIFFs, red, green and blue first, reflectance x 10000 without offset. A name
            with ``L2A`` in it: without path radiance, which is put back.

    Returns:
        By level, uint16 (count, 3, 64, 64), see ``land.Land``. A scene whose pixels are larger than
        a level's serves that level with the pixels that it has.

    Raises:
        DataError: no scene there, or one cannot be read.
    """
    paths = sorted(folder.glob("*.tif"))
    if not paths:
        raise DataError(f"{folder}: no clear scene (*.tif) in it")
    windows: dict[int, list[NDArray[np.uint16]]] = {level: [] for level in LEVELS}
    for path in paths:
        model, clear, metres = _read(path)
        for level in LEVELS:
            pool = max(1, round(level * _METRES / metres))
            stride = _STRIDES[level] if pool == level else WINDOW * 3 // 4
            windows[level].append(cut_scene(model, clear, pool, stride))
    return {level: np.concatenate(parts) for level, parts in windows.items()}


def _read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_], float]:
    """Read a scene: model range of L1C (3, rows, columns), where it is clear, metres of a pixel."""
    with open_raster(path) as scene, failures_as(f"{path}: cannot be read", DataError):
        dn = scene.read((1, 2, 3))
        nodata = 0 if scene.nodata is None else scene.nodata
        known = scene.crs is not None and scene.crs.is_projected
        metres = float(scene.res[0]) if known else _METRES
    model = dn.astype(np.float32) / np.float32(_DN_WHITE)
    if "L2A" in path.name:
        air = np.array(PATH_RADIANCE, np.float32)[:, None, None]
        model = air + (1 - air) * model
    return model, (dn != nodata).all(axis=0), metres
