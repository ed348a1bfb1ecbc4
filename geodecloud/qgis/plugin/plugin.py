"""Add the provider of algorithms to QGIS, and remove it."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsApplication

from .provider import Provider


class Plugin:
    """Adds the provider to Processing; it has no windows of its own."""

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.provider: Provider | None = None

    def initProcessing(self) -> None:
        """Add the provider; ``qgis_process`` and ``initGui`` call this."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the provider; the desktop calls this."""
        self.initProcessing()

    def unload(self) -> None:
        """Remove the provider; QGIS calls this when the plugin is switched off."""
        if self.provider:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
