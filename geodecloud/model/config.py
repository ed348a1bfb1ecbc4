"""Configuration of a training run: frozen dataclasses, read from TOML.

An unknown key is an error that names the nearest known one; nothing is silently ignored.
"""

import dataclasses
import difflib
import math
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from geodecloud.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class GeneratorPlan:
    """Shape of the generator; it goes with the weights into the model file."""

    width: int = 32  # channels of the first level; each level below has twice as many
    depth: int = 4  # how often height and width are halved; windows are multiples of 2**depth
    upsample: Literal["bilinear", "transposed"] = "bilinear"
    opacity: bool = True  # a fourth output channel, and the other three as a change to the input
    darkest: bool = True  # three more input channels: the darkest light of the whole scene

    @property
    def channels(self) -> int:
        """Input channels: red, green, blue, and the same of the scene's darkest light."""
        return 6 if self.darkest else 3

    def __post_init__(self) -> None:
        _at_least(self, "generator", width=1, depth=1)
        if self.depth > 6:
            raise ConfigError(f"[generator] depth is {self.depth}: at most 6, for 64-pixel tiles")


@dataclass(frozen=True)
class DiscriminatorPlan:
    """Shape of the discriminator: residual blocks and channels of each stage."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (16, 32, 128, 256)

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.widths) or not 1 <= len(self.blocks) <= 6:
            raise ConfigError("[discriminator] blocks and widths: one of each for 1 to 6 stages")
        # From fewer than 8 channels PyTorch 2.13 writes beyond its memory: a strided convolution's
        # gradient on a CPU, channels last.
        if min(self.blocks) < 1 or min(self.widths) < 8:
            raise ConfigError("[discriminator] blocks must be 1 or more, widths 8 or more")


@dataclass(frozen=True)
class CloudMix:
    """Share of the tiles under each kind of cloud; the shares add up to 1."""

    none: float = 0.30
    haze: float = 0.20
    veil: float = 0.20
    cirrus: float = 0.08
    cumulus: float = 0.16
    deck: float = 0.06

    def __post_init__(self) -> None:
        total = sum(dataclasses.astuple(self))
        if not abs(total - 1) <= 1e-6 or min(dataclasses.astuple(self)) < 0:
            raise ConfigError(f"[clouds] shares add up to {total:g}: they must add up to 1")

    @classmethod
    def only(cls, kind: str) -> "CloudMix":
        """Every tile under the kind of this name."""
        return cls(**{f.name: float(f.name == kind) for f in dataclasses.fields(cls)})


@dataclass(frozen=True)
class Augmentation:
    """Shares of the tiles that are changed, 0 to 1; see :mod:`geodecloud.data.augment`."""

    turned: float = 1.0  # by quarters, and mirrored
    colours: float = 1.0  # other suns, soils, sensors, air
    patches: float = 0.2  # smooth patches of other ground: turbid water, soil, crops
    sand: float = 0.1  # bright bare ground in patches
    pale: float = 0.6  # of the even tiles: turbid, shallow or glittering water
    shores: float = 0.1  # water beside the land
    airless: float = 0.2  # corrected for the light of the air, as L2A is
    pictures: float = 0.25  # stretched, as 8-bit pictures are
    coarse: float = 0.2  # four tiles as one of half the resolution
    fine: float = 0.1  # a quarter of a tile at twice the resolution

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value <= 1:
                raise ConfigError(f"[augmentation] {name} is {value:g}: it is a share, 0 to 1")


@dataclass(frozen=True)
class LossWeights:
    """What the generator is asked for, and how much of each."""

    l1: float = 1.0
    adversarial: float = 0.01  # against an L1 of weight 1, as the article's 1 : 100
    opacity: float = 1.0
    opacity_quantile: float = 0.4  # 0.5 would be the median: see losses.opacity_loss
    under_opaque: float = 0.15  # weight of a pixel's L1 where the ground cannot be seen
    without_cloud: float = 0.1  # and where there is no cloud

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            most = math.inf if name in ("l1", "adversarial", "opacity") else 1
            if not (0 <= value <= most and math.isfinite(value)):
                raise ConfigError(f"[losses] {name} is {value:g}: not a weight or share")


@dataclass(frozen=True)
class Training:
    """The schedule of a run. Steps count generator updates; rates are AdamW's."""

    seed: int = 231
    split_seed: int = 231  # of training and held-out tiles, as in the article
    steps: int = 7000
    epochs: float = 0  # instead of steps, where it is not 0
    batch_size: int = 32  # over all processes
    schedule: Literal["one-cycle", "step"] = "one-cycle"  # step: a tenth from 2/3 of the run on
    generator_rate: float = 8e-4
    discriminator_rate: float = 2e-4
    discriminator_momentum: float = 0.5  # Adam's first beta
    weight_decay: float = 0.01
    clip_gradient: float = 1.0  # largest norm of the generator's gradient; 0: any
    warm_up: float = 0.85  # share of the steps before the discriminator joins
    adversarial_ramp: float = 0.05  # share of the steps until its full weight
    ema_decay: float = 0.999  # 0: no average, the weights themselves
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    validate_every: int = 500  # steps; 0: once an epoch
    validation_tiles: int = 480

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 2, "validation_tiles": 1}
        numbers = {k: v for k, v in dataclasses.asdict(self).items() if not isinstance(v, str)}
        _at_least(self, "training", **(dict.fromkeys(numbers, 0) | least))
        if self.discriminator_momentum == 1:
            raise ConfigError("[training] discriminator_momentum is 1: it must be less")
        for name in ("warm_up", "adversarial_ramp", "ema_decay", "discriminator_momentum"):
            if numbers[name] > 1:
                raise ConfigError(f"[training] {name} is {numbers[name]:g}: it is a share, 0 to 1")


