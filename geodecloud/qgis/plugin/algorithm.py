"""Turn the parameters of an algorithm into arguments, and run the program."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from processing.core.ProcessingConfig import ProcessingConfig
from qgis.core import (
    NULL,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtGui import QIcon

from . import executable
from .options import text_of
from .runner import CancelledError, ProgramError, run

ICON = str(Path(__file__).with_name("icon.svg"))
SETTING = "GEODECLOUD_EXECUTABLE"


def find_executable() -> str:
    """Return the executable named in the provider's options, else the first that is found.

    Raises:
        ExecutableError: there is none; the message has the remedy.
    """
    return executable.find(ProcessingConfig.getSetting(SETTING) or "")


class ProgramAlgorithm(QgsProcessingAlgorithm):
    """An algorithm that is a command of the program.

    A subclass names itself and adds its parameters. A parameter that is not set is not passed on:
    the program has its own default.
    """

    NAME: ClassVar[str]
    TITLE: ClassVar[str]
    GROUP: ClassVar[str]
    HELP: ClassVar[str]
    CANCELLED: ClassVar[str] = "Cancelled: nothing was written."
    TAGS: ClassVar[list[str]] = ["cloud", "clouds", "haze", "satellite", "sentinel"]

    def name(self) -> str:
        """Return the algorithm's name in commands and models."""
        return self.NAME

    def displayName(self) -> str:
        """Return the algorithm's name in the Toolbox."""
        return self.TITLE

    def group(self) -> str:
        """Return the algorithm's group in the Toolbox."""
        return self.GROUP

    def groupId(self) -> str:
        """Return the group's name for programs."""
        return self.GROUP.lower().replace(" ", "")

    def shortHelpString(self) -> str:
        """Return the text beside the dialog, each paragraph on one line, as QGIS needs it."""
        paragraphs = self.HELP.strip().split("\n\n")
        return "\n".join(f"<p>{' '.join(text.split())}</p>" for text in paragraphs)

    def tags(self) -> list[str]:
        """Return the words to find the algorithm by."""
        return self.TAGS

    def icon(self) -> QIcon:
        """Return the provider's icon."""
        return QIcon(ICON)

    def svgIconPath(self) -> str:
        """Return the icon's path, for the modeller."""
        return ICON

    def createInstance(self) -> ProgramAlgorithm:
        """Return a new algorithm, for one run."""
        return type(self)()

    def canExecute(self) -> tuple[bool, str]:
        """Return whether the program is found, and if not, the remedy."""
        try:
            find_executable()
        except executable.ExecutableError as error:
            return False, str(error)
        return True, ""

    def checkParameterValues(self, parameters: Any, context: Any) -> Any:
        """Accept the numbers of an enumeration's choices, as ``qgis_process help`` lists them."""
        named = dict(parameters)
        for definition in self.parameterDefinitions():
            name = definition.name()
            if definition.type() == "enum" and name in named:
                named[name] = _named(definition, named[name])
        return super().checkParameterValues(named, context)

    def add(self, parameter: Any, help_text: str = "", *, advanced: bool = False) -> None:
        """Add a parameter."""
        parameter.setHelp(help_text)
        if advanced:
            parameter.setFlags(
                parameter.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced
            )
        self.addParameter(parameter)

    def option(self, flag: str, name: str, parameters: Any, context: Any) -> list[str]:
        """Return ``[flag, value]`` for a parameter, or nothing where it is not set."""
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
            return [flag, text_of(self.parameterAsDouble(parameters, name, context))]
        if kind == "enum":
            chosen = _named(definition, given)
            known = chosen in definition.options()
            text = chosen if known else self.parameterAsEnumString(parameters, name, context)
            return [flag, text]
        text = self.parameterAsString(parameters, name, context)
        return [flag, text] if text else []

    def options(self, flags: dict[str, str], parameters: Any, context: Any) -> list[str]:
        """Return the options of the program for the parameters that are set.

        Args:
            flags: the program's option for each parameter.
        """
        given = (self.option(flag, name, parameters, context) for name, flag in flags.items())
        return [part for option in given for part in option]

    def run_program(
        self, arguments: list[str], folders: Iterable[Path], feedback: Any
    ) -> str | None:
        """Run a command of the program; return its output, or None if the user cancelled.

        Args:
            folders: the folders that the command writes to.

        Raises:
            QgsProcessingException: the program failed; the message is the program's.
        """
        try:
            program = find_executable()
            version = executable.check(program)
            command = [program, *arguments, "--progress", "json"]
            feedback.pushInfo(f"geodecloud {version}")
            feedback.pushCommandInfo(shlex.join(command))
            return run(command, feedback, folders)
        except CancelledError:
            feedback.pushInfo(self.CANCELLED)
            return None
        except ProgramError as error:
            feedback.pushInfo(error.output)  # QGIS shows the reasons
            raise QgsProcessingException(str(error)) from error
        except executable.ExecutableError as error:
            raise QgsProcessingException(str(error)) from error


def _named(definition: Any, given: Any) -> Any:
    """Return the choice of an enumeration with this number; anything else as it is."""
    choices = definition.options()
    if isinstance(given, (int, str)) and str(given).isdigit() and int(given) < len(choices):
        return choices[int(given)]
    return given


def number(
    name: str, title: str, kind: Any = QgsProcessingParameterNumber.Type.Double, **limits: Any
) -> Any:
    """Return an optional number, whose default is the program's."""
    return QgsProcessingParameterNumber(name, title, kind, optional=True, **limits)


def choice(name: str, title: str, choices: list[str], **how: Any) -> Any:
    """Return an enumeration whose values are those of the program's option."""
    return QgsProcessingParameterEnum(name, title, choices, usesStaticStrings=True, **how)


def absolute(path: str) -> str:
    """Return a path that no program can take for an option or a subcommand."""
    return os.path.abspath(path) if path else ""  # noqa: PTH100
