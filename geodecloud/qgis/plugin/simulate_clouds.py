"""Simulate clouds: a clear raster layer, to test cloud removal on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
)

from .algorithm import absolute, number
from .scene import SceneAlgorithm

_HELP = """
Puts synthetic clouds on a clear scene, and writes how opaque they are, so that any cloud tool can
be tested against the truth.

Clouds lie over all bands; pixels without cloud or shadow stay bit for bit.
"""


class SimulateClouds(SceneAlgorithm):
    """``geodecloud simulate SRC DST``."""

    NAME = "simulateclouds"
    TITLE = "Simulate clouds"
    GROUP = "Testing"
    HELP = _HELP

    def initAlgorithm(self, configuration: Any = None) -> None:
        """What the dialog asks for."""
        self.add_scene("Clear scene")
        self.add(
            QgsProcessingParameterEnum(
                "KIND",
                "Kind of cloud",
                ["haze", "veil", "cirrus", "cumulus", "deck"],
                defaultValue="cumulus",
                usesStaticStrings=True,
            )
        )
        integer = QgsProcessingParameterNumber.Type.Integer
        self.add(
            QgsProcessingParameterNumber("SEED", "Seed", integer, 0, minValue=0),
            "Another seed, another cloud.",
        )
        self.add(
            number("ZOOM", "Size of the clouds", minValue=0.1, maxValue=100),
            "How many times larger than on a tile of 640 m. Empty: 3.",
        )
        self.add_radiometry()
        self.add(QgsProcessingParameterRasterDestination("OUTPUT", "Cloudy"))
        self.add(
            QgsProcessingParameterRasterDestination("OPACITY", "Opacity"),
            "0 where the ground is seen, 1 where nothing of it is.",
        )

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the program."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        opacity = self.parameterAsOutputLayer(parameters, "OPACITY", context)
        arguments = ["simulate", self.source, absolute(output), "--opacity", absolute(opacity)]
        for flag, name in (("--kind", "KIND"), ("--seed", "SEED"), ("--zoom", "ZOOM")):
            arguments += self.option(flag, name, parameters, context)
        arguments += self.scene_options(parameters, context)
        folders = {Path(output).parent, Path(opacity).parent}
        said = self.run_program([*arguments, "--overwrite"], folders, feedback)
        if said is None:
            return {}
        feedback.pushInfo(said)
        self.style.wait_for(output, context, on_top=True)
        return {"OUTPUT": output, "OPACITY": opacity}
