"""Measure how well bands besides red, green and blue are restored.

    python benchmarks/other_bands.py [pairs] [tiles] [--data ../shared/data] [--model MODEL]

pairs: the twenty real pairs of Sentinel-2 with their near infrared (B08). The gain of each in PSNR
over the cloudy scene, and the error of NDVI under thin cloud; then means over the thin pairs.
tiles: 100 multispectral tiles of EuroSAT, those of a class side by side, under thin cloud simulated
in all 13 bands by the law of training: opacity 1 - (1 - a)^(w^-exponent), w the wavelength over
green's. The root mean square error of each band in reflectance x 10000, before and after; of all
pixels, and apart of those that are filled since red, green and blue look opaque.
"""

import argparse
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from geodecloud.decloud import decloud_scene
from geodecloud.evaluation.pairs import evaluate_pairs
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.raster.provenance import RESTORED, Provenance, among, read_provenance
from geodecloud.settings import ModelSpec, Settings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
THIN = ("0316", "0581", "0746", "1302", "2729", "6553", "6780")
# EuroSAT's bands in their order, and their wavelengths in nm.
NAMES = (*(f"B{number:02}" for number in range(1, 13)), "B8A")
WAVELENGTHS = (443, 492, 560, 665, 704, 740, 783, 833, 945, 1375, 1614, 2202, 865)
GREEN, WHITE = 560, 2750  # nm; DN at the top of the model range


def join(folder: Path, parts: list[Path], names: tuple[str, ...]) -> None:
    """Write files of the same scene as one file with named bands."""
    bands = []
    for part in parts:
        with rasterio.open(part) as file:
            bands.append(file.read())
    write(folder / parts[0].name, np.concatenate(bands), names)


def write(path: Path, dn: NDArray[Any], names: tuple[str, ...]) -> None:
    """Write a GeoTIFF with named bands."""
    count, height, width = dn.shape
    shape = {"count": count, "height": height, "width": width, "dtype": dn.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape) as out:
        out.write(dn)
        out.descriptions = names


def pairs(data: Path, model: Path | None) -> None:
    """Print the scores of the real pairs."""
    source = data / "dev_pairs"
    with tempfile.TemporaryDirectory() as work:
        for kind in ("cloudy", "clear"):
            folder = Path(work, kind)
            folder.mkdir()
            for path in sorted((source / "sen12mscr20" / kind).glob("*.tif")):
                near_infrared = source / "sen12mscr20_nir" / kind / path.name
                join(folder, [path, near_infrared], ("B04", "B03", "B02", "B08"))
        scores = evaluate_pairs(Path(work, "cloudy"), Path(work, "clear"), model)
    print("PSNR of B08 in dB, error of NDVI under thin cloud: before, after, difference or ratio")
    gains, errors = {}, {}
    for stem, pair in scores["each"].items():
        others = pair["other_bands"]
        before, after = (others["833 nm"]["all"][row]["psnr"] for row in ("identity", "restored"))
        old, new = (others["NDVI"]["thin"][row]["mae"] for row in ("identity", "restored"))
        share = pair["by_opacity"]["thin"]["fraction"]
        gains[stem], errors[stem] = after - before, (share * old, share * new)
        mark = "thin" if stem in THIN else "    "
        ndvi = "" if math.isnan(old) else f"{old:6.3f} {new:6.3f} {new / old:5.2f}"
        print(f"{stem} {mark} {before:6.2f} {after:6.2f} {after - before:+6.2f}   {ndvi}")
    some = [stem for stem in THIN if scores["each"][stem]["changed_fraction"] > 0]
    for label, stems in (("thin", THIN), ("thin, with cloud found", some), ("all", gains)):
        chosen = [gains[stem] for stem in stems]
        old, new = (np.nansum([errors[stem][i] for stem in stems]) for i in (0, 1))
        print(
            f"{label}, {len(chosen)} pairs: {np.mean(chosen):+.2f} dB, worst {min(chosen):+.2f}; "
            f"error of NDVI under thin cloud {new / old:.0%}"
        )


def smooth_field(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise of power 1/f^3, 0..1: the shape of thin cloud."""
    down, right = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")
    waves = np.hypot(down, right)
    waves[0, 0] = np.inf
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * waves**-1.5).real
    low, high = np.percentile(field, (20, 99))
    cut: NDArray[np.float64] = np.clip((field - low) / (high - low), 0, 1)
    return cut


def tiles(data: Path, predictor: Predictor) -> None:
    """Print the error of each band of the tiles, before and after."""
    rng = np.random.default_rng(0)
    groups = ("all pixels", "restored under veil", "filled")
    squares, counts = np.zeros((2, 3, len(NAMES))), np.zeros(3)
    with tempfile.TemporaryDirectory() as work:
        src, dst = Path(work, "S2_scene.tif"), Path(work, "out.tif")
        for folder in sorted((data / "eurosat_ms100").iterdir()):
            tiles = []
            for path in sorted(folder.glob("*.tif")):
                with rasterio.open(path) as file:
                    tiles.append(file.read().astype(np.float64))
            rows = [np.concatenate(tiles[start : start + 5], axis=2) for start in (0, 5)]
            ground = np.concatenate(rows, axis=1)
            opacity = 0.4 * smooth_field(ground.shape[1:], rng)
            exponent, light = rng.uniform(0, 1.9), WHITE * rng.uniform(1, 3)
            seen = np.empty_like(ground)
            for band, wavelength in enumerate(WAVELENGTHS):
                taken = 1 - (1 - opacity) ** ((wavelength / GREEN) ** -exponent)
                seen[band] = (1 - taken) * ground[band] + taken * light
            write(src, np.rint(seen).astype(np.uint16), NAMES)
            codes = Path(work, "provenance.tif")
            settings = Settings(overwrite=True, force=True, provenance=codes)
            decloud_scene(src, dst, predictor, settings)
            with rasterio.open(dst) as file:
                restored = file.read().astype(np.float64)
            code = read_provenance(codes)
            parts = (code >= 0, among(code, RESTORED), code == Provenance.FILLED)
            for group, part in enumerate(parts):
                counts[group] += part.sum()
                for row, picture in enumerate((seen, restored)):
                    squares[row, group] += np.square(picture - ground)[:, part].sum(axis=1)
            before, after = (np.sqrt(np.square(x[7] - ground[7]).mean()) for x in (seen, restored))
            print(f"{folder.name:22} exponent {exponent:.1f}  B08 {before:5.0f} -> {after:5.0f}")
    before, after = np.sqrt(squares / counts[:, None])
    shares = (
        f"{group}, {share:.0%}" for group, share in zip(groups, counts / counts[0], strict=True)
    )
    print("band    nm  " + "  ".join(f"{share:24}" for share in shares))
    print(12 * " " + 3 * "before  after  ratio       ")
    for band, (name, nm) in enumerate(zip(NAMES, WAVELENGTHS, strict=True)):
        both = zip(before[:, band], after[:, band], strict=True)
        cells = (f"{old:6.0f} {new:6.0f} {new / old:6.2f}" for old, new in both)
        print(f"{name:4} {nm:5}  " + "      ".join(cells))


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="*", choices=["pairs", "tiles", []], default=[])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    if "pairs" in chosen.what or not chosen.what:
        pairs(chosen.data, chosen.model)
    if "tiles" in chosen.what or not chosen.what:
        tiles(chosen.data, load_predictor(ModelSpec(model=chosen.model)))


if __name__ == "__main__":
    main()
