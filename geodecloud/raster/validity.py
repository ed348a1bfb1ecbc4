"""Decide which pixels have data: one rule for scenes, references, training and evaluation.

A pixel has no data where, in red, green or blue,

- its DN is the nodata value: the user's, else the file's, else 0 in a true colour image of
  Sentinel-2, by that product's specification;
- the file's mask or alpha hides it, or it is NaN or infinite;

and where red, green and blue all have the value of an undeclared *fill*, see
:mod:`geodecloud.raster.collar`.

The rule is settled before any row is restored.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from geodecloud.errors import BandsWarning, UsageError, warn
from geodecloud.raster.collar import Fill, find_fill
from geodecloud.raster.dn import equal, exact, holds
from geodecloud.raster.gdal import failures_as
from geodecloud.settings import Reading

TCI = re.compile(r"(?:^|[_.-])TCI(?:[_.-]|$)", re.IGNORECASE)  # in the name of a file
_MIDDLE = 256  # pixels, side of the square in which alpha is looked at
_MOST_OF_ALPHA = 8  # different values in that square


@dataclass(frozen=True)
class Validity:
    """The values that mean nodata in a scene, besides its mask and alpha.

    nodata: the DN that means nodata in any band; None: there is none.
    fill: the undeclared fill; None: there is none.
    origin: where ``nodata`` or ``fill`` comes from, in words.
    """

    nodata: float | None = None
    fill: Fill | None = None
    origin: str = ""

    @property
    def unwritten(self) -> float | None:
        """The DN that no restored pixel may take."""
        return self.fill.value if self.nodata is None and self.fill else self.nodata


def find_validity(
    dataset: Any, path: Path, bands: tuple[int, int, int], area: Window, reading: Reading
) -> Validity:
    """Return the values that mean nodata in a scene.

    Args:
        path: the file's path, for messages, and to recognise a true colour image.
        bands: numbers of the red, green and blue bands, from 1.
        area: the part of the file that is the scene.
        reading: ``nodata`` and ``declared_nodata_only``.

    Warns if a band that is stated to be alpha looks like near infrared.

    Raises:
        UsageError: the dtype cannot hold ``nodata``.
        SceneError: the file is damaged.
    """
    dtype = np.dtype(dataset.dtypes[0])
    if reading.nodata is not None:
        if not holds(dtype, reading.nodata):
            raise UsageError(
                f"`nodata` is {exact(reading.nodata)}: {path} has {dtype} values; give one of these"
            )
        return Validity(reading.nodata, origin="as given")
    flags = {flag for band in bands for flag in dataset.mask_flag_enums[band - 1]}
    if MaskFlags.per_dataset in flags or ColorInterp.alpha in dataset.colorinterp:
        alpha = ColorInterp.alpha in dataset.colorinterp
        if alpha:
            _warn_of_varied_alpha(dataset, path, area)
        value = "" if dataset.nodata is None else "nodata value and "
        return Validity(dataset.nodata, origin=f"the file's {value}{'alpha' if alpha else 'mask'}")
    if dataset.nodata is None and dtype == np.uint8 and TCI.search(path.stem):
        return Validity(0.0, origin="a true colour image of Sentinel-2, by its name")
    declared = Validity(
        dataset.nodata, origin="" if dataset.nodata is None else "declared by the file"
    )
    if reading.declared_nodata_only:
        return declared
    with failures_as(f"{path}: damaged or truncated"):
        fill = find_fill(dataset, bands, area)
    if fill is None:
        return declared
    return Validity(dataset.nodata, fill, "found along the border, not declared by the file")


def _warn_of_varied_alpha(dataset: Any, path: Path, area: Window) -> None:
    """Warn if alpha varies in the middle of a scene, as near infrared does.

    GDAL states alpha for the last of four bytes, unless the program that writes them objects.
    """
    band = dataset.colorinterp.index(ColorInterp.alpha) + 1
    height, width = (min(length, _MIDDLE) for length in (area.height, area.width))
    top, left = area.row_off + (area.height - height) // 2, area.col_off + (area.width - width) // 2
    with failures_as(f"{path}: damaged or truncated"):
        values = dataset.read(band, window=Window(left, top, width, height))
    if np.unique(values).size > _MOST_OF_ALPHA:
        warn(
            BandsWarning,
            f"{path}: band {band} is stated to be alpha, but varies like near infrared, and hides "
            "pixels where it is 0; if it is not alpha, copy the scene by gdal_translate "
            f"-colorinterp_{band} undefined",
        )


def is_doubtful(rgb: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where pixels are probably holes, not ground: 0 in all bands of wide integers.

    Treating such a pixel as land while restoring does no harm; learning from it or scoring against
    it does. DN of 8 bits and floats are never doubtful.

    Args:
        rgb: (3, rows, columns).
    """
    if rgb.dtype.kind == "f" or rgb.dtype.itemsize == 1:
        return np.zeros(rgb.shape[1:], bool)
    return equal(rgb, 0)


def is_no_class(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the values of a cloud mask are undeclared nodata, not a class."""
    if values.dtype.kind == "u":
        return np.zeros(values.shape, bool)
    limits = np.finfo(values.dtype) if values.dtype.kind == "f" else np.iinfo(values.dtype)
    odd: NDArray[np.bool_] = np.isnan(values) | np.isin(values, [-9999, -32768, limits.min])
    return odd
