"""The predictor where memory is short, and where bf16 is not what fp32 is."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import numpy as np
import pytest
import torch

from geodecloud.decloud import decloud_scene
from geodecloud.errors import DeviceWarning, GeodecloudError
from geodecloud.model import predictor as predictor_module
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.inference import folded, forward_of
from geodecloud.model.model_file import default_model
from geodecloud.model.pool import pool_of
from geodecloud.model.precision import difference, probe_patches
from geodecloud.model.predictor import Predictor, load_predictor
from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.restore.memory import fitting_grain, grain
from geodecloud.settings import ModelSpec
from tests.conftest import write_scene


class ShortOfMemory(torch.nn.Module):
    """Halves what is bright, and calls it cloud; fails as a GPU does above ``most`` patches."""

    def __init__(self, most):
        super().__init__()
        self.most = most
        self.counts = []

    def forward(self, patches):
        if len(patches) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.counts.append(len(patches))
        bright = (patches[:, :1] > 0.5).float()
        return torch.cat([patches[:, :3] * (1 - bright / 2), bright * 0.5], dim=1)


def _short(model, most):
    predictor = Predictor(model, "cpu", "fp32", 1)
    predictor._forward = ShortOfMemory(most)
    return predictor


@pytest.mark.parametrize("most", [1, 2, 3])
def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path, tiny_model, most):
    src = write_scene(tmp_path / "in.tif", (probe_patches(1, 300)[0] * 2750).astype(np.uint16))
    enough, short = _short(tiny_model, grain(64)), _short(tiny_model, most)
    halvings = int(np.ceil(np.log2(fitting_grain(36, grain(64)) / most)))
    for name, predictor in (("enough", enough), ("short", short)):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            report = decloud_scene(src, tmp_path / f"{name}.tif", predictor)
        assert report.changed_fraction > 0
        texts = [str(one.message) for one in seen if one.category is DeviceWarning]
        assert all("out of memory; using batches of half the size" in text for text in texts)
        assert len(texts) == (halvings if name == "short" else 0)  # it does not try again
    assert (tmp_path / "short.tif").read_bytes() == (tmp_path / "enough.tif").read_bytes()
    assert sum(short._forward.counts) == sum(enough._forward.counts)


def test_no_memory_for_one_window_is_one_clear_line(cli, tmp_path, scene, tiny_model, monkeypatch):
    monkeypatch.setattr(predictor_module, "forward_of", lambda *_: ShortOfMemory(0))
    assert (
        cli(scene, tmp_path / "out.tif", "--model", tiny_model, "--device", "cpu", "-q").code == 1
    )
    [line] = cli.err.splitlines()
    assert "out of memory for one window; take a smaller --window" in line
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_the_packed_network_gives_what_the_module_gives(tiny_model):
    network = folded(load_generator(tiny_model)[0])
    batch = torch.rand(3, network.plan.channels, 64, 64)
    packed = forward_of(network, torch.device("cpu"), "fp32", 4)
    with torch.inference_mode():
        torch.testing.assert_close(packed(batch), network(batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("windows", [1, 2, 5, 9, 25, 100, 127, 128, 1000])
def test_a_pass_over_few_windows_is_hardly_padded(windows):
    size = fitting_grain(windows, 16)
    padded = -(-windows // size) * size
    assert 1 <= size <= 16
    assert padded <= max(1.1 * windows, windows + 1)


# --- bf16 ----------------------------------------------------------------------------------


def test_probe_patches_are_like_scenes_and_the_same_every_time():
    patches = probe_patches(16, 64)
    np.testing.assert_array_equal(patches, probe_patches(16, 64))
    assert (patches.dtype, patches.shape) == (np.float32, (16, 3, 64, 64))
    assert patches.min() >= 0
    assert patches.max() <= 1
    means, steps = patches.mean(axis=(1, 2, 3)), np.abs(np.diff(patches, axis=3))
    assert means[0] < 0.45  # land
    assert means[-1] > 0.75  # cloud
    assert steps.mean() < patches.std() / 3  # neighbours are alike, as in no noise of a pixel


@pytest.mark.parametrize(
    ("off", "p999", "small"), [(0.9, 7, True), (1.1, 0, False), (0.1, 9, False)]
)
def test_the_bounds_are_one_dn_and_eight(off, p999, small):
    one = probe_patches(4, 64)
    other = one + np.float32(off / 2750)
    values = other.reshape(-1)
    values[::500] = one.reshape(-1)[::500] + np.float32(max(p999, off) / 2750)
    found = difference(one, other)
    assert found.small == small
    assert found.mean == pytest.approx(off, abs=0.05)
    # The opacity is not compared.
    opaque = np.concatenate([one, one[:, :1]], 1), np.concatenate([other, 1 - one[:, :1]], 1)
    assert difference(*opaque) == found


class Inexact(Predictor):
    """A predictor whose bf16 is off by so many DN."""

    off: float | None = 0.0

    def _forward_in(self, network, kind):
        exact = super()._forward_in(network, "fp32")

        def inexact(batch):
            if self.off is None:
                raise RuntimeError("no such kernel")
            output = exact(batch)
            output[:, :3] += np.float32(self.off / 2750)
            return output

        return exact if kind == "fp32" else inexact


def test_auto_takes_bf16_only_where_it_is_exact_enough(tiny_model, monkeypatch):
    monkeypatch.setattr(predictor_module, "fast_bf16", lambda _: True)
    monkeypatch.setattr(predictor_module, "is_known_good", lambda *_: False)
    assert Inexact(tiny_model, "cpu").precision == "bf16"  # a warning would be an error
    monkeypatch.setattr(Inexact, "off", 2.0)
    differs = r"differs from fp32 by 2\.0 DN on average, 2 at the 99\.9th percentile; using"
    with pytest.warns(DeviceWarning, match=f"{differs} fp32"):
        assert Inexact(tiny_model, "cpu").precision == "fp32"
    with pytest.warns(DeviceWarning, match=f"{differs} bf16"):
        assert Inexact(tiny_model, "cpu", "bf16").precision == "bf16"
    monkeypatch.setattr(Inexact, "off", None)
    with pytest.warns(DeviceWarning, match=r"does not work on cpu \(no such kernel\); using fp32"):
        assert Inexact(tiny_model, "cpu").precision == "fp32"
    with pytest.raises(GeodecloudError, match=r"does not work on cpu \(no such .*\); give fp32"):
        Inexact(tiny_model, "cpu", "bf16")


def test_real_bf16_of_the_built_in_model(monkeypatch):
    """Emulated where the processor has none: slow, but the same arithmetic."""
    monkeypatch.setattr(predictor_module, "fast_bf16", lambda _: True)
    predictor, exact = Predictor(default_model(), "cpu"), Predictor(default_model(), "cpu", "fp32")
    assert predictor.precision == "bf16"
    given = probe_patches(2, 64), np.array(L1C_DARK_OBJECT, np.float32)
    found = difference(*(one._run(*given, one._forward) for one in (predictor, exact)))
    assert 0 < found.mean < 1


# --- a library among others ----------------------------------------------------------------


def test_the_callers_threads_keep_their_number(tiny_model):
    """Both the one that calls and one that starts later."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        predictor = load_predictor(ModelSpec(model=tiny_model, device="cpu"), 2)
        predictor(np.zeros((40, 3, 64, 64), np.float32), np.zeros(3, np.float32))
        assert torch.get_num_threads() == 3
        assert ThreadPoolExecutor(1).submit(torch.get_num_threads).result() == 3
        assert predictor._pool.submit(torch.get_num_threads).result() == 1
    finally:
        torch.set_num_threads(before)


