"""Open a scene, and read its rows.

Bands are counted from 1, as GDAL counts them, in ``Scene.bands`` and in messages.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NodataShadowWarning
from rasterio.windows import Window

from geodecloud.errors import NodataWarning, UsageError, warn
from geodecloud.raster.aoi import find_area
from geodecloud.raster.bands import STACK_BANDS, Bands, find_bands
from geodecloud.raster.checks import refuse_too_large, refuse_unfit
from geodecloud.raster.collar import Fill
from geodecloud.raster.dn import holds
from geodecloud.raster.gdal import (
    failures_as,
    late_failures_as,
    open_raster,
    require_proj,
    without_warning,
)
from geodecloud.raster.grid import Grid
from geodecloud.raster.kept_rows import KeptRows, Portions, is_slow
from geodecloud.raster.layout import Layout
from geodecloud.raster.offline import offline, refuse_remote
from geodecloud.raster.source import Source, Src, find_source
from geodecloud.raster.thread_options import thread_options
from geodecloud.raster.validity import Validity, find_validity
from geodecloud.raster.vrt_sources import files_read, is_remote
from geodecloud.settings import Reading
from geodecloud.settings.parse import without_query

_AS_DECLARED = Validity()
# With other values, which users set for other programs, GDAL returns rows of a truncated file, and
# writes overviews into a file of their own.
_OPTIONS = {
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "USE_RRD": "NO",
}


@dataclass
class Scene:
    """An open input raster, or the part of it to restore.

    bands: numbers of the red, green and blue bands.
    bands_from: how the bands were found, in words.
    area: the part of the file that is the scene, in pixels.
    layout: layout of the file, or of the files of one band each.
    validity: the values that mean nodata, beside mask and alpha.
    """

    path: Path
    dataset: Any  # rasterio.DatasetReader
    bands: Bands
    bands_from: str
    area: Window
    layout: Layout
    validity: Validity = _AS_DECLARED
    lock: threading.Lock = field(default_factory=threading.Lock)  # one thread at a time reads
    _kept: KeptRows | None = field(default=None, init=False, repr=False)

    @cached_property
    def files(self) -> list[str]:
        """Names of the files that are read, those of a VRT within a VRT included."""
        return files_read([self.dataset.name, *self.dataset.files])

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.area.height, self.area.width

    @property
    def transform(self) -> Any:  # affine.Affine
        """The transform from (column, row) to x and y."""
        return self.dataset.window_transform(self.area)

    @property
    def grid(self) -> Grid:
        """The grid of the scene's pixels."""
        return Grid(self.shape, self.transform, self.dataset.crs)

    @property
    def whole(self) -> bool:
        """True if the scene is its whole file."""
        return self.shape == (self.dataset.height, self.dataset.width)

    @property
    def nodata(self) -> float | None:
        """The DN that means nodata, the same for all bands."""
        return self.validity.nodata

    @cached_property
    def _mask_flags(self) -> Any:
        """GDAL's mask flags of each band; cached, since rasterio asks GDAL each time."""
        return self.dataset.mask_flag_enums

    @property
    def masked(self) -> bool:
        """True if the file has a mask, inside or beside it; an alpha band does not count."""
        flags = [flag for band in self._mask_flags for flag in band]
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags

    @property
    def alpha(self) -> int | None:
        """The number of the alpha band; None: there is none."""
        colours = self.dataset.colorinterp
        return colours.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colours else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of all bands."""
        dtype: np.dtype[Any] = np.dtype(self.dataset.dtypes[0])
        return dtype

    @property
    def rgb(self) -> list[int]:
        """Indices of red, green and blue along the first axis of the DN that ``read`` returns."""
        return [band - 1 for band in self.bands]

    @property
    def pixel_metres(self) -> tuple[float, float] | None:
        """Height and width in metres of a pixel at the scene centre; None without a CRS."""
        return self.grid.pixel_metres

    def read(self, first: int, last: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read all bands of rows ``first`` to ``last`` (not included).

        Returns:
            dn: (bands, rows, width) in the file's dtype.
            valid: bool (rows, width), False where R, G or B has no data, is masked or not finite.

        Raises:
            SceneError: the file is truncated or damaged there.
        """
        with self.lock:
            if self._kept:
                dn, valid = self._kept.read(first, last)
            else:
                dn, valid = self._decode(first, last, self.dataset.indexes)
        if self.validity.fill:
            rows, columns = np.arange(first, last), np.arange(self.shape[1])
            valid &= ~self.validity.fill.covers(dn[self.rgb], rows, columns)
        return dn, valid

    def keep_rows(self, decoding: int, keeping: int = 0) -> None:
        """Keep rows from now on as they are read, if decoding them again would be slow.

        Args:
            decoding: most bytes of memory for rows that are decoded at once.
            keeping: most bytes of memory for all rows; beyond that they are kept in a file.
        """
        if is_slow(self.files, self.layout):
            portions = Portions.of(self.dataset, self.layout, self.area, decoding)
            shape = self.dataset.count, *self.shape
            label = str(self.path)
            self._kept = KeptRows(self._decode, portions, shape, self.dtype, keeping, label)

    def forget_rows(self) -> None:
        """Forget the kept rows."""
        if self._kept:
            self._kept.close()

    def _decode(
        self, first: int, last: int, bands: Sequence[int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read some bands of rows, and their validity by R, G, B and alpha among them.

        Undeclared fill counts as data here.
        """
        window = self.window(first, last)
        with failures_as(f"{self.path}: damaged or truncated at rows {first}-{last}"):
            dn = self.dataset.read(list(bands), window=window)
            return dn, self._valid(dn, bands, window)

    def read_mask(self, first: int, last: int) -> NDArray[np.uint8]:
        """Read the file's mask of rows ``first`` to ``last`` (not included): 0 or 255."""
        with self.lock:
            mask: NDArray[np.uint8] = self.dataset.dataset_mask(window=self.window(first, last))
        return mask

    def window(self, first: int, last: int) -> Window:
        """Return the window of the file that holds rows ``first`` to ``last`` (not included)."""
        area = self.area
        return Window(area.col_off, area.row_off + first, area.width, last - first)

    def read_pixels(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read red, green and blue at some rows and columns, both in ascending order.

        Returns:
            dn (3, rows, columns), and validity (rows, columns).

        Raises:
            SceneError: the file is truncated or damaged there.
        """
        top, left = rows[0], columns[0]
        area = self.area
        window = Window(
            area.col_off + left, area.row_off + top, columns[-1] - left + 1, rows[-1] - top + 1
        )
        bands = [*self.bands, *filter(None, [self.alpha])]
        with failures_as(f"{self.path}: damaged or truncated"), self.lock:
            near = self.dataset.read(bands, window=window)  # GDAL's cache keeps the blocks
            there = self._valid(near, bands, window)
        chosen = np.ix_(rows - top, columns - left)
        dn, valid = near[: len(self.bands), chosen[0], chosen[1]], there[chosen]
        if self.validity.fill:
            valid &= ~self.validity.fill.covers(dn, rows, columns)
        return dn, valid

    def _valid(self, dn: NDArray[Any], bands: Sequence[int], window: Window) -> NDArray[np.bool_]:
        """Return where red, green, blue and alpha, as far as among ``bands``, all have data.

        Args:
            dn: (bands, rows, width), as read from ``window``.
        """
        valid, alpha = np.ones(dn.shape[1:], np.bool_), self.alpha
        for band, rows in zip(bands, dn, strict=True):
            if band in self.bands:
                valid &= self._mask(rows, band, window)
                if rows.dtype.kind == "f":
                    valid &= np.isfinite(rows)
            elif band == alpha:
                valid &= rows > 0
        return valid

    def _mask(self, dn: NDArray[Any], band: int, window: Window) -> NDArray[np.bool_]:
        """Return where a band, read as ``dn``, has data, alpha aside: bool (rows, width)."""
        nodata, flags = self.nodata, self._mask_flags[band - 1]
        declared = self.dataset.nodata
        masked = MaskFlags.per_dataset in flags
        sought = nodata is not None and not np.isnan(nodata) and holds(dn.dtype, nodata)
        if sought and (masked or nodata != declared):
            # GDAL does not look for the value: the file has a mask, or declares another one.
            there: NDArray[np.bool_] = dn != dn.dtype.type(nodata)
            if masked:
                there &= self.dataset.read_masks(band, window=window) > 0
            return there
        if flags == [MaskFlags.all_valid]:  # as GDAL's mask would be
            return np.ones(dn.shape, bool)
        by_value = flags == [MaskFlags.nodata]
        if by_value and dn.dtype.kind in "iu" and float(declared).is_integer():
            # The same as GDAL's mask, for which GDAL would read the band again.
            unlike: NDArray[np.bool_] = dn != int(declared)
            return unlike
        with without_warning(NodataShadowWarning):  # `_valid` looks at alpha itself
            mask: NDArray[np.bool_] = self.dataset.read_masks(band, window=window) > 0
        return mask


@contextmanager
def open_scene(src: Src, reading: Reading | None = None) -> Iterator[Scene]:
    """Open a raster, a product or a set of bands to restore.

    Args:
        src: see :func:`geodecloud.raster.source.find_source`.
        reading: bands, area, resolution, nodata and whether the network may be used.

    Raises:
        SceneError: the file is missing, is not a raster, has fewer than 3 bands, or holds palette
            or complex data.
        UsageError: ``reading`` does not fit the file, for example names bands that it lacks.
    """
    reading = reading or Reading()
    bands, aoi, allowed = reading.bands, reading.aoi, reading.allow_network
    names = _names(src)
    for name in names:
        refuse_remote(name, allowed=allowed)
    local = not allowed or not any(map(is_remote, files_read(names)))
    with offline(allowed=allowed, local=local), thread_options(_OPTIONS):
        require_proj()
        if not isinstance(src, Source):
            src = find_source(src, reading.resolution, reading.extra_bands)
        path = Path(without_query(src.label))
        with open_raster(src.name, src.label) as dataset, late_failures_as(f"{path}: damaged"):
            area = find_area(dataset, aoi) if aoi else Window(0, 0, dataset.width, dataset.height)
            refuse_unfit(dataset, path)
            refuse_too_large(dataset, path, area)
            if src.layout:
                _refuse_other_bands(path, bands)
                found = STACK_BANDS, "a file each"
            else:
                found = find_bands(dataset, str(path), bands)
            validity = find_validity(dataset, path, found[0], area, reading)
            if validity.fill:
                warn(NodataWarning, _undeclared(path, validity.fill))
            layout = src.layout or Layout.of(dataset)
            scene = Scene(path, dataset, *found, area, layout, validity)
            try:
                yield scene
            finally:
                scene.forget_rows()


def _refuse_other_bands(path: Path, bands: Bands | None) -> None:
    """Refuse ``bands`` for a scene of one file per band, which are known already.

    Raises:
        UsageError: ``bands`` differ from 1,2,3, for example are the numbers in the files' names.
    """
    if bands not in (None, STACK_BANDS):
        raise UsageError(
            f"`bands` are {','.join(map(str, bands or ()))}: {path} has one file per band, which "
            "are known by their names; leave `bands` out"
        )


def _names(src: Src) -> list[str]:
    if isinstance(src, Source):
        return [src.name]
    return [str(src)] if isinstance(src, str | Path) else list(map(str, src))


def _undeclared(path: Path, fill: Fill) -> str:
    if fill.others:
        return (
            f"{path}: {fill} fill its border in all bands and are taken for undeclared nodata; "
            "`declared_nodata_only` keeps them"
        )
    return (
        f"{path}: {fill} fills its border in all bands and is taken for undeclared nodata; "
        f"`nodata` {fill} declares it, `declared_nodata_only` keeps it"
    )
