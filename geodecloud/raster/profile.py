"""Choose the profile of a new file: format, blocks, compression."""

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from geodecloud.errors import OutputWarning, UsageError, warn
from geodecloud.raster.gdal import GDAL_ERRORS, without_georeference_warning
from geodecloud.raster.nodata import output_nodata
from geodecloud.raster.scene import Scene
from geodecloud.raster.vrt import has_transform
from geodecloud.settings import Format, Output

_logger = threading.Lock()  # one thread at a time changes the logger of rasterio

_LOSSY = ("jpeg", "ycbcr jpeg", "webp", "lerc", "lerc_deflate", "lerc_zstd", "jxl", "jpeg2000")
_LAYOUT = ("tiled", "blockxsize", "blockysize")
_OF_COMPRESSION = ("predictor", "zlevel")
_SECOND_FILES = ("tfw", "worldfile")
_WARPING = ("target_srs", "tiling_scheme")
_LOSING = ("nbits", "profile", "streamable_output")  # of pixels, georeference, a part of the layout
_BLOCK = 256  # pixels, of tiles where the scene has none
_TIFF_BLOCK = 16  # pixels; TIFF wants a multiple
_TRIED = ("uint8", "uint16", "float32")  # dtypes to try while the scene's is not known
# The prefix of GDAL's messages about a file in memory, whose name means nothing to a user.
_OF_MEMORY_FILE = re.compile(r"^(?:CPLE_\w+ in )?(?:\S*[0-9a-f-]{36}\.tif(?:, band \d+)?: )?")
# With a predictor, GDAL's default level 6 takes twice as long. At level 1, 16-bit files are 2 %
# larger, 8-bit files 4 % smaller.
_DEFLATE_LEVEL = 1


def creation_options(output: Output) -> dict[str, str]:
    """Return GDAL's creation options, their names in lower case.

    Raises:
        UsageError: an option would change clear pixels or the grid, or write a second file.
    """
    pairs = (option.partition("=") for option in output.creation_options)
    options = {key.lower(): value for key, _, value in pairs}
    if options.get("compress", "").lower() == "jpeg":
        raise UsageError(
            "`creation_options` has COMPRESS=JPEG, which would change clear pixels; leave it out"
        )
    for name in _SECOND_FILES:
        if options.get(name, "no").lower() not in ("no", "off", "false"):
            raise UsageError(
                f"`creation_options` has {name.upper()}, which would write a second file; "
                "gdal_translate writes one"
            )
    for name in _LOSING:
        if name in options:
            raise UsageError(
                f"`creation_options` has {name.upper()}, with which the file may not hold all of "
                "the scene; leave it out"
            )
    for name in _WARPING:
        if name in options:
            raise UsageError(
                f"`creation_options` has {name.upper()}, which would warp the scene; "
                "warp the output with gdalwarp"
            )
    return options


def refuse_unknown_options(output: Output, dtypes: Sequence[str] = _TRIED) -> None:
    """Try the creation options on a tiny file in memory, as GDAL only logs unknown ones.

    Args:
        dtypes: the scene's dtype, or those that it may have.

    Raises:
        UsageError: for every dtype, GDAL does not know an option or its value, or the file does
            not preserve its pixels.
    """
    options = {name.upper(): value for name, value in creation_options(output).items()}
    if not options:
        return
    block = options.get("BLOCKSIZE", "512")
    # GDAL 3.10 ends the process at BLOCKSIZE=x and BLOCKSIZE=0.
    if not re.fullmatch("[0-9]+", block) or int(block) % _TIFF_BLOCK or not int(block):
        raise UsageError(
            f"`creation_options` has BLOCKSIZE={block}: give a multiple of {_TIFF_BLOCK} like 512"
        )
    faults = [_find_fault(output.format, options, dtype) for dtype in dtypes]
    if all(faults):
        text = ", ".join(f"{name}={value}" for name, value in options.items())
        raise UsageError(f"`creation_options` has {text}{faults[0]}")


def _find_fault(file_format: Format, options: dict[str, str], dtype: str) -> str | None:
    """Return the fault of creation options for a file of this dtype, in words; None: no fault."""
    tiny = {"driver": "GTiff", "width": 64, "height": 64, "count": 3, "dtype": dtype}
    of_gtiff = options if file_format == "gtiff" else {}
    pixels = np.random.default_rng(0).integers(0, 127, (3, 64, 64)).astype(dtype)
    if pixels.dtype.kind == "f":
        pixels /= 3
    try:
        with _gdal_messages() as messages, MemoryFile() as file, MemoryFile() as target:
            with file.open(**tiny, **of_gtiff) as out:
                out.write(pixels)
            if file_format == "cog":
                copy(file.name, target.name, driver="COG", **options)
            with rasterio.open(target.name if file_format == "cog" else file.name) as written:
                same = np.array_equal(written.read(), pixels)
    except (*GDAL_ERRORS, ValueError) as error:
        messages = [str(error.__cause__ or error)]
    if messages:
        return f": {_OF_MEMORY_FILE.sub('', messages[0])}"
    return None if same else ", which would change clear pixels; leave it out"


