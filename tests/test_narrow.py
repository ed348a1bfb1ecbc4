"""Laws of narrow generators: what they keep, what they refuse, how they are trained."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from geodecloud.errors import ConfigError, ModelError
from geodecloud.model.checkpoint import load_generator, save_generator
from geodecloud.model.config import GeneratorPlan
from geodecloud.model.unet import UNet
from geodecloud.training.two_level import trainer
from geodecloud.training.two_level.narrow import is_narrower, narrowed
from geodecloud.training.two_level.trainer import train
from tests.test_two_level import KEEPING, SMALL, log, sources  # noqa: F401  (a fixture)

pytestmark = pytest.mark.usefixtures("no_figures")
WIDE = SMALL.generator  # 4, 8 and 16 channels


def narrow_plan(*widths: int) -> GeneratorPlan:
    return dataclasses.replace(WIDE, widths=widths)


def drawn(plan: GeneratorPlan, seed: int = 0) -> UNet:
    """A generator whose BatchNorm has statistics, too."""
    torch.manual_seed(seed)
    generator = UNet(plan).eval()
    for module in generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return generator


def windows(count: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 14, 16, 16, generator=torch.Generator().manual_seed(seed))


def with_twins(narrow: UNet) -> UNet:
    """Return the same function with twice the channels on each level: each has a twin."""
    twice = [2 * width for width in narrow.plan.level_widths]
    wide = UNet(dataclasses.replace(narrow.plan, widths=tuple(twice))).eval()
    theirs = narrow.state_dict()
    for name, value in wide.state_dict().items():
        source = theirs[name]
        if value.dim() == 4 and value.shape[1] != source.shape[1]:
            source = source.repeat_interleave(2, dim=1) / 2
        if value.dim() and value.shape[0] != source.shape[0]:
            source = source.repeat_interleave(2, dim=0)
        value.copy_(source)
    return wide


@given(seed=st.integers(0, 9))
def test_of_twins_one_is_enough(seed):
    narrow = drawn(narrow_plan(3, 5, 6), seed)
    wide, x = with_twins(narrow), windows(seed=seed)
    torch.testing.assert_close(wide(x), narrow(x), rtol=0, atol=1e-4)
    again = narrowed(wide, narrow.plan, [x[:2], x[2:]]).eval()
    assert again.plan == narrow.plan
    torch.testing.assert_close(again(x), narrow(x), rtol=0, atol=3e-3)


def test_the_kept_channels_tell_of_the_dropped_ones():
    wide, x = drawn(WIDE), windows(8)
    plan = narrow_plan(4, 6, 10)
    narrow = narrowed(wide, plan, [x]).eval()
    torch.manual_seed(2)
    other = UNet(plan).eval()
    error, chance = ((net(x) - wide(x)).abs().mean() for net in (narrow, other))
    assert error < 0.1 * chance


@pytest.mark.parametrize(
    "plan",
    [
        narrow_plan(4, 8, 17),
        WIDE,
        dataclasses.replace(WIDE, depth=1, widths=(4, 6)),
        dataclasses.replace(narrow_plan(4, 6, 8), shadow=False),
    ],
)
def test_other_shapes_are_not_narrower(plan):
    assert not is_narrower(plan, WIDE)
    with pytest.raises(ModelError, match="cannot be narrowed"):
        narrowed(UNet(WIDE), plan, [windows()])


def test_transposed_convolutions_are_not_narrowed():
    wide = dataclasses.replace(WIDE, upsample="transposed")
    with pytest.raises(ModelError, match="cannot be narrowed"):
        narrowed(UNet(wide), dataclasses.replace(wide, width=2), [windows()])


def test_a_run_keeps_the_widths_of_a_narrower_model(tmp_path, sources):  # noqa: F811
    start = tmp_path / "narrow.safetensors"
    save_generator(drawn(narrow_plan(4, 6, 6)), start, {})
    out = tmp_path / "run"
    train(KEEPING.with_schedule(steps=1), sources, out, start=start, device="cpu")
    assert load_generator(out / "last.safetensors")[0].plan == narrow_plan(4, 6, 6)


def test_without_windows_nothing_is_narrowed():
    with pytest.raises(ModelError, match="without windows"):
        narrowed(drawn(WIDE), narrow_plan(4, 8, 8), ())


def test_one_shape_has_one_spelling():
    assert narrow_plan(4, 8, 16) == WIDE


@pytest.mark.parametrize("widths", [(4, 8), (4, 8, 0), (4, 8, 16, 32)])
def test_widths_fit_the_depth(widths):
    with pytest.raises(ConfigError, match=r"give 3 numbers \(depth \+ 1\), each 1 or more"):
        narrow_plan(*widths)


def test_a_narrow_generator_learns_the_answers_of_the_wide_one(tmp_path, monkeypatch, sources):  # noqa: F811
    monkeypatch.setattr(trainer, "_WINDOW_BATCHES", 1)
    save_generator(drawn(WIDE), tmp_path / "wide.safetensors", {"strength": 1.1})
    recipe = dataclasses.replace(KEEPING, generator=narrow_plan(4, 6, 10))
    recipe = recipe.with_schedule(steps=2, rate=1e-3, save_every=60.0)
    made = [
        train(recipe, sources, tmp_path / out, start=tmp_path / "wide.safetensors", device="cpu")
        for out in ("one", "two")
    ]
    assert log(tmp_path / "one") == log(tmp_path / "two")
    generator, info = load_generator(made[0])
    assert generator.plan == recipe.generator
    assert info.strength == (1.1, 1.1, 1.1)
