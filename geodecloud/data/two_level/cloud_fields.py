"""Real cloud fields: the light that clouds add, cut from scenes over dark ground.

A field is a grey picture of 512x512: 0 is no cloud, 1 (255 in 8 bits) as much light as cloud adds.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geodecloud.data.two_level.field_bank import SIDE
from geodecloud.errors import DataError
from geodecloud.raster.gdal import failures_as, open_raster

_PICTURES = (".png", ".webp")
_RASTERS = (".tif", ".tiff")
_EIGHT_BIT = ("L", "P", "RGB", "RGBA", "LA")  # modes of Pillow; WebP has no grey of its own
_ROUNDED = 1e-3  # by which a share of 1 may be exceeded


def load_cloud_fields(folder: Path) -> NDArray[np.uint8]:
    """Read all fields of a folder.

    Args:
        folder: of grey PNG, WebP (8 bit) or GeoTIFF (8 bit, or floats of 0..1).

    Returns:
        uint8 (count, 512, 512), in the order of the names; larger pictures are cut into fields.

    Raises:
        DataError: no field there, one cannot be read, or is smaller than 512x512.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of cloud fields")
    paths = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in _PICTURES + _RASTERS]
    if not paths:
        raise DataError(f"{folder}: no cloud fields in it (grey PNG, WebP or GeoTIFF)")
    return np.concatenate([_cut(_read(path), path) for path in paths])


def _read(path: Path) -> NDArray[np.uint8]:
    """Read one grey picture as uint8 (rows, columns)."""
    try:
        if path.suffix.lower() in _PICTURES:
            with Image.open(path) as picture:
                if picture.mode not in _EIGHT_BIT:
                    raise DataError(f"{path}: {picture.mode} pixels; give 8 bits, or a GeoTIFF")
                return np.asarray(picture.convert("L"))
        with open_raster(path) as raster, failures_as(f"{path}: damaged"):
            values = raster.read(1)
    except OSError as error:  # of Pillow, and of a raster that cannot be opened
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read as a cloud field ({error})") from error
    if values.dtype == np.uint8:
        return np.asarray(values)
    shares = np.nan_to_num(values.astype(np.float32))
    if values.dtype.kind != "f" or shares.max() > 1 + _ROUNDED:
        raise DataError(f"{path}: {values.dtype}, at most {shares.max():g}; give 8 bits or 0 to 1")
    steps: NDArray[np.uint8] = np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
    return steps


def _cut(picture: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Cut a picture into fields side by side, uint8 (count, 512, 512)."""
    rows, columns = (length // SIDE for length in picture.shape)
    if not rows * columns:
        raise DataError(f"{path}: {picture.shape[1]}x{picture.shape[0]}, at least {SIDE}x{SIDE}")
    grid = picture[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    fields: NDArray[np.uint8] = grid.swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    return fields
