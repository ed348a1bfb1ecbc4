"""Laws of the trainer: losses, schedule, resuming, wider generators."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from geodecloud.data.two_level.field_bank import SIDE, make_bank
from geodecloud.data.two_level.land import load_land
from geodecloud.errors import ConfigError, ModelError
from geodecloud.model.checkpoint import load_generator, save_generator
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan
from geodecloud.model.unet import UNet
from geodecloud.training.two_level.losses import cross_entropy, pinball
from geodecloud.training.two_level.recipe import Recipe, Schedule, load_recipe
from geodecloud.training.two_level.trainer import Library, Run, rate_at, train
from geodecloud.training.two_level.widen import widened

SMALL = dataclasses.replace(
    Recipe(),
    noise_fields=2,
    generator=GeneratorPlan(width=4, depth=2, highlights=True, context=True, shadow=True),
    discriminator=DiscriminatorPlan(blocks=(1,), widths=(8,)),
    schedule=Schedule(steps=4, batch_size=8, warm_up=1, join=2),
)


@pytest.fixture(scope="module")
def library() -> Library:
    rng = np.random.default_rng(0)
    fields = torch.from_numpy(rng.integers(0, 256, (2, SIDE, SIDE), np.uint8))
    tiles = rng.integers(1, 200, (8, 3, 64, 64), np.uint8)
    return Library(
        load_land(tiles, [f"River/{i}.jpg" for i in range(8)], {}, "cpu"), make_bank(fields, 2, 1)
    )


def weights(run: Run) -> torch.Tensor:
    return torch.cat([w.flatten().float() for w in run.average.state_dict().values()])


def test_a_resumed_run_ends_where_a_whole_one_does(library, tmp_path: Path):
    whole = Run(SMALL, torch.device("cpu"))
    train(whole, library, tmp_path / "whole")
    half = dataclasses.replace(SMALL, schedule=dataclasses.replace(SMALL.schedule, cooling=0))
    first = Run(half, torch.device("cpu"))
    again = Run(SMALL, torch.device("cpu"))
    first.step = 0
    stopped = dataclasses.replace(SMALL.schedule, steps=2, cooling=0)
    first.recipe = dataclasses.replace(SMALL, schedule=stopped)
    train(first, library, tmp_path / "half")
    again.load(tmp_path / "half" / "last.pt")
    assert again.step == 2
    train(again, library, tmp_path / "half")
    assert torch.equal(weights(whole), weights(again))


def test_the_saved_model_is_the_average(library, tmp_path: Path):
    run = Run(SMALL, torch.device("cpu"))
    train(run, library, tmp_path)
    saved, info = load_generator(tmp_path / "step_000004.safetensors")
    assert info.plan == SMALL.generator
    for name, value in saved.state_dict().items():
        assert torch.allclose(value, run.average.state_dict()[name], rtol=2e-3, atol=1e-4)


def test_statistics_beyond_half_precision_are_kept(tmp_path: Path):
    generator = UNet(SMALL.generator)
    generator.bottom.layers[1].running_var.fill_(1e6)
    save_generator(generator, tmp_path / "m.safetensors", {})
    loaded = load_generator(tmp_path / "m.safetensors")[0]
    assert (loaded.bottom.layers[1].running_var == 1e6).all()


def test_a_wider_generator_answers_as_before():
    old = UNet(GeneratorPlan(width=4, depth=2)).eval()
    new = widened(old, SMALL.generator).eval()
    x = torch.rand(2, 14, 16, 16)
    before = old(torch.cat([x[:, :3], x[:, 11:]], dim=1))
    after = new(x)
    assert after.shape == (2, 5, 16, 16)
    assert torch.allclose(after[:, :4], before, atol=1e-5)
    assert (after[:, 4] < 0.2).all()


def test_a_generator_of_another_width_is_refused():
    with pytest.raises(ModelError, match="cannot become"):
        widened(UNet(GeneratorPlan(width=8, depth=2)), SMALL.generator)


def test_the_pinball_loss_is_least_at_its_quantile():
    truth = torch.linspace(0, 1, 1001)
    losses = [pinball(torch.tensor(a), truth, 0.4).item() for a in (0.3, 0.4, 0.5)]
    assert losses[1] < min(losses[0], losses[2])


def test_cross_entropy_is_0_at_the_truth_and_learns_from_certain_mistakes():
    truth = torch.tensor([0.0, 0.3, 1.0])
    assert torch.allclose(cross_entropy(truth, truth), torch.zeros(3), atol=1e-5)
    logit = torch.tensor([-12.0], requires_grad=True)
    cross_entropy(logit.sigmoid(), torch.tensor([1.0])).sum().backward()
    assert logit.grad is not None
    assert logit.grad.item() < -0.9


def test_the_rate_rises_stays_and_falls():
    plan = Schedule(steps=100, warm_up=10, cooling=0.5)
    rates = [rate_at(step, plan) for step in (0, 9, 40, 75, 99)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.02])


def test_recipes_say_what_is_wrong(tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text("[synthesis.sky]\nhaze = 0.5\nreach = [1.0, 2.0]\n")
    assert load_recipe(path).synthesis.sky.haze == 0.5
    path.write_text("[synthesis.sky]\nfog = 0.5\n")
    with pytest.raises(ConfigError, match=r"unknown key synthesis\.sky\.fog"):
        load_recipe(path)
    path.write_text("noise_fields = 'many'\n")
    with pytest.raises(ConfigError, match="noise_fields"):
        load_recipe(path)


@pytest.mark.parametrize("name", ["gpu", "cpu", "tune"])
def test_the_recipes_that_come_along_are_valid(name: str):
    load_recipe(Path(__file__).parents[1] / "configs" / f"{name}.toml")
