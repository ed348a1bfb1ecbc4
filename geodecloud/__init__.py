"""Remove clouds from satellite rasters, and record which pixels were invented.

    import geodecloud
    report = geodecloud.decloud_file("scene.tif", "clear.tif", provenance="provenance.tif")

Importing this package imports neither torch nor rasterio; using it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from geodecloud.decloud import Report
    from geodecloud.errors import (
        BandsWarning,
        ConfigError,
        DataError,
        DataWarning,
        DeviceWarning,
        FillWarning,
        GeodecloudError,
        GeodecloudWarning,
        GeoreferenceWarning,
        ModelError,
        NodataWarning,
        OutputError,
        OutputWarning,
        PixelSizeWarning,
        RadiometryWarning,
        RoomWarning,
        SceneError,
        UsageError,
    )
    from geodecloud.masking import MaskReport
    from geodecloud.model.predictor import Predictor
    from geodecloud.raster.cloud_mask import CloudClass
    from geodecloud.raster.provenance import Provenance, is_real
    from geodecloud.raster.source import Src
    from geodecloud.restore_arrays import Restored
    from geodecloud.settings import (
        Limits,
        ModelSpec,
        Output,
        Policy,
        Precision,
        Reading,
        Settings,
        Windows,
    )
    from geodecloud.version import VERSION as __version__  # noqa: N811

__all__ = [
    "BandsWarning",
    "CloudClass",
    "ConfigError",
    "DataError",
    "DataWarning",
    "DeviceWarning",
    "FillWarning",
    "GeodecloudError",
    "GeodecloudWarning",
    "GeoreferenceWarning",
    "Limits",
    "ModelError",
    "ModelSpec",
    "NodataWarning",
    "Output",
    "OutputError",
    "OutputWarning",
    "PixelSizeWarning",
    "Policy",
    "Provenance",
    "RadiometryWarning",
    "Reading",
    "Report",
    "RoomWarning",
    "SceneError",
    "Settings",
    "UsageError",
    "Windows",
    "__version__",
    "cloud_mask",
    "decloud_array",
    "decloud_dataarray",
    "decloud_file",
    "is_real",
    "mask_file",
]


def decloud_file(
    src: Src,
    dst: str | Path,
    settings: Settings | None = None,
    *,
    model: str | Path | ModelSpec | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    **options: Any,
) -> Report:
    """Restore the scene ``src`` into the new GeoTIFF ``dst``.

    Args:
        src: a raster, a Sentinel-2 product, or files of one band each; see
            :func:`geodecloud.raster.source.find_source`.
        dst: the file to write; it appears whole or not at all.
        settings: bands, radiometry, windows, treatment of opaque cloud, outputs.
        model: a model file, or a :class:`ModelSpec`; None: the built-in model.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "auto", "fp32" or "bf16".
        options: fields of the parts of :class:`Settings`, like ``opaque="nodata"``; they override
            ``settings``. None leaves a field as it is.

    Returns:
        counts of pixels and windows, fractions, seconds.

    Raises:
        GeodecloudError: one line that names the file, the value and the remedy; ``dst`` is left
            untouched.
    """
    from geodecloud.decloud import decloud_scene

    src, dst = _files(src, dst)
    chosen = _with_options(settings, options)
    predictor = _load(model, device, precision, chosen)
    return decloud_scene(src, dst, predictor, chosen, model_name=predictor.name)


def decloud_array(
    array: NDArray[Any],
    settings: Settings | None = None,
    *,
    nodata: float | None = None,
    pixel_size: float | None = None,
    model: str | Path | ModelSpec | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    **options: Any,
) -> Restored:
    """Restore an array.

    Args:
        array: (bands, rows, columns), DN or reflectance: integers of at most 32 bits, float32 or
            float64. The first three bands are red, green and blue, unless ``bands`` says
            otherwise. Masked pixels are nodata, and stay masked.
        settings: as in :func:`decloud_file`, without outputs and ``aoi``.
        nodata: the value that means nodata, in any of red, green and blue.
        pixel_size: height and width of a pixel in metres, on which the search for clouds and
            ``fill_limit`` depend; None: taken for 10, and ``fill_limit`` is refused. A file states
            it by its grid.
        model, device, precision: as in :func:`decloud_file`.
        options: as in :func:`decloud_file`, like ``scale=10000, offset=-1000``: reflectance =
            (array + offset) / scale. The default scale and offset are 1 and 0 for floats, 10000
            and 0 for integers; uint8 is read as a picture.

    Returns:
        (array, provenance, report): the restored array, with the shape and dtype of the input and
        its clear pixels unchanged; uint8 (rows, columns), codes of :class:`Provenance`; counts.

    Raises:
        GeodecloudError: the array is not a scene, or the network fails.
    """
    from geodecloud.errors import UsageError
    from geodecloud.raster.array import given_info
    from geodecloud.restore_arrays import as_array, restore_array

    chosen = _with_options(settings, options)
    array = as_array(array)
    info = given_info(nodata, pixel_size)
    if chosen.policy.fill_limit is not None and pixel_size is None:
        raise UsageError("`fill_limit` is in metres: give `pixel_size`, too")
    chosen = chosen.replace(bands=chosen.reading.bands or (1, 2, 3))
    predictor = _load(model, device, precision, chosen)
    return restore_array(array, predictor, chosen, info=info, model_name=predictor.name)


def decloud_dataarray(
    data: Any,
    settings: Settings | None = None,
    *,
    model: str | Path | ModelSpec | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    **options: Any,
) -> tuple[Any, Any]:
    """Restore an ``xarray.DataArray`` opened by rioxarray; needs the extra ``xarray``.

    Args:
        data: three dimensions, bands, rows and columns; DN or reflectance as in
            :func:`decloud_array`. Nodata and CRS come from ``data.rio``, the place of pixels from
            the coordinates. Band names come from ``long_name``; scale and offset, where xarray has
            not applied them, from ``scale_factor`` and ``add_offset``. Other attributes count as a
            file's tags. Pixels without a CRS are taken for 10 m: set it by
            ``data.rio.write_crs``.
        settings: as in :func:`decloud_file`, without outputs and ``aoi``.
        model, device, precision, options: as in :func:`decloud_file`.

    Returns:
        (restored, provenance): ``data`` with restored values, and GEODECLOUD_ attributes like the
        tags of an output; and uint8 over rows and columns, as in :func:`decloud_array`. Removed
        cloud has the nodata value of ``data.rio``; in decoded floats that is NaN.

    Raises:
        GeodecloudError: the array is not a scene, or the network fails.
    """
    from geodecloud.restore_arrays import restore_dataarray

    chosen = _with_options(settings, options)
    predictor = _load(model, device, precision, chosen)
    return restore_dataarray(data, predictor, chosen, model_name=predictor.name)


def mask_file(
    src: Src,
    dst: str | Path,
    settings: Settings | None = None,
    *,
    model: str | Path | ModelSpec | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    **options: Any,
) -> MaskReport:
    """Write the cloud mask of the scene ``src`` into the new GeoTIFF ``dst``; restore nothing.

    Args:
        src, dst, model, device, precision, options: as in :func:`decloud_file`.
        settings: as in :func:`decloud_file`, without further outputs.

    Returns:
        the number of pixels of each :class:`CloudClass`, seconds.

    Raises:
        GeodecloudError: one line that names the file, the value and the remedy.
    """
    from geodecloud.masking import mask_scene, refuse_outputs

    src, dst = _files(src, dst)
    chosen = _with_options(settings, options)
    refuse_outputs(chosen.output, "only the cloud mask is written")
    predictor = _load(model, device, precision, chosen)
    return mask_scene(src, dst, predictor, chosen, model_name=predictor.name)


def cloud_mask(
    array: NDArray[Any],
    settings: Settings | None = None,
    *,
    nodata: float | None = None,
    pixel_size: float | None = None,
    model: str | Path | ModelSpec | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    **options: Any,
) -> Any:
    """Return the cloud mask of an array: uint8 (rows, columns), codes of :class:`CloudClass`.

    Args:
        array: as in :func:`decloud_array`; or an ``xarray.DataArray``, as in
            :func:`decloud_dataarray`, of which the mask is one, too.
        nodata, pixel_size: as in :func:`decloud_array`; a DataArray has its own pixel size.
        settings, model, device, precision, options: as in :func:`decloud_array`.

    Raises:
        GeodecloudError: the array is not a scene, or the network fails.
    """
    from geodecloud.errors import UsageError
    from geodecloud.raster.array import given_info
    from geodecloud.restore_arrays import as_array, is_xarray, mask_array, mask_dataarray

    chosen, info = _with_options(settings, options), given_info(nodata, pixel_size)
    if is_xarray(array):
        if pixel_size is not None:
            raise UsageError("`pixel_size` is given: leave it out, a DataArray has coordinates")
        chosen = chosen if nodata is None else chosen.replace(nodata=nodata)
        return mask_dataarray(array, _load(model, device, precision, chosen), chosen)
    array = as_array(array)
    chosen = chosen.replace(bands=chosen.reading.bands or (1, 2, 3))
    predictor = _load(model, device, precision, chosen)
    return mask_array(array, predictor, chosen, info=info)


def _files(src: Any, dst: Any) -> tuple[Src, Path]:
    from pathlib import Path

    from geodecloud.errors import UsageError
    from geodecloud.raster.source import Source
    from geodecloud.settings import parse
    from geodecloud.settings.option import shown

    def parsed(name: str, value: Any, parse_value: Callable[[Any], Any]) -> Any:
        try:
            return parse_value(value)
        except ValueError as error:
            raise UsageError(f"`{name}` is {shown(value)}: {error}") from None

    is_name = isinstance(src, Source | str | Path)
    found = src if is_name else parsed("src", src, parse.rasters)
    return found, Path(parsed("dst", dst, parse.raster))


def _with_options(settings: Settings | None, options: Mapping[str, Any]) -> Settings:
    from geodecloud.errors import UsageError
    from geodecloud.settings import Settings

    if settings is not None and not isinstance(settings, Settings):
        raise UsageError(f"`settings` is {settings!r}: give geodecloud.Settings(...)")
    given = {name: value for name, value in options.items() if value is not None}
    return (settings or Settings()).replace(**given)


def _load(
    model: str | Path | ModelSpec | None, device: str, precision: Precision, settings: Settings
) -> Predictor:
    from geodecloud.model.predictor import load_predictor
    from geodecloud.settings import ModelSpec

    if not isinstance(model, ModelSpec):
        model = ModelSpec(model, str(device), precision)  # type: ignore[arg-type]
    return load_predictor(model, settings.limits.threads)


# Modules of the exported names that are neither errors nor settings.
_HOMES = {
    "CloudClass": "raster.cloud_mask",
    "Provenance": "raster.provenance",
    "Report": "decloud",
    "is_real": "raster.provenance",
}


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'geodecloud' has no attribute {name!r}")
    if name == "__version__":
        return import_module("geodecloud.version").VERSION
    home = "errors" if name.endswith(("Error", "Warning")) else _HOMES.get(name, "settings")
    return getattr(import_module(f"geodecloud.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
