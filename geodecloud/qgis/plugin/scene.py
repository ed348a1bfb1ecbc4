"""Add the parameters of a scene: its layer, its bands, its radiometry."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingException,
    QgsProcessingParameterBand,
    QgsProcessingParameterRasterLayer,
)

from .algorithm import ProgramAlgorithm, number
from .layers import Style, source_of
from .options import help_of

INPUT = "INPUT"
COLOURS = ("RED", "GREEN", "BLUE")


class SceneAlgorithm(ProgramAlgorithm):
    """An algorithm from one raster layer to another that is shown like it."""

    source: str
    style: Style

    def add_scene(self, title: str) -> None:
        """Add the layer."""
        self.add(QgsProcessingParameterRasterLayer(INPUT, title))

    def add_radiometry(self) -> None:
        """Add the parameters for reading the layer's values."""
        self.add(number("OFFSET", "Offset"), help_of("--offset"))
        self.add(number("SCALE", "Scale"), help_of("--scale"), advanced=True)
        self.add(number("NODATA", "Nodata value"), help_of("--nodata"), advanced=True)
        for colour in COLOURS:
            self.add(
                QgsProcessingParameterBand(
                    colour, f"{colour.title()} band", None, INPUT, optional=True
                ),
                "Set all three or none. Default: by name or colour.",
                advanced=True,
            )

    def scene_options(self, parameters: Any, context: Any) -> list[str]:
        """Return the options for the parameters of ``add_radiometry``."""
        flags = {"OFFSET": "--offset", "SCALE": "--scale", "NODATA": "--nodata"}
        options = self.options(flags, parameters, context)
        bands = [self.option("", colour, parameters, context)[1:] for colour in COLOURS]
        if any(bands):
            options += ["--bands", ",".join(band for (band,) in bands)]
        return options

    def checkParameterValues(self, parameters: Any, context: Any) -> Any:
        """Refuse one or two of the three colours, before the program runs."""
        given = [bool(self.option("", colour, parameters, context)) for colour in COLOURS]
        if any(given) and not all(given):
            return False, "Give all three of the red, green and blue band, or none."
        return super().checkParameterValues(parameters, context)

    def prepareAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> bool:
        """Read the layer in the main thread, to which layers belong."""
        layer = self.parameterAsRasterLayer(parameters, INPUT, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, INPUT))
        self.source = source_of(layer)
        self.style = Style.of(layer)
        return True
