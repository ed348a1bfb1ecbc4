"""Declare an option at its field, and check the value given for it."""

from __future__ import annotations

import dataclasses
import functools
import os
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geodecloud.errors import UsageError
from geodecloud.settings.parse import number_of, whole


@dataclass(frozen=True)
class Option:
    """The declaration of an option, beside its name, type and default.

    help: a noun or verb phrase that stands alone.
    unit: unit of the value, as the command line shows it: METRES, FILE, COUNT.
    minimum, maximum: bounds, both allowed.
    above: a bound that is not allowed itself.
    flags: flags on the command line; empty: ``--name-with-dashes``.
    old_flags: old names of the option, which still work, with a warning.
    shown_default: text that help shows where the default is computed.
    parse: turns a user's value into the field's type, or raises ValueError with a remedy.
    """

    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    flags: tuple[str, ...] = ()
    old_flags: tuple[str, ...] = ()
    shown_default: str = ""
    parse: Callable[[Any], Any] | None = None


def option(default: Any, text: str, **facts: Any) -> Any:
    """Declare a field: its default, its help text, and more of :class:`Option`."""
    return field(default=default, metadata={"option": Option(text, **facts)})


def option_of(one: dataclasses.Field[Any]) -> Option:
    """Return the declaration of a field."""
    option: Option = one.metadata["option"]
    return option


def flags_of(name: str, option: Option) -> tuple[str, ...]:
    """Return the flags of an option on the command line."""
    return option.flags or (f"--{name.replace('_', '-')}",)


def choices_of(hint: Any) -> tuple[str, ...]:
    """Return the values that a field's type allows; empty: the field is not a choice."""
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def kinds_of(hint: Any) -> list[Any]:
    """Return the types that a field may have, except None."""
    return [kind for kind in typing.get_args(hint) if kind is not type(None)] or [hint]


class Part:
    """A part of the settings: checks its fields when it is made."""

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):  # type: ignore[arg-type]
            given = getattr(self, one.name)
            object.__setattr__(self, one.name, _taken(type(self), one, given))


def _taken(part: type, one: dataclasses.Field[Any], given: Any) -> Any:
    option, hint = option_of(one), hints(part)[one.name]
    if given is None and type(None) in typing.get_args(hint):
        return None
    try:
        value = option.parse(given) if option.parse else _as_type(hint, given)
        _refuse_out_of_bounds(option, hint, value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"`{one.name}` is {shown(given)}: {error}") from None
    return value


def _as_type(hint: Any, value: Any) -> Any:
    kinds = kinds_of(hint)
    if choices_of(hint):
        return str(value)
    if bool in kinds:
        if not isinstance(value, bool):
            raise ValueError("give True or False")
        return value
    if int in kinds:
        return whole(value)
    if float in kinds:
        return number_of(value)
    if Path in kinds:
        if not isinstance(value, str | os.PathLike) or not str(value):
            raise ValueError("give the path of a file")
        return Path(value)
    if not isinstance(value, str):
        raise ValueError("give a string")
    return value


def _refuse_out_of_bounds(option: Option, hint: Any, value: Any) -> None:
    choices = choices_of(hint)
    if choices and value not in choices:
        raise ValueError(f"give {', '.join(choices[:-1])} or {choices[-1]}")
    low, high, above = option.minimum, option.maximum, option.above
    if not isinstance(value, int | float) or isinstance(value, bool):
        return
    if above is not None and value <= above:
        raise ValueError(f"give more than {above:g}")
    if low is not None and high is not None and not low <= value <= high:
        raise ValueError(f"give {low:g} to {high:g}")
    if low is not None and value < low:
        raise ValueError(f"give {low:g} or more")


def shown(value: Any) -> str:
    """Return a value for a message: one line, so of an array only its type."""
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "empty"
    text = f"{value:g}" if isinstance(value, float) else str(value) or "empty"
    return text if len(text.splitlines()) == 1 else f"of type {type(value).__name__}"


@functools.cache
def hints(part: type) -> dict[str, Any]:
    """Return the types of a part's fields by name."""
    return typing.get_type_hints(part)
