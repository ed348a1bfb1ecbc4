"""Compare the outputs of the working tree with those of an earlier revision, byte for byte.

    python benchmarks/same_bytes.py REVISION

Both versions run on this machine, with the same Python and libraries, since the network's last
bits depend on the processor. The cases cover every option that changes pixels, arrays, batch and
COG; those that need ``../shared/data`` are left out where it is absent. A file is compared as a
whole; where only its tags differ, that is said. Exit code 1 where any pixel differs.
"""

import argparse
import hashlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CROP = 448  # pixels, of the large scenes
CACHE = ROOT / "runs" / "same_bytes"  # ignored by git


def crop(source: Path, target: Path, column: int = 0, row: int = 0, size: int = CROP) -> Path:
    """Cut a window out of a raster, with its tags and descriptions."""
    with rasterio.open(source) as scene:
        window = Window(column, row, min(size, scene.width - column), min(size, scene.height - row))
        profile = scene.profile | {
            "driver": "GTiff",
            "width": window.width,
            "height": window.height,
            "transform": scene.window_transform(window),
        }
        for key in ("blockxsize", "blockysize", "tiled"):
            profile.pop(key, None)
        with rasterio.open(target, "w", **profile) as out:
            out.write(scene.read(window=window))
            out.descriptions, out.colorinterp = scene.descriptions, scene.colorinterp
            out.update_tags(**scene.tags())
    return target


def split(source: Path, folder: Path) -> list[Path]:
    """Write each of the first three bands to a file of its own."""
    files = []
    with rasterio.open(source) as scene:
        profile = scene.profile | {"count": 1}
        for band, colour in enumerate(("red", "green", "blue"), 1):
            files.append(folder / f"{colour}.tif")
            with rasterio.open(files[-1], "w", **profile) as out:
                out.write(scene.read([band]))
    return files


