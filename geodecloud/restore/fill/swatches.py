"""Gather swatches: patches of visible land, whose detail is added to the fill."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.fill.ground import weighted
from geodecloud.restore.filters import Floats, box_mean, dilate
from geodecloud.restore.memory import FILLED_ROWS

SIZE = FILLED_ROWS  # pixels on a side of a swatch: the survey gets as many rows at once
_STEP = SIZE // 4  # columns between candidate swatches
_REGIONS = 16  # along each side of a scene, with a swatch each: 8 MiB in all
_SEEN = 0.1  # least mean weight of a swatch
_BRIGHTEST = 100.0  # model range: brighter than any land, and within float16
_SHADOW = 0.1  # shadow weight up to which a cell is excluded; more may be a wood beside fields
_SMOOTH = 20  # radius in pixels of the box mean, applied twice, that removes detail

Halves = NDArray[np.float16]  # precise enough for detail


@dataclass(frozen=True)
class Swatch:
    """A patch of visible land.

    row, column: the top left pixel in the scene.
    weight: 0..1, mean clear weight of the pixels.
    pixels: float16 (bands + 1, SIZE, SIZE): colour times clear weight, red, green and blue first;
        then the weight.
    """

    row: int
    column: int
    weight: float
    pixels: Halves

    def colour(self) -> Floats:
        """Return the mean of red, green and blue, float32 (3,)."""
        sums = self.pixels.sum(axis=(1, 2), dtype=np.float64)
        colour: Floats = (sums[:3] / sums[-1]).astype(np.float32)
        return colour

    def detail(self) -> Floats:
        """Return the swatch minus its smoothed colour, then the weight: as ``pixels``, float32."""
        detail = self.pixels.astype(np.float32)
        smooth = box_mean(box_mean(detail, _SMOOTH), _SMOOTH)
        detail[:-1] -= smooth[:-1] / np.maximum(smooth[-1], np.float32(1e-6)) * detail[-1]
        return detail


class Swatches:
    """Gathers swatches from the rows of a scene: the most visible of each region."""

    def __init__(self, height: int, width: int) -> None:
        self._region = [max(SIZE, -(-length // _REGIONS)) for length in (height, width)]
        self._best: dict[tuple[int, int], Swatch] = {}

    def add(self, first: int, colour: Floats, weight: Floats) -> None:
        """Add the next SIZE rows of the scene; fewer rows are ignored.

        Args:
            first: the first row.
            colour: float32 (bands, SIZE, width), model range, NaN where a band has no data; ignored
                where its weight is 0.
            weight: float32 (SIZE, width), 0..1, the clear weight.
        """
        rows, width = weight.shape
        if rows != SIZE:
            return
        steps = weight[:, : width // _STEP * _STEP].reshape(SIZE, -1, _STEP).sum(axis=(0, 2))
        count = max(len(steps) - SIZE // _STEP + 1, 0)
        sums: Floats = reduce(np.add, (steps[i : i + count] for i in range(SIZE // _STEP)))
        for step in np.flatnonzero(sums >= np.float32(_SEEN * SIZE**2)):
            column = int(step) * _STEP
            mean = float(sums[step]) / SIZE**2
            region = first // self._region[0], column // self._region[1]
            held = self._best.get(region)
            if held is None or mean > held.weight:
                part = slice(column, column + SIZE)
                shown = np.clip(_without_holes(colour[:, :, part]), -_BRIGHTEST, _BRIGHTEST)
                pixels = weighted(shown, weight[:, part])
                self._best[region] = Swatch(first, column, mean, pixels.astype(np.float16))

    def found(self, shadow: Floats, cell: int) -> list[Swatch]:
        """Return the swatches that are visible enough, from the top left to the bottom right.

        Pixels in deep shadow do not count as visible.

        Args:
            shadow: float32 (rows, columns), 0..1, by cells, see ``ground.shadow_weight``.
            cell: height and width of a cell in pixels.
        """
        found = []
        for swatch in sorted(self._best.values(), key=lambda swatch: (swatch.row, swatch.column)):
            rows, columns = (
                np.arange(start, start + SIZE) // cell for start in (swatch.row, swatch.column)
            )
            dark = (shadow[np.ix_(rows, columns)] <= _SHADOW).astype(np.float32)
            half = cell // 2
            shown = 1 - box_mean(dilate(dark, half), half)  # soft, so that no edge is copied
            pixels = swatch.pixels * shown.astype(np.float16)
            weight = float(pixels[-1].mean(dtype=np.float64))
            if weight >= _SEEN:
                found.append(Swatch(swatch.row, swatch.column, weight, pixels))
        return found


def _without_holes(colour: Floats) -> Floats:
    """Give holes the mean of their band, which has no detail: (bands, rows, columns)."""
    holes = ~np.isfinite(colour)
    if not holes.any():
        return colour
    colour = colour.copy()
    for band, missing in zip(colour, holes, strict=True):
        band[missing] = 0 if missing.all() else band[~missing].mean()
    return colour
