"""A whole GeoTIFF or COG out: like the scene in all, and read back when it is closed."""

import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window

from geodecloud.errors import OutputError, SceneError
from geodecloud.raster.calibration import TAG
from geodecloud.raster.metadata import copy_ground_control, copy_metadata
from geodecloud.raster.profile import GTIFF, Form, profile_of
from geodecloud.raster.scene import Scene
from geodecloud.restore.composite import NODATA, PROVENANCE_COLOURS

PROVENANCE_TEXT = (
    "provenance: 0 measured, 1-100 percent restored, 101 filled from the land around, "
    "102 beyond the limit for that, 110 and up from a reference, 255 nodata"
)

_FLUSH_ROWS = 1024  # most rows that are kept back for a block to be complete
_DISK_FULL = 1 << 20  # bytes left, below which a failed write is put down to the disk


class RowWriter:
    """Takes finished rows and writes them in whole rows of blocks.

    Written piecemeal, a compressed file would grow: GDAL rewrites a block at the end of the file.

    Attributes:
        block: height of a row of blocks in pixels.
    """

    def __init__(self, dataset: Any, masked_like: Scene | None = None) -> None:
        self._dataset = dataset
        self._masked_like = masked_like
        self.checksums: list[tuple[Window, int]] = []  # CRC-32 of what was written where
        self.block = min(dataset.block_shapes[0][0], _FLUSH_ROWS)
        self._held: list[NDArray[Any]] = []
        self._held_rows = 0
        self._row = 0

    def write(self, rows: NDArray[Any], first: int | None = None) -> None:
        """The next rows, (bands, rows, width); or those from ``first`` on, where a block begins."""
        if first is not None and first != self._row + self._held_rows:
            self.finish()
            self._row = first
        self._held.append(rows)
        self._held_rows += rows.shape[1]
        whole = self._held_rows - self._held_rows % self.block
        if whole:
            self._flush(whole)

    def tag(self, tags: dict[str, str]) -> None:
        """Add ``GEODECLOUD_`` tags."""
        self._dataset.update_tags(**{TAG + key: value for key, value in tags.items()})

    def finish(self) -> None:
        """Write what is left below the last whole row of blocks."""
        if self._held_rows:
            self._flush(self._held_rows)

    def _flush(self, count: int) -> None:
        rows = self._held[0] if len(self._held) == 1 else np.concatenate(self._held, axis=1)
        window = Window(0, self._row, rows.shape[2], count)
        self._dataset.write(rows[:, :count], window=window)
        self.checksums.append((window, _checksum(rows[:, :count])))
        if self._masked_like is not None:
            mask = self._masked_like.read_mask(self._row, self._row + count)
            self._dataset.write_mask(mask, window=window)
        self._held = [rows[:, count:]] if count < self._held_rows else []
        self._held_rows -= count
        self._row += count


def _checksum(rows: NDArray[Any]) -> int:
    """CRC-32 of (bands, rows, width), band after band, so that no copy of all is made."""
    return reduce(lambda crc, band: zlib.crc32(np.ascontiguousarray(band).data, crc), rows, 0)


@contextmanager
def create_like(
    scene: Scene, path: Path, tags: dict[str, str], form: Form = GTIFF
) -> Iterator[RowWriter]:
    """A file with all metadata of the scene, and ``GEODECLOUD_`` tags, to write rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
        UsageError: ``form`` has an option that the format does not know.
    """
    source = scene.dataset
    with _written(path, profile_of(scene, form), form, Resampling.average) as out:
        copy_metadata(scene, out)
        writer = RowWriter(out, scene if scene.masked else None)
        writer.tag(tags)
        yield writer
        writer.finish()
        levels = [factor for factor in source.overviews(1) if factor < max(scene.shape)]
        if form.driver == "GTiff" and levels:  # a part of a file may be too small for the last
            out.build_overviews(levels, Resampling.average)
    _read_back(path, writer)


