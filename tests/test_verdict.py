"""A verdict on bf16 is kept, and holds for what it was found with alone."""

import os

import numpy as np
import pytest

from geodecloud.model import predictor, verdict
from geodecloud.model.predictor import load_predictor
from geodecloud.settings import ModelSpec


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
    monkeypatch.setattr(predictor, "fast_bf16", lambda _: True)
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
    patches, dark_object = np.random.default_rng(0).random((2, 3, 64, 64), np.float32), np.zeros(3)
    np.testing.assert_array_equal(first(patches, dark_object), second(patches, dark_object))
