"""Put the synthetic clouds of training over a whole clear scene."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geodecloud.data.cloud_fields import PixelGrid
from geodecloud.data.cloud_kinds import CLOUDS, KINDS
from geodecloud.data.clouds import Clouds, apparent_opacity, cloud_draw, draw_clouds, draw_kind
from geodecloud.data.config import CloudMix
from geodecloud.data.draw import TileDraw
from geodecloud.errors import UsageError
from geodecloud.radiometry import Radiometry, as_dtype
from geodecloud.raster.atomic import AtomicFiles
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.endings import refuse_wrong_ending
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.writer import create_like, create_opacity
from geodecloud.settings import Output, Reading
from geodecloud.version import VERSION

_ROWS = 256  # rows that are made at a time
_MARGIN = 4  # rows beyond them that parallax reaches into
_MIN_OPACITY = 0.1  # mean over the scene: enough cloud to see
_MAX_ATTEMPTS = 200  # clouds that are drawn until one is within the bounds
_PREVIEW = 128  # pixels of the scene's longer side when its mean opacity is measured


@dataclass(frozen=True)
class Simulation:
    """The clouds to simulate.

    Args:
        kind: one of :data:`geodecloud.data.cloud_kinds.CLOUDS`.
        seed: another seed, another cloud. Its clouds are drawn until the mean opacity of one is
            0.1 to the kind's ``most_opacity``.
        zoom: how many times larger than on a training tile of 640 m a cloud is.
        reading: bands, radiometry and nodata, as for restoring.
    """

    kind: str = "cumulus"
    seed: int = 0
    zoom: float = 3.0
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        if self.kind not in CLOUDS:
            raise UsageError(f"`kind` is {self.kind}: give {', '.join(CLOUDS)}")
        if not 0.1 <= self.zoom <= 100:
            raise UsageError(f"`zoom` is {self.zoom:g}: give 0.1 to 100")
        if self.seed < 0:
            raise UsageError(f"`seed` is {self.seed}: give 0 or more")


def simulate_scene(
    src: Path,
    dst: Path,
    opacity: Path,
    plan: Simulation,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Write ``src`` under clouds to ``dst`` and their opacity beside it; return its mean.

    The clouds lie over all bands; a band that is not R, G or B is treated as green. Bright clouds
    exceed the model range. Pixels without cloud or shadow stay bit for bit.

    Args:
        opacity: a float32 raster to write, 0..1, on the grid of the scene.
        progress: called with (rows done, rows in all).

    Raises:
        SceneError, OutputError, UsageError: as for restoring.
    """
    refuse_wrong_ending("dst", dst)
    refuse_wrong_ending("opacity", opacity)
    total, count = 0.0, 0
    with (
        open_scene(src, reading=plan.reading) as scene,
        AtomicFiles(map(Path, scene.files), overwrite=overwrite) as outputs,
    ):
        radiometry = calibrate(scene, replace(plan.reading, force=True))
        tags = {"VERSION": VERSION, "SIMULATED": f"{plan.kind} seed {plan.seed}"}
        draw, height = find_draw(plan, scene.shape), scene.shape[0]
        covered = {*scene.dataset.indexes} - {scene.alpha}
        # Both files are closed before the outputs are moved to their destinations.
        with (
            create_like(scene, outputs.add(dst), Output(), covered) as cloudy_file,
            create_opacity(scene, outputs.add(opacity)) as opacity_file,
        ):
            cloudy_file.tag(tags)
            for first in range(0, height, _ROWS):
                last = min(first + _ROWS, height)
                dn, valid = scene.read(first, last)
                clouds = _clouds_of_rows(plan, draw, scene.shape, (first, last))
                cloudy_file.write(_cover(dn, valid, clouds, scene, radiometry))
                rows = _opacity(clouds)
                rows[:, ~valid] = np.nan
                opacity_file.write(rows)
                total, count = total + float(np.nansum(rows)), count + int(valid.sum())
                if progress:
                    progress(last, height)
    return total / max(count, 1)


def find_draw(plan: Simulation, shape: tuple[int, int]) -> TileDraw:
    """Return the seed's first draw whose cloud has a mean opacity within the bounds.

    In most draws of a broken cover, a whole scene lies in one of its gaps or has no gap at all.

    Args:
        shape: (rows, columns) of the scene.
    """
    step = max(max(shape) / _PREVIEW, 1)
    rows, columns = (max(round(length / step), 1) for length in shape)
    grid = PixelGrid(rows, columns, zoom=plan.zoom / step)
    for attempt in range(_MAX_ATTEMPTS):
        draw = cloud_draw(plan.seed, attempt, [0])
        mean = _opacity(_clouds(plan, draw, grid)).mean()
        if _MIN_OPACITY <= mean <= KINDS[plan.kind].most_opacity:
            return draw
    return cloud_draw(plan.seed, 0, [0])


def _clouds(plan: Simulation, draw: TileDraw, grid: PixelGrid) -> Clouds:
    with torch.inference_mode():
        return draw_clouds(draw, draw_kind(draw, CloudMix.only(plan.kind)), grid)


def _opacity(clouds: Clouds) -> NDArray[np.float32]:
    """Return the apparent opacity of a scene's clouds, float32 (1, rows, columns)."""
    opacity: NDArray[np.float32] = apparent_opacity(clouds.attenuation, clouds.light)[0].numpy()
    return opacity


def _clouds_of_rows(
    plan: Simulation, draw: TileDraw, shape: tuple[int, int], rows: tuple[int, int]
) -> Clouds:
    """Return the clouds over rows first to last (not included): (1, 3 or 1, rows, columns)."""
    (height, width), (first, last) = shape, rows
    top, bottom = max(first - _MARGIN, 0), min(last + _MARGIN, height)
    clouds = _clouds(plan, draw, PixelGrid(bottom - top, width, top, max(shape), plan.zoom))
    return Clouds(*(part[:, :, first - top : last - top] for part in clouds))


def _cover(
    dn: NDArray[Any],
    valid: NDArray[np.bool_],
    clouds: Clouds,
    scene: Scene,
    radiometry: Radiometry,
) -> NDArray[Any]:
    """Return the DN under clouds, (bands, rows, columns) in the dtype of ``dn``."""
    attenuation, light, shadow = (part[0].numpy().astype(np.float64) for part in clouds)
    out = dn.copy()
    for band in range(len(dn)):
        if band + 1 == scene.alpha:
            continue
        colour = scene.rgb.index(band) if band in scene.rgb else 1
        ground = dn[band] - radiometry.black
        value = (1 - attenuation[colour]) * shadow[0] * ground + light[colour] * radiometry.span
        cloudy = as_dtype(value + radiometry.black, scene.dtype, scene.validity.unwritten)
        measured = valid if scene.nodata is None else valid & (dn[band] != scene.nodata)
        touched = measured & ((attenuation[colour] > 0) | (shadow[0] < 1))
        out[band] = np.where(touched, cloudy, dn[band])
    return out
