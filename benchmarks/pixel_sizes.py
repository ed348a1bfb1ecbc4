"""Judge real scenes that are resampled to other pixel sizes.

    python benchmarks/pixel_sizes.py [--data DIR] [--metres 60,20,10,5,2.5] [--cell PIXELS]

For each pixel size the script prints the gain on the thin pairs, PSNR in dB, and how much of clear
scenes changes. Gains on smaller pixels are judged on means of 10 m. Resampled pixels have no more
detail than those of 10 m. With --cell, the cells of the coarse pass have so many pixels a side.
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
from judge import CLEAR, PAIRS, THIN
from numpy.typing import NDArray
from scipy import ndimage

from geodecloud import decloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import GeodecloudWarning
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.settings import Settings

warnings.simplefilter("ignore", GeodecloudWarning)
warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)

Bands = NDArray[np.float64]  # (3, rows, columns), DN
PIXEL = 10.0  # metres, of the real scenes
WHITE = 2750  # DN
# Parts of 400 x 400 pixels: T18's turbid water, its land, a Gulf city, a desert coast, fields.
PARTS = (
    ("T18", 200, 1200),
    ("T18", 1000, 300),
    ("Gulf", 0, 0),
    ("desert*", 0, 0),
    ("fields*", 0, 0),
)
SIDE = 400


def read(path: Path, bands: tuple[int, ...] = (1, 2, 3)) -> Bands:
    """Return red, green and blue."""
    with rasterio.open(path) as scene:
        return scene.read(bands).astype(np.float64)


def resampled(dn: Bands, metres: float) -> Bands:
    """Return the bands in pixels of another size: means, or cubic splines for smaller ones."""
    times = round(metres / PIXEL)
    if times > 1:
        return averaged(dn, times)
    zoom = round(PIXEL / metres)
    out = [ndimage.zoom(band, zoom, order=3, mode="nearest", grid_mode=True) for band in dn]
    return np.clip(np.rint(out), 1, 65535)


def averaged(dn: Bands, times: int) -> Bands:
    """Return means of squares of pixels."""
    bands, rows, columns = dn.shape
    cut = dn[:, : rows // times * times, : columns // times * times]
    return cut.reshape(bands, rows // times, times, columns // times, times).mean((2, 4))


def restored(dn: Bands, metres: float, predictor: Predictor) -> NDArray[np.uint16]:
    """Return the DN as restored."""
    grid = {"crs": "EPSG:32632", "transform": rasterio.Affine(metres, 0, 5e5, 0, -metres, 5e6)}
    shape = dict(zip(("count", "height", "width"), dn.shape, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        src, dst = Path(folder) / "in.tif", Path(folder) / "out.tif"
        with rasterio.open(src, "w", "GTiff", dtype="uint16", **grid, **shape) as scene:
            scene.write(dn.astype(np.uint16))
        decloud_scene(src, dst, predictor, Settings(force=True))
        return read(dst).astype(np.uint16)


def psnr(image: Bands, truth: Bands) -> float:
    """Return the PSNR in dB; brighter pixels count as the white point."""
    error = np.clip(image, 0, WHITE) - np.clip(truth, 0, WHITE)
    return float(-10 * np.log10((error**2).mean() / WHITE**2))


def gains(data: Path, metres: float, predictor: Predictor) -> list[float]:
    """Return the gain in dB on each thin pair."""
    found = []
    for name in THIN:
        cloudy, clear = (read(data / PAIRS / day / f"{name}.tif") for day in ("cloudy", "clear"))
        out = restored(resampled(cloudy, metres), metres, predictor).astype(np.float64)
        if metres > PIXEL:
            cloudy, clear = resampled(cloudy, metres), resampled(clear, metres)
        else:
            out = averaged(out, round(PIXEL / metres))
        found.append(psnr(out, clear) - psnr(cloudy, clear))
    return found


def changed(data: Path, metres: float, predictor: Predictor) -> list[float]:
    """Return the fraction of the pixels that change in each clear part."""
    found = []
    for name, top, left in PARTS:
        source = CLEAR[name]
        dn = read(data / source.path, source.how.get("bands", (1, 2, 3)))
        part = resampled(dn[:, top : top + SIDE, left : left + SIDE], metres)
        out = restored(part, metres, predictor)
        found.append(float((out != part.astype(np.uint16)).any(axis=0).mean()))
    return found


def main() -> None:
    """Print a line for each pixel size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    sizes = "multiples or whole fractions of 10"
    parser.add_argument("--metres", default="60,30,20,10,5,3.333,2.5", help=sizes)
    parser.add_argument("--cell", type=int)
    given = parser.parse_args()
    if given.cell:
        decloud.find_cell = lambda _: given.cell
    predictor = load_predictor()
    print(f"{'pixel':>8}{'mean':>8}  gain on {', '.join(THIN)}; changed in clear parts")
    for metres in map(float, given.metres.split(",")):
        gain = gains(given.data, metres, predictor)
        each = " ".join(f"{one:+.1f}" for one in gain)
        clear = "  ".join(f"{one:.1%}" for one in changed(given.data, metres, predictor))
        print(f"{metres:6.1f} m{np.mean(gain):+8.2f}  {each};  {clear}", flush=True)


if __name__ == "__main__":
    main()
