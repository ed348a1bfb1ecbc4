"""The whole way of a pixel on one screen; start reading here.

    SRC -> DN -> model range -> windows -> generator -> blend -> composite -> DN -> fill -> DST

``decloud_scene`` rolls down the scene, a strip at a time. A strip holds one or a few rows of
windows; when their patches are blended, the rows that no later window reaches are finished:
composited over the DN that were read, and written. Rows with opaque cloud wait for the second pass,
when the land around is known. Memory does not depend on the height.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from geodecloud.errors import GeodecloudError, UsageError
from geodecloud.radiometry import Radiometry
from geodecloud.raster.atomic import Outputs
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.gdal import gdal_resources
from geodecloud.raster.mask import open_mask
from geodecloud.raster.outputs import open_sinks
from geodecloud.raster.provenance import MOST_REFERENCES
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.source import Src
from geodecloud.raster.stac import Written, item_path, require_pystac, write_item
from geodecloud.report import Report
from geodecloud.restore.composite import Restoration, composite
from geodecloud.restore.fill.ground import cell_size
from geodecloud.restore.fill.reference import open_reference
from geodecloud.restore.fill.second_pass import Place, filled
from geodecloud.restore.memory import Load, Work, cache_bytes, plan_memory
from geodecloud.restore.rows import Finished
from geodecloud.restore.stages import prefetch
from geodecloud.restore.strips import BelievedStrip, Predict, believed_strips, restored_strips
from geodecloud.restore.windows import grid_of
from geodecloud.settings import MIB, Policy, Settings

__all__ = ["Report", "Settings", "decloud_scene"]

log = logging.getLogger("geodecloud")

_PIECE = 1 << 17  # pixels that are composited at once: float64 of these fit into a cache


def decloud_scene(
    src: Src,
    dst: Path,
    predict: Predict,
    settings: Settings | None = None,
    *,
    model_name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Restore the scene ``src`` into the new file ``dst``.

    Args:
        src: a raster, product or set of bands, see :func:`geodecloud.raster.source.find_source`.
        predict: the network, see :data:`geodecloud.restore.strips.Predict`.
        model_name: for the output's tags.
        progress: called with (rows done, rows in all).

    Raises:
        SceneError: ``src`` cannot be read or lacks what is needed.
        OutputError: ``dst`` cannot be written, or is there and may not be overwritten.
        UsageError: the settings do not fit the scene.
    """
    settings = settings or Settings()
    begun = time.perf_counter()
    with (
        gdal_resources(cache_bytes(settings.limits), settings.limits.thread_count),
        open_scene(
            src,
            settings.reading.bands,
            resolution=settings.reading.resolution,
            aoi=settings.reading.aoi,
            allow_network=settings.reading.allow_network,
        ) as scene,
        Outputs(_inputs(scene, settings), overwrite=settings.output.overwrite) as outputs,
        ExitStack() as open_files,
    ):
        _refuse_impossible(scene, dst, settings)
        item = outputs.add(item_path(dst)) if settings.output.stac else None
        allowed = _allowed(scene, settings, open_files)
        radiometry = calibrate(scene, settings.reading)
        work = _planned(scene, settings)
        report = Report(scene.path, dst, *scene.shape, scene.bands, radiometry)
        out, sinks = open_sinks(scene, report, settings, outputs, open_files, model_name)
        restored = open_files.enter_context(
            closing(
                restored_strips(
                    scene,
                    predict,
                    radiometry,
                    grid_of(settings.windows),
                    settings.windows.ramp,
                    work,
                )
            )
        )
        unwanted = threading.Event()
        strips = _until(unwanted, believed_strips(restored, settings.policy.opaque_above))
        finished = _first_pass(map(allowed, strips), scene, report, settings.policy, progress)
        if settings.policy.opaque == "fill":
            finished = _second_pass(finished, scene, report, settings, out.block, open_files)
        # Writing is this thread's; reading, network and all else are ahead of it in theirs.
        # Whatever happens here, they end before the files are closed that they read from.
        with closing(prefetch(finished, unwanted=unwanted)) as rows_ahead:
            for rows in rows_ahead:
                report.count(rows)
                for sink in sinks:
                    sink(rows)
                del rows  # while the next ones are waited for
        out.tag({name.upper(): f"{share:.6f}" for name, share in report.fractions().items()})
        if item:
            write_item(item, scene, _written(report, settings, model_name))
        report.seconds = time.perf_counter() - begun
    return report


def _until(unwanted: threading.Event, strips: Iterator[BelievedStrip]) -> Iterator[BelievedStrip]:
    """The strips, until nobody wants them: under a closed cover no rows are handed on for long."""
    for strip in strips:
        if unwanted.is_set():
            raise GeodecloudError("stopped")  # in its thread, where nobody hears it
        yield strip