def make_inputs(folder: Path) -> dict[str, Path]:
    """Make the scenes of the cases."""
    samples = {name: ROOT / "sample_data" / f"{name}.tif" for name in ("s2_cloudy", "l8_cloudy")}
    inputs = {**samples, "clear": ROOT / "sample_data" / "s2_clear.tif"}
    if SHARED.is_dir():
        scenes = SHARED / "scenes"
        places = {
            "t18": ("S2_L1C_T18_10m_clear_4band_uint16.tif", 700, 700),
            "l8": ("L8_L1_30m_cloudy_rgb_uint16DN.tif", 100, 100),
            "t33": ("S2A_L2A_20210410_T33UXQ_60m_rgbnir_uint16.tif", 500, 0),
            "t29": ("S2A_L2A_20221005_T29UNU_60m_rgb_uint16.tif", 400, 500),
            "tci": ("S2A_L2A_20221005_T29UNU_60m_TCI_uint8.tif", 400, 500),
            "ukis": ("S2_L1C_ukis_512_rgb_uint16_nocrs.tif", 0, 0),
            "demmin": ("S2_L2A_Demmin_10m_EPSG4326_4band_uint16.tif", 0, 0),
            "mol": ("mol_S2_L1C_512x1024_rgb_uint16.tif", 0, 0),
            "calais": ("calais_S2_L2A_TOC_coast_797x843_int16_nd32767.tif", 200, 200),
            "chip": ("oncloudn_L2A_chip_1.tif", 0, 0),
        }
        for name, (file, column, row) in places.items():
            inputs[name] = crop(scenes / file, folder / f"{name}.tif", column, row)
        pairs = SHARED / "dev_pairs" / "sen12mscr20"
        for kind in ("cloudy", "clear"):
            file = next((pairs / kind).glob("*4065*"))
            inputs[f"thick_{kind}"] = crop(file, folder / f"thick_{kind}.tif")
        inputs["scl"] = next((scenes / "aux").glob("*T29UNU*SCL*"), Path())
        inputs["safe"] = next((SHARED / "safe").glob("*.SAFE"))
    # A mask of the sample: its left half.
    with rasterio.open(inputs["s2_cloudy"]) as scene:
        half = np.zeros((1, scene.height, scene.width), np.uint8)
        half[:, :, : scene.width // 2] = 2
        profile = scene.profile | {"count": 1, "dtype": "uint8", "nodata": None}
        left, bottom, right, top = scene.bounds
    for key in ("photometric", "blockxsize", "blockysize", "tiled", "compress", "predictor"):
        profile.pop(key, None)
    inputs["half"] = folder / "half.tif"
    with rasterio.open(inputs["half"], "w", **profile) as out:
        out.write(half)
    middle = (left + right) / 2, (bottom + top) / 2
    (folder / "aoi.txt").write_text(f"{left},{bottom},{middle[0]},{middle[1]}")
    inputs["aoi"] = folder / "aoi.txt"
    return inputs


def make_cases(inputs: dict[str, Path], folder: Path) -> dict[str, list[str]]:
    """Name the arguments of each case; OUT stands for its folder."""
    sample = str(inputs["s2_cloudy"])
    usual = ["OUT/o.tif", "--provenance", "OUT/p.tif", "--preview", "OUT/v.png"]
    options = {
        "fp32": "--precision fp32",
        "window32": "--window 32 --overlap 8",
        "window128": "--window 128 --overlap 32",
        "overlap0": "--overlap 0",
        "linear": "--ramp linear",
        "keep": "--opaque keep",
        "opaque05": "--opaque-above 0.5",
        "limit": "--opaque-above 0.5 --fill-limit 200",
        "mask": f"--mask {inputs['half']}",
        "mask_values": f"--mask {inputs['half']} --mask-values 1,3",
        "mask_two": f"--mask {inputs['half']} --mask-values 2",
        "reference": f"--opaque-above 0.5 --reference {inputs['clear']}",
        "scale": "--scale 12000 --offset -100",
        "bands": "--bands 3,2,1",
        "aoi": f"--aoi {inputs['aoi'].read_text()}",
        "cog": "--format cog",
        "zstd": "--co COMPRESS=ZSTD --co TILED=YES",
        "threads": "--threads 1 --batch-size 7",
        "memory": "--max-memory 640MiB",
    }
    cases = {name: [sample, *usual, *text.split()] for name, text in options.items()}
    for name, path in inputs.items():
        if path.suffix == ".tif" and name not in ("half", "scl"):
            cases[f"scene_{name}"] = [str(path), *usual]
    files = split(inputs["s2_cloudy"], folder)
    colours = ["--red", str(files[0]), "--green", str(files[1]), "--blue", str(files[2])]
    cases["band_files"] = [*usual, *colours]
    cases["batch"] = ["batch", str(ROOT / "sample_data"), "OUT", "--preview", "{stem}.png"]
    if "t29" in inputs:
        cases |= {
            "veil_kept": [str(inputs["tci"]), *usual, "--keep-veil"],
            "nodata": [str(inputs["t29"]), *usual, "--opaque", "nodata"],
            "beyond": [
                *(str(inputs["t29"]), *usual),
                *("--fill-limit", "2000", "--beyond-limit", "nodata"),
            ],
            "scl": [str(inputs["t29"]), *usual, "--mask", str(inputs["scl"])],
            "no_crs_reference": [
                *(str(inputs["thick_cloudy"]), *usual),
                *("--reference", str(inputs["thick_clear"])),
            ],
            "four_bands": [str(inputs["t33"]), *usual, "--opaque-above", "0.4"],
            "safe": [str(inputs["safe"]), *usual, "--resolution", "60"],
            "safe_aoi": [
                *(str(inputs["safe"]), *usual, "--resolution", "60"),
                *("--aoi", "530000,5860000,556000,5886000"),
            ],
        }
    return cases


def hash_file(path: Path) -> dict[str, Any]:
    """Return the digests of a file, and of its pixels where it is a raster."""
    facts = {"file": hashlib.sha256(path.read_bytes()).hexdigest()}
    if path.suffix in (".tif", ".png"):
        with rasterio.open(path) as raster:
            digest = hashlib.sha256(raster.read().tobytes())
            about = (raster.profile, raster.descriptions, raster.overviews(1), raster.colorinterp)
        facts |= {"pixels": digest.hexdigest(), "profile": str(about)}
    return facts


def run_command(arguments: list[str]) -> int:
    """Run the command line in this process; return the exit code."""
    sys.argv = ["geodecloud", *arguments]
    try:
        runpy.run_module("geodecloud", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def run_arrays(inputs: dict[str, Path]) -> dict[str, Any]:
    """Restore arrays through the Python interface."""
    import geodecloud

    results = {}
    with rasterio.open(inputs["s2_cloudy"]) as scene:
        dn = scene.read()
    arrays = {"uint16": dn, "float32": (dn / np.float32(10000)).astype(np.float32)}
    for name, array in arrays.items():
        restored, provenance, _ = geodecloud.decloud_array(array[:3, :300, :200], nodata=0)
        for what, values in (("restored", restored), ("provenance", provenance)):
            digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
            results[f"{name}_{what}"] = {"file": digest, "pixels": digest}
    return results


def record(only: str) -> dict[str, Any]:
    """Run all cases whose name contains ``only``, and hash what they write."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = make_inputs(folder)
        for case, arguments in make_cases(inputs, folder).items():
            if only not in case:
                continue
            out = folder / f"out_{case}"
            out.mkdir()
            code = run_command([a.replace("OUT", str(out), 1) for a in arguments])
            results[case] = {"exit": {"file": code}} | {
                path.name: hash_file(path)
                for path in sorted(out.iterdir())
                if path.suffix in (".tif", ".png")
            }
        if only in "arrays":
            results["arrays"] = run_arrays(inputs)
    return results


def results_of(tree: Path, only: str) -> dict[str, Any]:
    """Run this script's cases with the package of another folder."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, __file__, "--record", file.name, "--only", only]
        done = subprocess.run(  # its own words are shown below
            command, env=environment, cwd=tree, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{tree}: {done.stderr[-3000:]}")
        return json.loads(Path(file.name).read_text())


def earlier(revision: str, only: str) -> dict[str, Any]:
    """Return the results of a revision, from the cache where they were recorded before."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.check_output([*git, "rev-parse", revision], text=True).strip()
    script = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    cache = CACHE / f"{commit[:12]}-{script}-{only}.json"
    if not cache.exists():
        with tempfile.TemporaryDirectory() as name:
            tree = Path(name) / "tree"
            subprocess.check_call([*git, "worktree", "add", "-q", "--detach", str(tree), commit])
            try:
                results = results_of(tree, only)
            finally:
                subprocess.check_call([*git, "worktree", "remove", "--force", str(tree)])
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps(results))
    return json.loads(cache.read_text())


def compare(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Print what differs; return whether any pixel, profile or file name does."""
    files = wrong = tagged = 0
    for case in sorted(old.keys() | new.keys()):
        before, after = old.get(case, {}), new.get(case, {})
        for name in sorted(before.keys() | after.keys()):
            files += 1
            one, other = before.get(name), after.get(name)
            if one == other:
                continue
            if one and other and "pixels" in one and one["pixels"] == other["pixels"]:
                same = one.get("profile") == other.get("profile")
                tagged += same
                if same:
                    print(f"{case}/{name}: other tags or file layout, same pixels")
                    continue
            wrong += 1
            print(f"{case}/{name}: DIFFERS")
    print(f"{len(new)} cases, {files} files: {wrong} differ in pixels, {tagged} in tags alone")
    return wrong > 0


def main() -> None:
    """Parse the arguments, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", nargs="?", default="HEAD")
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    parser.add_argument("--record", help="write the results of the imported package to this file")
    arguments = parser.parse_args()
    if arguments.record:
        Path(arguments.record).write_text(json.dumps(record(arguments.only)))
        return
    old = earlier(arguments.revision, arguments.only)
    sys.exit(compare(old, results_of(ROOT, arguments.only)))


if __name__ == "__main__":
    main()
