"""See the whole scene at a quarter of its resolution, before its windows at full resolution.

A window of 64x64 pixels at 10 m shows 640 m of ground. Haze, cirrus, a cloud's shadow and the
colour of the land beside a cloud are larger. The coarse pass runs the same network over means of
4x4 pixels. Its answer says where the fine pass is needed, tells it what lies around a window, and
gives the colour that opaque pixels are filled with.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import reduce
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from geodecloud.restore.fill.survey import HAZY_WEIGHT
from geodecloud.restore.filters import Floats, box_mean, dilate, smoothstep, upsample
from geodecloud.restore.memory import FILLED_ROWS, MemoryPlan
from geodecloud.restore.other_bands import NO_OTHERS, OtherBands, fit_exponent
from geodecloud.restore.patches import Network, RowSource
from geodecloud.restore.relight import Shade, find_shade, light_beside
from geodecloud.restore.rows import given
from geodecloud.restore.shadows import shadow_fraction, thrown_shadows
from geodecloud.restore.veil_ratio import SampledCells, fit_ratios
from geodecloud.restore.window_pass import window_pass
from geodecloud.settings import Windows

CELL = 4  # pixels of 10 m along a side of a cell
_LARGE_PIXEL = 15.0  # metres; a cell of four such pixels would hide whole clouds, so it has two
_MOST_CELLS = 1 << 23  # of a scene of large pixels; more would need more memory than a tile's
LEAST = 128  # pixels; a scene that is lower or narrower has no coarse pass
_MOST_FINE = 1 << 22  # pixels of a scene that is kept at full resolution, as it is so narrow
_CHANGE, _OPACITY, _SHADOW = slice(0, 3), 3, 4  # channels of an answer
# Coarse opacity above which the fine pass is needed, if the veil is certain somewhere: clear sea
# and pale fields look like a faint, even veil, which is nowhere more than that.
_THIN_VEIL, _CERTAIN = 0.05, 0.12
CERTAIN_ALONE = 0.2  # the same for windows without a scene around them
_MARGIN = 5  # cells around by which that is widened
_SOFT = 2  # cells to each side over which the gate's edge is made soft
_THIN = 0.5  # opacity up to which a coarse veil is undone pixel by pixel; more would raise noise
_ROWS = 16  # that are merged at once
_EXPONENT_ROWS = 256  # of cells, at once
_BRIGHT = 60_000.0  # model range: light beyond that of half floats is no ground
_HAZY_SHADOW = 0.3  # opacity from which a change is cloud's, whatever lies below
_SHADE_BEGINS = 0.1  # of the sun that is hidden, from which a change is wholly the shadow's
_DEPTH = 0.6  # share of the light that most shadows take, where this scene's are not known
_LESS_SURE = 1.4  # times which the coarse level is less sure of shadows than the fine one
_SURE = 0.1  # of opacity, by which the coarse answer exceeds the fine one where it alone counts

_DISTRUST = 14  # pixels around cloud from which no colour is taken
# Opacity of ground that is used as it is, and not at all; and of ground that counts where nothing
# else is seen.
_SEEN, _HAZY = (0.03, 0.15), (0.1, 0.4)
_LEFT = (0.03, 0.12)  # coarse opacity: left as it is, and restored, before its colour is used
# Is shown strips of 64 rows from the top down: first row; light (bands, rows, width) in model range
# as the coarse answer restores it, red, green, blue, then the other bands; the weight of each pixel
# as visible land, (rows, width).
Witness = Callable[[int, Floats, Floats], None]


@dataclass(frozen=True)
class Coarse:
    """The coarse answer for a scene; immutable once the coarse pass is over.

    cell: pixels along a side of a cell: 4; 2 of large ones; 1 where there is no coarse pass.
    width: of the scene in pixels.
    light: (3, rows, columns) of cells, the scene's light in model range.
    answer: (5, rows, columns), change of R, G, B; opacity; shadow.
    guides: whether the network takes context: the fine pass, where there is one, is told of it.
    computed: number of windows that were computed, by their top row.
    thrown: float16 (2, rows, columns), see :func:`~geodecloud.restore.shadows.thrown_shadows`.
    gate: uint8 (rows, columns), 0..255, weight of the fine pass, which is not needed where it is 0;
        None: 255.
    known: bool (rows, columns), cells with a valid pixel; None: all.
    shade: how deep the scene's shadows are, if they are to be relit by that; None: as the network
        says.
    beside: float16 (rows, columns), light of the lit land around each cell; None with ``shade``.
    sampled: the other bands' light in some of the cells; None: there are no such bands.
    """

    cell: int
    width: int
    light: NDArray[Any]
    answer: NDArray[Any]
    guides: bool
    computed: dict[int, int]
    thrown: NDArray[np.float16]
    gate: NDArray[np.uint8] | None = None
    known: NDArray[np.bool_] | None = None
    shade: Shade | None = None
    beside: NDArray[np.float16] | None = None
    sampled: SampledCells | None = None

    @property
    def is_fine(self) -> bool:
        """True if the scene has no coarse pass: the answer is fine already."""
        return self.cell == 1

    def at(self, cells: NDArray[Any], first: int, last: int) -> Floats:
        """Return pixel rows of (bands, rows, columns) of cells: float32 (bands, rows, width)."""
        rows = self._rows(first, last)
        part = cells[:, rows].astype(np.float32)
        shift = rows.start * self.cell
        return upsample(part, self.cell, (first - shift, last - shift), self.width)

    def _rows(self, first: int, last: int) -> slice:
        """Return the rows of cells that pixel rows are interpolated from."""
        return slice(max(first // self.cell - 1, 0), -(-last // self.cell) + 1)

    def at_known(self, cells: NDArray[Any], first: int, last: int) -> Floats:
        """Return the same as ``at``, from cells with a valid pixel alone, which are 0 elsewhere."""
        pixels = self.at(cells, first, last)
        if self.known is None or self.known[self._rows(first, last)].all():
            return pixels
        weight = self.at(self.known[None], first, last)
        return np.divide(pixels, weight, out=pixels, where=weight > 0)

    def context(self, row: int, column: int, height: int, width: int) -> Floats:
        """Return what the fine pass is told of a window: float32 (5, height, width).

        Channels: restored R, G, B in model range; opacity; shadow.
        """
        rows, columns = self._rows(row, row + height), self._rows(column, column + width)
        part = np.s_[..., rows, columns]
        down, right = row - rows.start * self.cell, column - columns.start * self.cell
        near = replace(
            self,
            width=right + width,
            known=None if self.known is None else self.known[part],
        )
        cells = np.concatenate([self.answer[part], self.light[part]])  # in one go
        pixels = near.at_known(cells, down, down + height)[..., right:]
        out = pixels[: len(self.answer)]
        out[_CHANGE] += pixels[len(self.answer) :]
        return np.clip(out, 0, 1)

    def is_needed(self, row: int, column: int, size: int) -> bool:
        """Return whether the gate lets a window of the fine pass through, by its top left pixel."""
        if self.gate is None:
            return True
        top, left = max(row // self.cell - 1, 0), max(column // self.cell - 1, 0)
        below, right = (-(-(start + size) // self.cell) + 1 for start in (row, column))
        return bool(self.gate[top:below, left:right].any())

    def merge(self, first: int, light: Floats, fine: Floats) -> Floats:
        """Return the answer of both passes for pixel rows: float32 (5, rows, width).

        The coarse answer counts where its opacity is clearly the stronger one. A coarse change is
        no picture: a thin veil is undone by its own law, seen = (1 - a) ground + a veil, whose two
        terms the coarse level knows.

        Args:
            light: float32 (3, rows, width), model range.
            fine: float32 (5, rows, width): change, opacity, shadow; it is changed in place.
        """
        for start in range(0, light.shape[1], _ROWS):  # few at once need little memory
            part = np.s_[:, start : start + _ROWS]
            self._merge(first + start, light[part], fine[part])
        return fine

    def _merge(self, first: int, light: Floats, fine: Floats) -> None:
        last = first + light.shape[1]
        coarse, shown = self.at_known(self.answer, first, last), np.clip(light, 0, 1)
        weight = np.ones_like(fine[0])
        if self.gate is not None:
            weight = self.at(self.gate[None], first, last)[0] / np.float32(255)
            for answer in (fine, coarse):
                answer[_OPACITY] *= weight
        share = np.clip((coarse[_OPACITY] - fine[_OPACITY]) / np.float32(_SURE), 0, 1)
        if share.any():
            seen = np.clip(self.at_known(self.light, first, last), 0, 1)
            opacity = np.minimum(coarse[_OPACITY], np.float32(_THIN))
            veil = opacity * seen - (1 - opacity) * coarse[_CHANGE]  # a times its light
            ground = (shown - veil) / (1 - opacity)
            fine[_CHANGE] += share * (ground - shown - fine[_CHANGE])
        np.maximum(fine[_OPACITY], coarse[_OPACITY], out=fine[_OPACITY])
        self._relight(first, shown, fine, coarse, weight)

    def _relight(
        self, first: int, shown: Floats, fine: Floats, coarse: Floats, weight: Floats
    ) -> None:
        """Relight what lies in shadow, in place; behind the gate by the coarse answer."""
        last = first + shown.shape[1]
        hidden = weight * shadow_fraction(self.at(self.thrown, first, last), fine[_SHADOW])
        hidden += (1 - weight) * coarse[_SHADOW] / np.float32(_DEPTH)
        fine[_SHADOW] = hidden * np.float32(_DEPTH)
        if not hidden.any():
            return
        if self.shade is None:
            change = weight * fine[_CHANGE] + (1 - weight) * coarse[_CHANGE]
        else:
            beside = self.at(given(self.beside)[None], first, last)[0]
            change = self.shade.relit(shown, hidden, beside) - shown
            fine[_SHADOW] = hidden * self.shade.depth[1]
        shaded = np.clip(1 - fine[_OPACITY] / np.float32(_HAZY_SHADOW), 0, 1)
        shaded *= np.minimum(hidden / np.float32(_SHADE_BEGINS), 1)
        fine[_CHANGE] += shaded * (change - fine[_CHANGE])


class PooledScene:
    """A scene whose pixels are the means of the valid ones of ``cell`` x ``cell`` pixels.

    It is a :class:`~geodecloud.restore.patches.RowSource` whose DN are light in model range.

    Attributes:
        read_rows: DN of R, G, B and the other bands, (count, rows, width), and validity of all
            rows that were read, in order, if they are kept.
    """

    def __init__(
        self,
        scene: RowSource,
        network: Network,
        cell: int,
        *,
        kept: bool = True,
        others: OtherBands = NO_OTHERS,
    ) -> None:
        self._bands = [*scene.rgb, *others.indices]
        self._scene, self._network, self._cell, self._kept = scene, network, cell, kept
        self.shape = -(-scene.shape[0] // cell), -(-scene.shape[1] // cell)
        self._others = others
        self.sampled = SampledCells.empty(len(others.bands), *self.shape) if others else None
        self.rgb = [0, 1, 2]
        self.read_rows: SimpleQueue[tuple[NDArray[Any], NDArray[np.bool_]]] = SimpleQueue()

    def read(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return light (3, rows, columns) and where there is any (rows, columns), of cells."""
        cell, height = self._cell, self._scene.shape[0]
        dn, valid = self._scene.read(first * cell, min(last * cell, height))
        rgb = dn[self._scene.rgb]
        if len(valid) and self._kept:
            shown = rgb if len(self._bands) == len(rgb) else dn[self._bands]
            self.read_rows.put((shown, valid))
        if self.sampled:
            self._sample(self.sampled, first, last, dn, valid)
        return pooled(self._network.light(rgb), valid, cell)

    def _sample(
        self,
        sampled: SampledCells,
        first: int,
        last: int,
        dn: NDArray[Any],
        valid: NDArray[np.bool_],
    ) -> None:
        """Keep the other bands' light of the rows of cells that are sampled."""
        others, cell = self._others, self._cell
        for rows, start in sampled.runs(first, last):
            part = slice((rows.start - first) * cell, (rows.stop - first) * cell)
            seen = dn[others.indices, part]
            light = np.where(others.has_data(seen), others.light(seen), np.float32(np.nan))
            cells, there = pooled(light, valid[part], cell)
            kept = sampled.light[:, start : start + len(there)]
            kept[:] = np.where(there & (np.abs(cells) < _BRIGHT), cells, np.float32(np.nan))


