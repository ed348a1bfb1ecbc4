"""Offer geodecloud in the Processing Toolbox of QGIS.

``geodecloud qgis install`` copies the plugin into a QGIS profile, where it runs in QGIS's own
Python (3.9 and newer). That Python holds neither torch nor rasterio, so the plugin starts the
``geodecloud`` executable and reads its messages. ``executable`` finds the executable and ``runner``
runs it; both need the standard library only. ``algorithm`` holds what the algorithms share,
``options`` the texts of their options, ``layers`` the handling of map layers.
"""

from __future__ import annotations

from typing import Any


def classFactory(iface: Any) -> Any:
    """Return the plugin; ``iface`` is None in ``qgis_process``."""
    from .plugin import Plugin

    return Plugin(iface)
