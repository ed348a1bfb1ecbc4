"""Judge a model by the product: pairs, clear scenes, radiometries, shadows, cloudy scenes.

    python benchmarks/judge.py [--model MODEL] [--only SETS] [--pictures DIR] [--set KEY=VALUE ...]

Scenes are read from ``../shared/data``, or from --data, and restored as ``geodecloud`` does. A line
for each set: gains are PSNR in dB over the cloudy picture as it is; of clear scenes it is the share
of pixels that change.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from generality import REAL, reflectance, write
from numpy.typing import NDArray

from geodecloud.decloud import Report, decloud_scene
from geodecloud.evaluation.pairs import evaluate_pairs
from geodecloud.evaluation.tiles import evaluate_tiles
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.settings import ModelSpec, Settings

THIN = ("0316", "0581", "0746", "1302", "2729", "6553", "6780")
SERIES = ("t14", "t20", "t22", "t26", "t28")
PAIRS = "dev_pairs/sen12mscr20"
SUN = (-90, -40)  # pixels down and right from made clouds to their shadows
WHITE = 4500  # DN of made clouds


@dataclass(frozen=True)
class Source:
    """A scene and how it is read."""

    path: str
    how: dict[str, Any] = field(default_factory=dict)


CLEAR = {  # those with a star are trained on
    "T18": Source("scenes/S2_L1C_T18_10m_clear_4band_uint16.tif", {"bands": (3, 2, 1)}),
    "Demmin": Source("scenes/S2_L2A_Demmin_10m_EPSG4326_4band_uint16.tif", {"bands": (1, 2, 3)}),
    "Gulf": Source("clear_l1c/mockdata_gulf_city_444x456_rgb_uint16.tif"),
    "desert*": Source("clear_l1c/S2B_MSIL1C_20171022_T49JGM_600_rgb_uint16.tif"),
    "fields*": Source("clear_l1c/S2A_MSIL1C_20170527_T33UUB_600_rgb_uint16.tif"),
    "Calais": Source("scenes/calais_S2_L2A_TOC_coast_797x843_int16_nd32767.tif"),
}
CLOUDY = {
    "mol": Source("scenes/mol_S2_L1C_512x1024_rgb_uint16.tif"),
    "mol_icor": Source("scenes/mol_S2_L2A_icor_512x1024_rgb_uint16.tif"),
    "ukis": Source("scenes/S2_L1C_ukis_512_rgb_uint16_nocrs.tif"),
    "T33UXQ": Source("scenes/S2A_L2A_20210410_T33UXQ_60m_rgbnir_uint16.tif"),
    "T29UNU": Source("scenes/S2A_L2A_20221005_T29UNU_60m_rgb_uint16.tif"),
    "L8": Source("scenes/L8_L1_30m_cloudy_rgb_uint16DN.tif", {"scale": 50000, "offset": -5000}),
    "oncloudn_1": Source("scenes/oncloudn_L2A_chip_1.tif"),
    "oncloudn_2": Source("scenes/oncloudn_L2A_chip_2.tif"),
    "oncloudn_3": Source("scenes/oncloudn_L2A_chip_3.tif"),
}


class Judge:
    """A model with its settings, and where scenes and pictures lie."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.model: Path | None = options.model
        self.data, self.pictures = options.data, options.pictures
        if self.pictures:
            self.pictures.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(force=True, overwrite=True, **dict(options.set))
        self.predictor: Predictor = load_predictor(ModelSpec(model=self.model), options.threads)

    def restore(self, path: Path, name: str, how: dict[str, Any]) -> Report:
        """Restore a scene, with a picture where pictures are wanted."""
        if self.pictures:
            how = how | {"preview": self.pictures / f"{name.strip('*')}.png"}
        with tempfile.TemporaryDirectory() as folder:
            dst = Path(folder) / "out.tif"
            return decloud_scene(path, dst, self.predictor, self.settings.replace(**how))

    def gains(self, cloudy: Path, clear: Path, stems: list[str]) -> dict[str, float]:
        """Return the gain of each pair in dB."""
        scores = evaluate_pairs(cloudy, clear, self.model, stems, self.pictures, self.settings)
        return {
            stem: row["restored"]["psnr"] - row["identity"]["psnr"]
            for stem, row in scores["each"].items()
        }


def show(title: str, gains: dict[str, float], *, each: bool = True) -> None:
    """Print mean and least gain, and that of each pair."""
    values = list(gains.values())
    line = f"{title:<22} mean {np.mean(values):+6.2f}  worst {min(values):+6.2f}"
    if each:
        line += "  " + " ".join(f"{stem} {gain:+.1f}" for stem, gain in gains.items())
    print(line, flush=True)


