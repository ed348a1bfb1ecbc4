"""Calibrate a scene: find its scale and offset, and measure the atmosphere from its pixels.

If nothing states the radiometry and the pixels contradict the usual one, the user must give it.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import RadiometryWarning, SceneError, warn
from geodecloud.radiometry import (
    BASELINE_4_OFFSET,
    DARK_OBJECT_QUANTILE,
    LARGE,
    MODEL_WHITE,
    SCALE,
    Level,
    Radiometry,
    find_dark_object,
    measure_path_radiance_removed,
    uniform_haze,
)
from geodecloud.raster.products import PERCENT_SCALE, is_radiance, suggest_radiometry
from geodecloud.raster.sampling import sample
from geodecloud.raster.scene import Scene
from geodecloud.raster.statements import (
    Statements,
    read_statements,
    stated_level,
    stated_radiometry,
)
from geodecloud.settings import Reading

# Percentiles of the scene's DN that stand for its darkest and its brightest pixels.
_DARK, _BRIGHT = 0.5, 98
_HAZY = 0.08  # reflectance; no clear scene's darkest pixels are brighter in red
_OVERCAST = 0.4  # reflectance; only opaque cloud makes the darkest pixels this bright
_BELOW_BLACK = -0.05  # reflectance; darker is not noise: the offset is applied twice
_BLACKER = -0.02  # median reflectance of a band; darker is no ground
_BLACK = 0.02  # reflectance; if the brightest pixels are darker, the scale is another one
_BYTE = 255  # the largest DN of 8 bits
# Bounds on the reflectance of the darkest pixels. Surface reflectance (L2A): least in any band,
# most in red, most blue minus red. Top of atmosphere (L1C): range in red, least in blue, range of
# blue minus red. Clear scenes and scenes under broken cloud lie within, uniformly hazy scenes not.
_L2A_LEAST, _L2A_RED, _L2A_EXCESS = -0.03, 0.06, 0.035
_L1C_RED, _L1C_BLUE, _L1C_EXCESS = (0.02, 0.08), 0.05, (0.02, 0.08)
_CHIP = 64 * 64  # pixels; fewer are too few to judge by their darkest


@dataclass(frozen=True)
class _Sample:
    """A sample of a scene's valid pixels.

    dn: (3, sampled pixels), in the file's dtype.
    count: estimated number of valid pixels in the whole scene.
    """

    dn: NDArray[Any]
    count: int

    @cached_property
    def _dark(self) -> Any:
        return np.percentile(self.dn, _DARK, axis=1)

    @cached_property
    def _middle(self) -> Any:
        return np.median(self.dn, axis=1)

    @cached_property
    def _bright(self) -> Any:
        return np.percentile(self.dn, _BRIGHT)

    def dark(self, radiometry: Radiometry) -> NDArray[np.floating]:
        """Return the reflectance of the darkest pixels of each band: (3,)."""
        reflectance: NDArray[np.floating] = (self._dark + radiometry.offset) / radiometry.scale
        return reflectance

    def middle(self, radiometry: Radiometry) -> NDArray[np.floating]:
        """Return the median reflectance of each band: (3,)."""
        reflectance: NDArray[np.floating] = (self._middle + radiometry.offset) / radiometry.scale
        return reflectance

    def bright(self, radiometry: Radiometry) -> float:
        """Return the reflectance of the brightest pixels over all bands."""
        return float((self._bright + radiometry.offset) / radiometry.scale)


def calibrate(scene: Scene, reading: Reading | None = None) -> Radiometry:
    """Return a scene's radiometry: as the user gives it, else as the file states it.

    The rest is measured from the pixels: the path radiance already removed, the dark object and,
    in an 8-bit picture of unknown radiometry, uniform haze. Warns of such haze, and if scale and
    offset contradict the pixels.

    Args:
        reading: ``scale`` and ``offset``; None: as the file states them. With ``keep_haze`` or a
            cloud ``mask``, no haze is removed. With ``force``, a contradiction raises a warning
            instead of an error.

    Raises:
        SceneError: nothing states the scale and offset, and the pixels contradict the usual ones
            or the name is that of a product of radiance; or the stated ones differ by band.
    """
    reading = reading or Reading()
    statements, force = read_statements(scene), reading.force
    level = stated_level(statements)
    sampled, valid = sample(scene)
    dn = sampled if valid.all() else sampled[:, valid]
    pixels = _Sample(dn, round(scene.shape[0] * scene.shape[1] * valid.mean()))
    both_given = reading.scale is not None and reading.offset is not None
    stated = Radiometry() if both_given else stated_radiometry(statements, red_for_all=force)
    if stated.guessed and reading.scale is None and not force:
        _refuse_radiance(statements)
    if not dn.size:
        return as_given(reading, stated)
    if reading.scale is None:
        stated = _of_floats(statements, stated, dn, red_for_all=force)
        if reading.offset is None:
            stated = _settle(statements.name, stated, pixels, level)
    radiometry = as_given(reading, stated)
    model = radiometry.to_model(dn)
    picture = radiometry.guessed and scene.dtype == np.uint8 and pixels.count >= LARGE
    if picture and not reading.keep_haze and reading.mask is None:
        dark_object = np.percentile(model, 100 * DARK_OBJECT_QUANTILE, axis=1)
        radiometry = replace(radiometry, haze=uniform_haze(dark_object))
    if radiometry.haze > 0:
        warn(
            RadiometryWarning,
            f"{scene.path}: uniform haze of {100 * radiometry.haze:.0f} % opacity is removed, as "
            "the darkest pixels of the picture are bright and grey; `keep_haze` keeps it",
        )
    elif found := _find_contradiction(statements, radiometry, pixels):
        words, must_be_wrong = found
        if must_be_wrong and not force:
            raise SceneError(f"{scene.path}: {words}; give `force` to run anyway")
        warn(RadiometryWarning, f"{scene.path}: {words}")
    return _with_dark_pixels(radiometry, pixels, model, level)


def _refuse_radiance(statements: Statements) -> None:
    if statements.dtype.kind in "iu" and any(map(is_radiance, statements.names)):
        raise SceneError(
            f"{statements.name}: has the name of PlanetScope radiance; convert it to reflectance "
            "by the coefficients of its metadata, or give `scale`"
        )


def suggest_remedy(scene: Scene, radiometry: Radiometry) -> str:
    """Return the remedy, in words, for a scene taken almost entirely for opaque cloud."""
    if not radiometry.guessed:
        return (
            "if the scene is overcast, give `opaque` keep, or `references` of real ground; "
            f"if not, its scale {radiometry.scale:g} and offset {radiometry.offset:g} "
            f"({radiometry.origin}) are wrong: give `scale` and `offset`"
        )
    return _remedy(read_statements(scene), radiometry)


def _settle(name: str, stated: Radiometry, pixels: _Sample, level: Level | None) -> Radiometry:
    """Return the stated radiometry; if it is a guess, corrected by the pixels.

    A date tells whether Sentinel-2's DN had an offset, but not whether a provider has applied it.
    The level tells how dark the darkest pixels should be.
    """
    if not stated.guessed or stated.scale != SCALE:
        return stated
    dark = pixels.dark(Radiometry())  # without an offset
    if stated.offset == 0:
        if level and _looks_like(level, dark):
            origin = f"{stated.origin}; its darkest pixels are those of {level} without an offset"
            return Radiometry(origin=origin)
        return stated
    ground = dark + stated.offset / SCALE
    if ground[0] < _L2A_LEAST or (level == "L1C" and ground[2] < _L1C_BLUE):
        origin = f"{stated.origin}; its darkest pixels show that the offset is applied"
        return Radiometry(origin=origin)
    warn(
        RadiometryWarning,
        f"{name}: an offset of {stated.offset:g} is assumed, as for Sentinel-2 since "
        "2022; no pixel is too dark for it; if the provider has applied it already, give "
        "`offset` 0",
    )
    return replace(stated, guessed=False)


def _of_floats(
    statements: Statements, stated: Radiometry, dn: NDArray[Any], *, red_for_all: bool
) -> Radiometry:
    """Return the radiometry of floats that hold DN, not reflectance; else the stated one."""
    floats = statements.dtype.kind == "f" and stated.guessed
    if not floats or np.median(dn) <= stated.scale:
        return stated
    # Read them as the same DN in integers.
    integers = replace(statements, dtype=np.dtype(np.uint16))
    found = stated_radiometry(integers, red_for_all=red_for_all)
    if not found.guessed:
        return found
    warn(
        RadiometryWarning,
        f"{statements.name}: its floats are taken for DN of scale {found.scale:g}, not for "
        "reflectance, as most exceed 1; if that is wrong, give `scale`",
    )
    return replace(found, origin=f"floats beyond 1 are taken for DN; {found.origin}")


def _looks_like(level: Level, dark: NDArray[np.floating]) -> bool:
    """Return whether a scene of this level may have darkest pixels of this reflectance: (3,)."""
    red, _, blue = dark
    if level == "L2A":
        low = dark.min() >= _L2A_LEAST
        return bool(low and red <= _L2A_RED and blue - red <= _L2A_EXCESS)
    least, most = _L1C_EXCESS
    within = _L1C_RED[0] <= red <= _L1C_RED[1] and least <= blue - red <= most
    return bool(within and blue >= _L1C_BLUE)


def as_given(reading: Reading, stated: Radiometry) -> Radiometry:
    """Return the stated radiometry, with the scale and offset that the user gives in its place."""
    if reading.scale is None and reading.offset is None:
        return stated
    return Radiometry(
        stated.scale if reading.scale is None else reading.scale,
        stated.offset if reading.offset is None else reading.offset,
    )


def _with_dark_pixels(
    radiometry: Radiometry, pixels: _Sample, model: NDArray[np.float32], level: Level | None
) -> Radiometry:
    """Return the radiometry with the path radiance already removed and the dark object.

    Args:
        model: float32 (3, count), the pixels in model range.
        level: the product's level; None: not known.
    """
    dark = pixels.dark(radiometry) / MODEL_WHITE  # below 0 in some L2A scenes
    ground = radiometry.without_haze(dark.astype(np.float32))
    removed = measure_path_radiance_removed(ground, level)
    radiometry = replace(radiometry, path_radiance_removed=removed)
    model_input = radiometry.to_network(model[:, None])[:, 0]  # (3, count)
    return replace(radiometry, dark_object=find_dark_object(model_input, pixels.count))


def _find_contradiction(
    statements: Statements, radiometry: Radiometry, pixels: _Sample
) -> tuple[str, bool] | None:
    """Return how the pixels contradict the radiometry; None: they do not.

    Returns:
        a message with a remedy, and True if the radiometry is a guess that must be wrong.
    """
    highest = float(pixels.dn.max())
    guessed = radiometry.guessed and highest != 0  # black pixels prove nothing
    bright, origin = pixels.bright(radiometry), radiometry.origin
    if bright < _BLACK or (guessed and radiometry.scale == SCALE and highest <= _BYTE):
        remedy = _remedy(statements, radiometry, highest)
        return (
            f"its brightest pixels have reflectance {bright:.3f} at a scale of "
            f"{radiometry.scale:g} ({origin}); "
            f"{remedy if guessed else 'if that is wrong, give `scale`'}"
        ), guessed
    red = float(pixels.dark(radiometry)[0])
    if guessed and red > _HAZY and statements.dtype != np.uint8:
        return _explain_brightness(statements, radiometry, pixels, highest)
    if (middle := pixels.middle(radiometry)).min() < _BLACKER:
        medians = ", ".join(f"{median:.3f}" for median in middle)
        applied = "if the provider has applied it, give `offset` 0; " if radiometry.offset else ""
        return (
            f"its red, green and blue have median reflectances of {medians} with an offset of "
            f"{radiometry.offset:g} ({origin}); {applied}if the provider has applied one twice, "
            f"give `offset` {-BASELINE_4_OFFSET / SCALE * radiometry.scale:g}"
        ), guessed and bool(middle.max() < _BLACKER)
    if red < _BELOW_BLACK and radiometry.offset:
        return (
            f"its darkest pixels have reflectance {red:.2f} with an offset of "
            f"{radiometry.offset:g} ({origin}); if the DN have it already, give `offset` 0"
        ), False
    return None


def _explain_brightness(
    statements: Statements, radiometry: Radiometry, pixels: _Sample, highest: float
) -> tuple[str, bool]:
    """Return why the darkest pixels are bright: an offset, cloud or haze; and True if an offset.

    Args:
        radiometry: a guess.
        highest: highest DN of the scene.
    """
    dark = pixels.dark(radiometry)
    found = f"its darkest pixels have reflectance {dark[0]:.2f}"
    without = dark + BASELINE_4_OFFSET / SCALE
    shifted = any(_looks_like(level, without) for level in ("L2A", "L1C"))
    if shifted and pixels.count >= _CHIP:
        found += f", as with an offset that is not stated ({radiometry.origin})"
        return f"{found}; {_remedy(statements, radiometry, highest)}", True
    if dark[0] > _OVERCAST:
        remedy = "if that is wrong, give `scale` and `offset`"
        return f"{found}, as under opaque cloud; {remedy}", False
    remedy = "if its DN have an offset like Sentinel-2's since 2022, give `offset`"
    return f"{found}, as under haze; {remedy} {BASELINE_4_OFFSET:g}", False


def _remedy(statements: Statements, radiometry: Radiometry, highest: float = math.inf) -> str:
    if highest < 0:
        return (
            "its values are not reflectance, maybe decibels; convert them, or give `scale` and "
            "`offset`"
        )
    if statements.dtype == np.uint8:
        return "if its white is not cloud, give `scale`, the DN of reflectance 1"
    if radiometry.scale == 1:
        offset = BASELINE_4_OFFSET / SCALE
        return (
            f"give `offset`: {offset:g} for Sentinel-2 since 2022, else 0; for percent, give "
            f"`scale` {PERCENT_SCALE}"
        )
    return suggest_radiometry(statements.names, highest)
