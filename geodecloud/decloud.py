"""Restore a scene: the whole way of a pixel on one screen; start reading here.

    coarse pass: SRC -> light -> means of cells -> windows -> generator -> blend
    fine pass:   SRC -> light -> windows that need it -> generator -> blend
                 -> screen -> composite -> fill -> DST

The coarse pass sees the whole scene. It decides where the fine pass is needed, and which colours
fill opaque pixels. The fine pass works down the scene, a few rows of windows at a time. Each stage
takes rows and yields rows.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geodecloud.errors import (
    BandsWarning,
    FillWarning,
    PixelSizeWarning,
    UsageError,
    recorded_warnings,
    warn,
)
from geodecloud.radiometry import Radiometry
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.counts import Counts
from geodecloud.raster.gdal import gdal_resources
from geodecloud.raster.mask import open_mask
from geodecloud.raster.origin import refuse_restored
from geodecloud.raster.outputs import Outputs
from geodecloud.raster.profile import output_block
from geodecloud.raster.provenance import MOST_REFERENCES
from geodecloud.raster.rows import Rows
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.source import Src
from geodecloud.raster.vrt_sources import files_read
from geodecloud.raster.wavelengths import (
    OtherBand,
    bands_of_another_scale,
    bands_without_wavelength,
    find_other_bands,
)
from geodecloud.restore.cells import cell_of
from geodecloud.restore.cloud_spectrum import with_cloud_spectrum
from geodecloud.restore.coarse import coarse_bytes, for_fine_pass
from geodecloud.restore.coarse_pass import coarse_pass
from geodecloud.restore.composite import composite
from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.fill.ground import cell_size
from geodecloud.restore.fill.opaque import fill_opaque
from geodecloud.restore.fill.reference import open_references
from geodecloud.restore.fill.survey import Survey
from geodecloud.restore.fine import fine_pass
from geodecloud.restore.invented import InventedCheck
from geodecloud.restore.memory import Footprint, MemoryPlan, cache_bytes, plan_memory
from geodecloud.restore.patches import Network, Predict
from geodecloud.restore.screen import Fringe, screen
from geodecloud.restore.stages import cancellable, prefetch
from geodecloud.restore.windows import grid_of
from geodecloud.settings import MIB, Settings

log = logging.getLogger("geodecloud")

_SMALLEST_PIXEL = 2.5  # metres; the coarse pass sees too little haze in cells of smaller ones
_NOT_CLOUDY = "none of the pixels that it marks looks like cloud, so nothing changed"

Progress = Callable[[int, int], None]  # rows done, total rows


@dataclass(frozen=True, kw_only=True)
class Report(Counts):
    """The result of a run: counts of pixels and windows, and seconds of wall time.

    bands: numbers of the red, green and blue bands, from 1.
    others: the other bands that were restored, filled or made nodata.
    warnings: the run's warnings, one line each.
    """

    src: Path
    dst: Path
    height: int
    width: int
    bands: tuple[int, int, int]
    radiometry: Radiometry
    seconds: float
    others: tuple[OtherBand, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "src": str(self.src),
            "dst": str(self.dst),
            "width": self.width,
            "height": self.height,
            "bands": list(self.bands),
            "other_bands": {str(one.index + 1): one.wavelength for one in self.others},
            "scale": self.radiometry.scale,
            "offset": self.radiometry.offset,
            "radiometry": self.radiometry.origin,
            "haze": round(self.radiometry.haze, 3),
            "windows": self.windows,
            "windows_skipped": self.windows_skipped,
            "seconds": round(self.seconds, 3),
            **self.fractions(),
            "warnings": list(self.warnings),
        }


def decloud_scene(
    src: Src,
    dst: Path,
    predict: Predict,
    settings: Settings | None = None,
    *,
    model_name: str = "",
    progress: Progress | None = None,
) -> Report:
    """Restore the scene ``src`` into the new file ``dst``.

    Args:
        src: a raster, product or set of bands, see :func:`geodecloud.raster.source.find_source`.
        predict: the network, see :data:`geodecloud.restore.patches.Predict`.
        model_name: for the output's tags.
        progress: called with (rows done, total rows).

    Raises:
        SceneError: ``src`` cannot be read or lacks a band, its radiometry is doubtful, or most of
            it would be invented.
        OutputError: ``dst`` cannot be written, or exists and may not be overwritten.
        UsageError: the settings do not fit the scene.
    """
    begun = time.perf_counter()
    settings = settings or Settings()
    reading, policy, limits = settings.reading, settings.policy, settings.limits
    with (
        recorded_warnings() as messages,
        gdal_resources(cache_bytes(limits), limits.thread_count),
        open_scene(src, reading) as scene,
        open_mask(scene, reading) as mask,
        open_references(scene, others := find_others(scene, settings), settings) as references,
        Outputs(scene, dst, settings.output, input_files(scene, settings), others) as outputs,
    ):
        refuse_impossible(scene, settings, outputs.nodata)
        network = network_of(predict, calibrate(scene, reading))
        facts = SceneFacts.of(scene, network.radiometry, outputs.unwritten, others, policy)
        cell = find_cell(scene)
        plan = plan_run(scene, settings, cell, len(others))
        scene.keep_rows(plan.decoding, plan.keeping)

        # The coarse pass shows the survey the land, strip by strip, as it restores it.
        survey = Survey(facts, references) if policy.opaque == "fill" else None
        add_rows = survey.add if survey else None
        coarse = coarse_pass(scene, network, settings.windows, plan, add_rows, cell, facts.others)
        facts = with_cloud_spectrum(facts, coarse)
        coarse = for_fine_pass(coarse, settings)
        land = survey.finish() if survey else None

        invented = InventedCheck(scene, facts.radiometry, settings)
        cancelled = threading.Event()
        with closing(fine_pass(scene, network, settings.windows, plan, coarse)) as restored:
            rows = screen(cancellable(restored, cancelled), mask, policy, Fringe.of(cell))
            rows = (composite(some, facts, policy, settings.output) for some in rows)
            rows = _report_progress(invented.watch(rows), facts.height, progress)
            if land:
                rows = fill_opaque(rows, facts, policy, land, dst.parent, limits.thread_count)
            # This thread writes. Other threads do the rest, ahead of it; they end before the files
            # that they read are closed.
            with closing(prefetch(rows, cancelled=cancelled)) as finished:
                counts = outputs.write(finished, facts.radiometry, settings.to_json(), model_name)
        invented.finish(counts)
        if mask and mask.marks_cloud and policy.opaque == "fill" and not counts.changed:
            warn(FillWarning, f"{mask.path}: {_NOT_CLOUDY}")
        outputs.write_report(messages)
    return Report(
        **asdict(counts),
        src=scene.path,
        dst=dst,
        height=facts.height,
        width=facts.width,
        bands=scene.bands,
        radiometry=facts.radiometry,
        seconds=time.perf_counter() - begun,
        others=others,
        warnings=tuple(messages),
    )


def network_of(predict: Predict, radiometry: Radiometry) -> Network:
    """Return the network with the radiometry in which it sees the scene."""
    network = Network(predict, radiometry)
    return Network(predict, radiometry.as_measured()) if network.takes_context else network


def find_others(scene: Scene, settings: Settings) -> tuple[OtherBand, ...]:
    """Return the bands besides red, green and blue that the settings change."""
    if settings.policy.other_bands == "keep":
        return ()
    given = settings.reading.wavelengths
    found = find_other_bands(scene, given)
    if apart := bands_of_another_scale(scene, given):
        _warn_of_cloud(scene, apart, "the scale or offset is not that of red; convert to red's")
    if given is None and (kept := bands_without_wavelength(scene, found)):
        _warn_of_cloud(
            scene,
            kept,
            "no wavelength is known; give `wavelengths` of all bands other than red, green and "
            "blue, 0 where a band shows no ground",
        )
    return found


def _warn_of_cloud(scene: Scene, bands: list[str], why: str) -> None:
    """Warn of bands, in words, that keep their cloud."""
    named = f"{'bands' if len(bands) > 1 else 'band'} {', '.join(bands)}"
    warn(BandsWarning, f"{scene.path}: {named} will keep all cloud, as {why}")


def input_files(scene: Scene, settings: Settings) -> list[Path]:
    """Return the input files, those that a VRT reads included, which no output may replace."""
    reading, policy = settings.reading, settings.policy
    chosen = [Path(path) for path in (reading.mask, reading.aoi, *policy.references) if path]
    return [scene.path, *map(Path, (*scene.files, *files_read(chosen)))]


def refuse_impossible(scene: Scene, settings: Settings, nodata: float | None) -> None:
    """Refuse a scene that is restored already, and settings that do not fit the scene.

    Args:
        nodata: the DN that means nodata in the output; None: there is none.

    Raises:
        SceneError: geodecloud has restored the scene.
        UsageError: the settings do not fit.
    """
    policy = settings.policy
    if not settings.reading.force:
        refuse_restored(scene, "give the scene as measured, or `force` to run anyway")
    hides = scene.masked or scene.alpha
    # A mask or alpha hides all bands of a pixel alike, and takes the place of a value.
    give = "" if hides else "give `dst_nodata`, or "
    has_nodata = nodata is not None
    for treatment, possible, remedy in (
        (policy.other_bands, has_nodata, "set `other_bands` to restore or keep"),
        (policy.opaque, has_nodata or hides, "set `opaque` to fill or keep"),
        (policy.beyond_limit, has_nodata or hides, "set `beyond_limit` to keep"),
    ):
        if treatment == "nodata" and not possible:
            raise UsageError(f"{scene.path} has no nodata value: {give}{remedy}")
    if policy.fill_limit is not None and scene.pixel_metres is None:
        raise UsageError(
            f"{scene.path} has no georeferenced grid, so metres are unknown; leave `fill_limit` out"
        )
    if len(policy.references) > MOST_REFERENCES:
        raise UsageError(
            f"`references` are {len(policy.references)}: give at most {MOST_REFERENCES}"
        )
    for reference in map(Path, policy.references):
        if reference.exists() and scene.path.exists() and reference.samefile(scene.path):
            raise UsageError(f"{reference}: is the scene itself; leave it out of `references`")


def find_cell(scene: Scene) -> int:
    """Return the side of the scene's cells in pixels, and warn if its pixels are too small."""
    metres = scene.pixel_metres
    if metres and max(metres) < _SMALLEST_PIXEL:
        warn(
            PixelSizeWarning,
            f"{scene.path}: its pixels of {max(metres):.3g} m are smaller than the model is made "
            "for, so haze may stay; average them to 2.5 to 10 m first",
        )
    return cell_of(scene.shape, metres)


