"""Read what a file states about its values: scale, offset and product level.

Providers differ: one delivers a Sentinel-2 scene with an offset of -1000, another delivers the same
scene with the offset applied. So written statements count, the surest first. If a date is all that
is stated, the pixels decide, see :mod:`geodecloud.raster.calibration`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np

from geodecloud.errors import RadiometryWarning, SceneError, warn
from geodecloud.radiometry import (
    BASELINE_4_OFFSET,
    L1C_TCI_SCALE,
    L2A_TCI_SCALE,
    SCALE,
    Level,
    Radiometry,
    guess_radiometry,
)
from geodecloud.raster.mtl import read_rescaling
from geodecloud.raster.products import (
    FIRST_OFFSET,
    HLS,
    Product,
    find_date,
    find_product,
    find_sentinel_date,
    is_harmonized,
    is_sentinel_2,
    plain_tags,
)
from geodecloud.raster.scene import Scene
from geodecloud.raster.validity import TCI

T = TypeVar("T")
TAG = "GEODECLOUD_"  # prefix of geodecloud's own tags

# Sentinel-2's tags, as GDAL's driver and converters write them. Keys are compared in upper case and
# without a prefix, so that STAC's "s2:processing_baseline" matches, too.
_OFFSETS = ("BOA_ADD_OFFSET", "RADIO_ADD_OFFSET")
_SCALES = ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
_BASELINE = "PROCESSING_BASELINE"
_BASELINE_IN_NAME = re.compile(r"_N(\d{4})(?=[_.])")  # of a product: S2A_MSIL2A_..._N0400_R023_...
# Tags by which providers say that they have applied the offset: Earth Search, Sentinel Hub.
_APPLIED = ("BOA_OFFSET_APPLIED", "HARMONIZE_VALUES", "HARMONIZEVALUES")
# Tags that hold a product's name, its platform, or the time of acquisition.
_NAMES = ("LANDSAT_PRODUCT_ID", "PRODUCT_URI", "PRODUCT_ID", "SYSTEM:INDEX", "ID", "COLLECTION")
_PLATFORMS = ("PLATFORM", "CONSTELLATION", "SPACECRAFT_NAME", "DATATAKE_1_SPACECRAFT_NAME")
_TIMES = ("PRODUCT_START_TIME", "DATATAKE_1_DATATAKE_SENSING_START", "SENSING_TIME", "DATETIME")
_TCI_SCALES = {"L1C": L1C_TCI_SCALE, "L2A": L2A_TCI_SCALE}
# In a name, PROCESSING_LEVEL or PRODUCT_TYPE: MSIL2A, _L1C_, Level-2A, S2MSI2A. Of the files in a
# product only those of level 2A are named with their resolution.
_LEVEL = re.compile(r"(?:Level-|MSIL?|(?<![A-Za-z0-9])L)(1C|2A)(?![A-Za-z0-9])")
_OF_L2A = re.compile(r"_(?:B\d\d|TCI)_\d0m(?![A-Za-z0-9])")
_PRODUCT_DEPTH = 6  # parts of a path, from a product's folder to the files of its bands


@dataclass(frozen=True)
class Statements:
    """Statements of a file about its values.

    name: the file's name with its folders, which may state something, and for messages.
    tags: tags of the file.
    band_tags: tags of red, green and blue.
    scales, offsets: GDAL's, of red, green and blue: value = DN * scale + offset.
    files: the files that it is made of, with their folders.
    descriptions: band descriptions of red, green and blue.
    """

    name: str
    dtype: np.dtype[Any]
    tags: Mapping[str, str]
    band_tags: Sequence[Mapping[str, str]]
    scales: Sequence[float]
    offsets: Sequence[float]
    files: Sequence[str] = ()
    descriptions: Sequence[str | None] = ()

    @property
    def names(self) -> list[str]:
        """Names of the file, of the files it is made of, and of its product by its tags."""
        tags = plain_tags(self.tags)
        ends = dict.fromkeys(_end_of_name(name) for name in (self.name, *self.files))
        return [*ends, *(tags[key] for key in _NAMES if key in tags)]

    @property
    def product(self) -> Product | None:
        """The file's product, other than Sentinel-2's own; None: not known."""
        return find_product(self.names, list(plain_tags(self.tags)), self.descriptions)


def read_statements(scene: Scene) -> Statements:
    """Return what the file of a scene states about red, green and blue."""
    dataset = scene.dataset
    return Statements(
        name=str(scene.path),
        dtype=scene.dtype,
        tags=dataset.tags(),
        band_tags=[dataset.tags(band) for band in scene.bands],
        scales=[dataset.scales[i] for i in scene.rgb],
        offsets=[dataset.offsets[i] for i in scene.rgb],
        files=scene.files,
        descriptions=[dataset.descriptions[i] for i in scene.rgb],
    )


def stated_radiometry(statements: Statements, *, red_for_all: bool = True) -> Radiometry:
    """Return the surest statement's scale and offset, else what the dtype alone suggests.

    In order: the tags of an earlier run, a provider's statement that the offset is applied,
    Sentinel-2's metadata, GDAL's scale and offset. Then Landsat's metadata, the product's name, and
    Sentinel-2's date. The date is only a guess (``guessed``), as providers differ.

    Args:
        red_for_all: where red, green and blue have different scales or offsets, warn, and take
            red's for all.

    Raises:
        SceneError: red, green and blue have different ones, and ``red_for_all`` is not set.
    """
    for source in (
        _of_earlier_run,
        _of_provider,
        partial(_of_sentinel_metadata, red_for_all=red_for_all),
        partial(_of_gdal_fields, red_for_all=red_for_all),
        partial(_of_landsat_metadata, red_for_all=red_for_all),
        _of_name,
        _of_date,
    ):
        if found := source(statements):
            return found
    return guess_radiometry(statements.dtype)


def stated_level(statements: Statements) -> Level | None:
    """Return the level of the file's product, by its metadata or its name; None: not known."""
    tags = plain_tags(statements.tags)
    for band in statements.band_tags:
        tags |= plain_tags(band)
    if any(key.startswith("BOA_") for key in tags):
        return "L2A"
    if "RADIO_ADD_OFFSET" in tags:
        return "L1C"
    if product := statements.product:
        return product.level
    name = "/".join(map(_end_of_name, dict.fromkeys((statements.name, *statements.files))))
    words = [tags.get("PROCESSING_LEVEL", ""), tags.get("PRODUCT_TYPE", ""), name]
    found = next(filter(None, map(_LEVEL.findall, words)), None)
    if found:  # the last one: a file's own name is surer than its folder's
        return "L1C" if found[-1] == "1C" else "L2A"
    return "L2A" if _OF_L2A.search(name) else None


