"""Measure how well a reference of another date fills opaque cloud, with the built-in network.

    python benchmarks/reference.py CLEAR_DIR [--only STEMS]

CLEAR_DIR holds clear scenes as GeoTIFF (red, green, blue first, reflectance x 10000). Each is put
under simulated cumulus with clear gaps. Its reference is the clear scene under noise of ``NOISE``
DN, which stands for the differences between two dates, and under a gain and an offset of
``GAINS_AND_OFFSETS``. The script prints the gain that was found as a factor of the true gain, for
red, green and blue. Over the opaque pixels that the reference filled, it prints the PSNR of the
result beside that of the reference itself in the scene's own colours.
"""

import argparse
import logging
import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio

from geodecloud.data.simulate import Simulation, simulate_scene
from geodecloud.decloud import decloud_scene
from geodecloud.errors import GeodecloudWarning, SceneError
from geodecloud.evaluation.metrics import psnr
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.radiometry import Radiometry
from geodecloud.raster.provenance import REFERENCES, among
from geodecloud.settings import Policy, Reading, Settings

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
warnings.simplefilter("ignore", GeodecloudWarning)

GAINS_AND_OFFSETS = ((1.0, 0.0), (0.8, 150.0), (1.3, -200.0))
NOISE = 40.0
GRID = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 5500000)}
KNOWN = {"bands": (1, 2, 3), "scale": 10000.0, "offset": 0.0}


class Gains(logging.Handler):
    """Collect the gains that are found from the log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        if match := re.search(r"gain \[([^]]*)\]", record.getMessage()):
            self.found = [float(number) for number in match[1].split()]


def write(path: Path, dn: np.ndarray) -> Path:
    shape = dict(zip(("count", "height", "width"), dn.shape, strict=True))
    with rasterio.open(path, "w", driver="GTiff", dtype="uint16", **shape, **GRID) as out:
        out.write(np.clip(np.rint(dn), 1, 65535).astype(np.uint16))
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as scene:
        return scene.read()


def put_clouds(bare: Path, cloudy: Path, opacity: Path, seed: int) -> None:
    """Put the first cumulus over a scene that leaves a third of it clear and a tenth opaque."""
    while True:
        clouds = Simulation("cumulus", seed=seed, zoom=2, reading=Reading(**KNOWN))
        simulate_scene(bare, cloudy, opacity, clouds, overwrite=True)
        hidden = read(opacity)[0]
        if (hidden == 0).mean() > 1 / 3 and (hidden >= Policy().opaque_above).mean() > 0.1:
            return
        seed += 1


def fill_once(folder: Path, cloudy: Path, other: Path, predictor: Predictor) -> np.ndarray:
    """Restore a scene with a reference; return which opaque pixels the reference filled.

    Raises:
        SceneError: the reference shares too little visible land with the scene.
    """
    provenance = folder / "provenance.tif"
    settings = Settings(references=(other,), provenance=provenance, overwrite=True, **KNOWN)
    decloud_scene(cloudy, folder / "out.tif", predictor, settings)
    codes = read(provenance)[0]
    return among(codes, REFERENCES) & (read(folder / "opacity.tif")[0] >= Policy().opaque_above)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clear", type=Path)
    parser.add_argument("--only", help="file stems, separated by commas")
    options = parser.parse_args()
    stems = options.only.split(",") if options.only else None
    gains = Gains()
    logger = logging.getLogger("geodecloud")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(gains)
    predictor, to_model = load_predictor(), Radiometry().to_model
    print("scene   gain  found              filled     own  result  dB")
    errors, losses = [], []  # of the gains, relative; of the PSNR in dB
    for number, path in enumerate(sorted(options.clear.glob("*.tif"))):
        if stems and path.stem not in stems:
            continue
        with tempfile.TemporaryDirectory() as name, rasterio.open(path) as scene:
            folder, land = Path(name), scene.read((1, 2, 3)).astype(np.float64)
            bare, cloudy = write(folder / "bare.tif", land), folder / "cloudy.tif"
            put_clouds(bare, cloudy, folder / "opacity.tif", 100 * number)
            changed = land + np.random.default_rng(number).normal(0, NOISE, land.shape)
            for gain, offset in GAINS_AND_OFFSETS:
                other = write(folder / "other.tif", changed * gain + offset)
                gains.found = []
                try:
                    filled = fill_once(folder, cloudy, other, predictor)
                except SceneError as error:
                    print(f"{path.stem:<7} {gain:4.1f}  refused: {str(error).partition(': ')[2]}")
                    continue
                if not filled.any() or not gains.found:
                    print(f"{path.stem:<7} {gain:4.1f}  the reference fills nothing")
                    continue
                own, result = (
                    psnr(to_model(dn), to_model(land), filled)
                    for dn in (changed, read(folder / "out.tif"))
                )
                errors += [abs(found * gain - 1) for found in gains.found]
                losses.append(own - result)
                text = " ".join(f"{found * gain:.3f}" for found in gains.found)
                print(
                    f"{path.stem:<7} {gain:4.1f}  {text}  {filled.mean():7.1%} "
                    f"{own:7.2f} {result:7.2f} {result - own:+5.2f}",
                    flush=True,
                )
    if losses:
        half, most = np.percentile(errors, (50, 90))
        print(f"error of the gain: at most {half:.1%} in half of them, {most:.1%} in nine of ten")
        near = np.count_nonzero(np.array(losses) <= 1)
        print(f"within 1 dB of the reference itself: {near} of {len(losses)}")


if __name__ == "__main__":
    main()
