"""Rows of the output in portions that suit who works on them: grouped, cut, or set aside."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import OutputError
from geodecloud.restore.filters import Floats
from geodecloud.restore.memory import FILLED_ROWS


@dataclass(frozen=True)
class Finished:
    """Rows of the output: all bands before and after, and what is said of them."""

    first: int
    before: NDArray[Any]  # (bands, rows, width)
    after: NDArray[Any]  # (bands, rows, width)
    provenance: NDArray[np.uint8]  # (rows, width)
    valid: NDArray[np.bool_]  # (rows, width)
    share: Floats  # (rows, width), see context.fill_weight
    trust: Floats  # (rows, width), see context.trust


_ARRAYS = [field.name for field in dataclasses.fields(Finished)][1:]


def in_groups(rows: Iterator[Finished], block: int) -> Iterator[Finished]:
    """The same rows in groups that begin where a block begins, all of one height but the last."""
    height = -(-FILLED_ROWS // block) * block
    group, count = None, 0
    for more in rows:
        taken = 0
        while taken < len(more.valid):
            if group is None:
                group, count = _room(more, more.first + taken, height), 0
            some = min(height - count, len(more.valid) - taken)
            _copy(_part(more, taken, taken + some), _part(group, count, count + some))
            taken, count = taken + some, count + some
            if count == height:
                yield group
                group = None
        del more  # nothing is held here while the next rows are made
    if group is not None:
        yield _part(group, 0, count)


def _room(like: Finished, first: int, height: int) -> Finished:
    """Room for ``height`` rows from ``first`` on."""
    arrays = (getattr(like, name) for name in _ARRAYS)
    shapes = ((*array.shape[:-2], height, array.shape[-1]) for array in arrays)
    types = (getattr(like, name).dtype for name in _ARRAYS)
    room: Iterator[Any] = map(np.empty, shapes, types)
    return Finished(first, *room)


def _copy(rows: Finished, to: Finished) -> None:
    for name in _ARRAYS:
        getattr(to, name)[:] = getattr(rows, name)


def pieces(rows: Finished) -> Iterator[Finished]:
    """The same rows, few at a time, so that what is computed of them needs little memory."""
    for start in range(0, len(rows.valid), FILLED_ROWS):
        yield _part(rows, start, start + FILLED_ROWS)


def _part(rows: Finished, start: int, stop: int) -> Finished:
    return Finished(
        rows.first + start, *(getattr(rows, name)[..., start:stop, :] for name in _ARRAYS)
    )


def set_aside(rows: Finished, file: IO[bytes], folder: Path) -> None:
    """Write them at the end of a file, which is in that folder.

    Raises:
        OutputError: there is no room.
    """
    try:
        for field in dataclasses.fields(Finished):
            np.save(file, getattr(rows, field.name))
    except OSError as error:
        raise OutputError(
            f"{folder}: no room for the rows that wait to be filled ({error}); make room and run "
            "again, or use --opaque keep"
        ) from error


def take_back(file: IO[bytes]) -> Finished:
    """The next rows of a file that were set aside."""
    first, *arrays = (np.load(file) for _ in dataclasses.fields(Finished))
    return Finished(int(first), *arrays)
