"""Convert the values that a user may give for an option to its type.

Each function raises ValueError with a remedy if the value is not clear.
"""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# At least two letters before a colon: one is a drive of Windows.
_GDAL_NAME = re.compile(r"/vsi|[a-z][a-z0-9+.-]+://|[A-Z][A-Z0-9_]+:")

_QUERY = re.compile(r"(https?://[^?]*)\?.*")
_RANGE = re.compile(r"\s*(-?\d+)\s*-\s*(-?\d+)\s*")
_LONGEST_RANGE = 65535  # numbers of 16 bits


def bands(value: Any) -> tuple[int, ...]:
    """Return three band numbers from "4,3,2" or any sequence."""
    remedy = "give three numbers like 4,3,2"
    parts = _parts(value, remedy)
    if len(parts) != 3:
        raise ValueError(remedy)
    return tuple(whole(part, remedy) for part in parts)


def values(value: Any) -> tuple[int, ...]:
    """Return whole numbers from "3,8,9,10", with ranges "1,3-5", one number or any sequence."""
    remedy = "give whole numbers like 3,8,9,10, or ranges like 1,3-5"
    return tuple(number for part in _parts(value, remedy) for number in _range(part, remedy))


def names(value: Any) -> tuple[str, ...]:
    """Return names from "B08,B11" or any sequence of texts."""
    remedy = "give names like B08,B11, all, or none"
    found = tuple(str(part).strip() for part in _parts(value, remedy))
    if not all(found) or ({"all", "none"} & {name.lower() for name in found} and len(found) > 1):
        raise ValueError(remedy)
    return found or ("none",)


def numbers(value: Any) -> tuple[float, ...]:
    """Return numbers from "842,1610", one number or any sequence."""
    remedy = "give numbers like 842,1610"
    return tuple(number_of(part, remedy) for part in _parts(value, remedy))


def _range(part: Any, remedy: str) -> range:
    """Return the numbers that "3-5" or a single number means."""
    match = _RANGE.fullmatch(part) if isinstance(part, str) else None
    first, last = map(int, match.groups()) if match else [whole(part, remedy)] * 2
    if not 0 <= last - first <= _LONGEST_RANGE:
        raise ValueError(remedy)
    return range(first, last + 1)


def size(value: Any) -> int:
    """Return bytes from "1GiB", "600MiB" or a whole number of bytes.

    Raises:
        ValueError: the text has no unit, or is not a size.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt])(?:i?b)?", str(value).strip().lower())
    if not match:
        raise ValueError("give a size with its unit, like 1GiB or 600MiB")
    number, unit = match.groups()
    return int(float(number) * 1024 ** ("kmgt".index(unit) + 1))


def offset(value: Any) -> float | None:
    """Return a number, or None for "auto"."""
    return None if value == "auto" else number_of(value, "give a number like -1000")


def threads(value: Any) -> int | None:
    """Return a whole number, or None for "ALL_CPUS", as GDAL spells it."""
    if str(value).upper() == "ALL_CPUS":
        return None
    return whole(value, "give a whole number, or ALL_CPUS")


def aoi(value: Any) -> str:
    """Return "left,bottom,right,top" from four numbers, or the path of a GeoJSON file."""
    remedy = "give left,bottom,right,top or a GeoJSON file"
    if isinstance(value, str | os.PathLike):
        if not str(value):  # else no area at all
            raise ValueError(remedy)
        return str(value)
    corners = [number_of(part, remedy) for part in _parts(value, remedy)]
    if len(corners) != 4:
        raise ValueError(remedy)
    return ",".join(f"{corner:.17g}" for corner in corners)


def is_gdal_name(name: str) -> bool:
    """Return whether only GDAL can open a name: ``/vsi...``, ``vrt://`` or a subdataset."""
    return bool(_GDAL_NAME.match(name))


def without_query(name: str) -> str:
    """Return a name without the query of its URL, which may hold a secret signature."""
    return _QUERY.sub(r"\1", name)


def raster(value: Any) -> Path | str:
    """Return a path; or a string for a name that only GDAL can open: ``Path`` would garble it."""
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise ValueError("give the path of a file")
    return str(value) if is_gdal_name(str(value)) else Path(value)


def rasters(value: Any) -> tuple[Path | str, ...]:
    """Return the names of rasters from one name or any sequence of names."""
    remedy = "give the path of a file, or several"
    names = [value] if isinstance(value, str | os.PathLike) else _parts(value, remedy)
    if not all(isinstance(name, str | os.PathLike) for name in names):
        raise ValueError(remedy)
    return tuple(map(raster, names))


def pairs(value: Any) -> tuple[str, ...]:
    """Return GDAL creation options, "KEY=VALUE" each, from one, a sequence or a mapping."""
    if isinstance(value, Mapping):
        value = [f"{key}={one}" for key, one in value.items()]
    remedy = "give KEY=VALUE pairs like COMPRESS=ZSTD"
    pairs = [value] if isinstance(value, str) else _parts(value, remedy)
    if not all(isinstance(pair, str) and re.fullmatch(r"\w+=.*", pair) for pair in pairs):
        raise ValueError(remedy)
    return tuple(pairs)


def lower_case(value: Any) -> str:
    """Return a choice in lower case, as GDAL's users write COG and GTiff."""
    return str(value).lower()


def nodata(value: Any) -> float:
    """Return a number, or NaN from "nan"."""
    if str(value).strip().lower() == "nan":
        return math.nan
    return number_of(value, "give a number, or nan")


def whole(value: Any, remedy: str = "give a whole number") -> int:
    """Return a whole number; a ValueError says ``remedy``."""
    number = number_of(value, remedy)
    if not number.is_integer():
        raise ValueError(remedy)
    return int(number)


def number_of(value: Any, remedy: str = "give a number") -> float:
    """Return a finite number; a ValueError says ``remedy``."""
    if isinstance(value, bool):
        raise ValueError(remedy)
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(remedy) from None
    if not math.isfinite(number):
        raise ValueError(remedy)
    return number


def _parts(value: Any, remedy: str) -> list[Any]:
    """Return the parts of "1,2,3", one number or any sequence; a ValueError says ``remedy``."""
    if isinstance(value, str):
        return value.split(",")
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
        raise ValueError(remedy)
    return list(value)
