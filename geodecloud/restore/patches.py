"""Cut a scene into patches for the network, in batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise, repeat
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import GeodecloudError
from geodecloud.radiometry import BRIGHTEST, Radiometry
from geodecloud.restore.filters import Floats
from geodecloud.restore.windows import WindowGrid

_TOGETHER = 8  # windows whose context is interpolated at once
# Channels of an answer: change of R, G, B; opacity; shadow.
CHANGE, OPACITY, SHADOW, CHANNELS = slice(0, 3), 3, 4, 5

# A network takes patches (N, C, S, S) and the scene's dark object (3,), and returns (N, 4 or 5, S,
# S). These are restored R, G, B; opacity; shadow, if the network predicts it. All are float32. C is
# 3: R, G, B in model range. For a network whose ``takes_context`` is true C may be 8, with the
# coarse answer, and the light may exceed the model range.
Predict = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Network:
    """A network, and the radiometry in which it sees a scene."""

    predict: Predict
    radiometry: Radiometry

    @property
    def takes_context(self) -> bool:
        """True if the network sees the coarse answer, and light beyond the model range."""
        return bool(getattr(self.predict, "takes_context", False))

    @property
    def grain(self) -> int:
        """Number of windows that the network computes together; 1 if it declares none."""
        return int(getattr(self.predict, "grain", 1))

    def fitted(self, windows: int, size: int) -> "Network":
        """Return the network for a pass over a number of windows, of ``size`` pixels a side.

        A network with a method ``fitted`` may choose a smaller grain, to pad less.
        """
        fit = getattr(self.predict, "fitted", None)
        return replace(self, predict=fit(windows, size)) if fit else self

    def light(self, dn: NDArray[Any]) -> Floats:
        """Return the network's input for DN of R, G, B: float32 (3, rows, width), model range."""
        most = BRIGHTEST if self.takes_context else 1.0
        return self.radiometry.to_network(self.radiometry.to_model(dn, most))

    def change(self, patches: Floats) -> Floats:
        """Return change of R, G, B, opacity and shadow of patches: float32 (N, 5, size, size).

        Args:
            patches: float32 (N, 3 or 8, size, size), see :data:`Predict`.

        Raises:
            GeodecloudError: the network returned NaN or infinity, or another shape.
        """
        out = np.zeros((len(patches), CHANNELS, *patches.shape[2:]), np.float32)
        if not len(patches):
            return out
        answer = self.predict(patches, np.array(self.radiometry.dark_object, np.float32))
        shapes = [(len(patches), count, *patches.shape[2:]) for count in (CHANNELS - 1, CHANNELS)]
        if (shape := np.shape(answer)) not in shapes:
            raise GeodecloudError(
                f"the network returned an array of shape {shape}: it must return {shapes[0]}, or "
                f"{shapes[1]} with shadow"
            )
        if not np.isfinite(answer).all():
            raise GeodecloudError("the network returned NaN or infinity; try `precision` fp32")
        out[:, : answer.shape[1]] = answer
        out[:, :3] -= np.clip(patches[:, :3], 0, 1)
        return out


class Guide(Protocol):
    """The coarse answer that guides the fine pass: :class:`geodecloud.restore.coarse.Coarse`."""

    def context(self, row: int, column: int, height: int, width: int) -> Floats:
        """Return the context of a window: float32 (5, height, width)."""

    def cloudy_columns(self, first: int, last: int) -> tuple[slice, ...]:
        """Return the columns in which these rows may hold cloud or shadow."""

    def is_needed(self, rows: slice, columns: slice) -> bool:
        """Return whether any of these pixels needs the network."""


class RowSource(Protocol):
    """A scene whose rows can be read: see :class:`geodecloud.raster.scene.Scene`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def rgb(self) -> list[int]:
        """Indices of red, green and blue among the bands."""

    def read(self, first: int, last: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return DN (bands, rows, width) and validity (rows, width)."""


@dataclass(frozen=True)
class Swath:
    """The rows of a scene under some rows of windows.

    first: the first row.
    dn: (bands, rows, width).
    valid: bool (rows, width).
    corners: (row, column) of each window's top left, in the scene.
    cores: rows and columns of each window's core, see :meth:`WindowGrid.core`.
    end: the first row that later windows cover; all rows above it are final after this swath.
    """

    first: int
    dn: NDArray[Any]
    valid: NDArray[np.bool_]
    corners: list[tuple[int, int]]
    cores: list[tuple[slice, slice]]
    end: int


@dataclass(frozen=True)
class PatchBatch:
    """Windows of a swath for one call of the network.

    corners: (row, column) of each window's top left, in the scene.
    indices: for each window, the index of its patch.
    patches: float32 (N, 3 or 8, size, size), see :data:`Predict`; N may be 0.
    end: the row above which the blend is final once these windows are added.
    """

    corners: list[tuple[int, int]]
    indices: list[int]
    patches: Floats
    end: int


