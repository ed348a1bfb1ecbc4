"""Runs that share a folder never meet: threads, processes, containers."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geodecloud.decloud import decloud_scene
from geodecloud.errors import OutputError, SceneError
from geodecloud.raster import atomic
from geodecloud.raster.atomic import AtomicFiles
from geodecloud.raster.lock import acquire, release
from geodecloud.raster.signals import Stopped, stopped_by
from geodecloud.raster.unfinished import sweep
from geodecloud.settings import Settings
from tests.conftest import ROOT, identity, write_scene

RUN = """
import sys, time
from pathlib import Path
from tests.conftest import identity
from geodecloud.decloud import decloud_scene
def slow(patches, _):
    print("started\\n", end="", flush=True)  # two threads print
    time.sleep(60)
decloud_scene(Path(sys.argv[1]), Path(sys.argv[2]), slow)
"""


def test_of_two_runs_for_one_output_one_wins_and_the_other_says_so(tmp_path):
    out = tmp_path / "out.tif"
    with AtomicFiles([], overwrite=True) as one:
        one.add(out).write_text("one")
        with (
            pytest.raises(OutputError, match="another run is writing it"),
            AtomicFiles([], overwrite=True) as other,
        ):
            other.add(out)
        with AtomicFiles([], overwrite=True) as neighbour:
            neighbour.add(tmp_path / "b.tif").write_text("b")
    assert (out.read_text(), (tmp_path / "b.tif").read_text()) == ("one", "b")
    with AtomicFiles([], overwrite=True) as other:
        other.add(out).write_text("other")
    assert out.read_text() == "other"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("links", [True, False])
def test_an_output_that_appeared_meanwhile_is_kept(tmp_path, monkeypatch, links):
    if not links:  # as on FAT
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: os.link(tmp_path, tmp_path / "no"))
    first, second = tmp_path / "a.tif", tmp_path / "b.tif"

    def write_both():
        with AtomicFiles([], overwrite=False) as outputs:
            outputs.add(first).write_text("new")
            outputs.add(second).write_text("new")
            second.write_text("another program's")

    with pytest.raises(OutputError, match=r"b\.tif: appeared while this run"):
        write_both()
    assert second.read_text() == "another program's"
    assert list(tmp_path.iterdir()) == [second]  # together or not at all
    with AtomicFiles([], overwrite=False) as outputs:
        outputs.add(first).write_text("new")
    assert first.read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_between_two_files_leaves_both(tmp_path, monkeypatch):
    """A new picture beside an old provenance would be worse than either."""
    names = ("a.tif", "b.tif", "c.tif")
    for name in names:
        (tmp_path / name).write_text("old")

    def move_slowly(part, destination, *, replace, move=atomic._move):
        move(part, destination, replace=replace)
        if destination.name == "a.tif":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)

    monkeypatch.setattr(atomic, "_move", move_slowly)

    def write_all():
        with AtomicFiles([], overwrite=True) as outputs:
            for name in names:
                outputs.add(tmp_path / name).write_text("new")

    with stopped_by(signal.SIGINT), pytest.raises(Stopped) as stopped:
        write_all()
    stopped.value.arrived = True
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        names, "new"
    )


def test_a_sweep_leaves_no_lock_of_a_run_that_ends_meanwhile(tmp_path, monkeypatch):
    with AtomicFiles([], overwrite=False) as outputs:
        outputs.add(tmp_path / "a.tif").write_text("a")
        seen = [list(tmp_path.glob("*"))]

    def glob(self, pattern, glob=Path.glob):
        return seen.pop() if seen else glob(self, pattern)

    monkeypatch.setattr(Path, "glob", glob)
    sweep(tmp_path)
    assert os.listdir(tmp_path) == ["a.tif"]  # noqa: PTH208


def test_only_what_no_run_is_writing_is_swept(tmp_path):
    """By its lock, not by the number of a process: containers have the same ones."""
    with AtomicFiles([], overwrite=False) as outputs:
        live = outputs.add(tmp_path / "live.tif")
        lock = next(tmp_path.glob("*.lock"))
        # A killed run's, another machine's, which is perhaps at work, and one of long ago.
        dead = live.with_name(live.name.replace(live.name.split(".")[2], "0123456789abcdef"))
        parts = dead.name.split(".")
        far, old = (dead.with_name(".".join([*parts[:3], "0" * 8, x * 16, "part"])) for x in "ab")
        for path in (dead, dead.with_name(dead.name + ".tif"), far, old):
            path.touch()
        os.utime(old, (0, 0))
        stranger = tmp_path / ".geodecloud.host.1234.0123.part"
        stranger.touch()
        sweep(tmp_path)
        left = {path for path in tmp_path.iterdir() if path != dead.with_name(DEAD_LOCK)}
        assert left == {live, lock, far, stranger}
        live.write_text("whole")
    assert (tmp_path / "live.tif").read_text() == "whole"


DEAD_LOCK = ".geodecloud.0123456789abcdef.lock"


def test_locks_of_many_threads_exclude_each_other(tmp_path):
    """Also while each removes the file of the lock as it releases it."""
    path, inside, most = tmp_path / "lock", [0], [0]
    counting = threading.Lock()

    def work(_):
        for _ in range(50):
            if (descriptor := acquire(path)) is None:
                continue
            with counting:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with counting:
                inside[0] -= 1
            release(path, descriptor)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert most == [1]
    assert not path.exists()


def test_a_lock_is_released_with_its_process(tmp_path):
    code = "import sys, pathlib, geodecloud.raster.lock as l; l.acquire(pathlib.Path(sys.argv[1]));"
    code += "print(flush=True); sys.stdin.read()"
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], cwd=ROOT, stdin=-1, stdout=-1
    ) as process:
        process.stdout.readline()
        assert acquire(path) is None
        process.kill()
    release(path, acquire(path))
    assert not path.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX files")
def test_a_pipe_is_no_output_and_no_scene_and_a_link_is_replaced(tmp_path, scene):
    pipe, link, target = tmp_path / "pipe.tif", tmp_path / "link.tif", tmp_path / "target.tif"
    os.mkfifo(pipe)
    target.write_text("target")
    link.symlink_to(target)
    for overwrite in (True, False):
        with pytest.raises(OutputError, match="is a pipe or a device"):
            decloud_scene(scene, pipe, identity, Settings(overwrite=overwrite))
    with pytest.raises(SceneError, match="is a pipe"):
        decloud_scene(pipe, tmp_path / "out.tif", identity)
    with pytest.raises(OutputError, match="exists already"):
        decloud_scene(scene, link, identity)
    decloud_scene(scene, link, identity, Settings(overwrite=True))
    assert target.read_text() == "target"
    assert not link.is_symlink()
    loop = tmp_path / "loop.tif"
    loop.symlink_to(scene)
    with pytest.raises(OutputError, match="is the input itself"):
        decloud_scene(scene, loop, identity, Settings(overwrite=True))


def test_a_crowd_in_one_folder_keeps_its_scenes_apart(tmp_path):
    sources = [
        write_scene(tmp_path / f"s{i}.tif", np.full((3, 40, 40), 900 + i, "uint16"))
        for i in range(6)
    ]

    def restore(src):
        decloud_scene(src, tmp_path / f"out_{src.name}", identity)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(restore, sources))
    for i, src in enumerate(sources):
        with rasterio.open(tmp_path / f"out_{src.name}") as out:
            assert (out.read() == 900 + i).all()
    assert not list(tmp_path.glob(".geodecloud*"))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare") or os.name == "nt", reason="no unshare")
def test_runs_in_two_containers_leave_each_other_alone(tmp_path, scene):
    """Each is process 1 of its own, on one host: a run is stopped, and the other sweeps."""
    inside = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode:
        pytest.skip("may make no namespaces here")
    process = subprocess.Popen(
        [*inside, sys.executable, "-c", RUN, scene, tmp_path / "slow.tif"], cwd=ROOT, stdout=-1
    )
    assert process.stdout.readline() == b"started\n"
    part = next(tmp_path.glob(".geodecloud.*.part"))
    code = RUN.replace("time.sleep(60)", "return identity(patches, _)")
    subprocess.run(
        [*inside, sys.executable, "-c", code, scene, tmp_path / "fast.tif"], cwd=ROOT, check=True
    )
    assert part.exists()
    process.kill()
    process.wait()
    process.stdout.close()
