"""Score a model on held-out EuroSAT tiles under synthetic clouds of each kind."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from geodecloud.data.article import article_draw, overlay_noise
from geodecloud.data.clouds import cloud_draw, simulate_clouds
from geodecloud.data.config import CloudMix
from geodecloud.data.eurosat import SPLIT_SEED, load_eurosat
from geodecloud.data.tiles import TILE, OnBad, Tiles
from geodecloud.errors import UsageError
from geodecloud.evaluation.dark_channel import dehaze
from geodecloud.evaluation.metrics import Mask, Picture, mean_square, to_psnr
from geodecloud.evaluation.tables import METRICS, Scores, mean_scores, score
from geodecloud.model.predictor import load_predictor
from geodecloud.radiometry import (
    EUROSAT_STEPS,
    MODEL_WHITE,
    Radiometry,
    eurosat_to_model,
    find_dark_object,
    model_to_eurosat,
)
from geodecloud.raster.preview import save_grid
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.rows import Rows, given
from geodecloud.restore.composite import composite
from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.gate import CERTAIN_ONE_PASS, certain_cloud
from geodecloud.restore.patches import Predict
from geodecloud.settings import ModelSpec, Policy

LABELS = {
    "veil": "veil (thin)",
    "cumulus": "cumulus (broken)",
    "deck": "deck (opaque)",
    "article": "article (grey noise)",
}

_SEED, _EPOCH = 231, 1 << 21  # of the clouds; beyond every epoch of training and validation
_BATCH = 256  # tiles in memory at once
_EXAMPLES = 4  # tiles of each kind in the PNG
_EUROSAT = Radiometry(EUROSAT_STEPS / MODEL_WHITE, -1.0)  # DN 1 is black, 255 white
_EVERYWHERE: Mask = np.ones((TILE, TILE), bool)


class _Tile(NamedTuple):
    """A tile under cloud; images are float32 (3, 64, 64) in model range."""

    cloudy: Picture
    restored: Picture
    truth: Picture  # the ground without cloud, but with cloud shadows
    network: Picture  # the generator's output, before the composite
    untouched: float  # fraction of the pixels left as measured


def evaluate_tiles(
    root: Path,
    model: Path | None,
    limit: int | None = 600,
    picture: Path | None = None,
    on_bad: OnBad = "error",
) -> Scores:
    """Score cloudy, dehazed and restored tiles against the clear ones.

    Each tile is composited like a scene of 8-bit DN, without the fill. Every model sees the same
    clouds.

    Args:
        root: EuroSAT folder or zip.
        model: a model file; None: the built-in one.
        limit: largest number of tiles, evenly spread over the held-out ones; None: all.
        picture: a PNG to write with examples of each kind of cloud: cloudy | restored | truth.
        on_bad: "error" stops at a damaged tile, "skip" leaves it out.

    Returns:
        ``tiles``, their number. ``kinds``: scores by kind of cloud, the article's grey noise last.
        Each has a row for every key of ``tables.ROWS``: psnr in dB, of the squared error over all
        tiles; ssim, sam in degrees and mae in model range, means over the tiles. ``network`` has
        the psnr before the composite. ``untouched`` is the fraction of the pixels left as measured.
        The PSNR of equal images is infinite.

    Raises:
        DataError: there are no tiles, or a tile is damaged.
        UsageError: ``picture`` does not end in .png, or its folder is missing.
    """
    if picture and picture.suffix.lower() != ".png":
        raise UsageError(f"{picture}: only PNG can be written; name the file .png")
    if picture and not picture.parent.is_dir():
        raise UsageError(f"{picture.parent}: no such folder; create it or give another")
    predictor = load_predictor(ModelSpec(model=model))
    seed = trained_split_seed(predictor.info.metadata)
    tiles = load_eurosat(root, held_out=True, limit=limit, on_bad=on_bad, seed=seed)
    examples = set(np.linspace(0, len(tiles) - 1, _EXAMPLES).astype(int).tolist())
    kinds, grid = {}, []
    names = [*(field.name for field in dataclasses.fields(CloudMix)), "article"]
    with tqdm(total=len(names) * len(tiles), desc="tiles", leave=False, disable=None) as bar:
        for kind in names:
            each, row = [], []
            for i, tile in enumerate(_restored_tiles(tiles, kind, predictor)):
                each.append(_score(tile))
                if i in examples:
                    row += [tile.cloudy, tile.restored, tile.truth]
                bar.update()
            kinds[kind] = _pooled(each)
            grid.append(row)
    if picture:
        save_grid(picture, grid)
    return {"tiles": len(tiles), "kinds": kinds}


def trained_split_seed(metadata: Mapping[str, Any]) -> int:
    """Return the seed of the split that a model was trained on, by the metadata of its file.

    Older models of two levels state it in their configuration alone.
    """
    config = metadata.get("config", {})
    places = metadata, config.get("schedule", {}), config.get("training", {})
    return next((int(one["split_seed"]) for one in places if "split_seed" in one), SPLIT_SEED)


def _restored_tiles(tiles: Tiles, kind: str, predict: Predict) -> Iterator[_Tile]:
    """Yield all tiles under clouds of one kind; (seed, epoch, i) determines the cloud of tile i."""
    for first in range(0, len(tiles), _BATCH):
        clear = torch.from_numpy(eurosat_to_model(tiles.pixels[first : first + _BATCH]))
        items = range(first, first + len(clear))
        if kind == "article":
            clouded = overlay_noise(clear, article_draw(_SEED, _EPOCH, items))
        else:
            draw = cloud_draw(_SEED, _EPOCH, items)
            clouded = simulate_clouds(clear, draw, CloudMix.only(kind))
        dn = model_to_eurosat(clouded.cloudy.numpy())  # (N, 3, 64, 64)
        cloudy = _EUROSAT.to_model(dn)
        dark_objects = [find_dark_object(tile.reshape(3, -1), TILE * TILE) for tile in cloudy]
        output = predict(cloudy, np.array(dark_objects, np.float32))  # (N, 4 or 5, 64, 64)
        for i, truth in enumerate(clouded.target.numpy()):
            restored, untouched = _screen_and_composite(dn[i], cloudy[i], output[i])
            yield _Tile(cloudy[i], restored, truth, output[i, :3].clip(0, 1), untouched)


def _screen_and_composite(
    dn: NDArray[np.uint8], cloudy: Picture, output: NDArray[np.float32]
) -> tuple[Picture, float]:
    """Return the composited tile, and the fraction of its pixels left as measured.

    Args:
        dn: uint8 (3, 64, 64), of the cloudy tile.
        cloudy: float32 (3, 64, 64), the same in model range.
        output: float32 (4 or 5, 64, 64), of the network: R, G, B, opacity and shadow.
    """
    change, (opacity, *shadow) = output[:3] - cloudy, output[3:]
    if shadow:  # a network for two passes: as in a scene without a coarse pass, shadow is dropped
        opacity = opacity * certain_cloud(opacity, CERTAIN_ONE_PASS)
    rows = Rows(0, dn, _EVERYWHERE, change, opacity)
    done = composite(rows, SceneFacts(TILE, TILE, [0, 1, 2], _EUROSAT), Policy())
    untouched = float(np.mean(given(done.provenance) == Provenance.MEASURED))
    return _EUROSAT.to_model(given(done.out)), untouched


def _score(tile: _Tile) -> Scores:
    images = {
        "identity": tile.cloudy,
        "dark_channel_prior": dehaze(tile.cloudy, _EVERYWHERE),
        "restored": tile.restored,
        "network": tile.network,
    }
    others = [name for name in METRICS if name != "psnr"]
    scores: Scores = {
        row: {"mean_square": mean_square(image, tile.truth, _EVERYWHERE)}
        | (score(image, tile.truth, _EVERYWHERE, others) if row != "network" else {})
        for row, image in images.items()
    }
    return scores | {"untouched": tile.untouched}


def _pooled(each: list[Scores]) -> Scores:
    """Return the means over the tiles, with the PSNR of their mean squared error."""
    means = mean_scores(each)
    return {
        row: {"psnr": to_psnr(scores.pop("mean_square")), **scores}
        if isinstance(scores, dict)
        else scores
        for row, scores in means.items()
    }
