"""Train a model, and make or fetch training data."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geodecloud.cli.console import begin_command, say
from geodecloud.cli.options import (
    LogDirOption,
    LogEveryOption,
    OnBadOption,
    QuietOption,
    VerboseOption,
    input_option,
    output_option,
    takes_settings,
)
from geodecloud.errors import UsageError, counted
from geodecloud.settings import Monitoring, Settings

if TYPE_CHECKING:
    from geodecloud.training.loader import TileSources
    from geodecloud.training.two_level.library import WindowSources


_DEFAULTS = Settings()

DataOption = Annotated[Path, input_option(metavar="PATH", help="EuroSAT folder or zip")]
OutOption = Annotated[Path, output_option(metavar="DIR", help="Output folder")]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Recipe of the run, a TOML file like those in configs/",
        show_default="that of configs/default.toml",
    ),
]
CloudFieldsOption = Annotated[
    Path | None,
    input_option(
        metavar="DIR",
        help="Folder of real cloud fields: grey PNG, WebP or GeoTIFF",
        show_default="those of the repository",
    ),
]
ScenesOption = Annotated[
    Path | None,
    input_option(metavar="DIR", help="Folder of clear GeoTIFFs to cut more training tiles from"),
]
ClassesOption = Annotated[
    str | None,
    input_option(
        metavar="NAMES",
        help="Land-cover classes to train on, like Forest,River",
        show_default="all",
    ),
]
StartOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Model file, or last.pt of a run, to start from",
        show_default="random weights",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        rich_help_panel="Performance",
        metavar="DEVICE",
        help="Device to train on: cpu, cuda, cuda:1 or mps",
        show_default="a GPU if there is one",
    ),
]
StepsOption = Annotated[
    int | None,
    typer.Option(metavar="COUNT", min=1, help="Training steps", show_default="as --config says"),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue the run in --out, if it holds one")
]


@takes_settings(only=("scale", "offset", "threads"))
def train(
    data: DataOption,
    out: OutOption,
    config: ConfigOption = None,
    cloud_fields: CloudFieldsOption = None,
    scenes: ScenesOption = None,
    classes: ClassesOption = None,
    start: StartOption = None,
    device: DeviceOption = "auto",
    steps: StepsOption = None,
    on_bad: OnBadOption = "error",
    resume: ResumeOption = False,
    log_every: LogEveryOption = Monitoring.log_every,
    log_dir: LogDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,  # noqa: ARG001  cli.program reads it
    settings: Settings = _DEFAULTS,
) -> None:
    """Train a model on EuroSAT tiles and clear scenes under real and synthetic clouds.

    On several GPUs or machines, start it with "torchrun ... -m geodecloud train".
    """
    first = os.environ.get("RANK", "0") == "0"  # set by torchrun
    if not first:
        begin_command({}, quiet=True, verbose=False)  # the first process prints for all
    from geodecloud.training.config import recipe_of
    from geodecloud.training.distributed import use_threads

    chosen = tuple(part.strip() for part in classes.split(",")) if classes else ()
    use_threads(settings.limits.threads)
    monitoring = Monitoring(log_every, log_dir, quiet)
    clear = data, scenes, chosen, on_bad, settings.reading
    how = {"start": start, "resume": resume, "device": device, "monitoring": monitoring}
    if config and recipe_of(config) != "two-level":
        if cloud_fields:
            raise UsageError(
                f'`cloud_fields` works with the recipe "two-level", but {config} has another; '
                "leave it out"
            )
        from geodecloud.training.loader import TileSources

        model = _train_one_level(config, TileSources(*clear), out, steps, how)
    else:
        from geodecloud.training.two_level.library import WindowSources, find_cloud_fields

        sources = WindowSources(*clear, cloud_fields=cloud_fields or find_cloud_fields())
        model = _train_two_levels(config, sources, out, steps, how)
    if first and not quiet:
        say(f"model: {model}")
        say(f"all that the run has written: {out / 'README.md'}")


def _train_one_level(
    config: Path, sources: "TileSources", out: Path, steps: int | None, how: dict[str, Any]
) -> Path:
    """Train by the article's recipe, or by one like it; ``how``: arguments of its ``train``."""
    from geodecloud.training.config import load_config, with_steps
    from geodecloud.training.trainer import train as train_model

    plan = load_config(config)
    if steps is not None:
        plan = with_steps(plan, steps)
    tiles = sources.read(plan.training.validation_tiles, plan.training.split_seed)
    return train_model(plan, tiles, out, **how)


def _train_two_levels(
    config: Path | None, sources: "WindowSources", out: Path, steps: int | None, how: dict[str, Any]
) -> Path:
    """Train both levels in one network; ``how``: arguments of its ``train``."""
    from geodecloud.training.two_level.recipe import Recipe, load_recipe
    from geodecloud.training.two_level.trainer import train as train_model

    recipe = load_recipe(config) if config else Recipe()
    if steps is not None:
        recipe = recipe.with_schedule(steps=steps)
    return train_model(recipe, sources, out, **how)


def prepare(
    eurosat: Annotated[Path, typer.Argument(metavar="EUROSAT", help="EuroSAT folder or zip")],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder to create")],
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
    say(f"{out}: {counted(count, 'tile')} in all_targets and all_inputs; see preview.png")


def download_eurosat(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to put the archive in")],
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Address of the archive",
            show_default="Zenodo, record 7711810",
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

    begin_command(
        {name: f"--{name}" for name in ("url", "md5", "sha256")}, quiet=False, verbose=True
    )
    given = {name: value for name, value in (("md5", md5), ("sha256", sha256)) if value}
    path = download.download_eurosat(folder, url or download.URL, given)
    say(f"{path}: complete; train on it with geodecloud train --data {folder}")
