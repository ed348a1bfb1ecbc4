"""Resolve SRC, a raster, a Sentinel-2 product or one file per band, to a name that GDAL opens.

Files of one band each become a VRT in memory, with the tags of their product.
"""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rasterio.enums import ColorInterp

from geodecloud.errors import SceneError, UsageError, counted
from geodecloud.raster.archives import refuse_archive, refuse_damaged
from geodecloud.raster.bands import COLOURS, COMPOSITE, colour_numbers, colour_of_file
from geodecloud.raster.extra_bands import NONE, ExtraFile, Pixels, choose, known_files
from geodecloud.raster.file_set import of_same_day, refuse_other_days, refuse_other_order
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.layout import Layout
from geodecloud.raster.safe import (
    RESOLUTIONS,
    SafeProduct,
    is_subdataset,
    open_product,
    product_above,
)
from geodecloud.raster.sensors import BandNames
from geodecloud.raster.vrt import BANDS, Tags, vrt_of
from geodecloud.settings.parse import is_gdal_name

_MSS = re.compile(r"LM0[1-5]_", re.IGNORECASE)  # Landsat's Multispectral Scanner has no blue band
_RASTERS = (".jp2", ".tif", ".tiff")


@dataclass(frozen=True)
class Source:
    """A name to open.

    name: a path, or the text of a VRT, for GDAL to open.
    label: the name in messages and in the scene's path.
    layout: layout of the files of one band each; None: that of the file itself.
    """

    name: str
    label: str
    layout: Layout | None = None


Src = str | Path | Sequence[str | Path] | Source  # a source is opened as it is


def find_source(
    src: str | Path | Sequence[str | Path],
    resolution: int | None = None,
    extra_bands: Sequence[str] | None = None,
) -> Source:
    """Return the name that GDAL opens for ``src``.

    Args:
        src: a raster that GDAL reads, also by ``/vsi...`` or as a subdataset. Or a ``.SAFE``
            folder, its zip, or its ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml``. Or a folder or a
            pattern (``*``) of files of one band each. Or such files: red, green, blue, others.
        resolution: resolution of a product's bands in metres: 10, 20 or 60; None: 10.
        extra_bands: bands besides red, green and blue of a product, folder or pattern; see
            :func:`geodecloud.raster.extra_bands.choose`.

    Raises:
        SceneError: the file is missing, or the product or set of bands is incomplete.
        UsageError: ``src`` is empty or a pipe, or another argument does not apply to it.
    """
    if resolution is not None and resolution not in RESOLUTIONS:
        raise UsageError(f"`resolution` is {resolution}: Sentinel-2 has 10, 20 and 60 metres")
    if not src:
        raise UsageError("SRC is empty: name a file")
    if not isinstance(src, str | Path):
        return _files_given([str(file) for file in src], extra_bands)
    name = str(src)
    if name == "-":
        raise UsageError("SRC is -: a raster cannot be read from a pipe; name a file")
    if _exists(name) and Path(name).is_fifo():
        raise SceneError(f"{name}: is a pipe; a raster cannot be read from one, name a file")
    refuse_archive(name)
    if product := _product(name, resolution, extra_bands):
        return product
    if resolution is not None:
        raise UsageError(f"{name}: is not a Sentinel-2 product; leave `resolution` out")
    if not is_gdal_name(name):
        if Path(name).is_dir():
            return _folder([str(path) for path in _rasters_in(Path(name))], name, extra_bands)
        if glob.has_magic(name) and not _exists(name):
            found = glob.glob(name)  # noqa: PTH207  a pattern may be absolute
            return _folder(found, name, extra_bands)
        if ":" not in name and not _exists(name):
            raise SceneError(f"{name}: no such file; check its path")
    if extra_bands is not None:
        raise UsageError(
            f"{name}: is one raster, whose bands are all read; leave `extra_bands` out"
        )
    return Source(name, name)


def _rasters_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in _RASTERS]


def _files_given(files: list[str], extra_bands: Sequence[str] | None) -> Source:
    """Return the VRT of red, green, blue and further bands, one file per band."""
    colours, more = files[: len(COLOURS)], files[len(COLOURS) :]
    if extra_bands is not None:
        raise UsageError(
            f"{files[0]}: the files are given one by one: leave `extra_bands` out, and give the "
            "files of further bands after blue's"
        )
    if len(colours) == len(COLOURS):
        refuse_other_order(colours)
    known = known_files(more, ())
    if unknown := set(more) - {one.path for one in known}:
        raise UsageError(
            f"{min(unknown)}: the file's name does not say which band it is; rename it "
            "like B08 or nir"
        )
    wanted = [one.name for one in sorted(known, key=lambda one: more.index(one.path))]
    if twice := {name for name in wanted if wanted.count(name) > 1}:
        raise UsageError(f"{more[0]}: two files of band {min(twice)} are given; leave one out")
    return _stack(colours, label=files[0], known=known, wanted=wanted or (NONE,))