def judge_pairs(judge: Judge) -> None:
    """Print the gains of the dev pairs."""
    for folder, title, wanted in (
        (PAIRS, "thin", lambda stem: stem in THIN),
        (PAIRS, "thick", lambda stem: stem not in THIN),
        ("dev_pairs/s2ts8", "s2ts8", lambda stem: stem in SERIES),
    ):
        days = [judge.data / folder / day for day in ("cloudy", "clear")]
        stems = sorted(path.stem for path in days[0].glob("*.tif") if wanted(path.stem))
        show(title, judge.gains(*days, stems))


def judge_radiometries(judge: Judge) -> None:
    """Print the gains of the thin pairs as L2A, true colour and stretched 8 bit."""
    for title, (make, dtype) in list(REAL.items())[1:]:
        with made_pairs(judge.data / PAIRS, make, dtype) as folder:
            show(title, judge.gains(folder / "cloudy", folder / "clear", list(THIN)))


@contextmanager
def made_pairs(source: Path, make: Callable[..., Any], dtype: str) -> Iterator[Path]:
    """Make a temporary folder of the thin pairs in another radiometry."""
    with tempfile.TemporaryDirectory() as name:
        for stem in THIN:
            days = [reflectance(source / day / f"{stem}.tif") for day in ("cloudy", "clear")]
            for day, picture in zip(("cloudy", "clear"), make(*days), strict=True):
                write(Path(name) / day / f"{stem}.tif", picture, dtype)
        yield Path(name)


def judge_clear(judge: Judge) -> None:
    """Print the changed share of clear scenes."""
    for title, report in reports(judge, CLEAR):
        print(
            f"clear {title:<16} changed {report.changed_fraction:.2%}  of it shadow "
            f"{report.shadow_fraction:.2%}  windows {computed(report):.0%}",
            flush=True,
        )


def judge_cloudy(judge: Judge) -> None:
    """Print what share of windows is computed, and of pixels changed."""
    for title, report in reports(judge, CLOUDY):
        print(
            f"{title:<22} windows {computed(report):.0%}  changed {report.changed_fraction:.0%}  "
            f"invented {report.invented_fraction:.0%}  shadow {report.shadow_fraction:.0%}",
            flush=True,
        )


def reports(judge: Judge, sources: dict[str, Source]) -> Iterator[tuple[str, Report]]:
    """Restore scenes one after the other."""
    for title, source in sources.items():
        yield title, judge.restore(judge.data / source.path, title, source.how)


def computed(report: Report) -> float:
    """Return the share of the windows that the network computed."""
    return 1 - report.windows_skipped / max(report.windows, 1)


def judge_gate(judge: Judge) -> None:
    """Print what share of the pixels that all windows would change the gate leaves alone."""
    for title, source in CLOUDY.items():
        changed = []
        with tempfile.TemporaryDirectory() as folder:
            for gate in ("off", "on"):
                dst, codes = (Path(folder) / f"{name}_{gate}.tif" for name in ("out", "codes"))
                settings = judge.settings.replace(**source.how, gate=gate, provenance=codes)
                report = decloud_scene(judge.data / source.path, dst, judge.predictor, settings)
                with rasterio.open(codes) as raster:
                    code = raster.read(1)
                changed.append((code > 0) & (code < 255))
        missed = (changed[0] & ~changed[1]).sum() / max(changed[0].sum(), 1)
        print(f"gate, {title:<16} misses {missed:.2%}  windows {computed(report):.0%}", flush=True)


def judge_tiles(judge: Judge, tiles: Path) -> None:
    """Print the changed share of 600 cloudless tiles, each alone."""
    scores = evaluate_tiles(tiles, judge.model, limit=600)["kinds"]
    print(f"EuroSAT, changed       {1 - scores['none']['untouched']:.2%}", flush=True)


@dataclass(frozen=True)
class Shaded:
    """A clear scene under made clouds and their shadows.

    dn: (3, rows, columns).
    inside: bool (rows, columns), in deep shadow, without cloud.
    land: bool (rows, columns), without cloud, in shadow or not.
    """

    dn: NDArray[np.uint16]
    inside: NDArray[np.bool_]
    land: NDArray[np.bool_]


