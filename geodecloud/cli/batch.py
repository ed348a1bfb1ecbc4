"""The command for many scenes. It joins the program in :mod:`geodecloud.cli.main`."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geodecloud.cli.console import (
    JsonOption,
    OverwriteOption,
    ProgressChoice,
    ProgressOption,
    QuietOption,
    VerboseOption,
    set_logging,
)
from geodecloud.cli.options import takes_settings
from geodecloud.errors import UsageError
from geodecloud.settings import ModelSpec, Settings

if TYPE_CHECKING:
    from geodecloud.batch.events import Workers
    from geodecloud.batch.record import Summary
    from geodecloud.batch.worker import WorkerSpec


_DEFAULTS, _BUILT_IN = Settings(), ModelSpec()


def add_commands(app: typer.Typer) -> None:
    """Give the program the command of this module."""
    app.command()(takes_settings("provenance", "preview", "overwrite")(batch))


def batch(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC...",
            help="Files, folders, SAFE products, 'globs'; - reads a list of such from stdin.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder of the outputs.")],
    recursive: Annotated[bool, typer.Option(help="Search folders below folders too.")] = False,
    pattern: Annotated[
        list[str] | None,
        typer.Option(help="Scenes in a folder; repeatable.  [default: *.tif *.tiff, products]"),
    ] = None,
    name: Annotated[
        str, typer.Option(help="Names of the outputs, of {stem} and {parent}.")
    ] = "{stem}_clear.tif",
    provenance: Annotated[
        str | None, typer.Option(help="Names of provenance rasters, '{stem}_provenance.tif' say.")
    ] = None,
    preview: Annotated[
        str | None, typer.Option(help="Names of pictures, '{stem}.png' say.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes.  [default: 1 with all cores, or 1 for each GPU]"),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:8786", help="Use the workers of this Dask cluster."),
    ] = None,
    watch: Annotated[bool, typer.Option(help="Go on, with scenes as they appear.")] = False,
    settle: Annotated[
        float, typer.Option(min=0.1, help="With --watch: seconds without change first.")
    ] = 10,
    fail_fast: Annotated[bool, typer.Option(help="End with the first failure.")] = False,
    overwrite: OverwriteOption = False,
    progress: ProgressOption = ProgressChoice.bar,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    settings: Settings = _DEFAULTS,
    model: ModelSpec = _BUILT_IN,
) -> None:
    """Remove the clouds of many scenes.

    What is done is written to OUT_DIR/geodecloud-manifest.jsonl, and skipped by the next run.
    Ends with exit code 1 if a scene failed, after all others are done.
    """
    set_logging(quiet, verbose)
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


def _local_workers(
    spec: "WorkerSpec", count: int | None, scenes: int | None
) -> AbstractContextManager["Workers"]:
    import torch

    from geodecloud.batch.local import LocalWorkers, divide

    return LocalWorkers(divide(spec, count, scenes, torch.cuda.device_count()))


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
