"""Provide the algorithms, and the option that names the executable."""

from __future__ import annotations

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithm import ICON, SETTING, find_executable
from .executable import ExecutableError
from .mask_clouds import MaskClouds
from .remove_clouds import RemoveClouds
from .remove_folder import RemoveFolder
from .simulate_clouds import SimulateClouds


class Provider(QgsProcessingProvider):
    """geodecloud in the Processing Toolbox."""

    def id(self) -> str:
        """Return the word before the colon of ``geodecloud:removeclouds``."""
        return "geodecloud"

    def name(self) -> str:
        """Return the name in the Toolbox."""
        return "geodecloud"

    def longName(self) -> str:
        """Return the name in the list of providers."""
        return "geodecloud (removes clouds, says which pixels were invented)"

    def icon(self) -> QIcon:
        """Return the icon: a cloud with a gap."""
        return QIcon(ICON)

    def svgIconPath(self) -> str:
        """Return the icon's path, for the modeller."""
        return ICON

    def load(self) -> bool:
        """Add the provider's options and algorithms."""
        ProcessingConfig.settingIcons[self.name()] = self.icon()
        ProcessingConfig.addSetting(
            Setting(
                self.name(),
                SETTING,
                "geodecloud program (empty: where it was installed from, or on PATH)",
                "",
                valuetype=Setting.FILE,
            )
        )
        ProcessingConfig.readSettings()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Remove the provider's options."""
        ProcessingConfig.removeSetting(SETTING)

    def loadAlgorithms(self) -> None:
        """Add the algorithms; ``refreshAlgorithms`` calls this."""
        for algorithm in (RemoveClouds, RemoveFolder, MaskClouds, SimulateClouds):
            self.addAlgorithm(algorithm())

    def warningMessage(self) -> str:
        """Return the text that the dialogs show while the program is missing."""
        try:
            find_executable()
        except ExecutableError as error:
            return str(error)
        return ""

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return the suffixes that the program writes."""
        return ["tif", "tiff"]

    def defaultRasterFileExtension(self) -> str:
        """Return the suffix of a new raster, whatever the user's default format."""
        return "tif"
