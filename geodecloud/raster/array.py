"""Write an array as a raster, and read a raster as an array; NumPy, and xarray by rioxarray."""

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

_LOCAL_CRS = 'LOCAL_CS["array"]'  # of an array without a CRS: no warning that a file lacks one


@dataclass(frozen=True)
class ArrayInfo:
    """Nodata value, georeference and band descriptions of an array.

    crs, transform, nodata: as rasterio takes them; None: there is none.
    descriptions: of all bands, or none.
    tags: of the file, like the satellite's name.
    """

    crs: Any = None
    transform: Any = None
    nodata: float | None = None
    descriptions: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_dataarray(cls, data: Any) -> Self:
        """Return what rioxarray knows of an ``xarray.DataArray``."""
        return cls(
            crs=data.rio.crs.to_wkt() if data.rio.crs else None,
            transform=data.rio.transform() if data.rio.crs else None,
            nodata=data.rio.nodata if data.rio.encoded_nodata is None else data.rio.encoded_nodata,
            descriptions=_names_of_bands(data),
            tags={"PLATFORM": str(data["platform"].values)} if "platform" in data.coords else {},
        )


def _names_of_bands(data: Any) -> tuple[str, ...]:
    """Return the names of the bands of a DataArray, bands first; none: they have no names.

    stackstac and odc-stac label the dimension of the bands, or give their common names beside it;
    rioxarray keeps descriptions in ``long_name``.
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
    """Write (bands, rows, columns) to an uncompressed GeoTIFF.

    Args:
        valid: bool (rows, columns), for the file's mask; None: it has none.

    Raises:
        SceneError: a type that GeoTIFF does not have, or a nodata that the type does not.
        OutputError: it cannot be written.
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
    """Return all of a raster: (bands, rows, columns).

    Raises:
        SceneError: it cannot be read.
    """
    with open_raster(path) as file, failures_as(f"{path}: damaged or truncated"):
        values: NDArray[Any] = file.read()
    return values


def read_valid(path: Path) -> NDArray[np.bool_]:
    """Return where a raster has data by its mask: bool (rows, columns).

    Raises:
        SceneError: it cannot be read.
    """
    with open_raster(path) as file, failures_as(f"{path}: damaged or truncated"):
        valid: NDArray[np.bool_] = file.dataset_mask() > 0
    return valid


def bands_first(data: Any) -> Any:
    """Return an ``xarray.DataArray`` with its dimensions in the order bands, rows, columns.

    Raises:
        UsageError: it has other dimensions.
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
    """Return ``scale`` and ``offset`` of DN that xarray has left as they are.

    Args:
        attributes: of a DataArray: value = DN * scale_factor + add_offset.
    """
    factor = float(attributes.get("scale_factor", 1.0))
    offset = float(attributes.get("add_offset", 0.0))
    if factor == 1:  # a bare offset is one of the DN, as in a file
        return {"offset": offset} if offset else {}
    return {"scale": 1 / factor, "offset": offset / factor}
