"""Save the generator to a model file, safetensors with metadata, and load it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from geodecloud.errors import ModelError, OutputError
from geodecloud.model.model_file import KIND, ModelInfo, read_info
from geodecloud.model.unet import UNet
from geodecloud.raster.atomic import atomic_write
from geodecloud.version import VERSION


def save_generator(generator: UNet, path: Path, about: dict[str, Any]) -> None:
    """Write weights (fp16, statistics fp32) and metadata; the file appears whole or not at all.

    Args:
        about: more metadata: config, training data, step; ``strength`` if known, one number or
            three, see :class:`ModelInfo`.

    Raises:
        OutputError: the file cannot be written.
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
    """Return whether to write a weight in fp16; a variance may exceed fp16's 65,504."""
    return value.is_floating_point() and "running_" not in name


def load_generator(path: Path) -> tuple[UNet, ModelInfo]:
    """Load the generator in fp32, in evaluation mode, on the CPU.

    Raises:
        ModelError: as :func:`read_info`, or the weights do not fit the network.
    """
    info = read_info(path)
    with torch.device("meta"):  # drawing initial weights would advance the random state
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
