"""Read the data that the windows of a run are made of, and hold it on the device."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodecloud.data.two_level.clear_scenes import SceneWindows, load_clear_scenes
from geodecloud.data.two_level.cloud_fields import load_cloud_fields
from geodecloud.data.two_level.field_bank import FieldBank, make_bank
from geodecloud.data.two_level.land import LandBank, load_land
from geodecloud.errors import UsageError
from geodecloud.training.loader import ClearSources
from geodecloud.training.two_level.recipe import Recipe

_HELD_OUT = 1024  # largest number of tiles to validate on


@dataclass(frozen=True)
class Library:
    """The data that windows are made of, on one device.

    land: to train on.
    bank: cloud fields and noise.
    held_out: land to validate on: tiles alone, no scenes.
    digest: SHA-256 of what is trained on, to refuse to resume with other data.
    about: origin of the data, for the metadata of the model file.
    """

    land: LandBank
    bank: FieldBank
    held_out: LandBank
    digest: str
    about: dict[str, Any]

    @property
    def device(self) -> torch.device:
        """The device that holds the data."""
        return self.bank.values.device


@dataclass(frozen=True)
class WindowSources(ClearSources):
    """The files that the windows of a run are made of.

    Args:
        cloud_fields: folder of real cloud fields, see
            :func:`geodecloud.data.two_level.cloud_fields.load_cloud_fields`.
    """

    cloud_fields: Path = field(kw_only=True)

    def read(self, recipe: Recipe, device: torch.device) -> Library:
        """Read tiles, cloud fields and clear scenes, and put them on the device.

        Raises:
            DataError: there are no tiles, fields or clear windows, or a file cannot be read.
            SceneError: a scene or mask cannot be read.
        """
        plan = recipe.schedule
        fields = load_cloud_fields(self.cloud_fields)
        scenes: SceneWindows = {}
        if self.scenes:
            scenes = load_clear_scenes(self.scenes, self.reading, self.on_bad)
        tiles, held_out = self.eurosat_tiles(plan.split_seed, _HELD_OUT)
        about: dict[str, Any] = {
            "eurosat_tiles": len(tiles),
            "split_seed": plan.split_seed,
            "cloud_fields": len(fields),
            "scene_windows": {str(level): len(part) for level, part in scenes.items()},
        }
        if self.classes:
            about["classes"] = list(self.classes)
        if tiles.skipped:
            about["skipped"] = len(tiles.skipped)
        return Library(
            load_land(tiles.pixels, tiles.names, scenes, device),
            make_bank(torch.from_numpy(fields).to(device), recipe.noise_fields, plan.seed),
            load_land(held_out.pixels, held_out.names, {}, device),
            _digest(tiles.digest(), fields, *scenes.values()),
            about,
        )


def find_cloud_fields() -> Path:
    """Return the folder of cloud fields in a checkout of the repository.

    Raises:
        UsageError: the package does not run from a checkout.
    """
    folder = Path(__file__).parents[3] / "sample_data" / "cloud_fields"
    if not folder.is_dir():
        raise UsageError(
            "`cloud_fields` is missing: give a folder of cloud fields, such as "
            "sample_data/cloud_fields of the repository; geodecloud cloud-fields cuts others"
        )
    return folder


def _digest(tiles: str, *arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of the tiles' digest and of the arrays."""
    sha = hashlib.sha256(tiles.encode())
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
