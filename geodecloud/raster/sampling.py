"""Sample the pixels of a scene, all over it, before its rows are read."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.scene import Scene

_LONGEST = 512  # pixels that are read, at most a side
_MOST_ROWS, _MOST_COLUMNS = 512, 4096  # that are read at once
# Of a scene wider and higher than this, one in so many squares of this side is read, unless fewer
# valid pixels are found there.
_LARGE_SIDE, _KNIGHT, _SQUARE, _ENOUGH = 4096, 5, 1024, 50_000


def sample(scene: Scene) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read R, G, B and validity of pixels all over a scene, 512 at most a side, or 1024.

    The pixels are the file's own. Its overviews may be averaged, stale or empty, and the same
    pixels must give the same output. Of a scene of many blocks a fifth is decoded: squares like a
    knight's moves, with closer pixels.

    Returns:
        dn (3, count) and validity (count,).

    Raises:
        SceneError: the file is truncated or damaged.
    """
    if min(scene.shape) > _LARGE_SIDE:
        dn, valid = _sample(scene, 2 * _LONGEST, _KNIGHT)
        if valid.sum() >= _ENOUGH:
            return dn, valid
    return _sample(scene, _LONGEST, 1)


def _sample(scene: Scene, longest: int, every: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read pixels, ``longest`` at most a side, in one of ``every`` squares."""
    factor = max(1.0, max(scene.shape) / longest)
    rows, columns = (_positions(length, factor) for length in scene.shape)
    if every > 1:
        groups = _groups(rows, 0, _SQUARE), _groups(columns, 0, _SQUARE)
    else:
        height, width = scene.dataset.block_shapes[0]
        height = min(height, _MOST_ROWS)
        groups = (
            _groups(rows, scene.area.row_off, _MOST_ROWS // height * height),
            _groups(columns, scene.area.col_off, -(-_MOST_COLUMNS // width) * width),
        )
    parts = [
        scene.read_pixels(rows[down], columns[across])
        for i, down in enumerate(groups[0])
        for j, across in enumerate(groups[1])
        if (i + 2 * j) % every == 0
    ]
    dn = np.concatenate([dn.reshape(3, -1) for dn, _ in parts], axis=1)
    return dn, np.concatenate([valid.ravel() for _, valid in parts])


def _positions(length: int, factor: float) -> NDArray[np.intp]:
    """Return the pixels along a side that stand for ``factor`` pixels each: their middles."""
    count = max(1, round(length / factor))
    middles = (np.arange(count) + 0.5) * (length / count) + 1e-10  # as GDAL rounds
    return np.minimum(middles.astype(np.intp), length - 1)


def _groups(positions: NDArray[np.intp], offset: int, length: int) -> list[slice]:
    """Return the runs of positions that lie in one part of the file, to be read at once.

    Args:
        offset: of position 0 in the file.
        length: of a part: whole blocks, so that none is decoded twice.
    """
    numbers = (positions + offset) // length
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), positions.size]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]
