"""Laws of training at two levels: losses, schedule, discriminator, resuming, wider generators."""

import copy
import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geodecloud.data.two_level.cloud_layers import FIELD, HAZE, NONE
from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.field_bank import SIDE
from geodecloud.data.two_level.synthesis import make_batch
from geodecloud.errors import ConfigError, DataError, GeodecloudError, ModelError, UsageError
from geodecloud.model.checkpoint import load_generator, save_generator
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan
from geodecloud.model.model_file import read_info
from geodecloud.model.unet import UNet
from geodecloud.training.distributed import Processes, joined_processes
from geodecloud.training.loop import begin
from geodecloud.training.losses import pinball
from geodecloud.training.two_level import library as reading
from geodecloud.training.two_level import recipe as recipes
from geodecloud.training.two_level import trainer as loop
from geodecloud.training.two_level.keep import Teacher, to_learn
from geodecloud.training.two_level.library import Library, WindowSources, find_cloud_fields
from geodecloud.training.two_level.losses import cross_entropy
from geodecloud.training.two_level.recipe import Recipe, Schedule, load_recipe
from geodecloud.training.two_level.state import Run, rate_at
from geodecloud.training.two_level.step import predict_windows, read_losses, train_step
from geodecloud.training.two_level.trainer import train
from geodecloud.training.two_level.validate import WindowJudge
from geodecloud.training.two_level.widen import with_new_channels
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("no_figures")
ALONE = Processes(0, 1, torch.device("cpu"))
SMALL = dataclasses.replace(
    Recipe(),
    noise_fields=2,
    generator=GeneratorPlan(width=4, depth=2, highlights=True, context=True, shadow=True),
    discriminator=DiscriminatorPlan(blocks=(1,), widths=(8,)),
    schedule=Schedule(
        steps=4, batch_size=8, warm_up=1, join=0.5, precision="fp32", validation_windows=9
    ),
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> WindowSources:
    """A small EuroSAT and two cloud fields."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (folder / "EuroSAT" / "River").mkdir(parents=True)
    (folder / "fields").mkdir()
    for number in range(1, 31):
        tile = rng.integers(0, 200, (64, 64, 3), np.uint8)
        Image.fromarray(tile).save(folder / "EuroSAT" / "River" / f"River_{number}.jpg")
    for name in "ab":
        field = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
        Image.fromarray(field).save(folder / "fields" / f"{name}.png")
    return WindowSources(folder / "EuroSAT", cloud_fields=folder / "fields")


@pytest.fixture(scope="module")
def library(sources) -> Library:
    return sources.read(SMALL, ALONE.device)


def test_a_model_states_the_split_that_it_was_trained_on(library):
    assert library.about["split_seed"] == SMALL.schedule.split_seed


def batch_of(library, step, recipe=SMALL):
    size = recipe.schedule.batch_size
    return make_batch(Draw(1, step), library.land, library.bank, size, recipe.synthesis)


def weights(network) -> torch.Tensor:
    return torch.cat([w.flatten().float() for w in network.state_dict().values()])


def trained(library, count, recipe=SMALL):
    """A run after some steps, and the losses of each."""
    run = Run(recipe, ALONE)
    return run, [
        read_losses(train_step(run, batch_of(library, step, recipe)), step) for step in range(count)
    ]


def log(run: Path, name="metrics.jsonl"):
    lines = [json.loads(line) for line in (run / name).read_text().splitlines()]
    return [{**line, "images_per_second": 0} for line in lines]


def cut_after(steps, monkeypatch):
    """Let a run end in an error after so many steps."""

    class CutError(Exception):
        pass

    def cut(run, batch):
        if run.step == steps:
            raise CutError
        return train_step(run, batch)

    monkeypatch.setattr(loop, "train_step", cut)
    return CutError


EACH_STEP = SMALL.with_schedule(
    save_every=0.0, steps=3, join=0.3, batch_size=4, validation_windows=3
)


def test_a_run_that_was_cut_is_the_same_run(tmp_path, sources):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(EACH_STEP, sources, whole, device="cpu")
    for steps in (1, 2):  # before and after the discriminator has joined
        with pytest.MonkeyPatch.context() as patch, pytest.raises(cut_after(steps, patch)):
            train(EACH_STEP, sources, cut, device="cpu", resume=True)
        assert log(cut) == log(whole)[:steps]
        with (cut / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 9}) + "\n" + '{"step": 9, "half a l')
    train(EACH_STEP, sources, cut, device="cpu", resume=True)
    assert log(cut) == log(whole)
    assert log(cut, "losses.jsonl") == log(whole, "losses.jsonl")
    assert ["discriminator" in losses for losses in log(cut)] == [False, True, True]
    for name in ("last", "best", *(f"models/step_{step:06}" for step in (1, 2, 3))):
        ours, theirs = (folder / f"{name}.safetensors" for folder in (cut, whole))
        assert ours.read_bytes() == theirs.read_bytes()
    ours, theirs = (torch.load(folder / "last.pt") for folder in (cut, whole))
    for part in ("discriminator_optimizer", "generator_optimizer"):
        for number, state in theirs[part]["state"].items():
            for name, value in state.items():
                assert torch.equal(ours[part]["state"][number][name], value)
    assert {"colour", "discriminator", "psnr_restored", "changed_clear"} <= log(whole)[-1].keys()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow  # that of tiles is among the fast ones
@pytest.mark.needs_train
def test_a_run_draws_its_losses_and_windows(tmp_path, sources):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra train)")
    train(SMALL, sources, tmp_path, device="cpu")
    for picture in ("losses.png", "figures/step_000004.png"):
        with Image.open(tmp_path / picture) as image:
            assert min(image.size) > 100


def test_a_run_is_resumed_as_it_began(tmp_path, sources):
    recipe = SMALL.with_schedule(steps=1, validation_windows=3)
    train(recipe, sources, tmp_path, device="cpu")
    with pytest.raises(GeodecloudError, match="holds a run; give `resume`"):
        train(recipe, sources, tmp_path)
    other = dataclasses.replace(recipe, losses=dataclasses.replace(SMALL.losses, colour=2.0))
    with pytest.raises(GeodecloudError, match=r"another configuration \(colour 1.0, here 2"):
        train(other, sources, tmp_path, device="cpu", resume=True)
    fewer = tmp_path / "fields"
    fewer.mkdir()
    shutil.copy(sources.cloud_fields / "a.png", fewer)
    less = dataclasses.replace(sources, cloud_fields=fewer)
    with pytest.raises(GeodecloudError, match="started with other training data"):
        train(recipe, less, tmp_path, device="cpu", resume=True)
    (tmp_path / "last.pt").write_bytes(b"PK no")
    with pytest.raises(GeodecloudError, match=r"last\.pt: damaged"):
        train(recipe, sources, tmp_path, device="cpu", resume=True)


def test_a_state_of_another_version_is_refused(library, tmp_path):
    run, _ = trained(library, 1)
    run.save(tmp_path / "last.pt")
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    del state["started_from"]
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(GeodecloudError, match=r"last\.pt: damaged, or of another version"):
        Run(SMALL, ALONE).load(tmp_path / "last.pt")


def test_a_run_says_what_it_did(tmp_path, sources):
    train(SMALL, sources, tmp_path, device="cpu")
    info = read_info(tmp_path / "last.safetensors")
    assert info.plan == SMALL.generator
    assert info.metadata["eurosat_tiles"] == 18  # of 30, by the split of all that were published
    assert info.metadata["cloud_fields"] == 2
    assert info.metadata["config"]["schedule"]["precision"] == "fp32"
    assert info.metadata["steps"] == 4
    assert "psnr_restored" in info.metadata["scores"]


def test_the_saved_model_is_the_average(library, tmp_path):
    run, _ = trained(library, 3)
    loop.train_run(run, library, tmp_path)
    saved, info = load_generator(tmp_path / "last.safetensors")
    assert info.plan == SMALL.generator
    for name, value in saved.state_dict().items():
        assert torch.allclose(value, run.average.state_dict()[name], rtol=2e-3, atol=1e-4)


def test_the_same_seed_gives_the_same_losses(library):
    losses = trained(library, 3)[1]
    assert losses == trained(library, 3)[1]
    assert losses[:1] != trained(library, 1, SMALL.with_schedule(seed=7))[1]


def test_the_discriminator_learns_only_after_it_has_joined(library):
    run = Run(SMALL, ALONE)
    before = copy.deepcopy(run.discriminator.state_dict())
    for step in (0, 1):
        assert "adversarial" not in train_step(run, batch_of(library, step))
    assert all(torch.equal(v, before[n]) for n, v in run.discriminator.state_dict().items())
    assert not run.discriminator_optimizer.state
    losses = train_step(run, batch_of(library, 2))
    assert {"discriminator", "adversarial"} <= losses.keys()
    assert any(not torch.equal(v, before[n]) for n, v in run.discriminator.named_parameters())
    (counts,) = {int(state["step"]) for state in run.discriminator_optimizer.state.values()}
    assert counts == 1
    assert all(one.requires_grad for one in run.discriminator.parameters())


def test_the_discriminator_waits_for_two_fine_windows(library):
    deep = DiscriminatorPlan(blocks=(1,) * 6, widths=(8,) * 6)
    run = Run(dataclasses.replace(SMALL, discriminator=deep), ALONE)
    run.step = 2
    batch = batch_of(library, 2)
    one = dataclasses.replace(batch, level=torch.tensor([1.0, *[4.0] * 7]))
    assert "adversarial" not in train_step(run, one)
    assert "adversarial" in train_step(run, batch)


def test_the_discriminator_judges_fine_windows_restored_against_clear(library):
    run, batch = Run(SMALL, ALONE), batch_of(library, 7)
    run.step = 2
    seen, answers = [], []
    run.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    run.generator.register_forward_hook(lambda _m, _a, out: answers.append(out.detach()))
    train_step(run, batch)
    fine = batch.level == 1
    assert 0 < fine.sum() < len(fine)
    clear, restored, again = seen
    assert torch.equal(clear, batch.clear[fine])
    assert torch.equal(restored, answers[0][fine, :3])
    assert torch.equal(again, restored)


def test_clear_windows_have_the_sensors_noise_and_no_cloud(library):
    batch = batch_of(library, 3)
    none = (batch.opacity + batch.shadow).amax(dim=(1, 2, 3)) == 0
    assert none.any()
    assert torch.allclose(batch.clear[none], batch.model_input[none, :3], atol=1e-6)
    assert not torch.equal(batch.clear, batch.target)
    assert (batch.clear - batch.target).abs().mean() < 0.05


def test_the_generator_learns_from_the_discriminator(library):
    """With an adversarial loss of its own the generator's step is another one."""
    shares = {}
    for weight in (0.0, 0.5):
        losses = dataclasses.replace(SMALL.losses, adversarial=weight)
        run = Run(dataclasses.replace(SMALL, losses=losses), ALONE)
        run.step = 2
        shares[weight] = train_step(run, batch_of(library, 5)), weights(run.generator)
    assert "adversarial" not in shares[0.0][0]
    assert shares[0.5][0]["adversarial"] > 0
    assert not torch.equal(shares[0.0][1], shares[0.5][1])


def test_the_discriminator_joins_by_a_ramp():
    run = Run(SMALL.with_schedule(steps=100, join=0.5, ramp=0.1), ALONE)
    found = {}
    for run.step in (0, 49, 54, 59, 99):
        found[run.step] = run.adversarial_weight
    full = SMALL.losses.adversarial
    assert found == pytest.approx({0: 0, 49: 0, 54: full / 2, 59: full, 99: full})
    run = Run(SMALL.with_schedule(steps=4, join=1.0), ALONE)
    run.step = 4
    assert run.adversarial_weight == 0


def test_windows_of_the_coarse_level_alone_are_not_judged(library):
    recipe = dataclasses.replace(
        SMALL, synthesis=dataclasses.replace(SMALL.synthesis, coarse=1.0, middle=0.0)
    )
    run = Run(recipe, ALONE)
    run.step = 3
    assert "discriminator" not in train_step(run, batch_of(library, 3, recipe))


def test_a_loss_that_is_not_finite_stops_the_run(library):
    run = Run(SMALL, ALONE)
    batch = batch_of(library, 0)
    losses = train_step(run, dataclasses.replace(batch, target=batch.target * torch.nan))
    with pytest.raises(DataError, match="step 0: the loss of colour is nan; lower rate in"):
        read_losses(losses, 0)


def test_processes_share_a_batch_of_different_windows(library):
    one, other = (
        make_batch(Draw(1, 0, part=part), library.land, library.bank, 4, SMALL.synthesis)
        for part in (0, 1)
    )
    assert not torch.equal(one.target, other.target)
    with pytest.raises(DataError, match="batch_size is 8: give a multiple of the 3 processes"):
        loop._settled(SMALL, Processes(0, 3, torch.device("cpu")))


def test_scores_are_of_the_same_windows_each_time(library):
    run, _ = trained(library, 2)
    judge = WindowJudge(run, library)
    assert judge.scores() == judge.scores()
    rows, captions = judge.examples()
    assert len(captions) == 9
    assert {caption.split("\n")[1] for caption in captions} <= {"10 m", "20 m", "40 m"}
    assert {len(pictures) for pictures in rows.values()} == {9}
    assert all(0 <= float(p.min()) <= float(p.max()) <= 1 for p in rows.values())


def test_the_networks_of_a_state_may_begin_another_run(library, tmp_path):
    run, _ = trained(library, 3)
    run.save(tmp_path / "last.pt")
    other = Run(SMALL.with_schedule(steps=9), ALONE)
    other.start_from(tmp_path / "last.pt")
    assert other.step == 0
    assert torch.equal(weights(other.average), weights(run.average))
    assert torch.equal(weights(other.discriminator), weights(run.discriminator))
    assert not other.discriminator_optimizer.state
    sha256 = hashlib.sha256((tmp_path / "last.pt").read_bytes()).hexdigest()
    assert other.started_from == {"state": "last.pt", "steps": 3, "sha256": sha256}
    for content in (b"PK no", b"", b"\x80"):
        (tmp_path / "bad.pt").write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.pt: damaged, or not the state of a run"):
            other.start_from(tmp_path / "bad.pt")


class Unsafe:
    def __reduce__(self):
        return print, ("run on loading",)


@pytest.mark.parametrize(
    "damage",
    [
        {"step": None},
        {"step": "3"},
        {"config": [1]},
        {"config": {}},
        {"config": {"generator": 7, "discriminator": {}}},
        {"started_from": "a model"},
        {"average": None},
        {"generator": {"weight": 1}},
        {"discriminator": Unsafe()},
        None,
    ],
)
def test_a_damaged_state_is_one_line(tmp_path, damage):
    path, run = tmp_path / "last.pt", Run(SMALL, ALONE)
    run.save(path)
    state = torch.load(path, weights_only=True)
    torch.save([1] if damage is None else state | damage, path)
    with pytest.raises(
        GeodecloudError, match=r"last\.pt: .*(start a new run in|use) another `out`$"
    ):
        run.load(path)
    with pytest.raises(ModelError, match=r"not the state of a run; give another `start`$"):
        run.start_from(path)
    with pytest.raises(ModelError, match=r"no\.pt: no such file; give the state of a run"):
        run.start_from(tmp_path / "no.pt")


def test_a_state_of_other_shapes_names_them(tmp_path):
    Run(SMALL, ALONE).save(tmp_path / "last.pt")
    plans = {
        "generator": dataclasses.replace(SMALL.generator, width=6),
        "discriminator": DiscriminatorPlan(blocks=(1,), widths=(16,)),
    }
    for name, text in zip(
        plans, (r"\(width 4, here 6\)", r"\(widths \(8,\), here \(16,\)\)"), strict=True
    ):
        other = Run(dataclasses.replace(SMALL, **{name: plans[name]}), ALONE)
        with pytest.raises(ModelError, match=rf"last\.pt: its networks have other shapes {text}; "):
            other.start_from(tmp_path / "last.pt")


def test_a_run_from_a_state_keeps_widths_and_strength_of_its_model(tmp_path, sources):
    plan = dataclasses.replace(SMALL.generator, width=2)
    save_generator(UNet(plan), tmp_path / "m.safetensors", {"strength": 1.1})
    before = Run(dataclasses.replace(SMALL, generator=plan), ALONE)
    before.start_from(tmp_path / "m.safetensors")
    before.save(tmp_path / "last.pt")
    made = train(
        SMALL.with_schedule(steps=1), sources, tmp_path / "run", start=tmp_path / "last.pt"
    )
    assert read_info(made).plan == plan
    assert read_info(made).strength == (1.1, 1.1, 1.1)


def test_a_run_is_resumed_with_the_start_that_it_had(tmp_path, model):
    begin(Run(SMALL, ALONE), tmp_path, model)
    run = Run(SMALL, ALONE)
    begin(run, tmp_path, model)
    run.save(tmp_path / "last.pt")
    for same in (model, None):
        begin(Run(SMALL, ALONE), tmp_path, same)
    other = tmp_path / "other.safetensors"
    save_generator(UNet(SMALL.generator), other, {})
    with pytest.raises(GeodecloudError, match=r"started with other weights than .*other\.safe"):
        begin(Run(SMALL, ALONE), tmp_path, other)
    del run.started_from["sha256"]  # as in a state of an earlier version
    run.save(tmp_path / "last.pt")
    begin(Run(SMALL, ALONE), tmp_path, other)
    Run(SMALL, ALONE).save(tmp_path / "last.pt")  # from random weights
    with pytest.raises(GeodecloudError, match=r"last\.pt: started with other weights than .*m\.s"):
        begin(Run(SMALL, ALONE), tmp_path, model)


def test_statistics_beyond_half_precision_are_kept(tmp_path: Path):
    generator = UNet(SMALL.generator)
    generator.bottom.layers[1].running_var.fill_(1e6)
    save_generator(generator, tmp_path / "m.safetensors", {})
    loaded = load_generator(tmp_path / "m.safetensors")[0]
    assert (loaded.bottom.layers[1].running_var == 1e6).all()


def test_a_wider_generator_answers_as_before():
    old = UNet(GeneratorPlan(width=4, depth=2)).eval()
    new = with_new_channels(old, SMALL.generator).eval()
    x = torch.rand(2, 14, 16, 16)
    before = old(torch.cat([x[:, :3], x[:, 11:]], dim=1))
    after = new(x)
    assert after.shape == (2, 5, 16, 16)
    assert torch.allclose(after[:, :4], before, atol=1e-5)
    assert (after[:, 4] < 0.2).all()


def test_a_generator_of_another_width_is_refused(tmp_path):
    other = UNet(GeneratorPlan(width=8, depth=2))
    with pytest.raises(ModelError, match=r"another shape \(width 8, here 4\)"):
        with_new_channels(other, SMALL.generator)
    save_generator(other, tmp_path / "m.safetensors", {})
    with pytest.raises(ModelError, match=r"m\.safetensors: its generator has another shape"):
        Run(SMALL, ALONE).start_from(tmp_path / "m.safetensors")


def test_tuning_begins_with_the_given_model(tmp_path, sources):
    given = UNet(dataclasses.replace(SMALL.generator, shadow=False))
    save_generator(given, tmp_path / "m.safetensors", {"seen": "before", "strength": 1.1})
    still = SMALL.with_schedule(rate=0.0, steps=1, frozen_statistics=True)
    made = train(still, sources, tmp_path / "run", start=tmp_path / "m.safetensors", device="cpu")
    generator, info = load_generator(made)
    assert info.metadata["started_from"]["seen"] == "before"
    assert info.strength == (1.1, 1.1, 1.1)
    theirs = dict(given.named_parameters())
    for name, ours in generator.named_parameters():
        if not name.startswith("head"):
            torch.testing.assert_close(ours, theirs[name], rtol=2e-3, atol=1e-4)


KEEPING = SMALL.with_schedule(keep=True, rate=0.0, save_every=0.0, validation_windows=3)


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "m.safetensors"
    save_generator(UNet(SMALL.generator), path, {})
    return path


def test_a_kept_model_is_right_but_for_new_land(library, model):
    run = Run(KEEPING, ALONE)
    run.start_from(model)
    run.generator.eval()
    batch = batch_of(library, 0)
    even = torch.arange(8) % 2 == 0
    batch = dataclasses.replace(batch, new_land=even, kind=torch.full((8,), HAZE))
    taught = Teacher(model, run).teach(batch)
    answer = predict_windows(run, run.generator, batch.model_input)
    for name, ours in (("target", answer.restored), ("opacity", answer.opacity)):
        truth, before = getattr(taught, name), getattr(batch, name)
        assert torch.equal(truth[::2], before[::2])
        torch.testing.assert_close(truth[1::2], ours[1::2].clamp(0, 1), rtol=0, atol=0.01)
        assert not torch.allclose(truth[1::2], before[1::2], atol=0.01)


def test_new_land_and_thin_cloud_are_learnt(library):
    opacity = torch.tensor([0, 0.02, 0.3, 0.3, 0.9, 0, 0.9, 0.3])[:, None, None, None]
    batch = dataclasses.replace(
        batch_of(library, 0),
        new_land=torch.arange(8) > 5,
        opacity=opacity.expand(8, 1, 64, 64),
        kind=torch.tensor([NONE, FIELD, FIELD, HAZE, FIELD, NONE, FIELD, HAZE]),
    )
    assert to_learn(batch).nonzero().flatten().tolist() == [2, 6, 7]


def test_answers_are_kept_through_interruptions(tmp_path, sources, model):
    recipe = KEEPING.with_schedule(rate=1e-3, steps=2)
    for out in ("whole", "cut"):
        with pytest.MonkeyPatch.context() as patch:
            if out == "cut":
                with pytest.raises(cut_after(1, patch)):
                    train(recipe, sources, tmp_path / out, start=model, device="cpu")
        train(recipe, sources, tmp_path / out, start=model, device="cpu", resume=True)
    assert log(tmp_path / "whole") == log(tmp_path / "cut")


def test_only_answers_that_are_there_are_kept(cli, tmp_path, sources):
    config, run = tmp_path / "c.toml", tmp_path / "run"
    small = "noise_fields = 2\n[generator]\nwidth = 4\ndepth = 2\n"
    config.write_text(small + "[schedule]\nkeep = true\nbatch_size = 8\nvalidation_windows = 3")
    args = ["--data", sources.eurosat, "--cloud-fields", sources.cloud_fields, "--out", run]
    done = cli("train", *args, "--config", config, "--device", "cpu")
    assert done.code == 2
    assert "--start is missing: give the model whose answers are kept" in done.err
    done = cli("train", *args, "--config", config, "--device", "cpu", "--start", "last.pt")
    assert done.code == 2
    assert "last.pt: is the state of a run: give a model file" in done.err
    other = tmp_path / "other.safetensors"
    save_generator(UNet(dataclasses.replace(SMALL.generator, shadow=False)), other, {})
    done = cli("train", *args, "--config", config, "--device", "cpu", "--start", other)
    assert done.code == 1
    assert "other.safetensors: its answers cannot be kept" in done.err
    assert "(shadow False, here True); set keep = false in [schedule]" in done.err


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


def test_every_fraction_is_a_number_of_a_recipe():
    assert {name for name, _ in recipes._numbers(Recipe(), "")} >= recipes._FRACTIONS


def test_the_default_recipe_is_the_file():
    assert load_recipe(ROOT / "configs" / "default.toml") == Recipe()


def test_a_recipe_changes_what_it_names(tmp_path: Path):
    path = tmp_path / "r.toml"
    path.write_text("[synthesis.sky]\nhaze = 0.5\nreach = [1, 2.0]\n[generator]\nwidth = 8")
    recipe = load_recipe(path)
    assert recipe.synthesis.sky.haze == 0.5
    assert recipe.synthesis.sky.reach == (1, 2.0)
    assert recipe.generator == dataclasses.replace(Recipe().generator, width=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[synthesis.sky]\nfog = 0.5", "[synthesis.sky] unknown key 'fog'; did you mean"),
        ("[synthesis.sky]\nreach = [1.0]", "reach is [1.0]: it must be a list of 2 numbers"),
        ("[synthesis.sky]\nhaze = -0.5", "[synthesis.sky] haze is -0.5: give 0 or more"),
        ("[synthesis.land]\nscenes = nan", "[synthesis.land] scenes is nan"),
        ("[synthesis]\ncoarse = 0.9\nmiddle = 0.2", "middle add up to 1.1: give at most 1"),
        ("[synthesis.land]\nsame_class = 0.0", "[synthesis.land] same_class is 0: give more"),
        ("[synthesis.sensor]\nnoise = [0.0, 0.1]", "[synthesis.sensor] noise is 0: give more"),
        (
            "[synthesis.sensor]\nl1c = 0.0\nl2a = 0.0\ntci = 0.0\npicture = 0.0",
            "[synthesis.sensor] l1c, l2a, tci and picture are 0",
        ),
        ("[losses]\nopacity_quantile = 1.5", "[losses] opacity_quantile is 1.5: give a fraction"),
        ("[synthesis.land]\nscenes = 15.0", "[synthesis.land] scenes is 15: give a fraction"),
        ("[synthesis.ground]\nroofs = 12.0", "[synthesis.ground] roofs is 12: give a fraction"),
        ("[synthesis.sky]\nshadows = 60.0", "[synthesis.sky] shadows is 60: give a fraction"),
        ("[synthesis.sensor]\nblurred = 2.0", "[synthesis.sensor] blurred is 2: give a fraction"),
        ("[synthesis.context]\nwrong = 8.0", "[synthesis.context] wrong is 8: give a fraction"),
        ("noise_fields = 'many'", "noise_fields is 'many': it must be int"),
        ("noise_fields = 0", "noise_fields is 0: give at least 1"),
        ("[schedule]\njoin = 400.0", "[schedule] join is 400: give a fraction, 0 to 1"),
        ("[schedule]\nsteps = 0", "[schedule] steps is 0: give at least 1"),
        ("[generator]\nshadow = false", "shadow must be true"),
        ("[training]\nsteps = 3", '[training] is of another recipe; add recipe = "article"'),
        ("not toml", "not valid TOML"),
    ],
)
def test_recipes_say_what_is_wrong(tmp_path: Path, text, words):
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_recipe(path)
    assert words in str(error.value)
    assert "r.toml" in str(error.value)


