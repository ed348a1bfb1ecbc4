"""The only file that opens rasterio: a scene in, a whole file out, and all its metadata.

GDAL speaks of bands from 1; so do ``Scene.bands`` and the messages here.
"""

import logging
import re
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NodataShadowWarning, NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geodecloud.errors import OutputError, SceneError, UsageError
from geodecloud.radiometry import Radiometry, guess_radiometry

log = logging.getLogger("geodecloud")

# Band descriptions that name a colour: "B04", "B4", "b4_10m", "Red", "R" - but not "red edge".
_COLOURS = (r"(b0?4|red|r)", r"(b0?3|green|g)", r"(b0?2|blue|b)")
_INTERPRETATIONS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_LOSSY = ("jpeg", "ycbcr jpeg", "webp", "lerc", "lerc_deflate", "lerc_zstd", "jxl", "jpeg2000")
_KEPT_PROFILE = ("nodata", "crs", "transform", "dtype", "count", "width", "height", "interleave")
_RESERVED_NAMESPACES = ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "RPC", "SUBDATASETS")
_FLUSH_ROWS = 1024  # most rows that are kept back for a block to be complete
_DISK_FULL = 1 << 20  # bytes left, below which a failed write is put down to the disk
_TAG = "GEODECLOUD_"

PROVENANCE_COLOURS = {
    0: (0, 0, 0, 0),
    **{p: (255, 235 - 2 * p, 60 - p // 2, 255) for p in range(1, 101)},
    101: (200, 0, 200, 255),
    255: (60, 60, 60, 255),
}
PROVENANCE_TEXT = "provenance: 0 measured, 1-100 percent restored, 101 filled, 255 nodata"


@dataclass
class Scene:
    """An open input raster and what was found out about it.

    bands: of red, green and blue, from 1.
    bands_from: in words, how they were found.
    """

    path: Path
    dataset: Any  # rasterio.DatasetReader
    bands: tuple[int, int, int]
    bands_from: str

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.dataset.height, self.dataset.width

    @property
    def nodata(self) -> float | None:
        """The DN that means nodata, the same for all bands."""
        value: float | None = self.dataset.nodata
        return value

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all bands."""
        dtype: np.dtype[Any] = np.dtype(self.dataset.dtypes[0])
        return dtype

    @property
    def rgb(self) -> list[int]:
        """Indices of red, green and blue along the first axis of what ``read`` returns."""
        return [band - 1 for band in self.bands]

    def read(self, first: int, last: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """All bands of rows ``first`` to ``last`` (not included).

        Returns:
            dn: (bands, rows, width) in the file's dtype.
            valid: bool (rows, width), False where R, G or B has no data, is masked or not finite.

        Raises:
            SceneError: the file is truncated or damaged there.
        """
        window = Window(0, first, self.dataset.width, last - first)
        try:
            dn = self.dataset.read(window=window)
            valid = _valid(self.dataset, dn[self.rgb], list(self.bands), window=window)
        except RasterioError as error:
            reason = str(error.__cause__ or error)
            raise SceneError(
                f"{self.path}: damaged or truncated at rows {first}-{last} ({reason})"
            ) from error
        return dn, valid

    def overview(self, longest: int = 512) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """R, G, B and validity of the whole scene, thinned out (nearest) to ``longest`` pixels."""
        factor = max(1.0, max(self.shape) / longest)
        shape = tuple(max(1, round(length / factor)) for length in self.shape)
        try:
            dn = self.dataset.read(list(self.bands), out_shape=(3, *shape))
            valid = _valid(self.dataset, dn, list(self.bands), out_shape=shape)
        except RasterioError as error:
            raise SceneError(f"{self.path}: damaged or truncated ({error})") from error
        return dn, valid


def _valid(dataset: Any, dn: NDArray[Any], bands: list[int], **where: Any) -> NDArray[np.bool_]:
    """Where all ``bands``, read as ``dn``, have data: bool (rows, width)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NodataShadowWarning)  # alpha is looked at below
        masks = [dataset.read_masks(band, **where) > 0 for band in bands]
    valid: NDArray[np.bool_] = np.logical_and.reduce(masks)
    if ColorInterp.alpha in dataset.colorinterp:
        valid &= dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1, **where) > 0
    if dn.dtype.kind == "f":
        valid &= np.isfinite(dn).all(axis=0)
    return valid


