"""Remove clouds from a folder: many scenes, without loading them."""

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
from .restoring import OFFSET_HELP, SCALE_HELP, add_restoring, restoring_options

_PROVENANCE = "{stem}_provenance.tif"
_HELP = """
Removes the clouds of all scenes in a folder, one after the other. SCENE.tif becomes
SCENE_clear.tif in the output folder, with SCENE_provenance.tif beside it, which says what was
measured, restored and invented. Sentinel-2 products (.SAFE folders and their archives) are scenes
too.

A scene that fails is reported when all others are done. Run it again and only what is missing, has
failed or has changed is done; what was done is kept in geodecloud-manifest.jsonl of the output
folder.
"""


class RemoveFolder(ProgramAlgorithm):
    """``geodecloud batch SRC_DIR OUT_DIR``."""

    NAME = "removecloudsfolder"
    TITLE = "Remove clouds from a folder"
    GROUP = "Cloud removal"
    HELP = _HELP

    def initAlgorithm(self, configuration: Any = None) -> None:
        """What the dialog asks for."""
        folder = QgsProcessingParameterFile.Behavior.Folder
        self.add(QgsProcessingParameterFile("INPUT", "Folder of scenes", folder))
        self.add(
            QgsProcessingParameterBoolean("RECURSIVE", "Folders below it too", False),
            "The same folders are made below the output folder.",
        )
        self.add(
            QgsProcessingParameterString("PATTERN", "Names of the scenes", optional=True),
            "*.tif, say. Empty: all GeoTIFFs and Sentinel-2 products.",
        )
        add_restoring(self)
        self.add(number("OFFSET", "Offset"), OFFSET_HELP)
        self.add(number("SCALE", "Scale"), SCALE_HELP, advanced=True)
        self.add(
            QgsProcessingParameterString("BANDS", "Bands", optional=True),
            "Numbers of red, green and blue, from 1: 4,3,2. Empty: by description or colour.",
            advanced=True,
        )
        self.add(QgsProcessingParameterBoolean("PROVENANCE", "Write provenance too", True))
        self.add(QgsProcessingParameterFolderDestination("OUTPUT", "Output folder"))

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the program, and say what came of each scene."""
        source = self.parameterAsFile(parameters, "INPUT", context)
        output = self.parameterAsString(parameters, "OUTPUT", context)
        arguments = ["batch", absolute(source), absolute(output)]
        for flag, name in {
            "--recursive": "RECURSIVE",
            "--pattern": "PATTERN",
            "--offset": "OFFSET",
            "--scale": "SCALE",
            "--bands": "BANDS",
        }.items():
            arguments += self.option(flag, name, parameters, context)
        if self.parameterAsBoolean(parameters, "PROVENANCE", context):
            arguments += ["--provenance", _PROVENANCE]
        arguments += restoring_options(self, parameters, context)
        try:
            said = self.run_program(arguments, {Path(output)}, feedback)
        finally:
            for raster in Path(output).rglob(_PROVENANCE.format(stem="*")):
                put_provenance_style(raster)
        if said is None:
            return {}
        feedback.pushInfo(said)
        return {"OUTPUT": output}
