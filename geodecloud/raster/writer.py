"""Write rows to a GeoTIFF or COG on a scene's grid, and verify the file when it is closed."""

import shutil
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.shutil import copy
from rasterio.windows import Window

from geodecloud.errors import OutputError
from geodecloud.raster.descriptions import SIMULATED_OPACITY
from geodecloud.raster.gdal import GDAL_ERRORS, without_georeference_warning
from geodecloud.raster.metadata import copy_ground_control, copy_metadata
from geodecloud.raster.profile import band_profile, cog_options, profile_of
from geodecloud.raster.scene import Scene
from geodecloud.raster.statements import TAG
from geodecloud.raster.thread_options import thread_options
from geodecloud.raster.wavelengths import find_other_bands
from geodecloud.settings import Format, Output

_FLUSH_ROWS = 1024  # most rows held until their blocks are complete
_LEAST_ROWS = 64  # rows per write, if a row of blocks has fewer
_READ_BACK = 128  # rows read back at once, if a row of blocks has fewer
_DISK_FULL = 1 << 20  # free bytes below which a failed write means a full disk


class RowWriter:
    """A writer that takes finished rows and writes them in whole rows of blocks.

    Written piecemeal, a compressed file would grow: GDAL appends each rewritten block to the file.

    Args:
        dataset: the raster to write, open.
        masked_like: a masked scene, whose mask is written, too; None: no mask.

    Attributes:
        block: rows written at once: one row of blocks, or several rows of low blocks.
        checksums: windows written, with the CRC-32 of their pixels, from the top down.
    """

    def __init__(self, dataset: Any, masked_like: Scene | None = None) -> None:
        self._dataset = dataset
        self._masked_like = masked_like
        self.checksums: list[tuple[Window, int]] = []
        height = min(dataset.block_shapes[0][0], _FLUSH_ROWS)
        self.block = height * max(1, _LEAST_ROWS // height)
        self._held: list[NDArray[Any]] = []
        self._hidden: list[NDArray[np.bool_]] = []
        self._held_rows = 0
        self._row = 0

    def write(self, rows: NDArray[Any], hidden: NDArray[np.bool_] | None = None) -> None:
        """Take the next rows of the scene, (bands, rows, width).

        Args:
            hidden: bool (rows, width), pixels to mask besides those that the scene's mask hides.
        """
        self._held.append(rows)
        if self._masked_like is not None:
            none = np.zeros(rows.shape[1:], bool)
            self._hidden.append(none if hidden is None else hidden)
        self._held_rows += rows.shape[1]
        # One row of blocks at a time: the file's bytes do not depend on how the rows arrive.
        while self._held_rows >= self.block:
            self._flush(self.block)

    def tag(self, tags: dict[str, str]) -> None:
        """Add ``GEODECLOUD_`` tags."""
        self._dataset.update_tags(**{TAG + key: value for key, value in tags.items()})

    def finish(self) -> None:
        """Write the remaining rows, fewer than a row of blocks."""
        if self._held_rows:
            self._flush(self._held_rows)

    def _flush(self, count: int) -> None:
        rows = self._held[0] if len(self._held) == 1 else np.concatenate(self._held, axis=1)
        window = Window(0, self._row, rows.shape[2], count)
        self._dataset.write(rows[:, :count], window=window)
        self.checksums.append((window, _checksum(rows[:, :count])))
        if self._masked_like is not None:
            mask = self._masked_like.read_mask(self._row, self._row + count)
            hidden = np.concatenate(self._hidden)
            mask[hidden[:count]] = 0
            self._hidden = [hidden[count:]]
            self._dataset.write_mask(mask, window=window)
        self._held = [rows[:, count:]] if count < self._held_rows else []
        self._held_rows -= count
        self._row += count


def _checksum(rows: NDArray[Any]) -> int:
    """Return the CRC-32 of (bands, rows, width), band by band to avoid copying all bands."""
    return reduce(lambda crc, band: zlib.crc32(np.ascontiguousarray(band).data, crc), rows, 0)


@contextmanager
def create_like(
    scene: Scene, path: Path, output: Output, changed: Collection[int]
) -> Iterator[RowWriter]:
    """Open a new file with all metadata of the scene to write rows to.

    Args:
        changed: bands whose statistics are no longer true.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
        UsageError: ``output`` has a creation option that would change clear pixels or the grid.
    """
    profile = profile_of(scene, output)
    resampling = _overview_resampling(scene, changed)
    options = cog_options(output, profile, resampling)
    with _create(path, profile, options) as out:
        copy_metadata(scene, out, changed)
        writer = RowWriter(out, scene if scene.masked else None)
        yield writer
        writer.finish()
        # A part of a file may be too small for its last overviews.
        levels = [level for level in scene.layout.overviews if level < max(scene.shape)]
        if output.format == "gtiff" and levels:
            out.build_overviews(levels, resampling)
    _read_back(path, writer)


def _overview_resampling(scene: Scene, changed: Collection[int]) -> Resampling:
    """Return the average; in a scene with a band that may hold classes, the nearest pixel."""
    others = (band.index + 1 for band in find_other_bands(scene))
    plain = {*scene.bands, *others, *changed, scene.alpha} >= {*scene.dataset.indexes}
    return Resampling.average if plain else Resampling.nearest


@contextmanager
def create_opacity(scene: Scene, path: Path) -> Iterator[RowWriter]:
    """Open a new float32 GeoTIFF on the scene's grid, NaN for nodata, to write opacity rows to.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
    """
    with create_band(scene, path, band_profile(scene, "float32", np.nan)) as (out, writer):
        out.set_band_description(1, SIMULATED_OPACITY)
        yield writer


@contextmanager
def create_band(
    scene: Scene, path: Path, profile: dict[str, Any], file_format: Format = "gtiff"
) -> Iterator[tuple[Any, RowWriter]]:
    """Open a new file of one or two bands on the scene's grid: the dataset and its writer.

    Args:
        profile: see :func:`geodecloud.raster.profile.band_profile`.
        file_format: format of the file; creation options apply to the restored scene only.

    Raises:
        OutputError: the file cannot be written, for example because the disk is full.
    """
    options = cog_options(Output(format=file_format), profile, Resampling.nearest)
    with _create(path, profile, options) as out:
        copy_ground_control(scene, out)
        writer = RowWriter(out)
        yield out, writer
        writer.finish()
    _read_back(path, writer)


@contextmanager
def create_plain(path: Path, profile: dict[str, Any]) -> Iterator[Any]:
    """Open a new GeoTIFF: a ``rasterio.DatasetWriter``.

    Raises:
        OutputError: the file cannot be written.
    """
    with _failures(path), rasterio.open(path, "w", driver="GTiff", **profile) as out:
        yield out


@contextmanager
def _create(path: Path, profile: dict[str, Any], options: dict[str, str] | None) -> Iterator[Any]:
    """Open a new GeoTIFF, or a COG if there are ``options`` for one.

    A COG stores its overviews before its pixels, so it is copied from a plain GeoTIFF.
    """
    if options is None:
        with create_plain(path, profile) as out:
            yield out
        return
    plain = path.with_name(path.name + ".tif")
    try:
        with create_plain(plain, profile) as out:
            yield out
        with _failures(path):
            copy(plain, path, driver="COG", **options)
    finally:
        for leftover in (plain, plain.with_name(plain.name + ".aux.xml")):
            leftover.unlink(missing_ok=True)


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    """Turn GDAL's failures into OutputError."""
    try:
        with without_georeference_warning(), thread_options({"GDAL_TIFF_INTERNAL_MASK": "YES"}):
            yield
    except GDAL_ERRORS as error:
        raise _write_failure(path, str(error.__cause__ or error)) from error


def _write_failure(path: Path, reason: str) -> OutputError:
    if shutil.disk_usage(path.parent).free < _DISK_FULL:
        reason = "the disk is full: make room and run again"
    reason = reason.replace(str(path), "it").replace(path.name, "it")  # a name that vanishes
    return OutputError(f"{path.parent}: the output cannot be written there ({reason})")


def _read_back(path: Path, written: RowWriter) -> None:
    """Compare the closed file with the rows written to it.

    GDAL writes much of a file when closing it, and then reports no failure.

    Raises:
        OutputError: rows differ, or cannot be read.
    """
    with _failures(path), rasterio.open(path) as file:
        by_rows = groupby(written.checksums, lambda one: one[0].row_off // _READ_BACK)
        for some in (list(group) for _, group in by_rows):
            first, last = some[0][0].row_off, some[-1][0].row_off + some[-1][0].height
            rows = file.read(window=Window(0, first, file.width, last - first))
            for window, checksum in some:
                start = window.row_off - first
                if _checksum(rows[:, start : start + window.height]) != checksum:
                    raise _write_failure(path, f"rows from {window.row_off} are not as written")
