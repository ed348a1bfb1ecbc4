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
from .restoring import add_restoring, restoring_options
from .scene import SceneAlgorithm

_HELP = """
Removes the clouds of a satellite scene and says which pixels it changed.

Clear pixels stay as they are, bit for bit, in all bands; metadata stay too. Under thin cloud the
ground is restored. <b>Under opaque cloud the ground cannot be seen: pixels there are invented</b>,
and the provenance layer marks them. Do not measure on them.

<b>Provenance</b>: 0 measured, unchanged (transparent); 1 to 100 percent restored (yellow to red);
101 filled, that is invented (magenta); 102 beyond the fill limit; 103 relit under a cloud's shadow
(green); 104 cloud that was kept; 105 cloud made nodata; 110 and up, measured on the date of a
reference (blue); 255 nodata.

<b>Opacity and shadow</b>: how opaque the cloud over each pixel is (band 1), and how deep its shadow
(band 2), from 0 to 100 percent; 255 nodata.

<b>Cloud mask</b>: 0 clear (transparent); 1 thick cloud; 2 thin cloud; 3 cloud shadow; 255 nodata.

Red, green and blue are restored, and by them other bands whose wavelength is known by their name;
all others pass through. For Sentinel-2 from 2022 on, set the
offset to -1000 unless your provider has applied it or the product's metadata is beside the file.
"""


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
        self.add(
            QgsProcessingParameterString("MASK_VALUES", "Mask values", optional=True),
            help_of("--mask-values"),
            advanced=True,
        )
        self.add(
            QgsProcessingParameterString("WAVELENGTHS", "Wavelengths in nm", optional=True),
            help_of("--wavelengths"),
            advanced=True,
        )
        self.add(
            number("MASK_BUFFER", "Mask buffer in metres", minValue=0),
            help_of("--mask-buffer"),
            advanced=True,
        )
        self.add(QgsProcessingParameterRasterDestination("OUTPUT", "Restored"))
        self.add(
            QgsProcessingParameterRasterDestination("PROVENANCE", "Provenance", optional=True),
            help_of("--provenance"),
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                "OPACITY", "Opacity and shadow", optional=True, createByDefault=False
            ),
            help_of("--opacity"),
        )
        self.add(
            QgsProcessingParameterRasterDestination(
                "CLOUD_MASK", "Cloud mask", optional=True, createByDefault=False
            ),
            help_of("--cloud-mask"),
        )
        self.addOutput(QgsProcessingOutputNumber("CHANGED", "Fraction of pixels changed"))
        self.addOutput(QgsProcessingOutputNumber("INVENTED", "Fraction of pixels invented"))
        self.addOutput(
            QgsProcessingOutputNumber("REFERENCED", "Fraction of pixels from references")
        )
        self.addOutput(QgsProcessingOutputNumber("RELIT", "Fraction of pixels relit in shadow"))

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
        provenance = self.parameterAsOutputLayer(parameters, "PROVENANCE", context)
        opacity = self.parameterAsOutputLayer(parameters, "OPACITY", context)
        cloud_mask = self.parameterAsOutputLayer(parameters, "CLOUD_MASK", context)
        arguments = ["remove", self.source, absolute(output)]
        arguments += ["--provenance", absolute(provenance)] if provenance else []
        arguments += ["--opacity", absolute(opacity)] if opacity else []
        arguments += ["--cloud-mask", absolute(cloud_mask)] if cloud_mask else []
        arguments += ["--mask", self._mask] if self._mask else []
        arguments += self.option("--mask-values", "MASK_VALUES", parameters, context)
        arguments += self.option("--wavelengths", "WAVELENGTHS", parameters, context)
        arguments += self.option("--mask-buffer", "MASK_BUFFER", parameters, context)
        for reference in self._references:
            arguments += ["--reference", reference]
        arguments += restoring_options(self, parameters, context)
        arguments += self.scene_options(parameters, context)
        written = (output, provenance, opacity, cloud_mask)
        folders = {Path(path).parent for path in written if path}
        report = self.run_program([*arguments, "--overwrite", "--json"], folders, feedback)
        if report is None:
            return {}
        facts = json.loads(report.splitlines()[-1])
        changed, invented = facts["changed_fraction"], facts["invented_fraction"]
        feedback.pushInfo(f"{changed:.1%} of the pixels changed, {invented:.1%} invented")
        self.style.wait_for(output, context, on_top=True)
        if provenance:
            style = put_provenance_style(Path(provenance))
            Style.of_file(style).wait_for(provenance, context)
        for layer in filter(None, (opacity, cloud_mask)):
            if (style := Path(layer).with_suffix(".qml")).exists():
                Style.of_file(style).wait_for(layer, context)
        layers = {"OUTPUT": output, "PROVENANCE": provenance or None, "OPACITY": opacity or None}
        layers["CLOUD_MASK"] = cloud_mask or None
        shares = {"CHANGED": changed, "INVENTED": invented}
        shares |= {"REFERENCED": facts["reference_fraction"], "RELIT": facts["shadow_fraction"]}
        return {**layers, **shares}
