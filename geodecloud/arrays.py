"""Arrays in, arrays out: NumPy, and xarray with rioxarray's georeference.

An array goes the way of a file, through a temporary one, so that what comes back is what the
command line would have written.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geodecloud.decloud import Report, decloud_scene
from geodecloud.errors import UsageError
from geodecloud.raster.writer import read_all, write_all
from geodecloud.restore.strips import Predict
from geodecloud.settings import Settings

_NO_PLACE = 'LOCAL_CS["array"]'  # of an array that has no CRS: pixels, and no warning of it


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
    nodata: float | None = None,
    about: Mapping[str, Any] | None = None,
    model_name: str = "",
) -> Restored:
    """Restore (bands, rows, columns) of DN; see :func:`geodecloud.decloud_array`.

    Args:
        about: crs and transform, as rasterio takes them, and descriptions of the bands.

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
        src, dst, marks = (Path(folder) / name for name in ("array.tif", "out.tif", "marks.tif"))
        write_all(src, array, {"crs": _NO_PLACE, "nodata": nodata, **(about or {})})
        settings = settings.replace(provenance=marks)
        report = decloud_scene(src, dst, predict, settings, model_name=model_name)
        return Restored(read_all(dst), read_all(marks)[0], report)


def restore_dataarray(
    data: Any, predict: Predict, settings: Settings, *, model_name: str = ""
) -> tuple[Any, Any]:
    """Restore an xarray.DataArray; see :func:`geodecloud.decloud_dataarray`.

    Raises:
        UsageError: it has other dimensions than bands, rows and columns.
    """
    import rioxarray  # noqa: F401  gives DataArray its .rio
    import xarray

    rows, columns = data.rio.y_dim, data.rio.x_dim
    bands = [name for name in data.dims if name not in (rows, columns)]
    if len(bands) != 1:
        raise UsageError(
            f"the array has dimensions {data.dims}: bands, rows and columns are needed"
        )
    ordered = data.transpose(*bands, rows, columns)
    names = data.attrs.get("long_name", ())  # where rioxarray keeps the bands' descriptions
    about = {
        "crs": data.rio.crs.to_wkt() if data.rio.crs else _NO_PLACE,
        "transform": data.rio.transform() if data.rio.crs else None,
        "descriptions": names if isinstance(names, list | tuple) else (),
    }
    if settings.reading.scale is None and settings.reading.offset is None:
        settings = settings.replace(**_radiometry(data.attrs))
    done = restore_array(
        np.asarray(ordered.values),
        predict,
        settings,
        nodata=data.rio.nodata,
        about=about,
        model_name=model_name,
    )
    restored = ordered.copy(data=done.array).transpose(*data.dims)
    grid = {name: value for name, value in data.coords.items() if bands[0] not in value.dims}
    provenance = xarray.DataArray(
        done.provenance, dims=(rows, columns), coords=grid, name="provenance"
    ).rio.write_nodata(255)
    return restored, provenance


def _radiometry(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Scale and offset of DN that xarray has left in place: value = DN * factor + offset."""
    factor = float(attributes.get("scale_factor", 1.0))
    offset = float(attributes.get("add_offset", 0.0))
    if factor == 1:  # a bare offset is one of the DN, as in a file
        return {"offset": offset} if offset else {}
    return {"scale": 1 / factor, "offset": offset / factor}
