"""Make tiny Sentinel-2 products for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

_NAME = "S2A_MSI{level}_20221005T115411_N{baseline}_R023_T29UNU_20221005T164454.SAFE"
_GRANULE = "{level}_T29UNU_A038058_20221005T115407"
_TILE = "T29UNU_20221005T115411"
_BANDS = ("B02", "B03", "B04", "B08")
COARSE = {"B05": 20, "B8A": 20, "B11": 20, "SCL": 20, "B09": 60}  # metres

_PRODUCT = """<?xml version="1.0" encoding="UTF-8"?>{doctype}
<n1:Level-{short}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{short}.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>2022-10-05T11:54:11.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>{uri}</PRODUCT_URI><PROCESSING_LEVEL>Level-{short}</PROCESSING_LEVEL>
<PRODUCT_TYPE>S2MSI{short}</PRODUCT_TYPE><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Query_Options completeSingleTile="true"><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT>
</Query_Options><Product_Organisation><Granule_List>
<Granule granuleIdentifier="S2A_OPER_MSI_{level}_TL_X_A038058_T29UNU_N04.00" imageFormat="JPEG2000">
{images}</Granule></Granule_List></Product_Organisation></Product_Info>
<Product_Image_Characteristics>
<Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
<SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
{values}</Product_Image_Characteristics></n1:General_Info></n1:Level-{short}_User_Product>
"""
_VALUES = {
    "L1C": "<QUANTIFICATION_VALUE unit='none'>10000</QUANTIFICATION_VALUE>"
    "<Radiometric_Offset_List>{offsets}</Radiometric_Offset_List>",
    "L2A": "<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit='none'>10000"
    "</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>"
    "<BOA_ADD_OFFSET_VALUES_LIST>{offsets}</BOA_ADD_OFFSET_VALUES_LIST>",
}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}
_TILE_XML = """<?xml version="1.0" encoding="UTF-8"?>
<n1:Level-{short}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{short}_Tile_Metadata.xsd">
<n1:Geometric_Info><Tile_Geocoding metadataLevel="Brief">
<HORIZONTAL_CS_NAME>WGS84 / UTM zone 29N</HORIZONTAL_CS_NAME>
<HORIZONTAL_CS_CODE>EPSG:32629</HORIZONTAL_CS_CODE>
{sizes}</Tile_Geocoding></n1:Geometric_Info></n1:Level-{short}_Tile_ID>
"""


def write_product(
    folder: Path,
    dn: NDArray[Any],
    level: str = "L2A",
    baseline: str = "04.00",
    offset: int | None = -1000,
    doctype: str = "",
    coarse: dict[str, NDArray[Any]] | None = None,
) -> Path:
    """Write a product whose red, green and blue are ``dn``, uint16 (3, rows, columns), at 10 m.

    Its near infrared is half of red.

    Args:
        coarse: further bands at the resolutions of ``COARSE``, by name.
        offset: of each band, in the metadata; None: not there, as before baseline 04.00.
    """
    root = folder / _NAME.format(level=level, baseline=baseline.replace(".", ""))
    granule = _GRANULE.format(level=level)
    images = f"GRANULE/{granule}/IMG_DATA" + ("/R10m" if level == "L2A" else "")
    end = "_10m" if level == "L2A" else ""
    (root / images).mkdir(parents=True)
    more = {}
    for band in coarse or {}:
        metres = COARSE[band]
        own = f"/R{metres}m" if level == "L2A" else ""
        tail = f"_{metres}m" if level == "L2A" else ""
        more[band] = f"GRANULE/{granule}/IMG_DATA{own}/{_TILE}_{band}{tail}"
    stems = {band: f"{images}/{_TILE}_{band}{end}" for band in _BANDS}
    offsets = "".join(
        f'<{_OFFSET[level]} band_id="{band}">{offset}</{_OFFSET[level]}>' for band in range(13)
    )
    words = {
        "level": level,
        "short": level[1:],
        "uri": root.name,
        "baseline": baseline,
        "images": "".join(
            f"<IMAGE_FILE>{stem}</IMAGE_FILE>" for stem in [*stems.values(), *more.values()]
        ),
        "values": _VALUES[level].format(offsets="" if offset is None else offsets),
        "doctype": doctype,
    }
    (root / f"MTD_MSI{level}.xml").write_text(_PRODUCT.format_map(words))
    height, width = dn.shape[1:]
    sizes = "".join(
        f'<Size resolution="{metres}"><NROWS>{height * 10 // metres}</NROWS>'
        f"<NCOLS>{width * 10 // metres}</NCOLS></Size>"
        f'<Geoposition resolution="{metres}"><ULX>499980</ULX><ULY>5900040</ULY>'
        f"<XDIM>{metres}</XDIM><YDIM>-{metres}</YDIM></Geoposition>"
        for metres in (10, 20, 60)
    )
    words["sizes"] = sizes
    (root / "GRANULE" / granule / "MTD_TL.xml").write_text(_TILE_XML.format_map(words))
    for band, values in zip(_BANDS, [dn[2], dn[1], dn[0], dn[0] // 2], strict=True):
        write_jp2(root / f"{stems[band]}.jp2", values)
    for band, values in (coarse or {}).items():
        path = root / f"{more[band]}.jp2"
        path.parent.mkdir(exist_ok=True)
        write_jp2(path, values, COARSE[band])
    return root


def write_jp2(path: Path, values: NDArray[Any], metres: int = 10) -> Path:
    """Write one band without loss, on the grid of the products."""
    shape = {"count": 1, "height": values.shape[0], "width": values.shape[1]}
    grid = {"crs": "EPSG:32629", "transform": from_origin(499980, 5900040, metres, metres)}
    options = {"QUALITY": "100", "REVERSIBLE": "YES", "driver": "JP2OpenJPEG"}
    with rasterio.open(path, "w", **shape, **grid, **options, dtype=values.dtype) as out:
        out.write(np.asarray(values), 1)
    return path
