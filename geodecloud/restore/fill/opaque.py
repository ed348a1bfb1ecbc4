"""Fill opaque pixels with the colours and texture of the visible land."""

import tempfile
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import FillWarning, warn
from geodecloud.radiometry import BRIGHTEST, as_dtype
from geodecloud.raster.distance_limit import DistanceLimit
from geodecloud.raster.provenance import REFERENCES, RESTORED, VISIBLE, Provenance, among
from geodecloud.raster.rows import Rows, given, load_rows, save_rows
from geodecloud.raster.thread_options import inherited
from geodecloud.restore.composite import make_nodata
from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.fill.survey import VisibleLand
from geodecloud.restore.filters import Floats, runs, upsample
from geodecloud.restore.memory import FILLED_ROWS, FILLING
from geodecloud.settings import Policy

_BLOCK = 128  # columns tested together
_WHOLE = 0.99  # fill weight from which a pixel counts as the reference's, not as mixed


def fill_opaque(
    rows: Iterator[Rows],
    facts: SceneFacts,
    policy: Policy,
    land: VisibleLand,
    folder: Path,
    threads: int = 1,
) -> Generator[Rows]:
    """Yield the same rows with opaque pixels filled.

    With ``policy.fill_limit`` all rows wait in an unnamed temporary file until the visible ground
    of the whole scene is known.

    Args:
        folder: folder of the temporary file.
        threads: number of threads that fill, at most ``FILLING``.

    Raises:
        OutputError: the disk is too full for the waiting rows.
    """
    with ThreadPoolExecutor(min(threads, FILLING)) as pool:
        if policy.fill_limit is None or facts.pixel_metres is None:
            yield from _filled(rows, _Fill(land, facts, policy), pool)
            return
        with (
            DistanceLimit(policy.fill_limit, facts.pixel_metres, folder) as limit,
            tempfile.TemporaryFile(dir=folder) as file,
        ):
            waiting = 0
            for some in rows:
                for piece in some.pieces(FILLED_ROWS):
                    limit.add(piece.first, _visible(piece))
                save_rows(some, file, folder)
                waiting += 1
            limit.finish()
            file.seek(0)
            again = (load_rows(file) for _ in range(waiting))
            yield from _filled(again, _Fill(land, facts, policy, limit), pool)


def _filled(rows: Iterator[Rows], fill: "_Fill", pool: ThreadPoolExecutor) -> Generator[Rows]:
    fill_piece, warned = inherited(fill), fill.land.is_seen
    for some in rows:
        if _filled_columns(some):
            if not warned:
                warn(FillWarning, "no ground is visible: the fill has the colour of average land")
                warned = True
            list(pool.map(fill_piece, some.pieces(FILLED_ROWS)))  # in place: pieces are views
        yield some
        del some  # free these rows before the next are made


def _visible(rows: Rows) -> NDArray[np.bool_]:
    """Return where ground is visible, before the fill: bool (rows, width)."""
    return among(given(rows.provenance), VISIBLE)


def _filled_columns(rows: Rows) -> tuple[slice, ...]:
    """Return the columns in which pixels are filled."""
    wanted = np.zeros(rows.valid.shape[1], np.bool_)
    for some in rows.changing:
        wanted[some] = given(rows.fill_weight)[:, some].any(axis=0)
    return runs(wanted, _BLOCK)


