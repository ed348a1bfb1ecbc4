"""The command line: parse, call one function, print, exit code.

Nothing heavy is imported here before it is needed: ``--help`` answers at once.
"""

import json
import logging
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from geodecloud.cli import batch, qgis, training
from geodecloud.cli.console import (
    JsonOption,
    ProgressChoice,
    ProgressOption,
    QuietOption,
    VerboseOption,
    progress_bar,
    run,
    set_logging,
)
from geodecloud.cli.options import takes_settings
from geodecloud.errors import UsageError
from geodecloud.settings import ModelSpec, Settings
from geodecloud.version import VERSION

_DEFAULT = "remove"
_DEFAULTS, _BUILT_IN = Settings(), ModelSpec()


class _Group(TyperGroup):
    """``geodecloud SRC DST``: what is no subcommand's name goes to ``remove``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help", "--version"}:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help of the group, and the options of its default command."""
        super().format_help(ctx, formatter)
        with formatter.section("\ngeodecloud SRC DST"):
            self.commands[_DEFAULT].format_options(ctx, formatter)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"geodecloud {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Remove the clouds of a satellite scene.

    geodecloud SRC DST  restores the scene SRC into the new file DST. Pixels that were clear come
    back bit for bit; a provenance raster says which were not.
    """


@app.command(_DEFAULT)
@takes_settings()
def remove(
    src: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="The cloudy scene: a raster, a Sentinel-2 .SAFE, its zip or MTD_MSIL*.xml, a "
            "folder or pattern of files of one band each. Not with --red, --green, --blue.",
        ),
    ],
    dst: Annotated[
        Path | None, typer.Argument(metavar="DST", help="The GeoTIFF to write.", show_default=False)
    ] = None,
    red: Annotated[str | None, typer.Option(help="File of the red band.")] = None,
    green: Annotated[str | None, typer.Option(help="File of the green band.")] = None,
    blue: Annotated[str | None, typer.Option(help="File of the blue band.")] = None,
    progress: ProgressOption = ProgressChoice.bar,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    settings: Settings = _DEFAULTS,
    model: ModelSpec = _BUILT_IN,
) -> None:
    """Remove the clouds of one scene. This command's name may be left out."""
    set_logging(quiet, verbose)
    scene, target = _source_and_target(src, dst, (red, green, blue))
    from geodecloud.decloud import decloud_scene  # seconds to import, like torch
    from geodecloud.model.checkpoint import default_model
    from geodecloud.model.predictor import Predictor

    predictor = Predictor(
        model.model or default_model(), model.device, model.precision, settings.limits.threads
    )
    logging.getLogger("geodecloud").info("%s on %s", predictor.name, predictor.device)
    with progress_bar(progress, hidden=quiet) as show:
        report = decloud_scene(
            scene, target, predictor, settings, model_name=predictor.name, progress=show
        )
    used = {
        "seconds_network": round(predictor.seconds, 3),
        "device": str(predictor.device),
        "precision": predictor.precision,
        "model": predictor.name,
    }
    if as_json:
        typer.echo(json.dumps(report.to_dict() | used))
    elif not quiet:
        other = (
            f", {report.reference_fraction:.1%} of another date"
            if settings.policy.references
            else ""
        )
        typer.echo(
            f"{target}: {report.changed_fraction:.1%} of the pixels changed, "
            f"{report.invented_fraction:.1%} invented{other}, {report.seconds:.1f} s"
        )


def _source_and_target(
    src: str, dst: Path | None, colours: tuple[str | None, ...]
) -> tuple[str | list[str], Path]:
    """What to read and where to write: with a file for each colour, the only argument is DST.

    Raises:
        UsageError: too much or too little is named.
    """
    files = [file for file in colours if file]
    if not files and dst is not None:
        return src, dst
    if len(files) == len(colours) and dst is None:
        return files, Path(src)
    raise UsageError("give SRC and DST; or --red, --green and --blue, and DST alone")


@app.command()
def info(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A scene or a model file.")],
    resolution: Annotated[
        int | None, typer.Option(help="Of a Sentinel-2 product: 10, 20 or 60 m.  [default: 10]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Describe a scene (what would be used) or a model."""
    set_logging(quiet=False, verbose=False)
    from geodecloud.cli.info import describe

    facts = describe(file, resolution)
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        text = json.dumps(value) if isinstance(value, dict | list) else value
        typer.echo(f"{name:>12}  {text}")


batch.add_commands(app)
training.add_commands(app)
qgis.add_commands(app)


def main(args: list[str] | None = None) -> NoReturn:
    """Entry point of the executable; ``args`` as after the program's name."""
    run(lambda: app(args, prog_name="geodecloud"))
