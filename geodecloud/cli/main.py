"""Run the command line: parse, call one function, print, exit with a code.

Nothing heavy is imported here before it is needed, so ``--help`` answers at once.
"""

import functools
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command

from geodecloud.cli import qgis
from geodecloud.cli.batch import batch
from geodecloud.cli.cloud_fields import cloud_fields
from geodecloud.cli.console import answer
from geodecloud.cli.evaluate import evaluate
from geodecloud.cli.info import info
from geodecloud.cli.mask import mask
from geodecloud.cli.program import Command, Group, Program
from geodecloud.cli.remove import remove
from geodecloud.cli.run import run
from geodecloud.cli.simulate import simulate
from geodecloud.cli.train import download_eurosat, prepare, train
from geodecloud.version import VERSION

app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        answer(f"geodecloud {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit"
        ),
    ] = False,
) -> None:
    """Remove the clouds of a satellite scene.

    "geodecloud SRC DST" restores the scene SRC into the new GeoTIFF DST. Clear pixels stay as they
    are, bit for bit; a provenance raster says which pixels were restored or invented.
    """


_OF_TRAINING = (train, cloud_fields, prepare, download_eurosat)
for _command in (remove, mask, batch, info, simulate, evaluate, *_OF_TRAINING):
    app.command(cls=Command)(_command)
app.add_typer(qgis.app, name="qgis", cls=Group, help="Install the plugin for QGIS.")


@functools.cache
def _program() -> Any:
    """Return click's form of ``app``, which takes longer to make than a refusal takes."""
    return get_command(app)


def main(args: list[str] | None = None) -> NoReturn:
    """Run the program and exit; ``args``: the words after the program's name."""
    run(lambda: _program()(args, prog_name="geodecloud"))
