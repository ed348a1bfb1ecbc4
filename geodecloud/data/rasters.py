"""Small rasters read whole, for training: EuroSAT's tiles and cloud masks."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from geodecloud.data.tiles import TILE
from geodecloud.errors import DataError
from geodecloud.radiometry import multispectral_to_eurosat
from geodecloud.raster.gdal import failures_as, open_geotiff_bytes, open_raster
from geodecloud.raster.grid import Grid, cover_alike
from geodecloud.raster.scene import Scene

_MS_BANDS = 13  # of EuroSAT-MS
_RGB = [4, 3, 2]  # among them, from 1


def decode_jpeg(data: bytes, where: str) -> NDArray[np.uint8]:
    """A tile of EuroSAT RGB, uint8 (3, 64, 64).

    Args:
        data: the bytes of the JPEG.
        where: its name, for messages.

    Raises:
        DataError: damaged, or of another size or mode.
    """
    if not _ends_where_it_says(data):
        raise DataError(f"{where}: damaged picture (its end is missing)")
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            _refuse_unfit(picture.size, where)
            if picture.mode != "RGB":
                raise DataError(f"{where}: its mode is {picture.mode}, not RGB")
            return np.asarray(picture).transpose(2, 0, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "no JPEG" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{where}: damaged picture ({reason})") from error


def _ends_where_it_says(data: bytes) -> bool:
    """Whether a JPEG's end marker comes at its end, for decoders fill up what is missing.

    In the data of a scan, which follow its SOS marker, no marker occurs (ITU-T T.81, B.1.1.5).
    """
    end = data.find(b"\xff\xd9", data.rfind(b"\xff\xda"))
    return end > 0 and not data[end + 2 :].strip(b"\x00")


def decode_multispectral(data: bytes, where: str) -> NDArray[np.uint8]:
    """Red, green and blue of a tile of EuroSAT-MS as EuroSAT RGB has them, uint8 (3, 64, 64).

    Args:
        data: the bytes of the GeoTIFF.
        where: its name, for messages.

    Raises:
        DataError: damaged, of another size, or not of 13 bands of uint16.
    """
    dn = _read_multispectral(data, where)
    _refuse_unfit((dn.shape[2], dn.shape[1]), where)
    return multispectral_to_eurosat(dn)


def _refuse_unfit(width_height: tuple[int, int], where: str) -> None:
    if width_height != (TILE, TILE):
        raise DataError(f"{where}: {'x'.join(map(str, width_height))} pixels, not {TILE}x{TILE}")


def _read_multispectral(data: bytes, where: str) -> NDArray[np.uint16]:
    if not data:
        raise DataError(f"{where}: damaged GeoTIFF (empty)")
    with failures_as(f"{where}: damaged GeoTIFF", DataError), open_geotiff_bytes(data) as dataset:
        if dataset.count != _MS_BANDS or set(dataset.dtypes) != {"uint16"}:
            found = f"{dataset.count} bands of {dataset.dtypes[0]}"
            raise DataError(f"{where}: {found}, not EuroSAT's {_MS_BANDS} of uint16")
        dn: NDArray[np.uint16] = dataset.read(_RGB)
        return dn


def read_mask(path: Path, scene: Scene) -> NDArray[Any]:
    """The first band of a mask: (rows, columns) of its own grid, which lies on the scene.

    Raises:
        DataError: it cannot be read, or covers another area than the scene.
    """
    with open_raster(path, kind="mask") as mask, failures_as(f"{path}: damaged mask", DataError):
        if not cover_alike(Grid.of(mask), Grid.of(scene.dataset)):
            raise DataError(f"{path}: covers another area than {scene.path}")
        values: NDArray[Any] = mask.read(1)
        return values
