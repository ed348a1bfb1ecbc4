"""Hold the facts about a scene that the stages of restoring need."""

from dataclasses import dataclass

from geodecloud.radiometry import Radiometry
from geodecloud.raster.scene import Scene
from geodecloud.raster.wavelengths import OtherBand
from geodecloud.restore.other_bands import NO_OTHERS, OtherBands
from geodecloud.settings import Policy


@dataclass(frozen=True)
class SceneFacts:
    """The facts about a scene that the stages of restoring need.

    rgb: indices of red, green and blue among the bands.
    nodata: the DN that no restored pixel may take; None: there is none.
    alpha: index of the alpha band; None: there is none.
    masked: the file has a mask.
    pixel_metres: height and width of a pixel; None where the scene does not say.
    others: the bands beside red, green and blue that are restored.
    others_nodata: they are made nodata where a pixel changes, in place of that.
    """

    height: int
    width: int
    rgb: list[int]
    radiometry: Radiometry
    nodata: float | None = None
    pixel_metres: tuple[float, float] | None = None
    alpha: int | None = None
    masked: bool = False
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
            masked=scene.masked,
            others=OtherBands(others, radiometry, nodata=nodata),
            others_nodata=policy.other_bands == "nodata",
        )

    @property
    def restored(self) -> list[int]:
        """Indices of the bands that are restored: red, green, blue, then the others."""
        return [*self.rgb, *self.others.indices]
