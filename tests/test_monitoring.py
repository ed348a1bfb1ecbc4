"""Laws of what a training run shows and logs: losses, figures, TensorBoard, an interruption."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from geodecloud.data.config import CloudMix
from geodecloud.data.tiles import Tiles
from geodecloud.errors import OutputError, UsageError
from geodecloud.model.config import DiscriminatorPlan, GeneratorPlan
from geodecloud.raster.signals import Stopped, stopped_by
from geodecloud.settings import Monitoring
from geodecloud.training import loop, writer
from geodecloud.training import trainer as trained_by
from geodecloud.training.config import Config, Training
from geodecloud.training.judge import Examples
from geodecloud.training.loader import RunTiles
from geodecloud.training.step import cloud_names
from geodecloud.training.trainer import train
from geodecloud.training.validate import TileJudge

pytestmark = pytest.mark.usefixtures("no_figures")
CONFIG = Config(
    generator=GeneratorPlan(width=4, depth=2),
    discriminator=DiscriminatorPlan(blocks=(1,), widths=(8,)),
    training=Training(
        steps=5, batch_size=2, validate_every=3, warm_up=0.2, validation_tiles=1, precision="fp32"
    ),
)


def data():
    rng = np.random.default_rng(0)
    tiles = Tiles(rng.integers(1, 255, (9, 3, 64, 64), np.uint8), tuple("abcdefghi"))
    return RunTiles(tiles, tiles)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer.importlib.util, "find_spec", lambda _: None)  # no figures
        train(CONFIG, data(), folder)
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_losses_are_logged_every_so_many_steps_and_with_each_saved_state(tmp_path):
    train(CONFIG, data(), tmp_path, monitoring=Monitoring(log_every=2))
    logged, states = lines(tmp_path / "losses.jsonl"), lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in logged] == [2, 3, 4, 5]
    assert [line["step"] for line in states] == [3, 5]
    assert all(line["learning_rate"] > 0 and line["images_per_second"] > 0 for line in logged)
    mean = (2 * logged[0]["restored"] + logged[1]["restored"]) / 3
    assert states[0]["restored"] == pytest.approx(mean)


@pytest.mark.slow
def test_how_often_losses_are_logged_changes_no_loss(tmp_path):
    for every in (1, 100):
        train(CONFIG, data(), tmp_path / str(every), monitoring=Monitoring(log_every=every))
    one, other = (tmp_path / name / "last.safetensors" for name in ("1", "100"))
    assert one.read_bytes() == other.read_bytes()


def test_a_run_shows_how_far_it_is_unless_it_is_quiet(tmp_path, capfd):
    train(CONFIG, data(), tmp_path / "shown", resume=True)
    shown = capfd.readouterr()
    assert "new run of 5 steps" in shown.err
    assert "step 5 of 5 (100%), 00:00 left, " in shown.err
    assert " images/s: restored 0." in shown.err
    assert "last.pt (0.2 MB): step 5" in shown.err
    short = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, steps=1))
    train(short, data(), tmp_path / "quiet", monitoring=Monitoring(quiet=True))
    assert capfd.readouterr().err == shown.out == ""


def train_until(last, out, monkeypatch):
    """Train, with Ctrl-C in a step."""
    step = trained_by.train_step

    def interrupted(run, batch):
        if run.step == last - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(run, batch)

    with monkeypatch.context() as patch, stopped_by(signal.SIGINT):
        patch.setattr(trained_by, "train_step", interrupted)
        with pytest.raises(Stopped) as stopped:
            train(CONFIG, data(), out)
        stopped.value.arrived = True


def same_metrics(one, other):
    for ours, theirs in zip(lines(one), lines(other), strict=True):
        del ours["images_per_second"], theirs["images_per_second"]
        assert ours == pytest.approx(theirs, nan_ok=True)


@pytest.mark.parametrize("last", [2, 3, 5])  # steps 3 and 5 are validated
def test_an_interrupted_run_finishes_its_step_and_goes_on_from_there(
    tmp_path, monkeypatch, capfd, whole, last
):
    cut = tmp_path / "cut"
    train_until(last, cut, monkeypatch)
    assert f"stopped after step {last}; saved in " in capfd.readouterr().err
    assert lines(cut / "losses.jsonl")[-1]["step"] == last
    train(CONFIG, data(), cut, resume=True)
    assert f"resumed after step {last} of 5" in capfd.readouterr().err
    for model in ("last.safetensors", "best.safetensors", "models/step_000003.safetensors"):
        assert (cut / model).read_bytes() == (whole / model).read_bytes()
    same_metrics(cut / "metrics.jsonl", whole / "metrics.jsonl")


def test_a_run_that_is_stopped_twice_in_a_step_validates_it(tmp_path, monkeypatch, whole):
    cut = tmp_path / "cut"
    train_until(3, cut, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "save_generator", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, data(), cut, resume=True)
    train(CONFIG, data(), cut, resume=True)
    same_metrics(cut / "metrics.jsonl", whole / "metrics.jsonl")
    model = "models/step_000003.safetensors"
    assert (cut / model).read_bytes() == (whole / model).read_bytes()


@pytest.mark.parametrize("last", [3, 5])
def test_a_run_that_is_stopped_while_it_validates_keeps_each_step(
    tmp_path, monkeypatch, whole, last
):
    cut, scores = tmp_path / "cut", TileJudge.scores

    def interrupted(judge):
        if judge.run.step == last:
            signal.raise_signal(signal.SIGINT)
        return scores(judge)

    with monkeypatch.context() as patch:
        patch.setattr(TileJudge, "scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, data(), cut)
    assert torch.load(cut / "last.pt")["step"] == last
    train(CONFIG, data(), cut, resume=True)
    same_metrics(cut / "metrics.jsonl", whole / "metrics.jsonl")


@pytest.mark.slow
@pytest.mark.needs_train
def test_a_run_is_logged_for_tensorboard_and_says_what_lies_in_its_folder(tmp_path):
    reason = "TensorBoard is not installed (extra tensorboard)"
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason=reason
    )
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra train)")
    folder = tmp_path / "board"
    train(CONFIG, data(), tmp_path / "run", monitoring=Monitoring(log_every=2, log_dir=folder))
    found = events.EventAccumulator(str(folder))
    found.Reload()
    losses = found.Scalars("loss/restored")
    logged = lines(tmp_path / "run" / "losses.jsonl")
    assert [one.step for one in losses] == [line["step"] for line in logged]
    assert [one.value for one in losses] == pytest.approx([line["restored"] for line in logged])
    assert {"learning_rate/generator", "speed/images_per_second", "adversarial/discriminator"} <= {
        *found.Tags()["scalars"]
    }
    assert [one.step for one in found.Scalars("score/psnr_restored")] == [3, 5]
    with Image.open(tmp_path / "run" / "figures" / "step_000005.png") as figure:
        size = figure.size
    assert {(one.width, one.height) for one in found.Images("windows")} == {size}
    readme = (tmp_path / "run" / "README.md").read_text()
    named = {row.split("|")[1].strip(" `/") for row in readme.splitlines() if "| `" in row}
    assert named == {path.name for path in (tmp_path / "run").iterdir()} - {"README.md"}


def test_a_log_for_tensorboard_without_tensorboard_is_refused_before_the_run(tmp_path):
    wanted = Monitoring(log_dir=tmp_path / "board")
    with pytest.raises(UsageError, match=r"^`log_dir` needs .*: pip install 'geodecloud\["):
        loop.check_run(tmp_path / "run", wanted, resume=False)


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_run_into_a_file_is_refused_before_the_run(tmp_path, out):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file: is no folder to write to; give another `out`$"):
        loop.check_run(tmp_path / out, Monitoring(), resume=True)


def test_the_state_of_a_run_is_no_scene(tmp_path, cli):
    assert "no such file" in cli("info", tmp_path / "last.pt").err
    (tmp_path / "last.pt").touch()
    done = cli("info", tmp_path / "last.pt")
    assert done.code == 2
    assert "last.pt: is the state of a run" in done.err
    assert "give a model of the run, like last.safetensors" in done.err


def test_each_example_names_its_kind_of_cloud():
    clear = torch.rand(3, 3, 64, 64)
    for kind, text in (("none", "no cloud"), ("haze", "even haze"), ("deck", "opaque deck")):
        config = dataclasses.replace(CONFIG, clouds=CloudMix.only(kind))
        assert cloud_names(clear, config, 0, range(3)) == (text,) * 3
    article = dataclasses.replace(CONFIG, recipe="article")
    assert cloud_names(clear, article, 0, range(3)) == ("Perlin noise",) * 3


def test_light_beyond_the_model_range_is_white_in_a_figure(tmp_path, caplog):
    from geodecloud.training.plots import plot_tiles  # with Matplotlib, which takes half a second

    bright = torch.tensor([2.0, 0.5, -1.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
    plot_tiles(Examples({"input": bright}, ("cirrus",)), tmp_path / "figure.png")
    assert not caplog.records


def test_steps_between_lines_are_one_or_more():
    with pytest.raises(UsageError, match="`log_every` is 0: give 1 or more"):
        Monitoring(log_every=0)
