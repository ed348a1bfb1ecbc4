"""Read what an ``xarray.DataArray`` states about its pixels, by rioxarray."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import UsageError
from geodecloud.raster.array import ArrayInfo
from geodecloud.raster.bands import COLOURS, colour_of
from geodecloud.raster.grid import Grid, grids_match

_ROUNDING = 0.1  # pixels; a coordinate this far from its place was rounded, not moved
# Attributes that are no tags of a file: its structure, which is written as such.
_STRUCTURE = {"_FillValue", "missing_value", "scale_factor", "add_offset", "long_name"}
_STRUCTURE |= {"AREA_OR_POINT", "bidx", "ns"}  # the last two are parameters of rasterio


def bands_first(data: Any) -> Any:
    """Return an ``xarray.DataArray`` in memory, in the order bands, rows, columns.

    Raises:
        UsageError: it is no DataArray, is empty, or has other dimensions; or rioxarray is missing.
    """
    try:
        import xarray
        from rioxarray.exceptions import DimensionError  # rioxarray gives DataArray its .rio
    except ImportError as error:
        raise UsageError("a DataArray needs rioxarray: pip install 'geodecloud[xarray]'") from error

    if not isinstance(data, xarray.DataArray):
        raise UsageError(f"`data` is of type {type(data).__name__}: {_remedy(data)}")
    try:
        rows, columns = data.rio.y_dim, data.rio.x_dim
    except DimensionError as error:
        raise UsageError(
            f"the array has dimensions {data.dims}: rename columns to x and rows to y, "
            'like data.rename(lon="x", lat="y")'
        ) from error
    bands = [name for name in data.dims if name not in (rows, columns)]
    if len(bands) != 1:
        raise UsageError(
            f"the array has dimensions {data.dims}: bands, rows and columns are needed"
        )
    if not data.size:
        raise UsageError(f"the array has shape {data.shape}: it is empty")
    return data.transpose(*bands, rows, columns).compute()


def _remedy(data: Any) -> str:
    """Return what to give in place of ``data``, which is no DataArray."""
    if hasattr(data, "data_vars"):  # a Dataset
        return 'give a DataArray, like data.to_dataarray("band")'
    if hasattr(data, "__array__"):
        return "give a DataArray, or call decloud_array"
    return "give a DataArray, like rioxarray.open_rasterio(path)"


def info_of(data: Any) -> ArrayInfo:
    """Return what a DataArray, bands first, states about its pixels.

    Raises:
        UsageError: its CRS, coordinates, nodata value, scale or offset are of no use.
    """
    try:
        crs = data.rio.crs
    except (RuntimeError, ValueError) as error:  # of pyproj, of rasterio
        raise UsageError(
            f"the array's CRS cannot be read ({error}); set it by data.rio.write_crs"
        ) from error
    return ArrayInfo(
        crs=crs.to_wkt() if crs else None,
        transform=_transform_of(data) if crs else None,
        nodata=_nodata_of(data),
        descriptions=_names_of_bands(data),
        scales=_numbers_of_bands(data, "scale_factor", "scales"),
        offsets=_numbers_of_bands(data, "add_offset", "offsets"),
        tags=_tags_of(data),
    )


def _transform_of(data: Any) -> Any:
    """Return the transform: as stated, or by the coordinates where they contradict it.

    rioxarray's own stays as it was when an array is cut, thinned or turned.
    """
    _, rows, columns = data.dims
    if not {rows, columns} <= set(data.coords):
        return data.rio.transform()
    for axis in (columns, rows):
        _refuse_uneven(data.coords[axis])
    shape, crs = data.shape[1:], data.rio.crs
    stated, found = data.rio.transform(), data.rio.transform(recalc=True)
    same = grids_match(Grid(shape, stated, crs), Grid(shape, found, crs), tolerance=_ROUNDING)
    return stated if same else found  # the stated one has no rounding


def _refuse_uneven(axis: Any) -> None:
    """Refuse coordinates that are not those of pixels of one size.

    Raises:
        UsageError: they are not evenly spaced.
    """
    places = axis.values
    if len(places) == 1:
        return
    if places.dtype.kind in "iuf":
        even = np.linspace(places[0], places[-1], len(places), dtype=np.float64)
        step = abs(even[1] - even[0])
        rounding = _ROUNDING * step + np.spacing(np.abs(places).max())
        if step > 0 and (np.abs(places - even) <= rounding).all():
            return
    raise UsageError(
        f"the array's coordinates {axis.name} are not evenly spaced: give a part without gaps, "
        "or resample it by data.interp"
    )


def _nodata_of(data: Any) -> float | None:
    """Return the value that means nodata in the array; None: there is none.

    Holes of floats are NaN where xarray has decoded them, and where NaN occurs but the stated
    value does not, as after ``data.where``. A pixel may have that value after decoding.
    """
    try:
        encoded = data.rio.encoded_nodata
        if encoded is not None:
            return float("nan") if data.dtype.kind == "f" else float(encoded)
        stated = data.rio.nodata
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(
            f"the array is of {data.dtype}, which cannot hold its nodata value ({error}); set "
            "another by data.rio.write_nodata"
        ) from error
    values = data.values
    if data.dtype.kind == "f" and np.isnan(values).any() and not (values == stated).any():
        return float("nan")
    return None if stated is None else float(stated)


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
    return tuple(str(name or "") for name in _of_bands(data, names)) if _is_many(names) else ()


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray)


def _of_bands(data: Any, stated: Sequence[Any]) -> list[Any]:
    """Return the array's part of what is stated for all bands of its file; empty: not clear.

    A selection of bands keeps the attributes of all. rioxarray numbers bands from 1.
    """
    bands = data.dims[0]
    numbers = data.coords[bands].values if bands in data.coords else np.array([])
    known = numbers.dtype.kind in "iu" and bool(((numbers >= 1) & (numbers <= len(stated))).all())
    if known:
        return [stated[number - 1] for number in numbers]
    return list(stated) if len(stated) == len(data) else []


def _numbers_of_bands(data: Any, name: str, by_band: str) -> tuple[float, ...]:
    """Return an attribute of numbers, one for each band; empty: it is not stated.

    Args:
        name: the attribute if all bands have the same number.
        by_band: the attribute if they differ.

    Raises:
        UsageError: it is not a number, or not one for each band.
    """
    name = by_band if data.attrs.get(by_band) is not None else name
    stated = data.attrs.get(name)
    if stated is None:
        return ()
    try:
        numbers = [float(number) for number in np.ravel(stated)]
    except (TypeError, ValueError):
        numbers = []
    found = numbers * len(data) if len(numbers) == 1 else _of_bands(data, numbers)
    if not found:
        raise UsageError(
            f"the array's attribute {name} is {stated!r}: give a number, or one for each of its "
            f"{len(data)} bands"
        )
    return tuple(found)


def _tags_of(data: Any) -> dict[str, str]:
    """Return the attributes that are texts or numbers, as tags of a file.

    GDAL would cut a name at its colon or equals sign.
    """
    tags = {
        str(name).rpartition(":")[2]: str(value).encode(errors="replace").decode()
        for name, value in data.attrs.items()
        if isinstance(value, str | int | float | np.number)
    }
    if "platform" in data.coords:
        tags["PLATFORM"] = str(data["platform"].values)
    usable = (name for name in tags if name and "=" not in name and name not in _STRUCTURE)
    return {name: tags[name] for name in usable}


def codes_like(data: Any, codes: NDArray[Any], name: str) -> Any:
    """Return codes as a DataArray with the rows and columns of ``data``, bands first.

    Args:
        codes: uint8 (rows, columns); 255 is nodata.
        name: name of the array, like provenance.
    """
    import xarray

    bands, *dims = data.dims
    coords = {one: value for one, value in data.coords.items() if bands not in value.dims}
    array = xarray.DataArray(codes, dims=dims, coords=coords, name=name)
    return array.rio.write_nodata(255)
