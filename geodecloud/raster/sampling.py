"""Sample pixels all over a scene before its rows are read."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.scene import Scene

_LONGEST = 512  # most pixels sampled along a side
_MOST_ROWS, _MOST_COLUMNS = 512, 4096  # read at once
# A scene wider and higher than _LARGE_SIDE pixels is sampled in one of _KNIGHT squares of side
# _SQUARE, if they hold at least _ENOUGH valid pixels.
_LARGE_SIDE, _KNIGHT, _SQUARE, _ENOUGH = 4096, 5, 1024, 50_000


def sample(scene: Scene) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read R, G, B and validity of pixels spread over a scene, at most 512 or 1024 along a side.

    The pixels are the file's own: overviews may be averaged, stale or empty, and the same pixels
    must give the same output. Only a fifth of a large scene is decoded, but sampled more densely:
    squares a knight's move apart.

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
    """Read at most ``longest`` pixels along a side, in one of ``every`` squares."""
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
    """Return the central pixel of each run of about ``factor`` pixels along a side."""
    count = max(1, round(length / factor))
    middles = (np.arange(count) + 0.5) * (length / count) + 1e-10  # as GDAL rounds
    return np.minimum(middles.astype(np.intp), length - 1)


def _groups(positions: NDArray[np.intp], offset: int, length: int) -> list[slice]:
    """Return the runs of positions that lie in one part of the file, to be read at once.

    Args:
        offset: pixel of the file at position 0.
        length: pixels in a part: whole blocks, so that no block is decoded twice.
    """
    numbers = (positions + offset) // length
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), positions.size]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]
