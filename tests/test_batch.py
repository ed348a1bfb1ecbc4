"""Many scenes by real processes and a real Dask cluster: the same bytes, whatever happens."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geodecloud.batch.events import Lost
from geodecloud.batch.local import LocalWorkers
from geodecloud.batch.manifest import NAME
from geodecloud.batch.plan import Job
from geodecloud.batch.worker import WorkerSpec
from geodecloud.errors import GeodecloudError
from geodecloud.settings import ModelSpec, Settings
from tests.conftest import ROOT, SAMPLES, noise, write_scene

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

PATIENCE = 300  # seconds until a test gives up waiting for what must come


def _lines(out):
    return [json.loads(line) for line in (out / NAME).read_text().splitlines()]


def _outputs(out):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in (NAME, ".geodecloud-batch.lock")
    }


def _wait_for(true, process=None):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        assert process is None or process.poll() is None
        time.sleep(0.02)


def _command(*args):
    return [sys.executable, "-m", "geodecloud", "batch", *map(str, args)]


def _run(*args, code=0):
    done = subprocess.run(
        _command(*args, "--json"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
def test_only_what_has_changed_is_done_again(cli, tmp_path, tiny_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.tif", "b.tif", "sub/c.tif"):
        write_scene(folder / name, noise((3, 80, 70)))
    (folder / "text.tif").write_text("no raster")
    names = ["--provenance", "{stem}_p.tif", "--preview", "{stem}.png"]
    command = ["batch", folder, out, "--recursive", "--model", tiny_model, "--json", *names]

    def counts(*more, code=1):
        assert cli(*command, *more).code == code, cli.err
        facts = json.loads(cli.out)
        return [facts[name] for name in ("done", "skipped", "failed")]

    assert counts() == [3, 0, 1]
    assert "text.tif: cannot be opened" in cli.err
    assert (out / "sub" / "c_clear.tif").exists()
    (folder / "text.tif").unlink()
    assert counts(code=0) == [0, 3, 0]
    write_scene(folder / "a.tif", noise((3, 81, 70), seed=1))
    (out / "sub" / "c_p.tif").unlink()
    assert counts("--threads", 1, code=0) == [2, 1, 0]  # the threads have no part in the result
    assert cli(*command, "--overlap", 32).code == 1
    assert "with other options (--overlap 16, now 32); give --overwrite" in cli.err
    assert counts("--overlap", 32, "--overwrite", code=0) == [3, 0, 0]
    # Killed between an output and its line: the output's own tags say whose it is.
    (out / NAME).unlink()
    for extra in [*out.rglob("*_p.tif"), *out.rglob("*.png")]:
        extra.unlink()
    assert counts("--overlap", 32, code=0) == [3, 0, 0]
    done = _lines(out)[-1]
    assert done["settings"]["overlap"] == 32
    with rasterio.open(done["source"]["path"]) as source:
        assert done["pixels"] == source.height * source.width
    assert done["source"]["size"] == Path(done["source"]["path"]).stat().st_size
    assert {"model", "seconds", "worker"} < set(done)
    kinds = "changed", "invented", "reference", "shadow"
    assert {f"{kind}_fraction" for kind in kinds} < set(done)


def test_what_is_in_the_way_is_refused_before_the_work(cli, tmp_path, scene, tiny_model):
    out = tmp_path / "out"
    out.mkdir()
    (out / "scene_clear.tif").write_text("mine")
    assert cli("batch", scene, out, "--model", tiny_model).code == 1
    assert "no batch made it" in cli.err
    assert (out / "scene_clear.tif").read_text() == "mine"
    copy = tmp_path / "other" / "scene.tif"
    copy.parent.mkdir()
    shutil.copy(scene, copy)
    assert cli("batch", scene, copy, tmp_path / "o", "--model", tiny_model).code == 2
    assert "tell the outputs apart by" in cli.err
    assert cli("batch", tmp_path / "*.png", tmp_path / "o", "--model", tiny_model).code == 1
    assert "no scenes" in cli.err
    assert cli("batch", scene, tmp_path / "o", "--window", 60).code == 2
    assert cli("batch", scene, tmp_path / "o", "--device", "cuda:77", "--model", tiny_model).code
    assert "cuda:77" in cli.err
    assert not list((tmp_path / "o").glob("*.tif"))


def test_a_worker_that_dies_while_starting_is_reported(caplog):
    caplog.set_level("INFO")
    with LocalWorkers([WorkerSpec(Settings(), ModelSpec())]) as crew:
        [worker] = crew._processes.values()
        worker.process.kill()
        with pytest.raises(GeodecloudError, match="killed by signal 9"):
            _wait_for(lambda: crew.events(PATIENCE))
    with (
        LocalWorkers([None]) as crew,  # no worker can start with it
        pytest.raises(GeodecloudError, match="no worker starts: AttributeError"),
    ):
        crew.events(PATIENCE)
    assert "Traceback" in caplog.text  # the worker's
    assert "in _restorer" in caplog.text


@pytest.mark.slow
def test_a_worker_that_dies_between_two_scenes_is_replaced(tmp_path):
    with LocalWorkers([WorkerSpec(Settings(bands=(1, 2, 3)), ModelSpec())]) as crew:
        _wait_for(lambda: crew.events(PATIENCE) or crew.idle())
        [name] = crew.idle()
        process = crew._processes[name].process
        process.kill()
        process.join()
        crew.start(name, Job("in.tif", None, tmp_path / "out.tif"))
        [lost] = crew.events(PATIENCE)
        assert isinstance(lost, Lost)
        assert "killed by signal 9" in lost.reason
        assert crew._processes


def _large(path, seed=0):
    """A scene that keeps a worker busy for a while."""
    return write_scene(path, noise((3, 2000, 1200), seed=seed), compress="lzw")


def _descendants(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.exists():
        pytest.skip("no /proc with children here")
    return [int(child) for child in children.read_text().split()]


@contextmanager
def _batch_in_mid_scene(folder, out, *options):
    """A batch that has begun to write; with its process."""
    command = _command(folder, out, *options)
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    # Under nohup the tests' children would ignore it, too.
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        started = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **streams)
    finally:
        signal.signal(signal.SIGHUP, ours)
    with started as run:
        _wait_for(lambda: list(out.glob(".geodecloud.*.part")), run)
        yield run


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_batch_killed_in_mid_scene_goes_on(tmp_path, tiny_model, which):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_scene(folder / "a.tif", noise((3, 60, 60)))
    _large(folder / "b.tif")
    with _batch_in_mid_scene(folder / "[b]*", out, "--model", tiny_model) as run:
        workers = _descendants(run.pid)
        if which == signal.SIGHUP:  # reaches all processes of a terminal
            os.killpg(run.pid, which)
        else:
            run.send_signal(which)
        run.wait(PATIENCE)
        errors = run.stderr.read()
    assert "Traceback" not in errors
    assert run.returncode == {1: 129, 2: 130, 15: 143, 9: -9}[which]
    _wait_for(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in workers))
    assert _outputs(out) == {}  # the workers ended with it, and cleaned up
    facts, _ = _run(folder, out, "--model", tiny_model)
    assert (facts["done"], facts["skipped"]) == (2, 0)
    assert set(_outputs(out)) == {"a_clear.tif", "b_clear.tif"}
    facts, _ = _run(folder, out, "--model", tiny_model)
    assert facts["skipped"] == 2


@pytest.mark.slow
def test_a_killed_worker_costs_a_try(tmp_path, tiny_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "ab":
        _large(folder / f"{name}.tif")
    with _batch_in_mid_scene(folder, out, "--model", tiny_model, "--workers", "2") as run:
        os.kill(_writer(out, _descendants(run.pid)), signal.SIGKILL)
        assert run.wait(PATIENCE) == 0, run.stderr.read()
    assert sorted(line["tries"] for line in _lines(out)) == [1, 2]
    assert set(_outputs(out)) == {"a_clear.tif", "b_clear.tif"}


def _writer(out, processes):
    """The one of the processes that has an unfinished file of a folder open."""
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):
                target = descriptor.readlink()
                if target.parent == out and target.name.startswith(".geodecloud."):
                    return process
    raise AssertionError(f"nobody writes to {out}")


def _has_colours(path):
    """Tell a scene from the masks that lie beside it."""
    with rasterio.open(path) as file:
        return file.count >= 3


@pytest.fixture
def forty(tmp_path, shared):
    """Crops of the real scenes: 36 whole, three damaged, one a text file named .tif."""
    folder = tmp_path / "forty"
    folder.mkdir()
    scenes = [path for path in sorted((shared / "scenes").glob("*.tif")) if _has_colours(path)]
    rng = np.random.default_rng(6)
    for i in range(36):
        with rasterio.open(scenes[i % len(scenes)]) as scene:
            row, column = rng.integers(0, [scene.height - 150, scene.width - 150])
            dn = scene.read(window=rasterio.windows.Window(column, row, 150, 140))
            kept = {"crs": scene.crs, "nodata": scene.nodata}
        write_scene(folder / f"{i:02}.tif", dn, compress="deflate", **kept)
    for i, source in enumerate((0, 1, 3)):
        content = (folder / f"{source:02}.tif").read_bytes()
        (folder / f"damaged{i}.tif").write_bytes(content[: len(content) // 2])
    (folder / "text.tif").write_text("no raster at all")
    return folder


@contextmanager
def _dask(folder, workers=2):
    """A real scheduler and real workers on loopback; yields its address and their processes."""
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    quiet = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    file = folder / "scheduler.json"
    with ExitStack() as stack:

        def start(*command):
            process = stack.enter_context(subprocess.Popen([*map(str, command)], **quiet))
            stack.callback(process.kill)
            return process

        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        start(*dask, *options, "--scheduler-file", file)
        _wait_for(lambda: file.exists() and file.read_text().strip().endswith("}"))
        address = json.loads(file.read_text())["address"]
        dask = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny"]
        options = ["--host", "127.0.0.1", "--nthreads", 1, "--no-dashboard"]
        crew = [
            start(*dask, *options, "--local-directory", folder / f"dask{i}", "--name", f"w{i}")
            for i in range(workers)
        ]
        yield address, crew


@pytest.mark.slow
def test_the_same_bytes_by_one_process_by_two_and_by_a_cluster(forty, tmp_path, tiny_model):
    model = ["--model", tiny_model, "--precision", "fp32", "--force"]
    runs = {}
    with _dask(tmp_path) as (address, _):
        ways = {"one": [], "two": ["--workers", 2], "dask": ["--scheduler", address]}
        for way, options in ways.items():
            facts, errors = _run(forty, tmp_path / way, *model, *options, code=1)
            assert (facts["done"], facts["failed"]) == (36, 4)
            for name in ("damaged0.tif", "damaged1.tif", "damaged2.tif", "text.tif"):
                assert f"{forty / name}: " in errors
            assert {line["tries"] for line in facts["scenes"] if line["status"] == "failed"} == {2}
            runs[way] = (facts, _outputs(tmp_path / way))
    outputs = [files for _, files in runs.values()]
    assert len(outputs[0]) == 36
    assert outputs[0] == outputs[1] == outputs[2]
    for way in ("two", "dask"):
        assert len({line["worker"] for line in runs[way][0]["scenes"]}) >= 2


@pytest.mark.slow
def test_a_killed_dask_worker_is_survived(tmp_path, tiny_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "abc":
        _large(folder / f"{name}.tif")
    with _dask(tmp_path) as (address, crew):
        options = ["--model", tiny_model, "--scheduler", address]
        with _batch_in_mid_scene(folder, out, *options) as run:
            writer = _writer(out, [process.pid for process in crew])
            victim = next(process for process in crew if process.pid == writer)
            victim.kill()
            victim.wait()  # else it is a zombie, whose part nobody may remove
            assert run.wait(PATIENCE) == 0, run.stderr.read()
        assert sorted(line["tries"] for line in _lines(out)) == [1, 1, 2]
        assert set(_outputs(out)) == {"a_clear.tif", "b_clear.tif", "c_clear.tif"}
        # Ctrl-C: the scene at hand is given up, by the worker that is left, and cleaned up.
        again = tmp_path / "again"
        with _batch_in_mid_scene(folder, again, *options) as run:
            run.send_signal(signal.SIGINT)
            assert run.wait(PATIENCE) == 130
        _wait_for(lambda: _outputs(again) == {})
        _run(SAMPLES / "l8_cloudy.tif", tmp_path / "third", *options)  # the worker is well


def test_an_address_without_a_port_is_refused(cli, tmp_path, scene, tiny_model):
    command = ["batch", scene, tmp_path / "o", "--model", tiny_model, "--scheduler", "nonsense"]
    assert cli(*command).code == 2
    assert "tcp://HOST:8786" in cli.err


@pytest.mark.slow
def test_a_missing_scheduler_is_one_clear_line(tmp_path, scene, tiny_model):
    command = _command(scene, tmp_path / "o", "--model", tiny_model, "-q")
    command += ["--scheduler", "tcp://127.0.0.1:1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "no Dask scheduler answers there" in line


@pytest.mark.slow
def test_a_full_disk_and_then_room_again(tmp_path, tiny_model):
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(out)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs is not possible here")
    try:
        folder = tmp_path / "in"
        folder.mkdir()
        for name in "ab":
            write_scene(folder / f"{name}.tif", noise((3, 300, 300)))
        (out / "ballast").write_bytes(bytes(11 << 19))  # half a MiB is left
        facts, errors = _run(folder, out, "--model", tiny_model, code=1)
        assert facts["failed"] >= 1
        assert "disk is full" in errors or "No space left" in errors
        assert {name for name in _outputs(out) if name.startswith(".")} == set()
        for name in set(_outputs(out)) - {"ballast"}:
            with rasterio.open(out / name) as file:
                file.read()  # whole
        (out / "ballast").unlink()
        facts, _ = _run(folder, out, "--model", tiny_model)
        assert facts["done"] + facts["skipped"] == 2
        assert set(_outputs(out)) == {"a_clear.tif", "b_clear.tif"}
    finally:
        subprocess.run(["umount", str(out)], check=True)  # noqa: S607


@pytest.mark.slow
def test_watching_takes_scenes_as_they_come_to_rest(tmp_path, tiny_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    content = write_scene(tmp_path / "whole.tif", noise((3, 90, 90))).read_bytes()
    command = _command(folder, out, "--model", tiny_model, "--watch", "--settle", "2")
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        _wait_for((out / NAME).exists, run)
        with (folder / "grows.tif").open("wb") as file:
            for i in range(10):
                file.write(content[i * len(content) // 10 : (i + 1) * len(content) // 10])
                file.flush()
                time.sleep(0.3)
        _wait_for((out / "grows_clear.tif").exists, run)
        (folder / "later.tif").write_bytes(content)
        _wait_for((out / "later_clear.tif").exists, run)
        _wait_for(lambda: len(_lines(out)) == 2, run)
        run.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE) == 130
    assert [line["status"] for line in _lines(out)] == ["done", "done"]
