"""From scene to restoration, strip by strip: windows -> generator -> blend."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import GeodecloudError
from geodecloud.radiometry import Radiometry
from geodecloud.raster.scene import Scene
from geodecloud.restore.blend import StripBlend
from geodecloud.restore.composite import REACH, Restoration, hysteresis, water_weight
from geodecloud.restore.fill.ground import fill_weight, trust
from geodecloud.restore.memory import CALLS, Work
from geodecloud.restore.patches import Band, Question, questions, read_swaths
from geodecloud.restore.stages import ordered_map, prefetch
from geodecloud.restore.windows import Grid
from geodecloud.settings import Ramp

# Patches (N, 3, S, S) in model range and the scene's darkest light (3,) -> (N, 4, S, S), restored
# red, green, blue, and opacity. Float32 all.
Predict = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]

_ALONE = Work()  # one row of windows at a time


@dataclass(frozen=True)
class Strip:
    """Rows of the scene that are blended: all bands' DN, validity, and what the network says."""

    first: int
    dn: NDArray[Any]  # (bands, rows, width)
    valid: NDArray[np.bool_]  # (rows, width)
    restoration: Restoration
    brightness: NDArray[np.float32]  # (rows, width), mean of R, G, B as the network saw them
    windows: int  # that were added to this strip
    windows_skipped: int  # of them the network is not asked: no data, or an even colour once more


@dataclass(frozen=True)
class BelievedStrip(Strip):
    """A strip whose opacity has been compared with that of the rows around it."""

    share: NDArray[np.float32]  # (rows, width), see context.fill_weight
    trust: NDArray[np.float32]  # (rows, width), see context.trust


def believed_strips(strips: Iterator[Strip], opaque_above: float) -> Iterator[BelievedStrip]:
    """The same strips with :func:`hysteresis`, as if for the whole scene at once.

    A strip is held back until the rows below it that count are there.
    """
    above: list[NDArray[np.float32]] = []  # the last rows that were given out, as _seen
    held: deque[Strip] = deque()
    for strip in chain(strips, [None]):  # None: no more will come
        if strip is not None:
            held.append(strip)
        while held and (
            strip is None or sum(len(s.valid) for s in held) >= len(held[0].valid) + REACH
        ):
            current = held.popleft()
            seen = np.concatenate([*above, _seen(current), *map(_seen, held)], axis=1)
            first = sum(part.shape[1] for part in above)
            rows = slice(first, first + len(current.valid))
            opacity, brightness = seen[:, : rows.stop + REACH]
            above = [seen[:, max(0, rows.stop - REACH) : rows.stop].copy()]
            told = water_weight(brightness)
            cloud = (hysteresis(opacity) * told)[rows]
            yield BelievedStrip(
                **(vars(current) | {"restoration": replace(current.restoration, opacity=cloud)}),
                share=(fill_weight(opacity, opaque_above) * told)[rows] * current.valid,
                trust=trust(opacity)[rows] * current.valid,
            )


def _seen(strip: Strip) -> NDArray[np.float32]:
    """What belief asks of a strip: opacity and brightness, (2, rows, width)."""
    return np.stack([strip.restoration.opacity, strip.brightness])


def restored_strips(
    scene: Scene,
    predict: Predict,
    radiometry: Radiometry,
    grid: Grid,
    ramp: Ramp,
    work: Work = _ALONE,
) -> Generator[Strip]:
    """Blended strips from the top of the scene to its bottom, without gap or overlap.

    What is blended is the *change* that the network makes, not its picture: no change blends to
    exactly no change, whatever the dtype. How the work is divided has no part in the result.

    Args:
        predict: is called from threads of its own, ``CALLS`` at a time.
    """
    per_strip = work.rows_of_windows
    blend = StripBlend(4, (per_strip - 1) * grid.stride + grid.size, scene.shape[1], grid, ramp)
    darkest = np.array(radiometry.dark_object, np.float32)

    def ask(question: Question) -> NDArray[np.float32]:
        return _changes(predict, question.patches, darkest)

    with ExitStack() as stages:  # whatever ends them, their threads read no scene after that
        bands = stages.enter_context(closing(prefetch(read_swaths(scene, grid, per_strip))))
        asked = questions(bands, scene.rgb, radiometry, grid.size, work.batch_size)
        answers = stages.enter_context(closing(ordered_map(ask, asked, calls=CALLS)))
        for question, answer in answers:
            for place, i in zip(question.places, question.which, strict=True):
                blend.add(answer[i], *place)
            if band := question.completes:
                blended = blend.take(band.finished)
                yield _strip(band, blended, scene.rgb, radiometry, question.skipped)


def _strip(
    band: Band,
    blended: NDArray[np.float32],
    rgb: list[int],
    radiometry: Radiometry,
    skipped: int,
) -> Strip:
    """The finished rows of a band.

    Args:
        blended: float32 (4, rows, width), of them: the change to R, G, B, and opacity.
    """
    dn, valid = band.dn[:, : band.finished], band.valid[: band.finished]
    opacity = blended[3] * valid  # where there is no data there is no cloud
    restoration = Restoration(radiometry.from_network(blended[:3]), opacity)
    seen = radiometry.to_network(radiometry.to_model(dn[rgb])).mean(axis=0)
    brightness = np.where(valid, seen, np.float32(0))
    return Strip(band.first, dn, valid, restoration, brightness, len(band.places), skipped)


def _changes(
    predict: Predict, patches: NDArray[np.float32], darkest: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What the network makes of patches: the change it asks for, and opacity.

    Args:
        patches: float32 (N, 3, size, size).

    Returns:
        float32 (N, 4, size, size).
    """
    if not len(patches):
        return np.empty((0, 4, *patches.shape[2:]), np.float32)
    answer = predict(patches, darkest)  # (N, 4, size, size)
    if not np.isfinite(answer).all():
        raise GeodecloudError(
            "the network answers with numbers that are none: try --precision fp32"
        )
    answer[:, :3] -= patches
    return answer
