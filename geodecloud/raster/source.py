"""Find what SRC means: a raster, a Sentinel-2 product, or a file for each band.

GDAL opens one name in each case. Files of one band each become a VRT in memory, with the tags of
their product.

GDAL's driver for Sentinel-2 reads only the product's metadata here, not its pixels: it returns
zeros for a missing JP2, knows no nodata value, and leaves out red, green and blue at 20 and 60 m.
"""

import glob
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterio.enums import ColorInterp

from geodecloud.errors import SceneError, UsageError
from geodecloud.raster.bands import COLOURS, COMPOSITE, BandNames, colour_of_file
from geodecloud.raster.extra_bands import NONE, ExtraFile, Pixels, choose, known_files
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.grid import Grid
from geodecloud.raster.layout import Layout
from geodecloud.raster.vrt import BANDS, Tags, vrt_of
from geodecloud.settings.parse import is_gdal_name

RESOLUTIONS = (10, 20, 60)  # metres, of Sentinel-2's bands
_SUBDATASET = re.compile(
    r"SENTINEL2_L(?P<level>1C|2A):\"?(?P<metadata>.*?)\"?:(?P<what>\w+):EPSG_(?P<epsg>\d+)"
)
_MSS = re.compile(r"LM0[1-5]_", re.IGNORECASE)  # Landsat's first scanner, without blue
_RASTERS = (".jp2", ".tif", ".tiff")
_ARCHIVES = (".tar", ".tar.gz", ".tgz")
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


def find_source(
    src: str | Path | Sequence[str | Path],
    resolution: int | None = None,
    extra_bands: Sequence[str] | None = None,
) -> Source:
    """Return the name that GDAL opens for ``src``.

    Args:
        src: a raster of any kind that GDAL reads, also by ``/vsi...`` or as a subdataset; a
            ``.SAFE`` folder, its zip, or its ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml``; a folder
            or a pattern (``*``) of files of one band each; or such files: red, green, blue, others.
        resolution: of a product's bands, in metres: 10, 20 or 60; None: 10.
        extra_bands: of a product, folder or pattern, beside red, green and blue; see
            :func:`geodecloud.raster.extra_bands.choose`.

    Raises:
        SceneError: the file is missing, or the product or set of bands is incomplete.
        UsageError: ``src`` or ``resolution`` has no meaning.
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
    _refuse_archive(name)
    if product := _product(name, resolution, extra_bands):
        return product
    if resolution is not None:
        raise UsageError(f"{name}: is no Sentinel-2 product; leave `resolution` out")
    if not is_gdal_name(name):
        if Path(name).is_dir():
            return _folder([str(path) for path in _rasters_in(Path(name))], name, extra_bands)
        if glob.has_magic(name) and not _exists(name):
            found = glob.glob(name)  # noqa: PTH207  a pattern may be absolute
            return _folder(found, name, extra_bands)
        if ":" not in name and not _exists(name):
            raise SceneError(f"{name}: no such file")
    if extra_bands is not None:
        raise UsageError(
            f"{name}: is no product and no folder; all its bands are read: leave `extra_bands` out"
        )
    return Source(name, name)


def _refuse_archive(name: str) -> None:
    """Refuse an archive, but a zip of a Sentinel-2 product.

    Raises:
        SceneError: GDAL would take it for a damaged raster.
    """
    packed = name.lower().endswith(_ARCHIVES) and not is_gdal_name(name) and _exists(name)
    if name.lower().endswith(".zip") and _exists(name) and zipfile.is_zipfile(name):
        try:
            with zipfile.ZipFile(name) as archive:
                packed = not any("MTD_" in one for one in archive.namelist())
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise SceneError(f"{name}: damaged zip ({error}); get it again") from error
    if packed:
        raise SceneError(f"{name}: is an archive; unpack it, and give its file or folder")


def _rasters_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix.lower() in _RASTERS]


def _files_given(files: list[str], extra_bands: Sequence[str] | None) -> Source:
    """Return the VRT of red, green, blue and further bands, a file each."""
    colours, more = files[: len(COLOURS)], files[len(COLOURS) :]
    if extra_bands is not None:
        raise UsageError(
            f"{files[0]}: the files are given one by one: leave `extra_bands` out, and give the "
            "files of further bands after blue's"
        )
    known = known_files(more, ())
    if unknown := set(more) - {one.path for one in known}:
        raise UsageError(
            f"{min(unknown)}: the band is not known by the file's name; name it like B08 or nir"
        )
    wanted = [one.name for one in sorted(known, key=lambda one: more.index(one.path))]
    if twice := {name for name in wanted if wanted.count(name) > 1}:
        raise UsageError(f"{more[0]}: two files of band {min(twice)} are given; leave one out")
    return _stack(colours, label=files[0], known=known, wanted=wanted or (NONE,))


def _folder(files: list[str], where: str, extra_bands: Sequence[str] | None) -> Source:
    """Return the VRT of the bands in a folder, or of a pattern."""
    colours = _by_colour(files, where)
    known = known_files(sorted(files), colours)
    return _stack(colours, label=where, known=known, wanted=extra_bands)


def holds_bands(folder: Path) -> bool:
    """Return whether a folder is one scene: files of one band each, named as red, green, blue."""
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
    """Return whether ``src`` is a product, folder or pattern, of which extra bands are chosen."""
    if not isinstance(src, str | Path):
        return False
    name = str(src)
    if is_gdal_name(name):
        return _SUBDATASET.fullmatch(name) is not None and ":TCI:" not in name
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
                "files, named like B04, B03, B02 or by colour; restore many scenes as a batch"
            )
        chosen += found
    return chosen


def _product(name: str, resolution: int | None, extra_bands: Sequence[str] | None) -> Source | None:
    """Return the VRT of a product's bands; None where ``name`` is no product."""
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
    root = match["metadata"].rpartition("/")[0]
    images = [
        f"{root}/{image}.jp2" if root else f"{image}.jp2"
        for image in _IMAGE.findall(text)
        if ".." not in image
    ]
    metres = resolution or RESOLUTIONS[0]
    files = _image_files(images, match["level"], metres, label)
    known = [one for one in known_files(images, files, metres) if one.name not in BANDS]
    return _stack(files, label=label, product=match, known=known, wanted=extra_bands)


