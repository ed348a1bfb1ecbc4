"""Laws of the generator's input, and of a generator that takes context and finds shadows."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.finish import copy_with_strength
from geodecloud import decloud
from geodecloud.decloud import decloud_scene
from geodecloud.model.checkpoint import save_generator
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.inputs import BRIGHTEST, COARSE, generator_input
from geodecloud.model.predictor import Predictor
from geodecloud.model.unet import UNet
from geodecloud.radiometry import L1C_DARK_OBJECT
from geodecloud.restore.memory import MemoryPlan, grain
from geodecloud.settings import Settings
from tests.conftest import noise, write_scene

DARK = np.array(L1C_DARK_OBJECT, np.float32)
PLANS = [
    GeneratorPlan(width=4, highlights=highlights, context=context, dark_object=dark_object)
    for highlights, context, dark_object in product([False, True], repeat=3)
]
light = hnp.arrays(np.float32, (2, 8, 4, 4), elements=st.floats(-1, 9, width=32))


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory):
    """A model file with a narrow, untrained generator of all inputs and outputs."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "wide.safetensors"
    generator = UNet(GeneratorPlan(width=4, highlights=True, context=True, shadow=True))
    with torch.no_grad():
        generator.head.bias[3:] = torch.tensor([-2.0, -1.0])
    save_generator(generator, path, {})
    return path


