"""Write rasters of codes, and count their pixels by code.

Such a raster has a colour table; the meanings of its codes are in GDAL's .aux.xml file beside it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from geodecloud.raster.descriptions import Kind, kind_of
from geodecloud.raster.gdal import failures_as, open_raster
from geodecloud.raster.profile import band_profile
from geodecloud.raster.scene import Scene
from geodecloud.raster.style import Colour
from geodecloud.raster.writer import RowWriter, create_band
from geodecloud.settings import Output

_HIGHEST = 255


@contextmanager
def create_codes(
    scene: Scene,
    path: Path,
    output: Output,
    description: str,
    meanings: Mapping[int, tuple[str, Colour]],
) -> Iterator[RowWriter]:
    """Open a new raster of codes on the scene's grid to write rows to: uint8, 255 is nodata.

    Args:
        description: description of the band.
        meanings: meaning and colour of each code.

    Raises:
        OutputError: the raster cannot be written, for example because the disk is full.
    """
    profile = band_profile(scene, "uint8", _HIGHEST)
    with create_band(scene, path, profile, output.format) as (out, writer):
        out.write_colormap(1, {code: colour for code, (_, colour) in meanings.items()})
        out.set_band_description(1, description)
        yield writer
    write_categories(path, {code: text for code, (text, _) in meanings.items()})


def count_codes(path: Path) -> tuple[Kind, list[dict[int, int]]] | None:
    """Return the kind of a raster that geodecloud has written, and each band's pixels per code.

    Returns:
        None: the raster is another program's, or has no codes: simulated opacity, or not uint8.

    Raises:
        SceneError: the raster cannot be read.
    """
    with open_raster(path) as file, failures_as(f"{path}: damaged or truncated"):
        kind = kind_of(file.descriptions)
        if kind in (None, "simulated opacity") or set(file.dtypes) != {"uint8"}:
            return None
        counts = np.zeros((file.count, _HIGHEST + 1), np.int64)
        for _, window in file.block_windows(1):
            for band, codes in enumerate(file.read(window=window)):
                counts[band] += np.bincount(codes.ravel(), minlength=_HIGHEST + 1)
    return kind, [{int(code): int(band[code]) for code in np.flatnonzero(band)} for band in counts]


def category_names(names: Mapping[int, str]) -> str:
    """Return the text of an .aux.xml file that names the values 0 to 255."""
    every = (names.get(value, "") for value in range(_HIGHEST + 1))
    return _PAM.format(listed="".join(f"      <Category>{name}</Category>\n" for name in every))


def write_categories(path: Path, names: Mapping[int, str]) -> None:
    """Write the names of values into a raster's .aux.xml file, which may exist already."""
    beside = path.with_name(path.name + ".aux.xml")
    text = category_names(names)
    if beside.exists():  # for example for a CRS that GeoTIFF cannot hold
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
