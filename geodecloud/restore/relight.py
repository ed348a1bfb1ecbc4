"""Relight the land under cloud shadows, by the depth of the scene's own shadows.

A shadow takes the direct sunlight from the ground. It leaves skylight and path radiance:

    seen = path_radiance + (ground - path_radiance) * (1 - hidden * depth)    in each band

``hidden`` is the fraction of the sun that the cloud hides, see :mod:`geodecloud.restore.shadows`.
In most scenes path radiance and depth are the same in all shadows, see
:mod:`geodecloud.restore.find_shade`. In some corrected scenes shadows are nearly black, and differ
in depth. There each cell is brought near to the level of the sunlit land beside it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.filters import Floats, upsample

# Relit land lies within so many standard deviations of the sunlit land beside: bright fields are
# common beside dark ones, but not in a wood. Shadows are blue: sunlit land turns yellow when relit.
_DEVIATIONS = np.float32(1.75)
_BRIGHTER = np.float32(1.15), np.float32(2.5)  # bounds of the upper bound, relative to the mean
_YELLOWER = np.float32(0.01)  # fraction of the light, by which any land may turn yellower
_DARKER = np.float32(0.5)  # relative to the mean; land that is nearly black is noise
_MOST_GAIN = 6  # largest gain of nearly black land
BLACK = 3e-3  # model range: least light without path radiance, where logarithms are taken
# Where shadows differ in depth:
_LEVELLED_FROM = np.float32(0.3)  # hidden fraction of the sun, from which a cell is levelled fully
_MOST_APART = 0.7  # bound of a pixel's log brightness relative to its cell, at a shadow's edge
_BRIGHTER_CELL = 0.5  # log ratio to full shadow, from which a cell's dark pixels are at an edge
_MOST_DETAIL = 8  # largest gain of detail; more would be noise
_LEAST_LEFT = 0.02  # fraction of the light left to a cell
# Darkness of black land, relative to full shadow on a logarithmic scale. Dark fields in the sun
# reach 1.
_BLACKER = np.float32(1.2)
STEP = 8  # cells between samples of the light beside
_ROWS = 64  # rows of cells at once


@dataclass(frozen=True)
class Shade:
    """The depth of a scene's shadows, and the sunlit land beside them.

    path_radiance: float32 (3, 1, 1), which a shadow does not dim, model range.
    depth: float32 (3, 1, 1), fraction of the remaining light that a shadow takes.
    beside: float16 (6, rows / 8, columns / 8), rounded up, of the sunlit land beside every eighth
        cell, or nearest to it: mean light, standard deviation of brightness, mean and standard
        deviation of blueness; model range.
    unevenness: 0..1, of the shadows' depth: the fraction of a cell's difference in brightness that
        is due to its shadow, not to its land. At 0 all shadows have one depth.
    distinctness: how much darker full shadow is than land in the sun, in standard deviations of
        the log brightness of that land.
    """

    path_radiance: Floats
    depth: Floats
    beside: NDArray[np.float16]
    unevenness: float = 0.0
    distinctness: float = 0.0

    def beside_at(self, cell: int, rows: tuple[int, int], width: int, left: int = 0) -> Floats:
        """Interpolate ``beside`` at pixels: float32 (6, rows, width).

        Args:
            cell: pixels along a side of a cell; 1: the pixels are cells.
            rows: the first pixel row, and the one after the last.
            left: the first pixel column.
        """
        side, (first, last) = STEP * cell, rows
        top = max(first // side - 1, 0)
        near = self.beside[:, top : -(-last // side) + 1].astype(np.float32)
        return upsample(near, side, (first - top * side, last - top * side), width, left)

    def darkness(self, light: Floats, around: Floats, beside: Floats) -> Floats:
        """Return how dark pixels are compared with sunlit land: float32 (rows, columns), 0..1.

        At 0 a pixel is as bright as the land beside, at 1 as dark as that land in full shadow. The
        scale is logarithmic. Arguments are those of :meth:`relit`.
        """
        seen, cells, lit = (
            np.maximum((some - self.path_radiance).mean(axis=0), BLACK)
            for some in (light, around, beside[:3])
        )
        full = np.log(1 - self.depth.mean())
        dark = np.log(np.sqrt(seen * cells) / lit) / full  # a pixel alone is noisy
        out: Floats = np.clip(dark, 0, 1)
        return out

    def black_cells(self, light: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which cells are darker in each band than full shadow of the scene's depth.

        They are darker by a fifth more, on a logarithmic scale. Most water is not, in blue.

        Args:
            light: (3, rows, columns) of all cells, model range.

        Returns:
            bool (rows, columns).
        """
        _, height, width = light.shape
        black = np.empty((height, width), np.bool_)
        for first in range(0, height, _ROWS):  # few rows at once need little memory
            rows = first, min(first + _ROWS, height)
            beside = self.beside_at(1, rows, width)[:3]
            shaded = np.maximum(beside - self.path_radiance, BLACK) * (1 - self.depth) ** _BLACKER
            seen = light[:, slice(*rows)] - self.path_radiance
            black[slice(*rows)] = (seen < shaded).all(axis=0)
        return black

    def relit(self, light: Floats, hidden: Floats, around: Floats, beside: Floats) -> Floats:
        """Return the light without shadow, float32 (3, rows, columns).

        No pixel becomes darker. No cell becomes much brighter or yellower than the sunlit land
        beside it, as a shadow's sunlit edge would. No cell in full shadow stays much darker.

        Args:
            light: float32 (3, rows, columns), model range.
            hidden: float32 (rows, columns), 0..1, fraction of the sun that a cloud hides.
            around: float32 (3, rows, columns), light of the cells, interpolated at each pixel.
            beside: float32 (6, rows, columns), ``beside``, interpolated at each pixel.
        """
        # Cells are bounded, not pixels: bounds on pixels would flatten the detail of the land.
        seen, lit = (
            np.maximum(some - self.path_radiance, np.float32(1e-3)) for some in (around, beside[:3])
        )
        bounded = np.minimum(hidden, self._most_by_brightness(seen, lit, beside[3]))
        bounded *= self._part_by_blueness(seen, bounded, beside[4:])
        left = 1 - bounded * self.depth
        gain = 1 + bounded * (np.clip(_DARKER * lit * left / seen, 1, _MOST_GAIN) - 1)
        out: Floats
        if self.unevenness:
            seen = np.maximum(seen, _LEAST_LEFT * lit)
            left = self._levelled(light, left / gain, hidden, seen, lit)
            detail = np.minimum(1 / left, _MOST_DETAIL)
            out = light + seen * (1 / left - 1) + (detail - 1) * (light - around)
        else:
            out = self.path_radiance + (light - self.path_radiance) / left * gain
        return np.maximum(out, light)  # light below path radiance, noise or black water, stays

    def _levelled(
        self, light: Floats, left: Floats, hidden: Floats, seen: Floats, lit: Floats
    ) -> Floats:
        """Return the fraction of the light that shadows of uneven depth leave, (3, rows, columns).

        In each band the level of a cell moves towards that of the land beside, by the fraction
        ``unevenness`` of their log ratio. Detail within a cell is flattened at a shadow's edge.

        Args:
            light: (3, rows, columns), model range.
            left: (3, rows, columns), fraction that a shadow of the scene's depth leaves.
            hidden: (rows, columns), 0..1.
            seen, lit: (3, rows, columns), light of the cells and of the land beside, without path
                radiance.
        """
        ratio = np.log(seen / lit)
        excess = ratio - np.log(left)
        # A cell blurs the edge of a shadow, so there the pixel's own brightness counts. The edge is
        # where the sun is partly hidden, or a dark pixel lies in a cell brighter than full shadow.
        pixel = np.maximum((light - self.path_radiance).mean(axis=0), BLACK)
        apart = np.clip(np.log(pixel / seen.mean(axis=0)), -_MOST_APART, _MOST_APART)
        brighter = (ratio - np.log(1 - self.depth)).mean(axis=0) / _BRIGHTER_CELL
        edge = np.where(apart < 0, np.maximum(brighter, 2 * (1 - hidden)), 2 * (1 - hidden))
        excess += apart * np.clip(edge, 0, 1)
        fraction = np.float32(self.unevenness) * np.minimum(hidden / _LEVELLED_FROM, 1)
        out: Floats = np.clip(left * np.exp(fraction * excess), _LEAST_LEFT, 1)
        return out

    def _most_by_brightness(self, seen: Floats, lit: Floats, deviation: Floats) -> Floats:
        """Return the largest ``hidden``, (rows, columns), that makes no cell too bright.

        Args:
            seen, lit: (3, rows, columns), light of the cells and of the land beside, without path
                radiance.
            deviation: (rows, columns), of the brightness of the land beside.
        """
        usual = lit.mean(axis=0)
        most = usual * np.clip(1 + _DEVIATIONS * deviation / usual, *_BRIGHTER)
        out: Floats = np.maximum(1 - seen.mean(axis=0) / most, 0) / self.depth.mean()
        return out

    def _part_by_blueness(self, seen: Floats, hidden: Floats, beside: Floats) -> Floats:
        """Return the fraction of ``hidden``, (rows, columns), that makes no cell too yellow.

        Blueness is taken as linear in ``hidden``.

        Args:
            seen: (3, rows, columns), light without path radiance.
            beside: (2, rows, columns), mean and standard deviation of the blueness beside.
        """
        before = blueness_of(seen + self.path_radiance)
        after = blueness_of(seen / (1 - hidden * self.depth) + self.path_radiance)
        least = beside[0] - _DEVIATIONS * beside[1]
        allowed, change = np.maximum(before - least, _YELLOWER), before - after
        out: Floats = np.divide(allowed, change, out=np.ones_like(hidden), where=change > allowed)
        return out


def blueness_of(light: Floats) -> Floats:
    """Return the part of blue in light: (rows, columns) of (3, rows, columns)."""
    out: Floats = light[2] / np.maximum(light.sum(axis=0), np.float32(1e-3))
    return out