def shadow_on(dn: NDArray[np.uint16], seed: int) -> Shaded:
    """Lay made clouds and their shadows over a clear scene."""
    rng = np.random.default_rng(seed)
    height, width = dn.shape[1:]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(rng.normal(size=(height, width)))
    spectrum /= np.maximum(np.hypot(fy, fx), 1 / 150) ** 1.6
    noise = np.fft.irfft2(spectrum, (height, width))
    cloud = (((noise - noise.mean()) / noise.std() - 1.0) * 3).clip(0, 1)
    shadow = np.roll(cloud, SUN, axis=(0, 1))
    base = np.percentile(dn, 0.5, axis=(1, 2))[:, None, None] * 0.9
    kept = 1 - np.array([0.62, 0.58, 0.5])[:, None, None] * shadow
    shaded = (1 - cloud) * (base + (dn - base) * kept) + cloud * WHITE
    land = cloud == 0
    return Shaded(np.rint(shaded).astype(dn.dtype), (shadow > 0.5) & land, land)


def judge_shadows(judge: Judge) -> None:
    """Print the error that is left of made shadows, in percent: relit, then filled.

    The second figure is of all land beside the clouds: shadows that are found where none are count,
    and the fringes of the clouds. Mol has real clouds, whose removal would count. The last figure
    is of shadows filled from another day, which stands for noise, a gain and an offset.
    """
    parts = {"T18": (CLEAR["T18"], (3, 2, 1), np.s_[:, 1000:1500, 200:900])}
    parts["mol"] = (CLOUDY["mol"], (1, 2, 3), np.s_[:, 500:1000, :])
    parts["fields*"] = (CLEAR["fields*"], (1, 2, 3), np.s_[:, :, :])
    for title, (source, bands, part) in parts.items():
        with rasterio.open(judge.data / source.path) as scene:
            clear = scene.read(bands)[part]
        shaded = shadow_on(clear, 3)
        before = np.abs(shaded.dn - clear.astype(float))
        name = f"shadow_{title.strip('*')}.png"
        how = {"preview": judge.pictures / name} if judge.pictures else {}
        relit = _error(judge, clear, shaded.dn, how)

        def left(error: NDArray[np.float64], where: NDArray[np.bool_]) -> str:
            return f"{error[:, where].sum() / before[:, where].sum():.0%}"  # noqa: B023

        line = f"shadow on {title:<12} {left(relit, shaded.inside)} of the error left"
        if title in CLEAR:
            line += f"; {left(relit, shaded.land)} on all land beside the clouds"
        day = np.rint(clear * 1.1 + np.random.default_rng(0).normal(50, 40, clear.shape))
        filled = _error(judge, clear, shaded.dn, {"shadows": "fill"})
        known = _error(judge, clear, shaded.dn, {"shadows": "fill"}, day.astype(clear.dtype))
        print(
            f"{line}; filled {left(filled, shaded.inside)}, from another day "
            f"{left(known, shaded.inside)}",
            flush=True,
        )


def _error(
    judge: Judge,
    clear: NDArray[Any],
    cloudy: NDArray[Any],
    how: dict[str, Any],
    reference: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Return the absolute error of a restored scene in DN, (3, rows, columns)."""
    grid = {"crs": "EPSG:32618", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 4000000)}
    grid |= dict(zip(("count", "height", "width"), clear.shape, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.tif" for name in ("cloudy", "reference", "out")]
        for path, dn in zip(paths, (cloudy, reference), strict=False):
            if dn is not None:
                with rasterio.open(path, "w", "GTiff", dtype=dn.dtype, **grid) as out:
                    out.write(dn)
        references = () if reference is None else (paths[1],)
        settings = judge.settings.replace(**how, references=references)
        decloud_scene(paths[0], paths[2], judge.predictor, settings)
        with rasterio.open(paths[2]) as scene:
            restored: NDArray[np.float64] = scene.read().astype(float)
    return np.abs(restored - clear)


def main() -> None:
    """Judge one model."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tiles", type=Path, help="EuroSAT, to judge held-out tiles")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", default="pairs,clear,radiometries,shadows,cloudy,gate,tiles")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        type=lambda text: (text.split("=")[0], _value(text.split("=")[1])),
        help="settings to change, like clear_below=0.05",
    )
    options = parser.parse_args()
    judge, wanted = Judge(options), options.only.split(",")
    for name, run in (
        ("pairs", judge_pairs),
        ("clear", judge_clear),
        ("radiometries", judge_radiometries),
        ("shadows", judge_shadows),
        ("cloudy", judge_cloudy),
        ("gate", judge_gate),
    ):
        if name in wanted:
            run(judge)
    if "tiles" in wanted and options.tiles:
        judge_tiles(judge, options.tiles)


def _value(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


if __name__ == "__main__":
    main()
