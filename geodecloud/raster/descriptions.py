"""Define the band descriptions of the rasters beside a scene, and recognise rasters by them."""

from collections.abc import Sequence
from typing import Literal

PROVENANCE = "provenance:"  # the beginning of the description, in earlier versions too
CLOUD_MASK = "cloud mask: 0 clear, 1 thick cloud, 2 thin cloud, 3 cloud shadow, 255 nodata"
OPACITY = ("opacity of cloud in percent, 0: none", "shadow of cloud in percent, 0: none")
SIMULATED_OPACITY = "opacity, 0 to 1"

Kind = Literal["provenance", "a cloud mask", "opacity", "simulated opacity"]


def kind_of(bands: Sequence[str | None]) -> Kind | None:
    """Return what a raster with these band descriptions holds; None: something else."""
    if bands and (bands[0] or "").startswith(PROVENANCE):
        return "provenance"
    kinds: dict[tuple[str | None, ...], Kind] = {
        (CLOUD_MASK,): "a cloud mask",
        OPACITY: "opacity",
        (SIMULATED_OPACITY,): "simulated opacity",
    }
    return kinds.get(tuple(bands))
