"""Pass the scene, as the coarse answer restores it, to the survey of visible land."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.rows import given
from geodecloud.restore.cells import CELL, PooledScene
from geodecloud.restore.coarse import Coarse
from geodecloud.restore.fill.survey import HAZY_WEIGHT
from geodecloud.restore.filters import Floats, dilate, smoothstep, upsample
from geodecloud.restore.gate import is_white
from geodecloud.restore.memory import FILLED_ROWS
from geodecloud.restore.other_bands import OtherBands
from geodecloud.restore.patches import CHANGE, OPACITY, Network

_DISTRUST = 14  # pixels of 10 m around cloud whose colour is not used
# Opacity up to which ground is used fully, and from which not at all: clear ground, then hazy
# ground. Hazy ground counts only where no clear ground is seen. Under even haze the network errs
# less than between clouds, so denser haze counts, too.
_SEEN, _HAZY, _EVENLY_HAZY = (0.03, 0.15), (0.1, 0.4), (0.1, 0.5)
_EVEN = (0.15, 0.25)  # range of opacity around up to which haze is even, and from which it is not
_LEFT = (0.03, 0.12)  # coarse opacity from which a colour begins to be restored, and is fully
# Called with strips of 64 rows, from the top down: first row; light (bands, rows, width); clear
# weight (rows, width). The light is in model range as the coarse answer restores it: red, green,
# blue, then the other bands, NaN where one has no data.
AddRows = Callable[[int, Floats, Floats], None]


def clear_weight(opacity: Floats, radius: int = _DISTRUST) -> Floats:
    """Return each pixel's weight as visible land: float32 (rows, columns), 0..1; 0 near cloud.

    Args:
        opacity: float32 (rows, columns), 0..1.
        radius: pixels around cloud that are not used.
    """
    if (opacity <= _SEEN[0]).all():
        return np.ones_like(opacity)
    near = dilate(opacity, radius)
    clear, hazy, evenly = (
        smoothstep(near, end, start) for start, end in (_SEEN, _HAZY, _EVENLY_HAZY)
    )
    spread = near + dilate(-opacity, radius)
    hazy = np.maximum(hazy, evenly * smoothstep(spread, *reversed(_EVEN)))
    weight: Floats = np.maximum(clear, np.float32(HAZY_WEIGHT) * hazy)
    return weight


class SurveyFeed:
    """Passes strips of the scene to the survey once the coarse answer around them is known."""

    def __init__(
        self,
        coarse: Coarse,
        height: int,
        source: PooledScene,
        network: Network,
        add_rows: AddRows,
        others: OtherBands,
    ) -> None:
        self._others = others
        self._coarse, self._height, self._add_rows = coarse, height, add_rows
        self._rows, self._network = source.read_rows, network
        self._radius = -(-_DISTRUST // min(coarse.cell, CELL))  # cells, of 40 m for small pixels
        self._first = 0  # row of the next strip
        self._dn: list[NDArray[Any]] = []
        self._valid: list[NDArray[np.bool_]] = []

    def until(self, known: int) -> None:
        """Pass on all strips for which the first ``known`` rows of cells suffice."""
        cell, around = self._coarse.cell, self._radius + 1
        whole = known == self._coarse.answer.shape[1]
        while self._first < self._height:
            last = min(self._first + FILLED_ROWS, self._height)
            if not whole and last > (known - around) * cell:
                return
            self._pass_on(last)
            self._first = last

    def _pass_on(self, last: int) -> None:
        first, coarse = self._first, self._coarse
        dn, valid = self._take(last - first)
        radiometry = self._network.radiometry
        seen = radiometry.to_model(dn[:3])
        light = radiometry.without_haze(seen.copy())  # the fill is blended with haze-free DN
        weight = valid.astype(np.float32)
        for columns, clear in self._cloudy(first, last):
            answer = coarse.at_known(coarse.answer[: OPACITY + 1], first, last, columns)
            change = radiometry.from_network(answer[CHANGE])
            change *= smoothstep(answer[OPACITY], *_LEFT)
            light[..., columns] += change
            weight[:, columns] *= clear
        if self._others:
            # The cloud's exponent is not known yet; it matters little, as visible land is clear.
            ground = self._others.grounds(self._others.light(dn[3:]), seen, light)
            light = np.concatenate([light, ground])
        self._add_rows(first, light, weight)

    def _cloudy(self, first: int, last: int) -> Iterator[tuple[slice, Floats]]:
        """Yield the columns in or near cloud, and the clear weight of their pixels.

        In other columns the clear weight is 1, and the coarse answer changes nothing.
        """
        coarse, cell = self._coarse, self._coarse.cell
        top = max(first // cell - self._radius - 1, 0)
        below = -(-last // cell) + self._radius + 1
        opacity = coarse.answer[OPACITY, top:below].astype(np.float32)
        # White land may be cloud: its colour is used last.
        white = is_white(coarse.light[:, top:below], given(coarse.known)[top:below])
        np.maximum(opacity, np.float32(_SEEN[1]) * white, out=opacity)
        weight, down = clear_weight(opacity, self._radius)[None], top * cell
        span = first - down, last - down
        for some in coarse.pixels_of((weight[0] < 1).any(axis=0)):
            pixels = upsample(weight, cell, span, some.stop - some.start, some.start)
            yield some, pixels[0]

    def _take(self, count: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return DN of R, G, B and the other bands, and validity, of the next rows."""
        while sum(map(len, self._valid)) < count:
            dn, valid = self._rows.get()
            self._dn.append(dn)
            self._valid.append(valid)
        if len(self._valid) == 1:
            (dn,), (valid,) = self._dn, self._valid
        else:
            dn, valid = np.concatenate(self._dn, axis=1), np.concatenate(self._valid)
        self._dn, self._valid = [dn[:, count:]], [valid[count:]]
        return dn[:, :count], valid[:count]
