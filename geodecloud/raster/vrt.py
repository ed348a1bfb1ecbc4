"""Join rasters of one band each: write the text of a VRT, which GDAL opens like a file.

GDAL describes each file as a VRT of its own. This module merges these VRTs, with all the metadata
that a single file of the bands would have.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy

from geodecloud.errors import SceneError
from geodecloud.raster.bands import COLOURS
from geodecloud.raster.extra_bands import ExtraFile
from geodecloud.raster.gdal import open_raster, without_georeference_warning

BANDS = ("B04", "B03", "B02")  # Sentinel-2's red, green and blue
# The name of a band's file in a Sentinel-2 product.
_SENTINEL = re.compile(r"(?:^|_)T\d\d[A-Z]{3}_\d{8}T\d{6}_B(?:\d\d|8A)")
# Namespaces that GDAL derives from the file itself, or that a VRT has as elements.
_RESERVED_NAMESPACES = (
    *("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "RPC", "SUBDATASETS", "OVERVIEWS"),
    *("GEOLOCATION", "COLOR_PROFILE"),
)
# The elements of a VRT that describe a raster and a band, beside their metadata.
_OF_RASTER = ("SRS", "GeoTransform", "GCPList")
_OF_BAND = ("UnitType", "Offset", "Scale", "CategoryNames", "GDALRasterAttributeTable")
_TAGS = "Metadata"

Tagged = dict[str | None, dict[str, str]]  # namespace (None: the default) -> tags


@dataclass(frozen=True)
class Tags:
    """Tags from a product's metadata: of the product, and of its bands by band name."""

    product: dict[str, str] = field(default_factory=dict)
    bands: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _BandFile:
    """The file of one band, and its metadata.

    name: the name by which GDAL opens it from any folder.
    described: GDAL's VRT of this file alone.
    tags, band_tags: tags of the file, and of its band.
    masked: the file has a mask, inside or beside it.
    alpha: the file has an alpha band.
    """

    name: str
    described: ET.Element
    tags: Tagged
    band_tags: Tagged
    nodata: float | None
    gcps: list[Any]
    description: str | None
    masked: bool
    alpha: bool

    @property
    def kind(self) -> str:
        """GDAL's name of the pixels' type."""
        return self.described.findall("VRTRasterBand")[0].attrib["dataType"]


def vrt_of(files: list[str], tags: Tags, extra: Sequence[ExtraFile] = ()) -> str:
    """Return the text of a VRT: red, green, blue, the extra bands, and alpha if a colour has it.

    Extra bands do not change the rest of the VRT. Pixels of a coarser band are repeated.

    Args:
        files: files of red, green and blue, on one grid and of one type.
        extra: files of extra bands of the same type.
        tags: tags of the files' product, which take precedence over a file's own.

    Raises:
        SceneError: a file cannot be described.
    """
    parts = [_describe(file) for file in files]
    first = parts[0]
    root = ET.Element("VRTDataset", first.described.attrib)
    for kind in _OF_RASTER:
        root.extend(_first(part.described.findall(kind) for part in parts))
    _set_control_points(root, parts)
    common, single = _divide([part.tags for part in parts])
    common[None] = common.get(None, {}) | tags.product
    _add_tags(root, common)
    rpcs = (part.described.findall(f"{_TAGS}[@domain='RPC']") for part in parts)
    root.extend(_first(rpcs))
    nodata = _shared_nodata(parts, tags)
    for number, part in enumerate(parts):
        band = _band(root, part, number + 1)
        _add_tags(band, _band_tags(part, single[number], tags.bands.get(BANDS[number], {})))
        name = BANDS[number] if tags.product else part.description or COLOURS[number]
        _add(band, "Description", name)
        _add(band, "ColorInterp", COLOURS[number].title())
        _add_nodata(band, part.nodata if nodata is None else nodata)
        _add_source(band, part.name, "1")
    for number, file in enumerate(extra, start=len(parts) + 1):
        _add_extra(root, file, number, common, tags, parts[0].nodata if nodata is None else nodata)
    _add_alpha(root, [part for part in parts if part.alpha], nodata, len(parts) + len(extra) + 1)
    _add_mask(root, parts)
    return ET.tostring(root, encoding="unicode")