def _image_files(images: list[str], level: str, resolution: int, label: str) -> list[str]:
    """Return the images of red, green and blue among those that the product's metadata names."""
    files = []
    for band in BANDS:
        end = f"_{band}_{resolution}m.jp2" if level == "2A" else f"_{band}.jp2"
        found = [image for image in images if image.endswith(end)]
        if len(found) != 1 or (level == "1C" and resolution != RESOLUTIONS[0]):
            raise SceneError(
                f"{label}: names {len(found)} images of {band} at {resolution} m; a level 1C "
                "product has it at 10 m only; of an old product of many granules, give one "
                "granule's files"
            )
        files += found
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


def _product_tags(subdataset: re.Match[str], extra: Sequence[str] = ()) -> Tags:
    """Return the tags of a product and its bands: ``BOA_ADD_OFFSET``, ``WAVELENGTH`` and the like.

    GDAL parses the XML, and expands no entities.

    Args:
        extra: names of bands beside red, green and blue.
    """
    product: dict[str, str] = {}
    bands: dict[str, dict[str, str]] = {}
    for metres in RESOLUTIONS:
        if bands and bands.keys() >= set(extra):
            break
        name = f"SENTINEL2_L{subdataset['level']}:{subdataset['metadata']}:{metres}m"
        with open_raster(f"{name}:EPSG_{subdataset['epsg']}") as dataset:
            product = product or dataset.tags()
            for tags in map(dataset.tags, dataset.indexes):
                number = re.sub(r"^B(?=\d\Z)", "B0", tags.get("BANDNAME", ""))
                bands.setdefault(number, tags)
    return Tags(product, bands)


def _product_above(file: str) -> re.Match[str] | None:
    """Return the first subdataset of the product that a file lies in, if any."""
    for folder in list(Path(file).absolute().parents)[:_PARENTS]:
        for metadata in folder.glob("MTD_MSIL??.xml"):
            with open_raster(str(metadata)) as dataset:
                return _SUBDATASET.fullmatch((dataset.subdatasets or [""])[0])
    return None


def _stack(
    files: list[str],
    *,
    label: str,
    product: re.Match[str] | None = None,
    known: Sequence[ExtraFile] = (),
    wanted: Sequence[str] | None = None,
) -> Source:
    """Return a VRT of files of one band each, on one grid: red, green, blue, then extra bands.

    Args:
        product: subdataset of the product that the files belong to; None: of the folders above.
        known: files of further bands, of which ``wanted`` names those to read.
    """
    if len(files) != len(COLOURS):
        raise UsageError(f"{label}: {len(files)} file(s); give three: red, green, blue")
    product = product or _product_above(files[0])
    grids, layouts, pixels = [], [], []
    for file in files:
        with open_raster(file) as band:
            colours = [colour for colour in band.colorinterp if colour != ColorInterp.alpha]
            if len(colours) != 1 or band.count > 2:
                raise SceneError(f"{file}: {band.count} bands; a file for each colour has one")
            grids.append((Grid.of(band), band.dtypes[0], _control_points(band)))
            layouts.append(Layout.of(band))
            pixels.append(Pixels.of(band))
    for file, grid in zip(files, grids, strict=True):
        if grid != grids[0]:
            raise SceneError(f"{file}: has another size, grid, CRS or type than {files[0]}")
    layout = layouts[0]
    if layout.driver != "GTiff":  # JP2 has smaller versions by nature; nobody asked for them
        layout = replace(layout, overviews=())
    extra = choose(known, wanted, pixels[0], label)
    tags = _product_tags(product, [one.name for one in extra]) if product else Tags()
    return Source(vrt_of(files, tags, extra), label, layout)


def _control_points(raster: Any) -> list[tuple[float, ...]]:
    return [(point.col, point.row, point.x, point.y) for point in raster.gcps[0]]
