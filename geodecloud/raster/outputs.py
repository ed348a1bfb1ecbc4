"""What a run writes its rows to: the scene, and provenance and preview where wanted."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from geodecloud.raster.atomic import Outputs
from geodecloud.raster.preview import Preview
from geodecloud.raster.profile import refuse_unknown_options
from geodecloud.raster.provenance import create_provenance
from geodecloud.raster.scene import Scene
from geodecloud.raster.writer import RowWriter, create_like
from geodecloud.report import Report
from geodecloud.restore.rows import Finished
from geodecloud.settings import Settings
from geodecloud.version import VERSION

Sink = Callable[[Finished], None]


def open_sinks(
    scene: Scene,
    report: Report,
    settings: Settings,
    outputs: Outputs,
    open_files: ExitStack,
    model_name: str,
) -> tuple[RowWriter, list[Sink]]:
    """Open what is to be written: the scene, and provenance and preview where wanted.

    Returns:
        what writes the scene, and all that takes finished rows.
    """
    tags = {
        "VERSION": VERSION,
        "MODEL": model_name,
        "SOURCE": scene.path.name,
        "DTYPE": str(scene.dtype),
        "SCALE": repr(report.radiometry.scale),
        "OFFSET": repr(report.radiometry.offset),
        "RADIOMETRY": report.radiometry.origin,
        "CORRECTED": f"{report.radiometry.path_radiance_removed:.3f}",
        "VEIL": f"{report.radiometry.haze:.3f}",
        "DARKEST": " ".join(f"{light:.3f}" for light in report.radiometry.dark_object),
        "CONFIG": settings.to_json(),
    }
    refuse_unknown_options(settings.output)
    place = outputs.add(report.dst)
    out = open_files.enter_context(create_like(scene, place, tags, settings.output))
    sinks: list[Sink] = [lambda rows: out.write(rows.after, rows.first)]
    if settings.output.provenance:
        place = outputs.add(Path(settings.output.provenance))
        marks = open_files.enter_context(create_provenance(scene, place, settings.output))
        sinks.append(lambda rows: marks.write(rows.provenance[None], rows.first))
    if settings.output.preview:
        path = outputs.add(Path(settings.output.preview))
        preview = open_files.enter_context(Preview(path, *scene.shape, report.radiometry))
        sinks.append(
            lambda rows: preview.add(
                rows.first, rows.before[scene.rgb], rows.after[scene.rgb], rows.provenance
            )
        )
    return out, sinks
