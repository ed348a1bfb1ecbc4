"""Declare the recipe of a run at two levels, and read it from TOML."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geodecloud.data.two_level.synthesis import SynthesisPlan
from geodecloud.errors import ConfigError
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan, require_at_least
from geodecloud.training.config import from_table, read_table

_OLD_TABLES = ("training", "clouds", "augmentation")  # of recipes at one level


@dataclass(frozen=True)
class Losses:
    """Weights of the losses, and of pixels within them.

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

    batch_size: over all processes.
    rate, discriminator_rate: of AdamW after the warm-up, until the last fraction of the steps
        (``cooling``), in which they fall to nothing.
    warm_up: steps in which the rates rise.
    head_rate: how many times faster the head learns, which has new outputs to learn.
    frozen_statistics: whether BatchNorm keeps the statistics that it began with: to tune a model
        that is good already in few steps, or in small batches.
    keep: whether windows without new land (scenes, roofs, coasts) are taught the answers of the
        model that the run starts with, which then forgets nothing.
    join: fraction of the steps before the discriminator joins; 1: it never does.
    ramp: fraction of the steps from then on until its answer has its full weight.
    save_every: seconds from one saved state to the next.
    validation_windows: held-out windows that each saved model is scored on.
    """

    seed: int = 231
    split_seed: int = 231  # of training and held-out tiles, as in the article
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
    keep: bool = False
    join: float = 0.85
    ramp: float = 0.05
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    save_every: float = 300.0
    validation_windows: int = 256

    def __post_init__(self) -> None:
        require_at_least(self, "schedule", steps=1, batch_size=2, validation_windows=1)
        for name in ("cooling", "ema_decay", "join", "ramp"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"[schedule] {name} is {value:g}: give a fraction, 0 to 1")


def _generator() -> GeneratorPlan:
    return GeneratorPlan(highlights=True, context=True, shadow=True)


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a run, except for its data.

    noise_fields: number of fields of noise beside the real cloud fields.
    """

    recipe: Literal["two-level"] = "two-level"
    noise_fields: int = 96
    generator: GeneratorPlan = field(default_factory=_generator)
    discriminator: DiscriminatorPlan = field(default_factory=DiscriminatorPlan)
    synthesis: SynthesisPlan = field(default_factory=SynthesisPlan)
    losses: Losses = field(default_factory=Losses)
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        for name, value in _numbers(self, ""):
            if not (value >= 0 and math.isfinite(value)):
                raise ConfigError(f"{name} is {value:g}: give 0 or more")
        synthesis = self.synthesis
        if synthesis.coarse + synthesis.middle > 1:
            raise ConfigError("[synthesis] coarse and middle add up to more than 1")
        if not any(synthesis.sky.kind_weights):
            raise ConfigError("[synthesis.sky] every share is 0: give one of them more")
        if self.noise_fields < 1:
            raise ConfigError(f"noise_fields is {self.noise_fields}: give at least 1")
        plan = self.generator
        inputs = plan.dark_object and plan.highlights and plan.context
        if not (inputs and plan.opacity and plan.shadow):
            raise ConfigError(
                "[generator] opacity, dark_object, highlights, context and shadow must be true"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a plain nested dict, as in the TOML file."""
        return dataclasses.asdict(self)

    def with_schedule(self, **changes: Any) -> "Recipe":
        """Return the same recipe with another schedule."""
        return dataclasses.replace(self, schedule=dataclasses.replace(self.schedule, **changes))


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value is impossible.
    """
    table = read_table(path)
    for name in _OLD_TABLES:
        if name in table and "recipe" not in table:
            raise ConfigError(
                f'{path}: [{name}] is of another recipe; add recipe = "article" or "physical"'
            )
    return from_table(path, Recipe, table)


def _numbers(part: Any, section: str) -> Iterator[tuple[str, float]]:
    """Yield the name and value of every number of a recipe."""
    for one in dataclasses.fields(part):
        value = getattr(part, one.name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, f"{section}.{one.name}".lstrip("."))
        elif isinstance(value, int | float | tuple):
            for number in value if isinstance(value, tuple) else (value,):
                yield f"[{section}] {one.name}".removeprefix("[] "), number
