"""Read the metadata of a Sentinel-2 product: the images of its bands, and their tags.

GDAL's Sentinel-2 driver reads only the metadata here, not the pixels. It returns zeros for a
missing JP2, knows no nodata value, and leaves out red, green and blue at 20 and 60 m.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geodecloud.errors import SceneError
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.vrt import BANDS, Tags

RESOLUTIONS = (10, 20, 60)  # metres, of Sentinel-2's bands
_SUBDATASET = re.compile(
    r"SENTINEL2_L(?P<level>1C|2A):\"?(?P<metadata>.*?)\"?:(?P<what>\w+):EPSG_(?P<epsg>\d+)"
)
_IMAGE = re.compile(r"<IMAGE_FILE>\s*(GRANULE/[\w./-]+)\s*</IMAGE_FILE>")
_PARENTS = 5  # folders up from IMG_DATA/R10m to the product's metadata


@dataclass(frozen=True)
class SafeProduct:
    """A Sentinel-2 product.

    level: 1C or 2A.
    metadata: the metadata file, as GDAL names it.
    epsg: EPSG code of the CRS.
    xml: text of the metadata file.
    """

    level: str
    metadata: str
    epsg: str
    xml: str

    @classmethod
    def of(cls, metadata: str) -> "SafeProduct | None":
        """Return the product of a metadata file; None: it is not of level 1C or 2A."""
        with open_raster(metadata) as dataset:
            first = _SUBDATASET.fullmatch((dataset.subdatasets or [""])[0])
            xml = dataset.tags(ns="xml:SENTINEL2").get("xml:SENTINEL2", "")
        return cls(first["level"], first["metadata"], first["epsg"], xml) if first else None

    @property
    def images(self) -> list[str]:
        """The images that the metadata list, as GDAL opens them."""
        root = self.metadata.rpartition("/")[0]
        return [
            f"{root}/{image}.jp2" if root else f"{image}.jp2"
            for image in _IMAGE.findall(self.xml)
            if ".." not in image
        ]

    def colours(self, metres: int, label: str) -> list[str]:
        """Return the images of red, green and blue at a resolution.

        Args:
            metres: the resolution.
            label: the product's name in messages.

        Raises:
            SceneError: a band has no image at this resolution, or several.
        """
        files = []
        for band in BANDS:
            end = f"_{band}_{metres}m.jp2" if self.level == "2A" else f"_{band}.jp2"
            found = [image for image in self.images if image.endswith(end)]
            if len(found) != 1 or (self.level == "1C" and metres != RESOLUTIONS[0]):
                raise SceneError(
                    f"{label}: names {len(found)} images of {band} at {metres} m; for "
                    "level 1C, leave `resolution` out; of an old product with many granules, give "
                    "one granule's files"
                )
            files += found
        return files

    def tags(self, extra: Sequence[str]) -> Tags:
        """Return the tags of the product and its bands: ``BOA_ADD_OFFSET``, ``WAVELENGTH`` etc.

        GDAL parses the XML, and expands no entities.

        Args:
            extra: names of further bands whose tags are needed.
        """
        product: dict[str, str] = {}
        bands: dict[str, dict[str, str]] = {}
        for metres in RESOLUTIONS:
            if bands and bands.keys() >= set(extra):
                break
            name = f"SENTINEL2_L{self.level}:{self.metadata}:{metres}m:EPSG_{self.epsg}"
            with open_raster(name) as dataset:
                product = product or dataset.tags()
                for tags in map(dataset.tags, dataset.indexes):
                    number = re.sub(r"^B(?=\d\Z)", "B0", tags.get("BANDNAME", ""))
                    bands.setdefault(number, tags)
        return Tags(product, bands)


def open_product(name: str, resolution: int | None) -> tuple[SafeProduct, str, int] | None:
    """Return a product, its name in messages and its resolution in metres; None: not a product.

    Args:
        name: a folder, zip, metadata file or subdataset.
        resolution: in metres; None: the subdataset's, else 10.

    Raises:
        SceneError: the product has another level, or no metadata.
    """
    metadata, label = _metadata_file(name), name
    if subdataset := _SUBDATASET.fullmatch(name):
        if not is_subdataset(name):
            return None
        metadata = label = subdataset["metadata"]
        resolution = resolution or int(subdataset["what"].removesuffix("m"))
    if metadata is None:
        return None
    if Path(label).name.startswith("MTD_"):
        label = str(Path(label).absolute().parent)  # the folder has the product's name
    product = SafeProduct.of(metadata)
    if product is None:
        raise SceneError(
            f"{label}: holds no Sentinel-2 product of level 1C or 2A that GDAL can read; if its "
            "MTD_TL.xml is missing, download it again, or give the files of its bands"
        )
    return product, label, resolution or RESOLUTIONS[0]


def is_subdataset(name: str) -> bool:
    """Return whether a name is a subdataset of a product's bands, not of its true colour image."""
    match = _SUBDATASET.fullmatch(name)
    return match is not None and match["what"] != "TCI"


def product_above(file: str) -> SafeProduct | None:
    """Return the product above a file that lists its name; None: no product."""
    for folder in list(Path(file).absolute().parents)[:_PARENTS]:
        for metadata in folder.glob("MTD_MSIL??.xml"):
            product = SafeProduct.of(str(metadata))
            listed = product and Path(file).stem in {Path(one).stem for one in product.images}
            return product if listed else None
    return None


def _metadata_file(name: str) -> str | None:
    """Return the file that GDAL opens for a product's metadata; None: ``name`` is not a product.

    Raises:
        SceneError: a ``.SAFE`` folder has no metadata file.
    """
    path = Path(name)
    if re.fullmatch(r"MTD_MSIL(1C|2A)\.xml", path.name):
        return name
    if path.suffix.lower() == ".zip" and path.is_file():
        return name
    if path.is_dir():
        for pattern in ("MTD_MSIL??.xml", "*.SAFE/MTD_MSIL??.xml"):
            if len(found := list(path.glob(pattern))) == 1:
                return str(found[0])
        if path.suffix == ".SAFE":
            raise SceneError(
                f"{name}: there is no MTD_MSIL1C.xml or MTD_MSIL2A.xml in it; give the files of "
                "its bands"
            )
    return None
