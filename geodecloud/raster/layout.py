"""Describe the layout of a file's pixels on disk, so that an output can have the same."""

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Layout:
    """The layout of a file, or of the first of several files of one band each.

    driver: GDAL's name of the driver.
    block: height and width of a strip or tile in pixels; tiled: blocks are tiles.
    interleave: GDAL's name of the interleaving of bands.
    compression: in lower case; "": none. predictor: the compression's predictor.
    overviews: decimation factors.
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