def _end_of_name(name: str) -> str:
    return "/".join(re.split(r"[/\\]", name)[-_PRODUCT_DEPTH:])


def _of_earlier_run(statements: Statements) -> Radiometry | None:
    tags = statements.tags
    if tags.get(f"{TAG}DTYPE") != str(statements.dtype):  # converted since: the tags are stale
        return None
    try:
        scale, offset = float(tags[f"{TAG}SCALE"]), float(tags[f"{TAG}OFFSET"])
        return Radiometry(scale, offset, origin="the tags of an earlier run")
    except (KeyError, ValueError):
        message = f"{statements.name}: its {TAG}SCALE and {TAG}OFFSET tags are not numbers"
        warn(RadiometryWarning, message)
        return None


def _of_provider(statements: Statements) -> Radiometry | None:
    if not _holds_sentinels_dn(statements.dtype) or statements.product:
        return None
    tags = plain_tags(statements.tags)
    applied = [key for key in _APPLIED if tags.get(key, "").lower() in ("true", "1", "yes")]
    if applied:
        return Radiometry(SCALE, 0.0, origin=f"the tag {applied[0]}: the offset is applied")
    if any(map(is_harmonized, statements.names)):
        return Radiometry(SCALE, 0.0, origin="the name: harmonized, so the offset is applied")
    return None


def _of_sentinel_metadata(statements: Statements, *, red_for_all: bool) -> Radiometry | None:
    # HLS keeps the tags of the Sentinel-2 product that it was made from.
    if not _holds_sentinels_dn(statements.dtype) or statements.product == HLS:
        return None
    tags = plain_tags(statements.tags)
    try:
        scale = _first(tags, _SCALES)
        by_band = [_first(plain_tags(band), _OFFSETS) for band in statements.band_tags]
        stated = [by if by is not None else _first(tags, _OFFSETS) for by in by_band]
        baseline = _first(tags, [_BASELINE])
        if None in stated and baseline is None:
            return None
        implied = BASELINE_4_OFFSET if baseline and baseline >= 4 else 0.0
        offsets = [implied if offset is None else offset for offset in stated]
        offset = _of_red(statements.name, offsets, "offsets", red_for_all)
        scale = SCALE if scale is None else scale
        return Radiometry(scale, offset, origin="the product's metadata")
    except ValueError:
        message = f"{statements.name}: its {_BASELINE}, scale or offset tags are not usable numbers"
        warn(RadiometryWarning, message)
        return None


