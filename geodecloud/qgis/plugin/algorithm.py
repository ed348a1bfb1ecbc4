"""What the algorithms share: they turn parameters into arguments, and run the program."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any, ClassVar

from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import (
    NULL,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtGui import QIcon

from . import executable
from .runner import CancelledError, ProgramError, run

ICON = str(Path(__file__).with_name("icon.svg"))
SETTING = "GEODECLOUD_EXECUTABLE"


def find_executable() -> str:
    """The executable of the provider's options, or the first that is found.

    Raises:
        ExecutableError: none is; the message says what to do.
    """
    return executable.find(ProcessingConfig.getSetting(SETTING) or "")


class ProgramAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is a command of the program.

    A subclass names itself, adds its parameters and says in ``options`` which of them are options
    of the command. A parameter that is not set is not passed on: the program knows its defaults.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    GROUP: ClassVar[str]
    HELP: ClassVar[str]
    TAGS: ClassVar[list[str]] = ["cloud", "clouds", "haze", "satellite", "sentinel"]

    def name(self) -> str:
        """Of the algorithm in commands and models."""
        return self.NAME

    def displayName(self) -> str:
        """Of the algorithm in the Toolbox."""
        return self.TITLE

    def group(self) -> str:
        """Of the Toolbox that it is listed in."""
        return self.GROUP

    def groupId(self) -> str:
        """The group's name, for programs."""
        return self.GROUP.lower().replace(" ", "")

    def shortHelpString(self) -> str:
        """Beside the dialog; QGIS breaks lines where the text does, so each paragraph is one."""
        paragraphs = self.HELP.strip().split("\n\n")
        return "\n".join(f"<p>{' '.join(text.split())}</p>" for text in paragraphs)

    def tags(self) -> list[str]:
        """Words by which it is found."""
        return self.TAGS

    def icon(self) -> QIcon:
        """The provider's."""
        return QIcon(ICON)

    def svgIconPath(self) -> str:
        """The same, for the modeller."""
        return ICON

    def createInstance(self) -> ProgramAlgorithm:
        """A new one for each run."""
        return type(self)()

    def canExecute(self) -> tuple[bool, str]:
        """Whether the program is there; if not, what to do."""
        try:
            find_executable()
        except executable.ExecutableError as error:
            return False, str(error)
        return True, ""

    def add(
        self, parameter: Any, help_text: str = "", *, advanced: bool = False, output: bool = True
    ) -> None:
        """Add a parameter; ``output``: whether a destination is an output of the algorithm too."""
        parameter.setHelp(help_text)
        if advanced:
            parameter.setFlags(
                parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced
            )
        self.addParameter(parameter, output)

    def option(self, flag: str, name: str, parameters: Any, context: Any) -> list[str]:
        """``[flag, value]`` for a parameter, or nothing where it is not set."""
        definition = self.parameterDefinition(name)
        given = parameters.get(name, definition.defaultValue())
        if given in (None, NULL, ""):
            return []
        kind = definition.type()
        if kind == "boolean":
            return [flag] if self.parameterAsBoolean(parameters, name, context) else []
        if kind == "band":
            return [flag, str(self.parameterAsInt(parameters, name, context))]
        if kind == "number":
            return [flag, f"{self.parameterAsDouble(parameters, name, context):.12g}"]
        if kind == "enum":
            return [flag, self.parameterAsEnumString(parameters, name, context)]
        text = self.parameterAsString(parameters, name, context)
        return [flag, text] if text else []

    def run_program(self, arguments: list[str], folders: set[Path], feedback: Any) -> str | None:
        """Run a command of the program; returns its output, or None if the user cancelled.

        Args:
            folders: that it writes to.

        Raises:
            QgsProcessingException: with the program's own words.
        """
        try:
            program = find_executable()
            version = executable.check(program)
            command = [program, *arguments, "--progress", "json"]
            feedback.pushInfo(f"geodecloud {version}")
            feedback.pushCommandInfo(shlex.join(command))
            return run(command, feedback, folders)
        except CancelledError:
            feedback.pushInfo("Cancelled: nothing was written.")
            return None
        except ProgramError as error:
            feedback.pushInfo(error.output)
            raise QgsProcessingException(str(error)) from error
        except executable.ExecutableError as error:
            raise QgsProcessingException(str(error)) from error


def number(
    name: str, title: str, kind: Any = QgsProcessingParameterNumber.Type.Double, **limits: Any
) -> Any:
    """A number that may be left out: the program knows its own default."""
    return QgsProcessingParameterNumber(name, title, kind, optional=True, **limits)


def absolute(path: str) -> str:
    """A path that no program can take for an option or a subcommand."""
    return os.path.abspath(path) if path else ""  # noqa: PTH100