def smaller(text: str, **schedule: float) -> str:
    """The same recipe, with small networks and batches."""
    sections = {
        "generator": {"width": 4, "depth": 2},
        "discriminator": {"blocks": [1], "widths": [8]},
        "schedule" if "two-level" in text else "training": {
            "batch_size": 8,
            "validation_windows" if "two-level" in text else "validation_tiles": 3,
            **schedule,
        },
    }
    lines = [re.sub("noise_fields = .*", "noise_fields = 2", line) for line in text.splitlines()]
    for name, values in sections.items():
        if f"[{name}]" not in "\n".join(lines):
            lines.append(f"[{name}]")
        start = next(i for i, line in enumerate(lines) if line.startswith(f"[{name}]"))
        end = next((i for i in range(start + 1, len(lines)) if lines[i][:1] == "["), len(lines))
        kept = [one for one in lines[start + 1 : end] if one.split(" =")[0] not in values]
        lines[start + 1 : end] = [f"{key} = {value}" for key, value in values.items()] + kept
    return "\n".join(lines)


@pytest.mark.parametrize(
    "name",
    [
        "default",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("gpu", "cpu", "tune", "keep", "physical", "article")
        ),
    ],
)
def test_the_recipes_that_come_along_run(cli, tmp_path, sources, name):
    (tmp_path / "c.toml").write_text(smaller((ROOT / "configs" / f"{name}.toml").read_text()))
    args = ["--data", sources.eurosat, "--config", tmp_path / "c.toml", "--steps", 2]
    fields = [] if name in ("article", "physical") else ["--cloud-fields", sources.cloud_fields]
    if name == "keep":
        save_generator(UNet(SMALL.generator), tmp_path / "m.safetensors", {})
        fields += ["--start", tmp_path / "m.safetensors"]
    done = cli("train", *args, *fields, "--device", "cpu", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert f"model: {tmp_path / 'run' / 'last.safetensors'}" in done.out
    assert [line["step"] for line in log(tmp_path / "run")] == [2]
    again = cli("train", *args, *fields, "--device", "cpu", "--out", tmp_path / "run")
    assert again.code == 1
    assert "holds a run; give --resume, or another --out" in again.err
    assert cli("train", *args, *fields, "--out", tmp_path / "run", "--resume").code == 0


def test_without_cloud_fields_those_of_the_repository_are_taken(cli, tmp_path, monkeypatch):
    assert find_cloud_fields() == ROOT / "sample_data" / "cloud_fields"
    monkeypatch.setattr(reading, "__file__", str(tmp_path / "a" / "b" / "c" / "library.py"))
    done = cli("train", "--data", tmp_path, "--out", tmp_path / "run")
    assert done.code == 2
    assert "--cloud-fields is missing: give a folder of cloud fields" in done.err


def test_options_of_another_recipe_are_one_line(cli, tmp_path, sources):
    config = ROOT / "configs" / "article.toml"
    args = ["--data", sources.eurosat, "--out", tmp_path / "run"]
    done = cli("train", *args, "--config", config, "--cloud-fields", sources.cloud_fields)
    assert done.code == 2
    assert '--cloud-fields works with the recipe "two-level"' in done.err
    (tmp_path / "c.toml").write_text("recipe = 'mine'")
    done = cli("train", *args, "--config", tmp_path / "c.toml")
    assert "recipe is 'mine': it must be two-level, physical, article" in done.err
    done = cli("train", *args, "--device", "cuda:77", "--cloud-fields", sources.cloud_fields)
    assert done.code == 2
    assert "--device 'cuda:77' is not available on this machine" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_train_together(tmp_path, sources):
    """One of them writes when it is time, and the other does not wait for it."""
    text = (ROOT / "configs" / "cpu.toml").read_text()
    (tmp_path / "c.toml").write_text(smaller(text, join=0.0, save_every=0.0))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "geodecloud", "train", "--device", "cpu"]
    command += ["--data", sources.eurosat, "--cloud-fields", sources.cloud_fields, "--steps", "2"]
    command += ["--config", tmp_path / "c.toml", "--out", tmp_path / "run"]
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT, timeout=300, capture_output=True)
    assert [line["step"] for line in log(tmp_path / "run")] == [1, 2]
    assert "discriminator" in log(tmp_path / "run")[-1]


@pytest.mark.parametrize(
    ("device", "message"),
    [("auto", "process 3 of this machine has no GPU"), ("cuda:1", "'cuda:1' is not available to")],
)
def test_each_process_needs_a_gpu_of_its_own(monkeypatch, device, message):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=message), joined_processes(device):
        pass


def test_several_processes_without_a_gpu_refuse_to_look_for_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with (
        pytest.raises(UsageError, match=r"`device` 'cuda' is not available to several processes"),
        joined_processes("cuda"),
    ):
        pass
