"""Read the tiles of a run at one level, and yield them in batches."""

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

_WATER_SEED = 2_000_003  # added to the seed, so that water is chosen by numbers of its own
_TILES_AT_ONCE = 1024  # converted at once in the search for water, to bound the memory


@dataclass(frozen=True)
class RunTiles:
    """The tiles of a run.

    Args:
        training: tiles to train on.
        held_out: tiles to validate on.
        about: origin of the tiles, for the metadata of the model file.
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
        classes: of EuroSAT's land cover, to read these alone; empty: all.
        on_bad: treatment of files that cannot be read: "error", or "skip" and count them.
        reading: scale and offset of the scenes.
    """

    eurosat: Path
    scenes: Path | None = None
    classes: tuple[str, ...] = ()
    on_bad: OnBad = "error"
    reading: Reading = field(default_factory=Reading)

    def eurosat_tiles(self, split_seed: int, held_out: int) -> tuple[Tiles, Tiles]:
        """Return EuroSAT's training part, and at most ``held_out`` of its other tiles.

        Raises:
            DataError: there are no tiles, or a file cannot be read.
        """
        load = partial(
            load_eurosat, self.eurosat, classes=self.classes, on_bad=self.on_bad, seed=split_seed
        )
        return load(), load(held_out=True, limit=held_out)


class TileSources(ClearSources):
    """The files that the tiles of a run are read from."""

    def read(self, validation_tiles: int, split_seed: int = SPLIT_SEED) -> RunTiles:
        """Read EuroSAT's training part, the tiles of the scenes, and some held-out tiles.

        Args:
            validation_tiles: largest number of held-out tiles.
            split_seed: of EuroSAT's division into training and held-out tiles.

        Raises:
            DataError: there are no tiles, or a file cannot be read.
            SceneError: a scene or mask cannot be read.
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
        return RunTiles(training, held_out, about)


class Batch(NamedTuple):
    """N tiles, and the epoch and items that seed their random numbers.

    clear: float32 (N, 3, 64, 64), model range.
    neighbours: float32 (N, 3, 3, 64, 64), the three tiles that follow each tile in the data.
    water: float32 (N, 3, 64, 64), a tile of water for each tile; the tile itself if no tile of the
        data is water.
    epoch: of the run.
    items: index of each tile in the data.
    """

    clear: Tensor
    neighbours: Tensor
    water: Tensor
    epoch: int
    items: tuple[int, ...]

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        clear, neighbours, water = (part.to(device, non_blocking=True) for part in self[:3])
        return Batch(clear, neighbours, water, self.epoch, self.items)


def batches(
    tiles: Tiles, seed: int, batch_size: int, start: int, process: tuple[int, int] = (0, 1)
) -> Iterator[Batch]:
    """Yield batches without end, from step ``start`` on.

    Each epoch yields each tile at most once, in a new order; an incomplete last batch is left out.
    The random numbers of a tile depend on (seed, epoch, item) only.

    Args:
        tiles: training data.
        seed: of the run.
        batch_size: over all processes.
        start: the first step.
        process: (rank, count): each process gets every ``count``-th tile of a batch.

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
    water_items = _find_water(tiles)
    step = start
    while True:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(tiles))
        chosen = order[position * batch_size : (position + 1) * batch_size][rank::count]
        following = (chosen[:, None] + np.arange(1, 4)) % len(tiles)
        items = tuple(chosen.tolist())
        water = chosen
        if len(water_items):
            draw = draw_numbers(seed + _WATER_SEED, epoch, items, ("water",))
            index = draw.uniform("water").flatten().numpy() * len(water_items)
            water = water_items[index.astype(int)]
        clear, neighbours, beside = (
            torch.from_numpy(eurosat_to_model(tiles.pixels[part]))
            for part in (chosen, following, water)
        )
        yield Batch(clear, neighbours, beside, epoch, items)
        step += 1


def _find_water(tiles: Tiles) -> NDArray[np.intp]:
    """Return the indices of the tiles of water, (count,)."""
    starts = range(0, len(tiles), _TILES_AT_ONCE)
    parts = [eurosat_to_model(tiles.pixels[first : first + _TILES_AT_ONCE]) for first in starts]
    return np.flatnonzero(np.concatenate([is_water(torch.from_numpy(p)).numpy() for p in parts]))
