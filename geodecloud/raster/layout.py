"""Say how the pixels of a file lie on the disk, so that an output can be like it."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Layout:
    """The layout of a file, or of one of the files of one band each.

    driver: GDAL's.
    block: height and width of a strip or tile in pixels; tiled: blocks are tiles.
    interleave: of the bands, as GDAL names it.
    compression: in small letters; "": none. predictor: of the compression.
    overviews: how many times smaller each is.
    """

    driver: str
    block: tuple[int, int]
    tiled: bool
    interleave: str
    compression: str
    predictor: int
    overviews: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Any) -> Self:
        """Return the layout of an open raster."""
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        return cls(
            driver=dataset.driver,
            block=dataset.block_shapes[0],
            tiled=bool(dataset.profile.get("tiled")),
            interleave=dataset.profile.get("interleave", "band"),
            compression=structure.get("COMPRESSION", "").lower(),
            predictor=int(structure.get("PREDICTOR", 1)),
            overviews=tuple(dataset.overviews(1)),
        )
