"""The options of restoring, which removing clouds from a layer and from a folder share."""

from __future__ import annotations

from typing import Any

from qgis.core import (
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .algorithm import ProgramAlgorithm, number

OFFSET_HELP = (
    "Added to the numbers of the file first: -1000 for Sentinel-2 from processing baseline 04.00 "
    "on (2022), unless your provider has applied it. Empty: as the file says, else 0."
)
SCALE_HELP = "The number that means reflectance 1. Empty: as the file says, else 10000."

_INTEGER = QgsProcessingParameterNumber.Type.Integer
_OPTIONS = {
    "OPAQUE": "--opaque",
    "OPAQUE_ABOVE": "--opaque-above",
    "FILL_LIMIT": "--fill-limit",
    "BEYOND_LIMIT": "--beyond-limit",
    "KEEP_VEIL": "--keep-haze",
    "WINDOW": "--window",
    "OVERLAP": "--overlap",
    "MODEL": "--model",
    "DEVICE": "--device",
}


def add_restoring(algorithm: ProgramAlgorithm) -> None:
    """Ask for them."""
    algorithm.add(
        QgsProcessingParameterEnum(
            "OPAQUE",
            "Under opaque cloud",
            ["fill", "keep", "nodata"],
            defaultValue="fill",
            usesStaticStrings=True,
        ),
        "Where nothing can be seen through the cloud: fill with invented ground, keep the cloud, "
        "or write nodata.",
    )
    for parameter, text in (
        (
            number("OPAQUE_ABOVE", "Opaque above this opacity", minValue=0, maxValue=1),
            "From which opacity on nothing can be seen through the cloud, 0 to 1.",
        ),
        (
            number("FILL_LIMIT", "Fill no farther than (metres)", minValue=0),
            "What is farther from visible ground is not filled. Empty: there is no limit.",
        ),
        (
            QgsProcessingParameterEnum(
                "BEYOND_LIMIT",
                "Beyond that",
                ["keep", "nodata"],
                optional=True,
                usesStaticStrings=True,
            ),
            "What is not filled: keep the cloud (this is so if left empty), or write nodata.",
        ),
        (
            QgsProcessingParameterBoolean("KEEP_VEIL", "Keep an even veil", False),
            "Of an 8-bit picture whose darkest pixels are bright and grey: else such a veil is "
            "taken from every pixel.",
        ),
        (
            number("WINDOW", "Window size in pixels", _INTEGER, minValue=16),
            "A multiple of 16. Empty: 64, which the built-in model was trained with.",
        ),
        (
            number("OVERLAP", "Overlap of windows in pixels", _INTEGER, minValue=0),
            "At most half the window. Empty: 16.",
        ),
        (
            QgsProcessingParameterFile("MODEL", "Model", extension="safetensors", optional=True),
            "Empty: the built-in one.",
        ),
        (
            QgsProcessingParameterString("DEVICE", "Device", optional=True),
            "cpu, cuda, cuda:1 or mps. Empty: a GPU if there is one.",
        ),
    ):
        algorithm.add(parameter, text, advanced=True)


def restoring_options(algorithm: ProgramAlgorithm, parameters: Any, context: Any) -> list[str]:
    """The answers, as options of the program."""
    return [
        argument
        for name, flag in _OPTIONS.items()
        for argument in algorithm.option(flag, name, parameters, context)
    ]
