"""How well a reference of another date fills what is opaque, with the built-in network.

    python benchmarks/reference.py CLEAR_DIR [--only STEMS]

CLEAR_DIR holds clear scenes as GeoTIFF (red, green, blue first, reflectance x 10000). Each is put
under simulated cumulus with clear gaps. Its reference is the clear scene with noise of ``NOISE`` DN
(what differs between dates) under one of ``COLOURS``, a gain and an offset in DN. Printed are the
gain that was found, as a factor of the true one, for red, green and blue; and over the pixels that
are opaque and that the reference filled the PSNR of the result beside that of the reference itself,
its colours known.
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
from geodecloud.errors import SceneError
from geodecloud.evaluation.metrics import psnr
from geodecloud.model.checkpoint import default_model
from geodecloud.model.predictor import Predictor
from geodecloud.radiometry import Radiometry
from geodecloud.raster.provenance import Provenance
from geodecloud.settings import Policy, Settings

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)

COLOURS = ((1.0, 0.0), (0.8, 150.0), (1.3, -200.0))
NOISE = 40.0
GRID = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 5500000)}
KNOWN = {"bands": (1, 2, 3), "scale": 10000.0, "offset": 0.0}


class Gains(logging.Handler):
    """Listens for the gains that are found."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.found: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        if said := re.search(r"gain \[([^]]*)\]", record.getMessage()):
            self.found = [float(number) for number in said[1].split()]


def write(path: Path, dn: np.ndarray) -> Path:
    shape = dict(zip(("count", "height", "width"), dn.shape, strict=True))
    with rasterio.open(path, "w", driver="GTiff", dtype="uint16", **shape, **GRID) as out:
        out.write(np.clip(np.rint(dn), 1, 65535).astype(np.uint16))
    return path


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as scene:
        return scene.read()


def put_clouds(bare: Path, cloudy: Path, opacity: Path, seed: int) -> None:
    """The next cumulus that leaves a third of the scene clear and a tenth of it opaque."""
    while True:
        clouds = Simulation("cumulus", seed=seed, zoom=2, **KNOWN)
        simulate_scene(bare, cloudy, opacity, clouds, overwrite=True)
        hidden = read(opacity)[0]
        if (hidden == 0).mean() > 1 / 3 and (hidden >= Policy().opaque_above).mean() > 0.1:
            return
        seed += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clear", type=Path)
    parser.add_argument("--only", help="stems, by comma")
    given = parser.parse_args()
    stems = given.only.split(",") if given.only else None
    gains = Gains()
    logger = logging.getLogger("geodecloud")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(gains)
    predictor, to_model = Predictor(default_model()), Radiometry().to_model
    print("scene   gain  found              filled     own  result  dB")
    off, short = [], []
    for number, path in enumerate(sorted(given.clear.glob("*.tif"))):
        if stems and path.stem not in stems:
            continue
        with tempfile.TemporaryDirectory() as name, rasterio.open(path) as scene:
            folder, land = Path(name), scene.read((1, 2, 3)).astype(np.float64)
            bare, cloudy = write(folder / "bare.tif", land), folder / "cloudy.tif"
            put_clouds(bare, cloudy, folder / "opacity.tif", 100 * number)
            changed = land + np.random.default_rng(number).normal(0, NOISE, land.shape)
            for gain, offset in COLOURS:
                other = write(folder / "other.tif", changed * gain + offset)
                out, marks = folder / "out.tif", folder / "marks.tif"
                chosen = Settings(references=(other,), provenance=marks, overwrite=True, **KNOWN)
                gains.found = []
                try:
                    decloud_scene(cloudy, out, predictor, chosen)
                except SceneError as error:
                    print(f"{path.stem:<7} {gain:4.1f}  refused: {str(error).partition(': ')[2]}")
                    continue
                provenance = read(marks)[0]
                filled = (provenance >= Provenance.REFERENCE) & (provenance != Provenance.NODATA)
                filled &= read(folder / "opacity.tif")[0] >= Policy().opaque_above
                if not filled.any() or not gains.found:
                    print(f"{path.stem:<7} {gain:4.1f}  nothing is filled from the reference")
                    continue
                own, result = (
                    psnr(to_model(dn), to_model(land), filled) for dn in (changed, read(out))
                )
                off += [abs(found * gain - 1) for found in gains.found]
                short.append(own - result)
                text = " ".join(f"{found * gain:.3f}" for found in gains.found)
                print(
                    f"{path.stem:<7} {gain:4.1f}  {text}  {filled.mean():7.1%} "
                    f"{own:7.2f} {result:7.2f} {result - own:+5.2f}",
                    flush=True,
                )
    near = np.count_nonzero(np.array(short) <= 1)
    print(
        f"gains: half of them to {np.median(off):.1%}, nine in ten to {np.percentile(off, 90):.1%}"
    )
    print(f"within 1 dB of the reference itself: {near} of {len(short)}")


if __name__ == "__main__":
    main()
