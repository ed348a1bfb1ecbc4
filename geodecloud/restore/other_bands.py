"""Restore bands besides red, green and blue by the thin cloud that was removed from the colours.

A thin cloud that reflects a fraction R of the light, and absorbs none, transmits 1 - R both ways.
It reflects part of the ground's light back down. Ground of reflectance g is seen as

    s = R + (1 - R)^2 g / (1 - R g)

(adding method: van de Hulst, "Multiple Light Scattering", 1980, chapter 4). The seen and the
restored values give R in red, green and blue. The cloud's depth x = R / (1 - R), a scaled optical
depth, follows Angstrom's law over wavelength: x ~ wavelength^-a (Angstrom, "On the Atmospheric
Transmission of Sun Radiation", Geografiska Annaler 1929). The exponent a is fitted once per scene.
Where the scene itself shows the depth in a band, see ``depth_ratio``, the law counts less. With R
known in every band, the equation is solved for g. Opaque pixels are filled later, like the colours.

The other bands depend on the network only through the colours that it restores.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.radiometry import MODEL_WHITE, Radiometry, as_dtype
from geodecloud.raster.dn import has_data
from geodecloud.raster.wavelengths import OtherBand
from geodecloud.restore.filters import Floats

COLOUR_WAVELENGTHS = np.array([665, 560, 492], np.float32)  # nm, of red, green and blue
USUAL = 1.0  # exponent of a usual thin cloud; dense cloud has 0.3, smoke 2
_EXPONENTS = (0.0, 2.5)  # bounds of the fitted exponent
_USUAL_WEIGHT = 2.0  # of the usual exponent, in cells under cloud of depth 1
_STEPS = 500  # bins of the histogram of exponents
_RANGE = (-2.0, 5.0)  # of the histogram of exponents
_LEAST_DEPTH, _MOST_DEPTH = 0.005, 0.5  # depth of the cells to which the exponent is fitted
_MOST_REFLECTED = 0.5  # bound of R, which keeps noise from growing more than fourfold
_OF_SEEN = 0.95  # largest fraction of the seen light that can be cloud
_BRIGHTEST = 0.9  # reflectance of ground up to which the equation can be solved
_LEAST_LIGHT = 0.25  # of full light, in a relit shadow: noise grows at most fourfold
# Fraction of skylight in red, and its exponent over wavelength: a shadow has this light alone
# (clear air; Bird and Riordan 1986, sun 40 degrees high).
_SKY, _SKY_EXPONENT = 0.15, 2.0
# Reflectance of land by wavelength in nm, L1C: median of the means of 100 EuroSAT tiles.
_LAND = (
    (443, 492, 560, 665, 704, 740, 783, 833, 865, 945, 1614, 2202),
    (0.132, 0.106, 0.098, 0.084, 0.118, 0.213, 0.257, 0.247, 0.283, 0.069, 0.192, 0.112),
)


@dataclass(frozen=True)
class OtherBands:
    """The bands besides red, green and blue to restore, and the spectrum of the scene's thin cloud.

    bands: the bands; empty if none is restored.
    radiometry: of the scene.
    exponent: of the cloud's depth over wavelength, fitted to the colours.
    ratios: the cloud's depth in each band over its depth in red; empty: from the exponent.
    nodata: the DN that means nodata; a band's nodata pixels stay.
    """

    bands: tuple[OtherBand, ...] = ()
    radiometry: Radiometry = field(default_factory=Radiometry)
    exponent: float = USUAL
    ratios: tuple[float, ...] = ()
    nodata: float | None = None

    def __bool__(self) -> bool:
        return bool(self.bands)

    @property
    def indices(self) -> list[int]:
        """Indices of the bands in the scene."""
        return [band.index for band in self.bands]

    @property
    def law(self) -> tuple[float, ...]:
        """The depth of thin cloud in each band over its depth in red, by Angstrom's law."""
        return tuple(
            float((band.wavelength / COLOUR_WAVELENGTHS[0]) ** -self.exponent)
            for band in self.bands
        )

    @property
    def land(self) -> Floats:
        """The light of average land, float32 (count,), model range."""
        wavelengths = [band.wavelength for band in self.bands]
        land = np.interp(wavelengths, *_LAND) / MODEL_WHITE
        return np.asarray(land, np.float32)

    def light(self, dn: NDArray[Any]) -> Floats:
        """Return DN of any shape in model range, unclipped; NaN where they are no data."""
        return np.where(self.has_data(dn), self.radiometry.unclipped(dn), np.float32(np.nan))

    def has_data(self, dn: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where the DN of a band, of any shape, are data."""
        return has_data(dn, self.nodata)

    @np.errstate(invalid="ignore", over="ignore")  # a band may have holes of its own
    def grounds(self, light: Floats, seen: Floats, restored: Floats) -> Floats:
        """Return the light of the ground in the other bands: float32 (count, ...), model range.

        Where red, green and blue did not change, it is exactly the seen light.

        Args:
            light: float32 (count, ...), seen light of the other bands.
            seen, restored: float32 (3, ...), light of red, green and blue before and after.
        """
        white = np.float32(MODEL_WHITE)
        depth = cloud_depth(white * seen, white * restored, self.exponent)
        out = np.empty_like(light)
        for new, old, ratio in zip(out, light, self.ratios or self.law, strict=True):
            shown = white * old
            new[:] = old + (ground_under(shown, depth * np.float32(ratio)) - shown) / white
        return out

    def relit(self, light: Floats, seen: Floats, restored: Floats) -> Floats:
        """Return the light of shaded ground as if in full sun; arguments as in :meth:`grounds`.

        A shadow has skylight, and a fraction of the sunlight that is equal in all bands.
        """
        lit = np.maximum(restored, np.float32(1e-3))
        sky = _sky(COLOUR_WAVELENGTHS).reshape(3, *[1] * (seen.ndim - 1))
        sun = np.clip((seen / lit - sky) / (1 - sky), 0, 1).mean(axis=0)
        out = np.empty_like(light)
        for new, old, band in zip(out, light, self.bands, strict=True):
            share = _sky(np.float32(band.wavelength))
            new[:] = old / np.maximum(share + (1 - share) * sun, np.float32(_LEAST_LIGHT))
        return out

    @np.errstate(invalid="ignore", over="ignore")
    def restore(
        self, dn: NDArray[Any], rgb: tuple[NDArray[Any], NDArray[Any]], shadow: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Return DN of the other bands without cloud and shadow: (count, ...), dtype of ``dn``.

        Pixels whose red, green and blue did not change come back bit for bit.

        Args:
            dn: (bands, ...), all bands as read.
            rgb: (3, ...) each, red, green and blue before and after.
            shadow: bool (...), pixels that were relit.
        """
        out = dn[self.indices]  # a copy
        before, after = rgb
        changed = (before != after).any(axis=0)
        if not changed.any():
            return out
        unclipped = self.radiometry.unclipped
        seen, restored = (unclipped(colours[:, changed]) for colours in rgb)
        light = unclipped(out[:, changed])
        new = self.grounds(light, seen, restored)
        in_shadow = shadow[changed]
        if in_shadow.any():
            part = np.s_[:, in_shadow]
            new[part] = self.relit(light[part], seen[part], restored[part])
        for band, was, light_of in zip(out, light, new, strict=True):
            old = band[changed]
            step = (light_of - was).astype(np.float64) * self.radiometry.span
            step[~self.has_data(old) | (step == 0)] = 0
            moved = step != 0
            old[moved] = as_dtype(old[moved] + step[moved], band.dtype, self.nodata)
            band[changed] = old
        return out


NO_OTHERS = OtherBands()


def cloud_depth(seen: Floats, ground: Floats, exponent: float) -> Floats:
    """Return the cloud's depth in red, the mean of the estimates from all colours: float32 (...).

    Args:
        seen, ground: float32 (3, ...), reflectance of red, green and blue, with and without cloud.
        exponent: of the depth over wavelength.
    """
    reflected = np.clip(_reflected(seen, ground), 0, np.float32(_MOST_REFLECTED))
    depth = reflected / (1 - reflected)
    ratios = COLOUR_WAVELENGTHS / COLOUR_WAVELENGTHS[0]
    red, green, blue = ratios ** np.float32(exponent) / np.float32(3)
    mean: Floats = red * depth[0] + green * depth[1] + blue * depth[2]
    return mean


def ground_under(seen: Floats, depth: Floats) -> Floats:
    """Return the reflectance of the ground under cloud of this depth, of any shape.

    Where the depth is 0, it is exactly ``seen``.
    """
    reflected = np.minimum(depth / (1 + depth), np.float32(_MOST_REFLECTED))
    reflected = np.clip(reflected, 0, np.maximum(np.float32(_OF_SEEN) * seen, 0))
    ground = seen - reflected
    through = np.square(1 - reflected) + reflected * ground
    under: Floats = np.where(reflected > 0, ground / np.maximum(through, np.float32(0.1)), seen)
    return under


def _reflected(seen: Floats, ground: Floats) -> Floats:
    """Return the cloud's reflectance R, of any shape; negative where the ground is brighter."""
    ground = np.minimum(ground, np.float32(_BRIGHTEST))
    lifted: Floats = 1 - 2 * ground + seen * ground
    reflected: Floats = seen - ground
    reflected /= np.maximum(lifted, np.float32(1e-2))
    return reflected


def fit_exponent(cells: Iterator[tuple[Floats, Floats, Floats]]) -> float:
    """Fit the exponent of the depth of a scene's thin cloud over wavelength.

    The result is the median over cells, weighted by the cloud's depth, as deep cloud is certain.
    With little cloud it stays near ``USUAL``.

    Args:
        cells: seen and restored light, float32 (3, ...) in model range, and opacity (...).
    """
    logs = np.log(COLOUR_WAVELENGTHS / COLOUR_WAVELENGTHS[0])
    logs -= logs.mean()
    counts = np.zeros(_STEPS)
    for seen, restored, opacity in cells:
        # Light beyond the model range is clipped before the network.
        sure = (opacity > 0) & (seen < 1).all(axis=0) & (restored > 0).all(axis=0)
        white = np.float32(MODEL_WHITE)
        reflected = _reflected(white * seen[:, sure], white * restored[:, sure])
        reflected = np.clip(reflected, np.float32(1e-6), np.float32(_MOST_REFLECTED))
        depth = reflected / (1 - reflected)
        used = (depth >= _LEAST_DEPTH).all(axis=0) & (depth <= _MOST_DEPTH).all(axis=0)
        depth = depth[:, used].astype(np.float64)
        exponents = -np.tensordot(logs, np.log(depth), axes=1) / np.square(logs).sum()
        each, _ = np.histogram(
            np.clip(exponents, *_RANGE), _STEPS, _RANGE, weights=depth.mean(axis=0)
        )
        counts += each
    weight = counts.sum()
    if not weight:
        return USUAL
    middle = np.searchsorted(np.cumsum(counts), weight / 2)
    shown = _RANGE[0] + (middle + 0.5) * (_RANGE[1] - _RANGE[0]) / _STEPS
    mixed = (weight * shown + _USUAL_WEIGHT * USUAL) / (weight + _USUAL_WEIGHT)
    return float(np.clip(mixed, *_EXPONENTS))


def _sky(wavelengths: Any) -> Any:
    """Return the fraction of skylight at these wavelengths in nm."""
    return np.float32(_SKY) * (wavelengths / COLOUR_WAVELENGTHS[0]) ** np.float32(-_SKY_EXPONENT)
