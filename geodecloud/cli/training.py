"""The commands around training: data, clouds, the run itself, scores.

They join the program in :mod:`geodecloud.cli.main`. Nothing heavy is imported before it is needed.
"""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import (
    BandsOption,
    JsonOption,
    OverwriteOption,
    ProgressChoice,
    ProgressOption,
    progress_bar,
    set_logging,
)
from geodecloud.errors import UsageError
from geodecloud.settings import Settings


class BadChoice(StrEnum):
    """What to do with a tile that cannot be read."""

    error = "error"
    skip = "skip"


OnBadOption = Annotated[
    BadChoice, typer.Option(help="A damaged tile: an error, or left out and counted.")
]


ScaleOption = Annotated[
    float | None, typer.Option(help="Of scenes: DN of reflectance 1.  [default: as each says]")
]
OffsetOption = Annotated[
    float | None, typer.Option(help="Of scenes: added to DN first.  [default: as each says]")
]


class KindChoice(StrEnum):
    """Kinds of synthetic cloud."""

    haze = "haze"
    veil = "veil"
    cirrus = "cirrus"
    cumulus = "cumulus"
    deck = "deck"


def add_commands(app: typer.Typer) -> None:
    """Give the program the commands of this module."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(simulate)
    app.command()(prepare)
    app.command()(download_eurosat)


def train(
    data: Annotated[Path, typer.Option(help="EuroSAT folder or zip.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    config: Annotated[Path | None, typer.Option(help="TOML file; see configs/.")] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="Folder of clear GeoTIFFs to cut more tiles from.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Only these land-cover classes: Forest,River.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Model file to begin with, to tune it.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of those of --config.")] = None,
    on_bad: OnBadOption = BadChoice.error,
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
) -> None:
    """Train a model on EuroSAT tiles under synthetic clouds.

    On several GPUs or machines: torchrun ... -m geodecloud train.
    """
    first = os.environ.get("RANK", "0") == "0"  # torchrun's; the other processes are silent
    set_logging(quiet=not first, verbose=False)
    from geodecloud.data.sources import Sources
    from geodecloud.model.config import Config, load_config, with_steps
    from geodecloud.training.trainer import train as train_model

    plan = load_config(config) if config else Config()
    plan = with_steps(plan, steps) if steps is not None else plan
    chosen = tuple(part.strip() for part in classes.split(",")) if classes else ()
    sources = Sources(data, scenes, chosen, on_bad.value, scale, offset)
    tiles = sources.read(plan.training.validation_tiles, plan.training.split_seed)
    model = train_model(plan, tiles, out, start=start, resume=resume)
    if first:
        typer.echo(f"model: {model}")


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
    seams: Annotated[
        Path | None,
        typer.Option(metavar="SRC", help="Instead of pairs: the windows' borders in this scene."),
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model file.")] = None,
    window: Annotated[
        int | None, typer.Option(help="Window size, of pairs and --seams.  [default: 64]")
    ] = None,
    only: Annotated[str | None, typer.Option(help="File stems, by comma: only these.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="With --tiles: how many; 0: all.")] = 600,
    png: Annotated[
        Path | None,
        typer.Option(help="Pictures to look at: a folder; with --tiles, a PNG file."),
    ] = None,
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    on_bad: OnBadOption = BadChoice.error,
    as_json: JsonOption = False,
) -> None:
    """Score a model on pairs of a cloudy and a clear scene, or on held-out tiles.

    PSNR, SSIM, spectral angle and MAE of the restored pictures, beside the cloudy ones as they
    are (identity) and a dehazer without a network (dark channel prior). Or measure the seams.
    """
    if tiles and (cloudy or only or window):
        raise UsageError("--tiles stands instead of CLOUDY_DIR, CLEAR_DIR, --only and --window")
    if seams and (cloudy or only or tiles or png):
        raise UsageError("--seams stands instead of CLOUDY_DIR, CLEAR_DIR, --only, --tiles, --png")
    if (scale is not None or offset is not None) and not cloudy:
        raise UsageError("--scale and --offset are for pairs: give CLOUDY_DIR and CLEAR_DIR")
    set_logging(quiet=False, verbose=False, each_kind_once=True)
    from geodecloud.evaluation.tables import json_scores, pairs_table, seams_table, tiles_table
    from geodecloud.restore.windows import Grid

    grid = Grid() if window is None else Grid(window)
    if seams:
        from geodecloud.evaluation.seams import evaluate_seams

        scores = evaluate_seams(seams, model, grid)
        text = seams_table(scores)
    elif tiles:
        from geodecloud.evaluation.tiles import LABELS, evaluate_tiles

        scores = evaluate_tiles(tiles, model, limit or None, png, on_bad.value)
        text = tiles_table(scores, LABELS)
    elif cloudy and clear:
        from geodecloud.evaluation.pairs import evaluate_pairs

        stems = [stem.strip() for stem in only.split(",")] if only else None
        settings = Settings(window=grid.size, overlap=grid.overlap, scale=scale, offset=offset)
        scores = evaluate_pairs(cloudy, clear, model, stems, png, settings)
        text = pairs_table(scores)
    else:
        raise UsageError("give CLOUDY_DIR and CLEAR_DIR, --tiles EUROSAT_DIR, or --seams SRC")
    typer.echo(json.dumps(json_scores(scores)) if as_json else text)


def simulate(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="A clear GeoTIFF.")],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="The cloudy GeoTIFF to write.")],
    kind: Annotated[KindChoice, typer.Option(help="Of the cloud.")] = KindChoice.cumulus,
    seed: Annotated[int, typer.Option(help="Another seed, another cloud.")] = 0,
    zoom: Annotated[
        float, typer.Option(help="How many times larger than on a 640 m tile a cloud is.")
    ] = 3.0,
    opacity: Annotated[
        Path | None, typer.Option(help="Where the opacity goes.  [default: DST_opacity.tif]")
    ] = None,
    bands: BandsOption = None,
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    overwrite: OverwriteOption = False,
    progress: ProgressOption = ProgressChoice.bar,
) -> None:
    """Put synthetic clouds on a clear scene, and write how opaque they are."""
    set_logging(quiet=False, verbose=False)
    from geodecloud.data.simulate import Simulation, simulate_scene

    plan = Simulation(kind.value, seed, zoom, Settings(bands=bands).reading.bands, scale, offset)
    beside = opacity or dst.with_name(f"{dst.stem}_opacity.tif")
    with progress_bar(progress) as show:
        mean = simulate_scene(src, dst, beside, plan, overwrite=overwrite, progress=show)
    typer.echo(f"{dst}: {kind.value}, mean opacity {mean:.2f}, written to {beside}")


def prepare(
    eurosat: Annotated[Path, typer.Argument(metavar="EUROSAT_DIR", help="Folder or zip.")],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the clouds.")] = 231,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many tiles, spread over the classes.")
    ] = None,
    on_bad: OnBadOption = BadChoice.error,
) -> None:
    """Write the article's data set: EuroSAT's tiles, and the same under Perlin noise."""
    set_logging(quiet=False, verbose=False)
    from geodecloud.data import prepare as article

    count = article.prepare(eurosat, out, seed=seed, limit=limit, on_bad=on_bad.value)
    typer.echo(f"{out}: {count} tiles in all_targets and all_inputs; see preview.png")


def download_eurosat(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put it.")],
    url: Annotated[
        str | None, typer.Option(help="Another address.  [default: Zenodo, record 7711810]")
    ] = None,
    md5: Annotated[
        str | None, typer.Option(help="Its checksum.  [default: the published one]")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Its checksum.")] = None,
) -> None:
    """Fetch the published EuroSAT archive and check it; a broken download is resumed."""
    set_logging(quiet=False, verbose=True)
    from geodecloud.data import download

    given = {name: value for name, value in (("md5", md5), ("sha256", sha256)) if value}
    path = download.download_eurosat(folder, url or download.URL, given)
    typer.echo(f"{path}: whole; geodecloud train --data {folder} trains on it")
