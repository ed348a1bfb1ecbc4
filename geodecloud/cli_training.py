"""The commands around training: data, clouds, the run itself, scores.

They join the program in :mod:`geodecloud.cli`. Nothing heavy is imported before it is needed.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.console import set_logging


def add_commands(app: typer.Typer) -> None:
    """Give the program the commands of this module."""
    app.command()(train)
    app.command()(evaluate)


def train(
    data: Annotated[Path, typer.Option(help="EuroSAT folder or zip.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    config: Annotated[Path | None, typer.Option(help="TOML file; see configs/.")] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="Folder of clear GeoTIFFs to cut more tiles from.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Model file to begin with, to tune it.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
) -> None:
    """Train a model on EuroSAT tiles under synthetic clouds."""
    set_logging(quiet=False, verbose=False)
    from geodecloud.training.loop import train_on

    typer.echo(f"model: {train_on(config, data, scenes, out, start=start, resume=resume)}")


def evaluate(
    cloudy: Annotated[Path, typer.Argument(metavar="CLOUDY_DIR", help="Cloudy GeoTIFFs.")],
    clear: Annotated[Path, typer.Argument(metavar="CLEAR_DIR", help="Clear ones, same names.")],
    only: Annotated[str | None, typer.Option(help="File stems, by comma: only these.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Score a model on pairs of a cloudy and a clear scene: PSNR before and after."""
    set_logging(quiet=True, verbose=False)
    from geodecloud.evaluate import evaluate_pairs

    scores = evaluate_pairs(cloudy, clear, model, only.split(",") if only else None)
    if as_json:
        typer.echo(json.dumps(scores))
        return
    typer.echo(f"{'pair':<24} {'identity':>9} {'restored':>9}  PSNR in dB")
    for name, row in scores["each"].items():
        typer.echo(f"{name:<24} {row['identity']:9.2f} {row['restored']:9.2f}")
    identity, restored = scores["identity"]["psnr"], scores["restored"]["psnr"]
    typer.echo(f"{'mean of ' + str(scores['pairs']):<24} {identity:9.2f} {restored:9.2f}")
