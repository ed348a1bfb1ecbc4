"""PyTorch's library without PyTorch gives the same bytes; a verdict on bf16 is kept."""

import os
from itertools import product

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from geodecloud.errors import ModelError
from geodecloud.model import libtorch, predictor, verdict
from geodecloud.model.checkpoint import save_generator
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.library_predictor import LibraryPredictor
from geodecloud.model.predictor import load_predictor
from geodecloud.model.torch_predictor import TorchPredictor
from geodecloud.model.unet import UNet
from geodecloud.settings import ModelSpec

pytestmark = pytest.mark.skipif(
    not libtorch.serves("cpu"), reason="the library is called on Linux alone"
)
DARK = np.array([0.1, 0.2, 0.3], np.float32)
PLANS = [
    GeneratorPlan(width=4, highlights=seen, context=seen, shadow=seen, dark_object=dark)
    for seen, dark in product([False, True], repeat=2)
] + [GeneratorPlan(width=4, depth=1), GeneratorPlan(width=4, depth=2, opacity=False)]


def patches_of(count, size=64):
    """Light, some of it beyond the model range, and a coarse answer: (count, 8, size, size)."""
    patches = np.random.default_rng(0).random((count, 8, size, size), np.float32)
    patches[:, :3, : size // 4] *= 6
    return patches


def model_of(plan, path):
    torch.manual_seed(0)
    generator = UNet(plan)
    for name, value in generator.named_buffers():  # as if it had been trained
        if "running" in name:
            value.copy_(torch.rand_like(value) + 0.5)
    save_generator(generator, path, {"strength": [1.1, 1, 1]})
    return path


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_the_library_gives_the_bytes_that_pytorch_gives(tmp_path, plan, precision):
    if precision == "bf16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("no bf16 of oneDNN on this processor")
    model = model_of(plan, tmp_path / "m.safetensors")
    ours, theirs = LibraryPredictor(model, precision, 2), TorchPredictor(model, "cpu", precision, 1)
    for size in (16, 64, 80):
        patches = patches_of(9, size)
        each = np.broadcast_to(DARK, (9, 3)).copy()
        wanted = theirs.model_input(patches, each)
        np.testing.assert_array_equal(ours.model_input(patches, each), wanted)
        np.testing.assert_array_equal(ours(patches, DARK), theirs(patches, DARK))
        np.testing.assert_array_equal(ours(patches[:, :3], DARK), theirs(patches[:, :3], DARK))


def test_a_library_without_a_function_is_left_to_pytorch(tiny_model, monkeypatch):
    def lacks():
        raise AttributeError("undefined symbol")

    spec = ModelSpec(model=tiny_model, device="cpu", precision="fp32")
    assert isinstance(load_predictor(spec, 1), LibraryPredictor)
    monkeypatch.setattr(libtorch, "load", lacks)
    assert isinstance(load_predictor(spec, 1), TorchPredictor)


def test_a_transposed_convolution_is_left_to_pytorch(tmp_path):
    model = model_of(GeneratorPlan(width=4, upsample="transposed"), tmp_path / "m.safetensors")
    loaded = load_predictor(ModelSpec(model=model, device="cpu", precision="fp32"), 1)
    assert isinstance(loaded, TorchPredictor)


@pytest.mark.parametrize("change", ["absent", "another shape", "one more"])
def test_weights_that_do_not_fit_are_one_line(tmp_path, tiny_model, change):
    weights, path = load_file(tiny_model), tmp_path / "m.safetensors"
    with safe_open(tiny_model, "numpy") as file:
        metadata = file.metadata()
    if change == "absent":
        del weights["head.bias"]
    elif change == "another shape":
        weights["head.bias"] = torch.zeros(9)
    else:
        weights["more"] = torch.zeros(1)
    save_file(weights, path, metadata)
    with pytest.raises(ModelError, match=r"m\.safetensors: the weights do not fit the network"):
        load_predictor(ModelSpec(model=path, device="cpu"), 1)


def test_an_operator_that_fails_says_why():
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        libtorch.concatenated(*(libtorch.from_numpy(np.zeros((1, 1, n, n), "f4")) for n in (2, 3)))


# --- the verdict ---------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "geodecloud"


@pytest.mark.skipif(not verdict.processor().get("flags"), reason="an unknown processor")
def test_a_verdict_holds_for_what_it_was_found_with_and_nothing_else(cache, monkeypatch):
    assert not verdict.is_known_good("a" * 64, 16)
    verdict.remember_good("a" * 64, 16)
    assert verdict.is_known_good("a" * 64, 16)
    assert not verdict.is_known_good("b" * 64, 16)
    assert not verdict.is_known_good("a" * 64, 8)
    changes = {"VERSION": "9", "MAX_MEAN": 2.0, "processor": lambda: {"flags": "mmx"}}
    for name, value in changes.items():
        with monkeypatch.context() as changed:
            changed.setattr(verdict, name, value)
            assert not verdict.is_known_good("a" * 64, 16)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not verdict.is_known_good("a" * 64, 16)


def test_a_damaged_verdict_and_a_folder_that_cannot_be_written_are_no_verdict(cache, monkeypatch):
    verdict.remember_good("a" * 64, 16)
    for file in cache.iterdir():
        file.write_bytes(b"\xff" + file.read_bytes())
    assert not verdict.is_known_good("a" * 64, 16)
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    verdict.remember_good("a" * 64, 16)  # nothing is raised
    assert not verdict.is_known_good("a" * 64, 16)


def test_what_is_known_to_be_good_is_not_compared_again(tiny_model, cache, monkeypatch):
    monkeypatch.setattr("geodecloud.model.library_predictor._fast_bf16", lambda: True)
    compared = []
    probes = predictor.probe_patches
    monkeypatch.setattr(
        predictor, "probe_patches", lambda *args: compared.append(args) or probes(*args)
    )
    spec = ModelSpec(model=tiny_model, device="cpu")
    first, second = load_predictor(spec, 1), load_predictor(spec, 1)
    assert first.precision == second.precision
    known = first.precision == "bf16" and verdict.processor().get("flags")
    assert len(compared) == (1 if known else 2)
    np.testing.assert_array_equal(first(patches_of(2), DARK), second(patches_of(2), DARK))
