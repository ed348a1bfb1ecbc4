"""Scores on pairs of scenes: the same place under cloud and clear."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from geodecloud.checkpoint import default_model
from geodecloud.decloud import Settings, decloud_scene
from geodecloud.errors import DataError
from geodecloud.metrics import psnr
from geodecloud.predictor import Predictor
from geodecloud.scene import open_scene, scene_radiometry


def evaluate_pairs(
    cloudy_dir: Path, clear_dir: Path, model: Path | None, only: list[str] | None = None
) -> dict[str, Any]:
    """PSNR of the cloudy scenes (identity) and the restored ones against the clear ones.

    The whole way is scored: each cloudy scene is restored into a file, which is read back.

    Args:
        only: stems of the files to take; None: all.

    Returns:
        ``{"pairs": n, "identity": {"psnr": mean}, "restored": {"psnr": mean}, "each": {stem:
        {"identity": dB, "restored": dB}}}``; means are of the dB.

    Raises:
        DataError: a pair is missing or does not fit together.
    """
    paths = sorted(p for p in cloudy_dir.glob("*.tif") if only is None or p.stem in only)
    missing = set(only or ()) - {path.stem for path in paths}
    if missing:
        raise DataError(f"{cloudy_dir}: no {', '.join(sorted(missing))} in it")
    if not paths:
        raise DataError(f"{cloudy_dir}: no pairs to score; give a folder of .tif files")
    predictor = Predictor(model or default_model())
    each = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            clear = clear_dir / path.name
            if not clear.exists():
                raise DataError(f"{clear}: missing; each cloudy scene needs a clear one")
            restored = Path(folder) / path.name
            decloud_scene(path, restored, predictor, Settings())
            each[path.stem] = _score(path, restored, clear)
    means = {
        row: {"psnr": float(np.mean([e[row] for e in each.values()]))}
        for row in each[paths[0].stem]
    }
    return {"pairs": len(each), **means, "each": each}


def _score(cloudy: Path, restored: Path, clear: Path) -> dict[str, float]:
    pictures, valids = [], []
    for path in (cloudy, restored, clear):
        with open_scene(path) as scene:
            dn, valid = scene.read(0, scene.shape[0])
            pictures.append(scene_radiometry(scene, None, None).to_model(dn[scene.rgb]))
            valids.append(valid)
    if len({p.shape for p in pictures}) > 1:
        raise DataError(f"{clear}: not of the size of {cloudy}")
    valid = valids[0] & valids[2]
    if not valid.any():
        raise DataError(f"{clear}: no pixel is valid both there and in {cloudy}")
    return {
        "identity": psnr(pictures[0], pictures[2], valid),
        "restored": psnr(pictures[1], pictures[2], valid),
    }
