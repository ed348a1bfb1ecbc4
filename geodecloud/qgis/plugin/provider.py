"""The provider: its algorithms, and where the executable is."""

from __future__ import annotations

from processing.core.ProcessingConfig import ProcessingConfig, Setting
from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithm import ICON, SETTING, find_executable
from .executable import ExecutableError
from .remove_clouds import RemoveClouds
from .remove_folder import RemoveFolder
from .simulate_clouds import SimulateClouds


class Provider(QgsProcessingProvider):
    """geodecloud in the Processing Toolbox."""

    def id(self) -> str:
        """Before the colon of ``geodecloud:removeclouds``."""
        return "geodecloud"

    def name(self) -> str:
        """In the Toolbox."""
        return "geodecloud"

    def longName(self) -> str:
        """In the list of providers."""
        return "geodecloud (removes clouds, says what was invented)"

    def icon(self) -> QIcon:
        """A cloud with a gap."""
        return QIcon(ICON)

    def svgIconPath(self) -> str:
        """The same, for the modeller."""
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
        """Take the options away again."""
        ProcessingConfig.removeSetting(SETTING)

    def loadAlgorithms(self) -> None:
        """Called by ``refreshAlgorithms``."""
        for algorithm in (RemoveClouds, RemoveFolder, SimulateClouds):
            self.addAlgorithm(algorithm())

    def warningMessage(self) -> str:
        """In the dialogs, while the program is missing."""
        try:
            find_executable()
        except ExecutableError as error:
            return str(error)
        return ""

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """What the program writes."""
        return ["tif", "tiff"]

    def defaultRasterFileExtension(self) -> str:
        """Whatever format the user prefers elsewhere."""
        return "tif"
