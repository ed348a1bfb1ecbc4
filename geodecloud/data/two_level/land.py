"""Draw clear land on the device: tiles, mosaics of tiles and windows of clear scenes.

All of it is top-of-atmosphere reflectance in model range. Scenes keep their light beyond the model
range; EuroSAT's tiles end at 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from geodecloud.data.two_level.draw import Draw
from geodecloud.radiometry import EUROSAT_STEPS

WINDOW = 64  # pixels on a side
UNIT = 8192  # steps of uint16 for the model range; so 16 bits hold 8 times the model range
_SATURATED = 0.996  # model range; only EuroSAT's values 254 and 255 are at least this bright


@dataclass(frozen=True)
class LandPlan:
    """The origin of the windows' land, and the likeness of a mosaic's tiles; fractions.

    scenes: windows of clear scenes, at each level for which there are any.
    same_class: mean fraction of a mosaic's tiles that have the class of its first tile.
    together: largest fraction by which the means of a mosaic's tiles approach their common mean.
    """

    scenes: float = 0.2
    same_class: float = 0.7
    together: float = 0.95


@dataclass(frozen=True)
class LandBank:
    """Clear land, as tensors on one device.

    tiles: by level (pixels pooled along a side: 1, 2, 4), uint8 (count, 3, 64 / level, 64 / level)
        in EuroSAT's radiometry, sorted by class.
    classes: int64 (class count, 2), first tile and number of tiles of each class.
    tile_class: int64 (count,), index in ``classes``.
    scenes: by level, (count, 3, 64, 64) in steps of 1/8192 of the model range; may be empty. The
        uint16 are stored as int16, bit for bit, because CUDA cannot index uint16.
    """

    tiles: dict[int, Tensor]
    classes: Tensor
    tile_class: Tensor
    scenes: dict[int, Tensor]


def load_land(
    tiles: NDArray[np.uint8],
    names: Sequence[str],
    scenes: dict[int, NDArray[np.uint16]],
    device: torch.device | str,
) -> LandBank:
    """Sort tiles by class, pool them, and put them and the scene windows on the device.

    Args:
        tiles: uint8 (count, 3, 64, 64), EuroSAT's radiometry.
        names: ``Class/File.jpg`` of each tile.
        scenes: by level, uint16 (count, 3, 64, 64) in steps of 1/8192 of the model range.
    """
    of_class = [name.split("/")[0] for name in names]
    order = np.argsort(of_class, kind="stable")
    _, first, code, count = np.unique(
        np.array(of_class)[order], return_index=True, return_inverse=True, return_counts=True
    )
    full = torch.from_numpy(np.ascontiguousarray(tiles[order])).to(device)
    pooled = {level: _pooled(full, level) for level in (2, 4)}
    return LandBank(
        {1: full} | pooled,
        torch.from_numpy(np.stack([first, count], axis=1)).to(device),
        torch.from_numpy(code).to(device),
        {
            level: torch.from_numpy(windows.view(np.int16)).to(device)
            for level, windows in scenes.items()
        },
    )


def _pooled(tiles: Tensor, level: int) -> Tensor:
    """Return means of level x level pixels, rounded: uint8 (count, 3, 64 / level, 64 / level)."""
    means = [avg_pool2d(part.float(), level).round().byte() for part in torch.split(tiles, 1024)]
    return torch.cat(means)


def draw_land(
    draw: Draw, land: LandBank, level: int, count: int, plan: LandPlan
) -> tuple[Tensor, Tensor]:
    """Draw windows of one level, rotated by quarter turns and mirrored at random.

    Returns:
        windows: float32 (count, 3, 64, 64), model range.
        of_scene: bool (count,), true for windows of clear scenes.
    """
    name = f"land {level}"
    windows = _mosaics(draw, land, level, count, plan)
    scenes = land.scenes.get(level)
    chosen = torch.zeros(count, dtype=torch.bool, device=windows.device)
    if scenes is not None and len(scenes):
        chosen = draw.chance(f"{name} scene", plan.scenes, count)
        picked = scenes[draw.index(f"{name} window", len(scenes), count)]
        picked = (picked.int() & 0xFFFF).float() / UNIT
        windows = torch.where(chosen[:, None, None, None], picked, windows)
    return turned(windows, draw.index(f"{name} turn", 8, count)), chosen


def _mosaics(draw: Draw, land: LandBank, level: int, count: int, plan: LandPlan) -> Tensor:
    """Lay pooled tiles side by side: float32 (count, 3, 64, 64); at level 1 one tile is a window.

    Visible seams would teach the network that whatever crosses a seam is cloud. So two mosaics,
    half a tile apart, are blended: each hides the seams of the other.
    """
    name, cells = f"land {level}", level**2
    tile = _draw_tiles(draw, land, name, count, cells if level == 1 else 2 * cells, plan.same_class)
    pieces = land.tiles[level][tile.flatten()].float().sub(1).clamp_min(0) / EUROSAT_STEPS
    if level == 1:
        return _add_highlights(draw, name, pieces)
    pieces = turned(pieces, draw.index(f"{name} turns", 8, len(pieces)))
    side = WINDOW // level
    pieces = pieces.view(count, 2 * cells, 3, side, side)
    means = pieces.mean(dim=(3, 4), keepdim=True)
    pull = draw.uniform(f"{name} together", count, 1, 1, 1, 1, high=plan.together)
    pieces = pieces + pull * (means.mean(dim=1, keepdim=True) - means)
    grid = pieces.view(count, 2, level, level, 3, side, side)
    one, other = grid.permute(0, 1, 4, 2, 5, 3, 6).reshape(count, 2, 3, WINDOW, WINDOW).unbind(1)
    other = other.roll((side // 2, side // 2), dims=(2, 3))
    return torch.lerp(one, other, _seam_weight(draw, name, level, count))


def _draw_tiles(
    draw: Draw, land: LandBank, name: str, count: int, cells: int, same_class: float
) -> Tensor:
    """Draw the tiles of mosaics, many of the first tile's class: int64 (count, cells).

    Args:
        cells: tiles of one mosaic.
        same_class: mean fraction of tiles of the first tile's class, above 0.
    """
    tile = draw.index(f"{name} tile", len(land.tile_class), count, cells)
    first, size = land.classes[land.tile_class[tile[:, :1]]].unbind(-1)  # (count, 1)
    alike = first + (draw.uniform(f"{name} kin", count, cells) * size).long()
    # u ** ((1 - m) / m), with u uniform in 0..1, has the mean m.
    fraction = draw.uniform(f"{name} same", count, 1) ** ((1 - same_class) / same_class)
    return torch.where(draw.uniform(f"{name} alike", count, cells) < fraction, alike, tile)


def _seam_weight(draw: Draw, name: str, level: int, count: int) -> Tensor:
    """Draw the weight of the second mosaic, float32 (count, 1, 64, 64), 0..1.

    It is about 1 on the seams of the first mosaic, and 0 on those of the second, half a tile
    away. Between them it changes along winding lines, softly or sharply.
    """
    position = (torch.arange(WINDOW, device=draw.device) + 0.5) * level / WINDOW  # in tiles
    from_middle = (position % 1 - 0.5).abs()
    to_seam, to_other = (torch.maximum(d[:, None], d) for d in (from_middle, 0.5 - from_middle))
    winding = draw.normal(f"{name} winding", count, 1, 2 * level + 1, 2 * level + 1)
    winding = interpolate(winding, size=WINDOW, mode="bicubic", align_corners=True)
    hard = draw.log_uniform(f"{name} hard", count, 1, 1, 1, low=4, high=60)
    return torch.sigmoid(hard * (to_seam - to_other + 0.3 * winding))


def _add_highlights(draw: Draw, name: str, windows: Tensor) -> Tensor:
    """Give saturated pixels of EuroSAT a brightness of 1 to about 3, model range.

    EuroSAT's 8 bits clip white roofs and quarries. A window's pixels share a brightness of up to
    2.6, from which each differs by up to 20 %.
    """
    beyond = 1 + 1.6 * draw.uniform(f"{name} beyond", len(windows), 1, 1, 1) ** 1.5
    own = 0.8 + 0.4 * draw.uniform(f"{name} own", len(windows), 1, WINDOW, WINDOW)
    return torch.where(windows >= _SATURATED, (beyond * own).clamp_min(1), windows)


def turned(windows: Tensor, turn: Tensor) -> Tensor:
    """Rotate each window by quarter turns and mirror it.

    Args:
        windows: (N, C, S, S).
        turn: int64 (N,), 0..7, one of the eight symmetries of a square.
    """
    turn = turn[:, None, None, None]
    windows = torch.where(turn % 2 == 1, windows.flip(2), windows)
    windows = torch.where(turn // 2 % 2 == 1, windows.flip(3), windows)
    return torch.where(turn // 4 == 1, windows.transpose(2, 3), windows)


def cut_scene(
    light: NDArray[np.uint16], clear: NDArray[np.bool_], pool: int, stride: int, limit: int
) -> NDArray[np.uint16]:
    """Cut a clear scene into windows of its means over ``pool`` x ``pool`` pixels.

    Args:
        light: uint16 (3, rows, columns) in steps of 1/8192 of the model range.
        clear: bool (rows, columns); a window that touches any other pixel is left out.
        pool: pixels of the scene along a side of a window's pixel.
        stride: from one window to the next, in pixels of a window.
        limit: largest number of windows; of more, so many are chosen evenly over the scene.

    Returns:
        uint16 (count, 3, 64, 64) in the same steps.
    """
    rows, columns = (length // pool for length in clear.shape)
    cut = light[:, : rows * pool, : columns * pool].reshape(3, rows, pool, columns, pool)
    steps = np.rint(cut.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint16)
    cells = clear[: rows * pool, : columns * pool].reshape(rows, pool, columns, pool)
    good = np.asarray(cells.all(axis=(1, 3)))
    corners = [
        (top, left)
        for top in range(0, rows - WINDOW + 1, stride)
        for left in range(0, columns - WINDOW + 1, stride)
        if good[top : top + WINDOW, left : left + WINDOW].all()
    ]
    if len(corners) > limit:
        corners = [corners[i] for i in np.linspace(0, len(corners) - 1, limit).astype(int)]
    windows = [steps[:, top : top + WINDOW, left : left + WINDOW] for top, left in corners]
    return np.stack(windows) if windows else np.empty((0, 3, WINDOW, WINDOW), np.uint16)