def pooled(light: Floats, valid: NDArray[np.bool_], cell: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the means of the valid pixels of each cell, and which cells have any.

    Args:
        light: float32 (bands, rows, width).
        valid: bool (rows, width).
    """
    if cell == 1:
        return light, valid
    after = [(0, -length % cell) for length in valid.shape]
    counted, shown = valid.astype(np.float32)[None], light
    if not valid.all():
        shown = np.where(valid, light, np.float32(0))
    if after != [(0, 0), (0, 0)]:
        counted, shown = (np.pad(values, [(0, 0), *after]) for values in (counted, shown))
    counted, sums = _sums(counted, cell), _sums(shown, cell)
    np.divide(sums, counted, out=sums, where=counted > 0)
    return sums, counted[0] > 0


def _sums(values: Floats, cell: int) -> Floats:
    """Return sums over cells, in an order that depends on nothing else."""
    rows = reduce(np.add, (values[:, i::cell] for i in range(cell)))
    return reduce(np.add, (rows[:, :, i::cell] for i in range(cell)))


def cell_of(shape: tuple[int, int], pixel_metres: tuple[float, float] | None = None) -> int:
    """Return height and width of a scene's cells in pixels: 4, 2 of large ones, 1 if it is small.

    Args:
        pixel_metres: height and width of a pixel; None: not known.
    """
    pixels = shape[0] * shape[1]
    if min(shape) < LEAST and pixels <= _MOST_FINE:
        return 1
    large = pixel_metres is not None and min(pixel_metres) >= _LARGE_PIXEL
    return CELL // 2 if large and pixels <= 4 * _MOST_CELLS else CELL


def coarse_bytes(height: int, width: int, cell: int = CELL) -> int:
    """Return the bytes of a scene's coarse answer, its gate and the region of its shadows."""
    each = 8 * (4 if cell == 1 else 2) + 2 * 2 + 2 + 1 + 1
    return -(-height // cell) * -(-width // cell) * each


def coarse_pass(
    scene: RowSource,
    network: Network,
    windows: Windows,
    plan: MemoryPlan,
    witness: Witness | None,
    cell: int | None = None,
    others: OtherBands = NO_OTHERS,
) -> Coarse:
    """Run the network over the means of 4x4 pixels of a scene.

    Args:
        cell: pixels along a side of a cell; None: as of pixels of 10 m.
        witness: is shown the scene as the coarse answer restores it; None: nobody is.
        others: bands that the witness is shown, too.
    """
    cell = cell or cell_of(scene.shape)
    source = PooledScene(scene, network, cell, kept=witness is not None, others=others)
    dtype = np.float32 if cell == 1 else np.float16
    height, width = source.shape
    coarse = Coarse(
        cell,
        scene.shape[1],
        np.zeros((3, height, width), dtype),
        np.zeros((5, height, width), dtype),
        guides=network.takes_context,
        computed={},
        thrown=np.zeros((2, height, width), np.float16),
        known=np.zeros((height, width), np.bool_),
        sampled=source.sampled,
    )
    shown = None
    if witness:
        shown = _Showing(coarse, scene.shape[0], source, network, witness, others)
    plan = replace(plan, rows_of_windows=1)
    with closing(window_pass(source, network, windows, plan, light_of=_as_it_is)) as strips:
        for strip in strips:
            rows = slice(strip.first, strip.first + strip.answer.shape[1])
            coarse.light[:, rows] = strip.light
            valid = strip.swath.valid[: strip.answer.shape[1]]
            coarse.answer[:, rows] = strip.answer * valid  # a cell without a pixel has no part
            given(coarse.known)[rows] = valid
            coarse.computed[strip.first] = strip.computed
            if shown:
                shown.until(rows.stop)
    if coarse.guides and not coarse.is_fine:
        coarse.thrown[:] = thrown_shadows(*coarse.answer[3:].astype(np.float32))
    for thrown, shadow in zip(coarse.thrown.swapaxes(0, 1), coarse.answer[_SHADOW], strict=True):
        looks = np.float32(_LESS_SURE) * shadow.astype(np.float32)
        shadow[:] = _DEPTH * shadow_fraction(thrown.astype(np.float32), looks)
    return coarse


def with_veil(others: OtherBands, coarse: Coarse) -> OtherBands:
    """Return the other bands with the law of the scene's veil, by the coarse answer."""
    others = replace(others, exponent=veil_exponent(coarse))
    ratios = fit_ratios(others, given(coarse.sampled), coarse.light, coarse.answer)
    return replace(others, ratios=ratios)


def veil_exponent(coarse: Coarse) -> float:
    """Return the exponent of the scene's veil over wavelength, by the coarse answer."""

    def parts() -> Iterator[tuple[Floats, Floats, Floats]]:
        for start in range(0, coarse.answer.shape[1], _EXPONENT_ROWS):
            some = np.s_[:, start : start + _EXPONENT_ROWS]
            light, answer = (
                cells[some].astype(np.float32) for cells in (coarse.light, coarse.answer)
            )
            opacity = answer[_OPACITY]
            changed = np.where(opacity > _THIN_VEIL, opacity, np.float32(0))
            yield light, np.clip(light, 0, 1) + answer[_CHANGE], changed

    return fit_exponent(parts())


def gated(coarse: Coarse, windows: Windows) -> Coarse:
    """Return the coarse answer with its gate.

    In a scene without a coarse pass, a veil that is nowhere certain is taken out of the answer.
    """
    if windows.gate == "off" or not coarse.guides:
        return coarse
    opacity = coarse.answer[_OPACITY]
    if coarse.is_fine:
        opacity *= certain_veil(opacity, CERTAIN_ALONE)
        return coarse
    near = dilate(np.asarray(certain_veil(opacity, _CERTAIN), np.float32), _MARGIN)
    gate = np.rint(255 * box_mean(near, _SOFT)).astype(np.uint8)
    return replace(coarse, gate=gate)


def relit(coarse: Coarse) -> Coarse:
    """Return the coarse answer by which shadows are relit as deep as those of the scene are."""
    if coarse.is_fine or not coarse.guides:
        return coarse
    seen = coarse.light, coarse.answer[_OPACITY], coarse.thrown[0]
    shade = find_shade(*seen)
    return coarse if shade is None else replace(coarse, shade=shade, beside=light_beside(*seen))


def certain_veil(opacity: NDArray[np.floating], certain: float) -> NDArray[np.bool_]:
    """Return where a veil lies that is certain somewhere: bool (rows, columns).

    Args:
        opacity: (rows, columns), 0..1.
        certain: opacity that no clear land reaches.
    """
    veil: NDArray[np.bool_] = ndimage.binary_propagation(
        opacity > certain, mask=opacity > _THIN_VEIL
    )
    return veil


def _as_it_is(light: NDArray[Any]) -> Floats:
    return light


def clear_weight(opacity: Floats, radius: int = _DISTRUST) -> Floats:
    """Return how far each pixel's colour may be used elsewhere: float32, 0..1; 0 beside cloud.

    Args:
        opacity: float32 (rows, columns), 0..1.
        radius: pixels around cloud that are not used; the answer depends on as many.
    """
    if (opacity <= _SEEN[0]).all():
        return np.ones_like(opacity)
    near = dilate(opacity, radius)
    clear, hazy = (
        smoothstep((end - near) / np.float32(end - start)) for start, end in (_SEEN, _HAZY)
    )
    weight: Floats = np.maximum(clear, np.float32(HAZY_WEIGHT) * hazy)
    return weight


class _Showing:
    """Shows a witness the scene in bands, as soon as the cells under and around them are known."""

    def __init__(
        self,
        coarse: Coarse,
        height: int,
        source: PooledScene,
        network: Network,
        witness: Witness,
        others: OtherBands = NO_OTHERS,
    ) -> None:
        self._others = others
        self._coarse, self._height, self._witness = coarse, height, witness
        self._rows, self._network = source.read_rows, network
        self._radius = -(-_DISTRUST // coarse.cell)  # cells
        self._first = 0  # row of the next band
        self._dn: list[NDArray[Any]] = []
        self._valid: list[NDArray[np.bool_]] = []

    def until(self, known: int) -> None:
        """Show all bands for which the first ``known`` rows of cells suffice."""
        cell, around = self._coarse.cell, self._radius + 1
        whole = known == self._coarse.answer.shape[1]
        while self._first < self._height:
            last = min(self._first + FILLED_ROWS, self._height)
            if not whole and last > (known - around) * cell:
                return
            self._show(last)
            self._first = last

    def _show(self, last: int) -> None:
        first, coarse = self._first, self._coarse
        dn, valid = self._take(last - first)
        answer = coarse.at_known(coarse.answer, first, last)
        radiometry = self._network.radiometry
        seen = radiometry.to_model(dn[:3])
        light = radiometry.without_haze(seen.copy())  # as the fill is laid over
        change = radiometry.from_network(answer[_CHANGE])
        light += change * smoothstep((answer[_OPACITY] - _LEFT[0]) / (_LEFT[1] - _LEFT[0]))
        if self._others:
            # The exponent of the veil is not known yet; the land that counts is nearly clear.
            ground = self._others.grounds(self._others.light(dn[3:]), seen, light)
            light = np.concatenate([light, ground])
        self._witness(first, light, self._clear_weight(first, last) * valid)

    def _clear_weight(self, first: int, last: int) -> Floats:
        coarse = self._coarse
        top = max(first // coarse.cell - self._radius - 1, 0)
        below = -(-last // coarse.cell) + self._radius + 1
        opacity = coarse.answer[_OPACITY, top:below].astype(np.float32)
        weight = clear_weight(opacity, self._radius)[None]
        shift = top * coarse.cell
        pixels: Floats = upsample(weight, coarse.cell, (first - shift, last - shift), coarse.width)[
            0
        ]
        return pixels

    def _take(self, count: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return DN of R, G, B and the other bands, and validity, of the next rows."""
        while sum(map(len, self._valid)) < count:
            dn, valid = self._rows.get()
            self._dn.append(dn)
            self._valid.append(valid)
        dn, valid = np.concatenate(self._dn, axis=1), np.concatenate(self._valid)
        self._dn, self._valid = [dn[:, count:]], [valid[count:]]
        return dn[:, :count], valid[:count]
