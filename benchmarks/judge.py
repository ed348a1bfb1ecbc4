"""Judge a model on real pairs, clear scenes, other radiometries and shadows, in two passes.

    python benchmarks/judge.py MODEL [--pictures DIR] [--only SETS] [--tiles EUROSAT] [--how k=v]

Data is read from ``../shared/data``, or from --data. A line for each set: gains are PSNR in dB
over the cloudy picture as it is (model range, clipped to 0..1); of clear scenes it is the share of
pixels that change by more than half a DN.
"""

import argparse
import dataclasses
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from PIL import Image as PilImage

from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.restore.windows import WindowGrid

sys.path.insert(0, str(Path(__file__).parent))

from generality import PATH_RADIANCE, stretched, without_path_radiance
from two_pass import Combination, Image, Network, Passes, Restored, combine, run_passes

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)

WHITE = 0.275  # reflectance at the top of the model range
HALF_DN = 0.5 / 2750
THIN = ("0316", "0581", "0746", "1302", "2729", "6553", "6780")
SERIES = ("t14", "t20", "t22", "t26", "t28")


@dataclasses.dataclass(frozen=True)
class Source:
    """A scene: red, green, blue bands, DN per reflectance, offset, nodata."""

    path: str
    bands: tuple[int, int, int] = (1, 2, 3)
    scale: float = 10000.0
    offset: float = 0.0
    nodata: float | None = None


CLEAR = {
    "T18": Source("scenes/S2_L1C_T18_10m_clear_4band_uint16.tif", (3, 2, 1)),
    "Demmin": Source("scenes/S2_L2A_Demmin_10m_EPSG4326_4band_uint16.tif"),
    "Gulf": Source("clear_l1c/mockdata_gulf_city_444x456_rgb_uint16.tif"),
    "desert*": Source("clear_l1c/S2B_MSIL1C_20171022_T49JGM_600_rgb_uint16.tif"),
    "fields*": Source("clear_l1c/S2A_MSIL1C_20170527_T33UUB_600_rgb_uint16.tif"),
    "Calais": Source("scenes/calais_S2_L2A_TOC_coast_797x843_int16_nd32767.tif", nodata=32767),
}
CLOUDY = {
    "mol": Source("scenes/mol_S2_L1C_512x1024_rgb_uint16.tif"),
    "mol_icor": Source("scenes/mol_S2_L2A_icor_512x1024_rgb_uint16.tif"),
    "ukis": Source("scenes/S2_L1C_ukis_512_rgb_uint16_nocrs.tif"),
    "T33UXQ": Source("scenes/S2A_L2A_20210410_T33UXQ_60m_rgbnir_uint16.tif", nodata=0),
    "T29UNU": Source("scenes/S2A_L2A_20221005_T29UNU_60m_rgb_uint16.tif", offset=-1000, nodata=0),
    "L8": Source("scenes/L8_L1_30m_cloudy_rgb_uint16DN.tif", scale=50000, offset=-5000),
    "oncloudn_1": Source("scenes/oncloudn_L2A_chip_1.tif", nodata=0),
    "oncloudn_2": Source("scenes/oncloudn_L2A_chip_2.tif", nodata=0),
    "oncloudn_3": Source("scenes/oncloudn_L2A_chip_3.tif", nodata=0),
}


def read(data: Path, source: Source) -> tuple[Image, NDArray[np.bool_]]:
    """Read a scene: model range (3, H, W), beyond 1 too, and where it is valid."""
    with rasterio.open(data / source.path) as scene:
        dn = scene.read(source.bands)
    valid = np.ones(dn.shape[1:], bool)
    if source.nodata is not None:
        valid = (dn != source.nodata).all(axis=0)
    seen = (dn.astype(np.float32) + source.offset) / source.scale / WHITE
    return seen.clip(0, None).astype(np.float32), valid


def psnr(picture: Image, clear: Image) -> float:
    """PSNR in dB of a picture in model range."""
    return float(-10 * np.log10(np.mean((picture.clip(0, 1) - clear.clip(0, 1)) ** 2) + 1e-12))


@dataclasses.dataclass
class Judge:
    """A network, how its passes are combined, and where the data is."""

    network: Network
    how: dict[str, Combination]
    data: Path

    def __post_init__(self) -> None:
        fines = {how.fine for how in self.how.values()}
        self.which = ("told",) if fines == {"told"} else ("told", "untold")
        if fines <= {"untold", "none"}:
            self.which = ("untold",)

    def passes(self, seen: Image, valid: NDArray[np.bool_] | None = None) -> Passes:
        """Run the network over a picture in model range."""
        valid = np.ones(seen.shape[1:], bool) if valid is None else valid
        return run_passes(self.network, seen, valid, which=self.which)

    def each(self, passes: Passes) -> dict[str, Restored]:
        """Combine in all ways."""
        return {name: combine(passes, how) for name, how in self.how.items()}


