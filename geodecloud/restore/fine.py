"""Run the generator over the windows of a scene, and blend what it answers."""

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np

from geodecloud.errors import GeodecloudError
from geodecloud.radiometry import Radiometry
from geodecloud.restore.blend import StripBlend
from geodecloud.restore.filters import Floats
from geodecloud.restore.memory import CALLS, MemoryPlan
from geodecloud.restore.patches import (
    PatchBatch,
    Predict,
    RowSource,
    Swath,
    patch_batches,
    read_swaths,
)
from geodecloud.restore.rows import Rows
from geodecloud.restore.stages import ordered_map, prefetch
from geodecloud.restore.windows import grid_of
from geodecloud.settings import Windows

_ONE_ROW = MemoryPlan()  # one row of windows in a swath


def fine_pass(
    scene: RowSource,
    predict: Predict,
    radiometry: Radiometry,
    windows: Windows,
    plan: MemoryPlan = _ONE_ROW,
) -> Generator[Rows]:
    """Yield the rows of the scene, from the top down, with the network's change and opacity.

    The *change* that the network makes is blended, not its picture: no change blends to exactly no
    change, whatever the dtype. The result does not depend on the plan.

    Args:
        predict: is called from threads of its own, ``CALLS`` at a time.
    """
    grid, per_swath = grid_of(windows), plan.rows_of_windows
    height = (per_swath - 1) * grid.stride + grid.size
    blend = StripBlend(4, height, scene.shape[1], grid, windows.ramp)
    dark_object = np.array(radiometry.dark_object, np.float32)
    pending: deque[Swath] = deque()

    def batches(swaths: Iterator[Swath]) -> Iterator[PatchBatch]:
        for swath in swaths:
            pending.append(swath)
            yield from patch_batches(swath, scene.rgb, radiometry, grid.size, plan.batch_size)

    # Whatever ends the stages, their threads read no scene after that.
    with (
        closing(prefetch(read_swaths(scene, grid, per_swath))) as swaths,
        closing(
            ordered_map(
                lambda batch: predict_change(predict, batch.patches, dark_object),
                batches(swaths),
                calls=CALLS,
            )
        ) as answers,
    ):
        computed = 0
        for batch, change in answers:
            swath = pending[0]
            for (row, column), index in zip(batch.corners, batch.indices, strict=True):
                blend.add(change[index], row - swath.first, column)
            computed += len(batch.patches)
            if batch.end == swath.end:
                yield _close(pending.popleft(), blend, radiometry, computed)
                computed = 0


def _close(swath: Swath, blend: StripBlend, radiometry: Radiometry, computed: int) -> Rows:
    """Return the rows of a swath that no later window reaches.

    Args:
        computed: patches of the swath that the network was given.
    """
    count = swath.end - swath.first
    blended = blend.take(count)  # (4, rows, width)
    valid = swath.valid[:count]
    return Rows(
        first=swath.first,
        dn=swath.dn[:, :count],
        valid=valid,
        change=radiometry.from_network(blended[:3]),
        opacity=blended[3] * valid,  # where there is no data there is no cloud
        windows=len(swath.corners),
        windows_skipped=len(swath.corners) - computed,
    )


def predict_change(predict: Predict, patches: Floats, dark_object: Floats) -> Floats:
    """Return the change that the network makes to R, G, B, and opacity: float32 (N, 4, size, size).

    Args:
        patches: float32 (N, 3, size, size) in model range.
        dark_object: float32 (3,), of the scene.

    Raises:
        GeodecloudError: the network returned NaN or infinity.
    """
    if not len(patches):
        return np.empty((0, 4, *patches.shape[2:]), np.float32)
    answer = predict(patches, dark_object)
    if not np.isfinite(answer).all():
        raise GeodecloudError("the network returned NaN or infinity; try `precision` fp32")
    answer[:, :3] -= patches
    return answer
