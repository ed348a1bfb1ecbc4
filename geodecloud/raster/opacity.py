"""Write how opaque the cloud over each pixel is, and how deep a cloud's shadow, in percent."""

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

NO_PERCENT = 255  # where there are no data
_QUARTERS = ("1-25", "26-50", "51-75", "76-100")
# For people, the meaning of ranges of the codes of each band.
LEGENDS = (
    {"0": "no cloud"} | dict.fromkeys(_QUARTERS, "opacity in percent"),
    {"0": "no shadow"} | dict.fromkeys(_QUARTERS, "shadow in percent") | {"255": "nodata"},
)
# No colour table in the file: GDAL takes the second of two bands for alpha where the first has one,
# in each copy and COG, and gdalwarp then erases both wherever there is no shadow.
_STYLED: tuple[tuple[int, str, Colour], ...] = (
    (0, "no cloud", (0, 0, 0, 0)),
    (1, "cloud: 1 %", (40, 60, 160, 255)),
    (50, "cloud: 50 %", (90, 170, 220, 255)),
    (100, "cloud: 100 %", (255, 255, 255, 255)),
)
_NODATA: Colour = (90, 90, 90, 255)


def style() -> str:
    """Return the style of opacity for QGIS, as the text of a .qml file."""
    return pseudocolour(_STYLED, _NODATA)


@contextmanager
def create_percent(scene: Scene, path: Path, output: Output) -> Iterator[RowWriter]:
    """Open a new raster of opacity and shadow on the scene's grid to write rows to: uint8.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    profile = band_profile(scene, "uint8", NO_PERCENT) | {"count": len(OPACITY)}
    with create_band(scene, path, profile, output.format) as (out, writer):
        out.colorinterp = (ColorInterp.gray, ColorInterp.undefined)
        out.descriptions = OPACITY
        out.units = ("%",) * len(OPACITY)
        yield writer
