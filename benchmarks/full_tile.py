"""Time a full Sentinel-2 tile, and other tools that run the same network over a scene.

    python benchmarks/full_tile.py CLEAR.tif [--size 10980] [--rows N] [--part 2048] [--threads 2]
                                   [--against REVISION] [--device cpu] [--only-full]
    python benchmarks/full_tile.py CLEAR.tif --shares 0,10,30,60,100 [--rows N] [--part 1024]

CLEAR.tif is a real clear scene. In a temporary folder it is mirrored to the size of a tile and put
under clouds. The script prints the seconds of one run from end to end, the seconds of the network
alone on the same windows at the same precision, the peak memory, and the share of the windows that
was computed; then the same for a tile with 60 % nodata. The network alone is timed before and after
the run, to show other load on the machine. With --against, an earlier revision of the repository
restores the same tile right after, with its own model.

Then four ways run the network over a part of the tile: ours; one window at a time, each read and
written by itself, as in the article; MONAI's sliding_window_inference; and geoai's predict_geotiff.
The last two need ``pip install --no-deps monai geoai-py`` and ``pip install geopandas leafmap
torchinfo``. All have the same windows, overlap and weights, where these can be set. Pixels are
compared with ours before the composite.

With --shares, one table instead: for each share, in percent, so much of the tile's columns, from
the left, is under clouds. Beside the run from end to end stand the share of the windows that was
computed, the seconds of plain reading and of the network alone on those windows and on those of the
coarse pass, and how many times as long the other ways take for the same tile. They compute all
windows whatever there is, so they are timed on the part, and their seconds are those of a window
times the number of windows.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from geodecloud.data.simulate import Simulation, simulate_scene
from geodecloud.errors import GeodecloudWarning
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.inference import folded
from geodecloud.model.inputs import generator_input
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.radiometry import BRIGHTEST, Radiometry
from geodecloud.raster.scene import open_scene
from geodecloud.restore import patches as restoring
from geodecloud.restore.blend import ramp_weights
from geodecloud.restore.memory import Footprint, plan_memory
from geodecloud.restore.window_pass import window_pass
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import Limits, ModelSpec, Reading, Windows

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
warnings.simplefilter("ignore", GeodecloudWarning)

ROOT = Path(__file__).resolve().parent.parent
GRID = WindowGrid()
L1C = Radiometry()
DARK_OBJECT = np.array(L1C.dark_object, np.float32)
PROFILE = {
    "driver": "GTiff",
    "dtype": "uint16",
    "count": 3,
    "tiled": True,
    "blockxsize": 512,
    "blockysize": 512,
    "compress": "deflate",
    "predictor": 2,
    "photometric": "rgb",
}
TIMED_WINDOWS = 1024  # at most, on which the network alone is timed


def make_tile(clear: Path, path: Path, height: int, width: int, nodata: float = 0.0) -> Path:
    """Make a cloudy scene of this size from a real one; its left fraction ``nodata`` is empty."""
    with rasterio.open(clear) as scene:
        bands = (3, 2, 1) if scene.count == 4 else (1, 2, 3)
        dn = scene.read(bands)
    rows = np.pad(np.arange(dn.shape[1]), (0, max(0, height - dn.shape[1])), "symmetric")[:height]
    columns = np.pad(np.arange(dn.shape[2]), (0, max(0, width - dn.shape[2])), "symmetric")[:width]
    bare = path.with_name("clear.tif")
    with rasterio.open(bare, "w", height=height, width=width, nodata=0, **PROFILE) as out:
        for top in range(0, height, 512):
            part = dn[:, rows[top : top + 512]][:, :, columns]
            part[:, :, : round(width * nodata)] = 0
            out.write(part, window=Window(0, top, width, part.shape[1]))
    clouds = Simulation(
        "cumulus", seed=3, zoom=6, reading=Reading(bands=(1, 2, 3), scale=10000, offset=0)
    )
    simulate_scene(bare, path, path.with_name("opacity.tif"), clouds, overwrite=True)
    return path


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Check an earlier revision out into a temporary folder."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        subprocess.check_call([*git, "add", "-q", "--detach", str(tree), revision])
        try:
            yield tree
        finally:
            subprocess.check_call([*git, "remove", "--force", str(tree)])


def run(scene: Path, threads: int, tree: Path = ROOT, device: str = "auto") -> dict[str, float]:
    """Run ``geodecloud SRC DST`` as a process; return its JSON, and its peak memory in MiB.

    tree: the checkout whose package runs.
    """
    out = scene.with_name("out.tif")
    command = [sys.executable, "-m", "geodecloud", str(scene), str(out), "--overwrite", "--json"]
    command += ["-q", "--scale", "10000", "--offset", "0", "--threads", str(threads)]
    command += ["--device", device]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tree, env=environment)
    peak = 0.0
    while process.poll() is None:
        # ru_maxrss would count the parent process too.
        status = Path(f"/proc/{process.pid}/status").read_text()
        if "VmHWM:" in status:
            peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        time.sleep(0.05)
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"failed: {command}")
    report = json.loads(process.stdout.read())
    return report | {"wall": seconds, "memory": peak, "bytes": out.stat().st_size}


def patches_of(scene: Path, count: int) -> NDArray[np.float32]:
    """Return the first windows of a scene, in model range."""
    with rasterio.open(scene) as file:
        columns, rows = GRID.starts(file.width), GRID.starts(file.height)
        patches = []
        for top in rows:
            strip = L1C.to_model(file.read(window=Window(0, top, file.width, GRID.size)))
            patches += [strip[:, :, left : left + GRID.size] for left in columns]
            if len(patches) >= count:
                break
    return np.stack(patches[:count])


def network_alone(predictor: Predictor, patches: NDArray[np.float32]) -> float:
    """Return the seconds per window."""
    begun = time.perf_counter()
    predictor(patches, DARK_OBJECT)
    return (time.perf_counter() - begun) / len(patches)


def full_tiles(
    clear: Path, folder: Path, shape: tuple[int, int], options: argparse.Namespace
) -> None:
    """Compare a whole run with the network alone, on a full tile and on a mostly empty one."""
    threads, revision, device = options.threads, options.against, options.device
    print(
        f"{'scene':<24}{'end to end':>12}{'network':>10}{'ratio':>7}{'memory':>10}{'output':>9}"
        f"{'windows':>9}"
    )
    predictor = load_predictor(ModelSpec(device=device), threads)
    seconds = {}
    scenes = [(f"{shape[0]} x {shape[1]}", 0.0), ("60 % nodata", 0.6)]
    for name, empty in scenes[: 1 if options.only_full else 2]:
        scene = make_tile(clear, folder / "tile.tif", *shape, empty)
        patches = patches_of(scene, TIMED_WINDOWS)
        before = network_alone(predictor, patches)
        report = run(scene, threads, device=device)
        after = network_alone(predictor, patches)
        computed = report["windows"] - report["windows_skipped"]
        alone = (before + after) / 2 * computed
        seconds[empty] = report["wall"]
        print(
            f"{name:<24}{report['wall']:>10.1f} s{alone:>8.1f} s{report['wall'] / alone:>7.2f}"
            f"{report['memory']:>6.0f} MiB{report['bytes'] / 2**20:>5.0f} MiB"
            f"{computed / report['windows']:>9.0%}",
            flush=True,
        )
        if revision and not empty:
            compare(scene, threads, revision, report["wall"])
    if not options.only_full:
        print(f"60 % nodata costs {seconds[0.6] / seconds[0.0]:.0%} of a full one")


def compare(scene: Path, threads: int, revision: str, seconds: float) -> None:
    """Print how long an earlier revision takes, and what part of that this version took."""
    with checked_out(revision) as tree:
        earlier = run(scene, threads, tree)
    print(
        f"{f'by {revision[:12]}':<24}{earlier['wall']:>10.1f} s: this version takes "
        f"{seconds / earlier['wall']:.2f} of that",
        flush=True,
    )


def blended(scene: Path, predictor: Predictor, path: Path, threads: int) -> None:
    """Run our windows, network and blend, without coarse pass and composite, as other tools do."""
    network = restoring.Network(predictor, L1C)
    with open_scene(scene) as source:
        height, width = source.shape
        plan = plan_memory(Footprint(width, 6, 512 * width), GRID, Limits(threads=threads))
        with rasterio.open(path, "w", height=height, width=width, **PROFILE) as out:
            for strip in window_pass(source, network, Windows(), plan):
                restored = np.clip(strip.light, 0, 1) + strip.answer[:3]
                window = Window(0, strip.first, width, restored.shape[1])
                out.write(_dn(restored), window=window)


def _dn(model: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(np.clip(model, 0, 1) * L1C.span).astype(np.uint16)


class Network(torch.nn.Module):
    """The same folded network as a module: light as :func:`light` gives it, strength included."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.network = folded(load_generator(predictor.info.path)[0])
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.strength = predictor._strength
        self.plan = predictor.info.plan

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        model_input = generator_input(self.plan, x, torch.from_numpy(DARK_OBJECT))
        output = self.network(model_input.contiguous(memory_format=torch.channels_last))
        factor = torch.from_numpy(self.strength(output[:, 3:4].numpy()))
        base = x.clamp(0, 1)
        return base + factor * (output[:, :3] - base)


