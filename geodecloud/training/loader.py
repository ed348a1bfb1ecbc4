"""What the networks see of the tiles, step by step."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodecloud.data import augment, clouds
from geodecloud.data.tiles import Tiles
from geodecloud.data.water import is_water
from geodecloud.errors import DataError
from geodecloud.radiometry import eurosat_to_model

_AUGMENT = 1_000_003  # keeps the augmentation's random stream apart from the clouds'
_WATER = 2_000_003  # and that of the water beside the land apart from both
_AT_ONCE = 1024  # tiles, when all are looked at


class Batch(NamedTuple):
    """Tiles and the random numbers that decide what becomes of them.

    clear: float32 (N, 3, 64, 64) in model range.
    neighbours: float32 (N, 3, 3, 64, 64): for each tile the three that follow it in the data.
    water: float32 (N, 3, 64, 64): for each tile one of water; itself where there is none.
    changes: float32 (N, augment.UNIFORMS), 0..1.
    clouds: float32 (N, clouds.UNIFORMS), 0..1.
    """

    clear: Tensor
    neighbours: Tensor
    water: Tensor
    changes: Tensor
    clouds: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))


def batches(
    tiles: Tiles, seed: int, batch_size: int, start: int, share: tuple[int, int] = (0, 1)
) -> Iterator[Batch]:
    """Endless batches from step ``start`` on; each epoch takes each tile once.

    What a tile looks like in an epoch depends on (seed, epoch, tile) only.

    Args:
        share: (rank, processes): every so many-th tile of each batch, from ``rank`` on.

    Raises:
        DataError: fewer tiles than one batch.
    """
    if len(tiles) < batch_size:
        raise DataError(f"{len(tiles)} tiles are fewer than one batch of {batch_size}")
    rank, processes = share
    per_epoch = len(tiles) // batch_size
    water = _of_water(tiles)
    step = start
    while True:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(tiles))
        mine = order[position * batch_size : (position + 1) * batch_size][rank::processes]
        following = (mine[:, None] + np.arange(1, 4)) % len(tiles)
        items = mine.tolist()
        wet = [water[_drawn(seed, epoch, i, len(water))] for i in items] if len(water) else mine
        yield Batch(
            torch.from_numpy(eurosat_to_model(tiles.pixels[mine])),
            torch.from_numpy(eurosat_to_model(tiles.pixels[following])),
            torch.from_numpy(eurosat_to_model(tiles.pixels[wet])),
            clouds.draw_uniforms(seed + _AUGMENT, epoch, items, augment.UNIFORMS),
            clouds.draw_uniforms(seed, epoch, items),
        )
        step += 1


def _drawn(seed: int, epoch: int, item: int, count: int) -> int:
    return int(np.random.default_rng([seed + _WATER, epoch, item]).integers(count))


def _of_water(tiles: Tiles) -> NDArray[np.intp]:
    """The indices of the tiles that are water."""
    parts = [tiles.pixels[first : first + _AT_ONCE] for first in range(0, len(tiles), _AT_ONCE)]
    wet = [is_water(torch.from_numpy(eurosat_to_model(part))).numpy() for part in parts]
    return np.flatnonzero(np.concatenate(wet))
