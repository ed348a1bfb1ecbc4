"""A scene in: open it, find its bands, read its rows.

GDAL counts bands from 1; so do ``Scene.bands`` and the messages here.
"""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NodataShadowWarning, RasterioError
from rasterio.windows import Window

from geodecloud.errors import SceneError, UsageError
from geodecloud.raster.aoi import find_area
from geodecloud.raster.checks import refuse_too_large, refuse_unfit
from geodecloud.raster.offline import offline, refuse_remote
from geodecloud.raster.source import Src, find_source
from geodecloud.raster.vrt import open_raster

log = logging.getLogger("geodecloud")

# Band descriptions that name a colour: "B04", "B4", "b4_10m", "Red", "R" - but not "red edge".
_COLOURS = (r"(b0?4|red|r)", r"(b0?3|green|g)", r"(b0?2|blue|b)")
_INTERPRETATIONS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_DEGREE = 111_195.0  # metres of a degree of latitude: pi / 180 * 6371009, the mean radius


@dataclass
class Scene:
    """An open input raster and what was found out about it.

    bands: of red, green and blue, from 1.
    bands_from: in words, how they were found.
    area: the part of the file that is the scene, in pixels.
    """

    path: Path
    dataset: Any  # rasterio.DatasetReader
    bands: tuple[int, int, int]
    bands_from: str
    area: Window
    lock: threading.Lock = field(default_factory=threading.Lock)  # GDAL reads in one thread at once

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.area.height, self.area.width

    @property
    def transform(self) -> Any:  # affine.Affine
        """From (column, row) to x and y."""
        return self.dataset.window_transform(self.area)

    @property
    def whole(self) -> bool:
        """Whether the scene is all of its file."""
        return self.shape == (self.dataset.height, self.dataset.width)

    @property
    def nodata(self) -> float | None:
        """The DN that means nodata, the same for all bands."""
        value: float | None = self.dataset.nodata
        return value

    @property
    def masked(self) -> bool:
        """Whether a mask, in the file or beside it, says where there is data (alpha is a band)."""
        flags = [flag for band in self.dataset.mask_flag_enums for flag in band]
        return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags

    @property
    def alpha(self) -> int | None:
        """The alpha band, from 1."""
        colours = self.dataset.colorinterp
        return colours.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colours else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all bands."""
        dtype: np.dtype[Any] = np.dtype(self.dataset.dtypes[0])
        return dtype

    @property
    def rgb(self) -> list[int]:
        """Indices of red, green and blue along the first axis of what ``read`` returns."""
        return [band - 1 for band in self.bands]

    @property
    def pixel_metres(self) -> tuple[float, float] | None:
        """Height and width of a pixel in metres, at the middle; None if nothing says."""
        crs, step = self.dataset.crs, self.transform
        if not crs:
            return None
        height, width = np.hypot(step.b, step.e), np.hypot(step.a, step.d)
        if crs.is_geographic:
            latitude = step.f + step.d * self.area.width / 2 + step.e * self.area.height / 2
            shrunk = float(np.cos(np.radians(latitude)))
            return float(height * _DEGREE), float(width * _DEGREE * shrunk)
        if not crs.is_projected:
            return None
        metres = crs.linear_units_factor[1]
        return float(height * metres), float(width * metres)

    def read(self, first: int, last: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """All bands of rows ``first`` to ``last`` (not included).

        Returns:
            dn: (bands, rows, width) in the file's dtype.
            valid: bool (rows, width), False where R, G or B has no data, is masked or not finite.

        Raises:
            SceneError: the file is truncated or damaged there.
        """
        window = self.window(first, last)
        try:
            with self.lock:
                dn = self.dataset.read(window=window)
                return dn, self._valid(dn[self.rgb], window=window)
        except RasterioError as error:
            reason = str(error.__cause__ or error)
            raise SceneError(
                f"{self.path}: damaged or truncated at rows {first}-{last} ({reason})"
            ) from error

    def read_mask(self, first: int, last: int) -> NDArray[np.uint8]:
        """The dataset's mask of rows ``first`` to ``last`` (not included): 0 or 255."""
        with self.lock:
            mask: NDArray[np.uint8] = self.dataset.dataset_mask(window=self.window(first, last))
        return mask

    def window(self, first: int, last: int) -> Window:
        """Of the file: rows ``first`` to ``last`` (not included) of the scene."""
        area = self.area
        return Window(area.col_off, area.row_off + first, area.width, last - first)

    def overview(self, longest: int = 512) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """R, G, B and validity of the whole scene, thinned out (nearest) to ``longest`` pixels."""
        factor = max(1.0, max(self.shape) / longest)
        shape = tuple(max(1, round(length / factor)) for length in self.shape)
        try:
            dn = self.dataset.read(list(self.bands), window=self.area, out_shape=(3, *shape))
            return dn, self._valid(dn, window=self.area, out_shape=shape)
        except RasterioError as error:
            reason = str(error.__cause__ or error)
            raise SceneError(f"{self.path}: damaged or truncated ({reason})") from error

    def _valid(self, rgb: NDArray[Any], **where: Any) -> NDArray[np.bool_]:
        """Where red, green and blue, read as ``rgb``, all have data: bool (rows, width)."""
        masks = [self._mask(dn, band, **where) for dn, band in zip(rgb, self.bands, strict=True)]
        valid: NDArray[np.bool_] = np.logical_and.reduce(masks)
        if self.alpha:
            valid &= self.dataset.read(self.alpha, **where) > 0
        if rgb.dtype.kind == "f":
            valid &= np.isfinite(rgb).all(axis=0)
        return valid

    def _mask(self, dn: NDArray[Any], band: int, **where: Any) -> NDArray[np.bool_]:
        """Where a band that was read as ``dn`` has data, but for alpha: bool (rows, width)."""
        nodata = self.dataset.nodatavals[band - 1]
        by_value = self.dataset.mask_flag_enums[band - 1] == [MaskFlags.nodata]
        if by_value and dn.dtype.kind in "iu" and float(nodata).is_integer():
            # As GDAL's mask, for which GDAL would read the band once more.
            there: NDArray[np.bool_] = dn != int(nodata)
            return there
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NodataShadowWarning)  # alpha is looked at by itself
            mask: NDArray[np.bool_] = self.dataset.read_masks(band, **where) > 0
        return mask


