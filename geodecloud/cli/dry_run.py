"""Describe what a run would read, use and write, without writing anything."""

from pathlib import Path
from typing import Any

from geodecloud.cli.info import scene_facts
from geodecloud.settings import MIB, ModelSpec, Settings


def describe_run(
    src: str | list[str], dst: Path, settings: Settings, model: ModelSpec
) -> dict[str, Any]:
    """Return facts about a run, for JSON."""
    from geodecloud.decloud import (
        find_cell,
        find_others,
        input_files,
        plan_run,
        refuse_impossible,
    )
    from geodecloud.model.model_file import default_model, read_info
    from geodecloud.raster.mask import open_mask
    from geodecloud.raster.outputs import Outputs
    from geodecloud.raster.scene import open_scene
    from geodecloud.restore.fill.reference import open_references
    from geodecloud.restore.windows import grid_of

    reading, output = settings.reading, settings.output
    grid = grid_of(settings.windows)
    info = read_info(model.model or default_model())
    with open_scene(src, reading=reading) as scene:
        others = find_others(scene, settings)
        outputs = Outputs(scene, dst, output, input_files(scene, settings))
        refuse_impossible(scene, settings, outputs.nodata)
        writes = outputs.check()
        plan = plan_run(scene, settings, find_cell(scene), len(others))
        facts = scene_facts(scene, reading)
        with open_mask(scene, reading), open_references(scene, others, settings):
            pass  # both can be opened
    reads = [reading.mask, *settings.policy.references]
    return {
        **facts,
        "mask_and_references": [str(path) for path in reads if path],
        "window": grid.size,
        "overlap": grid.overlap,
        "windows": len(grid.starts(facts["height"])) * len(grid.starts(facts["width"])),
        "opaque": settings.policy.opaque,
        "other_bands": settings.policy.other_bands,
        "model": str(info.path),
        "device": model.device,
        "precision": model.precision,
        "threads": settings.limits.thread_count,
        "memory_mib": round(plan.bytes / MIB),
        "max_memory_mib": round(settings.limits.max_memory / MIB),
        "writes": list(map(str, writes)),
    }
