"""Run the network over the windows of a scene, and blend its answers."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.restore.blend import StripBlend
from geodecloud.restore.filters import Floats, widened
from geodecloud.restore.memory import CALLS, MemoryPlan
from geodecloud.restore.patches import (
    CHANNELS,
    Guide,
    Network,
    PatchBatch,
    RowSource,
    Swath,
    patch_batches,
    read_swaths,
)
from geodecloud.restore.stages import ordered_map, prefetch
from geodecloud.restore.windows import grid_of
from geodecloud.settings import Windows


@dataclass(frozen=True)
class Strip:
    """The blended answer for some rows of a scene.

    swath: the rows as read, and some rows below them.
    light: float32 (3, rows, width), model range; undefined in columns that the guide excludes.
    answer: float32 (5, rows, width): change of R, G, B; opacity; shadow; 0 outside of all windows.
    computed: number of windows of these rows that the network computed. Windows that share a patch
        count each, so that the number does not depend on the batches.
    """

    swath: Swath
    light: Floats
    answer: Floats
    computed: int

    @property
    def first(self) -> int:
        """The first row."""
        return self.swath.first


def window_pass(
    scene: RowSource,
    network: Network,
    windows: Windows,
    plan: MemoryPlan,
    guide: Guide | None = None,
    light_of: Callable[[NDArray[Any]], Floats] | None = None,
) -> Generator[Strip]:
    """Yield the network's answer for a scene, from the top row down.

    The network's *change* is blended, not its restored image: where every patch has a change of 0,
    so has the blend, whatever the dtype. The result does not depend on the plan.

    Args:
        network: called in threads, ``CALLS`` calls at a time.
        guide: provides the context and decides which windows are computed; None: no context, all
            windows.
        light_of: converts the scene's DN to light (3, rows, width); None: the network's own
            conversion.
    """
    grid, per_swath = grid_of(windows), plan.rows_of_windows
    height = (per_swath - 1) * grid.stride + grid.size
    rows, columns = (len(grid.starts(length)) for length in scene.shape)
    network = network.fitted(rows * columns, grid.size)
    batch_size = max(1, plan.batch_size // network.grain) * network.grain
    light_of = light_of or network.light
    blend = StripBlend(CHANNELS, height, scene.shape[1], grid, windows.ramp)
    pending: deque[tuple[Swath, Floats]] = deque()

    def batches(swaths: Iterator[Swath]) -> Iterator[PatchBatch]:
        for swath in swaths:
            light = _light(swath, scene.rgb, light_of, guide, grid.size)
            pending.append((swath, light))
            yield from patch_batches(swath, light, guide, grid.size, batch_size)

    # However the stages end, their threads stop reading the scene.
    with (
        closing(prefetch(read_swaths(scene, grid, per_swath))) as swaths,
        closing(
            ordered_map(lambda batch: network.change(batch.patches), batches(swaths), calls=CALLS)
        ) as answers,
    ):
        computed = 0
        for batch, answer in answers:
            swath, light = pending[0]
            for (row, column), index in zip(batch.corners, batch.indices, strict=True):
                blend.add(answer[index], row - swath.first, column)
            computed += len(batch.corners)
            if batch.end == swath.end:
                pending.popleft()
                count = swath.end - swath.first
                yield Strip(swath, light[:, :count], blend.take(count), computed)
                computed = 0


def _light(
    swath: Swath,
    rgb: list[int],
    light_of: Callable[[NDArray[Any]], Floats],
    guide: Guide | None,
    size: int,
) -> Floats:
    """Return the light of a swath: float32 (3, rows, width); undefined where no window needs it.

    Args:
        size: height and width of a window in pixels.
    """
    rows, width = swath.valid.shape
    if guide is None:
        return light_of(swath.dn[rgb])
    light = np.empty((len(rgb), rows, width), np.float32)
    for some in widened(guide.cloudy_columns(swath.first, swath.first + rows), size, width):
        light[..., some] = light_of(swath.dn[rgb, :, some])
    return light
