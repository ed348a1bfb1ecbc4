"""Tell rasters that this program has made from all others."""

from pathlib import Path

from geodecloud.errors import SceneError
from geodecloud.raster.cloud_mask import TEXT
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.opacity import BANDS
from geodecloud.raster.provenance import NAME
from geodecloud.raster.statements import TAG
from geodecloud.raster.writer import OPACITY

_RASTERS = (".tif", ".tiff")


def tags_of_output(path: Path) -> dict[str, str]:
    """Return this program's tags of a file, without their prefix; none where it has not made it."""
    try:
        with open_raster(path) as file:
            tags = file.tags()
    except SceneError:
        return {}
    return {name.removeprefix(TAG): tags[name] for name in tags if name.startswith(TAG)}


def is_output(path: Path) -> bool:
    """Return whether a file is a restored scene, provenance, opacity or a cloud mask.

    Simulated scenes are none: they are made to be restored.
    """
    if path.suffix.lower() not in _RASTERS or not path.is_file():
        return False
    if "SOURCE" in tags_of_output(path):
        return True
    try:
        with open_raster(path) as file:
            names = file.descriptions
            return names in ((OPACITY,), (TEXT,), BANDS) or (names[0] or "").startswith(NAME)
    except SceneError:
        return False
