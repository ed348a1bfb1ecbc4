"""Cut cloud fields for training from a pair of scenes."""

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
from geodecloud.settings import Settings

_DEFAULTS = Settings()


@takes_settings(only=OF_READING)
def cloud_fields(
    cloudy: Annotated[Path, typer.Argument(metavar="CLOUDY", help="Cloudy GeoTIFF of dark ground")],
    clear: Annotated[Path, typer.Argument(metavar="CLEAR", help="Clear GeoTIFF of the same place")],
    out: Annotated[Path, typer.Argument(metavar="OUT_DIR", help="Folder for the pictures")],
    form: Annotated[
        Literal["png", "webp"],
        output_option("--format", metavar="png|webp", help="Format of the pictures"),
    ] = "png",
    overwrite: OverwriteOption = False,
    progress: ProgressOption = "bar",
    settings: Settings = _DEFAULTS,
) -> None:
    """Cut cloud fields from a cloudy and a clear scene, to train a model under real clouds."""
    from geodecloud.data.two_level.cut_fields import in_words, write_cloud_fields

    with progress_bar(progress) as show:
        written, left_out = write_cloud_fields(
            cloudy, clear, out, settings.reading, form=form, overwrite=overwrite, progress=show
        )
    say(f"{out}: {len(written)} cloud fields of 512x512; left out: {in_words(left_out)}")
