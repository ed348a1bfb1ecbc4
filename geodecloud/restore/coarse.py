"""Hold the coarse answer for a whole scene, and merge it with the fine pass.

A window of 64x64 pixels at 10 m shows 640 m of ground. Haze, cirrus, a cloud's shadow and the
colour of the land beside a cloud are larger. The coarse pass runs the same network over cells,
means of pixels that are some 40 m wide. The coarse answer decides which windows the fine pass
computes, is their context, and supplies the colours that fill opaque pixels.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.cells import CELL
from geodecloud.restore.depth_ratio import SampledCells
from geodecloud.restore.filters import Floats, runs, upsample, widened
from geodecloud.restore.gate import (
    CERTAIN_ONE_PASS,
    Gate,
    certain_cloud,
    find_doubt,
    find_gate,
    fine_only_weight,
)
from geodecloud.restore.patches import CHANGE, CHANNELS, OPACITY, SHADOW
from geodecloud.restore.relight import Shade
from geodecloud.restore.shadows import hidden_fraction
from geodecloud.settings import Settings, Windows

_THIN = 0.5  # largest coarse opacity removed from a pixel; more would amplify noise
_ROWS = 16  # rows merged at once
_BLOCK = 64  # columns of cells tested together
_HAZY_SHADOW = 0.3  # opacity from which a pixel is restored as cloud alone, not as shadow
_SHADE_BEGINS = 0.1  # hidden fraction of the sun from which a clear pixel takes relit light alone
DEPTH = 0.6  # fraction of the light that most shadows take; used where the scene's is not known
_SURE = 0.1  # excess of coarse over fine opacity from which the coarse answer alone counts


@dataclass(frozen=True)
class Coarse:
    """The coarse answer for a scene, final once :func:`gated` has cleared uncertain opacity.

    cell: pixels along a side of a cell, see :func:`~geodecloud.restore.cells.cell_of`; 1 where
        there is no coarse pass.
    width: width of the scene in pixels.
    light: (3, rows, columns) of cells, the scene's light in model range.
    answer: (5, rows, columns) of cells: change of R, G, B; opacity; shadow.
    gives_context: whether the network takes the coarse answer as context in the fine pass.
    computed: number of windows computed, by the first row of their strip.
    thrown: uint8 (2, rows, columns), see :func:`~geodecloud.restore.shadows.thrown_shadows`; with
        black land where shadows are nearly black.
    of_picture: whether the scene is an 8-bit picture, whose land may be as bright as haze.
    gate: where the opacity counts and windows are computed; None: everywhere, fully.
    known: bool (rows, columns), cells with a valid pixel; None: all.
    shade: depth of the scene's shadows, to relight them; None: the network's change relights them.
    relights: whether shadows are relit; they are found in any case.
    sampled: the other bands' light in some of the cells; None if there are no other bands.
    """

    cell: int
    width: int
    light: NDArray[Any]
    answer: NDArray[Any]
    gives_context: bool
    computed: dict[int, int]
    thrown: NDArray[np.uint8]
    of_picture: bool = False
    gate: Gate | None = None
    known: NDArray[np.bool_] | None = None
    shade: Shade | None = None
    relights: bool = True
    sampled: SampledCells | None = None

    @property
    def is_full_resolution(self) -> bool:
        """True if cells are pixels: the answer is final, and no window is computed twice."""
        return self.cell == 1

    def at(
        self, cells: NDArray[Any], first: int, last: int, columns: slice | None = None
    ) -> Floats:
        """Interpolate cells at pixel rows: float32 (bands, rows, width).

        Args:
            cells: (bands, rows, columns) of the scene.
            first, last: the first pixel row, and the one after the last.
            columns: pixel columns; None: all.
        """
        columns = columns or slice(0, self.width)
        rows, across = self._cells(first, last), self._cells(columns.start, columns.stop)
        down, right = rows.start * self.cell, across.start * self.cell
        return upsample(
            cells[:, rows, across].astype(np.float32),
            self.cell,
            (first - down, last - down),
            columns.stop - columns.start,
            columns.start - right,
        )

    def _cells(self, first: int, last: int) -> slice:
        """Return the rows (or columns) of cells from which these pixels are interpolated."""
        return slice(max(first // self.cell - 1, 0), -(-last // self.cell) + 1)

    def at_known(
        self, cells: NDArray[Any], first: int, last: int, columns: slice | None = None
    ) -> Floats:
        """Interpolate like :meth:`at`, but from cells with a valid pixel alone.

        Args:
            cells: as in :meth:`at`; 0 where no pixel is valid.
        """
        pixels = self.at(cells, first, last, columns)
        across = self._cells(columns.start, columns.stop) if columns else slice(None)
        if self.known is None or self.known[self._cells(first, last), across].all():
            return pixels
        weight = self.at(self.known[None], first, last, columns)
        return np.divide(pixels, weight, out=pixels, where=weight > 0)

    def context(self, row: int, column: int, height: int, width: int) -> Floats:
        """Return the context of a window of the fine pass: float32 (5, height, width).

        Channels: restored R, G, B in model range; opacity; shadow.
        """
        pixels = row, row + height, slice(column, column + width)
        context, light = (self.at_known(cells, *pixels) for cells in (self.answer, self.light))
        context[CHANGE] += light
        return np.clip(context, 0, 1)

    def is_needed(self, rows: slice, columns: slice) -> bool:
        """Return whether the gate is open at any of these pixels."""
        if self.gate is None or self.gate.all_windows:
            return True
        cells = (self._cells(axis.start, axis.stop) for axis in (rows, columns))
        return bool(self.gate.weight[*cells].any())

    def cloudy_columns(self, first: int, last: int) -> tuple[slice, ...]:
        """Return the columns in which these pixel rows may hold cloud or shadow.

        In all other columns the gate is 0, and no cloud casts its shadow.
        """
        if self.gate is None or self.gate.all_windows:
            return (slice(0, self.width),)
        rows = self._cells(first, last)
        found: NDArray[Any] = np.maximum.reduce([self.gate.weight[rows], *self.thrown[:, rows]])
        return self.pixels_of(found.max(axis=0) > 0)

    def pixels_of(self, cells: NDArray[np.bool_]) -> tuple[slice, ...]:
        """Return the pixel columns that are interpolated from the flagged columns of cells."""
        near = widened(runs(cells, _BLOCK), 1, len(cells))  # pixels lie between cells
        ends = ((some.start * self.cell, some.stop * self.cell) for some in near)
        return tuple(slice(start, min(stop, self.width)) for start, stop in ends)

    def merge(
        self, first: int, light: Floats, fine: Floats, columns: Iterable[slice] | None = None
    ) -> Floats:
        """Merge the coarse answer into the fine one for pixel rows: float32 (5, rows, width).

        The coarse answer counts where its opacity clearly exceeds the fine one. A coarse change
        lacks detail. So thin cloud is removed by ``seen = (1 - a) * ground + a * cloud``. Opacity
        ``a`` and the term ``a * cloud`` are from the coarse answer.

        Args:
            light: float32 (3, rows, width), model range.
            fine: float32 (5, rows, width): change, opacity, shadow; changed in place.
            columns: see :meth:`cloudy_columns`, from left to right; elsewhere opacity and shadow
                become 0. None: all.
        """
        clear = 0  # the column up to which the answer is final
        for some in (slice(0, self.width),) if columns is None else columns:
            fine[OPACITY:, :, clear : some.start] = 0
            clear = some.stop
            for start in range(0, light.shape[1], _ROWS):  # few rows at once need little memory
                part = np.s_[:, start : start + _ROWS, some]
                self._merge(first + start, some, light[part], fine[part])
        fine[OPACITY:, :, clear:] = 0
        return fine

    def _merge(self, first: int, columns: slice, light: Floats, fine: Floats) -> None:
        pixels = first, first + light.shape[1], columns
        coarse, shown = self.at_known(self.answer, *pixels), np.clip(light, 0, 1)
        weight = np.ones_like(fine[0])
        if self.gate is not None:
            weight = self.at(self.gate.weight[None], *pixels)[0] / np.float32(255)
            alone = self._alone(self.gate, fine[OPACITY], pixels)
            coarse[OPACITY] *= weight
            fine[OPACITY] *= np.maximum(weight, alone)
        thicker = np.clip((coarse[OPACITY] - fine[OPACITY]) / np.float32(_SURE), 0, 1)
        around: Floats | None = None  # light interpolated from the cells
        if thicker.any():
            around = np.clip(self.at_known(self.light, *pixels), 0, 1)
            opacity = np.minimum(coarse[OPACITY], np.float32(_THIN))
            cloud = opacity * around - (1 - opacity) * coarse[CHANGE]  # the term a * cloud
            ground = (shown - cloud) / (1 - opacity)
            fine[CHANGE] += thicker * (ground - shown - fine[CHANGE])
        np.maximum(fine[OPACITY], coarse[OPACITY], out=fine[OPACITY])
        self._relight(pixels, (shown, around), fine, coarse, weight)

    def _alone(self, gate: Gate, opacity: Floats, pixels: tuple[int, int, slice]) -> Floats | float:
        """Return the weight of a fine opacity where the coarse pass found no cloud."""
        if gate.all_windows:
            return fine_only_weight(opacity)
        if gate.doubt is None:
            return 0.0
        doubt = self.at(gate.doubt[None], *pixels)[0] / np.float32(255)
        return doubt * fine_only_weight(opacity) if doubt.any() else 0.0

    def _relight(
        self,
        pixels: tuple[int, int, slice],
        light: tuple[Floats, Floats | None],
        fine: Floats,
        coarse: Floats,
        weight: Floats,
    ) -> None:
        """Find shadows, and relight them in ``fine``, in place.

        Where the gate is 0, the coarse answer alone finds them.

        Args:
            pixels: the first row, the row after the last, and the columns.
            light: light of the pixels, and light interpolated from the cells if known already.
            weight: float32 (rows, width), 0..1, the gate.
        """
        shown, around = light
        first, last, columns = pixels
        across = self._cells(columns.start, columns.stop)
        if not self.thrown[:, self._cells(first, last), across].any():
            fine[SHADOW] = 0
            return
        thrown, depth = self.at(self.thrown, *pixels), np.float32(DEPTH)
        darkness: Floats | None = None
        distinctness = 0.0
        if self.shade:
            distinctness = self.shade.distinctness
            depth, width = self.shade.depth[1], columns.stop - columns.start
            beside = self.shade.beside_at(self.cell, (first, last), width, columns.start)
            if around is None:
                around = np.clip(self.at_known(self.light, *pixels), 0, 1)
            darkness = self.shade.darkness(shown, around, beside)
        hidden = weight * hidden_fraction(thrown, fine[SHADOW], darkness, distinctness)
        hidden += (1 - weight) * coarse[SHADOW] / np.float32(DEPTH)
        fine[SHADOW] = hidden * depth
        if not self.relights:
            return
        if self.shade and around is not None:
            change = self.shade.relit(shown, hidden, around, beside) - shown
        else:
            change = weight * fine[CHANGE] + (1 - weight) * coarse[CHANGE]
        shaded = np.clip(1 - fine[OPACITY] / np.float32(_HAZY_SHADOW), 0, 1)
        shaded *= np.minimum(hidden / np.float32(_SHADE_BEGINS), 1)
        fine[CHANGE] += shaded * (change - fine[CHANGE])


def coarse_bytes(height: int, width: int, cell: int = CELL) -> int:
    """Return the bytes of a coarse answer, with gate, doubt, cast shadows and known cells."""
    floats = 3 + CHANNELS  # light and answer
    each = floats * (4 if cell == 1 else 2) + 2 + 1 + 1 + 1
    return -(-height // cell) * -(-width // cell) * each


def gated(coarse: Coarse, windows: Windows) -> Coarse:
    """Return the coarse answer with its gate.

    In a scene without a coarse pass, the opacity of cloud that is nowhere certain is set to 0, in
    place. A network that does not take context has no gate.

    Args:
        windows: whether the gate decides which windows are computed.
    """
    if not coarse.gives_context:
        return coarse
    opacity = coarse.answer[OPACITY]
    if coarse.is_full_resolution:
        opacity *= certain_cloud(opacity, CERTAIN_ONE_PASS)
        return coarse
    light, known = coarse.light, coarse.known
    weight = find_gate(opacity, light, of_picture=coarse.of_picture, known=known)
    doubt = None
    if not coarse.of_picture and coarse.cell <= CELL:  # roofs of small pixels look like cloud
        doubt = find_doubt(light, known)
        # At a weight of 1 of 255 the fine pass computes windows, but coarse opacity does not count.
        np.maximum(weight, doubt > 0, out=weight, casting="unsafe")
    return replace(coarse, gate=Gate(weight, doubt, all_windows=windows.gate == "off"))


def for_fine_pass(coarse: Coarse, settings: Settings) -> Coarse:
    """Return the coarse answer with its gate and the policy's treatment of shadows."""
    relights = settings.policy.shadows == "restore"
    return replace(gated(coarse, settings.windows), relights=relights)
