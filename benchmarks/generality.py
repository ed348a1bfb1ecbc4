"""Score a model on clouds and radiometries that training never shows it.

    python benchmarks/generality.py CLEAR_DIR [--cloudy CLOUDY_DIR] [--only NAMES] [--json]

CLEAR_DIR holds clear Sentinel-2 L1C scenes as GeoTIFF (reflectance x 10000). The script makes pairs
of each in a temporary folder and scores them with ``geodecloud evaluate``:

- ``grey veil, 8 bit``: an 8-bit image, as map services show it, under a uniform grey haze;
- ``bright veil, 8 bit``: the same image under an uneven, brighter haze;
- ``power-law cloud``: a different synthesis: white noise filtered to a 1/f spectrum, tinted by the
  land, thin to thick, without shadow or parallax;
- ``power-law cloud, L2A``: the same over ground without path radiance;
- ``clear``: no cloud, as 8 bit (stretched, and like EuroSAT), L1C and L2A; each change is an error.

CLOUDY_DIR holds the same scenes on a cloudy day, under the same names. If it is given, the script
scores these real clouds, in L1C and in other radiometries: without path radiance (L2A), as a true
colour image of L2A (white = 0.25), and stretched between the percentiles of the clear day.

Each line has the mean PSNR of the cloudy and of the restored images, the mean and the least gain,
and the mean shares of changed pixels and of computed windows. --json prints one JSON object.
"""

import argparse
import json
import math
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geodecloud.errors import GeodecloudWarning
from geodecloud.evaluation.pairs import evaluate_pairs
from geodecloud.evaluation.tables import json_scores
from geodecloud.radiometry import MODEL_WHITE

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
warnings.simplefilter("ignore", GeodecloudWarning)

PATH_RADIANCE = np.array([0.022, 0.041, 0.069])[:, None, None]  # reflectance that L2A lacks
Pair = tuple[NDArray[np.float64], NDArray[np.float64]]  # cloudy and clear reflectance


def power_law(shape: tuple[int, int], rng: np.random.Generator, slope: float) -> NDArray:
    """Return noise with a 1/f^slope spectrum, normalised to 0..1."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = 1
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) / frequency**slope, shape)
    return (noise - noise.min()) / (noise.max() - noise.min())


def as_picture(clear: NDArray) -> NDArray:
    """Return an image as a map service shows it, 0..1: each band between its own percentiles."""
    low, high = np.percentile(clear, (0.5, 99.5), axis=(1, 2), keepdims=True)
    return np.clip((clear - low) / (high - low), 0, 1) * 0.8 + 0.08


def grey_veil(clear: NDArray, rng: np.random.Generator) -> Pair:
    picture, a = as_picture(clear), rng.uniform(0.25, 0.6)
    return (1 - a) * picture + a * rng.uniform(0.6, 0.85), picture


def bright_veil(clear: NDArray, rng: np.random.Generator) -> Pair:
    picture = as_picture(clear)
    a = 0.15 + 0.5 * power_law(clear.shape[1:], rng, 2.2)
    return (1 - a) * picture + a * 0.95, picture


def power_law_cloud(clear: NDArray, rng: np.random.Generator) -> Pair:
    field = power_law(clear.shape[1:], rng, rng.uniform(1.6, 2.4))
    a = np.clip((field - 0.4) / 0.6, 0, 1) * rng.uniform(0.5, 0.9)
    tint = clear.mean((1, 2), keepdims=True)
    cloud = rng.uniform(0.35, 0.6) * (0.7 + 0.3 * tint / tint.mean())
    return (1 - a) * clear + a * cloud, clear


def without_path_radiance(reflectance: NDArray) -> NDArray:
    """Return the reflectance of L1C about as L2A has it."""
    surface: NDArray = np.maximum(reflectance - PATH_RADIANCE, 0.002)
    return surface


def stretched(cloudy: NDArray, clear: NDArray) -> Pair:
    """Return both days stretched between, or a little beyond, the clear day's percentiles."""
    low, high = np.percentile(clear, (0.5, 99.5), axis=(1, 2), keepdims=True)
    as_shown = (np.clip((day - low) / (1.3 * (high - low)), 0, 1) for day in (cloudy, clear))
    cloudy, clear = (0.04 + 0.92 * day for day in as_shown)
    return cloudy, clear


