"""Average scores and format them as tables, for all evaluations."""

import math
from collections.abc import Sequence
from typing import Any

from geodecloud.errors import counted
from geodecloud.evaluation.metrics import Mask, Picture, mae, psnr, sam, ssim
from geodecloud.raster.bands import COLOURS

METRICS = {"psnr": psnr, "ssim": ssim, "sam": sam, "mae": mae}
ROWS = {  # images that are compared with the clear one, and their labels
    "identity": "identity",
    "dark_channel_prior": "dark channel prior",
    "restored": "restored",
}
GROUPS = {  # groups of pixels that are scored separately, and their labels
    "clear": "clear, opacity below {clear_below:.0%}",
    "thin": "thin",
    "thick": "thick, opacity from {opaque_above:.0%}",
    "relit_shadow": "relit shadow",
}

Scores = dict[str, Any]  # by name: floats, or nested Scores

_UNITS = {"psnr": "PSNR dB", "ssim": "SSIM", "sam": "SAM deg", "mae": "MAE"}
_DECIMALS = {"psnr": 2, "ssim": 4, "sam": 2, "mae": 4}


def score(image: Picture, truth: Picture, valid: Mask, metrics: Sequence[str]) -> Scores:
    """Return the named metrics over the valid pixels; NaN if there are none."""
    if not valid.any():
        return dict.fromkeys(metrics, math.nan)
    return {name: METRICS[name](image, truth, valid) for name in metrics}


def mean_scores(each: Sequence[Scores]) -> Scores:
    """Return the mean of each score.

    NaN (no pixels) is left out. An infinite PSNR (no error within the model range) is left out too,
    unless all are infinite. The rows of ``ROWS`` are averaged over the same images: an image whose
    score is not finite in one row is left out of every row, unless none would remain.
    """
    means: Scores = {
        name: mean_scores([scores[name] for scores in each])
        if isinstance(first, dict)
        else _mean([scores[name] for scores in each])
        for name, first in each[0].items()
    }
    rows = [name for name in ROWS if name in means]
    for metric in means[rows[0]] if rows else ():
        if comparable := [scores for scores in each if _finite_in_all_rows(scores, metric)]:
            for row in rows:
                means[row][metric] = _mean([scores[row][metric] for scores in comparable])
    return means


def _finite_in_all_rows(scores: Scores, metric: str) -> bool:
    return all(math.isfinite(scores[row][metric]) for row in ROWS if row in scores)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.inf if math.inf in values else math.nan
    return math.fsum(finite) / len(finite)


def json_scores(scores: Scores) -> Scores:
    """Replace infinity and NaN, which JSON lacks, by None."""
    return {
        name: json_scores(value)
        if isinstance(value, dict)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in scores.items()
    }


def pairs_table(scores: Scores) -> str:
    """Format the scores of ``evaluate_pairs``.

    The tables are the PSNR of each pair, the means of all scores over all pixels, and those of PSNR
    and MAE over groups of pixels; then the other bands, if there are any.
    """
    lines = [["PSNR dB", *ROWS.values(), "changed", "windows computed"]]
    for stem, pair in scores["each"].items():
        psnrs = [_cell("psnr", pair[row]["psnr"]) for row in ROWS]
        fractions = [_percent(pair[f"{name}_fraction"]) for name in ("changed", "computed")]
        lines.append([stem, *psnrs, *fractions])
    biases = [f"bias {colour}" for colour in COLOURS]
    means = [[f"mean of {scores['pairs']}", *_UNITS.values(), *biases]]
    for row, label in ROWS.items():
        cells = [_cell(name, scores[row][name]) for name in METRICS]
        signed = [f"{scores['bias'][row][colour]:+.4f}" for colour in COLOURS]
        means.append([label, *cells, *signed])
    infinite = [
        stem for stem, pair in scores["each"].items() if not _finite_in_all_rows(pair, "psnr")
    ]
    note = ""
    if 0 < len(infinite) < scores["pairs"]:
        note = f"not in the mean PSNR, infinite in a row: {', '.join(infinite)}\n"
    changed = f"changed: {_percent(scores['changed_fraction'])} of the pixels"
    unchanged = f"the others differ from the input by {scores['reprod_mae']:g} DN"
    computed = f"windows computed: {_percent(scores['computed_fraction'])}"
    parts = [lines, means, _groups(scores)]
    parts += [_other_bands(scores)] if scores["other_bands"] else []
    tables = "\n\n".join(map(aligned, parts))
    return f"{tables}\n\n{note}{changed}; {unchanged}\n{computed}"


def _groups(scores: Scores) -> list[list[str]]:
    """Return the cells of PSNR and MAE over the groups of pixels."""
    groups = {"changed": scores["under_cloud"], "unchanged": scores["in_the_clear"]}
    for name, label in GROUPS.items():
        groups[label.format_map(scores)] = scores["by_opacity"][name]
    metrics = list(scores["under_cloud"]["restored"])
    columns = [(metric, row) for metric in metrics for row in ROWS]
    above = [_UNITS[metric] if row == "identity" else "" for metric, row in columns]
    lines = [["", "", *above], ["pixels", "share", *list(ROWS.values()) * len(metrics)]]
    for label, group in groups.items():
        cells = [_cell(metric, group[row][metric]) for metric, row in columns]
        lines.append([label, _percent(group["fraction"]), *cells])
    return lines


def _other_bands(scores: Scores) -> list[list[str]]:
    """Return the cells of the scores of bands besides red, green and blue."""
    groups, rows = ("all", "clear", "thin", "thick"), ("identity", "restored")
    lines = [["", *(group if row == rows[0] else "" for group in groups for row in rows)]]
    lines.append(["other bands", *(ROWS[row] for _ in groups for row in rows)])
    for name, by_group in scores["other_bands"].items():
        metric = next(iter(by_group["all"]["restored"]))
        cells = [_cell(metric, by_group[group][row][metric]) for group in groups for row in rows]
        lines.append([f"{name} {_UNITS[metric]}", *cells])
    return lines


def tiles_table(scores: Scores, labels: dict[str, str]) -> str:
    """Format the scores of ``evaluate_tiles``."""
    lines = [[counted(scores["tiles"], "tile"), "", *_UNITS.values(), "untouched"]]
    for kind, rows in scores["kinds"].items():
        for row, text in ROWS.items():
            label = labels.get(kind, kind) if row == "identity" else ""
            cells = [_cell(name, rows[row][name]) for name in METRICS]
            untouched = _percent(rows["untouched"]) if row == "restored" else ""
            lines.append([label, text, *cells, untouched])
    return aligned(lines, text_columns=2)


def seams_table(scores: Scores) -> str:
    """Format the scores of ``evaluate_seams``."""
    lines = [["DN between neighbours", "mean", "99th percentile"]]
    for name, text in (("across", "across a border"), ("beside", "one pixel beside")):
        lines.append([text, *(f"{scores[name][key]:.2f}" for key in ("mean", "p99"))])
    chance = f"{scores['chance']:.4f} +- {scores['chance_deviation']:.4f}"
    ratio = f"ratio {scores['ratio']:.4f}; away from borders {chance}"
    return f"{aligned(lines)}\n\n{ratio}: {scores['excess']:+.2%} from chance"


def _cell(metric: str, value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.{_DECIMALS[metric]}f}"


def _percent(fraction: float) -> str:
    return f"{fraction:.1%}"


def aligned(lines: list[list[str]], text_columns: int = 1) -> str:
    """Align cells in columns: the first ``text_columns`` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        (
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join("  ".join(row).rstrip() for row in rows)
