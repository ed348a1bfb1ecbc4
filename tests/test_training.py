"""Laws of training: batches, losses, and a run that can be cut in two."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from geodecloud.checkpoint import load_generator, read_info
from geodecloud.config import Config, GeneratorPlan, LossWeights, Training, load_config
from geodecloud.errors import ConfigError, DataError, GeodecloudError
from geodecloud.training import augment, loop
from geodecloud.training.batches import Batch, batches
from geodecloud.training.clouds import draw_uniforms
from geodecloud.training.loop import train
from geodecloud.training.losses import opacity_loss, restoration_loss
from geodecloud.training.processes import Processes
from geodecloud.training.run import Run
from geodecloud.training.sources import Data
from geodecloud.training.step import train_step
from geodecloud.training.tiles import Tiles
from tests.conftest import ROOT
from tests.conftest import noise as random_dn

ALONE = Processes(0, 1, torch.device("cpu"))
TINY = Config(
    generator=GeneratorPlan(width=4),
    training=Training(
        steps=6, batch_size=4, validate_every=3, warm_up=0.2, validation_tiles=4, precision="fp32"
    ),
)


def _tiles(count):
    rng = np.random.default_rng(0)
    return Tiles(rng.integers(1, 255, (count, 3, 64, 64), np.uint8), tuple(map(str, range(count))))


def _data(count=13):
    return Data(_tiles(count), _tiles(4))


def test_tuning_begins_with_the_given_model(tmp_path, tiny_model):
    plan = Training(steps=1, batch_size=4, generator_rate=0.0, validation_tiles=4)
    given, info = load_generator(tiny_model)
    config = Config(generator=info.plan, training=plan)
    made = train(config, _data(5), tmp_path / "run", start=tiny_model)
    again, about = load_generator(made)
    assert about.metadata["started_from"]["kind"] == info.metadata["kind"]
    for (name, ours), theirs in zip(again.named_parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    with pytest.raises(GeodecloudError, match="width"):
        train(Config(training=plan), _data(5), tmp_path / "other", start=tiny_model)


def test_a_wide_generator_overfits_four_tiles():
    plan = Training(steps=120, batch_size=4, warm_up=1.0, generator_rate=3e-3, precision="fp32")
    run = Run(Config(generator=GeneratorPlan(width=8), training=plan), ALONE)
    clear = torch.rand(4, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    items = [0, 1, 2, 3]
    changes = draw_uniforms(5, 0, items, augment.UNIFORMS)
    batch = Batch(
        clear, clear[:, None].expand(-1, 3, -1, -1, -1), changes, draw_uniforms(4, 0, items)
    )
    losses = [train_step(run, batch)["restored"] for _ in range(120)]
    assert losses[-1] < 0.25 * losses[0]


def test_the_loss_is_least_for_the_truth():
    target, opacity = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    assert restoration_loss(target, target, opacity) == 0
    off = restoration_loss(target + 0.1, target, opacity * 0)
    assert off > restoration_loss(target + 0.1, target, opacity * 0 + 0.9) > 0
    assert opacity_loss(opacity, opacity, 0.35) == 0
    torch.testing.assert_close(opacity_loss(opacity + 0.2, opacity, 0.5), torch.tensor(0.2))


def test_a_low_quantile_fears_false_clouds_more():
    clear, half = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.5)
    assert opacity_loss(half, clear, 0.35) > opacity_loss(clear, half, 0.35)
    # Its minimum over many draws is their quantile.
    draws = torch.rand(1, 1, 100, 100)
    answers = torch.linspace(0, 1, 101)
    losses = [opacity_loss(torch.full_like(draws, float(a)), draws, 0.35) for a in answers]
    assert answers[int(torch.stack(losses).argmin())] == pytest.approx(0.35, abs=0.03)


def _cut_at(step, monkeypatch):
    class CutError(Exception):
        pass

    def until(*args):
        for count, batch in enumerate(batches(*args)):
            if count == step:
                raise CutError
            yield batch

    monkeypatch.setattr(loop, "batches", until)
    return CutError


def _log(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{**line, "images_per_second": 0} for line in lines]


@pytest.mark.parametrize("name", ["default", "article"])
def test_a_run_that_was_cut_is_the_same_run(tmp_path, name):
    shipped = load_config(ROOT / "configs" / f"{name}.toml")
    plan = dataclasses.replace(
        TINY.training, schedule=shipped.training.schedule, ema_decay=shipped.training.ema_decay
    )
    generator = dataclasses.replace(shipped.generator, width=4)
    config = dataclasses.replace(shipped, generator=generator, training=plan)
    train(config, _data(), tmp_path / "whole")
    cut = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(_cut_at(5, patch)):
        train(config, _data(), cut)
    with pytest.raises(GeodecloudError, match="--resume"):
        train(config, _data(), cut)
    with pytest.raises(GeodecloudError, match="another configuration"):
        train(dataclasses.replace(config, losses=LossWeights(l1=2)), _data(), cut, resume=True)
    with pytest.raises(GeodecloudError, match="other tiles"):
        train(config, _data(12), cut, resume=True)
    # What was written after the last saved state is written again, not twice.
    with (cut / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 6}) + "\n" + '{"step": 9, "half a l')
    train(config, _data(), cut, resume=True)
    assert _log(tmp_path / "whole") == _log(cut)
    assert [line["step"] for line in _log(cut)] == [3, 6]
    for model in ("last.safetensors", "best.safetensors"):
        assert (tmp_path / "whole" / model).read_bytes() == (cut / model).read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"PK no")
    with pytest.raises(GeodecloudError, match=r"last\.pt: damaged"):
        train(TINY, _data(), tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    wild = dataclasses.replace(TINY, losses=LossWeights(l1=float("inf")))
    with pytest.raises(DataError, match="step 0: the loss is inf; lower generator_rate"):
        train(wild, _data(), tmp_path)


@pytest.mark.needs_train
def test_a_run_draws_its_losses_and_tiles(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra train)")
    train(TINY, _data(), tmp_path)
    for picture in ("losses.png", "figures/step_000003.png", "figures/step_000006.png"):
        with Image.open(tmp_path / picture) as image:
            assert min(image.size) > 100


def test_a_run_without_matplotlib_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop.importlib.util, "find_spec", lambda _: None)
    train(TINY, _data(), tmp_path)
    assert "no figures without matplotlib: pip install 'geodecloud[train]'" in caplog.text
    assert not (tmp_path / "losses.png").exists()


def test_a_run_says_what_it_did(tmp_path):
    train(TINY, Data(_tiles(13), _tiles(4), {"eurosat_tiles": 13}), tmp_path)
    info = read_info(tmp_path / "best.safetensors")
    assert info.metadata["eurosat_tiles"] == 13
    assert info.metadata["config"]["training"]["precision"] == "fp32"
    assert "psnr_restored" in info.metadata["scores"]
    scores = _log(tmp_path)[-1]
    assert scores["epoch"] == round(6 * 4 / 13, 3)
    assert 0 <= scores["changed_clear"] <= 1
    assert -1 <= scores["ssim_restored"] <= 1


def test_the_discriminator_joins_after_the_warm_up():
    plan = dataclasses.replace(TINY.training, steps=100, warm_up=0.5, adversarial_ramp=0.1)
    run = Run(dataclasses.replace(TINY, training=plan), ALONE)
    weights = {}
    for run.step in (0, 49, 55, 60, 99):
        weights[run.step] = run.adversarial_weight
    full = TINY.losses.adversarial
    assert weights == pytest.approx({0: 0, 49: 0, 55: full / 2, 60: full, 99: full})


def test_the_articles_schedule_falls_to_a_tenth():
    config = load_config(ROOT / "configs" / "article.toml")
    config = dataclasses.replace(config, generator=GeneratorPlan(4, 2, "transposed", opacity=False))
    plan = dataclasses.replace(config.training, steps=15, epochs=0)
    run = Run(dataclasses.replace(config, training=plan), ALONE)
    rates = []
    for _ in range(15):
        rates.append(run.generator_optimizer.param_groups[0]["lr"])
        run.generator_optimizer.step()
        run.schedule.step()
    assert rates == pytest.approx([1e-4] * 10 + [1e-5] * 5)


def test_epochs_take_each_tile_once_over_all_processes():
    tiles = _tiles(12)
    seen = [batch.clouds for batch, _ in zip(batches(tiles, 5, 4, 0), range(3), strict=False)]
    assert len({tuple(row[:4].tolist()) for uniforms in seen for row in uniforms}) == 12
    third = next(batches(tiles, 5, 4, 2))
    torch.testing.assert_close(third.clouds, seen[2])
    halves = [next(batches(tiles, 5, 4, 2, (rank, 2))) for rank in (0, 1)]
    for whole, first, second in zip(third, *halves, strict=True):
        torch.testing.assert_close(whole, torch.stack([first, second], 1).flatten(0, 1))


def test_too_few_tiles_are_named():
    with pytest.raises(DataError, match="fewer than one batch"):
        next(batches(_tiles(3), 0, 4, 0))


def test_the_default_configuration_is_the_file():
    assert load_config(ROOT / "configs" / "default.toml") == Config()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nstep = 3", "[training] unknown key 'step'; did you mean 'steps'"),
        ("recipee = 3", "did you mean 'recipe'"),
        ("recipe = 'mine'", "must be physical or article"),
        ("[training]\nsteps = 'many'", "must be int"),
        ("[training]\nsteps = 0", "at least 1"),
        ("[clouds]\nnone = 0.5", "add up to"),
        ("clouds = 3", "a table of keys"),
        ("[generator]\nwidth = 0", "at least 1"),
        ("[generator]\nopacity = 1", "must be bool"),
        ("[generator]\nupsample = 'cubic'", "bilinear or transposed"),
        ("[discriminator]\nblocks = [1]", "one of each"),
        ("[discriminator]\nblocks = 'x'", "a list of whole numbers"),
        ("[augmentation]\ncoarse = 2.0", "a share"),
        ("[losses]\nl1 = -1.0", "l1 is -1"),
        ("[training]\ngenerator_rate = -1.0", "generator_rate is -1"),
        ("[training]\nema_decay = 7", "a share"),
        ("not toml", "not valid TOML"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, words):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert words in str(error.value)
    assert "c.toml" in str(error.value)


def _eurosat(folder, count=10):
    for name in ("Forest", "River"):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture = random_dn((64, 64, 3), "uint8", seed=i)
            Image.fromarray(picture).save(folder / name / f"{name}_{i}.jpg", quality=100)
    return folder


def _train_command(tmp_path, out, *more):
    config = tmp_path / "tiny.toml"
    config.write_text(
        "[generator]\nwidth = 4\n[training]\nsteps = 60\nbatch_size = 4\n"
        "validate_every = 5\nvalidation_tiles = 4\nwarm_up = 0.3\n"
    )
    data = tmp_path / "EuroSAT"
    if not data.exists():
        _eurosat(data)
    given = ("--config", config, "--data", data, "--out", out)
    return [*map(str, ("-m", "geodecloud", "train", *given, *more))]


def test_a_model_of_one_class(tmp_path, cli):
    command = _train_command(tmp_path, tmp_path / "run", "--classes", "River", "--steps", 2)[2:]
    assert cli(*command).code == 0
    about = read_info(tmp_path / "run" / "last.safetensors").metadata
    assert about["classes"] == ["River"]
    assert about["training_tiles"] < 10
    assert about["steps"] == 2
    (tmp_path / "EuroSAT" / "River" / "River_3.jpg").write_text("broken")
    damaged = _train_command(tmp_path, tmp_path / "next", "--steps", 2)[2:]
    failed = cli(*damaged)
    assert failed.code == 1
    assert "River_3.jpg" in failed.err
    assert cli(*damaged, "--on-bad", "skip").code == 0
    assert cli(*damaged, "--on-bad", "ignore").code == 2


@pytest.mark.slow
def test_a_killed_run_resumes_as_the_same_run(tmp_path):
    """kill -9 in the middle."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    run = [sys.executable, *_train_command(tmp_path, whole)]
    subprocess.run(run, check=True, cwd=ROOT, env=one, capture_output=True)
    run = [sys.executable, *_train_command(tmp_path, cut, "--resume")]
    with subprocess.Popen(run, cwd=ROOT, env=one, stderr=subprocess.DEVNULL) as process:
        while not (cut / "last.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert len(_log(cut)) < len(_log(whole))
    subprocess.run(run, check=True, cwd=ROOT, env=one, capture_output=True)
    assert _log(whole) == _log(cut)
    assert (whole / "last.safetensors").read_bytes() == (cut / "last.safetensors").read_bytes()


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    """Torchrun with two CPU processes; the gradients are shared, or the two would differ."""
    script = tmp_path / "check.py"
    script.write_text(
        "import torch\n"
        "from torch import distributed\n"
        "from geodecloud.training import loop\n"
        "from geodecloud.cli import main\n"
        "after = loop._train\n"
        "def train(run, *rest):\n"
        "    after(run, *rest)\n"
        "    for network in (run.generator, run.discriminator):\n"
        "        ours = torch.cat([p.detach().flatten() for p in network.parameters()])\n"
        "        mean = ours.clone()\n"
        "        distributed.all_reduce(mean)\n"
        "        assert torch.equal(ours * 2, mean)\n"
        "    print('alike in', run.processes.rank, run.processes.count, flush=True)\n"
        "loop._train = train\n"
        "main()\n"
    )
    command = _train_command(tmp_path, tmp_path / "run", "--steps", 6)[2:]
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    run = subprocess.run(
        [sys.executable, *launcher, str(script), *command],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert "alike in 0 2" in run.stdout
    assert "alike in 1 2" in run.stdout
    assert [line["step"] for line in _log(tmp_path / "run")] == [5, 6]
