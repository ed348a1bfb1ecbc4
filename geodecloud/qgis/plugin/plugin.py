"""What QGIS loads and unloads: a provider of algorithms."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsApplication

from .provider import Provider


class Plugin:
    """Adds the provider to Processing; without windows of its own."""

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.provider: Provider | None = None

    def initProcessing(self) -> None:
        """Called by ``qgis_process``, and by us in the desktop."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Called by the desktop."""
        self.initProcessing()

    def unload(self) -> None:
        """Called when the plugin is switched off."""
        if self.provider:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None
