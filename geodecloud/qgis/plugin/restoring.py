"""Add the parameters of restoring, for a layer and for a folder."""

from __future__ import annotations

from qgis.core import (
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .algorithm import ProgramAlgorithm, choice, number
from .options import help_of

_INTEGER = QgsProcessingParameterNumber.Type.Integer
RESTORING = {  # option of the program for each parameter
    "OPAQUE": "--opaque",
    "OPAQUE_ABOVE": "--opaque-above",
    "FILL_LIMIT": "--fill-limit",
    "BEYOND_LIMIT": "--beyond-limit",
    "SHADOWS": "--shadows",
    "OTHER_BANDS": "--other-bands",
    "EXTRA_BANDS": "--extra-bands",
    "DST_NODATA": "--dst-nodata",
    "KEEP_VEIL": "--keep-haze",
    "FORCE": "--force",
    "WINDOW": "--window",
    "OVERLAP": "--overlap",
    "MODEL": "--model",
    "DEVICE": "--device",
}


def add_restoring(algorithm: ProgramAlgorithm) -> None:
    """Add the parameters; all but the treatment of opaque pixels are advanced."""
    for parameter in (
        choice("OPAQUE", "Opaque cloud", ["fill", "keep", "nodata"], defaultValue="fill"),
        number("OPAQUE_ABOVE", "Opaque above this opacity", minValue=0, maxValue=1),
        number("FILL_LIMIT", "Fill limit in metres", minValue=0),
        choice(
            "BEYOND_LIMIT", "Opaque cloud beyond the fill limit", ["keep", "nodata"], optional=True
        ),
        choice("SHADOWS", "Shadows of clouds", ["restore", "keep", "fill"], optional=True),
        choice("OTHER_BANDS", "Other bands", ["restore", "keep", "nodata"], optional=True),
        QgsProcessingParameterString(
            "EXTRA_BANDS", "Extra bands of a product or folder", optional=True
        ),
        number("DST_NODATA", "Nodata value of the output"),
        QgsProcessingParameterBoolean("KEEP_VEIL", "Keep uniform haze", False),
        QgsProcessingParameterBoolean("FORCE", "Run despite doubts", False),
        number("WINDOW", "Window size in pixels", _INTEGER, minValue=16, maxValue=1024),
        number("OVERLAP", "Overlap of windows in pixels", _INTEGER, minValue=0),
        QgsProcessingParameterFile("MODEL", "Model", extension="safetensors", optional=True),
        QgsProcessingParameterString("DEVICE", "Device", optional=True),
    ):
        name = parameter.name()
        algorithm.add(parameter, help_of(RESTORING[name]), advanced=name != "OPAQUE")
