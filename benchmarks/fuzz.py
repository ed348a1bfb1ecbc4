"""Feed damaged and lying files to the tool: it must refuse each in one line or restore it.

    python benchmarks/fuzz.py [--kind jp2] [--examples 1000] [--seed 0]

Scenes that are whole but awkward are drawn too, see ``fuzz_drawn.py``. Each kind runs in its own
process under a memory limit. A crash is an input that kills or hangs the process, raises an
exception of another kind, leaves a file behind, or gives pixels that differ from the input. At a
crash the kind stops and its input is kept; the exit code is 1.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from fuzz_drawn import DRAWN, Drawn, check_refusal, exit_of, identity, noise, write_scene
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geodecloud.decloud import decloud_scene
from geodecloud.settings import Settings

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.products import write_product  # not conftest, which imports torch

MAX_MEMORY = 2**30  # bytes, resident; Python and GDAL alone take a tenth
MAX_SECONDS = 30  # for one input
ODD = (0, 1, 2, 3, 7, 16, 255, 256, 65535, 10**6, 2**31 - 1, 2**31, 2**32 - 1)
BOMB = (
    b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(
        f'<!ENTITY {n} "{f"&{p};" * 10}">'.encode()
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + b"]>"
)
TEXTS = (BOMB, b"&i;", b"/vsicurl/http://127.0.0.1:9/x.tif", b"<", b">", b'"', b"</", b"../", b"\0")
NUMBERS = (b"0", b"-1", b"1e9", b"999999999999", b"NaN", b"0.5", b"1000000", b"x")


@st.composite
def damaged(draw: st.DrawFn, data: bytes, *, text: bool) -> bytes:
    """Draw the bytes of a file with one to four damages."""
    out = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(len(out) - 1, 0)))
        length = draw(st.sampled_from([1, 2, 4, 30, 300, 3000]))
        damage = draw(st.sampled_from(["flip", "cut", "drop", "double", "number", "insert"]))
        if damage == "flip" and out:
            out[position] ^= 1 << draw(st.integers(0, 7))
        elif damage == "cut":
            del out[position:]
        elif damage == "drop":
            del out[position : position + length]
        elif damage == "double":
            out[position:position] = out[position : position + length]
        elif damage == "number" and text:
            digits = [i for i, byte in enumerate(out) if 48 <= byte <= 57]
            if digits:
                at = draw(st.sampled_from(digits))
                out[at : at + 1] = draw(st.sampled_from(NUMBERS))
        elif damage == "number":
            out[position : position + 4] = draw(st.sampled_from(ODD)).to_bytes(4, "little")
        else:
            out[position:position] = draw(st.sampled_from(TEXTS) if text else st.binary(max_size=9))
    return bytes(out)


@st.composite
def lying(draw: st.DrawFn, data: bytes) -> bytes:
    """Draw a little-endian TIFF with wrong values in its directory."""
    out = bytearray(data)
    directory = int.from_bytes(out[4:8], "little")
    entries = int.from_bytes(out[directory : directory + 2], "little")
    for _ in range(draw(st.integers(1, 3))):
        entry = directory + 2 + 12 * draw(st.integers(0, entries - 1))
        start, size = draw(st.sampled_from([(0, 2), (2, 2), (4, 4), (8, 4), (8, 4), (8, 4)]))
        value = draw(st.sampled_from(ODD)) % 256**size
        out[entry + start : entry + start + size] = value.to_bytes(size, "little")
    return bytes(out)


class DamagedScene:
    """A folder with an intact scene, one file of which is damaged for each input."""

    def __init__(self, folder: Path, kind: str) -> None:
        folder.mkdir()
        self.scene, self.settings = folder / "in.tif", Settings()
        self.target, self.text = self.scene, False
        getattr(self, f"_make_{kind.replace('-', '_')}")(folder)
        self.intact = self.target.read_bytes()

    def _make_geotiff(self, folder: Path) -> None:
        tiles = {"tiled": True, "blockxsize": 32, "blockysize": 48, "compress": "deflate"}
        write_scene(folder / "in.tif", noise((3, 90, 70)), predictor=2, nodata=0, **tiles)

    def _make_lying_geotiff(self, folder: Path) -> None:
        write_scene(folder / "in.tif", noise((3, 90, 70)), blockysize=16)

    def _make_floats(self, folder: Path) -> None:
        write_scene(folder / "in.tif", noise((4, 50, 70), "float32"), compress="lzw", predictor=3)

    def _make_jp2(self, folder: Path) -> None:
        self.scene = self.target = folder / "in.jp2"
        shape = {"count": 3, "height": 90, "width": 70, "dtype": "uint16"}
        options = {"QUALITY": "100", "REVERSIBLE": "YES", "BLOCKXSIZE": 64, "BLOCKYSIZE": 64}
        with rasterio.open(self.target, "w", driver="JP2OpenJPEG", **shape, **options) as out:
            out.write(noise((3, 90, 70)))

    def _make_vrt(self, folder: Path) -> None:
        write_scene(folder / "source.tif", noise((3, 90, 70)))
        self.scene, self.text = folder / "in.vrt", True
        self.target = self.scene
        rasterio.shutil.copy(folder / "source.tif", self.target, driver="VRT")

    def _make_product(self, folder: Path) -> None:
        self.scene, self.text = write_product(folder, noise((3, 60, 60)) + np.uint16(1000)), True
        self.target = next(self.scene.glob("MTD_*.xml"))

    def _make_tile(self, folder: Path) -> None:
        self._make_product(folder)
        self.target = next(self.scene.rglob("MTD_TL.xml"))

    def _make_image(self, folder: Path) -> None:
        self._make_product(folder)
        self.target, self.text = next(self.scene.rglob("*_B03_10m.jp2")), False

    def _make_zip(self, folder: Path) -> None:
        self._make_product(folder)
        name = shutil.make_archive(str(folder / "in"), "zip", folder, self.scene.name)
        self.scene, self.target, self.text = Path(name), Path(name), False

    def _make_mask(self, folder: Path) -> None:
        write_scene(folder / "in.tif", noise((3, 90, 70)))
        self.target = folder / "mask.tif"
        write_scene(self.target, noise((1, 45, 35), "uint8"), compress="lzw")
        self.settings = Settings(mask=self.target)

    def _make_geojson(self, folder: Path) -> None:
        write_scene(folder / "in.tif", noise((3, 90, 70)))
        self.target, self.text = folder / "aoi.geojson", True
        ring = [[500100, 5499400], [500300, 5499400], [500300, 5499800], [500100, 5499400]]
        crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
        area = {"type": "Polygon", "coordinates": [ring], "crs": crs}
        self.target.write_text(json.dumps({"type": "Feature", "geometry": area, "crs": crs}))
        self.settings = Settings(aoi=self.target)

    def inputs(self, kind: str) -> st.SearchStrategy[bytes]:
        """Return a strategy for contents of the file that is damaged."""
        if kind == "lying-geotiff":
            return lying(self.intact) | damaged(self.intact, text=False)
        return damaged(self.intact, text=self.text)

    def try_one(self, data: bytes, outcomes: Counter[str]) -> None:
        """Run the tool on one input, and raise if that is a crash."""
        self.target.write_bytes(data)
        if self.target == self.scene and _claims_much(self.scene):
            outcomes["large, not run"] += 1
            return
        folder = self.scene.parent
        before = set(folder.rglob("*"))
        out = folder / "out.tif"
        code, message = exit_of(lambda: decloud_scene(self.scene, out, identity, self.settings))
        left = set(folder.rglob("*")) - before
        if code == 0:
            assert left == {out}, left
            if self.target == self.scene and self.scene.suffix != ".zip":
                with rasterio.open(out) as after, rasterio.open(self.scene) as before:
                    np.testing.assert_array_equal(after.read(), before.read())
            out.unlink()
        else:
            check_refusal(code, message)
            assert left == set(), left
        outcomes["restored" if code == 0 else "refused"] += 1


def _claims_much(path: Path) -> bool:
    """Return whether a file claims the size of a real scene or more."""
    try:
        with rasterio.open(path) as file:
            return 5e6 < file.width * file.height * file.count < 1e11
    except (RasterioError, UnicodeDecodeError):
        return False


KINDS = [
    *("geotiff", "lying-geotiff", "floats", "jp2", "vrt", "product", "tile", "image", "zip"),
    *("mask", "geojson", *DRAWN),
]


def fuzz(kind: str, examples: int, number: int, folder: Path) -> None:
    """Try many inputs of one kind in this process, and print the counts as JSON."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # OpenJPEG prints there
    resource.setrlimit(resource.RLIMIT_AS, (4 * MAX_MEMORY, 4 * MAX_MEMORY))
    outcomes = Counter[str]()
    scene: DamagedScene | Drawn
    if kind in DRAWN:
        scene = DRAWN[kind](folder / kind)
        cases = scene.inputs()
    else:
        scene = DamagedScene(folder / kind, kind)
        cases = scene.inputs(kind)
    begun = time.perf_counter()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def each(data: Any) -> None:
        signal.alarm(MAX_SECONDS)  # ends the process
        scene.try_one(data, outcomes)
        signal.alarm(0)

    each()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert memory < MAX_MEMORY, f"{memory / 2**20:.0f} MiB"
    facts = {"kind": kind, "inputs": sum(outcomes.values()), **outcomes}
    facts |= {"MiB": memory >> 20, "seconds": round(time.perf_counter() - begun, 1)}
    print(json.dumps(facts), flush=True)


def main() -> int:
    """Run each kind in its own process; return 1 if one of them crashes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        try:
            fuzz(options.kind, options.examples, options.seed, options.here)
        except Exception as error:
            while isinstance(error, BaseExceptionGroup):  # it failed, and not again
                error = error.exceptions[0]
            frame = traceback.extract_tb(error.__traceback__)[-1]
            print(f"{type(error).__name__} at {frame.name}: {str(error)[:500]}", flush=True)
            return 1
        return 0
    crashes = 0
    for kind in [options.kind] if options.kind else KINDS:
        folder = Path(tempfile.mkdtemp(prefix="geodecloud-fuzz-"))
        command = [sys.executable, __file__, "--here", str(folder), "--kind", kind]
        command += ["--examples", str(options.examples), "--seed", str(options.seed)]
        code = subprocess.run(command, check=False).returncode
        if code:
            crashes += 1
            print(f"{kind}: ended with {code}; the input is in {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    print(f"crashes: {crashes}")
    return min(crashes, 1)


if __name__ == "__main__":
    sys.exit(main())
