"""Measure how far shadows are still seen in real scenes, without a clear image.

    python benchmarks/seen_shadows.py --data DIR [--model MODEL] [--threads N]

The brightness of 4x4 pixels is compared with the mean of the sunlit land within 1.2 km at 10 m, as
the root mean square of the log ratio. Where shadows are relit well, blocks in shadow differ from
that land as blocks in the sun do. Less than that means that differences of the land are lost.
"""

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from judge import CLOUDY, Source
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from geodecloud.decloud import decloud_scene
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.restore.filters import Floats, cell_sums
from geodecloud.settings import Limits, ModelSpec, Settings

BLOCK = 4  # pixels along a side
BESIDE = 61  # blocks along a side of the land around
SHADED, SUNLIT, CLOUDLESS = 30, 2, 10  # percent: least shadow; most shadow; most opacity
LEAST_SUNLIT = 0.05  # fraction of the land around
DARKEST, LEAST_DN = 0.5, 5.0  # percentile taken for path radiance; of brightness without it
MOST = 3.0  # bound of the log ratio


def blocks(pixels: NDArray[Any]) -> Floats:
    """Return the means of blocks of (bands, rows, columns), without partial blocks."""
    rows, columns = (length - length % BLOCK for length in pixels.shape[1:])
    return cell_sums(pixels[:, :rows, :columns].astype(np.float32), BLOCK) / BLOCK**2


def difference(brightness: Floats, beside: Floats, where: NDArray[np.bool_]) -> float:
    """Return the root mean square of the log ratio of blocks to the land beside."""
    ratio = np.maximum(brightness[where], LEAST_DN) / np.maximum(beside[where], LEAST_DN)
    return float(np.sqrt(np.square(np.clip(np.log(ratio), -MOST, MOST)).mean()))


def measure(source: Source, data: Path, predictor: Predictor) -> tuple[int, float, float, float]:
    """Return blocks in shadow, and the differences in the sun, in shadow and where relit."""
    with tempfile.TemporaryDirectory() as folder:
        out, found = Path(folder) / "out.tif", Path(folder) / "found.tif"
        settings = Settings(force=True, **source.how).replace(opacity=found)
        decloud_scene(data / source.path, out, predictor, settings)
        pixels = []
        for path in (data / source.path, out, found):
            with rasterio.open(path) as scene:
                pixels.append(scene.read(tuple(range(1, min(scene.count, 3) + 1))))
    before, after, (opacity, shadow) = (blocks(each) for each in pixels)
    clear = (opacity < CLOUDLESS) & (before > 0).all(axis=0)
    dark = np.percentile(before[:, clear], DARKEST, axis=1)[:, None, None]
    seen, relit = ((each - dark).mean(axis=0) for each in (before, after))
    sunlit, shaded = clear & (shadow < SUNLIT), clear & (shadow > SHADED)
    share = uniform_filter(sunlit.astype(float), BESIDE)
    beside = uniform_filter(seen * sunlit, BESIDE) / np.maximum(share, 1e-9)
    known = share > LEAST_SUNLIT
    sunlit, shaded = sunlit & known, shaded & known
    cases = ((seen, sunlit), (seen, shaded), (relit, shaded))
    return int(shaded.sum()), *(difference(each, beside, where) for each, where in cases)


def main() -> None:
    """Measure the cloudy scenes with many shadows."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--threads", type=int, default=Limits().thread_count)
    options = parser.parse_args()
    predictor = load_predictor(ModelSpec(model=options.model), options.threads)
    print(f"{'':<12}{'blocks':>8}{'in the sun':>13}{'in shadow':>12}{'relit':>8}")
    for title, source in CLOUDY.items():
        count, sun, before, after = measure(source, options.data, predictor)
        if count:
            print(f"{title:<12}{count:>8}{sun:>13.2f}{before:>12.2f}{after:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
