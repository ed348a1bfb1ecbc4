"""Score a model, its cloud masks, or the seams in a restored scene."""

import json
from pathlib import Path
from typing import Annotated

import typer

from geodecloud.cli.console import answer, show_warnings
from geodecloud.cli.options import (
    JsonOption,
    ModelOption,
    OffsetOption,
    OnBadOption,
    ScaleOption,
    WindowOption,
    input_option,
    output_option,
)
from geodecloud.errors import UsageError
from geodecloud.settings import Settings, Windows

_TILES = 600  # default of --limit
# What is scored -> the options that belong to it.
_OPTIONS = {
    "CLOUDY_DIR": {"--window", "--only", "--png", "--scale", "--offset"},
    "--tiles": {"--limit", "--png", "--on-bad"},
    "--seams": {"--window"},
    "--masks": {"--window", "--classes", "--scale", "--offset"},
}

CloudyArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[CLOUDY_DIR]", help="Folder of cloudy GeoTIFF, PNG or JPEG images"),
]
ClearArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[CLEAR_DIR]", help="Folder of clear images with the same names"),
]
TilesOption = Annotated[
    Path | None,
    input_option(
        metavar="EUROSAT",
        help="EuroSAT folder or zip: score held-out tiles under each kind of cloud",
    ),
]
SeamsOption = Annotated[
    Path | None, input_option(metavar="SRC", help="Scene in which to measure window seams")
]
MasksOption = Annotated[
    bool,
    input_option(
        "--masks",
        help="Score cloud masks; the first folder holds images, the second labelled masks",
    ),
]
ClassesOption = Annotated[
    str | None,
    input_option(
        metavar="VALUES",
        help="Classes of the masks' values, like 0=shadow,1-3=clear,4=cloud; clear, thick, thin, "
        "cloud, shadow or ignore; with --masks",
        show_default="those of CloudSEN12, or of an SCL by its name",
    ),
]
OnlyOption = Annotated[
    str | None,
    input_option(
        metavar="NAMES",
        help="Names of the pairs to score, without suffix, like 0316,0581; with CLOUDY_DIR",
        show_default="all",
    ),
]
LimitOption = Annotated[
    int | None,
    input_option(
        metavar="COUNT",
        min=0,
        help="Largest number of tiles, with --tiles; 0 means all",
        show_default=str(_TILES),
    ),
]
PngOption = Annotated[
    Path | None,
    output_option(
        metavar="PATH", help="Pictures to write: a folder for pairs, a PNG file for --tiles"
    ),
]


def evaluate(
    cloudy: CloudyArgument = None,
    clear: ClearArgument = None,
    tiles: TilesOption = None,
    seams: SeamsOption = None,
    masks: MasksOption = False,
    classes: ClassesOption = None,
    model: ModelOption = None,
    window: WindowOption = None,
    only: OnlyOption = None,
    limit: LimitOption = None,
    png: PngOption = None,
    scale: ScaleOption = None,
    offset: OffsetOption = None,
    on_bad: OnBadOption = "error",
    as_json: JsonOption = False,
) -> None:
    """Score a model on pairs of images or on held-out tiles, or measure visible window seams.

    Pairs and tiles: PSNR, SSIM, spectral angle and MAE of the restored images, beside those of
    the unchanged cloudy images (identity) and of a dehazer without a network (dark channel prior).
    Pixels brighter than reflectance 0.275 count as 0.275.

    Pairs: also PSNR and MAE of thin cloud, thick cloud, clear pixels and relit shadow, grouped by
    predicted opacity. Also the bias (mean error in red, green and blue), and the fraction of
    windows computed. Other bands that both images have: PSNR, spectral angle and error of NDVI.

    Masks: user's, producer's and balanced accuracy, and F1 of each class; also those of
    OmniCloudMask, if it is installed.
    """
    _refuse_unused(
        {
            "CLOUDY_DIR": None if masks else cloudy,
            "--tiles": tiles,
            "--seams": seams,
            "--masks": masks or None,
        },
        {
            "--window": window,
            "--only": only,
            "--limit": limit,
            "--png": png,
            "--scale": scale,
            "--offset": offset,
            "--classes": classes,
            "--on-bad": None if on_bad == "error" else on_bad,
        },
    )
    show_warnings(each_kind_once=True)
    windows = Windows() if window is None else Windows(window)
    settings = Settings(windows=windows, scale=scale, offset=offset)
    folders = (cloudy, clear) if cloudy and clear else None
    if not (tiles or seams or folders):
        wanted = "IMAGE_DIR and MASK_DIR" if masks else "CLOUDY_DIR and CLEAR_DIR"
        raise UsageError(f"{wanted.split()[2]} is missing: give {wanted}")
    from geodecloud.evaluation.masks import evaluate_masks, masks_table
    from geodecloud.evaluation.pairs import evaluate_pairs
    from geodecloud.evaluation.seams import evaluate_seams
    from geodecloud.evaluation.tables import json_scores, pairs_table, seams_table, tiles_table
    from geodecloud.evaluation.tiles import LABELS, evaluate_tiles
    from geodecloud.restore.windows import grid_of

    if tiles:
        most = _TILES if limit is None else limit
        scores = evaluate_tiles(tiles, model, most or None, png, on_bad)
        text = tiles_table(scores, LABELS)
    elif seams:
        scores = evaluate_seams(seams, model, grid_of(windows))
        text = seams_table(scores)
    elif masks and folders:
        scores = evaluate_masks(*folders, model, classes, settings)
        text = masks_table(scores)
    elif folders:
        stems = [stem.strip() for stem in only.split(",")] if only else None
        scores = evaluate_pairs(*folders, model, stems, png, settings)
        text = pairs_table(scores)
    answer(json.dumps(json_scores(scores)) if as_json else text)


def _refuse_unused(scored: dict[str, object], options: dict[str, object]) -> None:
    """Refuse an option that belongs to something else than what is scored."""
    chosen = [name for name, value in scored.items() if value is not None]
    if len(chosen) != 1:
        raise UsageError(
            "give CLOUDY_DIR and CLEAR_DIR, or --tiles EUROSAT, or --seams SRC, or --masks "
            "IMAGE_DIR MASK_DIR"
        )
    for name, value in options.items():
        if value is not None and name not in _OPTIONS[chosen[0]]:
            homes = " or ".join(home for home, names in _OPTIONS.items() if name in names)
            raise UsageError(f"{name} works only with {homes}: leave it out with {chosen[0]}")
