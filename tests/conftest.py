"""Scenes made on the spot, simple stand-ins for the network, and where the real data is."""

import logging
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.transform import from_origin

from geodecloud.cli.main import main
from geodecloud.model.checkpoint import save_generator
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.unet import UNet
from geodecloud.training import writer

# Laws that each hold of many inputs; a test that needs more examples says so itself.
hypothesis.settings.register_profile("suite", max_examples=30, deadline=None)
hypothesis.settings.load_profile("suite")
# What tests compute is tiny: threads that wait for each other only slow it down.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_data"
SHARED = ROOT.parent / "shared" / "data"

MakeScene = Callable[..., Path]


def write_scene(path: Path, dn: NDArray[Any], **profile: Any) -> Path:
    """A GeoTIFF of (bands, rows, width) in UTM; ``profile`` overrides."""
    kept = {"crs": "EPSG:32633", "transform": from_origin(500000, 5500000, 10, 10), **profile}
    shape = {"count": dn.shape[0], "height": dn.shape[1], "width": dn.shape[2], "dtype": dn.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **kept) as out:
        out.write(dn)
    return path


def noise(shape: tuple[int, ...], dtype: Any = "uint16", seed: int = 0) -> NDArray[Any]:
    """Random DN between 1 and 4000 (255 for uint8, reflectance for floats)."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.uniform(0, 0.4, shape).astype(dtype)
    return rng.integers(1, min(4000, np.iinfo(dtype).max + 1), shape).astype(dtype)


def identity(patches: NDArray[np.float32], darkest: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network that changes nothing, but calls everything a thin cloud."""
    return np.concatenate([patches, np.full_like(patches[:, :1], 0.2)], axis=1)


def darken(patches: NDArray[np.float32], darkest: NDArray[np.float32]) -> NDArray[np.float32]:
    """A network that halves the light where red is above 0.5, and calls that cloud."""
    cloud = patches[:, :1] > 0.5
    return np.concatenate([np.where(cloud, patches / 2, patches), cloud * 0.3], axis=1).astype(
        np.float32
    )


def read(path: Path) -> NDArray[Any]:
    """All bands of a file."""
    with rasterio.open(path) as scene:
        return scene.read()


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What these tests keep for later starts is not the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most training runs draw nothing: figures take longer than training does."""
    if "needs_train" not in request.keywords:
        monkeypatch.setattr(writer.importlib.util, "find_spec", lambda _: None)


@pytest.fixture(autouse=True)
def loud_logger() -> Iterator[None]:
    """Each test sees the warnings of geodecloud, whatever a command line before it has set."""
    logger = logging.getLogger("geodecloud")
    before = (logger.level, logger.handlers, logger.propagate)
    logger.setLevel(logging.NOTSET)
    logger.handlers, logger.propagate = [], True
    yield
    logger.level, logger.handlers, logger.propagate = before


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A small scene, 100 x 90, of noise."""
    return write_scene(tmp_path / "scene.tif", noise((3, 100, 90)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with a narrow, untrained generator, which sees thin cloud everywhere."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    generator = UNet(GeneratorPlan(width=4))
    with torch.no_grad():
        generator.head.bias[3] = -1.5
    save_generator(generator, path, {})
    return path


class Cli:
    """Runs the command line in this process; remembers exit code and output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.code, self.out, self.err = 0, "", ""

    def __call__(self, *args: object) -> "Cli":
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        self.code = stop.value.code if isinstance(stop.value.code, int) else 0
        self.out, self.err = self._capsys.readouterr()
        return self


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data at {SHARED}")
    return SHARED


def peak_memory() -> int:
    """The most memory that this process has had, in KiB.

    Not ``ru_maxrss``: on Linux that counts what the process was started from, too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
