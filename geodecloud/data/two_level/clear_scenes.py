"""Cut clear scenes into windows to train on, in 16 bits, with light beyond the model range.

Roofs, sand and salt are brighter than EuroSAT's 8 bits can hold: only scenes show them.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.data.scene_tiles import (
    MaskFile,
    masks_of,
    read_hidden,
    scenes_and_masks,
    touched_cells,
)
from geodecloud.data.tiles import BadFiles, OnBad
from geodecloud.data.two_level.land import UNIT, WINDOW, cut_scene
from geodecloud.errors import DataError, DataWarning, warn
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.validity import is_doubtful
from geodecloud.settings import Reading

LEVELS = (1, 2, 4)
# Pixels from one window to the next, by level: coarse windows are fewer, so they overlap more.
_STRIDES = {1: 32, 2: 16, 4: 8}
_METRES = 10.0  # size of a pixel of level 1; assumed for a scene that does not state its own
_MAX_WINDOWS = 4000  # of one scene and level: 100 MB
_ROWS = 512  # read at a time

SceneWindows = dict[int, NDArray[np.uint16]]  # by level: (count, 3, 64, 64) in steps of 1/8192


def load_clear_scenes(
    folder: Path, reading: Reading | None = None, on_bad: OnBad = "error"
) -> SceneWindows:
    """Cut all clear scenes of a folder.

    Args:
        folder: of GeoTIFFs and their masks, see
            :func:`geodecloud.data.scene_tiles.tiles_from_scenes`. Scenes are calibrated as for
            restoring; path radiance that a correction has removed is added again.
        reading: scale and offset of all scenes; None: each has its own radiometry.
        on_bad: treatment of a scene that cannot be used: "error", or "skip" it.

    Returns:
        By level, uint16 (count, 3, 64, 64), see ``land.LandBank``. A scene with larger pixels
        than a level's is cut for that level at its own resolution.

    Raises:
        DataError: the folder does not exist, or no scene in it has a clear window.
        SceneError: a scene or mask cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of clear GeoTIFFs")
    bad = BadFiles(on_bad)
    windows: dict[int, list[NDArray[np.uint16]]] = {level: [] for level in LEVELS}
    paths, masks = scenes_and_masks(folder)
    for path in paths:
        with bad.tolerated(path.relative_to(folder).as_posix()):
            read = _read(path, masks_of(path, paths, masks), reading or Reading())
            cut = {level: _cut(*read, level) for level in LEVELS}
            if not any(map(len, cut.values())):
                warn(DataWarning, f"{path}: no window of {WINDOW}x{WINDOW} clear pixels in it")
            for level, part in cut.items():
                windows[level].append(part)
    bad.report(folder)
    found = {level: np.concatenate(parts) for level, parts in windows.items() if parts}
    if not any(len(part) for part in found.values()):
        raise DataError(
            f"{folder}: no window of {WINDOW}x{WINDOW} clear pixels in its {len(paths)} scenes; "
            "give larger or clearer scenes"
        )
    return found


def _read(
    path: Path, masks: list[MaskFile], reading: Reading
) -> tuple[NDArray[np.uint16], NDArray[np.bool_], float]:
    """Read a scene.

    Returns:
        light: uint16 (3, rows, columns), top-of-atmosphere reflectance in steps of 1/8192 of the
            model range.
        clear: bool (rows, columns), valid and hidden by no mask.
        metres: size of a pixel.
    """
    with open_scene(path, reading=reading) as scene:
        # Haze is kept: to remove it would clip light to the model range.
        radiometry = calibrate(scene, replace(reading, force=True, keep_haze=True))
        light = np.empty((3, *scene.shape), np.uint16)
        clear = np.empty(scene.shape, np.bool_)
        for top in range(0, scene.shape[0], _ROWS):
            rows = slice(top, min(top + _ROWS, scene.shape[0]))
            dn, valid = scene.read(rows.start, rows.stop)
            rgb = dn[scene.rgb]
            clear[rows] = valid & ~is_doubtful(rgb)
            model = radiometry.to_network(np.where(valid, radiometry.unclipped(rgb), 0))
            light[:, rows] = np.clip(np.rint(model * UNIT), 0, 65535)
        for mask in masks:
            _hide(clear, read_hidden(mask, scene))
        return light, clear, _metres(scene)


def _metres(scene: Scene) -> float:
    """Return the size of a pixel in metres; 10 for a scene that does not state it."""
    size = scene.pixel_metres
    return (size[0] * size[1]) ** 0.5 if size else _METRES


def _hide(clear: NDArray[np.bool_], hidden: NDArray[np.bool_]) -> None:
    """Set ``clear`` to false where a mask hides the ground; both cover the same area.

    Args:
        clear: bool (rows, columns), changed in place.
        hidden: bool, on the mask's own grid. A pixel is hidden by any cell that it touches.
    """
    rows, columns = clear.shape
    clear &= ~_any_touched(_any_touched(hidden, rows).T, columns).T


def _any_touched(hidden: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Return whether each of ``length`` pixels touches a hidden cell along the first axis."""
    pixels = np.arange(length)
    first, end = touched_cells(pixels, pixels + 1, len(hidden), length)
    found = hidden[first]
    for cell in range(1, (end - first).max()):
        found |= hidden[np.minimum(first + cell, end - 1)]
    return found


def _cut(
    light: NDArray[np.uint16], clear: NDArray[np.bool_], metres: float, level: int
) -> NDArray[np.uint16]:
    """Cut a scene into at most ``_MAX_WINDOWS`` windows of one level."""
    pool = max(1, round(level * _METRES / metres))
    stride = _STRIDES[level] if pool == level else WINDOW * 3 // 4
    return cut_scene(light, clear, pool, stride, _MAX_WINDOWS)