REAL: dict[str, tuple[Callable[[NDArray, NDArray], Pair], str]] = {
    "real cloud, L1C": (lambda cloudy, clear: (cloudy, clear), "uint16"),
    "real cloud, L2A": (
        lambda cloudy, clear: (without_path_radiance(cloudy), without_path_radiance(clear)),
        "uint16",
    ),
    "real cloud, TCI": (
        lambda cloudy, clear: ((cloudy - PATH_RADIANCE) / 0.25, (clear - PATH_RADIANCE) / 0.25),
        "uint8",
    ),
    "real cloud, stretched": (stretched, "uint8"),
}
KINDS: dict[str, tuple[Callable[[NDArray, np.random.Generator], Pair], str]] = {
    "grey veil, 8 bit": (grey_veil, "uint8"),
    "bright veil, 8 bit": (bright_veil, "uint8"),
    "power-law cloud": (power_law_cloud, "uint16"),
    "power-law cloud, L2A": (
        lambda clear, rng: power_law_cloud(without_path_radiance(clear), rng),
        "uint16",
    ),
    "clear, 8 bit": (lambda clear, _: (as_picture(clear),) * 2, "uint8"),
    "clear, EuroSAT's 8 bit": (lambda clear, _: (clear / MODEL_WHITE,) * 2, "uint8"),
    "clear, L1C": (lambda clear, _: (clear, clear), "uint16"),
    "clear, L2A": (lambda clear, _: (without_path_radiance(clear),) * 2, "uint16"),
}


def reflectance(path: Path) -> NDArray[np.float64]:
    """Return red, green and blue of a scene, (3, rows, columns)."""
    with rasterio.open(path) as scene:
        dn: NDArray[np.float64] = scene.read((1, 2, 3)) / 10000
    return dn


def write(path: Path, picture: NDArray, dtype: str) -> None:
    """Write reflectance (or 0..1 of an 8-bit image) as DN."""
    dn = np.clip(np.rint(picture * (255 if dtype == "uint8" else 10000)), 1, np.iinfo(dtype).max)
    path.parent.mkdir(exist_ok=True)
    shape = {"count": 3, "height": dn.shape[1], "width": dn.shape[2]}
    with rasterio.open(path, "w", driver="GTiff", dtype=dtype, photometric="rgb", **shape) as out:
        out.write(dn.astype(dtype))


def main() -> None:
    """Make the pairs, score them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clear", type=Path)
    parser.add_argument("--cloudy", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--only", help="names without suffix, separated by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    stems = options.only.split(",") if options.only else None
    scenes = [p for p in sorted(options.clear.glob("*.tif")) if not stems or p.stem in stems]
    if missing := {*(stems or ())} - {path.stem for path in scenes}:
        parser.error(
            f"{options.clear}: {', '.join(sorted(missing))} not found; give names of .tif files"
        )
    if not scenes:
        parser.error(f"{options.clear}: no scenes in it; give a folder of .tif files")
    if not options.json:
        print(HEADER)
    figures = {}
    for number, (name, (make, dtype)) in enumerate((REAL if options.cloudy else KINDS).items()):
        with tempfile.TemporaryDirectory() as folder:
            for i, path in enumerate(scenes):
                clear = reflectance(path)
                if options.cloudy:
                    pair = make(reflectance(options.cloudy / path.name), clear)
                else:
                    pair = make(clear, np.random.default_rng([number, i]))
                for where, picture in zip(("cloudy", "clear"), pair, strict=True):
                    write(Path(folder) / where / path.name, picture, dtype)
            scores = evaluate_pairs(Path(folder) / "cloudy", Path(folder) / "clear", options.model)
        figures[name] = summarise(scores)
        if not options.json:
            print(line(name, figures[name]), flush=True)
    if options.json:
        print(json.dumps(json_scores(figures)))


def summarise(scores: dict[str, Any]) -> dict[str, float]:
    """Return the figures of one line; the gain of clear scenes is NaN, as they cannot gain."""
    rows = scores["each"].values()
    gains = [row["restored"]["psnr"] - row["identity"]["psnr"] for row in rows]
    gains = [gain for gain in gains if math.isfinite(gain)] or [math.nan]
    return {
        "images": scores["pairs"],
        "identity": scores["identity"]["psnr"],
        "restored": scores["restored"]["psnr"],
        "gain": math.fsum(gains) / len(gains),
        "least_gain": min(gains),
        "changed_fraction": scores["changed_fraction"],
        "computed_fraction": scores["computed_fraction"],
    }


HEADER = (
    f"{'PSNR in dB':<22} {'identity':>8} {'restored':>8} {'gain':>7} {'least':>7} "
    f"{'changed':>8} {'windows':>8}"
)


def line(name: str, figures: dict[str, float]) -> str:
    """Return one line of the table."""
    gains = (f"{figures[key]:+7.2f}" for key in ("gain", "least_gain"))
    gain, least = ("-".rjust(7) if "nan" in text else text for text in gains)
    return (
        f"{name:<22} {figures['identity']:8.2f} {figures['restored']:8.2f} {gain} {least} "
        f"{figures['changed_fraction']:8.2%} {figures['computed_fraction']:8.1%}"
    )


if __name__ == "__main__":
    main()
