"""Name the values of a raster: GDAL's category names, in the file that GDAL keeps beside it."""

from collections.abc import Mapping
from pathlib import Path

_HIGHEST = 255


def category_names(names: Mapping[int, str]) -> str:
    """Return the names of the values 0 to 255 as the text of an .aux.xml file."""
    every = (names.get(value, "") for value in range(_HIGHEST + 1))
    return _PAM.format(listed="".join(f"      <Category>{name}</Category>\n" for name in every))


def write_categories(path: Path, names: Mapping[int, str]) -> None:
    """Write the names into the file that GDAL keeps beside a raster, which may be there."""
    beside = path.with_name(path.name + ".aux.xml")
    text = category_names(names)
    if beside.exists():  # a CRS that GeoTIFF cannot hold, say
        band = text.partition("<PAMDataset>\n")[2].partition("</PAMDataset>")[0]
        text = beside.read_text("utf-8").replace("</PAMDataset>", f"{band}</PAMDataset>")
    beside.write_text(text, "utf-8")


_PAM = """\
<PAMDataset>
  <PAMRasterBand band="1">
    <CategoryNames>
{listed}    </CategoryNames>
  </PAMRasterBand>
</PAMDataset>
"""