def _of_gdal_fields(statements: Statements, *, red_for_all: bool) -> Radiometry | None:
    pairs = [
        (scale or 1.0, offset)
        for scale, offset in zip(statements.scales, statements.offsets, strict=True)
    ]
    scale, offset = _of_red(statements.name, pairs, "scales and offsets", red_for_all)
    origin = "the file's scale and offset"
    if scale < 0 or not np.isfinite([scale, offset]).all():
        message = f"{statements.name}: its scale {scale:g} and offset {offset:g} are of no use"
        warn(RadiometryWarning, message)
        return None
    if scale != 1:
        return Radiometry(1 / scale, offset / scale, origin=origin)
    if not offset:
        return None
    # An offset without a scale is in DN, as Sentinel-2's own is.
    return Radiometry(guess_radiometry(statements.dtype).scale, offset, origin=origin)


def _of_landsat_metadata(statements: Statements, *, red_for_all: bool) -> Radiometry | None:
    if statements.dtype.kind not in "iu":
        return None
    found = read_rescaling(statements.files, statements.tags)
    if not found:
        return None
    scale, offset = _of_red(statements.name, found, "Landsat's scales", red_for_all)
    return Radiometry(1 / scale, offset / scale, origin="Landsat's metadata (MTL)")


def _of_name(statements: Statements) -> Radiometry | None:
    name = _end_of_name(statements.name)
    level = stated_level(statements)
    if level and statements.dtype == np.uint8 and TCI.search(PurePath(name).stem):
        return Radiometry(_TCI_SCALES[level], origin=f"the stretch of an {level} TCI, by its name")
    if not _holds_sentinels_dn(statements.dtype):
        return None
    if product := statements.product:
        return Radiometry(product.scale, product.offset, origin=f"the name: {product.name}")
    for name in statements.names:
        if baselines := _BASELINE_IN_NAME.findall(name):
            offset = BASELINE_4_OFFSET if int(baselines[-1]) >= 400 else 0.0
            return Radiometry(SCALE, offset, origin=f"the name: N{baselines[-1]}")
    return None


def _of_date(statements: Statements) -> Radiometry | None:
    day = _sentinel_date(statements) if _holds_sentinels_dn(statements.dtype) else None
    if day is None:
        return None
    offset = BASELINE_4_OFFSET if day >= FIRST_OFFSET else 0.0
    return Radiometry(SCALE, offset, origin=f"the date: Sentinel-2 of {day}", guessed=True)


def _sentinel_date(statements: Statements) -> date | None:
    """Return the day when Sentinel-2 took the scene, by its tags or its name; None: not known."""
    tags = plain_tags(statements.tags)
    if any(is_sentinel_2(tags.get(key, "")) for key in _PLATFORMS):
        days = (find_date(tags[key]) for key in _TIMES if key in tags)
        if day := next(filter(None, days), None):
            return day
    return find_sentinel_date(statements.names)


def _of_red(name: str, by_band: Sequence[T], what: str, red_for_all: bool) -> T:
    """Return the value of red; if the bands differ, warn or refuse, see :func:`stated_radiometry`.

    Args:
        name: of the file.
        by_band: values of red, green and blue.
        what: the values' name.
    """
    if len(set(by_band)) > 1:
        found = f"{name}: {what} differ by band ({', '.join(map(str, by_band))})"
        if not red_for_all:
            raise SceneError(
                f"{found}; convert red, green and blue to one scale, or give `scale` and `offset`"
            )
        warn(RadiometryWarning, f"{found}; red's are taken")
    return by_band[0]


def _holds_sentinels_dn(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype can hold Sentinel-2's DN: integers of more than 8 bits."""
    return dtype.kind in "iu" and dtype.itemsize > 1


def _first(tags: Mapping[str, str], keys: Sequence[str]) -> float | None:
    return next((float(tags[key]) for key in keys if key in tags), None)
