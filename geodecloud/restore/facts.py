"""Hold the facts about a scene that all stages of restoring share."""

from dataclasses import dataclass

from geodecloud.radiometry import Radiometry
from geodecloud.raster.scene import Scene
from geodecloud.raster.wavelengths import OtherBand
from geodecloud.restore.other_bands import NO_OTHERS, OtherBands
from geodecloud.settings import Policy


@dataclass(frozen=True)
class SceneFacts:
    """The facts about a scene that the stages of restoring need.

    height, width: of the scene in pixels.
    rgb: indices of red, green and blue among the bands.
    radiometry: of the scene.
    nodata: the DN that no restored pixel may take; None if there is none.
    pixel_metres: height and width of a pixel; None if not known.
    alpha: index of the alpha band; None if there is none.
    others: the bands besides red, green and blue that may change.
    others_nodata: whether changed pixels of these bands become nodata instead of being restored.
    """

    height: int
    width: int
    rgb: list[int]
    radiometry: Radiometry
    nodata: float | None = None
    pixel_metres: tuple[float, float] | None = None
    alpha: int | None = None
    others: OtherBands = NO_OTHERS
    others_nodata: bool = False

    @classmethod
    def of(
        cls,
        scene: Scene,
        radiometry: Radiometry,
        nodata: float | None,
        others: tuple[OtherBand, ...],
        policy: Policy,
    ) -> "SceneFacts":
        """Return the facts about an open scene."""
        height, width = scene.shape
        return cls(
            height=height,
            width=width,
            rgb=scene.rgb,
            radiometry=radiometry,
            nodata=nodata,
            pixel_metres=scene.pixel_metres,
            alpha=scene.alpha - 1 if scene.alpha else None,
            others=OtherBands(others, radiometry, nodata=nodata),
            others_nodata=policy.other_bands == "nodata",
        )

    @property
    def restored(self) -> list[int]:
        """Indices of the bands that may change: red, green, blue, then the others."""
        return [*self.rgb, *self.others.indices]
