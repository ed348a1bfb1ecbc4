"""Find what SRC means: a raster, a Sentinel-2 product, or a file for each band.

GDAL opens one name in each case. Files of one band each become a VRT in memory, with the tags of
their product.

GDAL's driver for Sentinel-2 reads only the product's metadata here, not its pixels: it returns
zeros for a missing JP2, knows no nodata value, and leaves out red, green and blue at 20 and 60 m.
"""

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterio.enums import ColorInterp

from geodecloud.errors import SceneError, UsageError
from geodecloud.raster.bands import COMPOSITE, BandNames, colour_of_file
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.grid import Grid
from geodecloud.raster.layout import Layout
from geodecloud.raster.vrt import BANDS, COLOURS, Tags, vrt_of
from geodecloud.settings.parse import is_gdal_name

RESOLUTIONS = (10, 20, 60)  # metres, of Sentinel-2's bands
_SUBDATASET = re.compile(
    r"SENTINEL2_L(?P<level>1C|2A):\"?(?P<metadata>.*?)\"?:(?P<what>\w+):EPSG_(?P<epsg>\d+)"
)
_MSS = re.compile(r"LM0[1-5]_", re.IGNORECASE)  # Landsat's first scanner, without blue
_RASTERS = (".jp2", ".tif", ".tiff")
_IMAGE = re.compile(r"<IMAGE_FILE>\s*(GRANULE/[\w./-]+)\s*</IMAGE_FILE>")
_PARENTS = 5  # folders up from IMG_DATA/R10m to the product's metadata


@dataclass(frozen=True)
class Source:
    """A name to open.

    name: what GDAL opens: a path, or the text of a VRT.
    label: what messages and the scene's path show.
    layout: of the files of one band each; None: that of the file itself.
    """

    name: str
    label: str
    layout: Layout | None = None


Src = str | Path | Sequence[str | Path] | Source  # a source is opened as it is


def find_source(src: str | Path | Sequence[str | Path], resolution: int | None = None) -> Source:
    """Return the name that GDAL opens for ``src``.

    Args:
        src: a raster of any kind that GDAL reads, also by ``/vsi...`` or as a subdataset; a
            ``.SAFE`` folder, its zip, or its ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml``; a folder
            or a pattern (``*``) of files of one band each; or three such files: red, green, blue.
        resolution: of a product's bands, in metres: 10, 20 or 60; None: 10.

    Raises:
        SceneError: the file is missing, or the product or set of bands is incomplete.
        UsageError: ``src`` or ``resolution`` has no meaning.
    """
    if resolution is not None and resolution not in RESOLUTIONS:
        raise UsageError(f"`resolution` is {resolution}: Sentinel-2 has 10, 20 and 60 metres")
    if not isinstance(src, str | Path):
        return _stack([str(file) for file in src], label=str(src[0]))
    name = str(src)
    if not name:
        raise UsageError("SRC is empty: name a file")
    if name == "-":
        raise UsageError("SRC is -: a raster cannot be read from a pipe; name a file")
    if _exists(name) and Path(name).is_fifo():
        raise SceneError(f"{name}: is a pipe; a raster cannot be read from one, name a file")
    if product := _product(name, resolution):
        return product
    if resolution is not None:
        raise UsageError(f"{name}: is no Sentinel-2 product; leave `resolution` out")
    if is_gdal_name(name):
        return Source(name, name)
    if Path(name).is_dir():
        files = [str(path) for path in Path(name).iterdir() if path.suffix.lower() in _RASTERS]
        return _stack(_by_colour(files, name), label=name)
    if glob.has_magic(name) and not _exists(name):
        found = glob.glob(name)  # noqa: PTH207  a pattern may be absolute
        return _stack(_by_colour(found, name), label=name)
    if ":" not in name and not _exists(name):
        raise SceneError(f"{name}: no such file")
    return Source(name, name)


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long to be a name
        return False


def _by_colour(files: list[str], where: str) -> list[str]:
    """Return the files of red, green and blue, in this order, by their names."""
    if any(_MSS.match(Path(file).name) for file in files):
        raise SceneError(f"{where}: Landsat's MSS has no blue band; give another scene")
    numbers = [BandNames((), file=file).numbers for file in files]
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
                "files, named like B04, B03, B02 or by colour"
            )
        chosen += found
    return chosen