def pair_gains(
    judge: Judge,
    folder: str,
    stems: list[str],
    make: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]] | None = None,
    steps: float = 0,
) -> dict[str, dict[str, float]]:
    """Return the gain of each pair by combination; ``make`` gives another radiometry."""
    gains: dict[str, dict[str, float]] = {name: {} for name in judge.how}
    for stem in stems:
        days = []
        for day in ("cloudy", "clear"):
            with rasterio.open(judge.data / "dev_pairs" / folder / day / f"{stem}.tif") as scene:
                days.append(scene.read((1, 2, 3)) / 10000)
        cloudy, clear = make(*days) if make else (days[0] / WHITE, days[1] / WHITE)
        if steps:
            cloudy, clear = (np.rint(x.clip(0, 1) * steps) / steps for x in (cloudy, clear))
        cloudy, clear = cloudy.clip(0, None).astype(np.float32), clear.astype(np.float32)
        for name, restored in judge.each(judge.passes(cloudy)).items():
            gains[name][stem] = psnr(restored.picture, clear) - psnr(cloudy, clear)
    return gains


def show_gains(title: str, gains: dict[str, dict[str, float]], *, each: bool) -> None:
    """Print a line for each combination."""
    for name, of in gains.items():
        values = list(of.values())
        line = f"{title:<18}{name:<10} mean {np.mean(values):+6.2f}  worst {min(values):+6.2f}"
        if each:
            line += "  " + " ".join(f"{stem} {gain:+.1f}" for stem, gain in of.items())
        print(line, flush=True)


def changed(restored: Restored, seen: Image, valid: NDArray[np.bool_]) -> float:
    """Return the share of valid pixels that change by half a DN or more, in percent."""
    return 100 * float((np.abs(restored.picture - seen).max(axis=0) > HALF_DN)[valid].mean())


def judge_pairs(judge: Judge) -> None:
    """Print the gains of the dev pairs."""
    folder = judge.data / "dev_pairs/sen12mscr20/cloudy"
    stems = sorted(path.stem for path in folder.glob("*.tif"))
    show_gains("thin", pair_gains(judge, "sen12mscr20", list(THIN)), each=True)
    thick = [stem for stem in stems if stem not in THIN]
    show_gains("thick", pair_gains(judge, "sen12mscr20", thick), each=False)
    names = sorted(p.stem for p in (judge.data / "dev_pairs/s2ts8/cloudy").glob("*.tif"))
    wanted = [name for name in names if name.split("_")[0] in SERIES or name in SERIES]
    show_gains("s2ts8", pair_gains(judge, "s2ts8", wanted), each=True)


def judge_radiometries(judge: Judge) -> None:
    """Print the gains of the thin pairs as L2A, true colour and stretched 8 bit."""
    kinds = {
        "thin L2A": (
            lambda a, b: (without_path_radiance(a) / WHITE, without_path_radiance(b) / WHITE),
            0,
        ),
        "thin TCI": (lambda a, b: ((a - PATH_RADIANCE) / 0.25, (b - PATH_RADIANCE) / 0.25), 255),
        "thin stretched": (stretched, 255),
    }
    for title, (make, steps) in kinds.items():
        show_gains(title, pair_gains(judge, "sen12mscr20", list(THIN), make, steps), each=True)


def judge_clear(judge: Judge, pictures: Path | None, most: int) -> None:
    """Print the changed share of clear scenes; those with a star are trained on.

    At most ``most`` rows and columns of each.
    """
    shares: dict[str, list[str]] = {name: [] for name in judge.how}
    for title, source in CLEAR.items():
        seen, valid = (part[..., :most, :most] for part in read(judge.data, source))
        for name, restored in judge.each(judge.passes(seen, valid)).items():
            shares[name].append(f"{title} {changed(restored, seen, valid):.2f}")
            if pictures:
                save(pictures / f"{title.strip('*')}_{name}.png", seen, restored)
    for name, of in shares.items():
        print(f"{'clear, changed %':<18}{name:<10} {'  '.join(of)}", flush=True)


def judge_tiles(judge: Judge, tiles: Path) -> None:
    """Print the changed share of 600 held-out tiles of EuroSAT, each alone."""
    from geodecloud.data.eurosat import load_eurosat

    pixels = load_eurosat(tiles, held_out=True, limit=600).pixels
    seen = (np.maximum(pixels.astype(np.float32) - 1, 0) / 254).astype(np.float32)
    answers = judge.network.windows(
        np.concatenate([seen, np.zeros((600, 5, 64, 64), np.float32)], axis=1),
        np.minimum(np.percentile(seen, 1, axis=(2, 3)), L1C_DARK_OBJECT).astype(np.float32),
    )
    for name, how in judge.how.items():
        touched = answers[:, 3] > how.ramp[0]
        if how.shadow_ramp:
            touched |= answers[:, 4] > how.shadow_ramp[0]
        print(f"{'EuroSAT, changed %':<18}{name:<10} {100 * touched.mean():.2f}", flush=True)


