"""Join rasters of one band each: write the text of a VRT, which GDAL opens like a file."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from geodecloud.raster.gdal import open_raster

COLOURS = ("red", "green", "blue")
BANDS = ("B04", "B03", "B02")  # Sentinel-2's red, green and blue
# The name of a band's file in a Sentinel-2 product.
_SENTINEL = re.compile(r"(?:^|_)T\d\d[A-Z]{3}_\d{8}T\d{6}_B0[234]")
TYPES = {  # names of types: rasterio's, and a VRT's
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
    """Tags from a product's metadata: of the product, and of red, green and blue."""

    product: dict[str, str] = field(default_factory=dict)
    bands: tuple[dict[str, str], ...] = ({}, {}, {})


def vrt_of(files: list[str], tags: Tags) -> str:
    """Return the text of a VRT with three bands: red, green, blue.

    Args:
        files: one for each band, of one grid and one of ``TYPES``.
    """
    with open_raster(files[0]) as first:
        nodata = tags.product.get("SPECIAL_VALUE_NODATA", first.nodata)
        if nodata is None and _SENTINEL.search(Path(files[0]).name):
            nodata = 0  # by the specification of Sentinel-2's products
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
