"""Scores on held-out EuroSAT tiles under fixed synthetic clouds of each kind."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from geodecloud.data.article import overlay_noise
from geodecloud.data.clouds import draw_uniforms, simulate_clouds
from geodecloud.data.eurosat import SPLIT_SEED, load_eurosat
from geodecloud.data.tiles import TILE, OnBad, Tiles
from geodecloud.errors import UsageError
from geodecloud.evaluation.dark_channel import dehaze
from geodecloud.evaluation.metrics import Mask, Picture, mean_square, to_psnr
from geodecloud.evaluation.tables import METRICS, Scores, mean_scores, score
from geodecloud.model.checkpoint import default_model
from geodecloud.model.config import CloudMix
from geodecloud.model.predictor import Predictor
from geodecloud.radiometry import (
    EUROSAT_STEPS,
    MODEL_WHITE,
    Radiometry,
    eurosat_to_model,
    find_dark_object,
    model_to_eurosat,
)
from geodecloud.raster.preview import save_grid
from geodecloud.restore.composite import (
    MEASURED,
    Restoration,
    composite,
    hysteresis,
    water_weight,
)
from geodecloud.restore.strips import Predict
from geodecloud.settings import Policy

LABELS = {
    "veil": "veil (thin)",
    "cumulus": "cumulus (broken)",
    "deck": "deck (opaque)",
    "article": "article (grey noise)",
}

_SEED, _EPOCH = 231, 1 << 21  # of the clouds: an epoch that neither training nor validation sees
_BATCH = 256  # tiles in memory at once
_EXAMPLES = 4  # tiles of each kind in the picture
_EUROSAT = Radiometry(EUROSAT_STEPS / MODEL_WHITE, -1.0)  # DN 1 is black, 255 white
_EVERYWHERE: Mask = np.ones((TILE, TILE), bool)


class _Tile(NamedTuple):
    """One tile under cloud; pictures are float32 (3, 64, 64) in model range."""

    cloudy: Picture
    restored: Picture
    truth: Picture  # the ground without cloud, its shadows kept
    network: Picture  # what the generator answers, before the composite
    untouched: float  # share of the pixels that are as measured, bit for bit


def evaluate_tiles(
    root: Path,
    model: Path | None,
    limit: int | None = 600,
    picture: Path | None = None,
    on_bad: OnBad = "error",
) -> Scores:
    """How near held-out tiles under cloud are to the clear ones: as they are, dehazed, restored.

    Each tile is a scene of its own, of 8-bit DN: the generator's answer goes through the same
    composite as when a scene is restored. The clouds are the same for every model.

    Args:
        root: EuroSAT folder or zip.
        model: a model file; None: the built-in one.
        limit: at most so many tiles, evenly spread over the held-out ones; None: all.
        picture: a PNG to write, examples of each kind: cloudy | restored | truth.
        on_bad: what a damaged tile means: "error", or "skip" it.

    Returns:
        ``tiles``, their number. ``kinds``, by kind of cloud and last the article's grey noise: for
        each row of ``scores.ROWS`` psnr (dB, of the squared error of all tiles together), ssim, sam
        (degrees), mae (model range), means over the tiles; ``network``, psnr before the composite;
        ``untouched``, the share of the pixels that come back bit for bit. The PSNR of equal
        pictures is infinite.

    Raises:
        DataError: no tiles, or a damaged one.
        UsageError: ``picture`` is not named .png, or its folder is not there.
    """
    if picture and picture.suffix.lower() != ".png":
        raise UsageError(f"{picture}: the picture is a PNG; name it .png")
    if picture and not picture.parent.is_dir():
        raise UsageError(f"{picture.parent}: no such folder; make it, or name another")
    predictor = Predictor(model or default_model())
    # Held out from the model's own training.
    seed = int(predictor.info.metadata.get("split_seed", SPLIT_SEED))
    tiles = load_eurosat(root, held_out=True, limit=limit, on_bad=on_bad, seed=seed)
    shown = set(np.linspace(0, len(tiles) - 1, _EXAMPLES).astype(int).tolist())
    kinds, examples = {}, []
    names = [*(field.name for field in dataclasses.fields(CloudMix)), "article"]
    with tqdm(total=len(names) * len(tiles), desc="tiles", leave=False, disable=None) as bar:
        for kind in names:
            each, row = [], []
            for i, tile in enumerate(_restored_tiles(tiles, kind, predictor)):
                each.append(_score(tile))
                if i in shown:
                    row += [tile.cloudy, tile.restored, tile.truth]
                bar.update()
            kinds[kind] = _pooled(each)
            examples.append(row)
    if picture:
        save_grid(picture, examples)
    return {"tiles": len(tiles), "kinds": kinds}


def _restored_tiles(tiles: Tiles, kind: str, predict: Predict) -> Iterator[_Tile]:
    """All tiles under their cloud of one kind; tile i has the cloud (seed, epoch, i)."""
    for first in range(0, len(tiles), _BATCH):
        clear = torch.from_numpy(eurosat_to_model(tiles.pixels[first : first + _BATCH]))
        uniforms = draw_uniforms(_SEED, _EPOCH, list(range(first, first + len(clear))))
        if kind == "article":
            clouded = overlay_noise(clear, uniforms)
        else:
            clouded = simulate_clouds(clear, uniforms, CloudMix.only(kind))
        dn = model_to_eurosat(clouded.cloudy.numpy())  # (N, 3, 64, 64)
        cloudy = _EUROSAT.to_model(dn)
        darkest = [find_dark_object(tile.reshape(3, -1), TILE * TILE) for tile in cloudy]
        answer = predict(cloudy, np.array(darkest, np.float32))  # (N, 4, 64, 64)
        for i, truth in enumerate(clouded.target.numpy()):
            yield _restored_tile(dn[i], cloudy[i], answer[i], truth)


def _restored_tile(
    dn: NDArray[np.uint8], cloudy: Picture, answer: Picture, truth: Picture
) -> _Tile:
    opacity = hysteresis(answer[3]) * water_weight(cloudy.mean(axis=0))
    restoration = Restoration(answer[:3] - cloudy, opacity)
    restored, provenance = composite(dn, _EVERYWHERE, restoration, _EUROSAT, Policy())
    untouched = float(np.mean(provenance == MEASURED))
    return _Tile(cloudy, _EUROSAT.to_model(restored), truth, answer[:3].clip(0, 1), untouched)


def _score(tile: _Tile) -> Scores:
    pictures = {
        "identity": tile.cloudy,
        "dark_channel_prior": dehaze(tile.cloudy, _EVERYWHERE),
        "restored": tile.restored,
        "network": tile.network,
    }
    others = [name for name in METRICS if name != "psnr"]
    scores: Scores = {
        row: {"mean_square": mean_square(pixels, tile.truth, _EVERYWHERE)}
        | (score(pixels, tile.truth, _EVERYWHERE, others) if row != "network" else {})
        for row, pixels in pictures.items()
    }
    return scores | {"untouched": tile.untouched}


def _pooled(each: list[Scores]) -> Scores:
    """Means over the tiles; PSNR of the mean squared error, as all tiles have the same size."""
    means = mean_scores(each)
    return {
        row: {"psnr": to_psnr(scores.pop("mean_square")), **scores}
        if isinstance(scores, dict)
        else scores
        for row, scores in means.items()
    }
