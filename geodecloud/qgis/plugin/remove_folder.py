"""Remove the clouds of all scenes in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterString,
)

from .algorithm import ProgramAlgorithm, absolute, number
from .layers import put_provenance_style
from .options import help_of
from .restoring import RESTORING, add_restoring
from .runner import below

_PROVENANCE = "{stem}_provenance.tif"
# Rasters beside each scene: parameter, option of the program, and their names.
_BESIDE = (
    ("PROVENANCE", "--provenance", _PROVENANCE),
    ("OPACITY", "--opacity", "{stem}_opacity.tif"),
    ("CLOUD_MASK", "--cloud-mask", "{stem}_mask.tif"),
)
_OPTIONS = {
    "RECURSIVE": "--recursive",
    "PATTERN": "--pattern",
    "OFFSET": "--offset",
    "SCALE": "--scale",
    "NODATA": "--nodata",
    "OVERWRITE": "--overwrite",
    "BANDS": "--bands",
}
_HELP = """
Removes the clouds of all scenes in a folder, one after the other. SCENE.tif becomes
SCENE_clear.tif in the output folder. Beside it stands SCENE_provenance.tif, which says which pixels
were measured, restored or invented. Sentinel-2 products (.SAFE folders and their archives) are
scenes too, and so are folders with one file per band, as for Landsat and HLS.

A scene that fails is reported after all others are done. The next run restores only scenes that
are new, have failed or have changed; geodecloud-manifest.jsonl in the output folder records them.
Outputs made with other options are replaced only if *Replace existing outputs* is ticked.
"""


class RemoveFolder(ProgramAlgorithm):
    """``geodecloud batch SRC_DIR OUT_DIR``."""

    NAME = "removecloudsfolder"
    TITLE = "Remove clouds from a folder"
    GROUP = "Cloud removal"
    HELP = _HELP
    CANCELLED = "Cancelled: the scenes that were finished stay; the next run goes on."

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters of the dialog."""
        folder = QgsProcessingParameterFile.Behavior.Folder
        self.add(QgsProcessingParameterFile("INPUT", "Folder of scenes", folder))
        self.add(
            QgsProcessingParameterBoolean("RECURSIVE", "Search folders below it, too", False),
            "The output folder gets the same folders.",
        )
        self.add(
            QgsProcessingParameterString("PATTERN", "Names of the scenes", optional=True),
            "Names of the scenes, like *.tif. Default: *.tif, *.tiff, Sentinel-2 products, "
            "folders with one file per band.",
        )
        add_restoring(self)
        self.add(number("OFFSET", "Offset"), help_of("--offset"))
        self.add(number("SCALE", "Scale"), help_of("--scale"), advanced=True)
        self.add(number("NODATA", "Nodata value"), help_of("--nodata"), advanced=True)
        self.add(
            QgsProcessingParameterString("BANDS", "Bands", optional=True),
            help_of("--bands"),
            advanced=True,
        )
        self.add(QgsProcessingParameterBoolean("PROVENANCE", "Write provenance", True))
        self.add(
            QgsProcessingParameterBoolean("OPACITY", "Write opacity and shadow", False),
            "SCENE_opacity.tif: opacity of cloud and depth of shadow, in percent.",
        )
        self.add(
            QgsProcessingParameterBoolean("CLOUD_MASK", "Write cloud masks", False),
            "SCENE_mask.tif: clear, thick cloud, thin cloud, cloud shadow.",
        )
        self.add(
            QgsProcessingParameterBoolean("OVERWRITE", "Replace existing outputs", False),
            help_of("--overwrite"),
            advanced=True,
        )
        self.add(QgsProcessingParameterFolderDestination("OUTPUT", "Output folder"))

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the program, and report on each scene."""
        source = self.parameterAsFile(parameters, "INPUT", context)
        output = self.parameterAsString(parameters, "OUTPUT", context)
        arguments = ["batch", absolute(source), absolute(output)]
        arguments += self.options(_OPTIONS, parameters, context)
        for name, flag, pattern in _BESIDE:
            if self.parameterAsBoolean(parameters, name, context):
                arguments += [flag, pattern]
        arguments += self.options(RESTORING, parameters, context)
        try:
            text = self.run_program(arguments, below(Path(output)), feedback)
        finally:
            for raster in Path(output).rglob(_PROVENANCE.format(stem="*")):
                put_provenance_style(raster)
        if text is None:
            return {}
        feedback.pushInfo(text)
        return {"OUTPUT": output}
