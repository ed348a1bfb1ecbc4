"""Refuse a run that would invent most of a scene."""

from collections.abc import Iterator

import numpy as np

from geodecloud.errors import FillWarning, SceneError, warn
from geodecloud.radiometry import Radiometry
from geodecloud.raster.calibration import suggest_remedy
from geodecloud.raster.counts import Counts
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.rows import Rows, given
from geodecloud.raster.scene import Scene
from geodecloud.settings import Settings

# Largest fraction of the valid pixels that may be invented: if scale and offset are guessed, and if
# they are known. Above the first, the guess is probably wrong.
_MOST_OF_A_GUESS, _MOST = 0.75, 0.9
_WARN = 0.5  # fraction above which a run warns


class InventedCheck:
    """A check on the fraction of the pixels that a run invents.

    Args:
        radiometry: of the scene.
    """

    def __init__(self, scene: Scene, radiometry: Radiometry, settings: Settings) -> None:
        # A part of a scene may have been chosen for its cloud.
        doubtful = radiometry.guessed and scene.whole
        self._most = _MOST_OF_A_GUESS if doubtful else _MOST
        self._pixels = scene.shape[0] * scene.shape[1]
        self._force, self._name = settings.reading.force, str(scene.path)
        self._remedy = suggest_remedy(scene, radiometry)
        policy = settings.policy
        if policy.references and policy.other_bands == "restore":
            self._remedy += "; if references lack bands, `other_bands` keep uses them anyway"
        # With references or a fill limit fewer pixels are invented; only the fill tells how many.
        self._certain = not policy.references and policy.fill_limit is None

    def watch(self, rows: Iterator[Rows]) -> Iterator[Rows]:
        """Yield the same rows before they are filled; stop once too many are to be invented.

        Raises:
            SceneError: too many pixels would be invented, and ``force`` is not set.
        """
        valid = invented = 0
        for some in rows:
            valid += int(np.count_nonzero(some.valid))
            for columns in some.changing:
                codes = given(some.provenance)[:, columns]
                invented += int(np.count_nonzero(codes == Provenance.FILLED))
            if self._certain and invented > self._most * self._pixels:
                self._refuse(f"{invented / valid:.0%} of the pixels read so far")
            yield some
        if self._certain and invented > self._most * valid:
            self._refuse(f"{invented / valid:.0%} of its valid pixels")

    def finish(self, counts: Counts) -> None:
        """Refuse or warn, once all rows are finished.

        Raises:
            SceneError: too many pixels are invented, and ``force`` is not set.
        """
        share = counts.invented_fraction
        if share > self._most:
            self._refuse(f"{share:.0%} of its valid pixels")
        if share > _WARN:
            warn(FillWarning, f"{self._name}: {share:.0%} of its valid pixels are invented")

    def _refuse(self, pixels: str) -> None:
        if not self._force:
            raise SceneError(
                f"{self._name}: {pixels} would be invented, since they look like opaque cloud; "
                f"{self._remedy}; give `force` to run anyway"
            )
