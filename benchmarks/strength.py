"""Show by how much a model removes too little of thin cloud, by its opacity and by band.

    python benchmarks/strength.py [--data DIR] [--model MODEL]

For the pairs of ``dev_pairs/sen12mscr20`` the script restores the cloudy image without the model's
strength. In each bin of opacity it sums the change that the clear image asks for, and the change
that the model made; their ratio is the strength that would be right. What clear pixels of a pair
differ by between the two days is taken off before.
"""

import argparse
import tempfile
import warnings
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from finish import copy_with_strength
from numpy.typing import NDArray

from geodecloud.model.model_file import default_model
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import open_scene
from geodecloud.restore.cells import cell_of
from geodecloud.restore.coarse import gated
from geodecloud.restore.coarse_pass import coarse_pass
from geodecloud.restore.memory import MemoryPlan
from geodecloud.restore.patches import Network
from geodecloud.restore.window_pass import window_pass
from geodecloud.settings import ModelSpec, Reading, Windows

BINS = (0.03, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
CLEAR = 0.03  # opacity
LEAST, LEAST_CLEAR = 300, 3000  # pixels of a bin that count; of clear land that is compared


def answer_of(path: Path, predictor: Predictor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return light (3, rows, columns) in model range and the answer of both passes (5, ...)."""
    reading = Reading(force=True)
    with open_scene(path, reading=reading) as scene:
        network = Network(predictor, calibrate(scene, reading).as_measured())
        windows, plan = Windows(), MemoryPlan()
        coarse = gated(
            coarse_pass(scene, network, windows, plan, None, cell_of(scene.shape)), windows
        )
        strips = list(window_pass(scene, network, windows, plan, guide=coarse))
        answers = [coarse.merge(strip.first, strip.light, strip.answer) for strip in strips]
    light = np.concatenate([strip.light for strip in strips], axis=1)
    return light, np.concatenate(answers, axis=1)


def main() -> None:
    """Print the table of all pairs."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", type=Path, default=default_model())
    options = parser.parse_args()
    pairs = options.data / "dev_pairs" / "sen12mscr20"
    asked: dict[float, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    made: dict[float, NDArray[np.float64]] = defaultdict(lambda: np.zeros(3))
    count: dict[float, int] = defaultdict(int)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.safetensors"
        copy_with_strength(options.model, 1.0, plain)
        predictor = load_predictor(ModelSpec(model=plain))
    for path in sorted((pairs / "cloudy").glob("*.tif")):
        light, answer = answer_of(path, predictor)
        clear, _ = answer_of(pairs / "clear" / path.name, predictor)
        opacity, lacking = answer[3], clear - np.clip(light, 0, 1)
        visible = opacity < CLEAR
        if visible.sum() > LEAST_CLEAR:
            lacking -= lacking[:, visible].mean(axis=1)[:, None, None]
        for low, high in pairwise(BINS):
            inside = (opacity >= low) & (opacity < high)
            if inside.sum() >= LEAST:
                asked[low] += lacking[:, inside].sum(axis=1)
                made[low] += answer[:3, inside].sum(axis=1)
                count[low] += 1
    print("opacity      red  green   blue  pairs")
    for low, high in pairwise(BINS):
        ratios = asked[low] / made[low]
        print(f"{low:.2f}-{high:.2f} " + " ".join(f"{r:6.2f}" for r in ratios), f"{count[low]:6}")


if __name__ == "__main__":
    main()
