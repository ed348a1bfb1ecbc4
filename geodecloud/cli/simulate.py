"""Put synthetic clouds on a clear scene."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from geodecloud.cli.console import progress_bar, say
from geodecloud.cli.options import (
    OF_READING,
    OverwriteOption,
    ProgressOption,
    output_option,
    takes_settings,
)
from geodecloud.data.cloud_kinds import CLOUDS, KINDS
from geodecloud.settings import Settings

_DEFAULTS = Settings()
Kind = Literal[CLOUDS]  # type: ignore[valid-type]  # typer reads it at run time

SrcArgument = Annotated[Path, typer.Argument(metavar="SRC", help="Clear GeoTIFF")]
DstArgument = Annotated[Path, typer.Argument(metavar="DST", help="Cloudy GeoTIFF to write")]
KindOption = Annotated[
    Kind,
    typer.Option(
        metavar="|".join(CLOUDS),
        help=f"Kind of cloud: {', '.join(KINDS[name].text for name in CLOUDS)}",
        rich_help_panel="Clouds",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(metavar="NUMBER", help="Seed of the cloud's shape", rich_help_panel="Clouds"),
]
ZoomOption = Annotated[
    float,
    typer.Option(
        metavar="FACTOR",
        help="Scale of the clouds, 0.1 to 100; 1 suits a scene 640 m wide",
        rich_help_panel="Clouds",
    ),
]
OpacityOption = Annotated[
    Path | None,
    output_option(
        metavar="FILE",
        help="GeoTIFF to write the opacity to",
        show_default="DST's name with _opacity.tif",
    ),
]


@takes_settings(only=OF_READING)
def simulate(
    src: SrcArgument,
    dst: DstArgument,
    kind: KindOption = "cumulus",
    seed: SeedOption = 0,
    zoom: ZoomOption = 3.0,
    opacity: OpacityOption = None,
    overwrite: OverwriteOption = False,
    progress: ProgressOption = "bar",
    settings: Settings = _DEFAULTS,
) -> None:
    """Put synthetic clouds on a clear scene, and write their opacity."""
    from geodecloud.data.simulate import Simulation, simulate_scene

    plan = Simulation(kind, seed, zoom, settings.reading)
    beside = opacity or dst.with_name(f"{dst.stem}_opacity.tif")
    with progress_bar(progress) as show:
        mean = simulate_scene(src, dst, beside, plan, overwrite=overwrite, progress=show)
    say(f"{dst}: {kind}, mean opacity {mean:.2f}, written to {beside}")
