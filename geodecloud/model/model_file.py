"""Read the metadata of a model file, without PyTorch."""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from geodecloud.errors import ConfigError, ModelError
from geodecloud.model.config import GeneratorPlan, build

KIND = "geodecloud-generator"
_MAX_STRENGTH = 2.0  # a model that removes less than half of a cloud is not usable


@dataclass(frozen=True)
class ModelInfo:
    """The metadata of a model file.

    path, sha256: of the file.
    plan: the shape of the generator.
    strength: factors on the generator's change of red, green and blue under definite but
        translucent cloud; usually 1.
    metadata: all entries as written: bands, radiometry, config, training data, version.
    """

    path: Path
    sha256: str
    plan: GeneratorPlan
    strength: tuple[float, float, float]
    metadata: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the model file and the start of its hash, for tags and reports."""
        return f"{self.path.name} sha256:{self.sha256[:16]}"


def default_model() -> Path:
    """Return the path of the built-in model."""
    return Path(str(resources.files("geodecloud.model") / "weights" / "default.safetensors"))


def read_info(path: Path) -> ModelInfo:
    """Read the metadata of a model file.

    Raises:
        ModelError: the file is missing, damaged or not a model of geodecloud.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; check its path")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("geodecloud")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged, or not a safetensors file ({error})") from error
    try:
        metadata = json.loads(text or "")
        ours = metadata["kind"] == KIND
        plan = plan_of(metadata)
        strength = _strength_of(metadata.get("strength", 1.0))
        ours = ours and all(0 < factor <= _MAX_STRENGTH for factor in strength)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError):
        ours = False
    if not ours:
        raise ModelError(f"{path}: not a model of geodecloud; name one that it has trained")
    return ModelInfo(path, sha256_of(path), plan, strength, metadata)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits.

    Raises:
        ModelError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error


def _strength_of(value: Any) -> tuple[float, float, float]:
    """Return the factors of red, green and blue; one number applies to all three."""
    red, green, blue = value if isinstance(value, list | tuple) else (value,) * 3
    return float(red), float(green), float(blue)


def plan_of(metadata: dict[str, Any]) -> GeneratorPlan:
    """Return the generator's plan from the metadata, or a run's configuration, of any version.

    The first models had no dark object; later ones called it ``darkest``.
    """
    table = metadata["generator"]
    absent = {} if table.keys() & {"darkest", "dark_object"} else {"dark_object": False}
    return build(GeneratorPlan, absent | table)