def shadow_on(seen: Image, seed: int) -> tuple[Image, NDArray[np.bool_]]:
    """Lay made shadows over a clear scene, and say where they are deep."""
    rng = np.random.default_rng(seed)
    height, width = seen.shape[1:]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    noise = rng.normal(size=(height, width))
    spectrum = np.fft.rfft2(noise) / np.maximum(np.hypot(fy, fx), 1 / 150) ** 1.6
    field = np.fft.irfft2(spectrum, (height, width))
    field = (field - field.mean()) / field.std()
    shadow = ((field - 0.8) * 3).clip(0, 1)
    base = np.percentile(seen, 0.5, axis=(1, 2))[:, None, None] * 0.9
    kept = 1 - np.array([0.62, 0.58, 0.5])[:, None, None] * shadow
    return (base + (seen - base) * kept).astype(np.float32), shadow > 0.5


def judge_shadows(judge: Judge, pictures: Path | None) -> None:
    """Print the error that is left inside made shadows on T18 and Mol, in percent."""
    crops = {"T18": np.s_[:, 1000:1500, 200:900], "mol": np.s_[:, 500:1000, :]}
    for title, source in (("T18", CLEAR["T18"]), ("mol", CLOUDY["mol"])):
        seen = read(judge.data, source)[0][crops[title]]
        shaded, inside = shadow_on(seen, 3)
        before = np.abs(shaded - seen).clip(0, 1)[:, inside].mean()
        for name, restored in judge.each(judge.passes(shaded)).items():
            after = np.abs(restored.picture - seen).clip(0, 1)[:, inside].mean()
            line = f"{100 * after / before:.0f} % of the error left"
            print(f"{'shadow on ' + title:<18}{name:<10} {line}", flush=True)
            if pictures:
                save(pictures / f"shadow_{title}_{name}.png", shaded, restored)


def judge_cloudy(judge: Judge, pictures: Path | None) -> None:
    """Print what share of the windows is computed, and of pixels changed; write pictures."""
    for title, source in CLOUDY.items():
        seen, valid = read(judge.data, source)
        for name, restored in judge.each(judge.passes(seen, valid)).items():
            share = 100 * windows_computed(restored.gate)
            shadow = 100 * float((restored.shadow > 0.1)[valid].mean())
            line = f"windows {share:.0f} %  changed {changed(restored, seen, valid):.0f} %"
            print(f"{title:<18}{name:<10} {line}  shadow {shadow:.1f} %", flush=True)
            if pictures:
                save(pictures / f"{title}_{name}.png", seen, restored)


def windows_computed(gate: NDArray[np.bool_]) -> float:
    """Return the share of windows that hold a pixel of the gate."""
    grid = WindowGrid(64, 16)
    corners = [(t, c) for t in grid.starts(gate.shape[0]) for c in grid.starts(gate.shape[1])]
    return float(np.mean([gate[t : t + 64, c : c + 64].any() for t, c in corners]))


def save(path: Path, seen: Image, restored: Restored) -> None:
    """Write the scene before and after, and opacity (red) and shadow (blue) beside them."""
    white = float(np.percentile(seen, 97).clip(0.4, 1.2))
    views = [(x / white).clip(0, 1) ** 0.8 for x in (seen, restored.picture)]
    found = np.stack([restored.opacity, np.zeros_like(restored.opacity), restored.shadow])
    whole = np.concatenate([*views, found.clip(0, 1)], axis=2)
    PilImage.fromarray((whole * 255).astype(np.uint8).transpose(1, 2, 0)).save(path)


def combinations(texts: list[str]) -> dict[str, Combination]:
    """Read ``name:key=value,...``: fields of :class:`Combination`, pairs as a/b."""
    out = {}
    for text in texts:
        name, _, rest = text.partition(":")
        fields: dict[str, object] = {}
        for item in filter(None, rest.split(",")):
            key, value = item.split("=")
            if key in ("ramp", "opaque", "shadow_ramp"):
                ends = tuple(float(v) for v in value.split("/"))
                fields[key] = ends if len(ends) == 2 else None
            elif key == "fine":
                fields[key] = value
            else:
                fields[key] = {"coarse": bool, "margin": int}.get(key, float)(float(value))
        out[name] = Combination(**fields)  # type: ignore[arg-type]
    return out


def main() -> None:
    """Judge one model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tiles", type=Path, help="EuroSAT, to judge held-out tiles")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", default="pairs,clear,radiometries,shadows,cloudy,tiles")
    parser.add_argument("--how", nargs="*", default=["told:"])
    parser.add_argument("--most", type=int, default=99999, help="rows, columns of clear scenes")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    judge = Judge(Network(options.model), combinations(options.how), options.data)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    wanted = options.only.split(",")
    if "pairs" in wanted:
        judge_pairs(judge)
    if "clear" in wanted:
        judge_clear(judge, options.pictures, options.most)
    if "radiometries" in wanted:
        judge_radiometries(judge)
    if "shadows" in wanted:
        judge_shadows(judge, options.pictures)
    if "tiles" in wanted and options.tiles:
        judge_tiles(judge, options.tiles)
    if "cloudy" in wanted:
        judge_cloudy(judge, options.pictures)


if __name__ == "__main__":
    main()
