"""Match the colours of another date to the scene: real ground for opaque pixels."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import BandsWarning, SceneError, warn
from geodecloud.radiometry import Radiometry
from geodecloud.raster.align import aligned
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.extra_bands import ALL
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.source import has_extra_bands
from geodecloud.raster.wavelengths import OtherBand, find_other_bands, same_band
from geodecloud.restore.fill.ground import Ground
from geodecloud.restore.fill.pyramid import normalise, pull_push
from geodecloud.restore.filters import Floats, box_mean, upsample
from geodecloud.restore.memory import MemoryPlan
from geodecloud.settings import Reading, Settings

log = logging.getLogger("geodecloud")

_NO_OTHERS: Mapping[int, int] = {}
_LEAST_CELLS = 16  # visible in both, to compare colours by
_AROUND = 4  # cells to each side, the neighbours
_LOCAL = 16  # cells seen until what differs there is believed to differ there
_STEPS = 20  # of each of the two robust fits
_TUKEY = 4.685  # deviations; 95 % efficient for normal errors (Huber: "Robust Statistics", 1981)
_STEEPEST = 5.0  # gain; a land that differs more is another land
_USUAL = 0.3  # standard deviation of the gain about 1, before any cell has been seen
_EVEN = 1e-3  # model range; with less variation than that the gain is not known


class ReferenceImage:
    """A reference on the scene's grid, whose colours are matched to the scene's visible land.

    The gain of each band is fitted robustly to the contrasts between neighbouring cells that are
    visible in both images: haze or another season over a part of the scene does not bend it. The
    offset is local: the remaining difference is spread from where it is known.
    """

    def __init__(
        self, scene: Scene, radiometry: Radiometry, others: Mapping[int, int] = _NO_OTHERS
    ) -> None:
        """Take the reference on the scene's grid.

        Args:
            others: index of a band of the reference, by the number of the scene's other band that
                it is, from 0.
        """
        self._scene, self._radiometry = scene, radiometry
        self.bands = [0, 1, 2, *(3 + number for number in others)]
        self._own = [*scene.rgb, *others.values()]
        count = len(self.bands)
        # Colours of the reference, then of the scene, summed with the same weights.
        self._both = Ground(*scene.shape, bands=2 * count)
        self._gain = self._offset = np.zeros(count, np.float32)
        self._local = np.zeros((count, 1, 1), np.float32)

    def gather(self, first: int, colour: Floats, clear_weight: Floats) -> None:
        """Take the next rows of the scene, restored.

        Args:
            first: row of the scene.
            colour: float32 (bands, rows, width), model range: red, green, blue, other bands.
            clear_weight: float32 (rows, width), 0..1.
        """
        own, there = self._read(first, first + clear_weight.shape[0])
        self._both.add(np.concatenate([own, colour[self.bands]]), clear_weight * there)

    def match(self, shadow: Floats) -> None:
        """Match the colours, after all rows.

        Args:
            shadow: float32 (rows, columns), 0..1, by cells, see ``ground.shadow_weight``:
                what lies in shadow on one date only would pass for contrast.

        Raises:
            SceneError: too little is visible in both.
        """
        self._both.finish()
        *sums, weight = self._both.sums * shadow
        full = float(self._both.cell**2)
        seen = weight >= full / 2
        if np.count_nonzero(seen) < _LEAST_CELLS:
            raise SceneError(
                f"{self._scene.path}: overlaps too little visible ground with the scene "
                f"({np.count_nonzero(seen)} of at least {_LEAST_CELLS} cells of "
                f"{self._both.cell} pixels) to match its colours; omit it"
            )
        means = np.stack(sums)[:, seen] / weight[seen]  # (2 bands, count)
        bands = len(self.bands)
        contrasts = means - self._around(sums, weight)[:, seen]
        fits = [robust_line(contrasts[b], contrasts[b + bands], weight[seen]) for b in range(bands)]
        self._gain = np.array(fits, np.float32)[:, 0]
        self._offset = np.median(means[bands:] - self._gain[:, None] * means[:bands], axis=1)
        log.info("%s: gain %s, offset %s", self._scene.path, self._gain, self._offset)
        self._local = self._differences(means, weight, seen)

    @staticmethod
    def _around(sums: list[Floats], weight: Floats) -> Floats:
        """Return the mean colours of the land around each cell: (2 bands, rows, columns)."""
        near = np.maximum(box_mean(weight, _AROUND), np.float32(1e-6))
        return np.stack([box_mean(band, _AROUND) / near for band in sums])

    def _differences(self, means: Floats, weight: Floats, seen: NDArray[np.bool_]) -> Floats:
        """Return the residual of the line by cells: float32 (bands, rows, columns).

        Haze over a part of the scene leaves one. A cell that differs much more than most shows
        another thing, not another light: a missed cloud, its shadow, a ploughed field.
        """
        bands = len(self.bands)
        line = self._gain[:, None] * means[:bands] + self._offset[:, None]
        unexplained = means[bands:] - line  # (bands, count)
        usual = _biweight(unexplained[:3].mean(axis=0))  # by red, green and blue
        sums = np.zeros((bands + 1, *weight.shape), np.float32)
        sums[-1, seen] = weight[seen] * usual
        sums[:-1, seen] = unexplained * sums[-1, seen]
        return pull_push(normalise(sums, _LOCAL * self._both.cell**2), np.zeros(bands, np.float32))

    def colours(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return rows in the scene's colours, (bands, rows, width) in model range, and validity."""
        own, there = self._read(first, last)
        matched = self._gain[:, None, None] * own + self._offset[:, None, None]
        width = self._scene.shape[1]
        return matched + upsample(self._local, self._both.cell, (first, last), width), there

    def _read(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        dn, valid = self._scene.read(first, last)
        own = dn[self._own].astype(np.float32) - np.float32(self._radiometry.black)
        return np.where(valid, own / np.float32(self._radiometry.span), 0), valid


def robust_line(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Return gain and offset of y = gain * x + offset that most of the points agree on.

    Iterated reweighted least squares: first for the least absolute error, then with Tukey's
    biweight, which ignores ground that has changed. The second fit leans to a gain of 1 as far as
    errors and evenness leave it open (ridge regression).

    Args:
        x, y, weight: float32 (count,).
    """
    gain, offset = 1.0, float(np.median(y - x))
    count = float(weight.sum() ** 2 / (weight**2).sum())  # of points of full weight
    for step in range(2 * _STEPS):
        error = np.abs(y - gain * x - offset)
        first = step < _STEPS
        robust = weight * (1 / np.maximum(error, 1e-4) if first else _biweight(error))
        lean = 0.0 if first else (_spread(error) / _USUAL) ** 2 / count
        if not robust.any():
            break
        mean_x, mean_y = (np.average(values, weights=robust) for values in (x, y))
        variance = np.average((x - mean_x) ** 2, weights=robust)
        if variance > _EVEN**2:
            covariance = np.average((x - mean_x) * (y - mean_y), weights=robust)
            gain = float(np.clip((covariance + lean) / (variance + lean), 1 / _STEEPEST, _STEEPEST))
        offset = float(mean_y - gain * mean_x)
    return gain, offset


def _spread(error: Floats) -> float:
    """Return the robust standard deviation about 0, at least that of a flat field."""
    return max(1.4826 * float(np.median(np.abs(error))), 1e-4)


def _biweight(error: Floats) -> Floats:
    """Return Tukey's weight: 1 where there is no error, 0 where it is beyond nearly all others."""
    weight: Floats = np.clip(1 - (error / (_TUKEY * _spread(error))) ** 2, 0, 1) ** 2
    return weight


@contextmanager
def open_reference(
    path: Path | str,
    scene: Scene,
    reading: Reading | None = None,
    others: Sequence[OtherBand] = (),
) -> Iterator[ReferenceImage]:
    """Open a reference on the grid of ``scene``.

    Args:
        path: see :func:`geodecloud.raster.scene.open_scene`.
        reading: of the scene; the network and undeclared nodata are as for the scene.
        others: bands of the scene beside red, green and blue that are filled, too.

    Raises:
        SceneError: it cannot be read, or does not say where it lies and is of another size.
    """
    allowed = reading or Reading()
    more = (ALL,) if len(others) > 1 and has_extra_bands(path) else None
    own_reading = Reading(
        extra_bands=more,
        declared_nodata_only=allowed.declared_nodata_only,
        allow_network=allowed.allow_network,
    )
    with (
        open_scene(path, reading=own_reading) as own,
        aligned(own, scene) as on_grid,
    ):
        # Its colours are matched to the scene's, so that its own offset hardly counts.
        radiometry = calibrate(own, Reading(keep_haze=True, force=True))
        on_grid.keep_rows(MemoryPlan.decoding)
        yield ReferenceImage(on_grid, radiometry, _same_bands(own, others))


@contextmanager
def open_references(
    scene: Scene, others: Sequence[OtherBand], settings: Settings
) -> Iterator[list[ReferenceImage]]:
    """Open all references of the settings, see :func:`open_reference`."""
    with ExitStack() as files:
        yield [
            files.enter_context(open_reference(path, scene, settings.reading, others))
            for path in settings.policy.references
        ]


def _same_bands(reference: Scene, others: Sequence[OtherBand]) -> dict[int, int]:
    """Return the index of each band of a reference that the scene has too, by its number there."""
    own, found = find_other_bands(reference), {}
    for number, wanted in enumerate(others):
        if same := same_band(own, wanted.wavelength):
            found[number] = same.index
    if len(found) < len(others):
        warn(
            BandsWarning,
            f"{reference.path}: lacks bands of the scene beside red, green and blue; there its "
            "pixels take the land around",
        )
    return found
