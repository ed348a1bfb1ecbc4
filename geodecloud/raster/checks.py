"""Refuse rasters that are not scenes or are too large, before any pixel is read."""

from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from geodecloud.errors import GeoreferenceWarning, SceneError, counted, warn
from geodecloud.raster.descriptions import kind_of

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
# No scene is larger, but a damaged or malicious file may claim to be. The land of the Earth at 30 m
# has 1.7e11 pixels; `aoi` restores a part of such a mosaic.
_MOST_PIXELS = 10**11
_MOST_BYTES = 2**30  # of a block, or of one row of windows
_WINDOW_ROWS = 64


def refuse_too_large(dataset: Any, path: Path, area: Window) -> None:
    """Refuse a scene that does not fit into memory, before allocating anything of its size.

    Raises:
        SceneError: its area, a row of windows, or a block is too large.
    """
    if area.width * area.height > _MOST_PIXELS:
        raise SceneError(
            f"{path}: declares {area.width} x {area.height} pixels, more than "
            f"{_MOST_PIXELS:.0e}; restore it in parts (`aoi`)"
        )
    bytes_per_pixel = np.dtype(dataset.dtypes[0]).itemsize * dataset.count
    if area.width * _WINDOW_ROWS * bytes_per_pixel > _MOST_BYTES:
        raise SceneError(
            f"{path}: {_WINDOW_ROWS} rows of {area.width} pixels in {dataset.count} bands do not "
            "fit into memory; restore it in parts (`aoi`), or fewer bands"
        )
    height, width = dataset.block_shapes[0]
    if height * width * bytes_per_pixel > _MOST_BYTES:
        raise SceneError(
            f"{path}: its blocks of {width} x {height} do not fit into memory; "
            "tile it with gdal_translate -co TILED=YES"
        )


def refuse_unfit(dataset: Any, path: Path) -> None:
    """Refuse a raster that is not a scene, and warn if it has no CRS.

    Raises:
        SceneError: there are too few bands, or they hold no reflectance.
    """
    types = ", ".join(sorted(set(dataset.dtypes)))
    if "complex" in types:
        raise SceneError(f"{path}: complex numbers ({types}); give real-valued bands")
    if kind := kind_of(dataset.descriptions):
        raise SceneError(f"{path}: holds {kind}, not a scene; give the scene itself")
    if ColorInterp.palette in dataset.colorinterp:
        raise SceneError(f"{path}: a palette picture; expand it with gdal_translate -expand rgb")
    if not dataset.count and dataset.subdatasets:
        raise SceneError(
            f"{path}: holds {counted(len(dataset.subdatasets), 'subdataset')}, like "
            f"{dataset.subdatasets[0]}; give one, or join some by gdalbuildvrt -separate"
        )
    if dataset.count < 3:
        raise SceneError(
            f"{path}: {counted(dataset.count, 'band')}, but red, green and blue are needed; if "
            "each band is a file, give their folder"
        )
    if types not in DTYPES:
        raise SceneError(f"{path}: {types} bands; convert to one type of {', '.join(DTYPES)}")
    if len({str(value) for value in dataset.nodatavals}) > 1:
        raise SceneError(
            f"{path}: nodata {dataset.nodatavals} differs by band; declare one value for all"
        )
    if dataset.crs is None and not dataset.gcps[0] and not dataset.rpcs:
        warn(GeoreferenceWarning, f"{path}: has no CRS; outputs on its grid have none either")
