"""Write how opaque the cloud over each pixel is, and how deep a cloud's shadow, in percent."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rasterio.enums import ColorInterp

from geodecloud.raster.profile import band_profile
from geodecloud.raster.scene import Scene
from geodecloud.raster.writer import RowWriter, create_band
from geodecloud.settings import Output

NO_PERCENT = 255  # where there are no data
BANDS = ("opacity of cloud in percent, 0: none", "shadow of cloud in percent, 0: none")
# GeoTIFF has one table of colours, for the first band: from black to white, and none without data.
COLOURS = {percent: (round(2.55 * percent),) * 3 + (255,) for percent in range(101)}
COLOURS[NO_PERCENT] = (0, 0, 0, 0)


@contextmanager
def create_percent(scene: Scene, path: Path, output: Output) -> Iterator[RowWriter]:
    """Open a new raster of opacity and shadow on the scene's grid to write rows to: uint8.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    profile = band_profile(scene, "uint8", NO_PERCENT) | {"count": len(BANDS)}
    with create_band(scene, path, profile, output.format) as (out, writer):
        out.write_colormap(1, COLOURS)
        out.colorinterp = (ColorInterp.palette, ColorInterp.undefined)
        out.descriptions = BANDS
        out.units = ("%",) * len(BANDS)
        yield writer
