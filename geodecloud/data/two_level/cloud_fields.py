"""Load real cloud fields: the light that clouds add, cut from scenes over dark ground.

A field is a grey picture of 512x512: 0 is no cloud, 1 (255 in 8 bits) is opaque cloud.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geodecloud.data.two_level.field_bank import SIDE
from geodecloud.errors import DataError
from geodecloud.raster.descriptions import kind_of
from geodecloud.raster.gdal import failures_as, open_raster

CLOUD = 0.05  # least value of a field where a pixel has cloud

_PICTURES = (".png", ".webp")
_RASTERS = (".tif", ".tiff")
_EIGHT_BIT = ("L", "P", "RGB", "RGBA", "LA")  # Pillow's modes; WebP cannot store grey alone
_TOLERANCE = 1e-3  # by which floats may lie beyond 0 and 1, from rounding
_GREY = 3  # of 255, by which the bands of grey may differ; lossy WebP makes them differ by 1


def load_cloud_fields(folder: Path) -> NDArray[np.uint8]:
    """Read all fields of a folder.

    Args:
        folder: of grey pictures: PNG or WebP (8 bits) or GeoTIFF (8 bits, or floats of 0..1).

    Returns:
        uint8 (count, 512, 512), in the order of the names; larger pictures are cut into fields.
        Declared nodata is no cloud.

    Raises:
        DataError: the folder has no field, or a picture cannot be read, is not grey, has other
            values, has no cloud, or is smaller than 512x512.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of cloud fields")
    paths = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in _PICTURES + _RASTERS]
    if not paths:
        raise DataError(f"{folder}: no cloud fields in it; give grey PNG, WebP or GeoTIFF files")
    return np.concatenate([_cut(_read(path), path) for path in paths])


def _read(path: Path) -> NDArray[np.uint8]:
    """Read one grey picture with cloud in it as uint8 (rows, columns)."""
    bands = _eight_bit(_read_bands(path), path)
    if np.ptp(bands, axis=0).max() > _GREY:
        raise DataError(f"{path}: its bands differ; give a grey picture, the light of cloud alone")
    field: NDArray[np.uint8] = bands[0]
    if field.max() < CLOUD * 255:
        raise DataError(
            f"{path}: no cloud in it, its values reach {field.max()} of 255; give fields with cloud"
        )
    return field


def _read_bands(path: Path) -> NDArray[Any]:
    """Read the field, and then the bands that should equal it: (bands, rows, columns)."""
    try:
        if path.suffix.lower() in _PICTURES:
            with Image.open(path) as picture:
                if picture.mode not in _EIGHT_BIT:
                    raise DataError(
                        f"{path}: pixels of mode {picture.mode}; give 8 bits, or a GeoTIFF"
                    )
                bands = picture.convert("L"), *picture.convert("RGB").split()
                return np.stack([np.asarray(band) for band in bands])
        with open_raster(path) as raster, failures_as(f"{path}: damaged"):
            kind = kind_of(raster.descriptions)
            if kind not in (None, "simulated opacity"):
                raise DataError(
                    f"{path}: holds {kind}, not the light of cloud; cut fields with "
                    "geodecloud cloud-fields"
                )
            shown = [
                band
                for band, meaning in zip(raster.indexes, raster.colorinterp, strict=True)
                if meaning.name != "alpha"
            ]
            values: NDArray[Any] = raster.read(shown, masked=True).filled(0)  # nodata: no cloud
            return values
    except OSError as error:  # Pillow's, or a raster that cannot be opened
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: cannot be read as a cloud field ({error})") from error


def _eight_bit(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """Return values of 0..1, or of 8 bits, as uint8."""
    if values.dtype == np.uint8:
        return values
    field = np.nan_to_num(values.astype(np.float32))
    least, greatest = field.min(), field.max()
    if values.dtype.kind != "f" or least < -_TOLERANCE or greatest > 1 + _TOLERANCE:
        raise DataError(
            f"{path}: {values.dtype} values from {least:g} to {greatest:g}; "
            "give 8 bits, or floats from 0 to 1"
        )
    eight_bit: NDArray[np.uint8] = np.rint(field.clip(0, 1) * 255).astype(np.uint8)
    return eight_bit


def _cut(picture: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Cut a picture into fields side by side, uint8 (count, 512, 512)."""
    rows, columns = (length // SIDE for length in picture.shape)
    if not rows * columns:
        raise DataError(
            f"{path}: {picture.shape[1]}x{picture.shape[0]} pixels; give at least {SIDE}x{SIDE}"
        )
    grid = picture[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    fields: NDArray[np.uint8] = grid.swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    return fields
