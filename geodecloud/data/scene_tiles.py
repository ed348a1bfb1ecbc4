"""Cut tiles from clear scenes, to tune a model to a region."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from geodecloud.data.tiles import TILE, BadFiles, OnBad, Tiles
from geodecloud.errors import DataError, DataWarning, warn
from geodecloud.radiometry import model_to_eurosat
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.gdal import failures_as, open_raster
from geodecloud.raster.grid import Grid, extents_match
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.validity import is_doubtful
from geodecloud.settings import Reading

Index = TypeVar("Index", int, NDArray[np.int64])

_MASK_FOLDERS = ("aux", "masks")
# Ends of a mask's name: NAME_SCL, NAME_SCL_20m, NAME_mask, NAME_cloud_mask, or these alone.
_MASK_NAME = re.compile(
    r"(?:(?P<scene>.*?)[_.-])?(?P<kind>SCL|(?:cloud[_-]?)?mask)(?:[_-]\d+m)?", re.IGNORECASE
)
# Classes of Sentinel-2's scene classification (SCL): nodata, defective, cloud shadow, cloud of
# medium and of high probability, cirrus. Snow (11) is ground and must not be learned as cloud.
_SCL_HIDDEN = (0, 1, 3, 8, 9, 10)


class MaskFile(NamedTuple):
    """A raster of the pixels where a scene is not clear.

    scene: the scene's name or its beginning, lower case; empty: every scene of the folder.
    """

    path: Path
    scene: str
    is_scl: bool


def tiles_from_scenes(
    folder: Path, reading: Reading | None = None, on_bad: OnBad = "error"
) -> Tiles:
    """Cut clear scenes, Sentinel-2 or any other with red, green and blue, into tiles.

    Scenes are the ``.tif`` and ``.tiff`` files of the folder and of the folders below it. Tiles
    lie side by side; a tile that touches nodata or a masked pixel is left out. Integer DN of 0 in
    red, green and blue are nodata too. Radiometry is as when a scene is restored.

    A mask of the scene ``NAME.tif`` lies beside it or in ``aux/`` or ``masks/`` beside it, in any
    resolution, as GeoTIFF or PNG: ``NAME_SCL.tif`` is Sentinel-2's scene classification (hidden:
    nodata, defective, shadow, cloud, cirrus); ``NAME_mask.tif`` or ``NAME_cloud_mask.tif`` is not
    0 where there is cloud. A mask may bear the beginning of the scene's name, as Sentinel-2's own
    do (``T33UXQ_20210410_SCL_20m.tif`` of ``T33UXQ_20210410_TCI_10m.tif``). ``SCL.tif`` and
    ``mask.tif`` are for every scene of their folder.

    Args:
        folder: of the scenes.
        reading: scale and offset of all scenes; None: each has its own radiometry.
        on_bad: treatment of a scene or mask that cannot be used: "error", or "skip" the scene.

    Raises:
        DataError: there is no clear tile, or a mask covers another area than its scene.
        SceneError: a scene or mask cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of clear GeoTIFFs")
    bad = BadFiles(on_bad)
    pixels: list[NDArray[np.uint8]] = []
    names: list[str] = []
    scenes, masks = scenes_and_masks(folder)
    for path in scenes:
        name = path.relative_to(folder).as_posix()
        with bad.tolerated(name):
            tiles = list(_cut(path, masks_of(path, scenes, masks), reading or Reading()))
            if not tiles:
                warn(DataWarning, f"{path}: no tile of {TILE}x{TILE} clear pixels in it")
            pixels += [tile for _, _, tile in tiles]
            names += [f"{name}@{top},{left}" for top, left, _ in tiles]
    bad.report(folder)
    if not pixels:
        raise DataError(
            f"{folder}: no tile of {TILE}x{TILE} clear pixels in its {len(scenes)} scenes; "
            "give larger or clearer scenes"
        )
    return Tiles(np.stack(pixels), tuple(names), tuple(bad.names))


def scenes_and_masks(folder: Path) -> tuple[list[Path], list[MaskFile]]:
    """Return the scenes and the masks of a folder and of those below it."""
    scenes, masks = [], []
    for path in sorted(folder.rglob("[!.]*")):
        suffix = path.suffix.lower()
        if suffix not in (".tif", ".tiff", ".png"):
            continue
        if match := _MASK_NAME.fullmatch(path.stem):
            is_scl = match["kind"].lower() == "scl"
            masks.append(MaskFile(path, (match["scene"] or "").lower(), is_scl))
        elif suffix != ".png" and (path.parent == folder or path.parent.name not in _MASK_FOLDERS):
            scenes.append(path)
    return scenes, masks


def masks_of(scene: Path, scenes: list[Path], masks: list[MaskFile]) -> list[MaskFile]:
    """Return the masks of a scene's name, else those that fit and bear no other scene's name."""
    folders = [scene.parent, *(scene.parent / name for name in _MASK_FOLDERS)]
    near = [mask for mask in masks if mask.path.parent in folders]
    stem = scene.stem.lower()
    if own := [mask for mask in near if mask.scene == stem]:
        return own
    others = {path.stem.lower() for path in scenes if path.parent == scene.parent}
    return [
        mask
        for mask in near
        if mask.scene not in others
        and (not mask.scene or re.match(rf"{re.escape(mask.scene)}[_.-]", stem))
    ]


def _cut(
    path: Path, masks: list[MaskFile], reading: Reading
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Yield the clear tiles of a scene: (top, left, uint8 (3, 64, 64) as EuroSAT RGB has it)."""
    with open_scene(path, reading=reading) as scene:
        radiometry = calibrate(scene, replace(reading, force=True))
        hidden = [read_hidden(mask, scene) for mask in masks]
        height, width = scene.shape
        for top in range(0, height - TILE + 1, TILE):
            dn, valid = scene.read(top, top + TILE)
            rgb = dn[scene.rgb]
            valid &= ~is_doubtful(rgb)
            row = model_to_eurosat(radiometry.to_network(radiometry.to_model(rgb)))
            for left in range(0, width - TILE + 1, TILE):
                clear = not any(_touched(mask, top, left, scene.shape) for mask in hidden)
                if clear and valid[:, left : left + TILE].all():
                    yield top, left, row[:, :, left : left + TILE]


def read_hidden(mask: MaskFile, scene: Scene) -> NDArray[np.bool_]:
    """Return where the ground is hidden: bool (rows, columns) on the mask's own grid."""
    with open_raster(mask.path, kind="mask") as raster:
        if not extents_match(Grid.of(raster), Grid.of(scene.dataset)):
            raise DataError(
                f"{mask.path}: covers another area than {scene.path}; give a mask of its area"
            )
        with failures_as(f"{mask.path}: damaged mask", DataError):
            values: NDArray[Any] = raster.read(1)
    return np.isin(values, _SCL_HIDDEN) if mask.is_scl else values != 0


def _touched(hidden: NDArray[np.bool_], top: int, left: int, shape: tuple[int, int]) -> bool:
    """Return whether a hidden pixel of the mask lies on the tile, if only in part."""
    (rows, columns), (height, width) = hidden.shape, shape
    first, last = touched_cells(top, top + TILE, rows, height)
    start, end = touched_cells(left, left + TILE, columns, width)
    return bool(hidden[first:last, start:end].any())


def touched_cells(start: Index, stop: Index, cells: int, length: int) -> tuple[Index, Index]:
    """Return the cells of a mask that pixels touch, if only in part: the first and the end.

    Args:
        start, stop: the first pixel and the end, or many of both: int64 (N,).
        cells, length: of mask and scene along the same side.
    """
    return start * cells // length, -(-stop * cells // length)
