"""Laws of training: batches, losses, and a run that can be cut in two."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from geodecloud.data.config import CloudMix
from geodecloud.data.tiles import Tiles
from geodecloud.errors import DataError, DataWarning, GeodecloudError, OutputError
from geodecloud.model import checkpoint
from geodecloud.model.checkpoint import load_generator
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan
from geodecloud.model.model_file import read_info
from geodecloud.raster.unfinished import Unfinished
from geodecloud.settings import Monitoring
from geodecloud.training import json_lines
from geodecloud.training import step as steps
from geodecloud.training import trainer as loop
from geodecloud.training import writer as writing
from geodecloud.training.config import Config, LossWeights, Training, load_config
from geodecloud.training.distributed import Processes
from geodecloud.training.loader import Batch, RunTiles, batches
from geodecloud.training.losses import pinball, restoration_loss
from geodecloud.training.state import Run
from geodecloud.training.step import train_step
from geodecloud.training.trainer import train
from geodecloud.training.validate import TileJudge, validate
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("no_figures")
ALONE = Processes(0, 1, torch.device("cpu"))
TINY = Config(
    generator=GeneratorPlan(width=4, depth=2),
    discriminator=DiscriminatorPlan(blocks=(1, 1), widths=(16, 32)),
    training=Training(
        steps=6, batch_size=4, validate_every=3, warm_up=0.2, validation_tiles=4, precision="fp32"
    ),
)
ONE_STEP = dataclasses.replace(TINY, training=dataclasses.replace(TINY.training, steps=1))


def _tiles(count):
    rng = np.random.default_rng(0)
    return Tiles(rng.integers(1, 255, (count, 3, 64, 64), np.uint8), tuple(map(str, range(count))))


def _data(count=13):
    return RunTiles(_tiles(count), _tiles(4))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run that came to its end."""
    folder = tmp_path_factory.mktemp("run")
    train(TINY, RunTiles(_tiles(13), _tiles(4), {"eurosat_tiles": 13}), folder)
    return folder


def test_tuning_begins_with_the_given_model(tmp_path, tiny_model):
    plan = Training(steps=1, batch_size=4, generator_rate=0.0, validation_tiles=4)
    given, info = load_generator(tiny_model)
    config = Config(generator=info.plan, discriminator=TINY.discriminator, training=plan)
    made = train(config, _data(5), tmp_path / "run", start=tiny_model)
    again, about = load_generator(made)
    assert about.metadata["started_from"]["kind"] == info.metadata["kind"]
    for (name, ours), theirs in zip(again.named_parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    with pytest.raises(GeodecloudError, match="width"):
        train(Config(training=plan), _data(5), tmp_path / "other", start=tiny_model)


@pytest.mark.slow
def test_a_wide_generator_overfits_four_tiles():
    plan = Training(steps=120, batch_size=4, warm_up=1.0, generator_rate=3e-3, precision="fp32")
    run = Run(Config(generator=GeneratorPlan(width=8), training=plan), ALONE)
    clear = torch.rand(4, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    batch = Batch(clear, clear[:, None].expand(-1, 3, -1, -1, -1), clear, 0, (0, 1, 2, 3))
    losses = [train_step(run, batch)["restored"] for _ in range(120)]
    assert losses[-1] < 0.25 * losses[0]


def test_another_run_begins_with_the_networks_of_a_state(tmp_path):
    first, second = Run(TINY, ALONE), Run(TINY, ALONE)
    with torch.no_grad():
        first.average.head.bias.fill_(3.0)
    first.save(tmp_path / "last.pt")
    second.start_from(tmp_path / "last.pt")
    assert (second.average.head.bias == 3).all()
    assert second.started_from["state"] == "last.pt"


def test_the_loss_is_least_for_the_truth():
    target, opacity = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    plan = LossWeights()
    assert restoration_loss(target, target, opacity, plan) == 0
    for same in (0, 0.3, 1):
        even = torch.full_like(opacity, same)
        off = restoration_loss(target + 0.1, target, even, plan)
        torch.testing.assert_close(off, torch.tensor(0.1))


def test_pixels_without_cloud_or_ground_count_least():
    opacity = torch.tensor([0.0, 0.3, 1.0]).view(1, 1, 1, 3)
    target = torch.zeros(1, 3, 1, 3)
    losses = [
        float(restoration_loss(torch.eye(3)[i].view(1, 1, 1, 3), target, opacity, LossWeights()))
        for i in range(3)
    ]
    assert losses[1] > 5 * losses[0] > 0
    assert losses[1] > 4 * losses[2] > 0


def test_a_batch_without_weight_teaches_nothing():
    restored = torch.rand(2, 3, 8, 8, requires_grad=True)
    plan = LossWeights(without_cloud=0)
    loss = restoration_loss(restored, torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8), plan)
    (gradient,) = torch.autograd.grad(loss, restored)
    assert loss == 0
    assert not gradient.any()


def test_the_opacity_is_best_where_it_is_true():
    opacity = torch.rand(2, 1, 8, 8)
    assert pinball(opacity, opacity, 0.35) == 0
    torch.testing.assert_close(pinball(opacity + 0.2, opacity, 0.5), torch.tensor(0.2))


def test_a_low_quantile_fears_false_clouds_more():
    clear, half = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 0.5)
    assert pinball(half, clear, 0.35) > pinball(clear, half, 0.35)
    # Its minimum over many draws is their quantile.
    draws = torch.rand(1, 1, 100, 100)
    answers = torch.linspace(0, 1, 101)
    losses = [pinball(torch.full_like(draws, float(a)), draws, 0.35) for a in answers]
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


