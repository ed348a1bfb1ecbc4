"""Scores in rows: what the ways to evaluate have in common, means and tables of them."""

import math
from collections.abc import Sequence
from typing import Any

from geodecloud.evaluation.metrics import Mask, Picture, mae, psnr, sam, ssim

METRICS = {"psnr": psnr, "ssim": ssim, "sam": sam, "mae": mae}
ROWS = {  # the pictures that are compared with the clear one, and their names for people
    "identity": "identity",
    "dark_channel_prior": "dark channel prior",
    "restored": "restored",
}

Scores = dict[str, Any]  # by name: floats, or Scores again

_UNITS = {"psnr": "PSNR dB", "ssim": "SSIM", "sam": "SAM deg", "mae": "MAE"}
_DECIMALS = {"psnr": 2, "ssim": 4, "sam": 2, "mae": 4}


def score(image: Picture, truth: Picture, where: Mask, metrics: Sequence[str]) -> Scores:
    """The metrics of these names over the pixels ``where``; NaN where there are none."""
    if not where.any():
        return dict.fromkeys(metrics, math.nan)
    return {name: METRICS[name](image, truth, where) for name in metrics}


def mean_scores(each: Sequence[Scores]) -> Scores:
    """The mean of each score, over those that have it.

    NaN, of no pixels, is left out; so is an infinite PSNR, of equal pictures, unless all are. Rows
    that are compared have means of the same pictures: what one of them lacks is left out of all.
    """
    means: Scores = {
        name: mean_scores([scores[name] for scores in each])
        if isinstance(first, dict)
        else _mean([scores[name] for scores in each])
        for name, first in each[0].items()
    }
    rows = [name for name in ROWS if name in means]
    for metric in means[rows[0]] if rows else ():
        if alike := [scores for scores in each if _in_all_rows(scores, metric)]:
            for row in rows:
                means[row][metric] = _mean([scores[row][metric] for scores in alike])
    return means


def _in_all_rows(scores: Scores, metric: str) -> bool:
    """Whether all rows that are compared have this metric, and it is finite."""
    return all(math.isfinite(scores[row][metric]) for row in ROWS if row in scores)


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return math.inf if math.inf in values else math.nan
    return math.fsum(finite) / len(finite)


def json_scores(scores: Scores) -> Scores:
    """The same for JSON, which knows no infinity: an infinite score, or one of nothing, is None."""
    return {
        name: json_scores(value)
        if isinstance(value, dict)
        else None
        if isinstance(value, float) and not math.isfinite(value)
        else value
        for name, value in scores.items()
    }


def pairs_table(scores: Scores) -> str:
    """What ``evaluate_pairs`` returns, for people: PSNR by pair, then the means of everything."""
    lines = [["PSNR dB", *ROWS.values(), "changed"]]
    for stem, pair in scores["each"].items():
        psnrs = [_cell("psnr", pair[row]["psnr"]) for row in ROWS]
        lines.append([stem, *psnrs, _percent(pair["changed_fraction"])])
    everywhere = [f"mean of {scores['pairs']}", *_UNITS.values()]
    places = {"under_cloud": "under cloud", "in_the_clear": "in the clear"}
    header = everywhere + [f"{_UNITS[m]} {text}" for text in places.values() for m in _some(scores)]
    means = [header]
    for row, text in ROWS.items():
        cells = [_cell(name, scores[row][name]) for name in METRICS]
        cells += [_cell(m, scores[place][row][m]) for place in places for m in _some(scores)]
        means.append([text, *cells])
    equal = [stem for stem, pair in scores["each"].items() if not _in_all_rows(pair, "psnr")]
    left_out = ""
    if 0 < len(equal) < scores["pairs"]:
        left_out = f"no mean PSNR of {', '.join(equal)}: infinite in a row\n"
    changed = f"changed: {_percent(scores['changed_fraction'])} of the pixels"
    lost = f"others differ from the input by {scores['reprod_mae']:g} DN"
    return f"{_aligned(lines)}\n\n{_aligned(means)}\n\n{left_out}{changed}; {lost}"


def _some(scores: Scores) -> list[str]:
    """The metrics of which there are scores by place."""
    return list(scores["under_cloud"]["restored"])


def tiles_table(scores: Scores, labels: dict[str, str]) -> str:
    """What ``evaluate_tiles`` returns, for people.

    Args:
        labels: names of the kinds for people, by kind.
    """
    lines = [[f"{scores['tiles']} tiles", "", *_UNITS.values(), "untouched"]]
    for kind, rows in scores["kinds"].items():
        for row, text in ROWS.items():
            label = labels.get(kind, kind) if row == "identity" else ""
            cells = [_cell(name, rows[row][name]) for name in METRICS]
            untouched = _percent(rows["untouched"]) if row == "restored" else ""
            lines.append([label, text, *cells, untouched])
    return _aligned(lines, texts=2)


def seams_table(scores: Scores) -> str:
    """What ``evaluate_seams`` returns, for people."""
    lines = [["DN from pixel to pixel", "mean", "99th percentile"]]
    for name, text in (("across", "across a border"), ("beside", "one pixel beside")):
        lines.append([text, *(f"{scores[name][key]:.2f}" for key in ("mean", "p99"))])
    chance = f"{scores['chance']:.4f} +- {scores['chance_deviation']:.4f}"
    ratio = f"ratio {scores['ratio']:.4f}; away from borders {chance}"
    return f"{_aligned(lines)}\n\n{ratio}: {scores['excess']:+.2%} from chance"


def _cell(metric: str, value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.{_DECIMALS[metric]}f}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _aligned(lines: list[list[str]], texts: int = 1) -> str:
    """Columns of equal width: the first ``texts`` to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        (
            cell.ljust(width) if i < texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join("  ".join(row).rstrip() for row in rows)
