"""The recipe of a run, read from TOML: frozen dataclasses; an unknown key is an error."""

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from geodecloud.data.two_level.synthesis import SynthesisPlan
from geodecloud.errors import ConfigError
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan

T = TypeVar("T")


@dataclass(frozen=True)
class Losses:
    """What the generator is asked for, and how much of each.

    opacity_quantile: of the pinball loss; 0.5 is the median, less keeps land.
    certain: weight of the opacity's cross entropy beside the pinball loss.
    under_opaque: weight of the colour where the ground cannot be seen.
    without_cloud: weight of the colour where there is neither cloud nor shadow.
    adversarial: weight of the discriminator's answer once it has joined.
    """

    colour: float = 1.0
    opacity: float = 1.0
    shadow: float = 0.7
    opacity_quantile: float = 0.47
    certain: float = 0.15
    under_opaque: float = 0.15
    without_cloud: float = 0.1
    adversarial: float = 0.003


@dataclass(frozen=True)
class Schedule:
    """Steps and rates of a run.

    rate, discriminator_rate: of AdamW after the warm-up, until the last share of the steps
        (``cooling``), in which they fall to nothing.
    head_rate: how many times faster the head learns, which has new outputs to learn.
    frozen_statistics: whether BatchNorm keeps the statistics that it began with: to tune a model
        that is good already in few steps, or in small batches.
    join: first step in which the discriminator takes part; -1: never.
    save_every: seconds from one saved state to the next.
    """

    seed: int = 231
    steps: int = 10_000
    batch_size: int = 32
    rate: float = 1e-3
    discriminator_rate: float = 2e-4
    weight_decay: float = 0.01
    warm_up: int = 200
    cooling: float = 0.25
    clip_gradient: float = 1.0
    ema_decay: float = 0.999
    head_rate: float = 1.0
    frozen_statistics: bool = False
    join: int = -1
    save_every: float = 120.0


def _generator() -> GeneratorPlan:
    return GeneratorPlan(highlights=True, context=True, shadow=True)


@dataclass(frozen=True)
class Recipe:
    """All that defines a run beside its data; ``noise_fields`` is their number in the bank."""

    noise_fields: int = 96
    generator: GeneratorPlan = field(default_factory=_generator)
    discriminator: DiscriminatorPlan = field(default_factory=DiscriminatorPlan)
    synthesis: SynthesisPlan = field(default_factory=SynthesisPlan)
    losses: Losses = field(default_factory=Losses)
    schedule: Schedule = field(default_factory=Schedule)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: no such file, not TOML, an unknown key or a value of another type.
    """
    try:
        return build(Recipe(), tomllib.loads(path.read_text(encoding="utf-8")), "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def build(base: T, table: Mapping[str, Any], where: str) -> T:
    """Replace the named fields of a frozen dataclass, those of its parts from tables."""
    types = typing.get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in table.items():
        if key not in types:
            raise ConfigError(f"unknown key {where}{key}; there are {', '.join(types)}")
        old = getattr(base, key)
        if dataclasses.is_dataclass(old) and isinstance(value, Mapping):
            changes[key] = build(old, value, f"{where}{key}.")
        elif isinstance(old, tuple) and isinstance(value, list):
            changes[key] = tuple(value)
        elif isinstance(old, float) and isinstance(value, int | float):
            changes[key] = float(value)
        elif type(value) is type(old):
            changes[key] = value
        else:
            raise ConfigError(f"{where}{key} is {value!r}: it must be like {old!r}")
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]
