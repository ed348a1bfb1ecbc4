"""Remove the clouds of one scene."""

import json
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import log, progress_bar, say, with_options
from geodecloud.cli.options import (
    JsonOption,
    ProgressOption,
    QuietOption,
    VerboseOption,
    input_option,
    output_option,
    takes_settings,
)
from geodecloud.errors import UsageError
from geodecloud.settings import ModelSpec, Settings

_DEFAULTS, _BUILT_IN = Settings(), ModelSpec()

SrcArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SRC",
        help="Cloudy scene: a raster; a Sentinel-2 product (.SAFE, .zip or MTD_MSIL*.xml); or "
        "a folder or pattern of files of one band each",
    ),
]
DstArgument = Annotated[Path | None, typer.Argument(metavar="DST", help="GeoTIFF to write")]
MoreArgument = Annotated[list[str] | None, typer.Argument(hidden=True)]
RedOption = Annotated[
    str | None,
    input_option(
        metavar="FILE", help="File of the red band; --red, --green and --blue replace SRC"
    ),
]
GreenOption = Annotated[
    str | None,
    input_option(metavar="FILE", help="File of the green band"),
]
BlueOption = Annotated[
    str | None,
    input_option(metavar="FILE", help="File of the blue band"),
]
DryRunOption = Annotated[
    bool,
    output_option("--dry-run", help="Show what would be read, used and written, but write nothing"),
]


@takes_settings()
def remove(
    src: SrcArgument = None,
    dst: DstArgument = None,
    more: MoreArgument = None,
    red: RedOption = None,
    green: GreenOption = None,
    blue: BlueOption = None,
    dry_run: DryRunOption = False,
    progress: ProgressOption = "bar",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,  # noqa: ARG001  cli.program reads it
    settings: Settings = _DEFAULTS,
    model: ModelSpec = _BUILT_IN,
) -> None:
    """Remove the clouds of one scene; the word "remove" may be left out."""
    scene, target = _source_and_target(src, dst, more, (red, green, blue))
    if dry_run:
        from geodecloud.cli.dry_run import describe_run
        from geodecloud.cli.info import print_facts

        print_facts(describe_run(scene, target, settings, model), as_json=as_json)
        return
    from geodecloud.model.startup import quick_imports

    with quick_imports():
        from geodecloud.decloud import decloud_scene
        from geodecloud.model.predictor import load_predictor  # half a second: torch

        predictor = load_predictor(model, settings.limits.threads)
    log.info("%s on %s", predictor.name, predictor.device)
    with progress_bar(progress, hidden=quiet) as show:
        report = decloud_scene(
            scene, target, predictor, settings, model_name=predictor.name, progress=show
        )
    used = {
        "seconds_network": round(predictor.seconds, 3),
        "device": str(predictor.device),
        "precision": predictor.precision,
        "model": predictor.name,
    }
    if as_json:
        facts = report.to_dict()
        facts["warnings"] = [with_options(message) for message in facts["warnings"]]
        say(json.dumps(facts | used))
    elif not quiet:
        parts = [f"{report.changed_fraction:.1%} of the pixels changed"]
        parts += [f"{report.invented_fraction:.1%} invented"]
        if settings.policy.references:
            parts += [f"{report.reference_fraction:.1%} from another date"]
        if report.relit:
            parts += [f"{report.shadow_fraction:.1%} relit in shadow"]
        say(f"{target}: {', '.join(parts)}, {report.seconds:.1f} s")


def _source_and_target(
    src: str | None, dst: Path | None, more: list[str] | None, colours: tuple[str | None, ...]
) -> tuple[str | list[str], Path]:
    files = [file for file in colours if file]
    if more:
        raise UsageError(
            "more than one scene: use geodecloud batch SRC... OUT_DIR; for the bands of one scene, "
            "give their folder, or quote the pattern"
        )
    if files and (len(files) < len(colours) or dst is not None):
        raise UsageError("give --red, --green and --blue, all three, and DST without SRC")
    if files and src is None:
        raise UsageError("DST is missing: give DST after --red, --green and --blue")
    if src is None:
        raise UsageError("SRC is missing: give SRC and DST")
    if files:
        return files, Path(src)
    if dst is None:
        raise UsageError("DST is missing: give SRC and DST")
    if dst.is_dir() and dst.suffix == "" and src:
        raise UsageError(f"DST is the folder {dst}: use geodecloud batch SRC... OUT_DIR")
    if Path(src).is_dir() and dst.suffix == "":
        raise UsageError(f"{src} is a folder: use geodecloud batch SRC... OUT_DIR")
    return src, dst