def read_swaths(scene: RowSource, grid: WindowGrid, per_swath: int) -> Iterator[Swath]:
    """Read the scene from the top down, each row once.

    Args:
        per_swath: rows of windows in a swath.
    """
    height, width = scene.shape
    columns, rows = grid.starts(width), grid.starts(height)
    first, dn, valid = 0, *scene.read(0, 0)
    for group in range(0, len(rows), per_swath):
        tops = rows[group : group + per_swath]
        bottom = min(tops[-1] + grid.size, height)
        more_dn, more_valid = scene.read(first + dn.shape[1], bottom)
        dn = np.concatenate([dn, more_dn], axis=1)
        valid = np.concatenate([valid, more_valid])
        end = rows[group + per_swath] if group + per_swath < len(rows) else height
        corners = [(top, left) for top in tops for left in columns]
        cores = [(grid.core(top, height), grid.core(left, width)) for top, left in corners]
        yield Swath(first, dn, valid, corners, cores, end)
        first, dn, valid = end, dn[:, end - first :], valid[end - first :]


def patch_batches(
    swath: Swath, light: Floats, guide: Guide | None, size: int, batch_size: int
) -> Iterator[PatchBatch]:
    """Yield the windows of a swath that hold data, as batches of patches; at least one batch.

    Windows of the same uniform colour, usually saturated cloud, share one patch.

    Args:
        light: float32 (3, rows, width) of the swath, model range.
        guide: provides the context and decides which windows are needed; None: no context, all
            windows.
    """
    batch = _Batch(size, 3 if guide is None else 8)
    needed = _needed(swath, guide, size)
    contexts = _contexts(needed, guide, swath, size) if guide else repeat(None, len(needed))
    for (row, column), context in zip(needed, contexts, strict=True):
        top = row - swath.first
        window = np.s_[top : top + size, column : column + size]
        patch, valid = light[:, *window], swath.valid[window]
        if context is not None:
            patch = np.concatenate([patch, context])
        batch.add((row, column), filled_patch(patch, valid, size))
        if len(batch.patches) == batch_size:
            yield batch.finished(swath.first)
            batch = _Batch(size, batch.channels)
    yield batch.finished(swath.end)


def _needed(swath: Swath, guide: Guide | None, size: int) -> list[tuple[int, int]]:
    """Return the corners of those windows of a swath that hold data and need the network."""
    return [
        (row, column)
        for (row, column), core in zip(swath.corners, swath.cores, strict=True)
        if (guide is None or guide.is_needed(*core))
        and swath.valid[row - swath.first :][:size, column : column + size].any()
    ]


def _contexts(
    corners: list[tuple[int, int]], guide: Guide, swath: Swath, size: int
) -> Iterator[Floats]:
    """Yield the context of each window; overlapping neighbours are interpolated together."""
    rows, width = swath.valid.shape
    for row, columns in _neighbours(corners, size):
        left, right = columns[0], min(columns[-1] + size, width)
        height = min(size, swath.first + rows - row)
        context = guide.context(row, left, height, right - left)
        for column in columns:
            yield context[..., column - left : column - left + size]


def _neighbours(corners: list[tuple[int, int]], size: int) -> Iterator[tuple[int, list[int]]]:
    """Yield groups of adjacent windows in a row: the row and the windows' columns."""
    some: list[int] = []
    for (row, column), (next_row, next_column) in pairwise([*corners, (-1, 0)]):
        some.append(column)
        if next_row != row or next_column > column + size or len(some) == _TOGETHER:
            yield row, some
            some = []


@dataclass
class _Batch:
    """A patch batch that is being put together."""

    size: int
    channels: int
    patches: list[Floats] = field(default_factory=list)  # (channels, size, size) each
    corners: list[tuple[int, int]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    even: dict[bytes, int] = field(default_factory=dict)  # colour -> index of its uniform patch

    def add(self, corner: tuple[int, int], patch: Floats) -> None:
        index, colour = len(self.patches), patch[:, :1, :1]
        if (patch == colour).all():
            index = self.even.setdefault(colour.tobytes(), index)
        if index == len(self.patches):
            self.patches.append(patch)
        self.corners.append(corner)
        self.indices.append(index)

    def finished(self, end: int) -> PatchBatch:
        shape = len(self.patches), self.channels, self.size, self.size
        patches = np.array(self.patches, np.float32).reshape(shape)  # right for no patches, too
        return PatchBatch(self.corners, self.indices, patches, end)


def filled_patch(patch: Floats, valid: NDArray[np.bool_], size: int) -> Floats:
    """Fill the holes of a patch and pad it: (C, size, size).

    Invalid pixels, and those beyond the edge of a small scene, take the mean of the valid pixels in
    each channel. So nodata does not affect valid neighbours.
    """
    height, width = valid.shape
    if valid.all() and (height, width) == (size, size):
        return patch
    out = np.empty((len(patch), size, size), np.float32)
    out[:] = patch[:, valid].mean(axis=1, dtype=np.float64)[:, None, None]
    np.copyto(out[:, :height, :width], patch, where=valid)
    return out