@contextmanager
def create_provenance(scene: Scene, path: Path, form: Form = GTIFF) -> Iterator[RowWriter]:
    """A uint8 file on the scene's grid, with a colour table, to write provenance rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    band = {"dtype": "uint8", "nodata": NODATA}
    with _create_band(scene, path, band, form) as (out, writer):
        out.write_colormap(1, PROVENANCE_COLOURS)
        out.set_band_description(1, PROVENANCE_TEXT)
        yield writer


@contextmanager
def create_opacity(scene: Scene, path: Path) -> Iterator[RowWriter]:
    """A float32 GeoTIFF on the scene's grid, NaN for nodata, to write opacity rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    with _create_band(scene, path, {"dtype": "float32", "nodata": np.nan}, GTIFF) as (out, writer):
        out.set_band_description(1, "opacity, 0 to 1")
        yield writer


@contextmanager
def _create_band(
    scene: Scene, path: Path, band: dict[str, Any], form: Form
) -> Iterator[tuple[Any, RowWriter]]:
    """One deflated band on the scene's grid: the dataset and what writes to it."""
    form = Form(form.driver)  # what was said of the form is said of the scene
    profile = profile_of(scene, form) | {"count": 1} | band
    profile |= {"interleave": "band", "compress": "deflate", "predictor": 1}
    profile.pop("photometric", None)
    with _written(path, profile, form, Resampling.nearest) as out:
        copy_ground_control(scene, out)
        writer = RowWriter(out)
        yield out, writer
        writer.finish()
    _read_back(path, writer)


def read_provenance(path: Path) -> NDArray[np.uint8]:
    """The whole of a provenance raster, uint8 (height, width)."""
    provenance: NDArray[np.uint8] = read_all(path)[0]
    return provenance


def read_all(path: Path) -> NDArray[Any]:
    """All of a raster that this tool has written: (bands, rows, columns)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            values: NDArray[Any] = file.read()
    return values


def write_all(path: Path, values: NDArray[Any], about: dict[str, Any]) -> None:
    """Write (bands, rows, columns) to an uncompressed GeoTIFF.

    Args:
        about: nodata, crs and transform, as rasterio takes them, and descriptions of the bands;
            each may be missing or None.

    Raises:
        SceneError: a type that GeoTIFF does not have, or a nodata that the type does not.
        OutputError: it cannot be written.
    """
    known = {k: v for k, v in about.items() if v is not None and k != "descriptions"}
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, **known}
    try:
        with _writing(path, profile | {"dtype": values.dtype, "BIGTIFF": "IF_SAFER"}) as out:
            if len(descriptions := tuple(about.get("descriptions") or ())) == count:
                out.descriptions = descriptions
            out.write(values)
    except (TypeError, ValueError) as error:
        raise SceneError(
            f"array of {values.dtype}, nodata {about.get('nodata')}: {error}"
        ) from error


@contextmanager
def _written(
    path: Path, profile: dict[str, Any], form: Form, overviews: Resampling
) -> Iterator[Any]:
    """An open new dataset, that becomes ``path`` when it is closed.

    A COG has its overviews before its pixels, so it is copied from a plain GeoTIFF.
    """
    if form.driver == "GTiff":
        with _writing(path, profile) as out:
            yield out
        return
    plain = path.with_name(path.name + ".tif")
    try:
        with _writing(plain, profile) as out:
            yield out
        with _failures(path):
            copy(plain, path, driver="COG", **form.cog_options(profile, overviews.name))
    finally:
        for leftover in (plain, plain.with_name(plain.name + ".aux.xml")):
            leftover.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path, profile: dict[str, Any]) -> Iterator[Any]:
    with _failures(path), rasterio.open(path, "w", **profile) as out:
        yield out


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    """A failure of GDAL's is an OutputError."""
    try:
        with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
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
                    if _checksum(file.read(window=window)) != checksum:
                        raise _write_failure(path, f"rows from {window.row_off} are not as written")
    except RasterioError as error:
        raise _write_failure(path, str(error.__cause__ or error)) from error


def made_from(path: Path) -> str | None:
    """The name of the scene that a file was restored from, None if this program did not make it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as file:
                name: str | None = file.tags().get(f"{TAG}SOURCE")
                return name
    except RasterioError:
        return None
