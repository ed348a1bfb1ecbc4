"""Clouds on a clear scene: the same as training's, over the whole of it, with their opacity."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geodecloud.data.cloud_shapes import Place
from geodecloud.data.clouds import Clouds, apparent_opacity, draw_clouds, draw_uniforms
from geodecloud.errors import UsageError
from geodecloud.model.config import CloudMix
from geodecloud.radiometry import Radiometry
from geodecloud.raster.atomic import Outputs
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.writer import create_like, create_opacity
from geodecloud.restore.composite import as_dtype
from geodecloud.settings import Reading
from geodecloud.version import VERSION

_ROWS = 256  # that are made at a time
_MARGIN = 4  # rows beyond them that parallax reaches into
_COVER = (0.1, 0.6)  # mean opacity that is wanted: neither no cloud nor no ground
_TRIES = 200  # clouds that are drawn at most until one has it
_COARSE = 128  # pixels of the scene's longer side when its cover is looked at


@dataclass(frozen=True)
class Simulation:
    """Which clouds.

    Args:
        kind: one of ``CloudMix``'s.
        seed: another seed, another cloud: the first that it draws which hides a tenth to six
            tenths of the scene's light (a deck: a tenth or more).
        zoom: how many times larger than on a training tile of 640 m a cloud is.
        bands, scale, offset: as for restoring.
    """

    kind: str = "cumulus"
    seed: int = 0
    zoom: float = 3.0
    bands: tuple[int, int, int] | None = None
    scale: float | None = None
    offset: float | None = None

    def __post_init__(self) -> None:
        if not 0.1 <= self.zoom <= 100:
            raise UsageError(f"zoom is {self.zoom:g}: give 0.1 to 100")
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}: give 0 or more")


def simulate_scene(
    src: Path,
    dst: Path,
    opacity: Path,
    plan: Simulation,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Write ``src`` under clouds to ``dst``, and how opaque they are; returns the mean opacity.

    The clouds lie over all bands (in those that are not R, G or B as over green), beyond the
    model range where they are that bright. Pixels without cloud or shadow stay bit for bit.

    Args:
        opacity: a float32 raster, 0..1, on the grid of the scene.
        progress: called with (rows done, rows in all).

    Raises:
        SceneError, OutputError, UsageError: as for restoring.
    """
    total, count = 0.0, 0
    with (
        open_scene(src, plan.bands) as scene,
        Outputs(map(Path, scene.dataset.files), overwrite=overwrite) as outputs,
        ExitStack() as files,
    ):
        radiometry = calibrate(scene, Reading(scale=plan.scale, offset=plan.offset))
        tags = {"VERSION": VERSION, "SIMULATED": f"{plan.kind} seed {plan.seed}"}
        out = files.enter_context(create_like(scene, outputs.add(dst), tags))
        marks = files.enter_context(create_opacity(scene, outputs.add(opacity)))
        height = scene.shape[0]
        uniforms = _drawn(plan, scene.shape)
        for first in range(0, height, _ROWS):
            last = min(first + _ROWS, height)
            dn, valid = scene.read(first, last)
            clouds = _clouds_of_rows(plan, uniforms, scene.shape, (first, last))
            out.write(_cover(dn, valid, clouds, scene, radiometry))
            rows = apparent_opacity(clouds.a, clouds.light)[0].numpy()  # (1, rows, width)
            rows[:, ~valid] = np.nan
            marks.write(rows)
            total, count = total + float(np.nansum(rows)), count + int(valid.sum())
            if progress:
                progress(last, height)
        # Closed here, before the outputs take their places.
        files.close()
    return total / max(count, 1)


def _drawn(plan: Simulation, shape: tuple[int, int]) -> Tensor:
    """The random numbers of the seed's first cloud that covers as much as is wanted.

    In most draws a broken cover has a hole, or no hole, as large as a scene.
    """
    finer = max(max(shape) / _COARSE, 1)
    rows, width = (max(round(length / finer), 1) for length in shape)
    place = Place(rows, width, zoom=plan.zoom / finer)
    most = 1 if plan.kind == "deck" else _COVER[1]
    for attempt in range(_TRIES):
        uniforms = draw_uniforms(plan.seed, attempt, [0])
        clouds = _clouds(plan, uniforms, place)
        if _COVER[0] <= apparent_opacity(clouds.a, clouds.light).mean() <= most:
            return uniforms
    return draw_uniforms(plan.seed, 0, [0])


def _clouds(plan: Simulation, uniforms: Tensor, place: Place) -> Clouds:
    with torch.inference_mode():
        return draw_clouds(uniforms, CloudMix.only(plan.kind), place)


def _clouds_of_rows(
    plan: Simulation, uniforms: Tensor, shape: tuple[int, int], rows: tuple[int, int]
) -> Clouds:
    """The scene's clouds over rows first to last (not included), (1, 3 or 1, rows, width)."""
    (height, width), (first, last) = shape, rows
    top, bottom = max(first - _MARGIN, 0), min(last + _MARGIN, height)
    clouds = _clouds(plan, uniforms, Place(bottom - top, width, top, max(shape), plan.zoom))
    return Clouds(*(part[:, :, first - top : last - top] for part in clouds))


def _cover(
    dn: NDArray[Any],
    valid: NDArray[np.bool_],
    clouds: Clouds,
    scene: Scene,
    radiometry: Radiometry,
) -> NDArray[Any]:
    """DN under clouds, (bands, rows, width) as read."""
    a, light, shadow = (part[0].numpy().astype(np.float64) for part in clouds)
    out = dn.copy()
    for band in range(len(dn)):
        if band + 1 == scene.alpha:
            continue
        colour = scene.rgb.index(band) if band in scene.rgb else 1
        ground = dn[band] - radiometry.black
        value = (1 - a[colour]) * shadow[0] * ground + light[colour] * radiometry.span
        cloudy = as_dtype(value + radiometry.black, scene.dtype, scene.nodata)
        there = valid if scene.nodata is None else valid & (dn[band] != scene.nodata)
        touched = there & ((a[colour] > 0) | (shadow[0] < 1))
        out[band] = np.where(touched, cloudy, dn[band])
    return out
