"""Remove clouds: one raster layer."""

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

from .algorithm import absolute
from .layers import Style, put_provenance_style, source_of
from .restoring import add_restoring, restoring_options
from .scene import SceneAlgorithm

_HELP = """
Removes the clouds of a satellite scene and says what it did.

Where it sees no cloud, the output is the input, bit for bit, with all its bands and metadata. Thin
cloud is removed and the ground below restored. <b>Under opaque cloud nothing can be seen: what is
written there is invented</b>, and the provenance layer marks it. Do not measure on it.

<b>Provenance</b>: 0 measured and untouched (transparent); 1 to 100 percent restored (yellow to
red); 101 filled, that is invented (magenta); 110 and on, blue: real ground of the first reference
and so on; 255 nodata.

Red, green and blue are restored; other bands pass through. For Sentinel-2 from 2022 on, set the
offset to -1000 unless your provider has applied it or the product's metadata is beside the file.
"""


class RemoveClouds(SceneAlgorithm):
    """``geodecloud remove SRC DST``."""

    NAME = "removeclouds"
    TITLE = "Remove clouds"
    GROUP = "Cloud removal"
    HELP = _HELP

    def initAlgorithm(self, configuration: Any = None) -> None:
        """What the dialog asks for."""
        self.add_scene("Cloudy scene")
        self.add(
            QgsProcessingParameterRasterLayer("MASK", "Cloud mask", optional=True),
            "Only where the mask says cloud, pixels may change. Laid on the scene by nearest.",
        )
        self.add(
            QgsProcessingParameterMultipleLayers(
                "REFERENCES",
                "References: other dates of the same place",
                QgsProcessing.SourceType.TypeRaster,
                optional=True,
            ),
            "Cloud-free scenes, the best first. Opaque pixels take theirs, in the scene's colours.",
        )
        add_restoring(self)
        self.add_radiometry()
        self.add(
            QgsProcessingParameterString("MASK_VALUES", "Mask values", optional=True),
            "Which values of the mask mean cloud: 3,8,9,10. Empty: those of a Sentinel-2 SCL, or "
            "all but 0 of another mask.",
            advanced=True,
        )
        self.add(QgsProcessingParameterRasterDestination("OUTPUT", "Restored"))
        self.add(
            QgsProcessingParameterRasterDestination("PROVENANCE", "Provenance", optional=True),
            "What was measured, restored and invented.",
        )
        self.addOutput(QgsProcessingOutputNumber("CHANGED", "Share of the pixels changed"))
        self.addOutput(QgsProcessingOutputNumber("INVENTED", "Share of the pixels invented"))
        self.addOutput(QgsProcessingOutputNumber("REFERENCED", "Share that the references gave"))

    def prepareAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> bool:
        """In the main thread: the layers."""
        mask = self.parameterAsRasterLayer(parameters, "MASK", context)
        self._mask = source_of(mask) if mask else ""
        references = self.parameterAsLayerList(parameters, "REFERENCES", context)
        self._references = [source_of(layer) for layer in references or ()]
        return super().prepareAlgorithm(parameters, context, feedback)

    def processAlgorithm(self, parameters: Any, context: Any, feedback: Any) -> dict[str, Any]:
        """Run the program, and see to how its layers are shown."""
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        provenance = self.parameterAsOutputLayer(parameters, "PROVENANCE", context)
        arguments = ["remove", self.source, absolute(output)]
        arguments += ["--provenance", absolute(provenance)] if provenance else []
        arguments += ["--mask", self._mask] if self._mask else []
        arguments += self.option("--mask-values", "MASK_VALUES", parameters, context)
        for reference in self._references:
            arguments += ["--reference", reference]
        arguments += restoring_options(self, parameters, context)
        arguments += self.scene_options(parameters, context)
        folders = {Path(path).parent for path in (output, provenance) if path}
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
        layers = {"OUTPUT": output, "PROVENANCE": provenance or None}
        shares = {"CHANGED": changed, "INVENTED": invented}
        return {**layers, **shares, "REFERENCED": facts["reference_fraction"]}
