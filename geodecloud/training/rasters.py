"""Small rasters read whole, for training: multispectral tiles and cloud masks."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from geodecloud.errors import DataError
from geodecloud.scene import Scene

_MS_BANDS = 13  # of EuroSAT-MS
_RGB = [4, 3, 2]  # among them, from 1


def read_multispectral(data: bytes, where: str) -> NDArray[np.uint16]:
    """Red, green and blue of a EuroSAT-MS tile: DN, uint16 (3, rows, columns).

    Args:
        data: the bytes of the GeoTIFF.
        where: its name, for messages.

    Raises:
        DataError: damaged, or not of 13 bands of uint16.
    """
    if not data:
        raise DataError(f"{where}: damaged GeoTIFF (empty)")
    try:
        with MemoryFile(data) as memory, memory.open(driver="GTiff") as dataset:
            if dataset.count != _MS_BANDS or set(dataset.dtypes) != {"uint16"}:
                found = f"{dataset.count} bands of {dataset.dtypes[0]}"
                raise DataError(f"{where}: {found}, not EuroSAT's {_MS_BANDS} of uint16")
            dn: NDArray[np.uint16] = dataset.read(_RGB)
            return dn
    except RasterioError as error:
        raise DataError(f"{where}: damaged GeoTIFF ({error.__cause__ or error})") from error


def read_mask(path: Path, scene: Scene) -> NDArray[Any]:
    """The first band of a mask: (rows, columns) of its own grid, which lies on the scene.

    Raises:
        DataError: it cannot be read, or covers another area than the scene.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as mask:
                if not _same_area(mask, scene.dataset):
                    raise DataError(f"{path}: covers another area than {scene.path}")
                values: NDArray[Any] = mask.read(1)
                return values
    except RasterioError as error:
        raise DataError(f"{path}: damaged mask ({error.__cause__ or error})") from error


def _same_area(mask: Any, scene: Any) -> bool:
    """To one pixel of the coarser grid; without a CRS only the shape can tell."""
    if mask.crs and scene.crs:
        pixel = max(*map(abs, (mask.transform.a, mask.transform.e)), abs(scene.transform.a))
        apart = np.abs(np.subtract(mask.bounds, scene.bounds)).max()
        return bool(mask.crs == scene.crs and apart <= pixel)
    rows, columns = mask.height / scene.height, mask.width / scene.width
    return bool(abs(rows - columns) * scene.width <= max(1.0, rows))
