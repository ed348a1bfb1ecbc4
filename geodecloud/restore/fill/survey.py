"""Survey the visible land of a scene, from which opaque pixels are filled.

The coarse pass adds the land in strips from the top down. Its colours are gathered by cells, the
most visible swatch of each region is kept for its detail, and references are matched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.fill.ground import LAND, Ground, fill_colours, shadow_weight
from geodecloud.restore.fill.swatches import Swatches
from geodecloud.restore.fill.texture import Texture
from geodecloud.restore.filters import Floats

HAZY_WEIGHT = 0.002  # weight of hazy ground, which counts only if no clear ground is in reach


class Reference(Protocol):
    """A reference image: see :class:`geodecloud.restore.fill.reference.ReferenceImage`."""

    def gather(self, first: int, colour: Floats, clear_weight: Floats) -> None:
        """Add the next rows of the scene, restored."""

    def match(self, shadow: Floats) -> None:
        """Match the colours, after all rows."""

    @property
    def bands(self) -> list[int]:
        """Numbers from 0 of its bands among the filled bands: red, green, blue, others."""

    def colours(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return rows in the scene's colours, (bands, rows, width), and validity."""


@dataclass(frozen=True)
class VisibleLand:
    """The visible land of the whole scene.

    cell: height and width of a cell in pixels.
    colours: float32 (bands, rows, columns) of cells, model range: red, green, blue, other bands.
    texture: detail to add to the colours.
    references: reference images in the scene's colours; the first with data is used.
    is_seen: whether any land is visible; otherwise the colour is that of average land.
    """

    cell: int
    colours: Floats
    texture: Texture
    references: Sequence[Reference]
    is_seen: bool


class Survey:
    """Gathers the visible land of a scene.

    Args:
        references: reference images, best first.
    """

    def __init__(self, facts: SceneFacts, references: Sequence[Reference] = ()) -> None:
        self._facts, self._references = facts, references
        self._ground = Ground(facts.height, facts.width)
        # Each has holes of its own.
        self._others = [Ground(facts.height, facts.width, 1) for _ in facts.others.bands]
        self._swatches = Swatches(facts.height, facts.width)

    def add(self, first: int, colour: Floats, weight: Floats) -> None:
        """Add the next rows of the scene, ``FILLED_ROWS`` of them but for the last.

        Args:
            first: the first row.
            colour: float32 (bands, rows, width), model range: red, green, blue, then the other
                bands, NaN where one has no data; ignored where its weight is 0.
            weight: float32 (rows, width), 0..1, of pixels as visible land.
        """
        self._ground.add(colour[:3], weight)
        for ground, band in zip(self._others, colour[3:, None], strict=True):
            ground.add(band, weight * np.isfinite(band[0]))
        self._swatches.add(first, colour, weight)
        for reference in self._references:  # hazy ground matches colours as well as clear
            reference.gather(first, colour, np.minimum(weight / np.float32(HAZY_WEIGHT), 1))

    def finish(self) -> VisibleLand:
        """Return the land, after all rows.

        Raises:
            SceneError: a reference shares too little visible ground with the scene.
        """
        ground, facts = self._ground, self._facts
        ground.finish()
        shadow = shadow_weight(ground)
        for reference in self._references:
            reference.match(shadow)
        radiometry = facts.radiometry
        land, black = np.array(LAND, np.float32)[:, None, None], np.zeros((3, 1, 1), np.float32)
        prior = radiometry.from_network(land - radiometry.to_network(black))
        colours = fill_colours(ground, shadow, prior[:, 0, 0])
        more: list[Floats] = []
        for other, average in zip(self._others, facts.others.land[:, None], strict=True):
            other.finish()
            more.append(fill_colours(other, shadow, average))
        shape = facts.height, facts.width
        texture = Texture(self._swatches.found(shadow, ground.cell), colours, ground.cell, shape)
        seen = bool(ground.sums[-1].any())
        colours = np.concatenate([colours, *more])
        return VisibleLand(ground.cell, colours, texture, self._references, seen)
