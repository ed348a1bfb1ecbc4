"""Remove the clouds of one raster layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)

from .algorithm import absolute, number
from .layers import Style, put_provenance_style, source_of
from .options import help_of
from .restoring import RESTORING, add_restoring
from .scene import SceneAlgorithm

_HELP = """
Removes the clouds of a satellite scene and says which pixels it changed.

Clear pixels stay as they are, bit for bit, in all bands; metadata stay too. Under thin cloud the
ground is restored. <b>Under opaque cloud the ground cannot be seen: pixels there are invented</b>,
and the provenance layer marks them. Do not measure on them.

<b>Provenance</b>: 0 measured, unchanged (transparent); 1 to 100 percent restored (yellow to red);
101 filled, that is invented (magenta); 102 beyond the fill limit; 103 relit in a cloud's shadow
(green); 104 cloud that was kept; 105 cloud made nodata; 110 and up, measured on the date of a
reference (blue); 255 nodata.

<b>Opacity and shadow</b>: how opaque the cloud over each pixel is (band 1), and how deep its shadow
(band 2), from 0 to 100 percent; 255 nodata.

<b>Cloud mask</b>: 0 clear (transparent); 1 thick cloud; 2 thin cloud; 3 cloud shadow; 255 nodata.

Red, green and blue are restored, and with them other bands whose wavelength is known; all others
pass through. For Sentinel-2 from 2022 on, set the offset to -1000 unless your provider has applied
it or the product's metadata is beside the file.
"""
# Options of the program, by parameter.
_OPTIONS = {
    "MASK_VALUES": "--mask-values",
    "WAVELENGTHS": "--wavelengths",
    "MASK_BUFFER": "--mask-buffer",
}
_BESIDE = {"PROVENANCE": "--provenance", "OPACITY": "--opacity", "CLOUD_MASK": "--cloud-mask"}
# Numbers that the algorithm returns: the program's name and a text for each.
_FRACTIONS = {
    "CHANGED": ("changed", "changed"),
    "INVENTED": ("invented", "invented"),
    "REFERENCED": ("reference", "from references"),
    "RELIT": ("shadow", "relit in shadow"),
}


class RemoveClouds(SceneAlgorithm):
    """``geodecloud remove SRC DST``."""

    NAME = "removeclouds"
    TITLE = "Remove clouds"
    GROUP = "Cloud removal"
    HELP = _HELP

    def initAlgorithm(self, configuration: Any = None) -> None:
        """Add the parameters of the dialog."""
        self.add_scene("Cloudy scene")
        self.add(
            QgsProcessingParameterRasterLayer("MASK", "Cloud mask", optional=True),
            help_of("--mask"),
        )
        self.add(
            QgsProcessingParameterMultipleLayers(
                "REFERENCES",
                "Reference images of other dates",
                QgsProcessing.SourceType.TypeRaster,
                optional=True,
            ),
            help_of("--reference"),
        )
        add_restoring(self)
        self.add_radiometry()
        for parameter in (
            QgsProcessingParameterString("MASK_VALUES", "Mask values", optional=True),
            QgsProcessingParameterString("WAVELENGTHS", "Wavelengths in nm", optional=True),
            number("MASK_BUFFER", "Mask buffer in metres", minValue=0),
        ):
            self.add(parameter, help_of(_OPTIONS[parameter.name()]), advanced=True)
        destination = QgsProcessingParameterRasterDestination
        self.add(destination("OUTPUT", "Restored"))
        unless_asked = {"optional": True, "createByDefault": False}
        for parameter in (
            destination("PROVENANCE", "Provenance", optional=True),
            destination("OPACITY", "Opacity and shadow", **unless_asked),
            destination("CLOUD_MASK", "Cloud mask", **unless_asked),
        ):
            self.add(parameter, help_of(_BESIDE[parameter.name()]))
        for name, (_, text) in _FRACTIONS.items():
            self.addOutput(QgsProcessingOutputNumber(name, f"Fraction of pixels {text}"))

    def prepareAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> bool:
        """Read the layers in the main thread."""
        mask = self.parameterAsRasterLayer(parameters, "MASK", context)
        self._mask = source_of(mask) if mask else ""
        references = self.parameterAsLayerList(parameters, "REFERENCES", context)
        self._references = [source_of(layer) for layer in references or ()]
        return super().prepareAlgorithm(parameters, context, feedback)

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the program, and style its layers."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        beside = {name: self.parameterAsOutputLayer(parameters, name, context) for name in _BESIDE}
        arguments = ["remove", self.source, absolute(output)]
        for name, flag in _BESIDE.items():
            arguments += [flag, absolute(beside[name])] if beside[name] else []
        arguments += ["--mask", self._mask] if self._mask else []
        arguments += self.options(_OPTIONS, parameters, context)
        for reference in self._references:
            arguments += ["--reference", reference]
        arguments += self.options(RESTORING, parameters, context)
        arguments += self.scene_options(parameters, context)
        folders = {Path(path).parent for path in (output, *beside.values()) if path}
        report = self.run_program([*arguments, "--overwrite", "--json"], folders, feedback)
        if report is None:
            return {}
        facts = json.loads(report.splitlines()[-1])
        shares = {name: facts[f"{kind}_fraction"] for name, (kind, _) in _FRACTIONS.items()}
        changed, invented = shares["CHANGED"], shares["INVENTED"]
        feedback.pushInfo(f"{changed:.1%} of the pixels changed, {invented:.1%} invented")
        self.style.wait_for(output, context, on_top=True)
        if beside["PROVENANCE"]:
            put_provenance_style(Path(beside["PROVENANCE"]))
        for layer in filter(None, beside.values()):
            if (style := Path(layer).with_suffix(".qml")).exists():
                Style.of_file(style).wait_for(layer, context)
        return {"OUTPUT": output, **{name: path or None for name, path in beside.items()}, **shares}
