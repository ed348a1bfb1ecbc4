"""A whole GeoTIFF out: like the scene in all its metadata, and read back when it is closed."""

import logging
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geodecloud.composite import NODATA, PROVENANCE_COLOURS
from geodecloud.errors import OutputError
from geodecloud.scene import TAG, Scene

log = logging.getLogger("geodecloud")

PROVENANCE_TEXT = "provenance: 0 measured, 1-100 percent restored, 101 filled, 255 nodata"

_LOSSY = ("jpeg", "ycbcr jpeg", "webp", "lerc", "lerc_deflate", "lerc_zstd", "jxl", "jpeg2000")
_KEPT_PROFILE = ("nodata", "crs", "transform", "dtype", "count", "width", "height")
_RESERVED_NAMESPACES = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "RPC", "SUBDATASETS")
_FLUSH_ROWS = 1024  # most rows that are kept back for a block to be complete
_DISK_FULL = 1 << 20  # bytes left, below which a failed write is put down to the disk


class RowWriter:
    """Takes finished rows from the top down and writes them in whole rows of blocks.

    Written piecemeal, a compressed file would grow: GDAL rewrites a block at the end of the file.
    """

    def __init__(self, dataset: Any, mask_source: Any | None = None) -> None:
        self._dataset = dataset
        self._mask_source = mask_source
        self.checksums: list[tuple[Window, int]] = []  # CRC-32 of what was written where
        self._block = min(dataset.block_shapes[0][0], _FLUSH_ROWS)
        self._held: list[NDArray[Any]] = []
        self._held_rows = 0
        self._row = 0

    def write(self, rows: NDArray[Any]) -> None:
        """The next rows, (bands, rows, width)."""
        self._held.append(rows)
        self._held_rows += rows.shape[1]
        whole = self._held_rows - self._held_rows % self._block
        if whole:
            self._flush(whole)

    def finish(self) -> None:
        """Write what is left below the last whole row of blocks."""
        if self._held_rows:
            self._flush(self._held_rows)

    def _flush(self, count: int) -> None:
        rows = np.concatenate(self._held, axis=1)
        window = Window(0, self._row, rows.shape[2], count)
        self._dataset.write(rows[:, :count], window=window)
        self.checksums.append((window, zlib.crc32(rows[:, :count].tobytes())))
        if self._mask_source is not None:
            self._dataset.write_mask(self._mask_source.dataset_mask(window=window), window=window)
        self._held = [rows[:, count:]] if count < self._held_rows else []
        self._held_rows -= count
        self._row += count


@contextmanager
def create_like(scene: Scene, path: Path, tags: dict[str, str]) -> Iterator[RowWriter]:
    """A GeoTIFF with all metadata of the scene, and ``GEODECLOUD_`` tags, to write rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    source = scene.dataset
    with _writing(path, _profile(source)) as out:
        _copy_metadata(source, out, scene.bands)
        _copy_ground_control(source, out)
        out.update_tags(**{TAG + key: value for key, value in tags.items()})
        writer = RowWriter(out, source if scene.masked else None)
        yield writer
        writer.finish()
        if source.overviews(1):
            out.build_overviews(source.overviews(1), Resampling.average)
    _read_back(path, writer)


@contextmanager
def create_provenance(scene: Scene, path: Path) -> Iterator[RowWriter]:
    """A uint8 GeoTIFF on the scene's grid, with a colour table, to write provenance rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    with _create_band(scene, path, {"dtype": "uint8", "nodata": NODATA}) as (out, writer):
        out.write_colormap(1, PROVENANCE_COLOURS)
        out.set_band_description(1, PROVENANCE_TEXT)
        yield writer