def _product(name: str, resolution: int | None) -> Source | None:
    """Return the VRT of a product's red, green and blue; None where ``name`` is no product."""
    metadata, label = _metadata_file(name), name
    if match := _SUBDATASET.fullmatch(name):
        if match["what"] == "TCI":
            return None
        metadata = label = match["metadata"]
        resolution = resolution or int(match["what"].removesuffix("m"))
    if metadata is None:
        return None
    if Path(label).name.startswith("MTD_"):
        label = str(Path(label).absolute().parent)  # the folder has the product's name
    with open_raster(metadata) as dataset:
        match = _SUBDATASET.fullmatch((dataset.subdatasets or [""])[0])
        text = dataset.tags(ns="xml:SENTINEL2").get("xml:SENTINEL2", "")
    if not match:
        raise SceneError(f"{label}: holds no Sentinel-2 product of level 1C or 2A")
    files = _image_files(match, text, resolution or RESOLUTIONS[0], label)
    return _stack(files, label=label, tags=_product_tags(match))


def _image_files(
    subdataset: re.Match[str], metadata: str, resolution: int, label: str
) -> list[str]:
    """Return the product's images of red, green and blue, which its metadata names."""
    root = subdataset["metadata"].rpartition("/")[0]
    level = subdataset["level"]
    images = [image for image in _IMAGE.findall(metadata) if ".." not in image]
    files = []
    for band in BANDS:
        end = f"_{band}_{resolution}m" if level == "2A" else f"_{band}"
        found = [image for image in images if image.endswith(end)]
        if len(found) != 1 or (level == "1C" and resolution != RESOLUTIONS[0]):
            raise SceneError(
                f"{label}: names {len(found)} images of {band} at {resolution} m; a level 1C "
                "product has it at 10 m only; of an old product of many granules, give one "
                "granule's files"
            )
        files.append(f"{root}/{found[0]}.jp2" if root else f"{found[0]}.jp2")
    return files


def _metadata_file(name: str) -> str | None:
    """Return the file to open for a product's metadata; None where ``name`` is no product."""
    path = Path(name)
    if re.fullmatch(r"MTD_MSIL(1C|2A)\.xml", path.name):
        return name
    if path.suffix.lower() == ".zip" and not name.startswith("/vsi"):
        return name
    if path.is_dir():
        for pattern in ("MTD_MSIL??.xml", "*.SAFE/MTD_MSIL??.xml"):
            if len(found := list(path.glob(pattern))) == 1:
                return str(found[0])
        if path.suffix == ".SAFE":
            raise SceneError(f"{name}: there is no MTD_MSIL1C.xml or MTD_MSIL2A.xml in it")
    return None


def _product_tags(subdataset: re.Match[str]) -> Tags:
    """Return the tags of a product and its bands: ``BOA_ADD_OFFSET``, ``WAVELENGTH`` and the like.

    GDAL parses the XML, and expands no entities.
    """
    name = "SENTINEL2_L{level}:{metadata}:10m:EPSG_{epsg}".format_map(subdataset.groupdict())
    with open_raster(name) as dataset:
        of_band = {tags.get("BANDNAME"): tags for tags in map(dataset.tags, dataset.indexes)}
        bands = tuple(of_band.get(band.replace("B0", "B"), {}) for band in BANDS)
        return Tags(dataset.tags(), bands)


def _tags_above(file: str) -> Tags:
    """Return the tags of the product that a file lies in, if any."""
    for folder in list(Path(file).absolute().parents)[:_PARENTS]:
        for metadata in folder.glob("MTD_MSIL??.xml"):
            with open_raster(str(metadata)) as dataset:
                match = _SUBDATASET.fullmatch((dataset.subdatasets or [""])[0])
            return _product_tags(match) if match else Tags()
    return Tags()


def _stack(files: list[str], *, label: str, tags: Tags | None = None) -> Source:
    """Return a VRT of three files of one band each, on one grid: red, green, blue."""
    if len(files) != len(COLOURS):
        raise UsageError(f"{label}: {len(files)} file(s); give three: red, green, blue")
    if tags is None:
        tags = _tags_above(files[0])
    grids, layouts = [], []
    for file in files:
        with open_raster(file) as band:
            colours = [colour for colour in band.colorinterp if colour != ColorInterp.alpha]
            if len(colours) != 1 or band.count > 2:
                raise SceneError(f"{file}: {band.count} bands; a file for each colour has one")
            grids.append((Grid.of(band), band.dtypes[0], _control_points(band)))
            layouts.append(Layout.of(band))
    for file, grid in zip(files, grids, strict=True):
        if grid != grids[0]:
            raise SceneError(f"{file}: has another size, grid, CRS or type than {files[0]}")
    layout = layouts[0]
    if layout.driver != "GTiff":  # JP2 has smaller versions by nature; nobody asked for them
        layout = replace(layout, overviews=())
    return Source(vrt_of(files, tags), label, layout)


def _control_points(raster: Any) -> list[tuple[float, ...]]:
    return [(point.col, point.row, point.x, point.y) for point in raster.gcps[0]]
