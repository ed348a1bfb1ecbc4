"""The QGIS plugin: geodecloud in the Processing Toolbox.

Copied into a QGIS profile by ``geodecloud qgis install``, it runs in QGIS's own Python (3.9 and
newer), which holds neither torch nor rasterio: it starts the ``geodecloud`` executable and listens
to it. ``executable`` finds that, ``runner`` runs it (both need the standard library only);
``algorithm`` is what the algorithms share, ``layers`` what is asked of and given to map layers.
"""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:
    """The plugin; ``iface`` is None in ``qgis_process``."""
    from .plugin import Plugin

    return Plugin(iface)
