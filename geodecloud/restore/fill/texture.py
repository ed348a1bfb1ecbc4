"""Add detail of the visible land to the smooth colour of the fill.

The colour of the fill is smoother than any land (:mod:`geodecloud.restore.fill.ground`). Detail is
copied from visible land of similar colour: the fill looks like the land around, but is no evidence
of the land below. This is patch-based synthesis as in image quilting (Efros and Freeman, SIGGRAPH
2001), but of the detail only, and blended where patches overlap.

If little land is visible, the eye notices the same detail repeated. There, and in the holes of a
swatch, noise replaces the detail. It has the detail's strength, colours and spectrum, but not its
shapes.
"""

import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.fill.swatches import SIZE, Halves, Swatch
from geodecloud.restore.filters import Floats, smoothstep

_STRIDE = 44  # pixels from one place (a square to cover with a swatch) to the next
_JITTER = 6  # largest shift of a place in pixels, so that no grid shows
_RAMP = 12  # pixels over which a detail fades in
_CHOICE = 24  # most swatches that suit a place; one is drawn
_WORSE = 4.0  # largest excess over the best swatch's squared distance, in the units below
_KINDS = 4  # of places and swatches; kinds alternate, so neighbours use different swatches
# Units of the distance of a swatch from a place:
_LIKE = 0.08  # model range, of colour
_NEAR = 0.25  # of the scene's longer side, of position,
_NEAR_PIXELS = 256  # but at least this many pixels
_HIDDEN = 0.15  # fraction of a swatch under cloud
_GLARING = 0.01  # fraction of a swatch with glare
_GLARE = 0.25  # model range: excess over the land close by that is glare: roofs, missed clouds
_FEW, _MANY = 1, 2.5  # distinct suiting swatches: all noise, and no noise
_NOISE = 0.65  # of the detail's strength, which roofs and roads exaggerate
_AMOUNT = 0.8  # of the detail; full strength looks harsh where the guess is wrong
_KEPT = 4096  # choices cached: successive rows share places

