"""Whole runs by the command line: of one class, killed in the middle, over two processes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from geodecloud.model.model_file import read_info
from tests.conftest import ROOT
from tests.conftest import noise as random_dn


def _log(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{**line, "images_per_second": 0} for line in lines]


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
        'recipe = "physical"\n'
        "[generator]\nwidth = 4\n[training]\nsteps = 60\nbatch_size = 4\n"
        "validate_every = 5\nvalidation_tiles = 4\nwarm_up = 0.3\n"
    )
    data = tmp_path / "EuroSAT"
    if not data.exists():
        _eurosat(data)
    given = ("--config", config, "--data", data, "--out", out)
    return [*map(str, ("-m", "geodecloud", "train", *given, *more))]


@pytest.mark.slow
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
    """kill -9 in the middle: once a state is saved, before or after its metrics."""
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
    assert not (cut / "metrics.jsonl").exists() or len(_log(cut)) < len(_log(whole))
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
        "from geodecloud.training import trainer as loop\n"
        "from geodecloud.cli.main import main\n"
        "after = loop.take_steps\n"
        "def train(run, *rest):\n"
        "    after(run, *rest)\n"
        "    for network in (run.generator, run.discriminator):\n"
        "        ours = torch.cat([p.detach().flatten() for p in network.parameters()])\n"
        "        mean = ours.clone()\n"
        "        distributed.all_reduce(mean)\n"
        "        assert torch.equal(ours * 2, mean)\n"
        "    name = f'{__file__} {run.processes.rank} {run.processes.count}'\n"
        "    open(name, 'x').close()\n"
        "loop.take_steps = train\n"
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
    assert {path.name for path in tmp_path.glob("check.py *")} == {"check.py 0 2", "check.py 1 2"}
    assert [line["step"] for line in _log(tmp_path / "run")] == [5, 6]
