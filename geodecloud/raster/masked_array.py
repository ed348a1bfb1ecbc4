"""Write masked arrays of NumPy to a file, which has one mask for all bands."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def hidden_pixels(
    array: NDArray[Any], bands: tuple[int, int, int], nodata: float | None
) -> NDArray[np.bool_] | None:
    """Return where red, green or blue of an array is masked; None if no pixel is.

    In a file with a mask the nodata value means nothing, so its pixels are hidden here too.

    Args:
        array: (bands, rows, columns).
        bands: numbers of the red, green and blue bands, from 1.

    Returns:
        bool (rows, columns).
    """
    if not np.ma.is_masked(array) or max(bands) > len(array):
        return None
    rgb = [band - 1 for band in bands]
    hidden: Any = np.ma.getmaskarray(array)[rgb].any(axis=0)
    if nodata is not None:
        hidden |= (np.ma.getdata(array)[rgb] == nodata).any(axis=0)
    return np.asarray(hidden, bool)


def without_masked(
    array: Any, bands: list[int], nodata: float | None
) -> tuple[NDArray[Any], float | None]:
    """Return an array's values, with nodata at the masked pixels of some bands, and that nodata.

    A file has one mask for all bands, that of red, green and blue.

    Args:
        array: masked (bands, rows, columns).
        bands: indices of the bands other than red, green and blue.
        nodata: the value that means nodata; None: one that no pixel has, if there is any.
    """
    masked = np.zeros(array.shape, bool)
    masked[bands] = np.ma.getmaskarray(array)[bands]
    if not masked.any():
        return np.ma.getdata(array), nodata
    if nodata is None:
        nodata = _unused(array)
    if nodata is None:
        return np.ma.getdata(array), None
    return np.where(masked, array.dtype.type(nodata), np.ma.getdata(array)), nodata


def _unused(array: NDArray[Any]) -> float | None:
    """Return a value that no pixel has, masked or not; None: pixels of 8 bits have all."""
    if array.dtype.kind == "f":
        return float("nan")
    limits, values = np.iinfo(array.dtype), np.unique(np.ma.getdata(array))
    near_the_end = range(limits.max, max(limits.max - len(values), limits.min) - 1, -1)
    found = set(values.tolist())
    return next((float(value) for value in near_the_end if value not in found), None)
