"""What the network is asked: the windows of a scene as patches, in batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.radiometry import Radiometry
from geodecloud.raster.scene import Scene
from geodecloud.restore.windows import Grid


@dataclass(frozen=True)
class Band:
    """Rows under some rows of windows.

    places: (row, column) of the windows' top left, in these rows.
    finished: how many of the rows, from the top, no later window reaches.
    """

    first: int
    dn: NDArray[Any]  # (bands, rows, width)
    valid: NDArray[np.bool_]  # (rows, width)
    places: list[tuple[int, int]]
    finished: int


@dataclass(frozen=True)
class Question:
    """Some windows of a band for the network; ``completes`` is the band if they are its last."""

    places: list[tuple[int, int]]
    which: list[int]  # of the patches, for each place
    patches: NDArray[np.float32]  # (N, 3, size, size), N may be 0
    completes: Band | None
    skipped: int  # windows of the band that are not among the patches of its questions


def read_swaths(scene: Scene, grid: Grid, per_strip: int) -> Iterator[Band]:
    """The scene from the top down; each row is read once."""
    height, width = scene.shape
    columns, rows = grid.starts(width), grid.starts(height)
    first, dn, valid = 0, *scene.read(0, 0)
    for group in range(0, len(rows), per_strip):
        tops = rows[group : group + per_strip]
        bottom = min(tops[-1] + grid.size, height)
        more_dn, more_valid = scene.read(first + dn.shape[1], bottom)
        dn = np.concatenate([dn, more_dn], axis=1)
        valid = np.concatenate([valid, more_valid])
        last = rows[group + per_strip] if group + per_strip < len(rows) else height
        places = [(top - first, left) for top in tops for left in columns]
        yield Band(first, dn, valid, places, last - first)
        first, dn, valid = last, dn[:, last - first :], valid[last - first :]


def questions(
    bands: Iterator[Band], rgb: list[int], radiometry: Radiometry, size: int, batch_size: int
) -> Iterator[Question]:
    """The windows that hold data, as patches, in batches that end with their band.

    Of the windows in a batch that are one even colour, saturated cloud as a rule, one is asked:
    the others have the same answer.
    """
    for band in bands:
        model = radiometry.to_network(radiometry.to_model(band.dn[rgb]))
        batch, asked = _Batch(size), 0
        for row, column in band.places:
            valid = band.valid[row : row + size, column : column + size]
            if not valid.any():
                continue
            patch = model[:, row : row + size, column : column + size]
            batch.add((row, column), filled_patch(patch, valid, size))
            if len(batch.patches) == batch_size:
                asked += batch_size
                yield batch.question(None, 0)
                batch = _Batch(size)
        asked += len(batch.patches)
        yield batch.question(band, len(band.places) - asked)


class _Batch:
    """A question that is being put together."""

    def __init__(self, size: int) -> None:
        self.patches: list[NDArray[np.float32]] = []  # (3, size, size) each
        self._size = size
        self._places: list[tuple[int, int]] = []
        self._which: list[int] = []
        self._even: dict[bytes, int] = {}  # patches of one colour, by that

    def add(self, place: tuple[int, int], patch: NDArray[np.float32]) -> None:
        index, colour = len(self.patches), patch[:, :1, :1]
        if (patch == colour).all():
            index = self._even.setdefault(colour.tobytes(), index)
        if index == len(self.patches):
            self.patches.append(patch)
        self._places.append(place)
        self._which.append(index)

    def question(self, completes: Band | None, skipped: int) -> Question:
        shape = len(self.patches), 3, self._size, self._size
        patches = np.array(self.patches, np.float32).reshape(shape)  # also of none
        return Question(self._places, self._which, patches, completes, skipped)


def filled_patch(
    patch: NDArray[np.float32], valid: NDArray[np.bool_], size: int
) -> NDArray[np.float32]:
    """A patch of (3, size, size) without holes, from one that may have some or be smaller.

    Where there is no data, or nothing at all beyond the edge of a small scene, the network sees
    each band's mean over the valid pixels, so that the value of nodata reaches no neighbour.
    """
    height, width = valid.shape
    if valid.all() and (height, width) == (size, size):
        return patch
    out = np.empty((3, size, size), np.float32)
    out[:] = patch[:, valid].mean(axis=1, dtype=np.float64)[:, None, None]
    np.copyto(out[:, :height, :width], patch, where=valid)
    return out
