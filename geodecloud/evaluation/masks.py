"""Score predicted cloud masks against labelled ones."""

import math
import re
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from geodecloud.errors import DataError, DataWarning, UsageError, counted, warn
from geodecloud.evaluation.folders import files_by_stem, refuse_other_grid
from geodecloud.evaluation.tables import Scores, aligned
from geodecloud.masking import mask_scene
from geodecloud.model.predictor import load_predictor
from geodecloud.raster.cloud_mask import CloudClass, read_cloud_mask
from geodecloud.raster.dn import exact, has_data
from geodecloud.raster.gdal import failures_as, open_raster
from geodecloud.raster.grid import Grid
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.raster.wavelengths import find_other_bands, near_infrared
from geodecloud.settings import ModelSpec, Reading, Settings

_SUFFIXES = (".tif", ".tiff", ".png")
_ENDINGS = ("", "_mask", "_SCL", "_scl")  # suffixes of a mask's stem after its image's
_CLOUD, _IGNORED = 4, 255  # label codes beside those of CloudClass: any cloud; not scored
_LABELS = {
    "clear": CloudClass.CLEAR.value,
    "thick": CloudClass.THICK.value,
    "thin": CloudClass.THIN.value,
    "shadow": CloudClass.SHADOW.value,
    "cloud": _CLOUD,
    "ignore": _IGNORED,
}
# Sentinel-2's scene classification. Its classes 7, "unclassified", and 2, "dark area", are mixed.
_SCL = "0-2=ignore,3=shadow,4-6=clear,7=ignore,8-9=thick,10=thin,11=clear"
_CLOUDSEN12 = "0=clear,1=thick,2=thin,3=shadow,255=ignore"
# Kind of pixel -> its label codes, and its predicted classes.
_KINDS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "cloud": ((CloudClass.THICK, CloudClass.THIN, _CLOUD), (CloudClass.THICK, CloudClass.THIN)),
    "thick": ((CloudClass.THICK,), (CloudClass.THICK,)),
    "thin": ((CloudClass.THIN,), (CloudClass.THIN,)),
    "shadow": ((CloudClass.SHADOW,), (CloudClass.SHADOW,)),
    "clear": ((CloudClass.CLEAR,), (CloudClass.CLEAR,)),
}
_MEASURES = ("users", "producers", "f1", "balanced")

Classes = NDArray[np.uint8]
OtherMask = Callable[[NDArray[Any]], Classes]  # R, G, near infrared (3, rows, columns) -> classes


def parse_classes(text: str) -> dict[int, int]:
    """Parse the labels of a mask's values, like "0=shadow,1-3=clear,4=cloud".

    Raises:
        UsageError: the text has another form or an unknown label, or a value has two labels.
    """
    labels: dict[int, int] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*=\s*([a-z]+)\s*", part)
        if not match or match[3] not in _LABELS:
            raise UsageError(
                f"`classes` is {text}: give values and {', '.join(_LABELS)}, like "
                "0=shadow,1-3=clear,4=cloud"
            )
        values = range(int(match[1]), int(match[2] or match[1]) + 1)
        if not values or not labels.keys().isdisjoint(values):
            raise UsageError(
                f"`classes` is {text}: {part.strip()} has no value, or one that has a label "
                "already; give each value once, like 0=shadow,1-3=clear,4=cloud"
            )
        labels |= dict.fromkeys(values, _LABELS[match[3]])
    return labels


