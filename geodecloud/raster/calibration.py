"""A scene's scale and offset: what the user says, else its tags, GDAL's fields, its name.

Providers differ, and dates tell nothing: the same Sentinel-2 scene has an offset of -1000 from one
and, already applied, none from another. So only what is written counts, the surest first.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from geodecloud.errors import UsageError
from geodecloud.radiometry import (
    BASELINE_4_OFFSET,
    DARK_OBJECT_SHARE,
    L1C_TCI_SCALE,
    L2A_TCI_SCALE,
    LARGE,
    MODEL_WHITE,
    SCALE,
    Level,
    Radiometry,
    find_dark_object,
    guess_radiometry,
    measure_path_radiance_removed,
    uniform_haze,
)
from geodecloud.raster.scene import Scene

log = logging.getLogger("geodecloud")

TAG = "GEODECLOUD_"  # prefix of the tags that this tool writes

# Sentinel-2's own words, as GDAL's driver and what converts with it write them. Keys are compared
# in capitals and without a prefix, so that STAC's "s2:processing_baseline" is known too.
_OFFSETS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
_SCALES = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
_BASELINE = "PROCESSING_BASELINE"
_BASELINE_IN_NAME = re.compile(r"_N(\d{4})(?=[_.])")  # of a product: S2A_MSIL2A_..._N0400_R023_...
_TCI = re.compile(r"(?:^|[_.-])TCI(?:[_.-]|$)", re.IGNORECASE)
_TCI_SCALES = {"L1C": L1C_TCI_SCALE, "L2A": L2A_TCI_SCALE}
# In a name, PROCESSING_LEVEL or PRODUCT_TYPE: MSIL2A, _L1C_, Level-2A, S2MSI2A. Of the files in a
# product only those of level 2A are named with their resolution.
_LEVEL = re.compile(r"(?:Level-|MSIL?|(?<![A-Za-z0-9])L)(1C|2A)(?![A-Za-z0-9])")
_OF_L2A = re.compile(r"_(?:B\d\d|TCI)_\d0m(?![A-Za-z0-9])")
_HAZY = 0.08  # reflectance; no clear scene's darkest pixels are brighter in red
_BELOW_BLACK = -0.05  # reflectance; darker is no noise, but an offset too many


@dataclass(frozen=True)
class Statements:
    """All that a file says of its values.

    tags: of the file, and of red, green and blue.
    scales, offsets: GDAL's, of red, green and blue: value = DN * scale + offset.
    name: of the file, with its folders, for messages and for what it tells.
    """

    name: str
    dtype: np.dtype[Any]
    tags: Mapping[str, str]
    band_tags: Sequence[Mapping[str, str]]
    scales: Sequence[float]
    offsets: Sequence[float]


def scene_radiometry(
    scene: Scene, scale: float | None, offset: float | None, *, keep_veil: bool = False
) -> Radiometry:
    """What the user says, else what the file does.

    Whether the air's light has been taken away is read off the darkest pixels, and of an 8-bit
    picture that nothing else is known of, whether a veil lies over all of it. Warns of a veil, and
    where the result contradicts the picture.

    Args:
        keep_veil: look for none.
    """
    said = statements(scene)
    stated = stated_radiometry(said)
    overview, valid = scene.overview()
    dn = overview[:, valid]  # (3, count)
    if not dn.size:
        return _as_the_user_says(stated, scale, offset)
    if scale is None and scene.dtype.kind == "f" and np.median(dn) > stated.scale:
        log.warning("%s holds DN of 10000 and no reflectances, it seems (--scale)", scene.path)
        stated = Radiometry(guessed=True, origin="floats beyond 1 are taken for DN")
    used = _as_the_user_says(stated, scale, offset)
    pixels = round(scene.shape[0] * scene.shape[1] * valid.mean())
    model = used.to_model(dn)
    dark = (np.percentile(dn, 0.5, axis=1) + used.offset) / used.scale
    if used.guessed and scene.dtype == np.uint8 and pixels >= LARGE and not keep_veil:
        used = replace(
            used, haze=uniform_haze(np.percentile(model, 100 * DARK_OBJECT_SHARE, axis=1))
        )
    if used.haze > 0:
        log.warning(
            "%s: an even veil lies over the whole picture, its darkest pixels are bright and grey; "
            "%.0f %% of opacity are taken away (--keep-veil leaves it)",
            *(scene.path, 100 * used.haze),
        )
    elif used is stated:
        bright = (np.percentile(dn, 98) + used.offset) / used.scale
        _warn_of_contradictions(scene, used, float(dark[0]), float(bright))
    bare = used.without_haze((dark / MODEL_WHITE).astype(np.float32))  # below 0 in some L2A scenes
    used = replace(
        used, path_radiance_removed=measure_path_radiance_removed(bare, stated_level(said))
    )
    seen = used.to_network(model[:, None])[:, 0]  # (3, count)
    return replace(used, dark_object=find_dark_object(seen, pixels))


def _as_the_user_says(stated: Radiometry, scale: float | None, offset: float | None) -> Radiometry:
    if scale is None and offset is None:
        return stated
    return Radiometry(
        stated.scale if scale is None else scale, stated.offset if offset is None else offset
    )


def _warn_of_contradictions(scene: Scene, used: Radiometry, dark: float, bright: float) -> None:
    """Say so where the darkest red or the brightest pixels, as reflectance, cannot be."""
    if bright < 0.02:
        log.warning(
            "%s: reflectances of at most %.3f, with %g DN to 1 (%s); if wrong, name --scale",
            *(scene.path, bright, used.scale, used.origin),
        )
    elif dark > _HAZY and used.guessed:
        log.warning(
            "%s: its darkest pixels have reflectance %.2f; if its DN have an offset "
            "(Sentinel-2 from baseline 04.00 on: --offset %g), name it",
            *(scene.path, dark, BASELINE_4_OFFSET),
        )
    elif dark < _BELOW_BLACK and used.offset:
        log.warning(
            "%s: its darkest pixels have reflectance %.2f with an offset of %g (%s); if that has "
            "been applied already, --offset 0",
            *(scene.path, dark, used.offset, used.origin),
        )


def statements(scene: Scene) -> Statements:
    """What the file of a scene says of red, green and blue."""
    dataset = scene.dataset
    return Statements(
        name=str(scene.path),
        dtype=scene.dtype,
        tags=dataset.tags(),
        band_tags=[dataset.tags(band) for band in scene.bands],
        scales=[dataset.scales[i] for i in scene.rgb],
        offsets=[dataset.offsets[i] for i in scene.rgb],
    )


def stated_radiometry(said: Statements) -> Radiometry:
    """The surest statement, else what the dtype alone suggests.

    Surest are the tags of an earlier run; then Sentinel-2's metadata, GDAL's scale and offset, the
    processing baseline or the stretch that the file's name tells.
    """
    for ask in (_earlier_run, _sentinel, _gdal, _name):
        if found := ask(said):
            return found
    return guess_radiometry(said.dtype)


def stated_level(said: Statements) -> Level | None:
    """The level of the product that the file is, or is part of, by its metadata or its name."""
    tags = _plain({key: value for of in (said.tags, *said.band_tags) for key, value in of.items()})
    if any(key.startswith("BOA_") for key in tags):
        return "L2A"
    if "RADIO_ADD_OFFSET" in tags:
        return "L1C"
    words = [tags.get("PROCESSING_LEVEL", ""), tags.get("PRODUCT_TYPE", ""), _end_of_name(said)]
    found = next(filter(None, map(_LEVEL.findall, words)), None)
    if found:  # the last one: a file's own name is surer than its folder's
        return "L1C" if found[-1] == "1C" else "L2A"
    return "L2A" if _OF_L2A.search(words[-1]) else None


def _end_of_name(said: Statements) -> str:
    """A file of a product lies four folders deep in it."""
    return "/".join(re.split(r"[/\\]", said.name)[-6:])


def _earlier_run(said: Statements) -> Radiometry | None:
    if said.tags.get(f"{TAG}DTYPE") != str(said.dtype):  # converted since: the tags are stale
        return None
    try:
        scale, offset = float(said.tags[f"{TAG}SCALE"]), float(said.tags[f"{TAG}OFFSET"])
        return Radiometry(scale, offset, origin="the tags of an earlier run")
    except (KeyError, ValueError, UsageError):
        log.warning("%s: its %sSCALE and OFFSET tags are not numbers", said.name, TAG)
        return None


def _sentinel(said: Statements) -> Radiometry | None:
    if not holds_sentinels_dn(said.dtype):
        return None
    tags = _plain(said.tags)
    try:
        scale = next((float(tags[key]) for key in _SCALES if key in tags), SCALE)
        by_band = [_first(_plain(band), _OFFSETS) for band in said.band_tags]
        stated = [by if by is not None else _first(tags, _OFFSETS) for by in by_band]
        baseline = float(tags[_BASELINE]) if _BASELINE in tags else None
        if None in stated and baseline is None:
            return None
        implied = BASELINE_4_OFFSET if baseline and baseline >= 4 else 0.0
        offsets = [implied if offset is None else offset for offset in stated]
        if len(set(offsets)) > 1:
            log.warning("%s: offsets differ by band %s: red's is taken", said.name, offsets)
        return Radiometry(scale, offsets[0], origin="the product's metadata")
    except (ValueError, UsageError):
        log.warning("%s: its %s or offset tags are not numbers", said.name, _BASELINE)
        return None


def _gdal(said: Statements) -> Radiometry | None:
    pairs = [(s or 1.0, o) for s, o in zip(said.scales, said.offsets, strict=True)]
    if len(set(pairs)) > 1:
        log.warning("%s: scales and offsets differ by band: red's are taken", said.name)
    scale, offset = pairs[0]
    origin = "the file's scale and offset"
    if scale < 0 or not np.isfinite([scale, offset]).all():
        log.warning("%s: scale %g and offset %g are of no use", said.name, scale, offset)
        return None
    if scale != 1:
        return Radiometry(1 / scale, offset / scale, origin=origin)
    # A bare offset is one of the DN, as Sentinel-2's own is.
    return Radiometry(guess_radiometry(said.dtype).scale, offset, origin=origin) if offset else None


def _name(said: Statements) -> Radiometry | None:
    name = _end_of_name(said)
    level = stated_level(said)
    if level and said.dtype == np.uint8 and _TCI.search(PurePath(name).stem):
        return Radiometry(_TCI_SCALES[level], origin=f"the stretch of a {level} TCI, by its name")
    baselines = _BASELINE_IN_NAME.findall(name)
    if baselines and holds_sentinels_dn(said.dtype):
        offset = BASELINE_4_OFFSET if int(baselines[-1]) >= 400 else 0.0
        return Radiometry(SCALE, offset, origin=f"the name: N{baselines[-1]}")
    return None


def holds_sentinels_dn(dtype: np.dtype[Any]) -> bool:
    """Whether DN of this dtype may be Sentinel-2's: integers of more than 8 bits."""
    return dtype.kind in "iu" and dtype.itemsize > 1


def _plain(tags: Mapping[str, str]) -> dict[str, str]:
    return {key.rpartition(":")[2].upper(): value for key, value in tags.items()}


def _first(tags: Mapping[str, str], keys: Sequence[str]) -> float | None:
    return next((float(tags[key]) for key in keys if key in tags), None)
