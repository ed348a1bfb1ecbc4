"""Read and write model files: the generator's weights as safetensors, with metadata."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from geodecloud.errors import ConfigError, ModelError, OutputError
from geodecloud.model.config import GeneratorPlan, build
from geodecloud.model.unet import UNet
from geodecloud.raster.atomic import atomic_write
from geodecloud.version import VERSION

KIND = "geodecloud-generator"
_MAX_STRENGTH = 2.0  # a model that removes less than half of a cloud is not usable


@dataclass(frozen=True)
class ModelInfo:
    """Description of a model file.

    path, sha256: of the file.
    plan: the shape of the generator.
    strength: factors of the generator's change of red, green and blue under a veil that is
        certain and lets the ground be seen; mostly 1.
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
    """Return the path of the model that comes with the package."""
    return Path(str(resources.files("geodecloud.model") / "weights" / "default.safetensors"))


def save_generator(generator: UNet, path: Path, about: dict[str, Any]) -> None:
    """Write weights (fp16, statistics fp32) and metadata; the file appears whole or not at all.

    Args:
        about: more metadata: config, training data, step; ``strength`` where it is known, a number
            or three, see :class:`ModelInfo`.

    Raises:
        OutputError: the file cannot be written, for example to a full disk.
    """
    metadata = {
        "kind": KIND,
        "version": VERSION,
        "generator": dataclasses.asdict(generator.plan),
        "window": 64,
        "bands": ["red", "green", "blue"],
        "radiometry": "reflectance / 0.275",
        **about,
    }
    weights = {
        name: (value.half() if _fits_half(name, value) else value).cpu().contiguous()
        for name, value in generator.state_dict().items()
    }
    try:
        with atomic_write(path) as part:
            save_file(weights, part, {"geodecloud": json.dumps(metadata)})
    except (SafetensorError, OSError) as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error


def _fits_half(name: str, value: torch.Tensor) -> bool:
    """Return whether a weight is written in fp16; a variance may exceed fp16's 65,504."""
    return value.is_floating_point() and "running_" not in name


def read_info(path: Path) -> ModelInfo:
    """Read the metadata of a model file.

    Raises:
        ModelError: the file is missing, damaged or not a model of geodecloud.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such model file; leave out `model` to use the built-in one")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("geodecloud")
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged, or not a safetensors file ({error})") from error
    try:
        metadata = json.loads(text or "")
        ours = metadata["kind"] == KIND
        plan = _plan_of(metadata)
        strength = _strength_of(metadata.get("strength", 1.0))
        ours = ours and all(0 < factor <= _MAX_STRENGTH for factor in strength)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError):
        ours = False
    if not ours:
        raise ModelError(
            f"{path}: not a model of geodecloud; leave out `model` to use the built-in one"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelInfo(path, digest, plan, strength, metadata)


def _strength_of(value: Any) -> tuple[float, float, float]:
    """Return the factors of red, green and blue; a number is that of all three."""
    red, green, blue = value if isinstance(value, list | tuple) else (value,) * 3
    return float(red), float(green), float(blue)


def _plan_of(metadata: dict[str, Any]) -> GeneratorPlan:
    """Return the generator's plan from the metadata of any version.

    The first models had no dark object; later ones called it ``darkest``.
    """
    table = metadata["generator"]
    absent = {} if table.keys() & {"darkest", "dark_object"} else {"dark_object": False}
    return build(GeneratorPlan, absent | table)


def load_generator(path: Path) -> tuple[UNet, ModelInfo]:
    """Load the generator in fp32, in evaluation mode, on the CPU.

    Raises:
        ModelError: as :func:`read_info`, or the weights do not fit the network.
    """
    info = read_info(path)
    with torch.device("meta"):  # initial weights would be drawn, and advance the random state
        generator = UNet(info.plan)
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        whole = {n: w.float() if w.is_floating_point() else w for n, w in weights.items()}
        generator.load_state_dict(whole, assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: the weights do not fit the network ({reason})") from error
    return generator.eval(), info