def patches_of(count, size=64, seed=0):
    """Light, some of it beyond the model range, and the coarse answer: (count, 8, size, size)."""
    patches = np.random.default_rng(seed).random((count, 8, size, size), np.float32)
    patches[:, :3, : size // 4] *= 6
    return patches


# --- the input -----------------------------------------------------------------------------


@given(light, st.sampled_from(PLANS))
def test_the_input_has_the_channels_of_the_plan_in_order(patches, plan):
    seen = torch.from_numpy(patches)
    made = generator_input(plan, seen, torch.from_numpy(DARK))
    assert made.shape == (2, plan.channels, 4, 4)
    assert torch.equal(made[:, :3], seen[:, :3].clamp(0, 1))
    rest = made[:, 3:]
    if plan.highlights:
        expected = np.log(np.clip(patches[:, :3], 1, 4).astype(np.float64)) / np.log(4)
        np.testing.assert_allclose(rest[:, :3], expected, atol=1e-6)
        rest = rest[:, 3:]
    if plan.context:
        assert torch.equal(rest[:, :COARSE], seen[:, 3:])
        rest = rest[:, COARSE:]
    if plan.dark_object:
        assert torch.equal(rest, torch.from_numpy(DARK).view(1, 3, 1, 1).expand(2, 3, 4, 4))
    assert rest.shape[1] == 3 * plan.dark_object


def test_highlights_begin_where_the_model_range_ends():
    seen = torch.tensor([-1.0, 0.0, 1.0, 2.0, 4.0, 9.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    made = generator_input(GeneratorPlan(highlights=True), seen, torch.zeros(3))
    assert BRIGHTEST == 4
    expected = torch.tensor([0.0, 0.0, 0.0, 0.5, 1.0, 1.0])
    assert torch.allclose(made[0, 3:6, 0], expected.expand(3, 6))
    assert torch.equal(made[0, 0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]))


@given(light, st.sampled_from(PLANS))
def test_without_a_coarse_answer_nothing_is_known(patches, plan):
    """Zeros say so, too; and a network that takes no context sees no difference."""
    seen, dark = torch.from_numpy(patches), torch.from_numpy(DARK)
    without = generator_input(plan, seen[:, :3], dark)
    unknown = torch.cat([seen[:, :3], torch.zeros(2, COARSE, 4, 4)], dim=1)
    assert torch.equal(without, generator_input(plan, unknown, dark))
    if not plan.context:
        assert torch.equal(without, generator_input(plan, seen, dark))


@given(light, hnp.arrays(np.float32, (2, 3), elements=st.floats(0, 1, width=32)))
def test_each_patch_has_the_dark_object_of_its_scene(patches, dark):
    plan, seen, objects = GeneratorPlan(), torch.from_numpy(patches[:, :3]), torch.from_numpy(dark)
    both = generator_input(plan, seen, objects)
    assert torch.equal(both, generator_input(plan, seen, objects[:, :, None, None]))
    for i in range(2):
        assert torch.equal(both[i : i + 1], generator_input(plan, seen[i : i + 1], objects[i]))


# --- a generator that takes context --------------------------------------------------------


@pytest.mark.parametrize("size", [16, 64, 80])
def test_a_generator_with_shadow_answers_with_five_channels(wide_model, size):
    predictor = Predictor(wide_model, "cpu", "fp32", 1)
    assert predictor.takes_context
    answer = predictor(patches_of(3, size), DARK)
    assert (answer.dtype, answer.shape) == (np.float32, (3, 5, size, size))
    assert ((answer[:, 3:] > 0) & (answer[:, 3:] < 1)).all()


def test_the_generator_is_what_the_predictor_runs(wide_model):
    patches = patches_of(3)
    predictor = Predictor(wide_model, "cpu", "fp32", 1)
    torch.manual_seed(0)
    generator = UNet(predictor.info.plan)
    with torch.no_grad():
        generator.head.bias[3:] = torch.tensor([-2.0, -1.0])
        made = generator_input(predictor.info.plan, *map(torch.from_numpy, (patches, DARK)))
        expected = generator.eval()(made)
    np.testing.assert_allclose(predictor(patches, DARK), expected, atol=1e-4)


def test_the_answer_is_the_same_for_any_batch_and_threads(wide_model):
    patches = patches_of(grain(64) + 5)
    whole = Predictor(wide_model, "cpu", "fp32", 1)(patches, DARK)
    for threads, batch in [(1, 1), (2, 7), (3, grain(64) + 5)]:
        predictor = Predictor(wide_model, "cpu", "fp32", threads)
        parts = [predictor(patches[i : i + batch], DARK) for i in range(0, len(patches), batch)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_every_input_counts_and_no_context_is_zeros(wide_model):
    patches = patches_of(2)
    predictor = Predictor(wide_model, "cpu", "fp32", 1)
    answer = predictor(patches, DARK)
    for channel in range(8):
        other = patches.copy()
        other[:, channel] *= 0.5
        assert np.abs(predictor(other, DARK) - answer).max() > 1e-5
    brighter = patches.copy()
    brighter[:, :3][patches[:, :3] > 1] *= 1.2  # beyond the model range
    assert np.abs(predictor(brighter, DARK) - answer).max() > 1e-5
    unknown = patches.copy()
    unknown[:, 3:] = 0
    np.testing.assert_array_equal(predictor(patches[:, :3], DARK), predictor(unknown, DARK))


def test_strength_multiplies_the_change_of_bright_light_too(wide_model, tmp_path):
    """The change is one of light within the model range: what lies beyond is no part of it."""
    copy_with_strength(wide_model, 1.25, tmp_path / "stronger.safetensors")
    patches = patches_of(3)
    plain = Predictor(wide_model, "cpu", "fp32")(patches, DARK)
    stronger = Predictor(tmp_path / "stronger.safetensors", "cpu", "fp32")(patches, DARK)
    seen = np.clip(patches[:, :3], 0, 1)
    factor = Predictor(tmp_path / "stronger.safetensors", "cpu", "fp32")._strength(plain[:, 3:4])
    np.testing.assert_allclose(stronger[:, :3] - seen, factor * (plain[:, :3] - seen), atol=1e-5)
    np.testing.assert_array_equal(stronger[:, 3:], plain[:, 3:])


def test_a_generator_without_context_ignores_the_coarse_answer(tiny_model):
    predictor = Predictor(tiny_model, "cpu", "fp32", 1)
    assert not predictor.takes_context
    patches = np.clip(patches_of(2), 0, 1)
    answer = predictor(patches, DARK)
    assert answer.shape == (2, 4, 64, 64)
    np.testing.assert_array_equal(answer, predictor(patches[:, :3], DARK))


def test_a_scene_is_the_same_bytes_for_any_division(wide_model, tmp_path, monkeypatch):
    """With a real network, from file to file, in both passes."""
    dn = (400 + noise((3, 200, 170)) // 4).astype(np.uint16)
    dn[:, 50:90, 60:120] *= 4
    src, outputs = write_scene(tmp_path / "in.tif", dn), set()
    for threads, batch, rows in [(1, 64, 1), (2, 3, 2), (3, 17, 9)]:
        work = MemoryPlan(rows, batch)
        monkeypatch.setattr(decloud, "plan_run", lambda *_, work=work: work)
        predictor = Predictor(wide_model, "cpu", "fp32", threads)
        chosen = Settings(provenance=tmp_path / "p.tif", gate="off", overwrite=True)
        report = decloud_scene(src, tmp_path / "out.tif", predictor, chosen)
        assert report.changed > 1000
        outputs.add(((tmp_path / "out.tif").read_bytes(), (tmp_path / "p.tif").read_bytes()))
    assert len(outputs) == 1
