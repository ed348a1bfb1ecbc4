"""Remove the clouds of many scenes."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geodecloud.cli.console import say
from geodecloud.cli.options import (
    JsonOption,
    OverwriteOption,
    ProgressOption,
    QuietOption,
    VerboseOption,
    input_option,
    output_option,
    takes_settings,
)
from geodecloud.errors import UsageError
from geodecloud.raster.endings import GEOTIFF
from geodecloud.settings import ModelSpec, Settings

if TYPE_CHECKING:
    from geodecloud.batch.record import Summary

_DEFAULTS, _BUILT_IN = Settings(), ModelSpec()
_performance = partial(typer.Option, rich_help_panel="Performance")
_pattern = partial(output_option, metavar="NAME")
_SETTLE = 10.0  # seconds

SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SRC...",
        help="Cloudy scenes: files, folders of them, Sentinel-2 products, folders with one file "
        "per band, or patterns; - reads such names from stdin, one per line",
    ),
]
FolderArgument = Annotated[
    Path | None, typer.Argument(metavar="OUT_DIR", help="Folder of the outputs")
]
RecursiveOption = Annotated[
    bool, input_option("--recursive", help="Search the folders below each folder, too")
]
PatternOption = Annotated[
    list[str] | None,
    input_option(
        "--pattern",
        metavar="PATTERN",
        help="Names of the scenes in a folder; repeatable",
        show_default="*.tif, *.tiff, Sentinel-2 products, folders with one file per band",
    ),
]
WatchOption = Annotated[bool, input_option("--watch", help="Wait for more scenes and restore each")]
SettleOption = Annotated[
    float | None,
    input_option(
        metavar="SECONDS",
        min=0.1,
        help="Time a file must stay unchanged before it is restored, with --watch",
        show_default=f"{_SETTLE:g}",
    ),
]
NameOption = Annotated[
    str | None,
    output_option(
        "--name",
        metavar="NAME",
        help="Names of the outputs; {stem} is the scene's name, {parent} its folder's",
        show_default="{stem}_clear.tif; {stem}_mask.tif with --mask-only",
    ),
]
ProvenanceOption = Annotated[
    str | None, _pattern(help="Names of provenance rasters to write, like {stem}_provenance.tif")
]
OpacityOption = Annotated[
    str | None,
    _pattern(help="Names of rasters of opacity and shadow to write, like {stem}_opacity.tif"),
]
CloudMaskOption = Annotated[
    str | None, _pattern(help="Names of cloud masks to write, like {stem}_mask.tif")
]
PreviewOption = Annotated[
    str | None, _pattern(help="Names of PNG previews to write, like {stem}.png")
]
ReportOption = Annotated[
    str | None,
    _pattern(
        help="Names of HTML reports to write, like {stem}.html; OUT_DIR/geodecloud-report.html "
        "lists them"
    ),
]
MaskOnlyOption = Annotated[
    bool,
    output_option(
        "--mask-only", help="Write the cloud mask of each scene as its output, and restore nothing"
    ),
]
WorkersOption = Annotated[
    int | None,
    _performance(
        metavar="COUNT",
        min=1,
        help="Number of worker processes",
        show_default="1 per GPU, at least 1",
    ),
]
SchedulerOption = Annotated[
    str | None,
    _performance(
        metavar="ADDRESS", help="Dask scheduler whose workers to use, like tcp://HOST:8786"
    ),
]
FailFastOption = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first scene that fails")
]


@takes_settings("provenance", "opacity", "cloud_mask", "preview", "report", "overwrite")
def batch(
    sources: SourcesArgument = None,
    out: FolderArgument = None,
    recursive: RecursiveOption = False,
    pattern: PatternOption = None,
    watch: WatchOption = False,
    settle: SettleOption = None,
    name: NameOption = None,
    provenance: ProvenanceOption = None,
    opacity: OpacityOption = None,
    cloud_mask: CloudMaskOption = None,
    mask_only: MaskOnlyOption = False,
    preview: PreviewOption = None,
    report: ReportOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    fail_fast: FailFastOption = False,
    overwrite: OverwriteOption = False,
    progress: ProgressOption = "bar",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,  # noqa: ARG001  cli.program reads it
    settings: Settings = _DEFAULTS,
    model: ModelSpec = _BUILT_IN,
) -> None:
    """Remove the clouds of many scenes.

    OUT_DIR/geodecloud-manifest.jsonl records each scene; the next run skips those that are done.
    The exit code is 1 if a scene failed; the remaining scenes are still processed.
    """
    if out is None or not sources:
        raise UsageError("OUT_DIR is missing: give SRC... and then OUT_DIR")
    if out.is_file():
        raise UsageError(f"OUT_DIR is missing: {out} is a file")
    if out.suffix.lower() in GEOTIFF and not out.is_dir():
        raise UsageError(f"OUT_DIR is {out}: name a folder; for one scene, geodecloud SRC DST")
    if settle is not None and not watch:
        raise UsageError("--settle needs --watch: give both, or leave --settle out")
    beside = (provenance, opacity, preview, cloud_mask, report)
    if mask_only and (any(beside) or settings.output.stac or settings.reading.mask):
        raise UsageError(
            "--mask-only writes cloud masks alone: leave --provenance, --opacity, --preview, "
            "--report, --cloud-mask, --stac and --mask out"
        )
    from geodecloud.batch.crew import Crew
    from geodecloud.batch.folder import Request, run_batch
    from geodecloud.batch.plan import Naming
    from geodecloud.batch.record import Summary
    from geodecloud.batch.search import SCENES, Search, read_names
    from geodecloud.batch.worker import WorkerSpec
    from geodecloud.cli.batch_display import show_batch

    request = Request(
        read_names(sources),
        Search(out.absolute(), tuple(pattern or SCENES), recursive),
        Naming(name or ("{stem}_mask.tif" if mask_only else Naming.name), *beside),
        overwrite,
        fail_fast,
        (_SETTLE if settle is None else settle) if watch else None,
    )
    crew = Crew(WorkerSpec(settings, model, mask_only).with_absolute_paths(), workers, scheduler)
    summary = Summary()
    try:
        run_batch(request, crew, show_batch(progress, hidden=quiet), summary)
    finally:
        if summary.planned or summary.skipped:
            _say(summary, out, report=bool(report), as_json=as_json, quiet=quiet)
    if summary.failed:
        raise typer.Exit(1)


def _say(summary: "Summary", out: Path, *, report: bool, as_json: bool, quiet: bool) -> None:
    """Print the number of scenes by outcome; errors were shown as they occurred.

    Args:
        report: a page lists the scenes.
    """
    from geodecloud.batch.plan import INDEX

    left = summary.planned - len(summary.entries)
    counts = {"done": len(summary.done), "skipped": len(summary.skipped)}
    counts |= {"failed": len(summary.failed), "left": left}
    if as_json:
        facts = {**counts, "pixels": summary.pixels, "seconds": round(summary.seconds, 3)}
        say(json.dumps({**facts, "scenes": summary.entries}))
    elif not quiet:
        minutes, seconds = divmod(summary.seconds, 60)
        lines = [
            f"{label:>8}  {count:6}" for label, count in counts.items() if count or label != "left"
        ]
        lines[0] += f"  {summary.pixels / 1e6:10.1f} Mpixel  {minutes:6.0f} min {seconds:4.1f} s"
        if report and (out / INDEX).exists():
            lines.append(f"  report  {out / INDEX}")
        say("\n".join([f"{out}:", *lines]))
