"""Put synthetic clouds on a clear raster layer, to test cloud removal on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
)

from .algorithm import absolute, choice, number
from .options import CLOUDS
from .scene import SceneAlgorithm

_HELP = """
Puts synthetic clouds on a clear scene and writes their opacity, so that any cloud tool can be
tested against the truth.

Clouds cover all bands; pixels without cloud or shadow stay as they are, bit for bit.
"""


class SimulateClouds(SceneAlgorithm):
    """``geodecloud simulate SRC DST``."""

    NAME = "simulateclouds"
    TITLE = "Simulate clouds"
    GROUP = "Testing"
    HELP = _HELP

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters of the dialog."""
        self.add_scene("Clear scene")
        self.add(choice("KIND", "Kind of cloud", CLOUDS, defaultValue="cumulus"))
        integer = QgsProcessingParameterNumber.Type.Integer
        self.add(
            QgsProcessingParameterNumber("SEED", "Seed", integer, 0, minValue=0),
            "Seed of the cloud's shape. Default: 0.",
        )
        self.add(
            number("ZOOM", "Size of the clouds", minValue=0.1, maxValue=100),
            "Scale of the clouds, 0.1 to 100; 1 suits a scene 640 m wide. Default: 3.",
        )
        self.add_radiometry()
        self.add(QgsProcessingParameterRasterDestination("OUTPUT", "Cloudy"))
        self.add(
            QgsProcessingParameterRasterDestination("OPACITY", "Opacity"),
            "Opacity of the cloud: 0 where the ground is clear, 1 where it is hidden.",
        )

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the program."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        opacity = self.parameterAsOutputLayer(parameters, "OPACITY", context)
        arguments = ["simulate", self.source, absolute(output), "--opacity", absolute(opacity)]
        flags = {"KIND": "--kind", "SEED": "--seed", "ZOOM": "--zoom"}
        arguments += self.options(flags, parameters, context)
        arguments += self.scene_options(parameters, context)
        folders = {Path(output).parent, Path(opacity).parent}
        text = self.run_program([*arguments, "--overwrite"], folders, feedback)
        if text is None:
            return {}
        feedback.pushInfo(text)
        self.style.wait_for(output, context, on_top=True)
        return {"OUTPUT": output, "OPACITY": opacity}
