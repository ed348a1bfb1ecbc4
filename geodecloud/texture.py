"""What filled land looks like from near: detail of the visible land over the colour of the fill.

:mod:`geodecloud.context` says which colour the land under opaque cloud may have, and that is smooth
as no land is. Here detail is laid over it, copied from visible land of that colour: the fill looks
like the land around, and says nothing of what is there. Patch-based synthesis as in image quilting
(Efros and Freeman, SIGGRAPH 2001), but of the detail only, and blended where patches overlap.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geodecloud.context import by_trust
from geodecloud.neighbours import Floats, mean

SIZE = 64  # pixels on a side of a swatch
_STEP = SIZE // 4  # columns between places where one may be taken
_REGIONS = 12  # along each side of a scene, a swatch from each: 9 MiB in all
_SEEN = 0.5  # mean trust that a swatch must have
_SHADOW = 0.1  # see context.lit_cells; more than that may be a wood beside fields
_SMOOTH = 20  # pixels to each side over which a swatch is smoothed, twice; detail is what is lost

_OVERLAP = 16  # pixels that one place for a swatch shares with the next
_STRIDE = SIZE - _OVERLAP
_CHOICE = 8  # swatches that suit a place best, one of which is taken
_WORSE = 4.0  # none that suits less than the best by more than this, in squares of the below
_LIKE = 0.08  # model range: so far apart are colours that are not alike
_NEAR = 0.25  # of the scene's longer side: so far apart are places that are not near
_HIDDEN = 0.1  # of a swatch: with such a share not trusted it does not suit
_GLARING = 0.01  # of a swatch: nor with such a share
_GLARE = 0.25  # so much brighter, in model range, than the land close by: roofs, missed clouds
_AMOUNT = 0.8  # of the detail; all of it looks hard where the guess is wrong


@dataclass(frozen=True)
class Swatch:
    """A patch of visible land.

    row, column: of its top left pixel.
    trust: 0..1, the mean over its pixels.
    pixels: float32 (4, SIZE, SIZE), colour by trust, and trust.
    """

    row: int
    column: int
    trust: float
    pixels: Floats

    def colour(self) -> Floats:
        """Its mean colour, float32 (3,)."""
        sums = self.pixels.sum(axis=(1, 2), dtype=np.float64)
        colour: Floats = (sums[:3] / sums[3]).astype(np.float32)
        return colour

    def detail(self) -> Floats:
        """What it has beyond its own smooth colour, float32 (3, SIZE, SIZE); 0 if not trusted."""
        smooth = np.stack([mean(mean(band, _SMOOTH), _SMOOTH) for band in self.pixels])
        weight = np.maximum(smooth[3], np.float32(1e-6))
        detail: Floats = self.pixels[:3] - smooth[:3] / weight * self.pixels[3]
        return detail


class Swatches:
    """Gathers swatches from the rows of a scene: of each region the most visible."""

    def __init__(self, height: int, width: int) -> None:
        self._region = [max(_STEP, -(-length // _REGIONS)) for length in (height, width)]
        self._best: dict[tuple[int, int], Swatch] = {}

    def add(self, first: int, colour: Floats, trust: Floats) -> None:
        """Rows of the scene, as many as a swatch is high; fewer are let go by.

        What a colour is where its trust is 0 does not matter, NaN included.

        Args:
            first: the first row.
            colour: float32 (3, SIZE, width), model range.
            trust: float32 (SIZE, width), 0..1.
        """
        rows, width = trust.shape
        if rows != SIZE:
            return
        steps = trust[:, : width // _STEP * _STEP].reshape(SIZE, -1, _STEP).sum(axis=(0, 2))
        per_swatch = SIZE // _STEP
        for place in range(len(steps) - per_swatch + 1):
            column = place * _STEP
            share = float(steps[place : place + per_swatch].sum()) / SIZE**2
            region = first // self._region[0], column // self._region[1]
            held = self._best.get(region)
            if share >= _SEEN and (held is None or share > held.trust):
                part = slice(column, column + SIZE)
                pixels = by_trust(colour[:, :, part], trust[:, part])
                self._best[region] = Swatch(first, column, share, pixels)

    def found(self, lit: Floats, cell: int) -> list[Swatch]:
        """All that are visible enough, from the top left to the bottom right; deep shadow is not.

        A region whose swatch lies in shadow has none.

        Args:
            lit: float32 (rows, columns), 0..1, by cells, see :func:`geodecloud.context.lit_cells`.
            cell: height and width of a cell in pixels.
        """
        found = []
        for swatch in sorted(self._best.values(), key=lambda swatch: (swatch.row, swatch.column)):
            rows, columns = (
                np.arange(start, start + SIZE) // cell for start in (swatch.row, swatch.column)
            )
            pixels = swatch.pixels * (lit[np.ix_(rows, columns)] > _SHADOW)
            trust = float(pixels[3].mean())
            if trust >= _SEEN:
                found.append(Swatch(swatch.row, swatch.column, trust, pixels))
        return found


class Texture:
    """Detail for any rows of a scene, the same however they are divided.

    Args:
        swatches: to take it from.
        colours: float32 (3, rows, columns), model range, of the fill, by cells.
        cell: height and width of a cell in pixels.
        shape: height and width of the scene in pixels.
    """

    def __init__(
        self, swatches: list[Swatch], colours: Floats, cell: int, shape: tuple[int, int]
    ) -> None:
        details = [swatch.detail() for swatch in swatches]
        self._details = [_AMOUNT * detail for detail in details]
        self._swatch_colours = np.array([swatch.colour() for swatch in swatches])
        hidden = [1 - swatch.trust for swatch in swatches]
        glare = [(detail.mean(axis=0) > _GLARE).mean() for detail in details]
        self._flaws = np.stack([hidden, glare], axis=1) / (_HIDDEN, _GLARING)
        self._places = np.array([(swatch.row, swatch.column) for swatch in swatches])
        self._colours, self._cell, self._shape = colours, cell, shape
        rise = np.sin((np.arange(_OVERLAP, dtype=np.float32) + 0.5) / _OVERLAP * np.pi / 2) ** 2
        line = np.concatenate([rise, np.ones(SIZE - 2 * _OVERLAP, np.float32), rise[::-1]])
        self._weight = np.outer(line, line)

    def __call__(self, first: int, wanted: NDArray[np.bool_]) -> Floats:
        """Detail to add, float32 (3, rows, width), model range.

        Args:
            first: row of the scene.
            wanted: bool (rows, width); elsewhere the answer does not matter.
        """
        rows, width = wanted.shape
        detail = np.zeros((3, rows, width), np.float32)
        if not self._details:
            return detail
        for i in range((first + _OVERLAP - SIZE) // _STRIDE + 1, (first + rows - 1) // _STRIDE + 2):
            for j in range((width - 1) // _STRIDE + 2):
                top, left = i * _STRIDE - _OVERLAP, j * _STRIDE - _OVERLAP
                at, of = _overlap(top - first, left, wanted.shape)
                if wanted[at].any():
                    detail[:, *at] += self._weight[of] * self._chosen(i, j)[:, *of]
        return detail

    def _chosen(self, i: int, j: int) -> Floats:
        """The detail for the place (i, j), turned as chance will have it: (3, SIZE, SIZE)."""
        centre = np.array([i, j]) * _STRIDE - _OVERLAP + SIZE // 2
        inside = np.clip(centre, 0, np.array(self._shape) - 1)
        wanted = self._colours[:, inside[0] // self._cell, inside[1] // self._cell]
        unlike = (self._swatch_colours - wanted) / _LIKE
        apart = (self._places + SIZE // 2 - centre) / (_NEAR * max(self._shape))
        against = np.square(np.hstack([unlike, apart, self._flaws])).sum(axis=1)
        best = np.argsort(against, kind="stable")[:_CHOICE]
        best = best[against[best] <= against[best[0]] + _WORSE]
        rng = np.random.default_rng([i, j])
        detail = self._details[rng.choice(best)]
        turned: Floats = np.rot90(detail, int(rng.integers(4)), axes=(1, 2))
        return turned[:, :, ::-1] if rng.integers(2) else turned


def _overlap(
    top: int, left: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a square at (top, left) lies in rows of that shape, and which part of it does."""
    at, of = [], []
    for start, length in zip((top, left), shape, strict=True):
        begin, end = max(start, 0), max(min(start + SIZE, length), 0)
        at.append(slice(begin, end))
        of.append(slice(begin - start, end - start))
    return (at[0], at[1]), (of[0], of[1])
