"""Laws of planning, the manifest, watching and handing out, without workers."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geodecloud.batch import scheduler as run_module
from geodecloud.batch.events import Done, Lost
from geodecloud.batch.folder import settings_entry
from geodecloud.batch.manifest import NAME, Manifest
from geodecloud.batch.plan import Claims, Facts, Job, Naming, Search, Source, read_names
from geodecloud.batch.scheduler import Batch, Listener
from geodecloud.batch.watch import Watch
from geodecloud.batch.worker import Outcome, WorkerSpec
from geodecloud.errors import OutputError, UsageError
from geodecloud.settings import ModelSpec, Settings
from tests.conftest import ROOT

HOW = {"settings": {"window": 64}, "model": "abc"}


@pytest.fixture
def tree(tmp_path):
    """Scenes, a product, its zip, hidden and other files, and an earlier output."""
    files = """a.tif b.TIFF notes.txt .c.tif sub/a.tif sub/deep/d.tif .hidden/e.tif out/f_clear.tif
    S2A_MSIL2A_X.SAFE/MTD_MSIL2A.xml S2A_MSIL2A_X.SAFE/GRANULE/x.tif unnamed/MTD_MSIL1C.xml
    S2B_MSIL1C_Y.SAFE.zip S2B_MSIL1C_Z.zip other.zip"""
    for name in files.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def _found(folder, name, **how):
    search = Search(folder / "out", **how)
    return {os.path.relpath(source.name, folder) for source in search.find(str(name))}


def test_what_is_a_scene(tree, monkeypatch):
    flat = {"a.tif", "b.TIFF", "S2A_MSIL2A_X.SAFE", "S2B_MSIL1C_Y.SAFE.zip", "S2B_MSIL1C_Z.zip"}
    assert _found(tree, tree) == flat
    assert _found(tree, tree, recursive=True) == flat | {"sub/a.tif", "sub/deep/d.tif"}
    assert _found(tree, tree, patterns=("*.txt",), recursive=True) == {"notes.txt"}
    assert _found(tree, tree / "unnamed") == {"unnamed"}
    assert _found(tree, tree / "S2A_MSIL2A_X.SAFE") == {"S2A_MSIL2A_X.SAFE"}
    assert _found(tree, tree / "**/*.tif") == {"a.tif", "sub/a.tif", "sub/deep/d.tif"} | {
        "out/f_clear.tif"  # a glob says what it says; the manifest knows outputs
    }
    assert _found(tree, tree / "su*") == {"sub/a.tif"}
    assert _found(tree, tree / "missing.tif") == {"missing.tif"}
    assert _found(tree, tree / "*.png") == set()
    with pytest.raises(OutputError, match="name another OUT_DIR"):
        _found(tree, tree / "out")
    assert [s.name for s in Search(tree).find("/vsizip/x.zip/y.tif")] == ["/vsizip/x.zip/y.tif"]
    (tree / "odd[1].tif").touch()
    assert _found(tree, tree / "odd[1].tif") == {"odd[1].tif"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\n{tree}/a.tif\n{tree}/sub\n"))
    assert read_names(["x", "-"]) == ["x", f"{tree}/a.tif", f"{tree}/sub"]


def test_the_tree_below_a_folder_is_kept(tree):
    search = Search(tree / "out", recursive=True)
    naming = Naming(provenance="marks/{parent}_{stem}.tif")
    jobs = [naming.job(source, tree / "out") for source in search.find(str(tree / "sub"))]
    outputs = {os.path.relpath(path, tree / "out") for job in jobs for path in job.outputs}
    assert outputs == {
        *("a_clear.tif", "marks/sub_a.tif"),
        *("deep/d_clear.tif", "deep/marks/deep_d.tif"),
    }
    names = {Path(naming.job(s, tree / "out").output).name for s in search.find(str(tree))}
    assert {"S2A_MSIL2A_X_clear.tif", "S2B_MSIL1C_Y_clear.tif", "S2B_MSIL1C_Z_clear.tif"} < names
    [inside] = search.find(str(tree / "S2A_MSIL2A_X.SAFE/MTD_MSIL2A.xml"))
    assert inside.stem == "S2A_MSIL2A_X"


@pytest.mark.parametrize(
    "name", ["{stem}", "{steam}.tif", "{.tif", "{stem.x}.tif", "{0}.tif", "/a.tif", "../{stem}.tif"]
)
def test_names_that_make_no_sense(name):
    with pytest.raises(UsageError, match="name is"):
        Naming(name)


def test_collisions_are_refused(tmp_path):
    def claim(claims, source, name="{stem}_clear.tif", **others):
        claims.add(Naming(name, **others).job(Source(str(tmp_path / source)), tmp_path))

    claims = Claims()
    claim(claims, "x/a.tif")
    claim(claims, "x/a.tif")  # again, by a watch
    with pytest.raises(UsageError, match=r"x/a\.tif and of .*y/a\.tif.*--name"):
        claim(claims, "y/a.tif")
    claim(claims, "y/a.tif", "{parent}_{stem}.tif")
    with pytest.raises(UsageError, match="twice"):
        claim(claims, "b.tif", "{stem}_1.tif", provenance="{stem}_1.tif")
    with pytest.raises(UsageError, match="twice"):
        claim(claims, "b.tif", "{stem}.tif")
    with pytest.raises(UsageError, match="is a scene"):
        claim(claims, "a_clear.tif")


SOME_FACTS = Facts(5, 1.5)


def _job(folder, name="s", facts=SOME_FACTS):
    return Job(str(folder / f"{name}.tif"), facts, folder / f"{name}_clear.tif")


def test_only_the_same_source_settings_and_model_are_done(tmp_path):
    job = _job(tmp_path)
    with Manifest(tmp_path) as manifest:
        assert not manifest.is_done(job, HOW)
        manifest.add(job, {**HOW, "status": "done"})
        assert not manifest.is_done(job, HOW)  # its output is not there
        job.output.touch()
        assert manifest.is_done(job, HOW)
    with Manifest(tmp_path) as again:
        assert again.is_done(job, HOW)
        assert again.made(job.output)
        assert not again.is_done(_job(tmp_path, facts=Facts(6, 1.5)), HOW)
        assert not again.is_done(_job(tmp_path, facts=Facts(5, 1.25)), HOW)
        assert not again.is_done(job, {**HOW, "settings": {"window": 128}})
        assert not again.is_done(job, {**HOW, "model": "def"})
        again.add(job, {**HOW, "status": "failed"})
        assert not again.is_done(job, HOW)
        assert again.made(job.output)  # by the earlier run


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_cut_or_garbled_manifest_is_survived(tmp_path, data):
    path = tmp_path / NAME
    path.unlink(missing_ok=True)
    jobs = [_job(tmp_path, f"scene{i}ü") for i in range(3)]
    for job in jobs:
        job.output.touch()
    with Manifest(tmp_path) as manifest:
        for job in jobs:
            manifest.add(job, {**HOW, "status": "done"})
    whole = path.read_bytes()
    end = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 50, b"\xff\xfe{", b"[]\n", b'{"output": 1}\n']))
    path.write_bytes(whole[:end] + tail)
    kept = whole[:end].count(b"\n")  # a line cut just before its end is whole JSON: also kept
    kept += bool(end < len(whole) and whole[end : end + 1] == b"\n" and tail == b"")
    with Manifest(tmp_path) as manifest:
        assert [manifest.is_done(job, HOW) for job in jobs] == [i < kept for i in range(3)]
        manifest.add(jobs[2], {**HOW, "status": "done"})
    with Manifest(tmp_path) as manifest:
        assert manifest.is_done(jobs[2], HOW)


def test_two_runs_exclude_each_other_and_a_killed_one_does_not(tmp_path):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from geodecloud.batch.manifest import Manifest\n"
        "with Manifest(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(OutputError, match="another geodecloud batch"), Manifest(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
    with Manifest(tmp_path):
        pass


@given(st.lists(st.tuples(st.floats(0.1, 9), st.integers(0, 2)), max_size=20), st.floats(0.1, 9))
def test_a_scene_is_taken_once_for_each_rest(steps, settle):
    """Against a clock and a file that grows as hypothesis likes."""
    size, now, since, taken = 1, 0.0, 0.0, []
    source = type("Growing", (), {"name": "s", "facts": lambda self: Facts(size, 0.0)})()
    watch = Watch(lambda: [source], settle)
    watch.settled(now)
    for seconds, growth in steps:
        now += seconds
        if growth:
            size, since = size + growth, now
        ready = watch.settled(now)
        assert len(ready) == (now - since >= settle and size not in taken)
        taken += [size] * len(ready)


class _FakeWorkers:
    """Workers that fail, and die, as a list of bits says."""

    def __init__(self, count, fates):
        self.names = [f"w{i}" for i in range(count)]
        self.fates, self.at_hand, self.tries, self.fresh = iter(fates), {}, [], count

    def idle(self):
        return [name for name in self.names if name not in self.at_hand]

    def start(self, worker, job):
        assert worker in self.idle()
        self.at_hand[worker] = job

    def renew(self, worker):
        self.names.remove(worker)
        self.names.append(f"w{self.fresh}")
        self.fresh += 1
        return True

    def events(self, seconds):
        if not self.at_hand:
            return []
        worker, job = self.at_hand.popitem()
        fate = next(self.fates, "well")
        self.tries.append((job.source, worker, fate))
        if fate == "lost":
            self.renew(worker)
            return [Lost(worker, "killed")]
        return [Done(worker, Outcome({}) if fate == "well" else Outcome(error="bad"))]


@given(
    st.integers(0, 8),
    st.integers(1, 3),
    st.lists(st.sampled_from(["well", "bad", "lost"])),
    st.booleans(),
)
def test_each_job_ends_once_after_at_most_two_tries_on_two_workers(count, crew, fates, fail_fast):
    jobs = [_job(Path("/nowhere"), str(i)) for i in range(count)]
    ended, begun = [], []
    listener = Listener(
        begun.append,
        lambda *_: None,
        lambda one, _, outcome: ended.append((one.job, outcome.error)),
    )
    workers, arrivals = _FakeWorkers(crew, fates), [jobs[count // 2 :], [], jobs[: count // 2]]
    Batch(
        workers, lambda: arrivals.pop() if arrivals else None, listener, fail_fast=fail_fast
    ).run()
    failed = [error for _, error in ended if error]
    assert len({job.source for job, _ in ended}) == len(ended)
    assert len(ended) == count or (fail_fast and failed)
    for job, error in ended:
        tries = [(worker, fate) for source, worker, fate in workers.tries if source == job.source]
        assert len(tries) in (1, 2)
        assert (tries[-1][1] != "well") == bool(error)
        assert len({worker for worker, _ in tries}) == len(tries)
        assert len(tries) == 2 or tries[0][1] == "well"
    assert run_module._TRIES == 2


def test_another_area_in_the_same_file_is_another_setting(tmp_path):
    area = tmp_path / "area.json"
    area.write_text("{}")
    before = settings_entry(WorkerSpec(Settings(aoi=area), ModelSpec()))
    area.write_text('{"type": 1}')
    assert settings_entry(WorkerSpec(Settings(aoi=area), ModelSpec())) != before
    assert settings_entry(WorkerSpec(Settings(aoi="1,2,3,4"), ModelSpec()))["aoi"] == "1,2,3,4"


def test_manifest_lines_are_json(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(_job(tmp_path, "a\n\udcff"), {**HOW, "status": "done"})
    [line] = (tmp_path / NAME).read_text().splitlines()
    assert json.loads(line)["output"] == "a\n\udcff_clear.tif"
