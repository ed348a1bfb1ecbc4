"""Train a model, and make or fetch what it is trained on."""

import os
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import begin_command
from geodecloud.cli.console import report as say
from geodecloud.cli.options import (
    OffsetOption,
    OnBadOption,
    ScaleOption,
    input_option,
    output_option,
)
from geodecloud.settings import Settings


def train(
    data: Annotated[Path, input_option(metavar="PATH", help="EuroSAT folder or zip")],
    out: Annotated[Path, output_option(metavar="DIR", help="Output folder")],
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Configuration of the run, a TOML file like those in configs/",
            show_default="the built-in one",
        ),
    ] = None,
    scenes: Annotated[
        Path | None,
        input_option(
            metavar="DIR", help="Folder of clear GeoTIFFs to cut more training tiles from"
        ),
    ] = None,
    classes: Annotated[
        str | None,
        input_option(
            metavar="NAMES",
            help="Land-cover classes to train on, like Forest,River",
            show_default="all",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Model file to start from", show_default="random weights"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="COUNT", help="Training steps", show_default="as --config says"),
    ] = None,
    on_bad: OnBadOption = "error",
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out")] = False,
) -> None:
    """Train a model on EuroSAT tiles under synthetic clouds.

    On several GPUs or machines, start it with "torchrun ... -m geodecloud train".
    """
    first = os.environ.get("RANK", "0") == "0"  # set by torchrun
    if not first:
        begin_command({}, quiet=True, verbose=False)  # the first process speaks for all
    from geodecloud.training.config import Config, load_config, with_steps
    from geodecloud.training.loader import Sources
    from geodecloud.training.trainer import train as train_model

    configuration = load_config(config) if config else Config()
    if steps is not None:
        configuration = with_steps(configuration, steps)
    training = configuration.training
    chosen = tuple(part.strip() for part in classes.split(",")) if classes else ()
    reading = Settings(scale=scale, offset=offset).reading
    sources = Sources(data, scenes, chosen, on_bad, reading.scale, reading.offset)
    tiles = sources.read(training.validation_tiles, training.split_seed)
    model = train_model(configuration, tiles, out, start=start, resume=resume)
    if first:
        say(f"model: {model}")


def prepare(
    eurosat: Annotated[Path, typer.Argument(metavar="EUROSAT", help="EuroSAT folder or zip")],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder to make")],
    seed: Annotated[int, typer.Option(metavar="NUMBER", min=0, help="Seed of the clouds")] = 231,
    limit: Annotated[
        int | None,
        input_option(
            metavar="COUNT",
            min=1,
            help="Largest number of tiles, spread over the classes",
            show_default="all",
        ),
    ] = None,
    on_bad: OnBadOption = "error",
) -> None:
    """Write pairs of EuroSAT tiles, clear and under grey Perlin noise."""
    from geodecloud.data.prepare import prepare as prepare_pairs

    count = prepare_pairs(eurosat, out, seed=seed, limit=limit, on_bad=on_bad)
    say(f"{out}: {count} tiles in all_targets and all_inputs; see preview.png")


def download_eurosat(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to put the archive in")],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Address of the archive", show_default="Zenodo, record 7711810"
        ),
    ] = None,
    md5: Annotated[
        str | None,
        typer.Option(
            metavar="HEX", help="MD5 checksum of the archive", show_default="the published one"
        ),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="SHA-256 checksum of the archive")
    ] = None,
) -> None:
    """Download the published EuroSAT archive and check it; an interrupted download is resumed."""
    from geodecloud.data import download

    begin_command({"md5": "--md5", "sha256": "--sha256"}, quiet=False, verbose=True)
    given = {name: value for name, value in (("md5", md5), ("sha256", sha256)) if value}
    path = download.download_eurosat(folder, url or download.URL, given)
    say(f"{path}: complete; train on it with geodecloud train --data {folder}")