def plan_run(scene: Scene, settings: Settings, cell: int, others: int = 0) -> MemoryPlan:
    """Plan the memory of a run.

    Args:
        cell: side of the scene's cells in pixels.
        others: number of bands to restore besides red, green and blue.
    """
    height, width = scene.shape
    of_ground = cell_size(height, width)
    block_height, block_width = output_block(scene)
    columns = -(-width // block_width) * block_width
    footprint = Footprint(
        width=width,
        bytes_per_pixel=scene.dtype.itemsize * scene.dataset.count,
        block_row=block_height * columns,
        cells=-(-height // of_ground) * -(-width // of_ground),
        coarse=coarse_bytes(height, width, cell),
        cell=cell,
        references=len(settings.policy.references),
        others=others,
    )
    plan = plan_memory(footprint, grid_of(settings.windows), settings.limits)
    log.info(
        "rows of windows at once: %d, windows per call: %d, threads: %d, memory: about %d MiB",
        plan.rows_of_windows,
        plan.batch_size,
        settings.limits.thread_count,
        plan.bytes // MIB,
    )
    return plan


def _report_progress(
    rows: Iterator[Rows], height: int, progress: Progress | None
) -> Iterator[Rows]:
    for some in rows:
        yield some
        if progress:
            progress(some.last, height)
