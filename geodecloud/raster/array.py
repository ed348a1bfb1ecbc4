"""Write arrays to rasters, and read rasters into arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from geodecloud.errors import SceneError, UsageError
from geodecloud.raster.checks import DTYPES
from geodecloud.raster.dn import exact, holds
from geodecloud.raster.gdal import failures_as, open_raster
from geodecloud.raster.grid import LOCAL_METRES
from geodecloud.raster.writer import create_plain
from geodecloud.settings import Reading
from geodecloud.settings.option import shown
from geodecloud.settings.parse import number_of

_LOCAL_CRS = 'LOCAL_CS["array"]'  # for an array without a CRS, so that no file lacks one and warns


@dataclass(frozen=True)
class ArrayInfo:
    """Nodata value, georeference and band descriptions of an array.

    crs, transform, nodata: as rasterio takes them; None if the array has none.
    pixel_size: height and width of a pixel in metres, for an array without a CRS; None: not known.
    descriptions: one per band, or empty.
    scales, offsets: one per band, or empty: value = DN * scale + offset.
    tags: file tags, such as the satellite's name.
    """

    crs: Any = None
    transform: Any = None
    nodata: float | None = None
    pixel_size: float | None = None
    descriptions: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def grid(self) -> dict[str, Any]:
        """CRS and transform, for rasterio's profile of a file."""
        if self.crs is None and self.pixel_size is not None:
            step = Affine.scale(self.pixel_size, -self.pixel_size)
            return {"crs": LOCAL_METRES, "transform": step}
        place = {"transform": self.transform} if self.transform is not None else {}
        return {"crs": self.crs or _LOCAL_CRS, **place}


def given_info(nodata: Any, pixel_size: Any) -> ArrayInfo:
    """Return the information of a plain array, as a user gives it.

    Raises:
        UsageError: ``nodata`` is not a number, or ``pixel_size`` not a positive one.
    """
    nodata = Reading(nodata=nodata).nodata
    if pixel_size is None:
        return ArrayInfo(nodata=nodata)
    try:
        size = number_of(pixel_size)
    except ValueError:
        size = 0.0
    if size <= 0:
        raise UsageError(f"`pixel_size` is {shown(pixel_size)}: give metres, like 30")
    return ArrayInfo(nodata=nodata, pixel_size=size)


def write_array(
    path: Path, values: NDArray[Any], info: ArrayInfo, valid: NDArray[np.bool_] | None = None
) -> None:
    """Write an array (bands, rows, columns) as an uncompressed GeoTIFF.

    Args:
        values: of a dtype that :func:`refuse_dtype` lets pass.
        valid: bool (rows, columns), written as the file's mask; None: no mask.

    Raises:
        OutputError: the file cannot be written.
    """
    count, height, width = values.shape
    profile = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    profile |= {"BIGTIFF": "IF_SAFER", **info.grid}
    profile |= {"nodata": info.nodata} if info.nodata is not None else {}
    if count == 4 and values.dtype == np.uint8 and not np.isin(values[3], (0, 255)).all():
        # GDAL would take the last of four bytes for alpha, whatever its values.
        profile |= {"photometric": "RGB", "alpha": "NO"}
    with create_plain(path, profile) as out:
        if len(info.descriptions) == count:
            out.descriptions = info.descriptions
        if info.scales:
            out.scales = info.scales
        if info.offsets:
            out.offsets = info.offsets
        out.update_tags(**info.tags)
        out.write(values)
        if valid is not None:
            out.write_mask(valid)


def refuse_dtype(dtype: np.dtype[Any], nodata: float | None) -> None:
    """Refuse an array that no scene can hold.

    Raises:
        SceneError: the dtype is not one of ``DTYPES``, or cannot hold the nodata value.
    """
    if str(dtype) not in DTYPES:
        lists = "; nested lists of whole numbers are int64" if dtype == np.int64 else ""
        raise SceneError(
            f"the array: {dtype} bands; convert to one type of {', '.join(DTYPES)}{lists}"
        )
    if nodata is not None and not holds(dtype, nodata):
        raise SceneError(
            f"the array is of {dtype}, which cannot hold {exact(nodata)}; give another `nodata`"
        )


def read_array(path: Path) -> NDArray[Any]:
    """Return all pixels of a raster: (bands, rows, columns).

    Raises:
        SceneError: the raster cannot be read.
    """
    with open_raster(path) as file, failures_as(f"{path}: damaged or truncated"):
        values: NDArray[Any] = file.read()
    return values
