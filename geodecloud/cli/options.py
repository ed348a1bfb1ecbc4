"""Generate the options of the commands that restore from the fields of the settings."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from geodecloud.cli.console import ProgressStyle
from geodecloud.settings import (
    Limits,
    ModelSpec,
    Monitoring,
    Output,
    Policy,
    Reading,
    Settings,
    Windows,
)
from geodecloud.settings.option import Option, choices_of, flags_of, hints, kinds_of, option_of

_PANELS = {
    Reading: "Input",
    Policy: "Fill",
    Windows: "Windows",
    Output: "Output",
    ModelSpec: "Performance",
    Limits: "Performance",
}
# Fields of the panel "Clouds".
_CLOUDS = {
    *("mask", "mask_values", "mask_buffer"),
    *("keep_haze", "opaque_above", "shadows", "other_bands"),
}
_PYTHON_ONLY = {"clear_below", "restored_above"}


def option_fields() -> Iterator[tuple[type, dataclasses.Field[Any]]]:
    """Yield the part and the field of each option of the command line."""
    for part in _PANELS:
        for one in dataclasses.fields(part):
            if one.name not in _PYTHON_ONLY:
                yield part, one


def long_flags() -> dict[str, str]:
    """Return the first long flag of each option's field."""
    flags = {one.name: flags_of(one.name, option_of(one)) for _, one in option_fields()}
    return {
        name: next(flag for flag in some if flag.startswith("--")) for name, some in flags.items()
    }


def declared(part: type, name: str) -> Any:
    """Return typer's declaration of the option for a field of the settings."""
    (one,) = (one for one in dataclasses.fields(part) if one.name == name)
    option, hint = option_of(one), hints(part)[name]
    choices = choices_of(hint)
    shown = option.shown_default or ("" if one.default in (None, (), False) else str(one.default))
    return typer.Option(
        *flags_of(name, option),
        help=option.help,
        metavar="|".join(choices) or option.unit or None,
        show_default=shown or False,
        case_sensitive=False,
        rich_help_panel="Clouds" if name in _CLOUDS else _PANELS.get(part, "Output"),
    )


# Fields of the settings for commands that read a scene without restoring it.
OF_READING = ("bands", "scale", "offset", "nodata", "declared_nodata_only")

input_option = partial(typer.Option, rich_help_panel="Input")
output_option = partial(typer.Option, rich_help_panel="Output")

# Options that several commands have.
ScaleOption = Annotated[float | None, declared(Reading, "scale")]
OffsetOption = Annotated[str | None, declared(Reading, "offset")]
WindowOption = Annotated[int | None, declared(Windows, "window")]
ModelOption = Annotated[Path | None, declared(ModelSpec, "model")]
LogEveryOption = Annotated[int, declared(Monitoring, "log_every")]
LogDirOption = Annotated[Path | None, declared(Monitoring, "log_dir")]
OverwriteOption = Annotated[bool, declared(Output, "overwrite")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout at the end")
]
ProgressOption = Annotated[
    ProgressStyle,
    typer.Option(
        metavar="bar|json|none",
        help="Progress on stderr: a bar on a terminal, JSON lines for programs, or none",
    ),
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Print more messages")]
OnBad = Literal["error", "skip"]
OnBadOption = Annotated[
    OnBad,
    typer.Option(
        metavar="error|skip",
        help="Treatment of a damaged tile: stop with an error, or skip and count it",
        rich_help_panel="Input",
    ),
]


def takes_settings(
    *without: str, only: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a typer command an option for each field of the settings, or for some.

    The command is called with ``settings`` and ``model`` (a ModelSpec), if it has such arguments.

    Args:
        without: names of fields for which the command has options of its own.
        only: names of the fields, in the order of the options; none: all fields but ``without``.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hinted = typing.get_type_hints(command, include_extras=True)
        taken = inspect.signature(command).parameters.values()
        own = [one for one in taken if hinted[one.name] not in (Settings, ModelSpec)]
        parameters = [_keyword(one.name, hinted[one.name], one.default) for one in own]
        fields = {one.name: (part, one) for part, one in option_fields()}
        names = only or [name for name in fields if name not in without]
        generated = [one for name in names for one in _parameters(*fields[name])]

        @wraps(command)
        def expanded(**given: Any) -> None:
            chosen = {one.name: given.pop(one.name) for one in generated}
            chosen = {name: value for name, value in chosen.items() if _is_set(value)}
            model = {one.name for one in dataclasses.fields(ModelSpec)} & chosen.keys()
            spec = ModelSpec(**{name: chosen.pop(name) for name in model})
            made = {"settings": Settings(**chosen), "model": spec}
            command(**given, **{one.name: made[one.name] for one in taken if one not in own})

        signature = inspect.Signature([*parameters, *generated])
        expanded.__signature__ = signature  # type: ignore[attr-defined]
        expanded.__annotations__ = {n: one.annotation for n, one in signature.parameters.items()}
        return expanded

    return decorate


def _is_set(value: Any) -> bool:
    return value is not None and value is not False and value != []


def _parameters(part: type, one: dataclasses.Field[Any]) -> Iterator[inspect.Parameter]:
    """Yield the parameter of an option, and a hidden one for each of its old names."""
    option, hint = option_of(one), hints(part)[one.name]
    kind = _type_on_the_command_line(hint, option)
    default = False if kind is bool else None
    annotation = kind if kind is bool else kind | None
    yield _keyword(one.name, Annotated[annotation, declared(part, one.name)], default)
    for flag in option.old_flags:
        old = flag.removeprefix("--").replace("-", "_")
        yield _keyword(old, Annotated[annotation, typer.Option(flag, hidden=True)], default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _type_on_the_command_line(hint: Any, option: Option) -> Any:
    """Return the type that typer parses; text, where the settings have a parser."""
    if choices_of(hint):
        return hint
    if typing.get_args(hint)[1:] == (...,) and typing.get_args(hint)[0] is not int:
        return list[str]
    if option.parse or hint is str:
        return str
    return kinds_of(hint)[0]
