"""From scene to restoration, strip by strip: windows -> generator -> blend."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.blending import Ramp, StripBlend
from geodecloud.composite import REACH, Restoration, believed_opacity
from geodecloud.errors import GeodecloudError
from geodecloud.radiometry import Radiometry
from geodecloud.scene import Scene
from geodecloud.windows import Grid

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_ENOUGH_WINDOWS = 64  # in a strip, so that narrow scenes too fill the network's batches


@dataclass(frozen=True)
class Strip:
    """Rows of the scene that are blended: all bands' DN, validity, and what the network says."""

    first: int
    dn: NDArray[Any]  # (bands, rows, width)
    valid: NDArray[np.bool_]  # (rows, width)
    restoration: Restoration
    windows: int  # that were added to this strip
    windows_skipped: int  # of them, because they hold no data


def believed_strips(strips: Iterator[Strip]) -> Iterator[Strip]:
    """The same strips with :func:`believed_opacity`, as if for the whole scene at once.

    A strip is held back until the rows below it that count are there.
    """
    above: NDArray[np.float32] | None = None  # opacity of the last rows that were given out
    held: deque[Strip] = deque()
    for strip in chain(strips, [None]):  # None: no more will come
        if strip is not None:
            held.append(strip)
        while held and (
            strip is None or sum(len(s.valid) for s in held) >= len(held[0].valid) + REACH
        ):
            current = held.popleft()
            opacity = current.restoration.opacity
            parts = [opacity[:0] if above is None else above, opacity]
            parts += [later.restoration.opacity for later in held]
            known = np.concatenate(parts)[: len(parts[0]) + len(opacity) + REACH]
            believed = believed_opacity(known)[len(parts[0]) :][: len(opacity)]
            above = np.concatenate(parts[:2])[-REACH:]
            yield replace(current, restoration=replace(current.restoration, opacity=believed))


def restored_strips(
    scene: Scene, predict: Predict, radiometry: Radiometry, grid: Grid, ramp: Ramp
) -> Iterator[Strip]:
    """Blended strips from the top of the scene to its bottom, without gap or overlap.

    What is blended is the *change* that the network makes, not its picture: no change blends to
    exactly no change, whatever the dtype.
    """
    height, width = scene.shape
    columns, rows = grid.starts(width), grid.starts(height)
    per_strip = -(-_ENOUGH_WINDOWS // len(columns))
    strip_height = min((per_strip - 1) * grid.stride + grid.size, height)
    blend = StripBlend(4, strip_height, width, grid, ramp)
    first, dn, valid = 0, *scene.read(0, 0)
    for group in range(0, len(rows), per_strip):
        tops = rows[group : group + per_strip]
        bottom = min(tops[-1] + grid.size, height)
        more_dn, more_valid = scene.read(first + dn.shape[1], bottom)
        dn = np.concatenate([dn, more_dn], axis=1)
        valid = np.concatenate([valid, more_valid])
        places = [(top - first, left) for top in tops for left in columns]
        model = radiometry.to_network(radiometry.to_model(dn[scene.rgb]))
        skipped = _restore_windows(model, valid, places, grid.size, predict, blend)
        last = rows[group + per_strip] if group + per_strip < len(rows) else height
        count = last - first
        blended = blend.take(count)
        restoration = Restoration(radiometry.from_network(blended[:3]), opacity=blended[3])
        yield Strip(first, dn[:, :count], valid[:count], restoration, len(places), skipped)
        first, dn, valid = last, dn[:, count:], valid[count:]


def _restore_windows(
    model: NDArray[np.float32],
    valid: NDArray[np.bool_],
    places: list[tuple[int, int]],
    size: int,
    predict: Predict,
    blend: StripBlend,
) -> int:
    """Run the network on the windows at ``places`` and blend what it says.

    Returns:
        how many windows were skipped, because they hold no data.
    """
    kept, patches = [], []
    for row, column in places:
        seen = valid[row : row + size, column : column + size]
        if seen.any():
            patch = model[:, row : row + size, column : column + size]
            kept.append((row, column))
            patches.append(filled_patch(patch, seen, size))
    if not kept:
        return len(places)
    inputs = np.stack(patches)  # (N, 3, size, size)
    outputs = predict(inputs)  # (N, 4, size, size)
    if not np.isfinite(outputs).all():
        raise GeodecloudError(
            "the network answers with numbers that are none: try --precision fp32"
        )
    outputs[:, :3] -= inputs
    for place, output in zip(kept, outputs, strict=True):
        blend.add(output, *place)
    return len(places) - len(kept)


def filled_patch(
    patch: NDArray[np.float32], valid: NDArray[np.bool_], size: int
) -> NDArray[np.float32]:
    """A patch of (3, size, size) without holes, from one that may have some or be smaller.

    Where there is no data, or nothing at all beyond the edge of a small scene, the network sees
    each band's mean over the valid pixels, so that the value of nodata reaches no neighbour.
    """
    height, width = valid.shape
    if valid.all() and (height, width) == (size, size):
        return patch
    out = np.empty((3, size, size), np.float32)
    out[:] = patch[:, valid].mean(axis=1, dtype=np.float64)[:, None, None]
    np.copyto(out[:, :height, :width], patch, where=valid)
    return out
