"""Describe what a run would read, use and write, without writing anything."""

import contextlib
from pathlib import Path
from typing import Any

from geodecloud.cli.info import scene_facts
from geodecloud.settings import MIB, ModelSpec, Settings


class _DryRunEndedError(Exception):
    """Leaves a block of outputs before any file appears."""


def describe_run(
    src: str | list[str], dst: Path, settings: Settings, model: ModelSpec
) -> dict[str, Any]:
    """Return facts about a run, for JSON.

    Raises:
        GeodecloudError: the scene or the model cannot be read, or the run would be refused.
    """
    from geodecloud import decloud
    from geodecloud.model.checkpoint import default_model, read_info
    from geodecloud.raster.atomic import Outputs
    from geodecloud.raster.scene import open_scene
    from geodecloud.raster.stac import item_path
    from geodecloud.restore.windows import grid_of

    reading, output = settings.reading, settings.output
    grid = grid_of(settings.windows)
    item = item_path(dst) if output.stac else None
    writes = [path for path in (dst, output.provenance, output.preview, item) if path]
    info = read_info(model.model or default_model())
    with open_scene(
        src,
        reading.bands,
        resolution=reading.resolution,
        aoi=reading.aoi,
        allow_network=reading.allow_network,
    ) as scene:
        decloud._refuse_impossible(scene, dst, settings)
        with (
            contextlib.suppress(_DryRunEndedError),
            Outputs(decloud._inputs(scene, settings), overwrite=output.overwrite) as outputs,
        ):
            for path in writes:  # each is refused here as in a run
                outputs.add(path)
            raise _DryRunEndedError  # so that no file appears
        work = decloud._planned(scene, settings)
        facts = scene_facts(scene, reading)
    reads = [reading.mask, *settings.policy.references]
    return {
        **facts,
        "mask_and_references": [str(path) for path in reads if path],
        "window": grid.size,
        "overlap": grid.overlap,
        "windows": len(grid.starts(facts["height"])) * len(grid.starts(facts["width"])),
        "opaque": settings.policy.opaque,
        "model": str(info.path),
        "device": model.device,
        "precision": model.precision,
        "threads": settings.limits.thread_count,
        "memory_mib": round(work.bytes / MIB),
        "max_memory_mib": round(settings.limits.max_memory / MIB),
        "writes": list(map(str, writes)),
    }