def _refuse_impossible(scene: Scene, dst: Path, settings: Settings) -> None:
    for path in (dst, settings.output.provenance):
        if path and Path(path).suffix.lower() not in (".tif", ".tiff"):
            raise UsageError(f"{path}: the output is a GeoTIFF; name it .tif")
    if settings.output.stac:
        require_pystac()
    nodata_alone = scene.nodata is not None and not scene.masked and not scene.alpha
    rule = settings.policy
    if "nodata" in (rule.opaque, rule.beyond_limit) and not nodata_alone:
        raise UsageError(f"{scene.path} has no nodata value, or a mask too: fill or keep")
    if rule.fill_limit is not None and scene.pixel_metres is None:
        raise UsageError(f"{scene.path} does not say how large its pixels are: no --fill-limit")
    if settings.policy.references and rule.opaque != "fill":
        raise UsageError(f"a reference goes with --opaque fill, not {rule.opaque}")
    if len(settings.policy.references) > MOST_REFERENCES:
        raise UsageError(f"{len(settings.policy.references)} references: {MOST_REFERENCES} at most")


def _planned(scene: Scene, settings: Settings) -> Work:
    """How the run is divided, said to who wants to hear it."""
    (height, width), bytes_per_pixel = scene.shape, scene.dtype.itemsize * scene.dataset.count
    cell = cell_size(height, width)
    cells = -(-height // cell) * -(-width // cell)
    block_height, block_width = scene.dataset.block_shapes[0]
    columns = min(width + 2 * block_width, scene.dataset.width)  # of the blocks that are touched
    block_row = block_height * columns
    load = Load(width, bytes_per_pixel, block_row, cells, len(settings.policy.references))
    work = plan_memory(load, grid_of(settings.windows), settings.limits)
    log.info(
        "%d rows of windows at once, %d windows to a call, %d threads: about %d MiB",
        *(work.rows_of_windows, work.batch_size, work.threads, work.bytes // MIB),
    )
    return work


def _written(report: Report, settings: Settings, model_name: str) -> Written:
    """For the STAC item."""
    provenance = Path(settings.output.provenance) if settings.output.provenance else None
    facts = {
        **json.loads(settings.to_json()),
        "model": model_name,
        **report.fractions(),
    }
    cog = settings.output.format == "cog"
    return Written(report.dst, provenance, report.radiometry, cog, facts)


def _inputs(scene: Scene, settings: Settings) -> list[Path]:
    """The files that must not be replaced."""
    chosen = [Path(path) for path in (settings.reading.mask, settings.reading.aoi) if path]
    return [scene.path, *chosen, *settings.policy.references, *map(Path, scene.dataset.files)]


def _allowed(
    scene: Scene, settings: Settings, open_files: ExitStack
) -> Callable[[BelievedStrip], BelievedStrip]:
    """What makes a strip wholly clear outside of the mask, where there is one."""
    if settings.reading.mask is None:
        return lambda strip: strip
    mask = open_files.enter_context(
        open_mask(Path(settings.reading.mask), settings.reading.mask_values, scene)
    )

    def within(strip: BelievedStrip) -> BelievedStrip:
        clouds = mask.read(strip.first, strip.first + len(strip.valid))
        opacity = strip.restoration.opacity * clouds
        restoration = replace(strip.restoration, opacity=opacity)
        return replace(strip, restoration=restoration, share=strip.share * clouds)

    return within


def _finish(strip: BelievedStrip, scene: Scene, radiometry: Radiometry, rule: Policy) -> Finished:
    """Composite R, G and B; other bands pass through."""
    after = strip.dn.copy()
    provenance = np.empty(strip.valid.shape, np.uint8)
    rows = max(1, _PIECE // strip.valid.shape[1])
    for first in range(0, len(provenance), rows):
        part = slice(first, first + rows)
        restoration = Restoration(
            strip.restoration.change[:, part], strip.restoration.opacity[part]
        )
        after[scene.rgb, part], provenance[part] = composite(
            strip.dn[scene.rgb, part],
            strip.valid[part],
            restoration,
            radiometry,
            rule,
            scene.nodata,
        )
    return Finished(
        *(strip.first, strip.dn, after, provenance, strip.valid, strip.share, strip.trust)
    )


def _first_pass(
    strips: Iterator[BelievedStrip],
    scene: Scene,
    report: Report,
    rule: Policy,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Finished]:
    """The rows of the strips, composited, from the top down."""
    for strip in strips:
        yield _finish(strip, scene, report.radiometry, rule)
        report.windows += strip.windows
        report.windows_skipped += strip.windows_skipped
        if progress:
            progress(strip.first + len(strip.valid), report.height)


def _second_pass(
    rows: Iterator[Finished],
    scene: Scene,
    report: Report,
    settings: Settings,
    block: int,
    open_files: ExitStack,
) -> Iterator[Finished]:
    """Fill opaque pixels; rows then come in another order."""
    network = settings.reading.allow_network
    references = [
        open_files.enter_context(open_reference(path, scene, allow_network=network))
        for path in settings.policy.references
    ]
    place = Place(
        *(*scene.shape, scene.rgb, report.radiometry),
        *(scene.nodata, scene.pixel_metres, report.dst.parent),
    )
    return filled(rows, place, settings.policy, block, references, settings.limits.thread_count)
