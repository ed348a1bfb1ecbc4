"""Arrays in, arrays out: NumPy, and xarray with rioxarray's georeference.

An array goes the way of a file, through a temporary one, so that what comes back is what the
command line would have written.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geodecloud.decloud import Report, decloud_scene
from geodecloud.errors import UsageError
from geodecloud.raster.array import (
    ArrayInfo,
    bands_first,
    provenance_like,
    read_array,
    stated_scale_and_offset,
    write_array,
)
from geodecloud.raster.provenance import read_provenance
from geodecloud.restore.patches import Predict
from geodecloud.settings import Settings

NO_INFO = ArrayInfo()


class Restored(NamedTuple):
    """An array without clouds.

    array: (bands, rows, columns), dtype of the input.
    provenance: uint8 (rows, columns): 0 measured, 1-100 percent restored, 101 filled, 102 beyond
        the limit for that, 110 and up from a reference, 255 nodata.
    report: what was done.
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
    """Restore (bands, rows, columns) of DN; see :func:`geodecloud.decloud_array`.

    Args:
        info: nodata, georeference and descriptions of the bands.

    Raises:
        UsageError: the array has another shape, or an output is named in ``settings``.
        SceneError: its values are of a kind that is no scene.
    """
    if array.ndim != 3:
        raise UsageError(
            f"the array has shape {array.shape}: (bands, rows, columns) is needed; "
            "np.moveaxis(array, -1, 0) makes it from (rows, columns, bands)"
        )
    if 0 in array.shape:
        raise UsageError(f"the array has shape {array.shape}: it is empty")
    output = settings.output
    if output.provenance or output.preview or output.stac:
        raise UsageError("an array has no outputs beside it: leave provenance, preview, stac out")
    with TemporaryDirectory(prefix="geodecloud-") as folder:
        src, dst, codes = (Path(folder) / name for name in ("array.tif", "out.tif", "codes.tif"))
        write_array(src, array, info)
        settings = settings.replace(provenance=codes)
        report = decloud_scene(src, dst, predict, settings, model_name=model_name)
        return Restored(read_array(dst), read_provenance(codes), report)


def restore_dataarray(
    data: Any, predict: Predict, settings: Settings, *, model_name: str = ""
) -> tuple[Any, Any]:
    """Restore an xarray.DataArray; see :func:`geodecloud.decloud_dataarray`.

    Raises:
        UsageError: it has other dimensions than bands, rows and columns.
    """
    ordered = bands_first(data)
    if settings.reading.scale is None and settings.reading.offset is None:
        settings = settings.replace(**stated_scale_and_offset(data.attrs))
    done = restore_array(
        np.asarray(ordered.values),
        predict,
        settings,
        info=ArrayInfo.of_dataarray(data),
        model_name=model_name,
    )
    restored = ordered.copy(data=done.array).transpose(*data.dims)
    return restored, provenance_like(ordered, done.provenance)