def _half_a_line(run):
    whole = (run / "metrics.jsonl").read_text().splitlines(keepends=True)[0]
    return whole + "\n" + whole[: len(whole) // 2]


@pytest.mark.slow  # that of two levels is among the fast ones
@pytest.mark.parametrize("name", ["physical", "article"])
def test_a_run_that_was_cut_is_the_same_run(tmp_path, name):
    shipped = load_config(ROOT / "configs" / f"{name}.toml")
    plan = dataclasses.replace(
        TINY.training, schedule=shipped.training.schedule, ema_decay=shipped.training.ema_decay
    )
    generator = dataclasses.replace(shipped.generator, width=4)
    tiny = {"generator": generator, "discriminator": TINY.discriminator, "training": plan}
    config = dataclasses.replace(shipped, **tiny)
    train(config, _data(), tmp_path / "whole")
    cut = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(_cut_at(5, patch)):
        train(config, _data(), cut)
    with pytest.raises(GeodecloudError, match="`resume`"):
        train(config, _data(), cut)
    with pytest.raises(GeodecloudError, match=r"another configuration \(l1 .*, here 2"):
        train(dataclasses.replace(config, losses=LossWeights(l1=2)), _data(), cut, resume=True)
    with pytest.raises(GeodecloudError, match="other training data"):
        train(config, _data(12), cut, resume=True)
    # What was written after the last saved state is written again, not twice.
    with (cut / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 6}) + "\n" + '{"step": 9, "half a l')
    shutil.copytree(cut, tmp_path / "again")
    (tmp_path / "again" / "metrics.jsonl").write_text(_half_a_line(cut))
    train(config, _data(), tmp_path / "again", resume=True)
    assert _log(tmp_path / "again") == _log(tmp_path / "whole")
    train(config, _data(), cut, resume=True)
    assert _log(tmp_path / "whole") == _log(cut)
    assert [line["step"] for line in _log(cut)] == [3, 6]
    assert [path.name for path in sorted((cut / "models").iterdir())] == [
        "step_000003.safetensors",
        "step_000006.safetensors",
    ]
    for model in ("last.safetensors", "best.safetensors", "models/step_000003.safetensors"):
        assert (tmp_path / "whole" / model).read_bytes() == (cut / model).read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_damaged_lines_of_a_log_are_left_out(tmp_path):
    path = tmp_path / "losses.jsonl"
    damaged = (b"\0" * 40, b"[1]", b"7", b'{"loss": 1}', b'{"step": null}', b'{"step": 2', b"\xff")
    path.write_bytes(b"\n".join((b'{"step": 1}', *damaged, b'{"step": 3}\n')))
    log = json_lines.JsonLines(path, 3)
    assert log.read() == [{"step": 1}, {"step": 3}]
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n'


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"PK no")
    with pytest.raises(GeodecloudError, match=r"last\.pt: damaged"):
        train(TINY, _data(), tmp_path, resume=True)
    torch.save({"of": "another program"}, tmp_path / "last.pt")
    with pytest.raises(GeodecloudError, match=r"last\.pt: damaged"):
        train(TINY, _data(), tmp_path, resume=True)