def gdal_resources(cache: int, threads: int) -> Any:
    """A context in which GDAL keeps ``cache`` bytes of blocks and compresses in ``threads``.

    GDAL asks for the size of its cache once, when the process opens its first raster.
    """
    return rasterio.Env(GDAL_CACHEMAX=cache, GDAL_NUM_THREADS=threads)


@contextmanager
def open_scene(
    src: Src,
    bands: tuple[int, int, int] | None = None,
    *,
    resolution: int | None = None,
    aoi: str | Path | None = None,
    allow_network: bool = False,
) -> Iterator[Scene]:
    """Open a raster, a product or a set of bands to restore.

    Args:
        src, resolution: see :func:`geodecloud.raster.source.find_source`.
        bands: of red, green and blue, from 1; by description or colour where not given.
        aoi: the part that is wanted, see :func:`geodecloud.raster.aoi.find_area`; None: all.
        allow_network: let GDAL fetch what the file refers to.

    Raises:
        SceneError: missing, not a raster, fewer than 3 bands, palette or complex data.
        UsageError: ``bands`` that the file does not have, or another argument does not fit it.
    """
    for name in [src] if isinstance(src, str | Path) else src:
        refuse_remote(str(name), allowed=allow_network)
    # Read as a whole picture, a truncated PNG raises nothing.
    with offline(allowed=allow_network), rasterio.Env(GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"):
        source = find_source(src, resolution)
        path = Path(source.label)
        with open_raster(source.name, source.label) as dataset, _said_of(path):
            area = find_area(dataset, aoi) if aoi else Window(0, 0, dataset.width, dataset.height)
            refuse_unfit(dataset, path)
            refuse_too_large(dataset, path, area)
            yield Scene(path, dataset, *_find_bands(dataset, path, bands), area)


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """Whatever GDAL still complains of, late and by exceptions of rasterio's inside, is damage."""
    try:
        yield
    except (CPLE_BaseError, CRSError, UnicodeDecodeError) as error:
        raise SceneError(f"{path}: damaged ({error})") from error


def _find_bands(
    dataset: Any, path: Path, wanted: tuple[int, int, int] | None
) -> tuple[tuple[int, int, int], str]:
    """(bands, how they were found); what a description says counts more than a colour."""
    if wanted is not None:
        fit = all(1 <= band <= dataset.count for band in wanted)
        if not fit or not len(wanted) == len(set(wanted)) == 3:
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