def with_mask(raster: Any, mask: str) -> str:
    """Return the text of a VRT: an open raster with another mask in place of its nodata value.

    Args:
        mask: name of a raster of one band and the same size: 255 where pixels have data, else 0.
    """
    root = _vrt(raster)
    for band in root.findall("VRTRasterBand"):
        for nodata in band.findall("NoDataValue"):
            band.remove(nodata)
    band = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", {"dataType": "Byte"})
    _add_source(band, mask, "1")
    return ET.tostring(root, encoding="unicode")


def has_transform(raster: Any) -> bool:
    """Return whether an open raster has a transform; rasterio returns the identity for none."""
    return not raster.transform.is_identity or _vrt(raster).find("GeoTransform") is not None


def _vrt(raster: Any) -> ET.Element:
    """Return GDAL's description of an open raster."""
    with MemoryFile(ext=".vrt") as memory:
        copy(raster, memory.name, driver="VRT")
        text = memory.read()
    return ET.fromstring(text)  # noqa: S314  GDAL wrote it, without entities


def _describe(file: str) -> _BandFile:
    name = _absolute(file)
    with open_raster(name, file) as raster, without_georeference_warning():
        try:
            described = _vrt(raster)
        except RasterioError as error:
            raise SceneError(f"{file}: cannot be joined with other bands ({error})") from error
        masks = {flag for flags in raster.mask_flag_enums for flag in flags}
        return _BandFile(
            name=name,
            described=described,
            tags=tags_of(raster, 0),
            band_tags=tags_of(raster, 1),
            nodata=raster.nodata,
            gcps=raster.gcps[0],
            description=raster.descriptions[0],
            masked=MaskFlags.per_dataset in masks and MaskFlags.alpha not in masks,
            alpha=ColorInterp.alpha in raster.colorinterp,
        )


def tags_of(raster: Any, band: int) -> Tagged:
    """Return the tags of a file (band 0) or of a band in all namespaces that a file may have."""
    spaces = [
        space
        for space in raster.tag_namespaces(band)
        if space not in _RESERVED_NAMESPACES and not space.startswith("xml:")
    ]
    return {space: raster.tags(band, ns=space) for space in (None, *spaces)}


def _divide(tagged: list[Tagged]) -> tuple[Tagged, list[dict[str, str]]]:
    """Return the tags in which no two files differ, and the other tags of each file.

    Where files differ in a namespace other than the default, the first file's tags count.
    """
    common: Tagged = {}
    for spaces in reversed(tagged):
        for space, tags in spaces.items():
            common[space] = common.get(space, {}) | tags
    values: dict[str, set[str]] = {}
    for spaces in tagged:
        for key, value in spaces[None].items():
            values.setdefault(key, set()).add(value)
    differ = {key for key, found in values.items() if len(found) > 1}
    common[None] = {key: value for key, value in common[None].items() if key not in differ}
    single = [{k: v for k, v in spaces[None].items() if k in differ} for spaces in tagged]
    return common, single


def _shared_nodata(parts: list[_BandFile], tags: Tags) -> float | None:
    """Return the nodata value of all bands; None: there is none, or each file has its own."""
    if (stated := tags.product.get("SPECIAL_VALUE_NODATA")) is not None:
        try:
            return float(stated)
        except ValueError as error:
            raise SceneError(
                f"{parts[0].name}: damaged product (SPECIAL_VALUE_NODATA is {stated!r})"
            ) from error
    declared = {repr(part.nodata): part.nodata for part in parts if part.nodata is not None}
    if len(declared) == 1:
        return next(iter(declared.values()))
    if not declared and _SENTINEL.search(Path(parts[0].name).name):
        return 0  # by the specification of Sentinel-2's products
    return None


def _band(root: ET.Element, part: _BandFile, number: int) -> ET.Element:
    """Add a band like the file's, without a source."""
    band = ET.SubElement(root, "VRTRasterBand", {"dataType": part.kind, "band": str(number)})
    for element in _OF_BAND:
        band.extend(part.described.findall(f"VRTRasterBand[1]/{element}"))
    return band


def _band_tags(part: _BandFile, single: dict[str, str], stated: dict[str, str]) -> Tagged:
    """Return a band's tags: those of its file alone, of its band, and of the product."""
    own: Tagged = {None: single}
    own |= {space: own.get(space, {}) | kept for space, kept in part.band_tags.items()}
    own[None] = own.get(None, {}) | stated
    return own