_FROM_EDGE = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]).astype(np.float32)
_WEIGHT = np.outer(*[np.minimum((_FROM_EDGE + 1) / _RAMP, 1)] * 2)
_POWER = np.square(_WEIGHT)
_WAVES = (
    np.hypot(SIZE * np.fft.fftfreq(SIZE)[:, None], np.arange(SIZE // 2 + 1)).round().astype(int)
)


class _Place(NamedTuple):
    """A square to cover with a swatch: top and left pixel, kind, and random numbers, 0..1."""

    top: int
    left: int
    kind: int
    chances: tuple[float, ...]


class _Choice(NamedTuple):
    """The detail chosen for a place.

    swatch: number of the swatch.
    enough: 0..1, weight of the copied detail; the rest is noise.
    quarters, mirrored: quarter turns of the detail, and its reflection.
    rolled: shift of the noise in pixels, down and to the right.
    """

    swatch: int
    enough: Floats
    quarters: int
    mirrored: bool
    rolled: tuple[int, int]


class Texture:
    """Detail for any part of a scene, independent of its division into parts.

    Args:
        swatches: sources of the detail.
        colours: float32 (3, rows, columns) of cells, model range: the fill's colours, by which
            swatches are chosen. The detail has all bands of the swatches.
        cell: height and width of a cell in pixels.
        shape: height and width of the scene in pixels.
    """

    def __init__(
        self, swatches: list[Swatch], colours: Floats, cell: int, shape: tuple[int, int]
    ) -> None:
        # Details are made when first needed: a clear scene needs none.
        self._details: list[Floats] = []  # rounded to float16, kept as float32
        self._flaws = np.empty(0)
        self._noises: dict[int, Halves] = {}
        self._swatches, self._making = swatches, threading.Lock()
        places = np.array([(swatch.row, swatch.column) for swatch in swatches]).reshape(-1, 2)
        hues = np.array([swatch.colour() for swatch in swatches]).reshape(-1, 3)
        self._unit = np.array([_LIKE] * 3 + [max(_NEAR * max(shape), _NEAR_PIXELS)] * 2)
        self._traits = np.hstack([hues, places + SIZE // 2]) / self._unit
        gaps = np.abs(places[:, None] - places)
        self._shared = np.prod(np.maximum(SIZE - gaps, 0) / SIZE, axis=2)
        self._colours, self._cell, self._shape = colours, cell, shape
        self._choice = lru_cache(_KEPT)(self._choose)

    def __call__(self, first: int, wanted: NDArray[np.bool_], left: int = 0) -> Floats:
        """Return the detail to add: float32 (bands, rows, width), model range.

        Without swatches it is 0, in 3 bands.

        Args:
            first, left: row and column of the top left pixel in the scene.
            wanted: bool (rows, width); elsewhere the detail is undefined.
        """
        with self._making:
            if not self._details:
                self._make_details()
        rows, width = wanted.shape
        bands = len(self._details[0]) - 1 if self._details else 3
        detail = np.zeros((bands, rows, width), np.float32)
        if not self._details:
            return detail
        power = np.zeros((rows, width), np.float32)
        for place in _places((first, first + rows), (left, left + width), self._shape[1]):
            at, of = _overlap(place.top - first, place.left - left, wanted.shape)
            if wanted[at].any():
                detail[:, *at] += self._cut(self._choice(place), of) * _WEIGHT[of]
                power[at] += _POWER[of]
        # Uncorrelated details add up in power.
        detail *= _AMOUNT / np.sqrt(np.maximum(power, np.float32(1e-6)))
        return detail

    def _make_details(self) -> None:
        flaws: list[tuple[float, float]] = []
        for swatch in self._swatches:
            detail = swatch.detail()
            self._details.append(detail.astype(np.float16).astype(np.float32))
            flaws.append((1 - swatch.weight, float((detail[:3].mean(axis=0) > _GLARE).mean())))
        self._flaws = np.square(np.array(flaws).reshape(-1, 2) / (_HIDDEN, _GLARING)).sum(axis=1)
        self._swatches = []

    def _choose(self, place: _Place) -> _Choice:
        which, quarters, mirrored, down, right = place.chances
        suiting = self._suiting(place.top + SIZE // 2, place.left + SIZE // 2)
        of_kind = suiting[suiting % _KINDS == place.kind]
        swatches = of_kind if len(of_kind) > 1 else suiting
        return _Choice(
            swatch=int(swatches[int(which * len(swatches))]),
            enough=self._enough(suiting),
            quarters=int(quarters * 4),
            mirrored=mirrored < 0.5,
            rolled=(int(down * SIZE), int(right * SIZE)),
        )

    def _cut(self, choice: _Choice, of: tuple[slice, slice]) -> Floats:
        """Return a part of the chosen detail: float32 (bands, rows, columns)."""
        detail = _turned(self._details[choice.swatch], choice)[:, *of]
        copied: Floats = choice.enough * detail[-1]
        chosen: Floats = choice.enough * detail[:-1]
        if (copied < 1).any():
            noise = _rolled(self._noise(choice.swatch), *choice.rolled)
            chosen += np.sqrt(1 - np.square(copied)) * _turned(noise, choice)[:, *of]
        return chosen

    def _noise(self, swatch: int) -> Halves:
        if swatch not in self._noises:
            noise = _noise_like(self._details[swatch], np.random.default_rng(swatch))
            self._noises[swatch] = noise.astype(np.float16)
        return self._noises[swatch]

    def _suiting(self, row: int, column: int) -> NDArray[np.intp]:
        """Return the numbers of the swatches that suit a place centred here, best first."""
        height, width = self._shape
        inside = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
        colour = self._colours[:, inside[0] // self._cell, inside[1] // self._cell]
        wanted = np.array([*colour, row, column]) / self._unit
        against = np.square(self._traits - wanted).sum(axis=1) + self._flaws
        best = np.argsort(against, kind="stable")[:_CHOICE]
        suiting: NDArray[np.intp] = best[against[best] <= against[best[0]] + _WORSE]
        return suiting

    def _enough(self, swatches: NDArray[np.intp]) -> Floats:
        """Return the weight of copied detail: 1 with enough distinct swatches, 0 with one."""
        different = (1 / self._shared[swatches][:, swatches].sum(axis=1)).sum()
        return smoothstep(different, _FEW, _MANY)


def _turned(detail: NDArray[Any], choice: _Choice) -> NDArray[Any]:
    # Views, like those of `np.rot90`, whose overhead would dominate here.
    if choice.quarters >= 2:
        detail = detail[:, ::-1, ::-1]
    if choice.quarters % 2:
        detail = detail[:, :, ::-1].swapaxes(1, 2)
    return detail[:, :, ::-1] if choice.mirrored else detail


def _rolled(noise: Halves, down: int, right: int) -> Halves:
    """Shift noise cyclically, by less than its size."""
    noise = np.concatenate([noise[:, -down:], noise[:, :-down]], axis=1)
    return np.concatenate([noise[:, :, -right:], noise[:, :, :-right]], axis=2)


def _noise_like(detail: Floats, rng: np.random.Generator) -> Floats:
    """Return seamlessly repeating noise with a detail's strength, colours and spectrum.

    Args:
        detail: float32 (bands + 1, SIZE, SIZE), see :meth:`Swatch.detail`.

    Returns:
        float32 (bands, SIZE, SIZE).
    """
    shown = detail * _WEIGHT
    covariance = np.einsum("aij,bij->ab", shown[:3], shown[:3]) / np.square(shown[-1]).sum()
    powers, axes = np.linalg.eigh(covariance)
    mixing = _NOISE * axes * np.sqrt(np.maximum(powers, 0)) @ axes.T
    power = np.square(np.abs(np.fft.rfft2(shown[:3]))).sum(axis=0)
    of_waves = np.bincount(_WAVES.ravel(), power.ravel()) / np.bincount(_WAVES.ravel())
    white = np.fft.rfft2(rng.standard_normal((3, SIZE, SIZE)))
    noise = np.fft.irfft2(white * np.sqrt(of_waves)[_WAVES])
    noise /= max(noise.std(), 1e-9)
    mixed: Floats = np.einsum("ab,bij->aij", mixing, noise).astype(np.float32)
    if len(detail) == 4:
        return mixed
    return np.concatenate([mixed, _other_noise(shown, mixed, of_waves, rng)])


def _other_noise(
    shown: Floats, colours: Floats, of_waves: NDArray[np.floating], rng: np.random.Generator
) -> Floats:
    """Return noise of the other bands: float32 (count, SIZE, SIZE).

    The regression of the detail's other bands on its colours is applied to the noise of the
    colours. Independent noise with the strength of the residual is added.

    Args:
        shown: (bands + 1, SIZE, SIZE), the detail, and its weight last, windowed.
        colours: float32 (3, SIZE, SIZE), the noise of red, green and blue.
        of_waves: mean power at each wave number.
    """
    rgb, others = (
        part.reshape(len(part), -1).astype(np.float64) for part in (shown[:3], shown[3:-1])
    )
    slopes = np.linalg.lstsq(rgb.T, others.T, rcond=None)[0].T  # (count, 3)
    rest = np.sqrt(np.square(others - slopes @ rgb).sum(axis=1) / np.square(shown[-1]).sum())
    white = np.fft.rfft2(rng.standard_normal((len(others), SIZE, SIZE)))
    own = np.fft.irfft2(white * np.sqrt(of_waves)[_WAVES])
    own /= np.maximum(own.std(axis=(1, 2), keepdims=True), 1e-9)
    mixed = np.einsum("ab,bij->aij", slopes, colours) + _NOISE * rest[:, None, None] * own
    out: Floats = mixed.astype(np.float32)
    return out


def _places(rows: tuple[int, int], columns: tuple[int, int], width: int) -> Iterator[_Place]:
    """Yield the places that may cover these rows and columns of a scene of this width."""
    near = [
        range(max(start - SIZE - _JITTER, 0) // _STRIDE, (stop + _JITTER) // _STRIDE + 2)
        for start, stop in (rows, columns)
    ]
    for i in near[0]:
        yield from _row_of_places(i, width)[near[1].start : near[1].stop]


@lru_cache(8)  # enough for some rows of the scene and the rows below them
def _row_of_places(i: int, width: int) -> list[_Place]:
    """Return the places of row ``i``, from left to right, in a scene of this width."""
    rng = np.random.default_rng(i)
    count = (width + _JITTER) // _STRIDE + 2
    jitter = rng.integers(-_JITTER, _JITTER, (count, 2), endpoint=True).tolist()
    chances = rng.random((count, 5)).tolist()
    return [
        _Place((i - 1) * _STRIDE + down, (j - 1) * _STRIDE + right, i % 2 * 2 + j % 2, tuple(each))
        for j, ((down, right), each) in enumerate(zip(jitter, chances, strict=True))
    ]


def _overlap(
    top: int, left: int, shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part of an array that a square covers, and that part of the square."""
    rows, rows_of = _span(top, shape[0])
    columns, columns_of = _span(left, shape[1])
    return (rows, columns), (rows_of, columns_of)


def _span(start: int, length: int) -> tuple[slice, slice]:
    begin, end = max(start, 0), max(min(start + SIZE, length), 0)
    return slice(begin, end), slice(begin - start, end - start)
