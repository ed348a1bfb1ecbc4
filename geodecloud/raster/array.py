"""Write arrays to rasters and read rasters into arrays: NumPy, and xarray through rioxarray."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import SceneError, UsageError
from geodecloud.raster.bands import COLOURS, colour_of
from geodecloud.raster.checks import DTYPES
from geodecloud.raster.gdal import failures_as, open_raster
from geodecloud.raster.writer import create_plain

_LOCAL_CRS = 'LOCAL_CS["array"]'  # for an array without a CRS, so that no file lacks one and warns


@dataclass(frozen=True)
class ArrayInfo:
    """Nodata value, georeference and band descriptions of an array.

    crs, transform, nodata: as rasterio takes them; None if the array has none.
    descriptions: one per band, or empty.
    tags: file tags, such as the satellite's name.
    """

    crs: Any = None
    transform: Any = None
    nodata: float | None = None
    descriptions: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_dataarray(cls, data: Any) -> Self:
        """Return the information that an ``xarray.DataArray`` carries, by rioxarray."""
        return cls(
            crs=data.rio.crs.to_wkt() if data.rio.crs else None,
            transform=data.rio.transform() if data.rio.crs else None,
            nodata=data.rio.nodata if data.rio.encoded_nodata is None else data.rio.encoded_nodata,
            descriptions=_names_of_bands(data),
            tags={"PLATFORM": str(data["platform"].values)} if "platform" in data.coords else {},
        )


def _names_of_bands(data: Any) -> tuple[str, ...]:
    """Return the band names of a DataArray whose first dimension is the bands; empty: no names.

    stackstac and odc-stac label the band dimension, or store common names along it; rioxarray
    keeps descriptions in ``long_name``.
    """
    bands = data.dims[0]
    along = [bands, "common_name", *data.coords]
    for name in along:
        if name in data.coords and data.coords[name].dims == (bands,):
            labels = [str(label) for label in data.coords[name].values]
            if sum(colour_of(label) is not None for label in labels) >= len(COLOURS):
                return tuple(labels)
    names = data.attrs.get("long_name", ())
    return tuple(names) if isinstance(names, list | tuple) else ()


def write_array(
    path: Path, values: NDArray[Any], info: ArrayInfo, valid: NDArray[np.bool_] | None = None
) -> None:
    """Write an array (bands, rows, columns) as an uncompressed GeoTIFF.

    Args:
        valid: bool (rows, columns), written as the file's mask; None: no mask.

    Raises:
        SceneError: GeoTIFF does not support the dtype, or the dtype cannot hold the nodata value.
        OutputError: the file cannot be written.
    """
    count, height, width = values.shape
    profile = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    profile |= {"crs": info.crs or _LOCAL_CRS, "BIGTIFF": "IF_SAFER"}
    profile |= {"transform": info.transform} if info.transform is not None else {}
    profile |= {"nodata": info.nodata} if info.nodata is not None else {}
    try:
        with create_plain(path, profile) as out:
            if len(info.descriptions) == count:
                out.descriptions = info.descriptions
            out.update_tags(**info.tags)
            out.write(values)
            if valid is not None:
                out.write_mask(valid)
    except (TypeError, ValueError) as error:
        if "nodata" in str(error):
            raise SceneError(
                f"the array is of {values.dtype}, which cannot hold {info.nodata}; give another "
                "`nodata`"
            ) from error
        raise SceneError(
            f"the array: {values.dtype} bands; convert to one type of {', '.join(DTYPES)}"
        ) from error


def read_array(path: Path) -> NDArray[Any]:
    """Return all pixels of a raster: (bands, rows, columns).

    Raises:
        SceneError: the raster cannot be read.
    """
    with open_raster(path) as file, failures_as(f"{path}: damaged or truncated"):
        values: NDArray[Any] = file.read()
    return values


def bands_first(data: Any) -> Any:
    """Return an ``xarray.DataArray`` with its dimensions in the order bands, rows, columns.

    Raises:
        UsageError: the array has other dimensions.
    """
    import rioxarray  # noqa: F401  gives DataArray its .rio

    rows, columns = data.rio.y_dim, data.rio.x_dim
    bands = [name for name in data.dims if name not in (rows, columns)]
    if len(bands) != 1:
        raise UsageError(
            f"the array has dimensions {data.dims}: bands, rows and columns are needed"
        )
    return data.transpose(*bands, rows, columns)


def provenance_like(data: Any, provenance: NDArray[Any]) -> Any:
    """Return provenance as a DataArray with the rows and columns of ``data``, bands first."""
    import xarray

    bands, *dims = data.dims
    coords = {name: value for name, value in data.coords.items() if bands not in value.dims}
    array = xarray.DataArray(provenance, dims=dims, coords=coords, name="provenance")
    return array.rio.write_nodata(255)


def stated_scale_and_offset(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Return the ``scale`` and ``offset`` of a DataArray whose DN xarray has not decoded.

    Args:
        attributes: attributes of the DataArray: value = DN * scale_factor + add_offset.
    """
    factor = float(attributes.get("scale_factor", 1.0))
    offset = float(attributes.get("add_offset", 0.0))
    if factor == 1:  # an offset without a factor is in DN, as in a file
        return {"offset": offset} if offset else {}
    return {"scale": 1 / factor, "offset": offset / factor}
