"""Survey the visible land of a scene: what opaque pixels are filled with.

The coarse pass shows the land in bands from the top down. Its colours are gathered by cells, the
most visible patches of each region are kept for their detail, and references are compared.
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

HAZY_WEIGHT = 0.002  # of hazy ground, which counts where no clear ground is seen


class Reference(Protocol):
    """Another date: see :class:`geodecloud.restore.fill.reference.ReferenceImage`."""

    def gather(self, first: int, colour: Floats, clear_weight: Floats) -> None:
        """Take the next rows of the scene, restored, its other bands below."""

    def match(self, shadow: Floats) -> None:
        """Match the colours, after all rows."""

    @property
    def bands(self) -> list[int]:
        """Numbers of its bands among those that are filled, from 0: red, green, blue, others."""

    def colours(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return rows in the scene's colours, (bands, rows, width), and where there are any."""


@dataclass(frozen=True)
class Land:
    """The visible land of the whole scene.

    cell: height and width of a cell in pixels.
    colours: float32 (bands, rows, columns) of cells, model range: red, green, blue, other bands.
    texture: detail to lay over the colours.
    references: other dates in the scene's colours; an earlier one counts more.
    is_seen: whether any land is visible; else the colour is that of average land.
    """

    cell: int
    colours: Floats
    texture: Texture
    references: Sequence[Reference] = ()
    is_seen: bool = True


class Survey:
    """Gathers the visible land of a scene.

    Args:
        references: other dates; an earlier one counts more.
    """

    def __init__(self, facts: SceneFacts, references: Sequence[Reference] = ()) -> None:
        self._facts, self._references = facts, references
        self._ground = Ground(facts.height, facts.width)
        count = len(facts.others.bands)
        self._other = Ground(facts.height, facts.width, count) if count else None
        self._swatches = Swatches(facts.height, facts.width)

    def add(self, first: int, colour: Floats, weight: Floats) -> None:
        """Take the next rows of the scene, ``FILLED_ROWS`` but for the last.

        Args:
            colour: float32 (bands, rows, width), model range: red, green, blue, then the other
                bands; anything where its weight is 0.
            weight: float32 (rows, width), 0..1, of pixels as visible land.
        """
        self._ground.add(colour[:3], weight)
        if self._other:
            colour = _without_holes(colour)
            self._other.add(colour[3:], weight)
        self._swatches.add(first, colour, weight)
        for reference in self._references:  # to compare colours, hazy ground is as good as clear
            reference.gather(first, colour, np.minimum(weight / np.float32(HAZY_WEIGHT), 1))

    def finish(self) -> Land:
        """Find the colours of the land; no more rows will come."""
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
        if self._other:
            self._other.finish()
            more = [fill_colours(self._other, shadow, facts.others.land)]
        shape = facts.height, facts.width
        texture = Texture(self._swatches.found(shadow, ground.cell), colours, ground.cell, shape)
        seen = bool(ground.sums[-1].any())
        colours = np.concatenate([colours, *more])
        return Land(ground.cell, colours, texture, self._references, seen)


def _without_holes(colour: Floats) -> Floats:
    """Return colours whose other bands have no NaN: where a band has a hole, it is 0 there."""
    return np.nan_to_num(colour, posinf=0.0, neginf=0.0)