@contextmanager
def open_scene(path: Path, bands: tuple[int, int, int] | None = None) -> Iterator[Scene]:
    """Open a raster to restore.

    Args:
        bands: of red, green and blue, from 1; by description or colour where not given.

    Raises:
        SceneError: missing, not a raster, fewer than 3 bands, palette or complex data.
        UsageError: ``bands`` that the file does not have.
    """
    if not str(path).startswith("/vsi") and not path.exists():
        raise SceneError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path)
    except RasterioError as error:
        raise SceneError(f"{path}: cannot be opened as a raster ({error})") from error
    with dataset:
        _refuse_unfit(dataset, path)
        yield Scene(path, dataset, *_find_bands(dataset, path, bands))


def _refuse_unfit(dataset: Any, path: Path) -> None:
    types = set(dataset.dtypes)
    if any(np.dtype(t).kind == "c" for t in types if not t.startswith("complex_")) or any(
        t.startswith("complex") for t in types
    ):
        raise SceneError(f"{path}: complex numbers ({dataset.dtypes[0]}); give real-valued bands")
    if ColorInterp.palette in dataset.colorinterp:
        raise SceneError(
            f"{path}: a palette picture; turn it into RGB first (gdal_translate -expand rgb)"
        )
    if dataset.count < 3:
        raise SceneError(f"{path}: {dataset.count} band(s); red, green and blue are needed")
    if len(types) > 1:
        raise SceneError(
            f"{path}: bands of different types ({', '.join(sorted(types))}); convert first"
        )
    if dataset.crs is None:
        log.warning("%s has no CRS: the output will have none either", path)


def _find_bands(
    dataset: Any, path: Path, wanted: tuple[int, int, int] | None
) -> tuple[tuple[int, int, int], str]:
    """(bands, how they were found); what a description says counts more than a colour."""
    if wanted is not None:
        if len(set(wanted)) < 3 or not all(1 <= band <= dataset.count for band in wanted):
            text = ",".join(map(str, wanted))
            raise UsageError(f"bands are {text}: give three different ones of 1 to {dataset.count}")
        return wanted, "as given"
    described = [_described_as(pattern, dataset.descriptions) for pattern in _COLOURS]
    coloured = [
        dataset.colorinterp.index(c) + 1 if c in dataset.colorinterp else None
        for c in _INTERPRETATIONS
    ]
    for found, how in ((described, "by description"), (coloured, "by colour interpretation")):
        if all(found) and len(set(found)) == 3:
            return tuple(found), how  # type: ignore[return-value]
    log.warning("%s does not name its bands: 1,2,3 taken as red,green,blue (--bands)", path)
    return (1, 2, 3), "assumed"


def _described_as(colour: str, descriptions: tuple[str | None, ...]) -> int | None:
    pattern = re.compile(rf"{colour}(?![0-9a-z])(?!.*edge)", re.IGNORECASE)
    for band, text in enumerate(descriptions, start=1):
        if text and pattern.match(text.strip()):
            return band
    return None


def scene_radiometry(scene: Scene, scale: float | None, offset: float | None) -> Radiometry:
    """What the user says, else an earlier run's tags, else GDAL's scale, else the dtype's habit.

    Warns where the result contradicts the picture: a scene whose darkest pixels are bright.
    """
    dataset, band = scene.dataset, scene.bands[0] - 1
    tags = dataset.tags()
    guess = guess_radiometry(scene.dtype)
    if f"{_TAG}SCALE" in tags and f"{_TAG}OFFSET" in tags:
        guess = Radiometry(float(tags[f"{_TAG}SCALE"]), float(tags[f"{_TAG}OFFSET"]))
    elif dataset.scales[band] not in (0.0, 1.0):
        guess = Radiometry(1 / dataset.scales[band], dataset.offsets[band] / dataset.scales[band])
    used = Radiometry(
        guess.scale if scale is None else scale, guess.offset if offset is None else offset
    )
    if scale is None and offset is None:
        dn, valid = scene.overview()
        if valid.any():
            dark = float(np.percentile(dn[:, valid].min(axis=0), 0.5))
            reflectance = (dark + used.offset) / used.scale
            if reflectance > 0.08:
                log.warning(
                    "%s: its darkest pixels have reflectance %.2f; if its DN have an offset "
                    "(Sentinel-2 from baseline 04.00 on: --offset -1000), name it",
                    scene.path,
                    reflectance,
                )
    return used


