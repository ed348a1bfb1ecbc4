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
