"""Declare the shapes of the networks, and build configurations from plain tables.

An unknown key is an error that names the nearest known key.
"""

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from geodecloud.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class GeneratorPlan:
    """Shape of the generator; the model file stores it beside the weights."""

    width: int = 32  # channels of the first level; each level below has twice as many
    depth: int = 4  # number of halvings of height and width; a window is a multiple of 2**depth
    upsample: Literal["bilinear", "transposed"] = "bilinear"
    opacity: bool = True  # a fourth output channel, and the other three as a change to the input
    dark_object: bool = True  # three more input channels: the dark object of the whole scene
    highlights: bool = False  # three more: log(light) / log(4) beyond the model range
    context: bool = False  # five more: the coarse answer, see data.two_level.context
    shadow: bool = False  # a fifth output channel: the fraction of the light that a shadow takes
    widths: tuple[int, ...] = ()  # channels of each level, the bottom last; (): by width

    @property
    def channels(self) -> int:
        """Input channels: red, green, blue; highlights; coarse answer; the scene's dark object."""
        return 3 + 3 * self.highlights + 5 * self.context + 3 * self.dark_object

    @property
    def outputs(self) -> int:
        """Output channels: red, green, blue; opacity; shadow."""
        return 3 + self.opacity + self.shadow

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level, from full resolution to the bottom."""
        return self.widths or self._usual_widths

    @property
    def _usual_widths(self) -> tuple[int, ...]:
        return tuple(self.width * 2**level for level in range(self.depth + 1))

    def __post_init__(self) -> None:
        require_at_least(self, "generator", width=1, depth=1)
        if self.depth > 6:
            raise ConfigError(f"[generator] depth is {self.depth}: at most 6, for 64-pixel tiles")
        if self.widths and self.widths == self._usual_widths:
            object.__setattr__(self, "widths", ())  # as where only width is given
        if self.widths and (len(self.widths) != self.depth + 1 or min(self.widths) < 1):
            raise ConfigError(
                f"[generator] widths is {list(self.widths)}: give {self.depth + 1} numbers "
                "(depth + 1), each 1 or more"
            )
        if self.shadow and not self.opacity:
            raise ConfigError("[generator] shadow needs opacity")


@dataclass(frozen=True)
class DiscriminatorPlan:
    """Shape of the discriminator: number of residual blocks and of channels of each stage."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (16, 32, 128, 256)

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.widths) or not 1 <= len(self.blocks) <= 6:
            raise ConfigError("[discriminator] blocks and widths must have equal length, 1 to 6")
        # With fewer than 8 channels PyTorch 2.13 writes beyond its memory, in the gradient of a
        # strided convolution on a CPU, channels last.
        if min(self.blocks) < 1 or min(self.widths) < 8:
            raise ConfigError("[discriminator] blocks must be 1 or more, widths 8 or more")


# Old names of keys in configurations and model files, and their new names.
_RENAMED: dict[type, dict[str, str]] = {GeneratorPlan: {"darkest": "dark_object"}}


def build(kind: type[T], table: Any) -> T:
    """Build a configuration dataclass from plain values, and its dataclass fields from tables.

    Raises:
        ConfigError: a key is unknown, or a value of the wrong type or out of bounds.
    """
    return _replaced(kind(), table, "")


def _replaced(base: T, table: Any, section: str) -> T:
    """Return the configuration with its values replaced by those of a table."""
    prefix = f"[{section}] " if section else ""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{prefix or 'it '}must be a table of keys, not {table!r}")
    renamed = _RENAMED.get(type(base), {})
    types = typing.get_type_hints(type(base))
    values = {}
    for given, value in table.items():
        key = renamed.get(given, given)
        if key not in types:
            near = difflib.get_close_matches(given, types, n=1, cutoff=0)[0]
            raise ConfigError(f"{prefix}unknown key {given!r}; did you mean {near!r}?")
        if dataclasses.is_dataclass(types[key]):
            values[key] = _replaced(getattr(base, key), value, f"{section}.{key}".lstrip("."))
        else:
            values[key] = _value(types[key], value, prefix, given)
    return dataclasses.replace(base, **values)  # type: ignore[type-var]


def require_at_least(config: Any, section: str, **bounds: float) -> None:
    """Check lower bounds of fields by name.

    Raises:
        ConfigError: a value is below its bound, infinite or NaN.
    """
    for name, bound in bounds.items():
        value = getattr(config, name)
        if not bound <= value < math.inf:
            raise ConfigError(f"[{section}] {name} is {value:g}: give at least {bound:g}")


def require_fractions(config: Any, section: str, *names: str) -> None:
    """Check that fields are fractions.

    Raises:
        ConfigError: a value is below 0, above 1, or NaN.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise ConfigError(f"[{section}] {name} is {value:g}: give a fraction, 0 to 1")


def _value(wanted: Any, value: Any, prefix: str, key: str) -> Any:
    """Return a value checked and converted to the type of its field."""
    inner = typing.get_args(wanted)
    if typing.get_origin(wanted) is Literal:
        fits, name = value in inner, " or ".join(inner)
    elif typing.get_origin(wanted) is tuple:
        kinds, any_length = (int,) if inner[0] is int else (int, float), inner[-1] is Ellipsis
        fits = isinstance(value, list | tuple) and all(type(v) in kinds for v in value)
        fits = fits and (any_length or len(value) == len(inner))
        name = "a list of whole numbers" if any_length else f"a list of {len(inner)} numbers"
        value = tuple(value) if fits else value
    else:
        fits = type(value) in ((int, float) if wanted is float else (wanted,))
        name = wanted.__name__
    if not fits:
        raise ConfigError(f"{prefix}{key} is {value!r}: it must be {name}")
    return value