@contextmanager
def create_opacity(scene: Scene, path: Path) -> Iterator[RowWriter]:
    """A float32 GeoTIFF on the scene's grid, NaN for nodata, to write opacity rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    with _create_band(scene, path, {"dtype": "float32", "nodata": np.nan}) as (out, writer):
        out.set_band_description(1, "opacity, 0 to 1")
        yield writer


@contextmanager
def _create_band(
    scene: Scene, path: Path, profile: dict[str, Any]
) -> Iterator[tuple[Any, RowWriter]]:
    """One deflated band on the scene's grid: the dataset and what writes to it."""
    profile = _profile(scene.dataset) | {"count": 1} | profile
    profile |= {"interleave": "band", "compress": "deflate", "predictor": 1}
    profile.pop("photometric", None)
    with _writing(path, profile) as out:
        _copy_ground_control(scene.dataset, out)
        writer = RowWriter(out)
        yield out, writer
        writer.finish()
    _read_back(path, writer)


def read_provenance(path: Path) -> NDArray[np.uint8]:
    """The whole of a provenance raster, uint8 (height, width)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as marks:
            provenance: NDArray[np.uint8] = marks.read(1)
    return provenance


@contextmanager
def _writing(path: Path, profile: dict[str, Any]) -> Iterator[Any]:
    """An open new dataset; a failure of GDAL's is an OutputError."""
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", **profile) as out:
                yield out
    except RasterioError as error:
        raise _write_failure(path, str(error.__cause__ or error)) from error


def _write_failure(path: Path, reason: str) -> OutputError:
    if shutil.disk_usage(path.parent).free < _DISK_FULL:
        reason = "the disk is full: make room and run again"
    return OutputError(f"{path.parent}: the output cannot be written there ({reason})")


def _read_back(path: Path, written: RowWriter) -> None:
    """Compare the closed file with what was written to it.

    GDAL writes much of a file when it closes it, and a failure then raises nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                for window, checksum in written.checksums:
                    if zlib.crc32(file.read(window=window).tobytes()) != checksum:
                        raise _write_failure(path, f"rows from {window.row_off} are not as written")
    except RasterioError as error:
        raise _write_failure(path, str(error.__cause__ or error)) from error


def _profile(source: Any) -> dict[str, Any]:
    """Creation options for a file like the source: grid, type, blocks, compression."""
    profile = {key: source.profile[key] for key in _KEPT_PROFILE if key in source.profile}
    profile |= {"driver": "GTiff", "BIGTIFF": "IF_SAFER"}
    structure = source.tags(ns="IMAGE_STRUCTURE")
    compression = structure.get("COMPRESSION", "").lower()
    if source.driver == "GTiff":
        height, width = source.block_shapes[0]
        profile |= {"blockysize": height, "interleave": source.profile["interleave"]}
        if source.profile.get("tiled"):
            profile |= {"tiled": True, "blockxsize": width}
    else:
        compression = "deflate"
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    if compression in _LOSSY:
        log.warning("%s is lossy: the output is deflated, so that nothing is lost", compression)
        compression = "deflate"
    if compression:
        profile |= {"compress": compression, "predictor": int(structure.get("PREDICTOR", 1))}
    if source.colorinterp[0] == ColorInterp.red:
        profile["photometric"] = "RGB"
    return profile


def _copy_metadata(source: Any, out: Any, changed: tuple[int, ...]) -> None:
    """Everything that the profile does not carry, one by one."""
    out.colorinterp = source.colorinterp
    out.descriptions = source.descriptions
    out.scales, out.offsets = source.scales, source.offsets
    out.units = [unit or "" for unit in source.units]
    _copy_tags(source, out, 0)
    for band in source.indexes:
        # The statistics of a changed band are no longer true.
        _copy_tags(source, out, band, without="STATISTICS_" if band in changed else None)


def _copy_tags(source: Any, out: Any, band: int, *, without: str | None = None) -> None:
    """Tags of the file (band 0) or of a band, in all namespaces that can be written."""
    for namespace in (None, *source.tag_namespaces(band)):
        if namespace in _RESERVED_NAMESPACES or (namespace or "").startswith("xml:"):
            continue
        tags = source.tags(band, ns=namespace)
        kept = {k: v for k, v in tags.items() if not (without and k.startswith(without))}
        out.update_tags(band, ns=namespace, **kept)


def _copy_ground_control(source: Any, out: Any) -> None:
    points, crs = source.gcps
    if points:
        out.gcps = (points, crs)
    if source.rpcs:
        out.rpcs = source.rpcs