def _add_extra(
    root: ET.Element,
    file: ExtraFile,
    number: int,
    common: Tagged,
    tags: Tags,
    nodata: float | None,
) -> None:
    """Add a band besides red, green and blue, with its wavelength."""
    part = _describe(file.path)
    kept = common.get(None, {})
    single = {key: text for key, text in part.tags[None].items() if kept.get(key) != text}
    band = _band(root, part, number)
    own = _band_tags(part, single, tags.bands.get(file.name, {}))
    own[None] = {"WAVELENGTH": f"{file.wavelength:g}"} | own[None]
    _add_tags(band, own)
    _add(band, "Description", file.name if tags.product else part.description or file.name)
    _add_nodata(band, nodata)
    size = [int(part.described.attrib[key]) for key in ("rasterXSize", "rasterYSize")]
    _add_source(band, part.name, "1", size, file.factor)


def _add_nodata(band: ET.Element, nodata: float | None) -> None:
    if nodata is not None:
        _add(band, "NoDataValue", repr(nodata))


def _add_alpha(root: ET.Element, parts: list[_BandFile], nodata: float | None, number: int) -> None:
    """Add the minimum of the files' alpha bands as an alpha band."""
    if not parts:
        return
    kind = {"dataType": parts[0].kind, "band": str(number)}
    band = ET.SubElement(root, "VRTRasterBand", kind)
    _add(band, "ColorInterp", "Alpha")
    _add_nodata(band, nodata)
    _add_least(band, [part.name for part in parts], "2")


def _add_mask(root: ET.Element, parts: list[_BandFile]) -> None:
    """Add one mask for the raster: valid where all of the files' masks are."""
    if not any(part.masked for part in parts):
        return
    mask = ET.SubElement(root, "MaskBand")
    band = ET.SubElement(mask, "VRTRasterBand", {"dataType": "Byte"})
    _add_least(band, [part.name for part in parts if not part.alpha], "mask,1")


def _add_least(band: ET.Element, files: list[str], source: str) -> None:
    """Make a band the minimum of a band, or mask, of several files."""
    if len(files) > 1:
        band.attrib["subClass"] = "VRTDerivedRasterBand"
        _add(band, "PixelFunctionType", "min")
    for file in files:
        _add_source(band, file, source)


def _add_source(
    band: ET.Element, file: str, source: str, size: Sequence[int] = (), factor: int = 1
) -> None:
    """Add a band of a file as a band's source, each pixel repeated ``factor`` times both ways.

    Args:
        size: width and height of the file.
    """
    element = ET.SubElement(band, "SimpleSource")
    ET.SubElement(element, "SourceFilename", {"relativeToVRT": "0"}).text = file
    _add(element, "SourceBand", source)
    if factor > 1:
        for kind, times in (("SrcRect", 1), ("DstRect", factor)):
            width, height = (str(times * length) for length in size)
            place = {"xOff": "0", "yOff": "0", "xSize": width, "ySize": height}
            ET.SubElement(element, kind, place)


def _set_control_points(root: ET.Element, parts: list[_BandFile]) -> None:
    """Write the control points in full precision; GDAL's own VRT rounds them."""
    points = _first(part.gcps for part in parts)
    for element, point in zip(root.iterfind("GCPList/GCP"), points, strict=True):
        exact = {"Pixel": point.col, "Line": point.row, "X": point.x, "Y": point.y, "Z": point.z}
        element.attrib |= {name: repr(value or 0.0) for name, value in exact.items()}


def _add_tags(element: ET.Element, tagged: Tagged) -> None:
    for space, tags in tagged.items():
        if tags:
            kept = ET.SubElement(element, _TAGS, {"domain": space} if space else {})
            for key, value in tags.items():
                ET.SubElement(kept, "MDI", {"key": key}).text = value


def _add(element: ET.Element, kind: str, text: str) -> None:
    ET.SubElement(element, kind).text = text


def _first(found: Iterator[list[Any]]) -> list[Any]:
    """Return the first list that is not empty."""
    return next(filter(None, found), [])


def _absolute(file: str) -> str:
    """Return the absolute path of a file; other names that GDAL opens stay unchanged."""
    try:
        return str(Path(file).absolute()) if Path(file).exists() else file
    except OSError:  # too long to be a name
        return file
