"""Score the bands besides red, green and blue, the spectra of all bands, and NDVI."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geodecloud.evaluation.metrics import Mask, Picture
from geodecloud.evaluation.tables import Scores, score
from geodecloud.radiometry import BRIGHTEST, Radiometry
from geodecloud.raster.dn import has_data
from geodecloud.raster.scene import Scene
from geodecloud.raster.wavelengths import find_other_bands, near_infrared, same_band

_LEAST = 1e-3  # model range; least sum of red and near infrared, which avoids division by 0
ROWS = ("identity", "restored")


@dataclass(frozen=True)
class SharedBand:
    """A band that both scenes of a pair have: its index in each, and its wavelength in nm."""

    cloudy: int
    clear: int
    wavelength: float


@dataclass(frozen=True)
class OtherPictures:
    """The other bands of a pair: float32 (count, rows, columns) each, in units of the model range.

    All are clipped at ``BRIGHTEST``, not at 1: spectra and NDVI need the ratios of bright bands.

    colours: red, green and blue of the cloudy, the restored and the clear scene.
    there: bool (count, rows, columns), where all three images have data.
    """

    bands: tuple[SharedBand, ...]
    cloudy: Picture
    restored: Picture
    clear: Picture
    colours: tuple[Picture, ...]
    there: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        bands: tuple[SharedBand, ...],
        dn: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
        rgb: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
        radiometry: tuple[Radiometry, Radiometry, Radiometry],
        nodata: tuple[float | None, float | None, float | None],
    ) -> Self:
        """Select the shared bands, and convert them to units of the model range.

        Args:
            dn: all bands of the cloudy, the restored and the clear scene.
            rgb: red, green and blue of the same scenes, as DN.
            radiometry, nodata: of the same scenes.
        """
        cloudy, clear = [one.cloudy for one in bands], [one.clear for one in bands]
        cut = [all_bands[of] for all_bands, of in zip(dn, (cloudy, cloudy, clear), strict=True)]
        there = np.logical_and.reduce(list(map(has_data, cut, nodata)))
        pictures, colours = (
            [how.to_model(one, BRIGHTEST) for how, one in zip(radiometry, scenes, strict=True)]
            for scenes in (cut, rgb)
        )
        before, after, clear_light = (np.nan_to_num(one) for one in pictures)
        return cls(bands, before, after, clear_light, tuple(colours), there)


def shared_bands(cloudy: Scene, clear: Scene) -> tuple[SharedBand, ...]:
    """Return the bands besides red, green and blue that both scenes have."""
    theirs = find_other_bands(clear)
    pairs = [(mine, same_band(theirs, mine.wavelength)) for mine in find_other_bands(cloudy)]
    return tuple(SharedBand(a.index, b.index, a.wavelength) for a, b in pairs if b)


def score_others(others: OtherPictures, groups: dict[str, Mask]) -> Scores:
    """Score the other bands of the cloudy and the restored scene against the clear one.

    Args:
        groups: masks of pixels by name.

    Returns:
        ``833 nm`` and so on: psnr of each band in dB, for a peak of reflectance 0.275; ``spectra``:
        sam over all bands in degrees; ``NDVI``: mae, if there is a near infrared band. Each has
        ``identity`` and ``restored`` for every group; NaN for a group without pixels.
    """
    if not others.bands:
        return {}
    each = others.cloudy, others.restored, others.clear

    def score_groups(pictures: Iterable[Picture], there: Mask, metric: str) -> Scores:
        *images, truth = pictures
        rows = dict(zip(ROWS, images, strict=True))
        return {
            name: {row: score(rows[row], truth, mask & there, (metric,)) for row in ROWS}
            for name, mask in groups.items()
        }

    scores: Scores = {}
    for number, band in enumerate(others.bands):
        one = [pictures[number : number + 1] for pictures in each]
        name = f"{band.wavelength:g} nm"
        scores[name] = score_groups(one, others.there[number], "psnr")
    spectra = map(np.concatenate, zip(others.colours, each, strict=True))
    scores["spectra"] = score_groups(spectra, np.logical_and.reduce(others.there), "sam")
    if near := near_infrared([band.wavelength for band in others.bands]):
        pairs = zip(others.colours, each, strict=True)
        greenness = [ndvi(rgb[0], pictures[near[0]])[None] for rgb, pictures in pairs]
        scores["NDVI"] = score_groups(greenness, others.there[near[0]], "mae")
    return scores


def keep_shared(each: list[Scores]) -> None:
    """Drop the scores of bands that some pairs lack, in place."""
    kept = set.intersection(*(set(scores["other_bands"]) for scores in each))
    for scores in each:
        others = scores["other_bands"]
        scores["other_bands"] = {name: others[name] for name in others if name in kept}


def ndvi(red: Picture, near_infrared: Picture) -> Picture:
    """Return the normalised difference vegetation index, -1..1, of bands of any shape."""
    total = np.maximum(near_infrared + red, np.float32(_LEAST))
    index: Picture = np.clip((near_infrared - red) / total, -1, 1)
    return index