@dataclass(frozen=True)
class Config:
    """All that defines a run beside its data.

    recipe: ``physical``, the clouds of :mod:`geodecloud.data.clouds` in the shares of
        ``clouds``; ``article``, the article's overlay, see :mod:`geodecloud.data.article`.
    """

    recipe: Literal["physical", "article"] = "physical"
    generator: GeneratorPlan = field(default_factory=GeneratorPlan)
    discriminator: DiscriminatorPlan = field(default_factory=DiscriminatorPlan)
    clouds: CloudMix = field(default_factory=CloudMix)
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossWeights = field(default_factory=LossWeights)
    training: Training = field(default_factory=Training)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict, as in the TOML file."""
        return dataclasses.asdict(self)


def load_config(path: Path) -> Config:
    """Read a TOML file.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown, a value is impossible.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML ({error})") from error
    try:
        return build(Config, table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def with_steps(config: Config, steps: int) -> Config:
    """The same for so many steps: to try a recipe, or to give two of them the same time."""
    training = dataclasses.replace(config.training, steps=steps, epochs=0)
    return dataclasses.replace(config, training=training)


def build(kind: type[T], table: Any, section: str = "") -> T:
    """A configuration dataclass from plain values, those of dataclass fields from tables.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of bounds.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{section or 'it'} must be a table of keys, not {table!r}")
    types = typing.get_type_hints(kind)
    for key in table:
        if key not in types:
            near = difflib.get_close_matches(key, types, n=1, cutoff=0)[0]
            raise ConfigError(f"{section}unknown key {key!r}; did you mean {near!r}?")
    return kind(**{key: _value(types[key], value, section, key) for key, value in table.items()})


def _value(wanted: Any, value: Any, section: str, key: str) -> Any:
    if dataclasses.is_dataclass(wanted):
        return build(wanted, value, f"[{key}] ")  # type: ignore[arg-type]
    if typing.get_origin(wanted) is Literal:
        right, name = value in typing.get_args(wanted), " or ".join(typing.get_args(wanted))
    elif typing.get_origin(wanted) is tuple:
        right = isinstance(value, list | tuple) and all(type(v) is int for v in value)
        value, name = tuple(value) if right else value, "a list of whole numbers"
    else:
        right = type(value) in ((int, float) if wanted is float else (wanted,))
        name = wanted.__name__
    if not right:
        raise ConfigError(f"{section}{key} is {value!r}: it must be {name}")
    return value


def _at_least(config: Any, section: str, **least: float) -> None:
    for name, bound in least.items():
        value = getattr(config, name)
        if not bound <= value < math.inf:
            raise ConfigError(f"[{section}] {name} is {value:g}: at least {bound:g}")
