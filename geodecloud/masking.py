"""Write the cloud mask of a scene without restoring it."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.decloud import Progress, find_cell, input_files, network_of, plan_run
from geodecloud.errors import UsageError
from geodecloud.raster.atomic import AtomicFiles
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.cloud_mask import CloudClass, cloud_mask_style, create_cloud_mask
from geodecloud.raster.endings import refuse_wrong_ending
from geodecloud.raster.extra_bands import NONE
from geodecloud.raster.gdal import gdal_resources
from geodecloud.raster.outputs import origin_tags
from geodecloud.raster.rows import Rows
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.source import Src, has_extra_bands
from geodecloud.raster.stale import is_own_style
from geodecloud.restore.classify import classify
from geodecloud.restore.coarse import for_fine_pass
from geodecloud.restore.coarse_pass import coarse_pass
from geodecloud.restore.fine import fine_pass
from geodecloud.restore.memory import cache_bytes
from geodecloud.restore.patches import Predict
from geodecloud.restore.stages import cancellable, prefetch
from geodecloud.settings import Output, Reading, Settings


@dataclass(frozen=True)
class MaskReport:
    """The result of masking a scene.

    pixels: number of pixels of each class.
    bands: numbers of the red, green and blue bands, from 1.
    """

    src: Path
    dst: Path
    height: int
    width: int
    bands: tuple[int, int, int]
    pixels: dict[CloudClass, int]
    seconds: float

    def fraction(self, code: CloudClass) -> float:
        """Return the fraction of the valid pixels that are of a class."""
        valid = sum(count for one, count in self.pixels.items() if one != CloudClass.NODATA)
        return self.pixels[code] / max(valid, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        kinds = [code for code in CloudClass if code != CloudClass.NODATA]
        return {
            "src": str(self.src),
            "dst": str(self.dst),
            "width": self.width,
            "height": self.height,
            "bands": list(self.bands),
            "seconds": round(self.seconds, 3),
            **{f"{code.name.lower()}_fraction": self.fraction(code) for code in kinds},
        }


def mask_scene(
    src: Src,
    dst: Path,
    predict: Predict,
    settings: Settings | None = None,
    *,
    model_name: str = "",
    progress: Progress | None = None,
) -> MaskReport:
    """Write the cloud mask of the scene ``src`` into the new file ``dst``.

    The mask equals the ``cloud_mask`` that :func:`geodecloud.decloud.decloud_scene` writes.

    Args:
        src: a raster, product or set of bands, see :func:`geodecloud.raster.source.find_source`.
        predict: the network, see :data:`geodecloud.restore.patches.Predict`.
        model_name: for the mask's tags.
        progress: called with (rows done, total rows).

    Raises:
        SceneError: ``src`` cannot be read or lacks a band, or its radiometry is doubtful.
        OutputError: ``dst`` cannot be written, or exists and may not be overwritten.
        UsageError: the settings do not fit the scene, or name a cloud mask.
    """
    settings = settings or Settings()
    if settings.reading.mask is not None:
        raise UsageError("`mask` is given: no cloud mask is used to make one; leave it out")
    refuse_wrong_ending("dst", dst)
    begun = time.perf_counter()
    limits, output = settings.limits, settings.output
    with (
        gdal_resources(cache_bytes(limits), limits.thread_count),
        open_scene(src, reading=_colours_only(src, settings.reading)) as scene,
        AtomicFiles(input_files(scene, settings), overwrite=output.overwrite) as files,
    ):
        path, beside = files.add(dst), dst.with_suffix(".qml")
        if not beside.exists() or (output.overwrite and is_own_style(beside)):
            files.add(beside).write_text(cloud_mask_style(), "utf-8")
        counts = np.zeros(256, np.int64)
        with create_cloud_mask(scene, path, output) as writer:
            writer.tag(origin_tags(scene, settings.to_json(), model_name))
            for rows, classes in _classified(scene, predict, settings):
                writer.write(classes[None])
                counts += np.bincount(classes.ravel(), minlength=256)
                if progress:
                    progress(rows.last, scene.shape[0])
        height, width = scene.shape
        pixels = {code: int(counts[code]) for code in CloudClass}
        seconds = time.perf_counter() - begun
        return MaskReport(scene.path, dst, height, width, scene.bands, pixels, seconds)


def refuse_outputs(output: Output, why: str) -> None:
    """Refuse outputs that are not written.

    Args:
        why: the reason, for the message.

    Raises:
        UsageError: ``output`` names one.
    """
    beside = ("provenance", "opacity", "cloud_mask", "preview", "report", "stac")
    if given := [f"`{name}`" for name in beside if getattr(output, name)]:
        raise UsageError(f"{why}: leave out {', '.join(given)}")


def _colours_only(src: Src, reading: Reading) -> Reading:
    """Return the reading of red, green and blue alone, which suffice for a mask."""
    return replace(reading, extra_bands=(NONE,)) if has_extra_bands(src) else reading


def _classified(
    scene: Scene, predict: Predict, settings: Settings
) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
    """Yield the rows of a scene from the top down, with their classes."""
    network = network_of(predict, calibrate(scene, settings.reading))
    cell, windows = find_cell(scene), settings.windows
    plan = plan_run(scene, settings, cell)
    scene.keep_rows(plan.decoding, plan.keeping)
    cancelled = threading.Event()
    coarse = for_fine_pass(coarse_pass(scene, network, windows, plan, None, cell), settings)
    with (
        closing(fine_pass(scene, network, windows, plan, coarse)) as found,
        closing(prefetch(cancellable(found, cancelled), cancelled=cancelled)) as ahead,
    ):
        for rows in ahead:
            yield rows, classify(rows, settings.policy)