def test_a_state_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def full(state, file):
        file.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"last\.pt: cannot be written .*No space left"):
        Run(TINY, ALONE).save(tmp_path / "last.pt")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_was_writing_is_removed(tmp_path):
    for folder in (tmp_path, tmp_path / "models", tmp_path / "figures"):
        folder.mkdir(exist_ok=True)
        Unfinished(folder, "0" * 16).create().write_bytes(b"half a state")
    run = Run(TINY, ALONE)
    writing.RunWriter(tmp_path, {}, run, TileJudge(run, _data()), Monitoring())
    assert not list(tmp_path.rglob("*.part"))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "restoration_loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(DataError, match="step 0: the loss is nan; lower generator_rate"):
        train(TINY, _data(), tmp_path)


def test_a_full_disk_is_one_clear_error(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("I/O error: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        with pytest.raises(OutputError, match=r"best\.safetensors: cannot be written .*No space"):
            train(ONE_STEP, _data(), tmp_path / "model")
    monkeypatch.setattr(
        json_lines.json, "dumps", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OutputError, match=r"run: cannot be written .*full"):
        train(ONE_STEP, _data(), tmp_path / "run")


def test_scores_of_no_cloud_are_json_all_the_same(tmp_path):
    train(dataclasses.replace(ONE_STEP, clouds=CloudMix.only("none")), _data(), tmp_path)
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "Infinity" not in text
    assert json.loads(text.splitlines()[0])["psnr_input"] is None


@pytest.mark.slow
def test_a_run_may_validate_once_an_epoch(tmp_path):
    plan = dataclasses.replace(TINY.training, epochs=2, validate_every=0)
    train(dataclasses.replace(TINY, training=plan), _data(), tmp_path)
    assert [line["step"] for line in _log(tmp_path)] == [3, 6]  # 13 tiles, 4 in a batch


@pytest.mark.parametrize("kind", ["none", "deck"])
def test_validation_of_one_kind_alone(kind):
    run = Run(dataclasses.replace(TINY, clouds=CloudMix.only(kind)), ALONE)
    scores = validate(run, _tiles(5))
    assert scores["psnr_input"] == float("inf") if kind == "none" else scores["psnr_input"] > 0


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11])
def test_a_run_may_be_short(count):
    plan = dataclasses.replace(TINY.training, steps=count)
    run = Run(dataclasses.replace(TINY, training=plan), ALONE)
    for _ in range(count):
        run.generator_optimizer.step()
        run.schedule.step()


@pytest.mark.needs_train
def test_a_run_draws_its_losses_and_tiles(finished):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra train)")
    for picture in ("losses.png", "figures/step_000003.png", "figures/step_000006.png"):
        with Image.open(finished / picture) as image:
            assert min(image.size) > 100


def test_a_run_without_matplotlib_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(writing.importlib.util, "find_spec", lambda _: None)
    with pytest.warns(DataWarning, match=r"no figures .*: pip install 'geodecloud\[train\]'"):
        train(ONE_STEP, _data(), tmp_path)
    assert not (tmp_path / "losses.png").exists()


def test_a_run_says_what_it_did(finished):
    info = read_info(finished / "best.safetensors")
    assert info.metadata["eurosat_tiles"] == 13
    assert info.metadata["config"]["training"]["precision"] == "fp32"
    assert "psnr_restored" in info.metadata["scores"]
    scores = _log(finished)[-1]
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
    config = dataclasses.replace(
        config, generator=GeneratorPlan(4, 2, "transposed", opacity=False, dark_object=False)
    )
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
    tiles.pixels[:2] = [[[[30]]], [[[40]]]]
    seen = [batch for batch, _ in zip(batches(tiles, 5, 4, 0), range(3), strict=False)]
    assert sorted(item for batch in seen for item in batch.items) == list(range(12))
    third = next(batches(tiles, 5, 4, 2))
    for again, before in zip(third, seen[2], strict=True):
        assert torch.equal(torch.as_tensor(again), torch.as_tensor(before))
    assert third.water.std(dim=(1, 2, 3)).max() < 1e-6  # beside any land lies water
    assert (next(batches(_tiles(4), 0, 4, 0)).water.std(dim=(1, 2, 3)) > 0.1).all()  # there is none
    halves = [next(batches(tiles, 5, 4, 2, (rank, 2))) for rank in (0, 1)]
    for whole, first, second in zip(third[:3], *(half[:3] for half in halves), strict=True):
        torch.testing.assert_close(whole, torch.stack([first, second], 1).flatten(0, 1))
    assert (halves[0].items, halves[1].items) == (third.items[::2], third.items[1::2])
    assert {half.epoch for half in halves} == {third.epoch} == {0}


def test_too_few_tiles_are_named():
    with pytest.raises(DataError, match="fewer than one batch"):
        next(batches(_tiles(3), 0, 4, 0))
