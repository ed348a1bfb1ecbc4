"""Decode the files of EuroSAT's tiles: JPEG, and GeoTIFF of 13 bands."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from geodecloud.data.tiles import TILE
from geodecloud.errors import DataError
from geodecloud.radiometry import multispectral_to_eurosat
from geodecloud.raster.gdal import failures_as, open_geotiff_bytes

_MULTISPECTRAL_BANDS = 13  # of EuroSAT-MS
_RGB = [4, 3, 2]  # among them, from 1


def decode_jpeg(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a tile of EuroSAT RGB: uint8 (3, 64, 64).

    Args:
        name: of the file, for messages.

    Raises:
        DataError: the picture is damaged, or of another size or mode.
    """
    if not _has_end_marker(data):
        raise DataError(f"{name}: damaged picture (its end is missing)")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            _refuse_other_size(*picture.size, name)
            if picture.mode != "RGB":
                raise DataError(f"{name}: its mode is {picture.mode}, not RGB")
            return np.asarray(picture).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not a JPEG" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{name}: damaged picture ({reason})") from error


def decode_multispectral(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a tile of EuroSAT-MS as EuroSAT RGB has it: uint8 (3, 64, 64), red, green, blue.

    Args:
        name: of the file, for messages.

    Raises:
        DataError: the file is damaged, of another size, or not of 13 bands of uint16.
    """
    if not data:
        raise DataError(f"{name}: damaged GeoTIFF (empty)")
    with failures_as(f"{name}: damaged GeoTIFF", DataError), open_geotiff_bytes(data) as dataset:
        if dataset.count != _MULTISPECTRAL_BANDS or set(dataset.dtypes) != {"uint16"}:
            raise DataError(
                f"{name}: {dataset.count} bands of {dataset.dtypes[0]}, "
                f"not EuroSAT's {_MULTISPECTRAL_BANDS} of uint16"
            )
        _refuse_other_size(dataset.width, dataset.height, name)
        return multispectral_to_eurosat(dataset.read(_RGB))


def _has_end_marker(data: bytes) -> bool:
    """Return whether a JPEG ends with its end marker, for decoders fill up what is missing.

    In the data of a scan, which follow its SOS marker, no marker occurs (ITU-T T.81, B.1.1.5).
    """
    end = data.find(b"\xff\xd9", data.rfind(b"\xff\xda"))
    return end > 0 and not data[end + 2 :].strip(b"\x00")


def _refuse_other_size(width: int, height: int, name: str) -> None:
    if (width, height) != (TILE, TILE):
        raise DataError(f"{name}: {width}x{height} pixels, not {TILE}x{TILE}")
