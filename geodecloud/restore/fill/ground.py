"""What no window can see: the colour of opaque pixels, from the visible land around them.

A window wholly under opaque cloud holds no information; the scene does. While the scene is
restored, :class:`Ground` gathers what is visible in cells of some pixels. When all of it is
known, the pull-push pyramid (Gortler, Grzeszczuk, Szeliski, Cohen: "The Lumigraph", SIGGRAPH
1996, section 3.4) spreads it over what is not: each scale fills what the finer one lacks.
"""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.filters import Floats, box_mean, dilate, smoothstep, upsample

# Chosen on the thirteen thick pairs of benchmarks/CONTEXT.md, where the plateau is wide.
_FRINGE = 10  # pixels around opaque cloud that are no ground yet: fringes, parallax, glare
_CLOSE = 3  # pixels that count as the pixel itself
_OWN = (0.10, 0.20)  # opacity there: of ground all the same, and of what is filled
_SOFT = 3  # pixels over which the edge of the fill is made soft, twice
_RISE = 0.15  # of opacity, over which the fill sets in below ``opaque_above``
_DISTRUST = 14  # pixels around cloud from which no colour is taken
_SEEN, _UNSEEN = 0.1, 0.4  # opacity: ground trusted as it is, and not at all

_DIM, _DARK = 0.15, 0.4  # darker than the land around by this: maybe shadow, and surely
_SHADOW = 0.001  # weight of what surely is: it counts where nothing else is in reach
_AROUND = 5  # doublings of the cell: "around" is some 256 pixels
_CELL = 8  # pixels
_MOST_CELLS = 1 << 21  # 8 pixels suffice for a Sentinel-2 tile; larger scenes get larger cells
_PRIOR_WEIGHT = 0.01  # of the land at large, against a scene all of which is seen

# Red, green and blue of land at large, L1C in model range: the median over 1,500 tiles of EuroSAT
# of their means. All that is left to say where nothing of the land is seen.
LAND = (0.310, 0.357, 0.390)


def fill_weight(opacity: Floats, opaque_above: float) -> Floats:
    """How far each pixel is to take the colour of the land around: float32, 0..1.

    1 where cloud of ``opaque_above`` is near and some of it is seen at the pixel itself, 0 where
    there is none of a bit less, or nothing is seen close by; soft between.

    Args:
        opacity: float32 (rows, columns), 0..1. The answer for a row depends on 16 rows around.
    """
    if (opacity < opaque_above - _RISE).all():
        return np.zeros_like(opacity)
    near = box_mean(box_mean(dilate(opacity, _FRINGE), _SOFT), _SOFT)
    beside = smoothstep(1 - (np.float32(opaque_above) - near) / np.float32(_RISE))
    close = box_mean(dilate(opacity, _CLOSE), _SOFT)
    return beside * smoothstep((close - _OWN[0]) / np.float32(_OWN[1] - _OWN[0]))


def trust(opacity: Floats) -> Floats:
    """How far each pixel's colour may be used elsewhere: float32, 0..1; 0 beside any cloud.

    Args:
        opacity: float32 (rows, columns), 0..1. The answer for a row depends on 14 rows around.
    """
    if (opacity <= _SEEN).all():
        return np.ones_like(opacity)
    near = dilate(opacity, _DISTRUST)
    return smoothstep((_UNSEEN - near) / np.float32(_UNSEEN - _SEEN))


