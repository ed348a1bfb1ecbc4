"""The form of a new file: format, blocks, compression."""

import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from geodecloud.errors import UsageError
from geodecloud.raster.scene import Scene
from geodecloud.settings import Output

log = logging.getLogger("geodecloud")

_LOSSY = ("jpeg", "ycbcr jpeg", "webp", "lerc", "lerc_deflate", "lerc_zstd", "jxl", "jpeg2000")
_KEPT_PROFILE = ("nodata", "crs", "dtype", "count")
_LAYOUT = ("tiled", "blockxsize", "blockysize")
_BLOCK = 256  # pixels, of tiles where the scene has none


@dataclass(frozen=True)
class Form:
    """What is asked of the output's format.

    driver: GDAL's name.
    options: GDAL's creation options, names in small letters, that override what would be chosen.
    """

    driver: Literal["GTiff", "COG"] = "GTiff"
    options: dict[str, str] = field(default_factory=dict)

    def cog_options(self, profile: dict[str, Any], resampling: str) -> dict[str, str]:
        """For a copy, by the COG driver, of a file that has this profile.

        Args:
            resampling: of the overviews, as GDAL names it.
        """
        chosen = {"COMPRESS": str(profile["compress"]), "BIGTIFF": "IF_SAFER"}
        if profile["predictor"] != 1:
            chosen["PREDICTOR"] = "YES"  # which one follows from the type
        chosen["OVERVIEW_RESAMPLING"] = resampling
        return chosen | {name.upper(): value for name, value in self.options.items()}


GTIFF = Form()


def parse_form(name: str, options: Iterable[str]) -> Form:
    """The form of ``--format`` and ``--co``: "gtiff" or "cog", and "KEY=VALUE" each.

    Raises:
        UsageError: another format, no pair, or none that GDAL knows.
    """
    drivers: dict[str, Literal["GTiff", "COG"]] = {"gtiff": "GTiff", "cog": "COG"}
    if name not in drivers:
        raise UsageError(f"format is {name!r}: it must be gtiff or cog")
    pairs = {}
    for option in options:
        if not re.fullmatch(r"\w+=.*", option):
            raise UsageError(f"co is {option!r}: give a pair like COMPRESS=ZSTD")
        key, _, value = option.partition("=")
        pairs[key.lower()] = value
    if pairs.get("compress", "").lower() == "jpeg":
        raise UsageError("co is COMPRESS=JPEG: it would change the pixels that were clear")
    for option in ("tfw", "worldfile"):
        if pairs.get(option, "no").lower() not in ("no", "off", "false"):
            raise UsageError(f"co is {option.upper()}: a second file; gdal_translate can write it")
    form = Form(drivers[name], pairs)
    if pairs:
        _try(form)
    return form


def form_of(output: Output) -> Form:
    """Return the form that the settings ask for.

    Raises:
        UsageError: a creation option that GDAL does not know.
    """
    return parse_form(output.format, output.creation_options)


def _try(form: Form) -> None:
    """Write a tiny file in memory, as GDAL only logs that it does not know an option.

    Raises:
        UsageError: it does not know one, or its value.
    """
    options = {key.upper(): value for key, value in form.options.items()}
    if not options.get("BLOCKSIZE", "512").isdigit():  # GDAL 3.10 ends the process at BLOCKSIZE=x
        raise UsageError(f"co is BLOCKSIZE={options['BLOCKSIZE']}: give a number like 512")
    tiny = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": "uint8"}
    of_gtiff = options if form.driver == "GTiff" else {}
    try:
        with _messages() as said, MemoryFile() as file, MemoryFile() as target:
            with file.open(**tiny, **of_gtiff) as out:
                out.write(np.zeros((3, 64, 64), np.uint8))
            if form.driver == "COG":
                copy(file.name, target.name, driver="COG", **options)
    except (RasterioError, ValueError) as error:
        said = [str(error.__cause__ or error)]
    if said:
        raise UsageError(f"co is {', '.join(f'{k}={v}' for k, v in options.items())}: {said[0]}")


@contextmanager
def _messages() -> Iterator[list[str]]:
    """What GDAL warns of while the ``with`` block runs."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio._env")
    before = logger.level, logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def profile_of(scene: Scene, form: Form) -> dict[str, Any]:
    """Creation options for a file like the scene: grid, type, blocks, compression.

    A COG is copied from such a file, so the options of its form do not apply to it.
    """
    source = scene.dataset
    height, width = scene.shape
    profile = {key: source.profile[key] for key in _KEPT_PROFILE if key in source.profile}
    profile |= {"driver": "GTiff", "BIGTIFF": "IF_SAFER"}
    profile |= {"height": height, "width": width, "transform": scene.transform}
    profile |= _layout(source) | _compression(scene)
    if source.colorinterp[0] == ColorInterp.red:
        profile["photometric"] = "RGB"
    if form.driver == "COG":
        return profile
    if set(form.options) & set(_LAYOUT):
        profile = {key: value for key, value in profile.items() if key not in _LAYOUT}
    if "compress" in form.options:
        profile.pop("predictor", None)
    return profile | form.options


def _layout(source: Any) -> dict[str, Any]:
    """Strips or tiles, and how bands lie in them: as in a GeoTIFF, else tiles."""
    if source.driver != "GTiff":
        return {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK}
    height, width = source.block_shapes[0]
    layout = {"blockysize": height, "interleave": source.profile["interleave"]}
    if source.profile.get("tiled"):
        layout |= {"tiled": True, "blockxsize": width}
    return layout


def _compression(scene: Scene) -> dict[str, Any]:
    """As the scene's where it loses nothing, else deflate with what suits the type."""
    structure = scene.dataset.tags(ns="IMAGE_STRUCTURE")
    compression = structure.get("COMPRESSION", "").lower()
    kept = scene.dataset.driver == "GTiff" and compression
    if kept and compression in _LOSSY:
        log.warning("%s is lossy: the output is deflated, so that nothing is lost", compression)
    elif kept:
        return {"compress": compression, "predictor": int(structure.get("PREDICTOR", 1))}
    return {"compress": "deflate", "predictor": 3 if np.dtype(scene.dtype).kind == "f" else 2}
