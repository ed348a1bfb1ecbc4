"""Score a model."""

import json
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import show_warnings
from geodecloud.cli.options import (
    JsonOption,
    ModelOption,
    OffsetOption,
    OnBadOption,
    ScaleOption,
    WindowOption,
)
from geodecloud.errors import UsageError
from geodecloud.settings import Settings


def evaluate(
    cloudy: Annotated[
        Path | None,
        typer.Argument(metavar="[CLOUDY_DIR]", help="Folder of cloudy GeoTIFF or PNG images"),
    ] = None,
    clear: Annotated[
        Path | None,
        typer.Argument(metavar="[CLEAR_DIR]", help="Folder of clear images with the same names"),
    ] = None,
    tiles: Annotated[
        Path | None,
        typer.Option(
            metavar="EUROSAT",
            help="EuroSAT folder or zip: score held-out tiles under each kind of cloud",
            rich_help_panel="Input",
        ),
    ] = None,
    seams: Annotated[
        Path | None,
        typer.Option(
            metavar="SRC",
            help="Scene: measure the steps at the borders of its windows",
            rich_help_panel="Input",
        ),
    ] = None,
    model: ModelOption = None,
    window: WindowOption = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Names of the pairs to score, without suffix, like 0316,0581",
            show_default="all",
            rich_help_panel="Input",
        ),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            min=0,
            help="Largest number of tiles, with --tiles; 0 means all",
            rich_help_panel="Input",
        ),
    ] = 600,
    png: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Pictures to write: a folder for pairs, a PNG file with --tiles",
            rich_help_panel="Output",
        ),
    ] = None,
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    on_bad: OnBadOption = "error",
    as_json: JsonOption = False,
) -> None:
    """Score a model on pairs of images, on held-out tiles, or by its seams.

    Pairs and tiles: PSNR, SSIM, spectral angle and MAE of the restored images, beside those of the
    cloudy images as they are (identity) and of a dehazer without a network (dark channel prior).
    """
    if tiles and (cloudy or only or window):
        raise UsageError("--tiles replaces CLOUDY_DIR and CLEAR_DIR: leave --only, --window out")
    if seams and (cloudy or only or tiles or png):
        raise UsageError(
            "--seams replaces CLOUDY_DIR and CLEAR_DIR: leave --only, --tiles, --png out"
        )
    if (scale is not None or offset is not None) and not cloudy:
        raise UsageError("--scale and --offset belong to pairs: give CLOUDY_DIR and CLEAR_DIR")
    show_warnings(each_kind_once=True)
    from geodecloud.evaluation.tables import json_scores, pairs_table, seams_table, tiles_table
    from geodecloud.restore.windows import Grid

    grid = Grid() if window is None else Grid(window)
    if seams:
        from geodecloud.evaluation.seams import evaluate_seams

        scores = evaluate_seams(seams, model, grid)
        text = seams_table(scores)
    elif tiles:
        from geodecloud.evaluation.tiles import LABELS, evaluate_tiles

        scores = evaluate_tiles(tiles, model, limit or None, png, on_bad)
        text = tiles_table(scores, LABELS)
    elif cloudy and clear:
        from geodecloud.evaluation.pairs import evaluate_pairs

        stems = [stem.strip() for stem in only.split(",")] if only else None
        settings = Settings(window=grid.size, overlap=grid.overlap, scale=scale, offset=offset)
        scores = evaluate_pairs(cloudy, clear, model, stems, png, settings)
        text = pairs_table(scores)
    else:
        raise UsageError("give CLOUDY_DIR and CLEAR_DIR, --tiles EUROSAT, or --seams SRC")
    typer.echo(json.dumps(json_scores(scores)) if as_json else text)