def _folder(files: list[str], where: str, extra_bands: Sequence[str] | None) -> Source:
    """Return the VRT of the bands in a folder or of a pattern.

    Args:
        where: the folder or pattern, for messages.
    """
    colours = _by_colour(files, where)
    refuse_other_days(colours, where)
    known = known_files(sorted(files), colours)
    if [name.lower() for name in extra_bands or ()] != [NONE]:
        known = of_same_day(known, colours, where)
    return _stack(colours, label=where, known=known, wanted=extra_bands)


def holds_bands(folder: Path) -> bool:
    """Return whether a folder is one scene: one file each, so named, for red, green and blue."""
    try:
        colours = _by_colour([str(path) for path in _rasters_in(folder)], str(folder))
        for file in colours:
            with open_raster(file) as raster:
                if raster.count > 2:  # one, and perhaps alpha
                    return False
    except (SceneError, OSError):  # no such files, or none that can be read
        return False
    return True


def has_extra_bands(src: Src) -> bool:
    """Return whether ``src`` is a product, folder or pattern, from which extra bands are chosen."""
    if not isinstance(src, str | Path):
        return False
    name = str(src)
    if is_gdal_name(name):
        return is_subdataset(name)
    path = Path(name)
    if not _exists(name):
        return glob.has_magic(name)
    return path.is_dir() or path.suffix.lower() == ".zip" or path.name.startswith("MTD_MSIL")


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long to be a name
        return False


def _by_colour(files: list[str], where: str) -> list[str]:
    """Return the files of red, green and blue, in this order, by their names."""
    if any(_MSS.match(Path(file).name) for file in files):
        raise SceneError(f"{where}: Landsat's MSS has no blue band; give another scene")
    numbers = [colour_numbers(BandNames((), file=file)) for file in files]
    fits = [
        colour_of_file(Path(file).stem, number) for file, number in zip(files, numbers, strict=True)
    ]
    chosen = []
    for index, colour in enumerate(COLOURS):
        named = [
            (fit[1], file) for fit, file in zip(fits, files, strict=True) if fit and fit[0] == index
        ]
        plain = [file for looseness, file in named if looseness < COMPOSITE]
        found = sorted(plain or [file for _, file in named])
        if len(found) != 1:
            names = f": {', '.join(Path(file).name for file in found)}" if found else ""
            raise SceneError(
                f"{where}: found {len(found)} {colour} files, expected one{names}; give three "
                "files, named like B04, B03, B02 or by colour; restore many scenes as a batch"
            )
        chosen += found
    return chosen


def _product(name: str, resolution: int | None, extra_bands: Sequence[str] | None) -> Source | None:
    """Return the VRT of a product's bands; None: ``name`` is not a product."""
    opened = open_product(name, resolution)
    if opened is None:
        return None
    product, label, metres = opened
    files = product.colours(metres, label)
    known = [one for one in known_files(product.images, files, metres) if one.name not in BANDS]
    return _stack(files, label=label, product=product, known=known, wanted=extra_bands)


def _stack(
    files: list[str],
    *,
    label: str,
    known: Sequence[ExtraFile],
    wanted: Sequence[str] | None,
    product: SafeProduct | None = None,
) -> Source:
    """Return a VRT of files of one band each, on one grid: red, green, blue, then extra bands.

    Args:
        known: files of further bands.
        wanted: names of those to read.
        product: the files' product; None: that of the folders above them, if any.
    """
    if len(files) != len(COLOURS):
        raise UsageError(f"{label}: {counted(len(files), 'file')}; give three: red, green, blue")
    product = product or product_above(files[0])
    read = [_read_band(file) for file in files]
    red, red_points, layout = read[0]
    for file, (pixels, points, _) in zip(files, read, strict=True):
        if (pixels.grid, pixels.dtype, points) != (red.grid, red.dtype, red_points):
            raise SceneError(
                f"{file}: differs from {files[0]} in size, grid, CRS or data type; warp it to that "
                "grid with gdalwarp, or leave it out"
            )
    if layout.driver != "GTiff":  # JP2 has resolution levels inherently: no wish for overviews
        layout = replace(layout, overviews=())
    extra = choose(known, wanted, red, label)
    refuse_damaged([*files, *(one.path for one in extra)])
    tags = product.tags([one.name for one in extra]) if product else Tags()
    return Source(vrt_of(files, tags, extra), label, layout)


def _read_band(file: str) -> tuple[Pixels, list[tuple[float, ...]], Layout]:
    """Return the pixels, control points and layout of a file of one band, and perhaps alpha."""
    with open_raster(file) as band:
        colours = [colour for colour in band.colorinterp if colour != ColorInterp.alpha]
        if len(colours) != 1 or band.count > 2:
            raise SceneError(
                f"{file}: {band.count} bands; give one band in each file of red, green and blue"
            )
        points: list[tuple[float, ...]] = [
            (point.col, point.row, point.x, point.y) for point in band.gcps[0]
        ]
        return Pixels.of(band), points, Layout.of(band)
