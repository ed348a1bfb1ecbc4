"""Write the opacity of cloud over each pixel, and the depth of cloud shadow, in percent."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio.enums import ColorInterp

from geodecloud.raster.descriptions import OPACITY
from geodecloud.raster.profile import band_profile
from geodecloud.raster.scene import Scene
from geodecloud.raster.style import Colour, pseudocolour
from geodecloud.raster.writer import RowWriter, create_band
from geodecloud.settings import Output

NO_PERCENT = 255  # nodata
_QUARTERS = ("1-25", "26-50", "51-75", "76-100")
# Meanings of ranges of values in each band, for people.
LEGENDS = (
    {"0": "no cloud"} | dict.fromkeys(_QUARTERS, "opacity in percent"),
    {"0": "no shadow"} | dict.fromkeys(_QUARTERS, "shadow in percent") | {"255": "nodata"},
)
# The file has no colour table: with one, GDAL takes the second of two bands for alpha in each copy
# and COG. gdalwarp then erases both bands wherever there is no shadow.
_STYLED: tuple[tuple[int, str, Colour], ...] = (
    (0, "no cloud", (0, 0, 0, 0)),
    (1, "cloud: 1 %", (40, 60, 160, 255)),
    (50, "cloud: 50 %", (90, 170, 220, 255)),
    (100, "cloud: 100 %", (255, 255, 255, 255)),
)
_NODATA: Colour = (90, 90, 90, 255)


def opacity_style() -> str:
    """Return the style of opacity for QGIS, as the text of a .qml file."""
    return pseudocolour(_STYLED, _NODATA)


@contextmanager
def create_percent(scene: Scene, path: Path, output: Output) -> Iterator[RowWriter]:
    """Open a new raster of opacity and shadow on the scene's grid to write rows to: uint8.

    Raises:
        OutputError: the raster cannot be written, for example because the disk is full.
    """
    profile = band_profile(scene, "uint8", NO_PERCENT) | {"count": len(OPACITY)}
    with create_band(scene, path, profile, output.format) as (out, writer):
        out.colorinterp = (ColorInterp.gray, ColorInterp.undefined)
        out.descriptions = OPACITY
        out.units = ("%",) * len(OPACITY)
        yield writer
