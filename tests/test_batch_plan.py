"""Laws of planning, the manifest, watching and handing out, without workers."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geodecloud.batch.events import Done, Lost
from geodecloud.batch.fingerprint import Fingerprint
from geodecloud.batch.local import divide
from geodecloud.batch.manifest import NAME, Manifest, configuration_of
from geodecloud.batch.plan import Claims, Job, Naming
from geodecloud.batch.scheduler import MAX_ATTEMPTS, Scheduler
from geodecloud.batch.search import FoundScene, Search, read_names
from geodecloud.batch.watch import Watch
from geodecloud.batch.worker import Outcome, WorkerSpec
from geodecloud.errors import GeodecloudError, OutputError, OutputWarning, UsageError
from geodecloud.settings import ModelSpec, Settings
from tests.conftest import ROOT, noise, write_scene

CONFIGURATION = {"settings": {"window": 64}, "model": "abc"}


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


def _found(folder, name, **options):
    search = Search(folder / "out", **options)
    return {os.path.relpath(source.name, folder) for source in search.find(str(name))}


def test_a_search_finds_scenes_and_products(tree, monkeypatch):
    flat = {"a.tif", "b.TIFF", "S2A_MSIL2A_X.SAFE", "S2B_MSIL1C_Y.SAFE.zip", "S2B_MSIL1C_Z.zip"}
    assert _found(tree, tree) == flat
    assert _found(tree, tree, recursive=True) == flat | {"sub/a.tif", "sub/deep/d.tif"}
    assert _found(tree, tree, pattern=("*.txt",), recursive=True) == {"notes.txt"}
    assert _found(tree, tree / "unnamed") == {"unnamed"}
    assert _found(tree, tree / "S2A_MSIL2A_X.SAFE") == {"S2A_MSIL2A_X.SAFE"}
    assert _found(tree, tree / "**/*.tif") == {"a.tif", "sub/a.tif", "sub/deep/d.tif"} | {
        "out/f_clear.tif"  # a glob says what it says; the manifest knows outputs
    }
    assert _found(tree, tree / "su*") == {"sub/a.tif"}
    assert _found(tree, tree / "missing.tif") == {"missing.tif"}
    assert _found(tree, tree / "*.png") == set()
    with pytest.raises(OutputError, match="name another `out`"):
        _found(tree, tree / "out")
    assert [s.name for s in Search(tree).find("/vsizip/x.zip/y.tif")] == ["/vsizip/x.zip/y.tif"]
    (tree / "odd[1].tif").touch()
    assert _found(tree, tree / "odd[1].tif") == {"odd[1].tif"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\n{tree}/a.tif\n{tree}/sub\n"))
    assert read_names(["x", "-"]) == ["x", f"{tree}/a.tif", f"{tree}/sub"]


def test_a_folder_with_one_file_per_band_is_one_scene(tree):
    folder = tree / "HLS.S30.T18SUJ.2021015T155551.v2.0"
    folder.mkdir()
    for band in ("B02", "B03", "B04", "B8A"):
        write_scene(folder / f"{band}.tif", noise((1, 4, 4), "int16"))
    assert folder.name in _found(tree, tree)
    assert _found(tree, folder) == _found(tree, f"{tree}/HLS*") == {folder.name}
    [scene] = Search(tree / "out").find(str(folder))
    assert scene.stem == folder.name  # with all its dots
    # A pattern that means files inside of it finds those.
    inside = {f"{folder.name}/{band}.tif" for band in ("B02", "B03", "B04")}
    assert _found(tree, folder, pattern=("B0*.tif",)) == inside
    (folder / "B02.tif").unlink()
    assert folder.name not in _found(tree, tree)


def test_a_search_follows_links_to_folders_once(tree):
    (tree / "deep" / "inside").mkdir(parents=True)
    (tree / "deep" / "inside" / "g.tif").touch()
    search = tree / "search"
    for name in ("real/z.tif", "real/more/y.tif"):
        (search / name).parent.mkdir(parents=True, exist_ok=True)
        (search / name).touch()
    links = {"a": search / "real", "deep": tree / "deep", "twice": tree / "deep/inside"}
    links |= {"real/up": search, "out": tree / "out", "dangling": tree / "nowhere"}
    for name, target in links.items():
        (search / name).symlink_to(target, target_is_directory=True)
    found = {"search/real/z.tif", "search/real/more/y.tif", "search/deep/inside/g.tif"}
    assert _found(tree, search, recursive=True) == found
    assert _found(tree, search) == set()


def test_a_glob_leaves_the_folder_of_the_outputs_out(tree):
    everything = {"a.tif", "S2A_MSIL2A_X.SAFE", "sub/a.tif", "unnamed"}
    assert _found(tree, tree / "*") >= everything
    assert "out/f_clear.tif" not in _found(tree, tree / "*")


def test_the_tree_below_a_folder_is_kept(tree):
    search = Search(tree / "out", recursive=True)
    naming = Naming(provenance="provenance/{parent}_{stem}.tif")
    jobs = [naming.job(source, tree / "out") for source in search.find(str(tree / "sub"))]
    outputs = {os.path.relpath(path, tree / "out") for job in jobs for path in job.outputs}
    assert outputs == {
        *("a_clear.tif", "provenance/sub_a.tif"),
        *("deep/d_clear.tif", "deep/provenance/deep_d.tif"),
    }
    names = {Path(naming.job(s, tree / "out").output).name for s in search.find(str(tree))}
    assert {"S2A_MSIL2A_X_clear.tif", "S2B_MSIL1C_Y_clear.tif", "S2B_MSIL1C_Z_clear.tif"} < names
    [inside] = search.find(str(tree / "S2A_MSIL2A_X.SAFE/MTD_MSIL2A.xml"))
    assert inside.stem == "S2A_MSIL2A_X"


@pytest.mark.parametrize(
    "name", ["{stem}", "{steam}.tif", "{.tif", "{stem.x}.tif", "{0}.tif", "/a.tif", "../{stem}.tif"]
)
def test_a_name_with_other_fields_or_outside_the_folder_is_refused(name):
    with pytest.raises(UsageError, match=r"`name` is"):
        Naming(name)


def test_a_preview_is_named_as_the_png_that_it_is():
    with pytest.raises(UsageError, match=r"the preview is a PNG, so end it in \.png"):
        Naming(preview="{stem}.jpg")
    Naming(preview="{stem}.PNG")


def test_collisions_are_refused(tmp_path):
    def claim(claims, source, name="{stem}_clear.tif", **others):
        claims.add(Naming(name, **others).job(FoundScene(str(tmp_path / source)), tmp_path))

    claims = Claims()
    claim(claims, "x/a.tif")
    claim(claims, "x/a.tif")  # again, by a watch
    with pytest.raises(UsageError, match=r"x/a\.tif and from .*y/a\.tif.*`name`"):
        claim(claims, "y/a.tif")
    claim(claims, "y/a.tif", "{parent}_{stem}.tif")
    with pytest.raises(UsageError, match="twice"):
        claim(claims, "b.tif", "{stem}_1.tif", provenance="{stem}_1.tif")
    with pytest.raises(UsageError, match="twice"):
        claim(claims, "b.tif", "{stem}.tif")
    with pytest.raises(UsageError, match="both an input scene and an output"):
        claim(claims, "a_clear.tif")


SOME_FINGERPRINT = Fingerprint(5, 1.5)


def _job(folder, name="s", fingerprint=SOME_FINGERPRINT):
    return Job(str(folder / f"{name}.tif"), fingerprint, folder / f"{name}_clear.tif")


def test_only_the_same_source_settings_and_model_are_done(tmp_path):
    job = _job(tmp_path)
    with Manifest(tmp_path) as manifest:
        assert not manifest.is_done(job, CONFIGURATION)
        manifest.add(job, {**CONFIGURATION, "status": "done"})
        assert not manifest.is_done(job, CONFIGURATION)  # its output is not there
        job.output.write_text("made")
        assert manifest.is_done(job, CONFIGURATION)
    with Manifest(tmp_path) as again:
        assert again.is_done(job, CONFIGURATION)
        assert again.wrote(job.output)
        assert not again.is_done(_job(tmp_path, fingerprint=Fingerprint(6, 1.5)), CONFIGURATION)
        assert not again.is_done(_job(tmp_path, fingerprint=Fingerprint(5, 1.25)), CONFIGURATION)
        assert not again.is_done(job, {**CONFIGURATION, "settings": {"window": 128}})
        assert not again.is_done(job, {**CONFIGURATION, "model": "def"})
        again.add(job, {**CONFIGURATION, "status": "failed"})
        assert not again.is_done(job, CONFIGURATION)
        assert again.wrote(job.output)  # by the earlier run


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_cut_or_garbled_manifest_is_survived(tmp_path, data):
    path = tmp_path / NAME
    path.unlink(missing_ok=True)
    jobs = [_job(tmp_path, f"scene{i}ü") for i in range(3)]
    for job in jobs:
        job.output.write_text("made")
        os.utime(job.output, (1, 1))  # lines of the same length in each example
    with Manifest(tmp_path) as manifest:
        for job in jobs:
            manifest.add(job, {**CONFIGURATION, "status": "done"})
    whole = path.read_bytes()
    end = data.draw(st.integers(0, len(whole)))
    tail = data.draw(st.sampled_from([b"", b"\0" * 50, b"\xff\xfe{", b"[]\n", b'{"output": 1}\n']))
    path.write_bytes(whole[:end] + tail)
    kept = whole[:end].count(b"\n")  # a line cut just before its end is whole JSON: also kept
    kept += bool(end < len(whole) and whole[end : end + 1] == b"\n" and tail == b"")
    with _damage_ignored(), Manifest(tmp_path) as manifest:
        assert [manifest.is_done(job, CONFIGURATION) for job in jobs] == [
            i < kept for i in range(3)
        ]
        manifest.add(jobs[2], {**CONFIGURATION, "status": "done"})
    with _damage_ignored(), Manifest(tmp_path) as manifest:
        assert manifest.is_done(jobs[2], CONFIGURATION)


@contextmanager
def _damage_ignored():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*damaged line", OutputWarning)
        yield


def test_damaged_lines_are_counted(tmp_path):
    (tmp_path / NAME).write_text('{"output": "a.tif"}\nnot JSON\n\n[]\n{"output": 1}\n{"outp')
    with pytest.warns(OutputWarning, match=r"4 damaged lines? are ignored"), Manifest(tmp_path):
        pass


def test_two_runs_exclude_each_other_and_a_killed_one_does_not(tmp_path):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from geodecloud.batch.manifest import Manifest\n"
        "with Manifest(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        with (
            pytest.raises(OutputError, match="another batch is using this folder"),
            Manifest(tmp_path),
        ):
            pass
        other.send_signal(signal.SIGKILL)
    with Manifest(tmp_path):
        pass


@given(st.lists(st.tuples(st.floats(0.1, 9), st.integers(0, 2)), max_size=20), st.floats(0.1, 9))
def test_a_scene_is_taken_once_for_each_rest(steps, settle):
    """Against a clock and a file that grows as hypothesis likes."""
    size, now, since, taken = 1, 0.0, 0.0, []
    source = type(
        "Growing", (), {"name": "s", "fingerprint": lambda self: Fingerprint(size, 0.0)}
    )()
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


class _FakeRecorder:
    """Keeps the results."""

    def __init__(self):
        self.running, self.results = set(), []

    def begun(self, job):
        self.running.add(job.source)

    def rows(self, job, done, total):
        assert job.source in self.running

    def ended(self, job, outcome, worker, attempts):
        assert job.source in self.running
        self.results.append((job, outcome.error))


@given(
    st.integers(0, 8),
    st.integers(1, 3),
    st.lists(st.sampled_from(["well", "bad", "lost"])),
    st.booleans(),
)
def test_each_job_ends_once_after_at_most_two_tries_on_two_workers(count, crew, fates, fail_fast):
    jobs = [_job(Path("/nowhere"), str(i)) for i in range(count)]
    recorder = _FakeRecorder()
    workers, arrivals = _FakeWorkers(crew, fates), [jobs[count // 2 :], [], jobs[: count // 2]]
    Scheduler(
        workers, lambda: arrivals.pop() if arrivals else None, recorder, fail_fast=fail_fast
    ).run()
    ended = recorder.results
    failed = [error for _, error in ended if error]
    assert len({job.source for job, _ in ended}) == len(ended)
    assert len(ended) == count or (fail_fast and failed)
    for job, error in ended:
        tries = [(worker, fate) for source, worker, fate in workers.tries if source == job.source]
        assert len(tries) in (1, 2)
        assert (tries[-1][1] != "well") == bool(error)
        assert len({worker for worker, _ in tries}) == len(tries)
        assert len(tries) == 2 or tries[0][1] == "well"
    assert MAX_ATTEMPTS == 2


@given(st.integers(1, 8), st.integers(2, 3), st.lists(st.sampled_from(["well", "bad"])))
def test_a_second_try_is_on_another_worker_if_none_can_be_renewed(count, crew, fates):
    """As on a Dask cluster, whose workers the batch cannot start."""
    workers = _FakeWorkers(crew, fates)
    workers.renew = lambda _: False
    arrivals = [[_job(Path("/nowhere"), str(i)) for i in range(count)]]
    Scheduler(workers, lambda: arrivals.pop() if arrivals else None, _FakeRecorder()).run()
    tries = [(source, worker) for source, worker, _ in workers.tries]
    assert len(set(tries)) == len(tries) >= count


def test_another_area_in_the_same_file_is_another_setting(tmp_path):
    area = tmp_path / "area.json"
    area.write_text("{}")
    before = _recorded(aoi=area)
    area.write_text('{"type": 1}')
    assert _recorded(aoi=area) != before
    assert _recorded(aoi="1,2,3,4")["aoi"] == "1,2,3,4"


def _recorded(**options):
    return configuration_of(WorkerSpec(Settings(**options), ModelSpec()), "abc")["settings"]


def test_settings_come_back_from_the_manifest_equal(tmp_path):
    mask = tmp_path / "mask.tif"
    mask.write_bytes(bytes(7))
    recorded = _recorded(
        bands="3,2,1",
        offset=-1000,
        resolution=20,
        mask=mask,
        mask_values=(3, 8),
        shadows="keep",
        dst_nodata="-9999",
    )
    assert json.loads(json.dumps(recorded, allow_nan=False)) == recorded
    assert recorded["bands"] == [3, 2, 1]
    assert (recorded["offset"], recorded["resolution"]) == (-1000, 20)
    assert (recorded["overlap"], recorded["stac"], recorded["scale"]) == (16, False, None)
    assert (recorded["mask_values"], recorded["dst_nodata"]) == ([3, 8], -9999)
    assert recorded["mask"][:2] == [str(mask), 7]
    assert (recorded["shadows"], _recorded()["shadows"]) == ("keep", "restore")
    assert not {"threads", "model", "provenance", "overwrite"} & set(recorded)
    assert _recorded(dst_nodata="nan")["dst_nodata"] == "nan"  # NaN equals nothing


@pytest.mark.slow
def test_a_worker_needs_no_typer(tmp_path):
    spec = WorkerSpec(Settings(opaque="keep", aoi="1,2,3,4"), ModelSpec(device="cpu"))
    (tmp_path / "sent").write_bytes(pickle.dumps((spec, _job(tmp_path))))
    script = (
        "import pickle, sys; sys.modules['typer'] = None  # importing it fails\n"
        "from geodecloud.batch import dask_worker, local_worker\n"
        "spec, job = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "from geodecloud.batch.worker import Restorer\n"
        "Restorer(spec.with_threads(1))\n"
        "print(spec.settings.policy.opaque, job.source)\n"
        "assert not any(name.startswith('geodecloud.cli') for name in sys.modules)\n"
    )
    command = [sys.executable, "-c", script, tmp_path / "sent"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["keep", str(tmp_path / "s.tif")]


def test_a_dask_worker_of_another_version_restores_nothing(tmp_path, monkeypatch):
    """Dask only logs the error of a worker that joins late, and gives it scenes all the same."""
    dask_worker = pytest.importorskip("geodecloud.batch.dask_worker")
    (tmp_path / "m.safetensors").write_bytes(b"model")
    spec = WorkerSpec(Settings(), ModelSpec(device="cpu"))
    plugin = dask_worker.ModelPlugin("batch", tmp_path / "m.safetensors", spec)
    monkeypatch.setattr(dask_worker, "VERSION", "0.0.1")
    worker = SimpleNamespace(address="tcp://late:1", local_directory=tmp_path / "dask")
    with pytest.raises(GeodecloudError, match="late:1 has geodecloud 0"):
        plugin.setup(worker)
    monkeypatch.setattr(dask_worker, "get_worker", lambda: worker)
    assert "install the same version" in plugin.restore(_job(tmp_path), "task").error


def test_warnings_of_a_scene_are_collected_and_others_are_not_lost():
    script = """if True:
        import threading, warnings
        from geodecloud.batch.worker import collected_warnings
        from geodecloud.errors import FillWarning, warn
        def work():
            for _ in range(2):
                warn(FillWarning, "one line\\nand another")
            warnings.warn("of another package", UserWarning)
        with collected_warnings() as messages:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert messages == ["one line and another"] * 2, messages
        warn(FillWarning, "afterwards")
    """
    command = [sys.executable, "-c", script]
    errors = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert "of another package" in errors
    assert "afterwards" in errors
    assert "one line" not in errors


@given(st.integers(1, 9), st.none() | st.integers(1, 9), st.integers(0, 4), st.integers(1, 40))
def test_processes_divide_threads_and_gpus(processes, scenes, gpus, threads):
    spec = WorkerSpec(Settings(threads=threads), ModelSpec())
    specs = divide(spec, processes, scenes, gpus)
    assert len(specs) == min(processes, scenes or processes)
    each = specs[0].settings.limits.threads
    assert each == max(1, threads // len(specs))
    devices = [one.model.device for one in specs]
    assert devices == [f"cuda:{i % gpus}" if gpus else "auto" for i in range(len(specs))]
    assert {one.settings.limits.threads for one in specs} == {each}
    on_cpu = divide(spec.with_model(device="cpu"), None, None, gpus)
    assert [one.model.device for one in on_cpu] == ["cpu"]
    assert len(divide(spec, None, None, gpus)) == max(1, gpus)


def test_manifest_lines_are_json(tmp_path):
    with Manifest(tmp_path) as manifest:
        manifest.add(_job(tmp_path, "a\n\udcff"), {**CONFIGURATION, "status": "done"})
    [line] = (tmp_path / NAME).read_text().splitlines()
    assert json.loads(line)["output"] == "a\n\udcff_clear.tif"
