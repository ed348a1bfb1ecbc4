"""The second pass: rows with opaque pixels wait until all that is visible of the scene is known.

In the first pass every row adds its visible land to the ground's colour by cells. Rows of blocks
without opaque pixels go on at once; the others are set aside in an unnamed temporary file and go
on last. So no block is written twice, and memory does not depend on the scene's height.
"""

import logging
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geodecloud.radiometry import Radiometry
from geodecloud.raster.provenance import Provenance
from geodecloud.restore.composite import lay_over
from geodecloud.restore.fill.ground import LAND, Ground, colours, distances, shadow_weight
from geodecloud.restore.fill.swatches import Swatches
from geodecloud.restore.fill.texture import Texture
from geodecloud.restore.filters import Floats, upsample
from geodecloud.restore.memory import FILLING
from geodecloud.restore.rows import Finished, in_groups, pieces, set_aside, take_back
from geodecloud.settings import Policy

log = logging.getLogger("geodecloud")

_GROUND = 0.25  # share of a cell that must be visible for it to be visible ground


@dataclass(frozen=True)
class Place:
    """The scene as far as filling it asks.

    metres: height and width of a pixel; None where nothing says.
    folder: for the rows that are set aside.
    """

    height: int
    width: int
    rgb: list[int]
    radiometry: Radiometry
    nodata: float | None
    metres: tuple[float, float] | None
    folder: Path


class Other(Protocol):
    """Another picture of the place: see :class:`geodecloud.restore.fill.reference.Reference`."""

    def gather(self, first: int, colour: Floats, trust: Floats) -> None:
        """The next rows of the scene, restored."""

    def match(self, lit: Floats) -> None:
        """Match the colours once all rows are gathered; ``lit``: see ``ground.shadow_weight``."""

    def colours(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Rows in the scene's colours, (3, rows, width), and where there are any."""


def filled(
    rows: Iterator[Finished],
    place: Place,
    rule: Policy,
    block: int,
    others: Sequence[Other] = (),
    threads: int = 1,
) -> Generator[Finished]:
    """The same rows with opaque pixels filled, in groups of whole rows of blocks, in any order.

    Args:
        block: height of a row of blocks in pixels; which detail is copied depends on it.
        others: references; an earlier one counts more.
        threads: that fill at once, ``FILLING`` at most.

    Raises:
        OutputError: there is no room for the rows that are set aside.
    """
    ground, swatches = Ground(place.height, place.width), Swatches(place.height, place.width)
    with tempfile.TemporaryFile(dir=place.folder) as file:
        aside = 0
        for group in in_groups(rows, block):
            _gather(group, place, ground, swatches, others)
            if group.share.any():
                set_aside(group, file, place.folder)
                aside += 1
            else:
                yield group
            del group  # while the next one is put together
        ground.finish()
        if not aside:
            return
        lit = shadow_weight(ground)
        for other in others:
            other.match(lit)
        fill = _Fill(ground, lit, swatches, place, rule, others)
        del ground, lit, swatches  # some 40 MiB of a full tile
        file.seek(0)
        with ThreadPoolExecutor(min(threads, FILLING)) as pool:
            for _ in range(aside):
                group = take_back(file)
                list(pool.map(fill, pieces(group)))  # the pieces are views of the group
                yield group
                del group


def _gather(
    rows: Finished, place: Place, ground: Ground, swatches: Swatches, others: Sequence[Other]
) -> None:
    """Add what is visible in rows to all that is known of the land."""
    for part in pieces(rows):
        colour = place.radiometry.to_model(part.after[place.rgb])
        ground.add(colour, part.trust)
        swatches.add(part.first, colour, part.trust)
        for other in others:
            other.gather(part.first, colour, part.trust)


class _Fill:
    """Fills rows in their place, once the ground of the whole scene is known; in many threads."""

    def __init__(
        self,
        ground: Ground,
        lit: Floats,
        swatches: Swatches,
        place: Place,
        rule: Policy,
        others: Sequence[Other],
    ) -> None:
        self._place, self._rule, self._others = place, rule, others
        self._cell, self._reading = ground.cell, threading.Lock()
        black = np.zeros((3, 1, 1), np.float32)
        land = np.array(LAND, np.float32)[:, None, None]
        prior = place.radiometry.from_network(land - place.radiometry.to_network(black))
        if not ground.sums[-1].any():
            log.warning(
                "nothing of the land is seen: it is filled with the colour of land at large"
            )
        self._colours = colours(ground, lit, prior[:, 0, 0])
        found = swatches.found(lit, ground.cell)
        shape = place.height, place.width
        self._texture = Texture(found, self._colours, ground.cell, shape)
        self._distance: Floats | None = None
        if rule.fill_limit is not None and place.metres is not None:
            cell = place.metres[0] * ground.cell, place.metres[1] * ground.cell
            seen = ground.sums[-1] >= _GROUND * ground.cell**2
            self._distance = distances(seen, cell, rule.fill_limit)

    def __call__(self, rows: Finished) -> None:
        last = rows.first + rows.share.shape[0]
        colour = upsample(self._colours, self._cell, (rows.first, last), self._place.width)
        colour += self._texture(rows.first, rows.share > 0)
        marks = np.full(rows.share.shape, Provenance.FILLED, np.uint8)
        far = self._far(rows.first, last)
        marks[far] = Provenance.BEYOND_LIMIT
        for i in reversed(range(len(self._others))):
            with self._reading:  # a file is no matter for two threads
                other, there = self._others[i].colours(rows.first, last)
            np.copyto(colour, other, where=there)
            marks[there] = Provenance.REFERENCE + i
        self._lay_over(rows, colour, marks)

    def _far(self, first: int, last: int) -> NDArray[np.bool_]:
        """Where visible ground is farther than the limit: bool (rows, width)."""
        shape = (last - first, self._place.width)
        if self._distance is None:
            return np.zeros(shape, bool)
        rows, columns = np.arange(first, last) // self._cell, np.arange(shape[1]) // self._cell
        far: NDArray[np.bool_] = (self._distance > np.float32(self._rule.fill_limit))[
            np.ix_(rows, columns)
        ]
        return far

    def _lay_over(self, rows: Finished, colour: Floats, marks: NDArray[np.uint8]) -> None:
        place, beyond = self._place, marks == Provenance.BEYOND_LIMIT
        over = (rows.share > 0) & ~beyond
        left = (rows.share >= 0.5) & beyond  # the softer edge stays as restored
        share, as_it_was = rows.share[over], self._rule.beyond_limit == "keep"
        for band, new in zip(place.rgb, colour, strict=True):
            dn = rows.after[band]
            dn[over] = lay_over(dn[over], share, new[over], place.radiometry, place.nodata)
            dn[left] = rows.before[band][left] if as_it_was else place.nodata
        rows.provenance[over] = marks[over]
        rows.provenance[left] = Provenance.BEYOND_LIMIT