def cell_size(height: int, width: int) -> int:
    """Height and width in pixels of the cells of a scene: 8, or more where they were too many."""
    cell = _CELL
    while -(-height // cell) * -(-width // cell) > _MOST_CELLS:
        cell *= 2
    return cell


class Ground:
    """The colour of the visible land by cells, gathered from the top of a scene to its bottom.

    Attributes:
        cell: height and width of a cell in pixels.
        sums: float32 (bands + 1, rows, columns) of cells: colours by trust, and the trust, summed.
    """

    def __init__(self, height: int, width: int, bands: int = 3) -> None:
        self.cell = cell_size(height, width)
        shape = (bands + 1, -(-height // self.cell), -(-width // self.cell))
        self.sums = np.zeros(shape, np.float32)
        self._width = width
        self._held = np.zeros((bands + 1, 0, width), np.float32)
        self._row = 0  # of cells, the next

    def add(self, colour: Floats, weight: Floats) -> None:
        """The next rows, (bands, rows, width), and how far each pixel is trusted, (rows, width).

        What a colour is where its weight is 0 does not matter, NaN included.
        """
        for start in range(0, weight.shape[0], self.cell):  # few at once need little memory
            some = slice(start, start + self.cell)
            rows = np.concatenate([self._held, weighted(colour[:, some], weight[some])], axis=1)
            whole = rows.shape[1] // self.cell * self.cell
            if whole:
                self._store(rows[:, :whole])
            self._held = rows[:, whole:].copy()

    def finish(self) -> None:
        """No more rows will come."""
        missing = -self._held.shape[1] % self.cell
        if missing:
            self._store(np.pad(self._held, ((0, 0), (0, missing), (0, 0))))
            self._held = self._held[:, :0]

    def _store(self, rows: Floats) -> None:
        """Sum whole cells, in an order that does not depend on how many come at once."""
        cells = np.pad(rows, ((0, 0), (0, 0), (0, -self._width % self.cell)))
        cells = reduce(np.add, (cells[:, i :: self.cell] for i in range(self.cell)))
        cells = reduce(np.add, (cells[:, :, i :: self.cell] for i in range(self.cell)))
        self.sums[:, self._row : self._row + cells.shape[1]] = cells
        self._row += cells.shape[1]


def colours(ground: Ground, lit: Floats, prior: Floats) -> Floats:
    """The colour to fill each cell with: float32 (3, rows, columns), model range.

    Args:
        ground: finished.
        lit: of its cells, see :func:`shadow_weight`; one in shadow counts where nothing else does.
        prior: float32 (3,), the colour where nothing of the land is seen.
    """
    sums = normalise(ground.sums, ground.cell**2)
    sums *= np.maximum(lit, np.float32(_SHADOW))
    return pull_push(sums, prior)


def shadow_weight(ground: Ground) -> Floats:
    """0 where a cell is far darker than the land there, 1 where it is not: (rows, columns).

    Beside clouds that is their shadow, as a rule. Where all is dark, as at sea, all is lit.
    """
    around = ground.sums
    for _ in range(_AROUND):
        around = _halved(around)
    height, width = ground.sums.shape[1:]
    usual = upsample(_brightness(around)[None], 1 << _AROUND, (0, height), width)[0]
    darkness = 1 - _brightness(ground.sums) / np.maximum(usual, np.float32(1e-6))
    return 1 - smoothstep((darkness - _DIM) / np.float32(_DARK - _DIM))


def weighted(colour: Floats, trust: Floats) -> Floats:
    """Colours times trust, and trust below them: (bands + 1, rows, width).

    What a colour is where its trust is 0 does not matter, NaN included.
    """
    weighted = np.where(trust > 0, colour * trust, np.float32(0))
    return np.concatenate([weighted, trust[None]])


def _brightness(sums: Floats) -> Floats:
    """The mean over the bands, float32 (rows, columns); 0 where nothing is known."""
    total: Floats = sums[:-1].mean(axis=0)
    known = sums[-1] > 0
    brightness: Floats = np.divide(total, sums[-1], out=np.zeros_like(total), where=known)
    return brightness


def pull_push(sums: Floats, prior: Floats) -> Floats:
    """The colour of every cell by pull-push: float32 (bands, rows, columns).

    Args:
        sums: float32 (bands + 1, rows, columns), colours by weight, and the weight, at most 1.
        prior: float32 (bands,), the colour where nothing is known.
    """
    count = sums[0].size
    known = sums.sum(axis=(1, 2), dtype=np.float64)
    mean_colour = (known[:-1] + _PRIOR_WEIGHT * count * prior) / (known[-1] + _PRIOR_WEIGHT * count)
    levels = [sums]
    while max(levels[-1].shape[1:]) > 1:
        levels.append(_pull(levels[-1]))
    colour: Floats = mean_colour.astype(np.float32)[:, None, None]
    for level in reversed(levels):
        colour = _push(colour, level.shape[1:])  # in place: for a large scene these are the peak
        colour *= 1 - level[-1]
        colour += level[:-1]
    return colour


def normalise(sums: Floats, full: float) -> Floats:
    """Sums of the same colours, weights being 1 from ``full`` on and less in proportion below."""
    weight = np.minimum(sums[-1] / np.float32(full), 1)
    scale = np.divide(weight, sums[-1], out=np.zeros_like(weight), where=sums[-1] > 0)
    result: Floats = sums * scale
    return result


def _pull(fine: Floats) -> Floats:
    """Half the height and width: weights add up, to 1 at most."""
    return normalise(_halved(fine), 1)


def _halved(fine: Floats) -> Floats:
    """Half the height and width: sums of two by two."""
    even = np.pad(fine, ((0, 0), (0, fine.shape[1] % 2), (0, fine.shape[2] % 2)))
    tall = even[:, ::2] + even[:, 1::2]
    halved: Floats = tall[:, :, ::2] + tall[:, :, 1::2]
    return halved


def _push(coarse: Floats, shape: tuple[int, ...]) -> Floats:
    """Twice the height and width, or what of it is within ``shape``."""
    rows, columns = (
        min(2 * have, want) for have, want in zip(coarse.shape[1:], shape, strict=True)
    )
    return upsample(coarse, 2, (0, rows), columns)


def distances(
    seen: NDArray[np.bool_], cell: tuple[float, float], farthest: float
) -> NDArray[np.float32]:
    """How far each cell is from the nearest one that is seen, between their centres.

    Args:
        seen: bool (rows, columns).
        cell: height and width of a cell, in metres.
        farthest: metres beyond which the answer may be infinite.

    Returns:
        float32 (rows, columns), metres.
    """
    squared = np.where(seen, np.float32(0), np.float32(np.inf))
    for axis in (1, 0):
        near = squared.copy()
        length, side = squared.shape[axis], cell[axis]
        for step in range(1, min(length - 1, int(farthest / side)) + 1):
            apart = np.float32((step * side) ** 2)
            ahead = tuple(slice(step, None) if a == axis else slice(None) for a in (0, 1))
            behind = tuple(slice(None, -step) if a == axis else slice(None) for a in (0, 1))
            np.minimum(near[behind], squared[ahead] + apart, out=near[behind])
            np.minimum(near[ahead], squared[behind] + apart, out=near[ahead])
        squared = near
    return np.sqrt(squared)