@contextmanager
def create_like(scene: Scene, path: Path, tags: dict[str, str]) -> Iterator["RowWriter"]:
    """A GeoTIFF with all metadata of the scene, and ``GEODECLOUD_`` tags, to write rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    source = scene.dataset
    with _writing(path, _profile(source)) as out:
        _copy_metadata(source, out, scene.bands)
        out.update_tags(**{_TAG + key: value for key, value in tags.items()})
        masked = MaskFlags.per_dataset in source.mask_flag_enums[0] and not any(
            MaskFlags.alpha in flags for flags in source.mask_flag_enums
        )
        writer = RowWriter(out, source if masked else None)
        yield writer
        writer.finish()
    _read_back(path, writer)


@contextmanager
def create_provenance(scene: Scene, path: Path) -> Iterator["RowWriter"]:
    """A uint8 GeoTIFF on the scene's grid, with a colour table, to write provenance rows to.

    Raises:
        OutputError: it cannot be written (disk full, say).
    """
    profile = _profile(scene.dataset) | {"count": 1, "dtype": "uint8", "nodata": 255}
    profile |= {"interleave": "band", "compress": "deflate", "predictor": 1}
    profile.pop("photometric", None)
    with _writing(path, profile) as out:
        out.write_colormap(1, PROVENANCE_COLOURS)
        out.set_band_description(1, PROVENANCE_TEXT)
        writer = RowWriter(out, None)
        yield writer
        writer.finish()
    _read_back(path, writer)


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
    return OutputError(f"{path.parent}: the output cannot be written ({reason})")


def _read_back(path: Path, written: "RowWriter") -> None:
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
    profile = {key: source.profile[key] for key in _KEPT_PROFILE if key in source.profile}
    profile |= {"driver": "GTiff", "BIGTIFF": "IF_SAFER"}
    structure = source.tags(ns="IMAGE_STRUCTURE")
    compression = structure.get("COMPRESSION", "").lower()
    if source.driver != "GTiff":
        compression = "deflate"
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    else:
        height, width = source.block_shapes[0]
        profile["blockysize"] = height
        if source.profile.get("tiled"):
            profile |= {"tiled": True, "blockxsize": width}
    if compression in _LOSSY:
        log.warning(
            "%s is lossy: the output is deflated instead, so that nothing is lost", compression
        )
        compression = "deflate"
    if compression:
        profile["compress"] = compression
        profile["predictor"] = int(structure.get("PREDICTOR", 1))
    if ColorInterp.red in source.colorinterp and source.count >= 3:
        profile["photometric"] = "RGB" if source.colorinterp[0] == ColorInterp.red else None
    return {k: v for k, v in profile.items() if v is not None}


def _copy_metadata(source: Any, out: Any, changed: tuple[int, ...]) -> None:
    """Everything that the profile does not carry, one by one."""
    out.colorinterp = source.colorinterp
    out.descriptions = source.descriptions
    out.scales, out.offsets = source.scales, source.offsets
    out.units = [unit or "" for unit in source.units]
    out.update_tags(**source.tags())
    for namespace in source.tag_namespaces():
        if namespace not in _RESERVED_NAMESPACES and not namespace.startswith("xml:"):
            out.update_tags(ns=namespace, **source.tags(ns=namespace))
    for band in source.indexes:
        tags = source.tags(band)
        if band in changed:  # its statistics are no longer true
            tags = {k: v for k, v in tags.items() if not k.startswith("STATISTICS_")}
        out.update_tags(band, **tags)
    points, crs = source.gcps
    if points:
        out.gcps = (points, crs)
    if source.rpcs:
        out.rpcs = source.rpcs


class RowWriter:
    """Takes finished rows from the top down and writes them in whole rows of blocks.

    Written piecemeal, a compressed file would grow: GDAL rewrites a block at the end of the file.
    """

    def __init__(self, dataset: Any, mask_source: Any | None) -> None:
        self._dataset = dataset
        self._mask_source = mask_source
        self.checksums: list[tuple[Window, int]] = []  # of what was written, CRC-32
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
