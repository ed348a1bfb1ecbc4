"""Record whether the process is the program's own; if so, keep foreign settings out of it.

A user's Python process that imports the library is left unchanged. Standard library only.
"""

import importlib.util
import os
from pathlib import Path

# Another installation's data (QGIS, PostGIS, conda) does not fit the PROJ and GDAL of our wheel.
DATA_VARIABLES = ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA")
_owned = False


def own_process() -> None:
    """Declare the process the program's own; programs and workers call it before opening a raster.

    PROJ and GDAL then use the data of rasterio's wheel, whatever the environment says. A rasterio
    that was built on this machine has no data of its own, and keeps the environment's.
    """
    global _owned  # noqa: PLW0603  a property of the process
    _owned = True
    if _wheel_has_data():
        for name in DATA_VARIABLES:
            os.environ.pop(name, None)


def process_is_owned() -> bool:
    """Return whether this process runs the program, not a user's Python."""
    return _owned


def _wheel_has_data() -> bool:
    found = importlib.util.find_spec("rasterio")  # does not import it
    folders = found.submodule_search_locations if found else None
    return any(Path(folder, "proj_data", "proj.db").is_file() for folder in folders or ())
