"""Restore bands beside red, green and blue by the law of the veil that was taken from these.

A thin cloud that reflects a share R of the light, and absorbs none, lets 1 - R through, both ways,
and sends a part of the ground's light back to it. Over ground g it is seen as

    s = R + (1 - R)^2 g / (1 - R g)

(adding method: van de Hulst, "Multiple Light Scattering", 1980, chapter 4). R is known in red,
green and blue, from what was seen there and what was restored. Its depth x = R / (1 - R) follows
Angstrom's law over wavelength, x ~ wavelength^-a (Angstrom, "On the Atmospheric Transmission of Sun
Radiation", Geografiska Annaler 1929); the exponent is fitted once per scene. Where the scene itself
shows the depth in a band, see ``veil_ratio``, the law counts less. So R is known in every band, and
s = R + ... is solved for its ground. Opaque pixels are filled later, like the colours.

Nothing here depends on the network but the colours that it restores.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.radiometry import MODEL_WHITE, Radiometry, as_dtype
from geodecloud.raster.wavelengths import OtherBand
from geodecloud.restore.filters import Floats

COLOURS = np.array([665, 560, 492], np.float32)  # nm, of red, green and blue
USUAL = 1.0  # exponent of thin cloud: from 0.3 of dense ones to 2 of smoke
_EXPONENTS = (0.0, 2.5)  # the least and the most that is believed
_USUAL_WEIGHT = 2.0  # of the usual exponent, in cells under a veil of depth 1
_STEPS = 500  # of the exponent's histogram
_RANGE = (-2.0, 5.0)  # of exponents that single cells show
_LEAST_DEPTH, _MOST_DEPTH = 0.005, 0.5  # of cells by which the exponent is fitted
_MOST_REFLECTED = 0.5  # of R; beyond, noise would grow fourfold
_OF_SEEN = 0.95  # of the light that a band sees; no more of it can be veil
_BRIGHTEST = 0.9  # reflectance of ground up to which the law can be solved
_LEAST_LIGHT = 0.25  # of full light, in a shadow that is relit: noise grows at most fourfold
# Share of the light that comes from the sky, in red, and its exponent over wavelength: a shadow has
# that alone (clear air; Bird and Riordan 1986, sun 40 degrees high).
_SKY, _SKY_EXPONENT = 0.15, 2.0
# Reflectance of land by wavelength in nm, L1C: the median over 100 tiles of EuroSAT of their means.
_LAND = (
    (443, 492, 560, 665, 704, 740, 783, 833, 865, 945, 1614, 2202),
    (0.132, 0.106, 0.098, 0.084, 0.118, 0.213, 0.257, 0.247, 0.283, 0.069, 0.192, 0.112),
)


@dataclass(frozen=True)
class OtherBands:
    """The bands beside red, green and blue that are restored, and the law of the scene's veil.

    bands: none: nothing is restored.
    radiometry: of the scene.
    exponent: of the veil's depth over wavelength, by the colours.
    ratios: of the veil's depth in each band and in red; none: as the exponent says.
    nodata: the DN that means nodata; a band's pixels that have it stay.
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
        """Indices among the scene's bands."""
        return [band.index for band in self.bands]

    @property
    def law(self) -> tuple[float, ...]:
        """The depth of the veil in each band over its depth in red, as the exponent says."""
        return tuple(float((band.wavelength / COLOURS[0]) ** -self.exponent) for band in self.bands)

    @property
    def land(self) -> Floats:
        """The light of average land, float32 (count,), model range."""
        wavelengths = [band.wavelength for band in self.bands]
        land = np.interp(wavelengths, *_LAND) / MODEL_WHITE
        return np.asarray(land, np.float32)

    @np.errstate(over="ignore")  # nodata may be as far out as a float goes
    def light(self, dn: NDArray[Any]) -> Floats:
        """Return DN of any shape in model range, where reflectance 0.275 is 1: not clipped."""
        light = dn.astype(np.float32)
        light -= np.float32(self.radiometry.black)
        light /= np.float32(self.radiometry.span)
        return light

    def has_data(self, dn: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where DN of a band, of any shape, have data."""
        there: NDArray[np.bool_] = (
            np.isfinite(dn) if dn.dtype.kind == "f" else np.ones(dn.shape, bool)
        )
        if self.nodata is not None and not np.isnan(self.nodata):
            there &= dn != self.nodata
        return there

    @np.errstate(invalid="ignore", over="ignore")  # a band may have holes of its own
    def grounds(self, light: Floats, seen: Floats, restored: Floats) -> Floats:
        """Return the light of the ground in the other bands: float32 (count, ...), model range.

        Where nothing was taken from red, green and blue, it is the light that is seen.

        Args:
            light: float32 (count, ...), of the other bands.
            seen, restored: float32 (3, ...), of red, green and blue, before and after.
        """
        white = np.float32(MODEL_WHITE)
        depth = veil_depth(white * seen, white * restored, self.exponent)
        out = np.empty_like(light)
        for new, old, ratio in zip(out, light, self.ratios or self.law, strict=True):
            shown = white * old
            new[:] = old + (ground_under(shown, depth * np.float32(ratio)) - shown) / white
        return out

    def relit(self, light: Floats, seen: Floats, restored: Floats) -> Floats:
        """Return the light of ground in a shadow as in full light; arguments as of ``grounds``.

        A shadow has the light of the sky, and a share of the sun's, which all bands have in common.
        """
        lit = np.maximum(restored, np.float32(1e-3))
        sky = _sky(COLOURS).reshape(3, *[1] * (seen.ndim - 1))
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
        """Return DN of the other bands without veil and shadow: (count, ...), dtype of ``dn``.

        Pixels whose red, green and blue are as before come back bit for bit.

        Args:
            dn: (bands, ...), all bands as they are seen.
            rgb: (3, ...) each, red, green and blue before and after.
            shadow: bool (...), pixels that were relit.
        """
        out = dn[self.indices]  # a copy
        before, after = rgb
        changed = (before != after).any(axis=0)
        if not changed.any():
            return out
        seen, restored = (self.light(colours[:, changed]) for colours in rgb)
        light = self.light(out[:, changed])
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


def veil_depth(seen: Floats, ground: Floats, exponent: float) -> Floats:
    """Return the depth of the veil in red, by what it does to all three colours: float32 (...).

    Args:
        seen, ground: float32 (3, ...), reflectance of red, green and blue.
        exponent: of the depth over wavelength.
    """
    reflected = np.clip(_reflected(seen, ground), 0, np.float32(_MOST_REFLECTED))
    depth = reflected / (1 - reflected)
    red, green, blue = (COLOURS / COLOURS[0]) ** np.float32(exponent) / np.float32(3)
    mean: Floats = red * depth[0] + green * depth[1] + blue * depth[2]
    return mean


def ground_under(seen: Floats, depth: Floats) -> Floats:
    """Return the reflectance of the ground under a veil of this depth, of any shape.

    Where no veil is, it is exactly what is seen.
    """
    reflected = np.minimum(depth / (1 + depth), np.float32(_MOST_REFLECTED))
    reflected = np.clip(reflected, 0, np.maximum(np.float32(_OF_SEEN) * seen, 0))
    ground = seen - reflected
    through = np.square(1 - reflected) + reflected * ground
    under: Floats = np.where(reflected > 0, ground / np.maximum(through, np.float32(0.1)), seen)
    return under


def _reflected(seen: Floats, ground: Floats) -> Floats:
    """Return R, of any shape; below 0 where the ground is brighter than what is seen."""
    ground = np.minimum(ground, np.float32(_BRIGHTEST))
    lifted: Floats = 1 - 2 * ground + seen * ground
    reflected: Floats = seen - ground
    reflected /= np.maximum(lifted, np.float32(1e-2))
    return reflected


def fit_exponent(cells: Iterator[tuple[Floats, Floats, Floats]]) -> float:
    """Return the exponent of a scene's veil over wavelength.

    It is the median over cells, weighted by the veil's depth: deep veils are certain. Where there
    is little veil, it is near the usual one.

    Args:
        cells: light that is seen and restored, float32 (3, ...) in model range, and opacity (...).
    """
    logs = np.log(COLOURS / COLOURS[0])
    logs -= logs.mean()
    counts = np.zeros(_STEPS)
    for seen, restored, opacity in cells:
        # Beyond the model range the network does not see.
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
    """Return the share of the light that comes from the sky."""
    return np.float32(_SKY) * (wavelengths / COLOURS[0]) ** np.float32(-_SKY_EXPONENT)
