"""Read the tiles of a run, and yield them in batches."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodecloud.data.augment import is_water
from geodecloud.data.draw import draw_numbers
from geodecloud.data.eurosat import SPLIT_SEED, load_eurosat
from geodecloud.data.scene_tiles import tiles_from_scenes
from geodecloud.data.tiles import OnBad, Tiles, join
from geodecloud.errors import DataError
from geodecloud.radiometry import eurosat_to_model
from geodecloud.settings import Reading

_WATER_SEED = 2_000_003  # keeps the choice of water apart from all other random numbers
_TILES_AT_ONCE = 1024  # when all tiles are searched for water


@dataclass(frozen=True)
class Data:
    """The tiles of a run.

    Args:
        about: origin of the tiles, for the model file.
    """

    training: Tiles
    held_out: Tiles
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClearSources:
    """The files of clear land that a run of any recipe reads.

    Args:
        eurosat: folder or zip.
        scenes: folder of clear GeoTIFFs; None: EuroSAT alone.
        classes: read these of EuroSAT's land-cover classes only; none: all.
        on_bad: treatment of files that cannot be read: "error", or "skip" them and count.
        reading: scale and offset of the scenes.
    """

    eurosat: Path
    scenes: Path | None = None
    classes: tuple[str, ...] = ()
    on_bad: OnBad = "error"
    reading: Reading = field(default_factory=Reading)

    def eurosat_tiles(self, split_seed: int, held_out: int) -> tuple[Tiles, Tiles]:
        """Return EuroSAT's training part, and ``held_out`` of its other tiles at most."""
        load = partial(
            load_eurosat, self.eurosat, classes=self.classes, on_bad=self.on_bad, seed=split_seed
        )
        return load(), load(held_out=True, limit=held_out)


class Sources(ClearSources):
    """The files that the tiles of a run are read from."""

    def read(self, validation_tiles: int, split_seed: int = SPLIT_SEED) -> Data:
        """Read EuroSAT's training part and the scenes' tiles, and some held-out tiles.

        Args:
            validation_tiles: number of held-out tiles at most.
            split_seed: of EuroSAT's parts.

        Raises:
            DataError: there are no tiles, or a file cannot be read.
        """
        training, held_out = self.eurosat_tiles(split_seed, validation_tiles)
        about: dict[str, Any] = {"eurosat_tiles": len(training), "split_seed": split_seed}
        if self.classes:
            about["classes"] = list(self.classes)
        if self.scenes:
            cut = tiles_from_scenes(self.scenes, self.reading, self.on_bad)
            about["scene_tiles"] = len(cut)
            training = join(training, cut)
        if training.skipped:
            about["skipped"] = len(training.skipped)
        return Data(training, held_out, about)


class Batch(NamedTuple):
    """Tiles, and the numbers that their random numbers depend on.

    clear: float32 (N, 3, 64, 64) in model range.
    neighbours: float32 (N, 3, 3, 64, 64), for each tile the three that follow it in the data.
    water: float32 (N, 3, 64, 64), for each tile a tile of water; itself where there is none.
    epoch: of the run.
    items: numbers of the tiles in the data, N.
    """

    clear: Tensor
    neighbours: Tensor
    water: Tensor
    epoch: int
    items: tuple[int, ...]

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on a device."""
        clear, neighbours, water = (part.to(device, non_blocking=True) for part in self[:3])
        return Batch(clear, neighbours, water, self.epoch, self.items)


def batches(
    tiles: Tiles, seed: int, batch_size: int, start: int, process: tuple[int, int] = (0, 1)
) -> Iterator[Batch]:
    """Yield endless batches from step ``start`` on; each epoch takes each tile once.

    The appearance of a tile in an epoch depends on (seed, epoch, tile) only.

    Args:
        batch_size: over all processes.
        start: the first step.
        process: (rank, count): each batch is divided among the processes.

    Raises:
        DataError: there are fewer tiles than one batch.
    """
    if len(tiles) < batch_size:
        raise DataError(
            f"{len(tiles)} tiles are fewer than one batch of {batch_size}; "
            "give more tiles or a smaller batch_size"
        )
    rank, count = process
    per_epoch = len(tiles) // batch_size
    all_water = _find_water(tiles)
    step = start
    while True:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(tiles))
        chosen = order[position * batch_size : (position + 1) * batch_size][rank::count]
        following = (chosen[:, None] + np.arange(1, 4)) % len(tiles)
        items = tuple(chosen.tolist())
        water = chosen
        if len(all_water):
            draw = draw_numbers(seed + _WATER_SEED, epoch, items, ("water",))
            index = draw.uniform("water").flatten().numpy() * len(all_water)
            water = all_water[index.astype(int)]
        clear, neighbours, beside = (
            torch.from_numpy(eurosat_to_model(tiles.pixels[part]))
            for part in (chosen, following, water)
        )
        yield Batch(clear, neighbours, beside, epoch, items)
        step += 1


def _find_water(tiles: Tiles) -> NDArray[np.intp]:
    starts = range(0, len(tiles), _TILES_AT_ONCE)
    parts = [eurosat_to_model(tiles.pixels[first : first + _TILES_AT_ONCE]) for first in starts]
    return np.flatnonzero(np.concatenate([is_water(torch.from_numpy(p)).numpy() for p in parts]))
