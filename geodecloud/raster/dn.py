"""Compare DN, and write them in messages and in JSON."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def exact(value: float) -> str:
    """Return the shortest text that reads back as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def json_number(value: float | None) -> float | str | None:
    """Return a number for JSON; NaN and infinity, which JSON lacks, as "nan", "inf" or "-inf"."""
    return value if value is None or math.isfinite(value) else str(float(value))


def holds(dtype: np.dtype[Any], value: float) -> bool:
    """Return whether a dtype can hold a value exactly; floats hold NaN and any in their range."""
    if dtype.kind == "f":
        return bool(np.isnan(value) or abs(value) <= np.finfo(dtype).max)
    if not np.isfinite(value):
        return False
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def is_nan(value: float | None) -> bool:
    """Return whether a nodata value is NaN, which equals nothing; None: there is none."""
    return value is not None and bool(np.isnan(value))


def has_data(dn: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Return where DN of any shape are data: finite, and not the nodata value."""
    there: NDArray[np.bool_] = np.isfinite(dn) if dn.dtype.kind == "f" else np.ones(dn.shape, bool)
    if nodata is not None and not np.isnan(nodata):
        there &= dn != nodata
    return there


def equal(rgb: NDArray[Any], value: float | NDArray[Any]) -> NDArray[np.bool_]:
    """Return where red, green and blue all equal the value: bool, ``rgb.shape[1:]``."""
    wanted = rgb.dtype.type(value)
    same: NDArray[np.bool_] = rgb[0] == wanted
    for band in rgb[1:]:
        same &= band == wanted
    return same
