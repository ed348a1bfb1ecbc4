"""The commands around training: data, clouds, the run itself, scores.

They join the program in :mod:`geodecloud.cli`. Nothing heavy is imported before it is needed.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.console import set_logging
from geodecloud.errors import UsageError


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
    cloudy: Annotated[
        Path | None, typer.Argument(metavar="CLOUDY_DIR", help="Cloudy GeoTIFF or PNG.")
    ] = None,
    clear: Annotated[
        Path | None, typer.Argument(metavar="CLEAR_DIR", help="Clear ones, same names.")
    ] = None,
    tiles: Annotated[
        Path | None,
        typer.Option(
            metavar="EUROSAT_DIR",
            help="Instead of pairs: held-out EuroSAT tiles under each kind of synthetic cloud.",
        ),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model file.")] = None,
    only: Annotated[str | None, typer.Option(help="File stems, by comma: only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="With --tiles: how many.")] = 600,
    png: Annotated[
        Path | None,
        typer.Option(help="Pictures to look at: a folder; with --tiles, a PNG file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Score a model on pairs of a cloudy and a clear scene, or on held-out tiles.

    PSNR, SSIM, spectral angle and MAE of the restored pictures, beside the cloudy ones as they
    are (identity) and a dehazer without a network (dark channel prior).
    """
    if tiles and (cloudy or only):
        raise UsageError("--tiles stands instead of CLOUDY_DIR, CLEAR_DIR and --only")
    set_logging(quiet=True, verbose=False)
    from geodecloud.scores import json_scores, pairs_table, tiles_table

    if tiles:
        from geodecloud.evaluate_tiles import LABELS, evaluate_tiles

        scores = evaluate_tiles(tiles, model, limit, png)
        text = tiles_table(scores, LABELS)
    elif cloudy and clear:
        from geodecloud.evaluate import evaluate_pairs

        scores = evaluate_pairs(cloudy, clear, model, only.split(",") if only else None, png)
        text = pairs_table(scores)
    else:
        raise UsageError("give CLOUDY_DIR and CLEAR_DIR, or --tiles EUROSAT_DIR")
    typer.echo(json.dumps(json_scores(scores)) if as_json else text)