def light(dn: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return what the network sees of DN: model range, and light beyond it."""
    return L1C.to_model(dn, BRIGHTEST)


def one_by_one(scene: Path, network: Network, path: Path) -> None:
    """Read, restore and write one window at a time without a blend, as in the article."""
    with rasterio.open(scene) as file, rasterio.open(path, "w", **file.profile) as out:
        for top in GRID.starts(file.height):
            for left in GRID.starts(file.width):
                window = Window(left, top, GRID.size, GRID.size)
                patch = torch.from_numpy(light(file.read(window=window)))[None]
                out.write(_dn(network(patch)[0].numpy()), window=window)


def by_monai(scene: Path, network: Network, path: Path) -> None:
    """Run MONAI on the whole scene as one tensor, with our weights to compare the pixels."""
    from monai.inferers import sliding_window_inference

    weights = ramp_weights(GRID)
    with rasterio.open(scene) as file, rasterio.open(path, "w", **file.profile) as out:
        x = torch.from_numpy(light(file.read()))[None]
        restored = sliding_window_inference(
            inputs=x,
            roi_size=GRID.size,
            sw_batch_size=16,
            predictor=network,
            overlap=GRID.overlap / GRID.size,
            roi_weight_map=torch.from_numpy(weights[:, None] * weights),
        )
        out.write(_dn(restored[0].numpy()))


def by_geoai(scene: Path, network: Network, path: Path) -> None:
    """Run geoai's tiled inference for a custom model, with its raised-cosine blend."""
    from geoai.inference import predict_geotiff

    predict_geotiff(
        *(network, str(scene), str(path), GRID.size, GRID.overlap, 16),
        num_classes=3,
        output_dtype="uint16",
        output_nodata=0,
        blend_mode="cosine",
        preprocess_fn=light,
        postprocess_fn=_dn,
        device="cpu",
        compress="deflate",
        verbose=False,
    )


def under_clouds(share: float, cloudy: Path, clear: Path, path: Path) -> Path:
    """Write a tile whose left share, 0..1, is under clouds."""
    with (
        rasterio.open(cloudy) as covered,
        rasterio.open(clear) as bare,
        rasterio.open(path, "w", **bare.profile) as out,
    ):
        border = round(share * bare.width)
        for top in range(0, bare.height, 512):
            window = Window(0, top, bare.width, min(512, bare.height - top))
            rows = bare.read(window=window)
            rows[:, :, :border] = covered.read(window=window)[:, :, :border]
            out.write(rows, window=window)
    return path


def reading_seconds(scene: Path) -> float:
    """Return the seconds to read and decompress a scene once."""
    begun = time.perf_counter()
    with rasterio.open(scene) as file:
        for top in range(0, file.height, 512):
            file.read(window=Window(0, top, file.width, min(512, file.height - top)))
    return time.perf_counter() - begun


def by_share(
    clear: Path, folder: Path, shape: tuple[int, int], options: argparse.Namespace
) -> None:
    """Compare whole runs over tiles of which more and more is under clouds."""
    threads, device = options.threads, options.device
    per_window = other_ways(clear, folder, options.part, threads)
    cloudy = make_tile(clear, folder / "cloudy.tif", *shape)
    predictor = load_predictor(ModelSpec(device=device), threads)
    patches = patches_of(cloudy, TIMED_WINDOWS)
    fine, coarse = (
        len(GRID.starts(-(-shape[0] // cell))) * len(GRID.starts(-(-shape[1] // cell)))
        for cell in (1, 4)
    )
    ways = [name for name in ("one window at a time", "MONAI", "geoai") if name in per_window]
    megapixels = shape[0] * shape[1] / 1e6
    print(f"\n{shape[0]} x {shape[1]}, {threads} threads, {predictor.precision}")
    print(
        "| under clouds | windows computed | end to end | a megapixel | reading | network | ratio "
        f"| memory | {' | '.join(f'{name}, times as long' for name in ways)} |"
    )
    print("|---" * (8 + len(ways)) + "|")
    for share in map(float, options.shares.split(",")):
        scene = under_clouds(share / 100, cloudy, folder / "clear.tif", folder / "tile.tif")
        before = network_alone(predictor, patches)
        reading = reading_seconds(scene)
        report = run(scene, threads, device=device)
        after = network_alone(predictor, patches)
        computed, wall = report["windows"] - report["windows_skipped"], report["wall"]
        network = (before + after) / 2 * (computed + coarse)
        longer = [f"{per_window[name] * fine / wall:.1f}" for name in ways]
        print(
            f"| {share:g} % | {computed / report['windows']:.0%} | {wall:.1f} s "
            f"| {wall / megapixels:.2f} s | {reading:.1f} s | {network:.1f} s "
            f"| {wall / (reading + network):.2f} | {report['memory']:.0f} MiB "
            f"| {' | '.join(longer)} |",
            flush=True,
        )


def other_ways(clear: Path, folder: Path, part: int, threads: int) -> dict[str, float]:
    """Time each way on a part from end to end, and compare its pixels with ours.

    Returns:
        the seconds of each way for a window.
    """
    scene = make_tile(clear, folder / "part.tif", part, part)
    predictor = load_predictor(ModelSpec(device="cpu", precision="fp32"), threads)
    network = Network(predictor)
    ways: dict[str, Callable[[Path, Path], None]] = {
        "ours": lambda src, dst: blended(src, predictor, dst, threads),
        "one window at a time": lambda src, dst: one_by_one(src, network, dst),
        "MONAI": lambda src, dst: by_monai(src, network, dst),
        "geoai": lambda src, dst: by_geoai(src, network, dst),
        "ours again": lambda src, dst: blended(src, predictor, dst, threads),
    }
    print(f"\n{part} x {part}, fp32{'seconds':>16}{'ratio':>9}{'difference in DN':>24}")
    first, ours, found = 0.0, None, {}
    for name, way in ways.items():
        path = folder / "way.tif"
        begun = time.perf_counter()
        try:
            way(scene, path)
        except ImportError as error:
            print(f"{name:<22}not installed ({error})")
            continue
        seconds = time.perf_counter() - begun
        first = first or seconds
        found[name] = seconds / len(GRID.starts(part)) ** 2
        with rasterio.open(path) as file:
            pixels = file.read().astype(np.int32)
        ours = pixels if ours is None else ours
        difference = np.abs(pixels - ours)
        text = f"mean {difference.mean():.3f}, max {difference.max()}"
        print(f"{name:<22}{seconds:>8.1f} s{seconds / first:>9.2f}{text:>24}", flush=True)
    return found


def main() -> None:
    """Time the full tiles, then the other tools on a part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clear", type=Path)
    parser.add_argument("--size", type=int, default=10_980)
    parser.add_argument("--rows", type=int, help="rows of the tile [default: as many as columns]")
    parser.add_argument("--part", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=Limits().thread_count)
    parser.add_argument("--device", default="cpu", help="of the full tiles: cpu, cuda")
    parser.add_argument("--only-full", action="store_true", help="no tile with 60 %% nodata")
    parser.add_argument("--against", metavar="REVISION", help="an earlier revision to time, too")
    parser.add_argument("--shares", metavar="PERCENT,...", help="of the tile under clouds")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        shape = (options.rows or options.size, options.size)
        if options.shares:
            by_share(options.clear, Path(name), shape, options)
            return
        if options.size:
            full_tiles(options.clear, Path(name), shape, options)
        if options.part:
            other_ways(options.clear, Path(name), options.part, options.threads)


if __name__ == "__main__":
    main()
