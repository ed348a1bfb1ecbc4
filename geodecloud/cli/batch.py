"""Remove the clouds of many scenes."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geodecloud.cli.options import (
    JsonOption,
    OverwriteOption,
    ProgressOption,
    QuietOption,
    VerboseOption,
    takes_settings,
)
from geodecloud.errors import UsageError
from geodecloud.settings import ModelSpec, Settings

if TYPE_CHECKING:
    from geodecloud.batch.events import Workers
    from geodecloud.batch.record import Summary
    from geodecloud.batch.worker import WorkerSpec


_DEFAULTS, _BUILT_IN = Settings(), ModelSpec()


@takes_settings("provenance", "preview", "overwrite")
def batch(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SRC...",
            help="Cloudy scenes: files, folders, Sentinel-2 products or patterns; - reads such "
            "names from stdin, one per line",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Argument(metavar="OUT_DIR", help="Folder of the outputs")
    ] = None,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive",
            help="Search the folders below each folder, too",
            rich_help_panel="Input",
        ),
    ] = False,
    pattern: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Names of the scenes in a folder; repeatable",
            show_default="*.tif, *.tiff, Sentinel-2 products",
            rich_help_panel="Input",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Wait for more scenes and restore each", rich_help_panel="Input"
        ),
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="Time without change after which a scene is complete, with --watch",
            rich_help_panel="Input",
        ),
    ] = 10,
    name: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Names of the outputs; {stem} is the scene's name, {parent} its folder's",
            rich_help_panel="Output",
        ),
    ] = "{stem}_clear.tif",
    provenance: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Names of provenance rasters to write, like {stem}_provenance.tif",
            rich_help_panel="Output",
        ),
    ] = None,
    preview: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Names of PNG previews to write, like {stem}.png",
            rich_help_panel="Output",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            min=1,
            help="Number of worker processes",
            show_default="1 per GPU, at least 1",
            rich_help_panel="Performance",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Dask scheduler whose workers to use, like tcp://HOST:8786",
            rich_help_panel="Performance",
        ),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first scene that fails")
    ] = False,
    overwrite: OverwriteOption = False,
    progress: ProgressOption = "bar",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,  # noqa: ARG001  the program heeds it
    settings: Settings = _DEFAULTS,
    model: ModelSpec = _BUILT_IN,
) -> None:
    """Remove the clouds of many scenes.

    OUT_DIR/geodecloud-manifest.jsonl records each scene; the next run skips those that are done.
    The exit code is 1 if a scene failed; all others are restored first.
    """
    sources, out = _sources_and_folder(sources, out)
    from geodecloud.batch.folder import Request, run_batch
    from geodecloud.batch.manifest import Manifest, configuration_of
    from geodecloud.batch.plan import Naming
    from geodecloud.batch.record import Recorder, Summary
    from geodecloud.batch.search import SCENES, Search, read_names
    from geodecloud.cli.batch_display import show_batch

    search = Search(out.absolute(), tuple(pattern or SCENES), recursive)
    request = Request(
        read_names(sources),
        search,
        Naming(name, provenance, preview),
        overwrite,
        fail_fast,
        settle if watch else None,
    )
    from geodecloud.batch.worker import WorkerSpec
    from geodecloud.model.checkpoint import default_model, read_info
    from geodecloud.raster.profile import refuse_unknown_options
    from geodecloud.restore.windows import grid_of

    spec = WorkerSpec(settings, model).with_absolute_paths()
    # Refuse an impossible value before any work.
    grid_of(settings.windows)
    refuse_unknown_options(settings.output)
    info = read_info(model.model or default_model())
    configuration = configuration_of(spec, info.sha256)
    summary = Summary()

    def crew(scenes: int | None) -> AbstractContextManager["Workers"]:
        if scheduler:
            return _dask_workers(scheduler, info.path, spec, workers)
        return _local_workers(spec, workers, scenes)

    try:
        with Manifest(out) as manifest, show_batch(progress, hidden=quiet) as display:
            run_batch(request, Recorder(manifest, configuration, display, summary), crew)
    finally:
        if summary.planned or summary.skipped:
            _report(summary, out, as_json=as_json, quiet=quiet)
    if summary.failed:
        raise typer.Exit(1)


def _sources_and_folder(names: list[str] | None, out: Path | None) -> tuple[list[str], Path]:
    """Return both.

    Raises:
        UsageError: one is missing.
    """
    if out is None or not names:
        raise UsageError("OUT_DIR is missing: give SRC... and then OUT_DIR")
    if out.is_file():
        raise UsageError(f"OUT_DIR is missing: {out} is a file")
    return names, out


def _local_workers(
    spec: "WorkerSpec", count: int | None, scenes: int | None
) -> AbstractContextManager["Workers"]:
    from geodecloud.batch.local import LocalWorkers, divide
    from geodecloud.model.device import gpu_count

    return LocalWorkers(divide(spec, count, scenes, gpu_count()))


def _dask_workers(
    address: str, model: Path, spec: "WorkerSpec", limit: int | None
) -> AbstractContextManager["Workers"]:
    try:
        from geodecloud.batch.dask import DaskWorkers
    except ImportError as error:
        raise UsageError(
            f"--scheduler needs Dask ({error}): pip install 'geodecloud[dask]'"
        ) from error
    return DaskWorkers(address, model, spec, limit)


def _report(summary: "Summary", out: Path, *, as_json: bool, quiet: bool) -> None:
    left = summary.planned - len(summary.entries)
    counts = {"done": len(summary.done), "skipped": len(summary.skipped)}
    counts |= {"failed": len(summary.failed), "left": left}
    if as_json:
        facts = {**counts, "pixels": summary.pixels, "seconds": round(summary.seconds, 3)}
        typer.echo(json.dumps({**facts, "scenes": summary.entries}))
    elif not quiet:
        minutes, seconds = divmod(summary.seconds, 60)
        lines = [
            f"{label:>8}  {count:6}" for label, count in counts.items() if count or label != "left"
        ]
        lines[0] += f"  {summary.pixels / 1e6:10.1f} Mpixel  {minutes:6.0f} min {seconds:4.1f} s"
        lines += [f"          {entry['source']['path']}" for entry in summary.failed]
        typer.echo("\n".join([f"{out}:", *lines]))
