"""Remove clouds from satellite rasters, and say which pixels were invented.

    import geodecloud
    report = geodecloud.decloud_file("scene.tif", "clear.tif")

Importing this package imports neither torch nor rasterio; using it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from geodecloud.arrays import Restored
    from geodecloud.decloud import Report
    from geodecloud.model.predictor import Predictor
    from geodecloud.raster.source import Src
    from geodecloud.settings import Precision, Settings

__all__ = ["Settings", "__version__", "decloud_array", "decloud_dataarray", "decloud_file"]


def decloud_file(
    src: Src,
    dst: str | Path,
    settings: Settings | None = None,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Report:
    """Restore the scene ``src`` into the new GeoTIFF ``dst``.

    Args:
        src: a raster, a Sentinel-2 product, or files of one band each; see
            :func:`geodecloud.raster.source.find_source`.
        settings: bands, radiometry, windows, what to do under opaque cloud; see
            :class:`geodecloud.decloud.Settings`.
        model: a model file; None: the one that comes with the package.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "auto", "fp32" or "bf16".

    Returns:
        what was done: pixels, windows, fractions, seconds.

    Raises:
        geodecloud.errors.GeodecloudError: with one line that names the file, the value and the
            remedy. ``dst`` is then as it was before.
    """
    from pathlib import Path

    from geodecloud.decloud import decloud_scene

    predictor = _predictor(model, device, precision)
    return decloud_scene(src, Path(dst), predictor, settings, model_name=predictor.name)


def decloud_array(
    array: NDArray[Any],
    settings: Settings | None = None,
    *,
    nodata: float | None = None,
    scale: float | None = None,
    offset: float | None = None,
    **network: Any,
) -> Restored:
    """Restore an array.

    Args:
        array: (bands, rows, columns), DN or reflectance, of any integer type up to 32 bits or
            float32 or float64; its first three bands are red, green, blue, unless
            ``settings.bands`` says otherwise.
        settings: as of :func:`decloud_file`; no outputs.
        nodata: the value that means nodata, in any of red, green and blue.
        scale, offset: reflectance = (array + offset) / scale; None: as ``settings`` say, else 1
            and 0 for floats, 10000 and 0 for integers, a picture's for uint8.
        network: ``model``, ``device``, ``precision`` of :func:`decloud_file`.

    Returns:
        (array, provenance, report): the array's shape and dtype, clear pixels as they were;
        uint8 (rows, columns), 0 measured, 1-100 percent restored, 101 filled, 255 nodata.

    Raises:
        geodecloud.errors.GeodecloudError: the array is no scene, or the network fails.
    """
    from geodecloud.arrays import restore_array
    from geodecloud.raster.array import ArrayInfo
    from geodecloud.settings import Settings

    chosen = settings or Settings()
    reading = chosen.reading
    chosen = chosen.replace(
        bands=reading.bands or (1, 2, 3),
        scale=reading.scale if scale is None else scale,
        offset=reading.offset if offset is None else offset,
    )
    predictor = _predictor(**network)
    info = ArrayInfo(nodata=nodata)
    return restore_array(array, predictor, chosen, info=info, model_name=predictor.name)


def decloud_dataarray(
    data: Any, settings: Settings | None = None, **network: Any
) -> tuple[Any, Any]:
    """Restore an ``xarray.DataArray`` that rioxarray has opened. Needs the extra ``xarray``.

    Args:
        data: of three dimensions, bands beside rows and columns, as DN or reflectance like an
            array for :func:`decloud_array`. Its nodata and CRS are those of ``data.rio``, its
            bands' names those of ``long_name``, its scale and offset ``scale_factor`` and
            ``add_offset`` where xarray has not applied them.
        settings: as of :func:`decloud_file`; no outputs.
        network: ``model``, ``device``, ``precision`` of :func:`decloud_file`.

    Returns:
        (restored, provenance): ``data`` with other values, coordinates and attributes kept; and
        uint8 over rows and columns, as of :func:`decloud_array`.

    Raises:
        geodecloud.errors.GeodecloudError: the array is no scene, or the network fails.
    """
    from geodecloud.arrays import restore_dataarray
    from geodecloud.settings import Settings

    predictor = _predictor(**network)
    return restore_dataarray(data, predictor, settings or Settings(), model_name=predictor.name)


def _predictor(
    model: str | Path | None = None, device: str = "auto", precision: Precision = "auto"
) -> Predictor:
    from pathlib import Path

    from geodecloud.model.checkpoint import default_model
    from geodecloud.model.predictor import Predictor

    return Predictor(Path(model) if model else default_model(), device, precision)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from geodecloud.version import VERSION

        return VERSION
    if name == "Settings":
        from geodecloud.settings import Settings

        return Settings
    raise AttributeError(f"module 'geodecloud' has no attribute {name!r}")