class _Fill:
    """Fills rows in place; it may be called from several threads."""

    def __init__(
        self,
        land: VisibleLand,
        facts: SceneFacts,
        policy: Policy,
        limit: DistanceLimit | None = None,
    ) -> None:
        self.land, self._facts, self._limit = land, facts, limit
        self._reading = threading.Lock()
        keep = policy.beyond_limit == "keep"
        self._bands = facts.rgb if facts.others_nodata else facts.restored
        # A reference that lacks a band comes last, as what it fills is partly invented.
        coded = zip(REFERENCES, land.references, strict=False)
        whole = [(code, one) for code, one in coded if len(one.bands) == len(self._bands)]
        partial = [one for one in land.references if len(one.bands) < len(self._bands)]
        self._references = [*whole, *((Provenance.FILLED.value, one) for one in partial)]
        self._left = Provenance.BEYOND_LIMIT if keep else Provenance.CLOUD_REMOVED

    def __call__(self, rows: Rows) -> None:
        wanted = _filled_columns(rows)
        if not wanted:
            return
        codes = np.full(rows.valid.shape, Provenance.FILLED, np.uint8)
        if self._limit:
            codes[self._limit.beyond(rows.first, _visible(rows))] = self._left
        colours = [self._colour(rows, some) for some in wanted]
        missing = np.zeros(rows.valid.shape, np.bool_)
        for some in wanted:
            missing[:, some] = given(rows.fill_weight)[:, some] > 0
        for code, reference in self._references:
            if not missing.any():
                break
            with self._reading:  # GDAL reads a file in one thread at a time
                matched, there = reference.colours(rows.first, rows.last)
            there &= missing
            codes[there] = code
            missing &= ~there
            for some, colour in zip(wanted, colours, strict=True):
                for number, band in zip(reference.bands, matched, strict=True):
                    np.copyto(colour[number], band[:, some], where=there[:, some])
        for some, colour in zip(wanted, colours, strict=True):
            self._lay_over(rows.part(0, len(codes), some), colour, codes[:, some])

    def _colour(self, rows: Rows, columns: slice) -> Floats:
        """Return the fill's colour with its texture: float32 (bands, rows, width)."""
        land, (left, right) = self.land, (columns.start, columns.stop)
        span = rows.first, rows.last
        colour = upsample(land.colours, land.cell, span, right - left, left)
        detail = land.texture(rows.first, given(rows.fill_weight)[:, columns] > 0, left)
        colour[: len(detail)] += detail
        return colour

    def _lay_over(self, rows: Rows, colour: Floats, provenance: NDArray[np.uint8]) -> None:
        facts, weight = self._facts, given(rows.fill_weight)
        beyond = provenance == self._left
        over = (weight > 0) & ~beyond
        left = (weight >= 0.5) & beyond  # the rest of the soft edge stays as restored
        for number, band in enumerate(self._bands):
            dn, part, most = given(rows.out)[band], over, 1.0
            if number >= len(facts.rgb):
                part, most = over & facts.others.has_data(rows.dn[band]), BRIGHTEST
            new, colour_weight = colour[number][part], weight[part]
            if number >= len(facts.rgb):
                # A reference shows real ground in all bands.
                invented = provenance[part] == Provenance.FILLED
                colour_weight = colour_weight * (1 - given(rows.fringe)[part] * invented)
            dn[part] = self._blended(dn[part], colour_weight, np.clip(new, 0, most))
            dn[left] = rows.dn[band][left]
        if facts.others_nodata:  # these were made nodata before the limit was known
            for band in facts.others.indices:
                given(rows.out)[band][left] = rows.dn[band][left]
        # A reference keeps its code only alone; blended with the scene's ground it is restored.
        mixed = over & (provenance != Provenance.FILLED) & (weight < _WHOLE)
        codes, percent = given(rows.provenance), np.ceil(weight * 100).astype(np.uint8)
        codes[mixed] = np.where(codes < Provenance.FILLED, np.maximum(codes, percent), codes)[mixed]
        codes[over & ~mixed] = provenance[over & ~mixed]
        codes[beyond & ~left & (codes == Provenance.FILLED)] = RESTORED[-1]
        codes[left] = self._left
        if self._left == Provenance.CLOUD_REMOVED:
            make_nodata(given(rows.out), left, facts)

    def _blended(self, dn: NDArray[Any], weight: Floats, colour: Floats) -> NDArray[Any]:
        """Return DN of one band, (count,), blended with a colour in model range, (count,)."""
        radiometry = self._facts.radiometry
        new = radiometry.black + radiometry.span * colour.astype(np.float64)
        return as_dtype(dn + weight * (new - dn), dn.dtype, self._facts.nodata)
