"""Match the colours of a reference image to the scene, to fill opaque pixels with real ground."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import (
    BandsWarning,
    NodataWarning,
    RadiometryWarning,
    SceneError,
    UnknownBandsError,
    muted,
    warn,
)
from geodecloud.radiometry import Radiometry
from geodecloud.raster.align import aligned
from geodecloud.raster.bands import ASSUMED
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.dn import has_data
from geodecloud.raster.extra_bands import ALL
from geodecloud.raster.origin import refuse_restored
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.source import has_extra_bands
from geodecloud.raster.wavelengths import OtherBand, find_other_bands, same_band
from geodecloud.restore.fill.ground import Ground
from geodecloud.restore.fill.pyramid import normalise, pull_push
from geodecloud.restore.filters import Floats, box_mean, upsample
from geodecloud.restore.memory import MemoryPlan
from geodecloud.settings import Reading, Settings

log = logging.getLogger("geodecloud")

_LEAST_CELLS = 16  # fewest cells visible in both images, to match colours
_AROUND = 4  # cells to each side: the neighbours of a cell
_LOCAL = 16  # visible cells from which a local offset counts fully
_STEPS = 20  # iterations of each of the two robust fits
_TUKEY = 4.685  # deviations; 95 % efficient for normal errors (Huber: "Robust Statistics", 1981)
_STEEPEST = 5.0  # bound of the gain and of its inverse
_USUAL = 0.3  # prior standard deviation of the gain about 1
_EVEN = 1e-3  # model range; the gain cannot be fitted to a smaller standard deviation


class ReferenceImage:
    """A reference on the scene's grid, whose colours are matched to the scene's visible land.

    The gain of each band is fitted robustly to the contrasts between neighbouring cells visible in
    both images. So haze or another season over a part of the scene does not bias the gain. The
    offset is local: the remaining difference is spread from cells where it is known.
    """

    def __init__(self, scene: Scene, radiometry: Radiometry, others: Mapping[int, int]) -> None:
        """Prepare to match a reference.

        Args:
            scene: the reference, on the scene's grid.
            radiometry: radiometry of the reference.
            others: index of the reference's band, by the number from 0 of the scene's other band;
                bands that the reference lacks are missing.
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
        """Add the next rows of the scene, restored.

        Args:
            first: row of the scene.
            colour: float32 (bands, rows, width), model range: red, green, blue, other bands; NaN
                where a band has no data.
            clear_weight: float32 (rows, width), 0..1.
        """
        own, there = self._read(first, first + clear_weight.shape[0])
        there &= np.isfinite(colour[self.bands]).all(axis=0)
        self._both.add(np.concatenate([own, colour[self.bands]]), clear_weight * there)

    def match(self, shadow: Floats) -> None:
        """Match the colours, after all rows.

        Args:
            shadow: float32 (rows, columns), 0..1, by cells, see ``ground.shadow_weight``: a shadow
                on one date only would distort the contrast.

        Raises:
            SceneError: too few cells are visible in both images.
        """
        self._both.finish()
        *sums, weight = self._both.sums * shadow
        full = float(self._both.cell**2)
        seen = weight >= full / 2
        if np.count_nonzero(seen) < _LEAST_CELLS:
            raise SceneError(
                f"{self._scene.path}: shares too little visible ground with the scene "
                f"({np.count_nonzero(seen)} of at least {_LEAST_CELLS} cells of "
                f"{self._both.cell} pixels) to match its colours; leave it out"
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
        """Return the mean colours of each cell's neighbours: (2 bands, rows, columns)."""
        near = np.maximum(box_mean(weight, _AROUND), np.float32(1e-6))
        return np.stack([box_mean(band, _AROUND) / near for band in sums])

    def _differences(self, means: Floats, weight: Floats, seen: NDArray[np.bool_]) -> Floats:
        """Return the residual of the linear fit by cells: float32 (bands, rows, columns).

        Haze over a part of the scene leaves a residual. Outliers are ignored: they are changes of
        the ground, missed clouds or shadows, not of the light.
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
        """Return rows in the scene's colours, (bands, rows, width) in model range, and validity.

        A pixel is valid if all bands have data there.
        """
        own, there = self._read(first, last)
        matched = self._gain[:, None, None] * own + self._offset[:, None, None]
        width = self._scene.shape[1]
        return matched + upsample(self._local, self._both.cell, (first, last), width), there

    def _read(self, first: int, last: int) -> tuple[Floats, NDArray[np.bool_]]:
        dn, valid = self._scene.read(first, last)
        valid &= has_data(dn[self._own[3:]], self._scene.nodata).all(axis=0)
        return np.where(valid, self._radiometry.unclipped(dn[self._own]), 0), valid


def robust_line(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Fit gain and offset of y = gain * x + offset robustly.

    Iteratively reweighted least squares: first for the least absolute error, then with Tukey's
    biweight, which ignores ground that has changed. A ridge penalty draws the gain of the second
    fit towards 1, more so with larger errors and a smaller variance of x.

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
    """Return the robust standard deviation about 0, at least 1e-4."""
    return max(1.4826 * float(np.median(np.abs(error))), 1e-4)


def _biweight(error: Floats) -> Floats:
    """Return Tukey's biweight: 1 for no error, 0 for an outlier."""
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
        reading: of the scene; its ``allow_network``, ``declared_nodata_only`` and ``force`` apply.
        others: bands of the scene besides red, green and blue that are filled, too.

    Raises:
        SceneError: the reference cannot be read, or has no georeference and another size.
    """
    allowed = reading or Reading()
    more = (ALL,) if len(others) > 1 and has_extra_bands(path) else None
    own_reading = Reading(
        extra_bands=more,
        declared_nodata_only=allowed.declared_nodata_only,
        allow_network=allowed.allow_network,
    )
    with ExitStack() as files:
        own = files.enter_context(_opened(path, own_reading))
        on_grid = files.enter_context(aligned(own, scene))
        if not allowed.force:
            refuse_restored(own, "give a reference as measured, or `force` to run anyway")
        # The colours are matched to the scene's, so the reference's own offset hardly matters.
        with muted(RadiometryWarning):
            radiometry = calibrate(own, Reading(keep_haze=True, force=True))
        on_grid.keep_rows(MemoryPlan.decoding)
        try:
            yield ReferenceImage(on_grid, radiometry, _same_bands(own, others))
        finally:
            on_grid.forget_rows()


@contextmanager
def _opened(path: Path | str, reading: Reading) -> Iterator[Scene]:
    """Open a reference as a scene; remedies that name options of the scene would mislead."""
    with ExitStack() as files:
        try:
            with muted(BandsWarning, NodataWarning):
                own = files.enter_context(open_scene(path, reading=reading))
        except UnknownBandsError as error:
            raise SceneError(f"{error.problem}; set the descriptions of its bands") from error
        if own.bands_from == ASSUMED:
            warn(
                BandsWarning,
                f"{own.path}: does not name its bands; 1,2,3 are taken as red,green,blue; if that "
                "is wrong, set their descriptions",
            )
        if own.validity.fill:
            warn(
                NodataWarning,
                f"{own.path}: its border of {own.validity.fill}, which it does not declare, is "
                "taken for nodata; if that is wrong, declare another value",
            )
        yield own


@contextmanager
def open_references(
    scene: Scene, others: Sequence[OtherBand], settings: Settings
) -> Iterator[list[ReferenceImage]]:
    """Open all references of the settings, see :func:`open_reference`."""
    if settings.policy.other_bands != "restore":
        others = ()
    with ExitStack() as files:
        yield [
            files.enter_context(open_reference(path, scene, settings.reading, others))
            for path in settings.policy.references
        ]


def _same_bands(reference: Scene, others: Sequence[OtherBand]) -> dict[int, int]:
    """Return the reference's index of each of the scene's other bands, by that band's number.

    Warns with :class:`BandsWarning` if the reference lacks one.
    """
    own, found = find_other_bands(reference), {}
    for number, wanted in enumerate(others):
        if same := same_band(own, wanted.wavelength):
            found[number] = same.index
    if len(found) < len(others):
        warn(
            BandsWarning,
            f"{reference.path}: lacks some of the scene's bands; these are filled from the land "
            "around, so its pixels count as invented; `other_bands` keep leaves these unfilled",
        )
    return found