def evaluate_masks(
    images: Path,
    masks: Path,
    model: Path | None,
    classes: str | None = None,
    settings: Settings | None = None,
) -> Scores:
    """Score the cloud masks of images against labelled masks.

    Args:
        images: folder of GeoTIFF or PNG.
        masks: folder of masks on the same pixels, with the name of the image, or with _mask or
            _SCL after that name.
        model: a model file; None: the built-in one.
        classes: labels of the masks' values, see :func:`parse_classes`; values without a label are
            ignored. None: the classes of SCL if the name ends in SCL, else those of CloudSEN12,
            which must include every value; declared nodata is ignored.

    Returns:
        ``images``, their number. ``scored``: the number of images that each tool can read.
        ``rows``: four scores for each tool and kind of pixel, over the pixels of these images;
        NaN if the labels do not distinguish the kind. ``users`` is user's accuracy (precision),
        ``producers`` producer's accuracy (recall), and ``f1`` their harmonic mean. ``balanced`` is
        the mean of producer's accuracy and that of all other pixels. ``each``: the same by image.

    Raises:
        DataError: a folder or a mask is missing; a mask has another size, lies elsewhere or has
            unknown classes; or no pixel is scored.
    """
    settings = settings or Settings()
    pairs = _find(images, masks)
    for image, mask in pairs:
        _check_match(image, mask, settings.reading)
    predictor = load_predictor(ModelSpec(model=model), settings.limits.threads)
    other, each = omnicloudmask(), {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mask.tif")
        for image, mask in tqdm(pairs, "images", leave=False, disable=None):
            chosen = settings.replace(overwrite=True, force=True)
            labels = _labels(mask, classes)
            mask_scene(image, path, predictor, chosen)
            found = {"geodecloud": read_cloud_mask(path)}
            if other:
                found |= _others(image, other, chosen)
            valid = found["geodecloud"] != CloudClass.NODATA
            labels = np.where(valid, labels, np.uint8(_IGNORED))
            each[image.stem] = {tool: confusion(labels, one) for tool, one in found.items()}
    if not any(matrix.any() for counts in each.values() for matrix in counts.values()):
        raise DataError(f"{masks}: no pixel with data has a label that is scored; give `classes`")
    by_tool: dict[str, list[NDArray[np.int64]]] = {}
    for matrices in each.values():
        for tool, matrix in matrices.items():
            by_tool.setdefault(tool, []).append(matrix)
    return {
        "images": len(each),
        "scored": {tool: len(matrices) for tool, matrices in by_tool.items()},
        "rows": {tool: accuracies(sum(matrices)) for tool, matrices in by_tool.items()},
        "each": {
            stem: {tool: accuracies(one) for tool, one in counts.items()}
            for stem, counts in each.items()
        },
    }


def confusion(labels: Classes, found: Classes) -> NDArray[np.int64]:
    """Return the confusion matrix, (5 labels, 4 predicted classes), in pixels."""
    kept = (labels <= _CLOUD) & (found <= CloudClass.SHADOW)
    pairs = labels[kept].astype(np.int64) * 4 + found[kept]
    return np.bincount(pairs, minlength=20).reshape(5, 4)


def accuracies(counts: Any) -> Scores:
    """Return the scores of each kind of pixel from a confusion matrix.

    NaN if no label is of the kind, or if labels do not tell thick from thin cloud.
    """
    scores: Scores = {}
    if not counts[CloudClass.SHADOW].any():  # not labelled: predicted shadows count as clear
        counts = counts.copy()
        counts[:, CloudClass.CLEAR] += counts[:, CloudClass.SHADOW]
        counts[:, CloudClass.SHADOW] = 0
    total = counts.sum()
    for kind, (labelled, called) in _KINDS.items():
        true = counts[list(labelled)].sum()
        tells = kind not in ("thick", "thin") or not counts[_CLOUD].any()
        if not true or not tells:
            scores[kind] = dict.fromkeys(_MEASURES, math.nan)
            continue
        hits = counts[np.ix_(labelled, called)].sum()
        positive = counts[:, list(called)].sum()
        users = hits / positive if positive else math.nan
        producers = hits / true
        rest = total - true
        others = (rest - (positive - hits)) / rest if rest else math.nan
        scores[kind] = {
            "users": float(users),
            "producers": float(producers),
            "f1": float(2 * hits / (positive + true)),
            "balanced": float((producers + others) / 2),
        }
    return scores


def masks_table(scores: Scores) -> str:
    """Format the scores of ``evaluate_masks`` over the pixels of all images."""
    lines = [[counted(scores["images"], "image"), "", "user's", "producer's", "F1", "balanced"]]
    for tool, kinds in scores["rows"].items():
        few = scores["scored"][tool]
        label = tool if few == scores["images"] else f"{tool}, {counted(few, 'image')}"
        for kind, measures in kinds.items():
            if not math.isnan(measures["f1"]):
                lines.append([label, kind, *(_cell(measures[name]) for name in _MEASURES)])
                label = ""
    return aligned(lines, text_columns=2)


def _cell(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _find(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    wanted, named = (files_by_stem(folder, _SUFFIXES) for folder in (images, masks))
    pairs = []
    for stem, image in wanted.items():
        found = [named[stem + end] for end in _ENDINGS if stem + end in named]
        if not found:
            raise DataError(f"{masks}: no mask for {image.name}; name it {stem}.tif")
        pairs.append((image, found[0]))
    if not pairs:
        raise DataError(f"{images}: no images in it; give a folder of .tif or .png files")
    return pairs


def _check_match(image: Path, mask: Path, reading: Reading) -> None:
    with open_scene(image, reading=reading) as scene, open_raster(mask) as labelled:
        if scene.shape != labelled.shape:
            raise DataError(f"{mask}: another size than {image}; crop or warp one")
        refuse_other_grid(mask, Grid.of(labelled), image, scene.grid)


def _labels(mask: Path, classes: str | None) -> Classes:
    """Return the labels of a mask, uint8 (rows, columns).

    Declared nodata is ignored, unless ``classes`` name that value.
    """
    scl = mask.stem.lower().endswith("scl")
    mapping: Mapping[int, int] = parse_classes(classes or (_SCL if scl else _CLOUDSEN12))
    with open_raster(mask) as file, failures_as(f"{mask}: damaged or truncated"):
        values, nodata = file.read(1), file.nodata
    known = np.ones(values.shape, bool)
    if nodata is not None and not classes:
        known = has_data(values, nodata)
        if any(label != _IGNORED for value, label in mapping.items() if value == nodata):
            warn(
                DataWarning,
                f"{mask}: declares {exact(nodata)}, a class, as nodata, so it is not scored; give "
                "`classes` to score it",
            )
    unknown = values[known & np.isin(values, list(mapping), invert=True)]
    if unknown.size and not (classes or scl):
        raise DataError(
            f"{mask}: has the value {exact(float(unknown.min()))}, which is no class of CloudSEN12;"
            " give `classes`, or end the name of an SCL in _SCL"
        )
    labels = np.full(values.shape, _IGNORED, np.uint8)
    for value, label in mapping.items():
        labels[known & (values == value)] = label
    return labels


def omnicloudmask() -> OtherMask | None:
    """Return OmniCloudMask's prediction function; None if it is not installed or lacks weights.

    Wright et al.: "Training sensor-agnostic deep learning models for remote sensing: Achieving
    state-of-the-art cloud and cloud shadow identification with OmniCloudMask", Remote Sensing of
    Environment 2025. OmniCloudMask fetches its weights at its first use.
    """
    try:
        predict_from_array = import_module("omnicloudmask").predict_from_array
    except ImportError:
        return None

    def predict(bands: NDArray[Any]) -> Classes:
        found: Classes = np.asarray(predict_from_array(bands))[0].astype(np.uint8)
        return found

    try:
        predict(np.ones((3, 64, 64), np.float32))
    except Exception as error:  # from any library that fetches its weights
        reason = " ".join(str(error).split())[:200]
        warn(DataWarning, f"omnicloudmask has no weights here ({reason}); its row is left out")
        return None
    return predict


def _others(image: Path, predict: OtherMask, settings: Settings) -> dict[str, Classes]:
    """Return the classes by OmniCloudMask, without near infrared and, if the image has it, with."""
    with open_scene(image, reading=settings.reading) as scene:
        dn, _ = scene.read(0, scene.shape[0])
        near = _near_infrared(scene)
        red, green = (dn[scene.rgb[colour]].astype(np.float32) for colour in (0, 1))
    found = {"omnicloudmask, no near infrared": predict(np.stack([red, green, 0 * red]))}
    if near is not None:
        bands = np.stack([red, green, dn[near].astype(np.float32)])
        found["omnicloudmask"] = predict(bands)
    return found


def _near_infrared(scene: Scene) -> int | None:
    others = find_other_bands(scene)
    near = near_infrared([one.wavelength for one in others])
    return others[near[0]].index if near else None
