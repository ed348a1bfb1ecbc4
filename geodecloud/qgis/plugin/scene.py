"""The scene that an algorithm works on: its layer, its bands, its radiometry."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingException,
    QgsProcessingParameterBand,
    QgsProcessingParameterRasterLayer,
)

from .algorithm import ProgramAlgorithm, number
from .layers import Style, source_of
from .restoring import OFFSET_HELP, SCALE_HELP

INPUT = "INPUT"
COLOURS = ("RED", "GREEN", "BLUE")


class SceneAlgorithm(ProgramAlgorithm):
    """An algorithm from one raster layer to another that is shown like it."""

    source: str
    style: Style

    def add_scene(self, title: str) -> None:
        """The layer."""
        self.add(QgsProcessingParameterRasterLayer(INPUT, title))

    def add_radiometry(self) -> None:
        """How the layer's numbers are to be read."""
        self.add(number("OFFSET", "Offset"), OFFSET_HELP)
        self.add(number("SCALE", "Scale"), SCALE_HELP, advanced=True)
        for colour in COLOURS:
            self.add(
                QgsProcessingParameterBand(
                    colour, f"{colour.title()} band", None, INPUT, optional=True
                ),
                "All three or none. None: by the bands' descriptions or colours.",
                advanced=True,
            )

    def scene_options(self, parameters: Any, context: Any) -> list[str]:
        """What ``add_radiometry`` asked for, as options."""
        options = [
            *self.option("--offset", "OFFSET", parameters, context),
            *self.option("--scale", "SCALE", parameters, context),
        ]
        bands = [self.option("", colour, parameters, context)[1:] for colour in COLOURS]
        if any(bands):
            options += ["--bands", ",".join(band for (band,) in bands)]
        return options

    def checkParameterValues(self, parameters: Any, context: Any) -> Any:
        """What the dialog refuses before it runs."""
        given = [bool(self.option("", colour, parameters, context)) for colour in COLOURS]
        if any(given) and not all(given):
            return False, "Give all three of the red, green and blue band, or none."
        return super().checkParameterValues(parameters, context)

    def prepareAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> bool:
        """In the main thread, which layers belong to: what the run needs of the layer."""
        layer = self.parameterAsRasterLayer(parameters, INPUT, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, INPUT))
        self.source = source_of(layer)
        self.style = Style.of(layer)
        return True
