"""Read the saved states of training runs, and compare them with a run."""

import dataclasses
import struct
from pathlib import Path
from pickle import PickleError
from typing import Any, TypeVar

import torch

from geodecloud.errors import ConfigError, ModelError
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan, build
from geodecloud.model.model_file import plan_of, sha256_of

_Plan = TypeVar("_Plan", GeneratorPlan, DiscriminatorPlan)
NO_START = "damaged, or not the state of a run; give another `start`"
NO_RESUME = "damaged, or of another version of geodecloud; start a new run in another `out`"
# Errors of torch.load and load_state_dict for a file that is damaged or of other networks.
DAMAGED = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    struct.error,
    PickleError,
)


def read_state(path: Path, device: torch.device, problem: str) -> dict[str, Any]:
    """Read the saved state of a run.

    Args:
        device: to put tensors on.
        problem: of a file that is damaged or no state, for the message; ends with the remedy.

    Raises:
        ModelError: the file is missing, damaged or not the state of a run.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the state of a run, like last.pt")
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        origin = {} if state["started_from"] is None else state["started_from"]
        dicts = isinstance(state["config"], dict) and isinstance(origin, dict)
        whole = dicts and isinstance(state["step"], int) and isinstance(state["data"], str)
    except DAMAGED as error:  # its text is left out: torch advises to load the file unsafely
        raise ModelError(f"{path}: {problem}") from error
    if not whole:
        raise ModelError(f"{path}: {problem}")
    return state


def read_networks(
    path: Path, device: torch.device
) -> tuple[dict[str, Any], GeneratorPlan, DiscriminatorPlan]:
    """Read a state to start from, and the shapes of its networks.

    Raises:
        ModelError: the file is missing, damaged or not the state of a run.
    """
    state = read_state(path, device, NO_START)
    config = state["config"]
    try:
        return state, plan_of(config), build(DiscriminatorPlan, config["discriminator"])
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ModelError(f"{path}: {NO_START}") from error


def is_origin(start: Path, origin: dict[str, Any] | None) -> bool:
    """Return whether a run that has ``started_from`` an origin may have begun with a file."""
    if origin is None:
        return False
    # A state of an earlier version has no SHA-256: any file may be the one.
    return "sha256" not in origin or origin["sha256"] == sha256_of(start)


def shape_differences(theirs: _Plan, ours: _Plan) -> str:
    """Return the values of a network that differ from the configuration's, as text."""
    return ", ".join(changed_values(dataclasses.asdict(theirs), dataclasses.asdict(ours)))


def changed_values(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Return the values of a saved configuration that differ from ours, each as text."""
    found = []
    for name, value in ours.items():
        other = theirs.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            found += changed_values(other, value)
        elif other != value:
            found.append(f"{name} {other}, here {value}")
    return found
