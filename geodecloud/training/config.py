"""Declare the configuration of a training run at one level, and read it from TOML."""

import dataclasses
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from geodecloud.data.config import Augmentation, CloudMix
from geodecloud.errors import ConfigError
from geodecloud.model.config import (
    DiscriminatorPlan,
    GeneratorPlan,
    build,
    require_at_least,
    require_fractions,
)
from geodecloud.settings.text import read_text

T = TypeVar("T")
RECIPES = ("two-level", "physical", "article")  # the first is declared in two_level.recipe


@dataclass(frozen=True)
class LossWeights:
    """Weights of the generator's losses, and of pixels within them."""

    l1: float = 1.0
    adversarial: float = 0.01  # beside an L1 of weight 1: the article's ratio, 1 to 100
    opacity: float = 1.0
    opacity_quantile: float = 0.4  # 0.5 would be the median: see losses.pinball
    under_opaque: float = 0.15  # weight of a pixel's L1 where opaque cloud hides the ground
    without_cloud: float = 0.1  # weight of a pixel's L1 where there is no cloud

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            most = math.inf if name in ("l1", "adversarial", "opacity") else 1
            if not (0 <= value <= most and math.isfinite(value)):
                bounds = "0 or more" if most > 1 else "0 to 1"
                raise ConfigError(f"[losses] {name} is {value:g}: give {bounds}")


@dataclass(frozen=True)
class Training:
    """Schedule of a run. Steps count generator updates; rates are AdamW's."""

    seed: int = 231
    split_seed: int = 231  # of training and held-out tiles, as in the article
    steps: int = 7000
    epochs: float = 0  # replaces steps unless it is 0
    batch_size: int = 32  # over all processes
    schedule: Literal["one-cycle", "step"] = "one-cycle"  # step: rate / 10 after 2/3 of the steps
    generator_rate: float = 8e-4
    discriminator_rate: float = 2e-4
    discriminator_momentum: float = 0.5  # Adam's first beta
    weight_decay: float = 0.01
    clip_gradient: float = 1.0  # largest norm of the generator's gradient; 0: no limit
    warm_up: float = 0.85  # fraction of the steps before the discriminator joins
    adversarial_ramp: float = 0.05  # fraction of the steps until the adversarial loss counts fully
    ema_decay: float = 0.999  # of the averaged weights, each step; 0: no average
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where it is fast
    validate_every: int = 500  # steps; 0: once an epoch
    validation_tiles: int = 480

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 2, "validation_tiles": 1}
        numbers = {k: v for k, v in dataclasses.asdict(self).items() if not isinstance(v, str)}
        require_at_least(self, "training", **(dict.fromkeys(numbers, 0) | least))
        if self.discriminator_momentum == 1:
            raise ConfigError("[training] discriminator_momentum is 1: it must be less")
        fractions = "warm_up", "adversarial_ramp", "ema_decay", "discriminator_momentum"
        require_fractions(self, "training", *fractions)


@dataclass(frozen=True)
class Config:
    """Everything that defines a run, except for its data.

    recipe: ``physical``: the clouds of :mod:`geodecloud.data.clouds` in the fractions of
        ``clouds``; ``article``: the article's overlay, see :mod:`geodecloud.data.article`.
    """

    recipe: Literal["physical", "article"] = "physical"
    generator: GeneratorPlan = field(default_factory=GeneratorPlan)
    discriminator: DiscriminatorPlan = field(default_factory=DiscriminatorPlan)
    clouds: CloudMix = field(default_factory=CloudMix)
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossWeights = field(default_factory=LossWeights)
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        plan = self.generator
        if plan.highlights or plan.context or plan.shadow:
            raise ConfigError(
                f"[generator] highlights, context and shadow need two levels, but recipe is "
                f"{self.recipe!r}: leave them out, or leave out the recipe"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a plain nested dict, as in the TOML file."""
        return dataclasses.asdict(self)


def load_config(path: Path) -> Config:
    """Read a TOML file of the recipe ``physical`` or ``article``.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value is impossible.
    """
    return from_table(path, Config, read_table(path))


def recipe_of(path: Path) -> str:
    """Return the recipe that a TOML file names; ``two-level`` where it names none.

    Raises:
        ConfigError: the file is missing or not TOML, or there is no such recipe.
    """
    name = read_table(path).get("recipe", RECIPES[0])
    if name not in RECIPES:
        raise ConfigError(f"{path}: recipe is {name!r}: it must be {', '.join(RECIPES)}")
    return str(name)


def read_table(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing or not TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error


def from_table(path: Path, kind: type[T], table: dict[str, Any]) -> T:
    """Return a configuration from a table that was read from ``path``.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of bounds.
    """
    try:
        return build(kind, table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def with_steps(config: Config, steps: int) -> Config:
    """Return the same configuration with another number of steps."""
    training = dataclasses.replace(config.training, steps=steps, epochs=0)
    return dataclasses.replace(config, training=training)
