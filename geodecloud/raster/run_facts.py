"""Hold the facts about a run that its report and its STAC item state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geodecloud.radiometry import Radiometry
from geodecloud.raster.scene import Scene


@dataclass(frozen=True)
class RunFacts:
    """The facts about a run.

    radiometry: the scene's, and so the output's.
    fractions: by name, see :meth:`geodecloud.raster.counts.Counts.fractions`.
    settings: by name, those that the pixels depend on.
    others: numbers of the other bands that are restored, from 1; their DN have the scale of red.
    nodata: DN that means nodata in the output; None: there is none.
    warnings: one line each.
    """

    scene: Scene
    radiometry: Radiometry
    fractions: Mapping[str, float]
    settings: Mapping[str, Any]
    model_name: str
    others: tuple[int, ...]
    nodata: float | None
    warnings: tuple[str, ...] = ()
