"""Fill opaque pixels once all that is visible of the scene is known.

In the first pass every row adds its visible land to the ground's colour by cells. Groups of rows
without opaque pixels go on at once; the others wait in an unnamed temporary file and go on last.
So no block is written twice, and memory does not depend on the scene's height.
"""

import contextlib
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import FillWarning, warn
from geodecloud.raster.provenance import REFERENCES, VISIBLE, Provenance, among
from geodecloud.raster.thread_options import inherited
from geodecloud.restore.composite import lay_over, make_nodata
from geodecloud.restore.fill.ground import LAND, Ground, fill_colours, shadow_weight
from geodecloud.restore.fill.limit import FillLimit
from geodecloud.restore.fill.swatches import Swatches
from geodecloud.restore.fill.texture import Texture
from geodecloud.restore.filters import Floats, upsample
from geodecloud.restore.memory import FILLED_ROWS, FILLING
from geodecloud.restore.rows import Rows, SceneFacts, given, in_groups, set_aside, take_back
from geodecloud.settings import Policy


class Reference(Protocol):
    """Another date: see :class:`geodecloud.restore.fill.reference.ReferenceImage`."""

    def gather(self, first: int, colour: Floats, clear_weight: Floats) -> None:
        """Take the next rows of the scene, restored."""

    def match(self, shadow: Floats) -> None:
        """Match the colours, after all rows."""

    def colours(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return rows in the scene's colours, (3, rows, width), and where there are any."""


@dataclass(frozen=True)
class Workshop:
    """Where and with what the second pass works.

    block: height of the output's rows of blocks in pixels; which detail is copied depends on it.
    folder: for the rows that wait.
    threads: that fill at once, ``FILLING`` at most.
    """

    block: int
    folder: Path
    threads: int = 1


def fill_opaque(
    rows: Iterator[Rows],
    facts: SceneFacts,
    policy: Policy,
    workshop: Workshop,
    references: Sequence[Reference] = (),
) -> Generator[Rows]:
    """Yield the same rows with opaque pixels filled, in groups of whole rows of blocks, any order.

    Args:
        references: other dates; an earlier one counts more.

    Raises:
        OutputError: the disk has no room for the rows that wait.
    """
    ground, swatches = Ground(facts.height, facts.width), Swatches(facts.height, facts.width)
    with (
        tempfile.TemporaryFile(dir=workshop.folder) as file,
        _fill_limit(facts, policy, workshop.folder) as limit,
    ):
        waiting = 0
        for group in in_groups(rows, workshop.block):
            _gather(group, facts, ground, swatches, references)
            if limit:
                for piece in group.pieces(FILLED_ROWS):
                    limit.add(piece.first, _visible(piece))
            if given(group.fill_weight).any():
                set_aside(group, file, workshop.folder)
                waiting += 1
            else:
                yield group
            del group  # while the next one is put together
        ground.finish()
        if not waiting:
            return
        shadow = shadow_weight(ground)
        for reference in references:
            reference.match(shadow)
        if limit:
            limit.finish(facts.width)
        land = _Land.known(ground, shadow, swatches, facts)
        fill = _Fill(land, facts, policy, references, limit)
        del land, ground, shadow, swatches  # some 40 MiB of a full tile
        file.seek(0)
        with ThreadPoolExecutor(min(workshop.threads, FILLING)) as pool:
            for _ in range(waiting):
                group = take_back(file)
                pieces = group.pieces(FILLED_ROWS)  # views of the group
                list(pool.map(inherited(fill), pieces))
                yield group
                del group


def _gather(
    rows: Rows,
    facts: SceneFacts,
    ground: Ground,
    swatches: Swatches,
    references: Sequence[Reference],
) -> None:
    """Add what is visible in rows to all that is known of the land."""
    for piece in rows.pieces(FILLED_ROWS):
        colour = facts.radiometry.to_model(given(piece.out)[facts.rgb])
        weight = given(piece.clear_weight)
        ground.add(colour, weight)
        swatches.add(piece.first, colour, weight)
        for reference in references:
            reference.gather(piece.first, colour, weight)


def _fill_limit(
    facts: SceneFacts, policy: Policy, folder: Path
) -> contextlib.AbstractContextManager[FillLimit | None]:
    if policy.fill_limit is None or facts.pixel_metres is None:
        return contextlib.nullcontext()
    return FillLimit(policy.fill_limit, facts.pixel_metres, folder)


def _visible(rows: Rows) -> NDArray[np.bool_]:
    """Return where ground is visible, before any is filled: (rows, width)."""
    return among(given(rows.provenance), VISIBLE)


@dataclass(frozen=True)
class _Land:
    """What is known of the land of the whole scene.

    cell: height and width of a cell in pixels.
    colours: float32 (3, rows, columns) of cells, model range.
    texture: detail to lay over the colours.
    """

    cell: int
    colours: Floats
    texture: Texture

    @classmethod
    def known(
        cls, ground: Ground, shadow: Floats, swatches: Swatches, facts: SceneFacts
    ) -> "_Land":
        """Find the colours of the land, once its ground is gathered."""
        if not ground.sums[-1].any():
            warn(FillWarning, "no ground is visible: the fill has the colour of average land")
        radiometry = facts.radiometry
        land, black = np.array(LAND, np.float32)[:, None, None], np.zeros((3, 1, 1), np.float32)
        prior = radiometry.from_network(land - radiometry.to_network(black))
        colours = fill_colours(ground, shadow, prior[:, 0, 0])
        shape = facts.height, facts.width
        texture = Texture(swatches.found(shadow, ground.cell), colours, ground.cell, shape)
        return cls(ground.cell, colours, texture)


class _Fill:
    """Fills rows in place, in many threads."""

    def __init__(
        self,
        land: _Land,
        facts: SceneFacts,
        policy: Policy,
        references: Sequence[Reference],
        limit: FillLimit | None,
    ) -> None:
        self._land, self._facts, self._policy = land, facts, policy
        self._references, self._reading = references, threading.Lock()
        self._limit = limit
        keep = policy.beyond_limit == "keep"
        self._left = Provenance.BEYOND_LIMIT if keep else Provenance.CLOUD_REMOVED

    def __call__(self, rows: Rows) -> None:
        land, weight = self._land, given(rows.fill_weight)
        colour = upsample(land.colours, land.cell, (rows.first, rows.last), self._facts.width)
        colour += land.texture(rows.first, weight > 0)
        provenance = np.full(weight.shape, Provenance.FILLED, np.uint8)
        if self._limit:
            provenance[self._limit.beyond(rows.first, _visible(rows))] = self._left
        for i in reversed(range(len(self._references))):
            with self._reading:  # GDAL reads a file in one thread at once
                other, there = self._references[i].colours(rows.first, rows.last)
            np.copyto(colour, other, where=there)
            provenance[there] = REFERENCES[i]
        self._lay_over(rows, colour, provenance)

    def _lay_over(self, rows: Rows, colour: Floats, provenance: NDArray[np.uint8]) -> None:
        facts, weight = self._facts, given(rows.fill_weight)
        beyond = provenance == self._left
        over = (weight > 0) & ~beyond
        left = (weight >= 0.5) & beyond  # the softer edge stays as restored
        for band, new in zip(facts.rgb, colour, strict=True):
            dn = given(rows.out)[band]
            dn[over] = lay_over(dn[over], weight[over], new[over], facts.radiometry, facts.nodata)
            dn[left] = rows.dn[band][left]
        given(rows.provenance)[over] = provenance[over]
        given(rows.provenance)[left] = self._left
        if self._left == Provenance.CLOUD_REMOVED:
            make_nodata(given(rows.out), left, facts)
