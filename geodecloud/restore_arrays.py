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
from geodecloud.masking import mask_scene, refuse_outputs
from geodecloud.raster.array import ArrayInfo, read_array, refuse_dtype, write_array
from geodecloud.raster.cloud_mask import read_cloud_mask
from geodecloud.raster.dataarray import bands_first, codes_like, info_of
from geodecloud.raster.dn import has_data, is_nan
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.masked_array import hidden_pixels, without_masked
from geodecloud.raster.provenance import Provenance, read_provenance
from geodecloud.raster.source import Source
from geodecloud.raster.statements import TAG
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


class _Run(NamedTuple):
    """The result of a run: what it restored, and the nodata value and our tags of its file."""

    restored: Restored
    nodata: float | None
    tags: dict[str, str]


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
        UsageError: the array has another shape, or ``settings`` name an output or an area.
        SceneError: the array's values cannot be those of a scene.
    """
    return _run(array, predict, settings, info, model_name).restored


def _run(
    array: NDArray[Any], predict: Predict, settings: Settings, info: ArrayInfo, model_name: str
) -> _Run:
    _refuse_unused(settings)
    array = _native(array)
    with _as_source(array, settings, info) as source:
        folder = Path(source.name).parent
        dst, codes = folder / _RESTORED, folder / "codes.tif"
        settings = settings.replace(provenance=codes)
        report = decloud_scene(source, dst, predict, settings, model_name=model_name)
        restored: NDArray[Any] = read_array(dst)
        provenance = read_provenance(codes)
        with open_raster(dst) as file:
            nodata, tags = file.nodata, file.tags()
        if isinstance(array, np.ma.MaskedArray):
            restored = _masked_like(array, restored, provenance, nodata)
        done = Restored(restored, provenance, replace(report, dst=Path(_FILES[_RESTORED])))
        ours = {name: text for name, text in tags.items() if name.startswith(TAG)}
        return _Run(done, nodata, ours)


def _masked_like(
    array: Any, restored: NDArray[Any], provenance: NDArray[np.uint8], nodata: float | None
) -> NDArray[Any]:
    """Return restored pixels with the mask of an array, and what it hides as it was."""
    removed = has_data(array.data, nodata) & ~has_data(restored, nodata)
    removed |= provenance == Provenance.CLOUD_REMOVED
    mask = np.ma.getmaskarray(array)
    np.copyto(restored, array.data, where=mask)
    return np.ma.MaskedArray(restored, mask | removed, fill_value=array.fill_value)


def mask_array(
    array: NDArray[Any], predict: Predict, settings: Settings, *, info: ArrayInfo = NO_INFO
) -> NDArray[np.uint8]:
    """Return the cloud mask of an array of DN; see :func:`geodecloud.cloud_mask`.

    Args:
        array, info: as in :func:`restore_array`.

    Raises:
        UsageError: the array has another shape, or ``settings`` name an output or an area.
        SceneError: the array's values cannot be those of a scene.
    """
    _refuse_unused(settings)
    with _as_source(_native(array), settings, info) as source:
        path = Path(source.name).parent / "mask.tif"
        mask_scene(source, path, predict, settings)
        return read_cloud_mask(path)


def _refuse_unused(settings: Settings) -> None:
    """Refuse settings that an array has no use for.

    Raises:
        UsageError: they name an output, or an area: the result has the shape of the array.
    """
    refuse_outputs(settings.output, "an array is restored without files")
    if settings.reading.aoi is not None:
        raise UsageError(
            f"`aoi` is {settings.reading.aoi}: an array is restored whole; leave it out, and give "
            "a part of the array"
        )


def _native(array: Any) -> NDArray[Any]:
    """Return an array, or nested lists of decimal numbers, as an array in native byte order.

    Raises:
        UsageError: it is no array.
    """
    try:
        array = np.asanyarray(array)
    except ValueError as error:
        raise UsageError(f"the array is none ({error}); give lists of equal lengths") from error
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
    refuse_dtype(array.dtype, info.nodata)
    bands = settings.reading.bands or (1, 2, 3)
    hidden = hidden_pixels(array, bands, info.nodata)
    values = np.ma.getdata(array)
    if hidden is not None:
        others = [band for band in range(len(array)) if band + 1 not in bands]
        values, nodata = without_masked(array, others, info.nodata)
        info = replace(info, nodata=nodata)
    with _temporary_folder() as folder:
        src = folder / _ARRAY
        write_array(src, values, info, None if hidden is None else ~hidden)
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


def is_xarray(array: Any) -> bool:
    """Return whether an array is one of xarray: a DataArray or a Dataset."""
    return hasattr(array, "dims") and hasattr(array, "coords")


def as_array(array: Any) -> NDArray[Any]:
    """Return an array, or nested lists, as an array of NumPy.

    Raises:
        UsageError: it is an xarray.DataArray, whose nodata, scale and CRS NumPy would lose; or the
            shape is (rows, columns, bands), the order of Pillow and OpenCV.
    """
    if is_xarray(array):
        raise UsageError(
            f"the array is of type {type(array).__name__}: call decloud_dataarray, which reads its "
            "nodata, scale and CRS"
        )
    native = _native(array)
    shape = native.shape
    if len(shape) == 3 and shape[2] in _BANDS and shape[0] not in range(_BANDS.stop):
        raise UsageError(
            f"the array has shape {shape}, which looks like (rows, columns, bands): give (bands, "
            "rows, columns), by np.moveaxis(array, -1, 0)"
        )
    return native


def restore_dataarray(
    data: Any, predict: Predict, settings: Settings, *, model_name: str = ""
) -> tuple[Any, Any]:
    """Restore an xarray.DataArray; see :func:`geodecloud.decloud_dataarray`.

    Raises:
        UsageError: the dimensions are not bands, rows and columns, or attributes are of no use.
    """
    ordered = bands_first(data)
    info = info_of(ordered)
    done = _run(np.asarray(ordered.values), predict, settings, info, model_name)
    restored = ordered.copy(data=done.restored.array).assign_attrs(done.tags)
    if done.nodata not in (None, info.nodata) and not is_nan(info.nodata):
        restored = restored.rio.write_nodata(done.nodata)
    provenance = codes_like(ordered, done.restored.provenance, "provenance")
    return restored.transpose(*data.dims), provenance


def mask_dataarray(data: Any, predict: Predict, settings: Settings) -> Any:
    """Return the cloud mask of an xarray.DataArray; see :func:`geodecloud.cloud_mask`.

    Raises:
        UsageError: as :func:`restore_dataarray`.
    """
    ordered = bands_first(data)
    values = np.asarray(ordered.values)
    classes = mask_array(values, predict, settings, info=info_of(ordered))
    return codes_like(ordered, classes, "cloud_mask")
