"""Configuration of a training run: frozen dataclasses, read from TOML.

An unknown key is an error that names the nearest known one; nothing is silently ignored.
"""

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from geodecloud.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class CloudMix:
    """Share of the tiles under each kind of cloud; the shares add up to 1."""

    none: float = 0.34
    haze: float = 0.17
    veil: float = 0.24
    cumulus: float = 0.18
    deck: float = 0.07
    cirrus: float = 0.0

    def __post_init__(self) -> None:
        total = sum(dataclasses.astuple(self))
        if abs(total - 1) > 1e-6 or min(dataclasses.astuple(self)) < 0:
            raise ConfigError(f"[clouds] shares add up to {total:g}: they must add up to 1")

    @classmethod
    def only(cls, kind: str) -> "CloudMix":
        """Every tile under the kind of this name."""
        return cls(**{f.name: float(f.name == kind) for f in dataclasses.fields(cls)})


@dataclass(frozen=True)
class Training:
    """The schedule of a run. Learning rates as for AdamW; steps count generator updates."""

    seed: int = 231
    steps: int = 2000
    batch_size: int = 32
    generator_rate: float = 8e-4
    discriminator_rate: float = 2e-4
    warm_up: float = 0.8  # share of the steps before the discriminator joins
    adversarial_weight: float = 0.01  # BCE against an L1 of weight 1, as the article's 1 : 100
    opacity_weight: float = 1.0
    ema_decay: float = 0.998
    validate_every: int = 250
    validation_tiles: int = 480

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch_size": 2, "validate_every": 1, "validation_tiles": 1}
        for name, value in dataclasses.asdict(self).items():
            if value < least.get(name, 0):
                raise ConfigError(f"[training] {name} is {value:g}: at least {least.get(name, 0)}")
            if name in ("warm_up", "ema_decay") and value > 1:
                raise ConfigError(f"[training] {name} is {value:g}: it is a share, 0 to 1")


@dataclass(frozen=True)
class Config:
    """All that defines a run beside its data."""

    width: int = 32
    clouds: CloudMix = field(default_factory=CloudMix)
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width is {self.width}: at least 1")

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
    sections = {"clouds": CloudMix, "training": Training}
    values: dict[str, Any] = dict(table)
    for name, kind in sections.items():
        if name in values:
            values[name] = _build(kind, values[name], f"{path} [{name}]")
    return _build(Config, values, str(path))


def _build(kind: type[T], values: Any, where: str) -> T:
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: must be a table of keys, not {values!r}")
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise ConfigError(f"{where}: unknown key {key!r}; did you mean {near!r}?")
        wanted = known[key].type
        if isinstance(wanted, type) and wanted in (int, float):
            right = isinstance(value, int | float if wanted is float else int)
            if not right or isinstance(value, bool):
                raise ConfigError(f"{where}: {key} is {value!r}: it must be {wanted.__name__}")
    return kind(**values)
