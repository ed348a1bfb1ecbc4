"""Rasters of one band each as one: the text of a VRT, which GDAL opens like a file."""

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geodecloud.errors import SceneError

COLOURS = ("red", "green", "blue")
BANDS = ("B04", "B03", "B02")  # Sentinel-2's red, green and blue
_SENTINEL = re.compile(r"(?:^|_)T\d\d[A-Z]{3}_\d{8}T\d{6}_B0[234]")
TYPES = {  # of rasterio and of a VRT
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}


@dataclass(frozen=True)
class Tags:
    """What a product's metadata says: of all, and of red, green and blue."""

    product: dict[str, str] = field(default_factory=dict)
    bands: tuple[dict[str, str], ...] = ({}, {}, {})


def open_raster(name: str, label: str = "") -> Any:
    """Open a raster.

    Args:
        label: what to call it in the message, if not by its name.

    Raises:
        SceneError: it cannot be opened.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(name)
    except (RasterioError, UnicodeDecodeError) as error:
        raise SceneError(f"{label or name}: cannot be opened as a raster ({error})") from error


def vrt_of(files: list[str], tags: Tags) -> str:
    """The text of a VRT.

    Args:
        files: of red, green and blue, one band each, of one grid and one of ``TYPES``.
    """
    with open_raster(files[0]) as first:
        nodata = tags.product.get("SPECIAL_VALUE_NODATA", first.nodata)
        if nodata is None and _SENTINEL.search(Path(files[0]).name):
            nodata = 0  # by the product's specification
        size = f'rasterXSize="{first.width}" rasterYSize="{first.height}"'
        crs = f"<SRS>{escape(first.crs.to_wkt())}</SRS>" if first.crs else ""
        transform = ",".join(map(repr, first.transform.to_gdal()))
        kind = TYPES[first.dtypes[0]]
    bands = []
    for number, (file, band, colour) in enumerate(zip(files, BANDS, COLOURS, strict=True), 1):
        source = f'<SourceFilename relativeToVRT="0">{escape(_absolute(file))}</SourceFilename>'
        bands.append(
            f'<VRTRasterBand dataType="{kind}" band="{number}">'
            f"<Description>{band if tags.product else colour}</Description>"
            f"<ColorInterp>{colour.title()}</ColorInterp>{_metadata(tags.bands[number - 1])}"
            + ("" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>")
            + f"<SimpleSource>{source}<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        )
    return (
        f"<VRTDataset {size}>{crs}<GeoTransform>{transform}</GeoTransform>"
        f"{_metadata(tags.product)}{''.join(bands)}</VRTDataset>"
    )


def _absolute(file: str) -> str:
    return file if file.startswith("/vsi") or "://" in file else str(Path(file).absolute())


def _metadata(tags: dict[str, str]) -> str:
    items = (f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in tags.items())
    return f"<Metadata>{''.join(items)}</Metadata>" if tags else ""
