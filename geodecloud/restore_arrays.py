"""Restore arrays of NumPy, and of xarray with rioxarray's georeference.

An array passes through a temporary file, so that the result is what the command line would write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geodecloud.decloud import Report, decloud_scene
from geodecloud.errors import GeodecloudError, OutputError, UsageError
from geodecloud.masking import mask_scene
from geodecloud.raster.array import (
    ArrayInfo,
    bands_first,
    provenance_like,
    read_array,
    stated_scale_and_offset,
    write_array,
)
from geodecloud.raster.cloud_mask import read_cloud_mask
from geodecloud.raster.dn import has_data
from geodecloud.raster.provenance import Provenance, read_provenance
from geodecloud.raster.source import Source
from geodecloud.restore.patches import Predict
from geodecloud.settings import Settings

NO_INFO = ArrayInfo()
_ARRAY, _RESTORED = "array.tif", "out.tif"
_FILES = {_ARRAY: "the array", _RESTORED: "the restored array"}  # names of files in messages
_BANDS = range(3, 17)  # band counts of pictures, to recognise bands last


class Restored(NamedTuple):
    """A restored array.

    array: (bands, rows, columns), dtype of the input; for a masked input masked, at the input's
        masked pixels and at those that became nodata.
    provenance: uint8 (rows, columns), codes of :class:`geodecloud.Provenance`.
    report: counts of pixels and windows.
    """

    array: NDArray[Any]
    provenance: NDArray[np.uint8]
    report: Report


def restore_array(
    array: NDArray[Any],
    predict: Predict,
    settings: Settings,
    *,
    info: ArrayInfo = NO_INFO,
    model_name: str = "",
) -> Restored:
    """Restore an array of DN; see :func:`geodecloud.decloud_array`.

    Args:
        array: (bands, rows, columns); masked pixels are nodata.
        info: nodata, georeference and band descriptions.

    Raises:
        UsageError: the array has another shape, or ``settings`` name an output.
        SceneError: the array's values cannot be those of a scene.
    """
    output = settings.output
    beside = ("provenance", "opacity", "cloud_mask", "preview", "report", "stac")
    if given := [f"`{name}`" for name in beside if getattr(output, name)]:
        raise UsageError(f"an array is restored without files: leave out {', '.join(given)}")
    array = _native(array)
    with _as_source(array, settings, info) as source:
        folder = Path(source.name).parent
        dst, codes = folder / _RESTORED, folder / "codes.tif"
        settings = settings.replace(provenance=codes)
        report = decloud_scene(source, dst, predict, settings, model_name=model_name)
        restored: NDArray[Any] = read_array(dst)
        provenance = read_provenance(codes)
        if isinstance(array, np.ma.MaskedArray):
            removed = has_data(array.data, info.nodata) & ~has_data(restored, info.nodata)
            removed |= provenance == Provenance.CLOUD_REMOVED
            mask = np.ma.getmaskarray(array) | removed
            restored = np.ma.MaskedArray(restored, mask, fill_value=array.fill_value)
        report = replace(report, dst=Path(_FILES[_RESTORED]))
        return Restored(restored, provenance, report)


def mask_array(
    array: NDArray[Any], predict: Predict, settings: Settings, *, info: ArrayInfo = NO_INFO
) -> NDArray[np.uint8]:
    """Return the cloud mask of an array of DN; see :func:`geodecloud.cloud_mask`.

    Args:
        array, info: as in :func:`restore_array`.

    Raises:
        UsageError: the array has another shape.
        SceneError: the array's values cannot be those of a scene.
    """
    with _as_source(_native(array), settings, info) as source:
        path = Path(source.name).parent / "mask.tif"
        mask_scene(source, path, predict, settings)
        return read_cloud_mask(path)


def _native(array: Any) -> NDArray[Any]:
    """Return an array, or nested lists, as an array in native byte order."""
    array = np.asanyarray(array)
    native: NDArray[Any] = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native


@contextmanager
def _as_source(array: NDArray[Any], settings: Settings, info: ArrayInfo) -> Iterator[Source]:
    """Write an array to a temporary file; yield the file as a source."""
    if array.ndim != 3:
        raise UsageError(
            f"the array has shape {array.shape}: give (bands, rows, columns); "
            "np.moveaxis(array, -1, 0) makes it from (rows, columns, bands)"
        )
    if 0 in array.shape:
        raise UsageError(f"the array has shape {array.shape}: it is empty")
    hidden = hidden_pixels(array, settings.reading.bands or (1, 2, 3), info.nodata)
    with _temporary_folder() as folder:
        src = folder / _ARRAY
        write_array(src, np.ma.getdata(array), info, None if hidden is None else ~hidden)
        yield Source(str(src), _FILES[_ARRAY])


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Make a temporary folder; errors raised in the block name the array, not its files.

    Raises:
        OutputError: the folder cannot be made.
    """
    folder = ""
    try:
        with TemporaryDirectory(prefix="geodecloud-") as folder:
            yield Path(folder)
    except GeodecloudError as error:
        text = str(error.args[0])
        for file, name in _FILES.items():
            text = text.replace(str(Path(folder, file)), name)
        raise type(error)(text.replace(folder, gettempdir())) from error
    except OSError as error:
        if folder:
            raise
        raise OutputError(f"cannot make a temporary folder ({error}); set TMPDIR") from error


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


def refuse_bands_last(array: Any) -> None:
    """Refuse an array, or nested lists, with bands last, the order of Pillow and OpenCV.

    Raises:
        UsageError: the shape is (rows, columns, bands).
    """
    shape = np.shape(array)
    if len(shape) == 3 and shape[2] in _BANDS and shape[0] not in range(_BANDS.stop):
        raise UsageError(
            f"the array has shape {shape}, which looks like (rows, columns, bands): give (bands, "
            "rows, columns), by np.moveaxis(array, -1, 0)"
        )


def restore_dataarray(
    data: Any, predict: Predict, settings: Settings, *, model_name: str = ""
) -> tuple[Any, Any]:
    """Restore an xarray.DataArray; see :func:`geodecloud.decloud_dataarray`.

    Raises:
        UsageError: the dimensions are not bands, rows and columns.
    """
    ordered = bands_first(data)
    if settings.reading.scale is None and settings.reading.offset is None:
        settings = settings.replace(**stated_scale_and_offset(data.attrs))
    done = restore_array(
        np.asarray(ordered.values),
        predict,
        settings,
        info=ArrayInfo.of_dataarray(ordered),
        model_name=model_name,
    )
    restored = ordered.copy(data=done.array).transpose(*data.dims)
    return restored, provenance_like(ordered, done.provenance)