def test_restoring_computes_in_the_pools_threads_alone_and_sets_no_number_of_threads(
    tiny_model, monkeypatch
):
    """Two workers on two cores, each with one thread, would else use four."""
    predictor = Predictor(tiny_model, "cpu", "fp32", 3)
    used = []

    def counted(function):
        return lambda *args: used.append(torch.get_num_threads()) or function(*args)

    monkeypatch.setattr(predictor, "_run", counted(predictor._run))
    monkeypatch.setattr(torch, "set_num_threads", None)  # whoever calls it fails
    predictor(np.zeros((50, 3, 64, 64), np.float32), np.zeros(3, np.float32))
    assert used == [1] * -(-50 // grain(64))


def test_a_pool_that_gets_no_threads_ends(monkeypatch):
    start, left = Thread.start, iter([True, True])

    def refuse(thread):
        if thread.name.startswith("ThreadPool") and not next(left, False):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(GeodecloudError, match=r"^4 threads cannot be started .*`threads`"):
        pool_of(4)


def test_a_predictor_is_loaded_as_its_specification_says(tiny_model):
    predictor = load_predictor(ModelSpec(model=tiny_model, device="cpu", precision="fp32"), 2)
    assert predictor.info.path == tiny_model
    assert (predictor.device.type, predictor.precision, predictor.threads) == ("cpu", "fp32", 2)
    assert load_predictor(ModelSpec(device="cpu")).info.path == default_model()
