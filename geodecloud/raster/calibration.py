"""Calibrate a scene: its scale and offset, and what its pixels tell about the atmosphere."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import RadiometryWarning, warn
from geodecloud.radiometry import (
    BASELINE_4_OFFSET,
    DARK_OBJECT_QUANTILE,
    LARGE,
    MODEL_WHITE,
    Level,
    Radiometry,
    find_dark_object,
    measure_path_radiance_removed,
    uniform_haze,
)
from geodecloud.raster.scene import Scene
from geodecloud.raster.statements import read_statements, stated_level, stated_radiometry
from geodecloud.settings import Reading

# Percentiles of the scene's DN that stand for its darkest and its brightest pixels.
_DARK, _BRIGHT = 0.5, 98
_HAZY = 0.08  # reflectance; no clear scene's darkest pixels are brighter in red
_BELOW_BLACK = -0.05  # reflectance; darker is no noise, but an offset too many
_BLACK = 0.02  # reflectance; a scene whose bright pixels are darker has another scale


def calibrate(scene: Scene, reading: Reading | None = None) -> Radiometry:
    """Return a scene's radiometry: as the user gives it, else as the file states it.

    The scene's pixels give the rest: the removed path radiance and the dark object, and the
    uniform haze of an 8-bit picture that nothing else is known of. Warns of a haze, and where
    scale and offset contradict the pixels.

    Args:
        reading: ``scale`` and ``offset``; None: as the file states them. With ``keep_haze``, or
            with a ``mask`` of the cloud, no haze is looked for.
    """
    reading = reading or Reading()
    statements = read_statements(scene)
    overview, valid = scene.overview()
    dn = overview[:, valid]  # (3, count)
    stated = stated_radiometry(statements)
    if not dn.size:
        return _as_given(reading, stated)
    if reading.scale is None and scene.dtype.kind == "f" and np.median(dn) > stated.scale:
        warn(
            RadiometryWarning,
            f"{scene.path}: its floats are taken for DN of 10000, not for reflectance, as most "
            "exceed 1; if that is wrong, give `scale`",
        )
        stated = Radiometry(guessed=True, origin="floats beyond 1 are taken for DN")
    radiometry = _as_given(reading, stated)
    pixels = round(scene.shape[0] * scene.shape[1] * valid.mean())
    model = radiometry.to_model(dn)
    picture = radiometry.guessed and scene.dtype == np.uint8 and pixels >= LARGE
    if picture and not reading.keep_haze and reading.mask is None:
        dark_object = np.percentile(model, 100 * DARK_OBJECT_QUANTILE, axis=1)
        radiometry = replace(radiometry, haze=uniform_haze(dark_object))
    if radiometry.haze > 0:
        warn(
            RadiometryWarning,
            f"{scene.path}: a uniform haze of {100 * radiometry.haze:.0f} % opacity lies over the "
            "whole picture, as its darkest pixels are bright and grey; it is removed; `keep_haze` "
            "keeps it",
        )
    elif radiometry is stated:
        _warn_of_contradictions(scene, radiometry, dn)
    return _with_dark_pixels(radiometry, dn, model, pixels, stated_level(statements))


def _as_given(reading: Reading, stated: Radiometry) -> Radiometry:
    if reading.scale is None and reading.offset is None:
        return stated
    return Radiometry(
        stated.scale if reading.scale is None else reading.scale,
        stated.offset if reading.offset is None else reading.offset,
    )


def _reflectance(radiometry: Radiometry, dn: NDArray[Any], percentile: float, **how: Any) -> Any:
    return (np.percentile(dn, percentile, **how) + radiometry.offset) / radiometry.scale


def _with_dark_pixels(
    radiometry: Radiometry,
    dn: NDArray[Any],
    model: NDArray[np.float32],
    pixels: int,
    level: Level | None,
) -> Radiometry:
    """Return the radiometry with the removed path radiance and the dark object.

    Args:
        dn, model: (3, count), the scene's pixels as DN and in model range.
        pixels: number of valid pixels of the scene.
        level: of the product; None: not known.
    """
    dark = _reflectance(radiometry, dn, _DARK, axis=1) / MODEL_WHITE  # below 0 in some L2A scenes
    ground = radiometry.without_haze(dark.astype(np.float32))
    removed = measure_path_radiance_removed(ground, level)
    radiometry = replace(radiometry, path_radiance_removed=removed)
    model_input = radiometry.to_network(model[:, None])[:, 0]  # (3, count)
    return replace(radiometry, dark_object=find_dark_object(model_input, pixels))


def _warn_of_contradictions(scene: Scene, radiometry: Radiometry, dn: NDArray[Any]) -> None:
    """Warn where the darkest red or the brightest pixels have impossible reflectances."""
    dark = float(_reflectance(radiometry, dn, _DARK, axis=1)[0])
    bright = float(_reflectance(radiometry, dn, _BRIGHT))
    if bright < _BLACK:
        warn(
            RadiometryWarning,
            f"{scene.path}: its brightest pixels have reflectance {bright:.3f} at a scale of "
            f"{radiometry.scale:g} ({radiometry.origin}); if that is wrong, give `scale`",
        )
    elif dark > _HAZY and radiometry.guessed:
        warn(
            RadiometryWarning,
            f"{scene.path}: its darkest pixels have reflectance {dark:.2f}; if its DN have an "
            f"offset like Sentinel-2's from baseline 04.00 on, give `offset` {BASELINE_4_OFFSET:g}",
        )
    elif dark < _BELOW_BLACK and radiometry.offset:
        warn(
            RadiometryWarning,
            f"{scene.path}: its darkest pixels have reflectance {dark:.2f} with an offset of "
            f"{radiometry.offset:g} ({radiometry.origin}); if the DN have it already, give "
            "`offset` 0",
        )
