"""Make the cloud mask of one raster layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingParameterFile,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterString,
)

from .algorithm import absolute, number
from .layers import Style
from .options import help_of
from .scene import SceneAlgorithm

_HELP = """
Finds the clouds of a satellite scene and their shadows, and writes a cloud mask. Nothing is
restored.

<b>Values</b>: 0 clear (transparent); 1 thick cloud; 2 thin cloud; 3 cloud shadow; 255 nodata.
"""
_OPTIONS = {"OPAQUE_ABOVE": "--opaque-above", "MODEL": "--model", "DEVICE": "--device"}
_KINDS = {"THICK": "thick", "THIN": "thin", "SHADOW": "shadow"}


class MaskClouds(SceneAlgorithm):
    """``geodecloud mask SRC MASK``."""

    NAME = "maskclouds"
    TITLE = "Find clouds"
    GROUP = "Cloud removal"
    HELP = _HELP

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters of the dialog."""
        self.add_scene("Scene")
        self.add_radiometry()
        for parameter in (
            number("OPAQUE_ABOVE", "Thick at or above this opacity", minValue=0, maxValue=1),
            QgsProcessingParameterFile("MODEL", "Model", extension="safetensors", optional=True),
            QgsProcessingParameterString("DEVICE", "Device", optional=True),
        ):
            self.add(parameter, help_of(_OPTIONS[parameter.name()]), advanced=True)
        self.add(QgsProcessingParameterRasterDestination("OUTPUT", "Cloud mask"))
        for name, kind in _KINDS.items():
            self.addOutput(QgsProcessingOutputNumber(name, f"Fraction of {kind} pixels"))

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the program, and style its layer."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        arguments = ["mask", self.source, absolute(output)]
        arguments += self.scene_options(parameters, context)
        arguments += self.options(_OPTIONS, parameters, context)
        folders = {Path(output).parent}
        report = self.run_program([*arguments, "--overwrite", "--json"], folders, feedback)
        if report is None:
            return {}
        facts = json.loads(report.splitlines()[-1])
        style = Path(output).with_suffix(".qml")
        if style.exists():
            Style.of_file(style).wait_for(output, context, on_top=True)
        return {
            "OUTPUT": output,
            **{name: facts[f"{kind}_fraction"] for name, kind in _KINDS.items()},
        }