@contextmanager
def _gdal_messages() -> Iterator[list[str]]:
    """Collect the messages that GDAL logs while the ``with`` block runs."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("rasterio._env")
    with _logger:
        before = logger.level, logger.propagate
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.addHandler(handler)
        try:
            with without_georeference_warning():
                yield messages
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before[0])
            logger.propagate = before[1]


def profile_of(scene: Scene, output: Output) -> dict[str, Any]:
    """Return the profile of a GeoTIFF like the scene: grid, type, nodata, blocks, compression.

    A COG is copied from such a file, so creation options for a COG are not in the profile.
    """
    source = scene.dataset
    profile = _grid_profile(scene) | {"dtype": scene.dtype, "count": source.count}
    profile |= {"nodata": output_nodata(scene, output)} | _compression(scene)
    if profile["compress"] == "deflate":
        profile["zlevel"] = _DEFLATE_LEVEL
    if source.colorinterp[0] == ColorInterp.red:
        profile["photometric"] = "RGB"
    if scene.masked:  # several threads make GDAL print errors about the mask's directory
        profile["num_threads"] = 1
    if output.format == "cog":
        return profile
    options = creation_options(output)
    if set(options) & set(_LAYOUT):
        profile = {key: value for key, value in profile.items() if key not in _LAYOUT}
    if "compress" in options:
        profile = {key: value for key, value in profile.items() if key not in _OF_COMPRESSION}
    return profile | options


def band_profile(scene: Scene, dtype: str, nodata: float) -> dict[str, Any]:
    """Return the profile of a GeoTIFF of one deflated band on the scene's grid."""
    profile = _grid_profile(scene) | {"dtype": dtype, "count": 1, "nodata": nodata}
    return profile | {"interleave": "band", "compress": "deflate", "predictor": 1}


def cog_options(
    output: Output, profile: dict[str, Any], resampling: Resampling
) -> dict[str, str] | None:
    """Return the COG driver's options to copy a file of this profile; None: no COG is wanted.

    Args:
        resampling: resampling of the overviews.
    """
    if output.format != "cog":
        return None
    options = {"COMPRESS": str(profile["compress"]), "BIGTIFF": "IF_SAFER"}
    if profile["predictor"] != 1:
        options["PREDICTOR"] = "YES"  # the type decides which one
    options["OVERVIEW_RESAMPLING"] = resampling.name
    given = {name.upper(): value for name, value in creation_options(output).items()}
    if "zlevel" in profile and "COMPRESS" not in given:
        options["LEVEL"] = str(profile["zlevel"])
    return options | given


def _grid_profile(scene: Scene) -> dict[str, Any]:
    """Return the scene's size, georeference and blocks."""
    height, width = scene.shape
    grid = {"height": height, "width": width, "crs": scene.dataset.crs, "BIGTIFF": "IF_SAFER"}
    if has_transform(scene.dataset):
        grid["transform"] = scene.transform
    return grid | _layout(scene)


def output_block(scene: Scene) -> tuple[int, int]:
    """Return height and width of an output's blocks, creation options aside."""
    return scene.layout.block if scene.layout.driver == "GTiff" else (_BLOCK, _BLOCK)


def _layout(scene: Scene) -> dict[str, Any]:
    """Return the blocks and the interleaving of a scene in a GeoTIFF; for other formats, tiles."""
    like, (height, width) = scene.layout, output_block(scene)
    if like.driver != "GTiff":
        return {"tiled": True, "blockxsize": width, "blockysize": height}
    layout = {"blockysize": height, "interleave": like.interleave}
    if like.tiled:
        layout |= {"tiled": True, "blockxsize": width}
    return layout


def _compression(scene: Scene) -> dict[str, Any]:
    """Return the scene's compression if it is lossless, else deflate with a predictor."""
    compression = scene.layout.compression
    kept = scene.layout.driver == "GTiff" and compression
    if kept and compression in _LOSSY:
        message = f"{scene.path}: its {compression} compression is lossy; the output is deflated"
        warn(OutputWarning, message)
    elif kept:
        return {"compress": compression, "predictor": scene.layout.predictor}
    return {"compress": "deflate", "predictor": 3 if np.dtype(scene.dtype).kind == "f" else 2}
