"""Generate the options of the commands that restore from the fields of the settings."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from geodecloud.settings import (
    Limits,
    ModelSpec,
    Output,
    Policy,
    Reading,
    Settings,
    Windows,
)
from geodecloud.settings.option import Option, hints, option_of

_PANELS = {
    Reading: "Input",
    Policy: "Clouds and fill",
    Windows: "Windows",
    Output: "Output",
    ModelSpec: "Performance",
    Limits: "Performance",
}
_PYTHON_ONLY = {"clear_below", "restored_above"}


def flags_of(name: str, option: Option) -> tuple[str, ...]:
    """Return the flags of an option on the command line."""
    return option.flags or (f"--{name.replace('_', '-')}",)


def option_fields() -> Iterator[tuple[type, dataclasses.Field[Any]]]:
    """Yield the part and the field of each option of the command line."""
    for part in _PANELS:
        for one in dataclasses.fields(part):
            if one.name not in _PYTHON_ONLY:
                yield part, one


def flags_by_name() -> dict[str, str]:
    """Return the longest flag of each field by the field's name."""
    return {one.name: flags_of(one.name, option_of(one))[-1] for _, one in option_fields()}


def takes_settings(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a typer command an option for each field of the settings.

    The command is called with ``settings`` and ``model`` (a ModelSpec), its last two arguments.

    Args:
        without: names of fields for which the command has options of its own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command).parameters.values())[:-2]
        fields = [(part, one) for part, one in option_fields() if one.name not in without]

        @wraps(command)
        def expanded(**given: Any) -> None:
            chosen = {one.name: given.pop(one.name) for _, one in fields}
            chosen = {name: value for name, value in chosen.items() if value not in (None, [])}
            model = {one.name for one in dataclasses.fields(ModelSpec)} & chosen.keys()
            spec = ModelSpec(**{name: chosen.pop(name) for name in model})
            command(**given, settings=Settings(**chosen), model=spec)

        hinted = typing.get_type_hints(command, include_extras=True)
        parameters = [_keyword(one.name, hinted[one.name], one.default) for one in own]
        parameters += [_parameter(part, one) for part, one in fields]
        expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        expanded.__annotations__ = {one.name: one.annotation for one in parameters}
        return expanded

    return decorate


def _parameter(part: type, one: dataclasses.Field[Any]) -> inspect.Parameter:
    option, hint = option_of(one), hints(part)[one.name]
    kind = _type_on_the_command_line(hint, option)
    default = False if kind is bool else None
    shown = option.shown_default or (one.default if typing.get_args(hint) or one.default else "")
    facts = typer.Option(
        *flags_of(one.name, option),
        help=f"{option.help}.",
        metavar=option.unit or None,
        show_default=str(shown) if shown and kind is not bool else False,
        rich_help_panel=_PANELS[part],
    )
    return _keyword(one.name, Annotated[kind if kind is bool else kind | None, facts], default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _type_on_the_command_line(hint: Any, option: Option) -> Any:
    """Return what typer parses; what the settings parse by themselves stays text."""
    if typing.get_origin(hint) is tuple and option.flags and "repeatable" in option.help:
        return list[str]
    if option.parse or hint is str:
        return str
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if typing.get_origin(hint) is typing.Literal or not kinds:
        return hint
    return Path if kinds[0] is Path else kinds[0]
