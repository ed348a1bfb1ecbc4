"""Declare the recipe of a run at two levels, and read it from TOML."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geodecloud.data.two_level.synthesis import SynthesisPlan
from geodecloud.errors import ConfigError
from geodecloud.model.config import (
    DiscriminatorPlan,
    GeneratorPlan,
    require_at_least,
    require_fractions,
)
from geodecloud.training.config import from_table, read_table

_ONE_LEVEL_TABLES = ("training", "clouds", "augmentation")  # tables of the other recipes
# Numbers that must be above 0: exponents and logarithms are taken of them.
_ABOVE_ZERO = ("[synthesis.land] same_class", "[synthesis.sky] reach", "[synthesis.sensor] noise")
# The weights of kinds of sky and of radiometries may have any sum.
_FRACTIONS = {
    f"[{section}] {name}"
    for section, names in (
        ("losses", "opacity_quantile"),
        ("synthesis.land", "scenes same_class together"),
        ("synthesis.ground", "bright mixed pale sea roofs coast"),
        ("synthesis.sky", "clear_water clear_new_land second shadows"),
        ("synthesis.sensor", "clipped eight_bit blurred"),
        ("synthesis.context", "nothing missed parted faint wrong dark_unknown"),
    )
    for name in names.split()
}


@dataclass(frozen=True)
class Losses:
    """Weights of the losses, and of pixels within them.

    colour, opacity, shadow: weights of the three losses.
    opacity_quantile: of the pinball loss; 0.5 is the median, less leaves more land as it is.
    certain: weight of the opacity's cross entropy beside the pinball loss.
    under_opaque: weight of a pixel's colour where opaque cloud hides the ground.
    without_cloud: weight of a pixel's colour where there is neither cloud nor shadow.
    adversarial: full weight of the adversarial loss.
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
    rate, discriminator_rate: of AdamW, from the warm-up until the cooling.
    weight_decay: of the generator; the discriminator has AdamW's default, 0.01.
    warm_up: number of steps in which the rates rise.
    cooling: fraction of the steps, at the end, in which the rates fall to 0.
    clip_gradient: largest norm of the generator's gradient; 0: no limit.
    ema_decay: of the averaged weights, each step; at most k / (k + 10) in step k. 0: no average.
    head_rate: factor of the rate for the head, where new outputs are learned.
    frozen_statistics: whether BatchNorm keeps the statistics of the starting model: to tune a good
        model in few steps or small batches.
    keep: whether the model learns the truth of new land (scenes, roofs, coasts) and of thin cloud
        alone. In all other windows it learns the answers of the starting model, so that it forgets
        nothing.
    join: fraction of the steps before the discriminator joins; 1: it never does.
    ramp: fraction of the steps from then on until the adversarial loss has its full weight.
    precision: "auto" is bf16 where the device is fast with it.
    save_every: seconds from one saved state to the next.
    validation_windows: number of held-out windows that each saved model is scored on.
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
        require_fractions(self, "schedule", "cooling", "ema_decay", "join", "ramp")


def _generator() -> GeneratorPlan:
    """Return the shape of a generator for two levels."""
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
            if value == 0 and name in _ABOVE_ZERO:
                raise ConfigError(f"{name} is 0: give more than 0")
            if value > 1 and name in _FRACTIONS:
                raise ConfigError(f"{name} is {value:g}: give a fraction, 0 to 1")
        synthesis = self.synthesis
        if synthesis.coarse + synthesis.middle > 1:
            total = synthesis.coarse + synthesis.middle
            raise ConfigError(
                f"[synthesis] coarse and middle add up to {total:g}: give at most 1 together"
            )
        if not any(synthesis.sky.kind_weights):
            raise ConfigError(
                "[synthesis.sky] none, field, noise, cirrus, haze and shade are 0: "
                "give more for one of them"
            )
        if not any(synthesis.sensor.kind_weights):
            raise ConfigError(
                "[synthesis.sensor] l1c, l2a, tci and picture are 0: give more for one of them"
            )
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
        """Return the recipe with fields of its schedule replaced."""
        return dataclasses.replace(self, schedule=dataclasses.replace(self.schedule, **changes))


def load_recipe(path: Path) -> Recipe:
    """Read a TOML file of the recipe ``two-level``.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value is impossible.
    """
    table = read_table(path)
    for name in _ONE_LEVEL_TABLES:
        if name in table and "recipe" not in table:
            raise ConfigError(
                f'{path}: [{name}] is of another recipe; add recipe = "article" or "physical"'
            )
    return from_table(path, Recipe, table)


def _numbers(part: Any, section: str) -> Iterator[tuple[str, float]]:
    """Yield every number of a recipe: its name, as ``[section] key``, and its value."""
    for one in dataclasses.fields(part):
        value = getattr(part, one.name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, f"{section}.{one.name}".lstrip("."))
        elif isinstance(value, int | float | tuple):
            for number in value if isinstance(value, tuple) else (value,):
                yield f"[{section}] {one.name}".removeprefix("[] "), number
