"""Laws of the way to a GPU and back, with a stub in the GPU's place."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Barrier

import numpy as np
import pytest
import torch

from geodecloud.model import staging
from geodecloud.model.predictor import Predictor
from geodecloud.model.staging import Staging, parts_that_fit

CPU = torch.device("cpu")


@pytest.fixture
def buffers(monkeypatch):
    """Memory that is asked for, with a stub for the streams: a list of tensors."""
    made = []

    class Stream:
        def __init__(self, device):
            self.synchronised = 0

        def synchronize(self):
            self.synchronised += 1

    def pinned(shape):
        made.append(torch.full(shape, float("nan")))
        return made[-1]

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(staging, "pinned", pinned)
    return made


def test_a_batch_comes_back_as_without_staging(buffers, tiny_model):
    predictor = Predictor(tiny_model, "cpu", "fp32", 1)
    patches = np.random.default_rng(0).random((40, 3, 64, 64), np.float32)
    dark_object = np.zeros(3, np.float32)
    expected = predictor(patches, dark_object)
    predictor._staging = Staging(CPU)
    np.testing.assert_array_equal(predictor(patches, dark_object), expected)
    assert len(buffers) == 3  # patches and dark objects in, answers out, for all grains


def test_a_later_batch_changes_no_earlier_one(buffers):
    stage = Staging(CPU)
    first = stage(lambda batch: batch + 1, np.zeros((2, 3, 4, 4), np.float32))
    stage(lambda batch: batch + 1, np.ones((2, 3, 4, 4), np.float32))
    assert (first == 1).all()
    assert stage._stream.synchronised == 2


def test_each_thread_has_memory_and_a_stream_of_its_own(buffers):
    stage, together = Staging(CPU), Barrier(2)

    def network(batch):
        together.wait(10)  # both threads are between their copies
        return batch * 2

    with ThreadPoolExecutor(2) as pool:
        batches = [np.full((4, 3, 8, 8), value, np.float32) for value in (1, 2)]
        results = list(pool.map(lambda batch: stage(network, batch), batches))
    assert [float(result.max()) for result in results] == [2, 4]
    assert len(buffers) == 4


@pytest.mark.parametrize(("free", "parts"), [(10**11, 1), (2 * 10**9, 2), (10**9, 4), (0, 64)])
def test_a_grain_is_cut_into_parts_that_fit_into_the_free_memory(free, parts):
    assert parts_that_fit(64, 64, free) == parts


@pytest.mark.parametrize("window", [16, 64, 256])
def test_more_memory_never_means_more_parts(window):
    found = [parts_that_fit(64, window, free << 20) for free in range(0, 40_000, 500)]
    assert found == sorted(found, reverse=True)
