"""Write the cloud mask of one scene."""

import json
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import progress_bar, say
from geodecloud.cli.options import (
    JsonOption,
    ProgressOption,
    QuietOption,
    VerboseOption,
    takes_settings,
)
from geodecloud.settings import ModelSpec, Settings

_DEFAULTS, _BUILT_IN = Settings(), ModelSpec()
# Options of restoring, and of files that stand beside a restored scene.
_OF_RESTORING = (
    *("mask", "mask_values", "mask_buffer", "references"),
    *("extra_bands", "other_bands", "wavelengths", "shadows"),
    *("opaque", "fill_limit", "beyond_limit"),
    *("provenance", "opacity", "cloud_mask", "preview", "report", "stac"),
    *("creation_options", "dst_nodata"),
)


@takes_settings(*_OF_RESTORING)
def mask(
    src: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="Scene: a raster; a Sentinel-2 product (.SAFE, .zip or MTD_MSIL*.xml); or a "
            "folder or pattern of files of one band each",
        ),
    ],
    dst: Annotated[Path, typer.Argument(metavar="MASK", help="GeoTIFF to write")],
    progress: ProgressOption = "bar",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,  # noqa: ARG001  cli.program reads it
    settings: Settings = _DEFAULTS,
    model: ModelSpec = _BUILT_IN,
) -> None:
    """Write the cloud mask of one scene, and restore nothing.

    Values: 0 clear, 1 thick cloud, 2 thin cloud, 3 cloud shadow, 255 nodata. "geodecloud batch
    --mask-only" writes the masks of many scenes.
    """
    from geodecloud.model.startup import quick_imports

    with quick_imports():
        from geodecloud.masking import mask_scene  # seconds to import, like torch
        from geodecloud.model.predictor import load_predictor
        from geodecloud.raster.cloud_mask import CloudClass

        predictor = load_predictor(model, settings.limits.threads)
    with progress_bar(progress, hidden=quiet) as show:
        name = predictor.name
        report = mask_scene(src, dst, predictor, settings, model_name=name, progress=show)
    if as_json:
        say(json.dumps(report.to_dict() | {"model": predictor.name}))
    elif not quiet:
        kinds = (CloudClass.THICK, CloudClass.THIN, CloudClass.SHADOW)
        parts = [f"{report.fraction(code):.1%} {code.name.lower()}" for code in kinds]
        say(f"{dst}: {', '.join(parts)}, {report.seconds:.1f} s")
