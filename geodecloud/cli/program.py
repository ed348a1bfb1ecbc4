"""Show help in sections, and take ``geodecloud SRC DST`` for ``geodecloud remove SRC DST``.

This module writes the help, not typer's rich panels, so that help is fast and reads well in a pipe.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from geodecloud.cli.console import begin_command
from geodecloud.errors import UsageError

DEFAULT = "remove"
# Commands that are called in several ways.
_USAGES = {
    "remove": ("SRC DST", "--red R --green G --blue B DST"),
    "evaluate": (
        "CLOUDY_DIR CLEAR_DIR",
        "--tiles EUROSAT",
        "--seams SRC",
        "--masks IMAGE_DIR MASK_DIR",
    ),
}
# Of click, or of the copy that newer versions of typer bring.
_ClickUsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
_SECTIONS = ("Input", "Clouds", "Fill", "Windows", "Output", "Performance", "General")


class Command(TyperCommand):
    """A command whose options stand in sections; messages name its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read options and arguments; a fault is one line."""
        with _faults_in_one_line(ctx):
            given, _, _ = self.make_parser(ctx).parse_args(list(args))
            _refuse_empty(self.get_params(ctx), given)
            return super().parse_args(ctx, args)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write each way of calling the command."""
        parameters: list[Any] = self.get_params(ctx)
        arguments = [one.metavar for one in parameters if _is_argument(one) and not one.hidden]
        prefix = None  # click's own
        for words in _USAGES.get(str(self.name), (" ".join(arguments),)):
            formatter.write_usage(ctx.command_path, f"{words} [OPTIONS]".lstrip(), prefix)
            prefix = "       "

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options in their sections."""
        write_sections(self.get_params(ctx), formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with messages that name its options."""
        given = ctx.params
        names = {one.name: user_name(one) for one in self.get_params(ctx)}
        begin_command(names, quiet=given.get("quiet", False), verbose=given.get("verbose", False))
        return super().invoke(ctx)


class Group(TyperGroup):
    """A group of commands; commands and its own options stand in sections."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own options; a fault is one line."""
        with _faults_in_one_line(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; a fault is one line."""
        with _faults_in_one_line(ctx):
            return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(200)) for name, one in commands])
        write_sections(self.listed(ctx), formatter)

    def listed(self, ctx: Any) -> list[Any]:
        """Return the parameters that help lists."""
        return list(self.get_params(ctx))


class Program(Group):
    """The program: a first word that is not a command belongs to ``remove``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``remove`` before words that begin with no command or option of the program."""
        own = {flag for one in self.get_params(ctx) for flag in one.opts}
        if args and args[0] not in {*self.commands, *own}:
            if not ctx.resilient_parsing:
                _refuse_misspelt(args[0], list(self.commands))
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  click's signature
        """Write both ways of calling the program."""
        formatter.write_usage("geodecloud", "SRC DST [OPTIONS]")
        formatter.write_usage("geodecloud", f"{_USAGES['remove'][1]} [OPTIONS]", "       ")
        formatter.write_usage("geodecloud", "COMMAND [ARGUMENTS] [OPTIONS]", "       ")

    def listed(self, ctx: Any) -> list[Any]:
        """Return the parameters of ``geodecloud SRC DST``, and the program's own."""
        return [*self.commands[DEFAULT].get_params(ctx)[:-1], *super().listed(ctx)]

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return commands and options, those of ``remove`` included."""
        found = super().shell_complete(ctx, incomplete)
        known = {one.value for one in found}
        of_remove = self.commands[DEFAULT].shell_complete(ctx, incomplete)
        return [*found, *(one for one in of_remove if one.value not in known)]


@contextlib.contextmanager
def _faults_in_one_line(ctx: Any) -> Iterator[None]:
    """Raise click's errors of usage as this program's, of one line."""
    try:
        yield
    except _ClickUsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            raise
        message = error.format_message().rstrip(".").replace("Value error, ", "")
        message = message[:1].lower() + message[1:]
        joint = " See" if message.endswith("?") else "; see"
        raise UsageError(f"{message}{joint} {ctx.command_path} --help") from error


def user_name(parameter: Any) -> str:
    """Return a parameter's name for the user: its first long flag, or an argument's metavar."""
    if _is_argument(parameter):
        return str(parameter.metavar or parameter.name.upper()).strip("[].")
    return str(next((flag for flag in parameter.opts if flag.startswith("--")), parameter.opts[0]))


def write_sections(parameters: list[Any], formatter: Any) -> None:
    """Write a definition list for the arguments and for each panel of options."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for one in parameters:
        if not one.hidden:
            panel = getattr(one, "rich_help_panel", None) or "General"
            title = "Arguments" if _is_argument(one) else panel
            rows.setdefault(title, []).append((_left(one), _right(one)))
    for title in ("Arguments", *_SECTIONS):
        if title in rows:
            with formatter.section(title):
                formatter.write_dl(rows[title])


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _left(parameter: Any) -> str:
    if _is_argument(parameter):
        return str(parameter.metavar)
    flags = ", ".join(sorted(parameter.opts, key=lambda flag: flag.startswith("--")))
    takes_value = not getattr(parameter, "is_flag", False) and parameter.metavar
    return f"{flags} {parameter.metavar}" if takes_value else flags


def _right(parameter: Any) -> str:
    text, shown = (parameter.help or "").removesuffix("."), parameter.show_default
    if not isinstance(shown, str):
        default = parameter.default
        no_default = default is None or default is False or default in ("", [], ())
        shown = "" if no_default or not shown else _shown(default)
    if shown:
        return f"{text} [default: {shown}]"
    return f"{text} [required]" if parameter.required and not _is_argument(parameter) else text


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _refuse_empty(parameters: list[Any], given: dict[str, Any]) -> None:
    """Refuse an empty text, as of a shell's variable that is not set; a path would turn it to ".".

    Args:
        given: the texts of each parameter, by its name.
    """
    for one in parameters:
        text = given.get(one.name)
        if text == "" or (isinstance(text, list | tuple) and "" in text):
            raise UsageError(f"{user_name(one)} is empty: give a value")


def _refuse_misspelt(word: str, commands: list[str]) -> None:
    if word.startswith("-") or re.search(r"[./\\:*]", word) or Path(word).exists():
        return  # an option, or the name of a scene
    near = difflib.get_close_matches(word, commands, n=1)
    if near:
        raise UsageError(f"no such command: {word}; did you mean {near[0]}?")
