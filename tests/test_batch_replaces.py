"""A batch never replaces what it was not told to; workers here are this process."""

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from geodecloud.batch.events import Done
from geodecloud.batch.folder import Planner, Request, run_batch
from geodecloud.batch.manifest import NAME, Manifest
from geodecloud.batch.plan import Naming
from geodecloud.batch.record import Recorder, Summary
from geodecloud.batch.search import SCENES, Search
from geodecloud.batch.worker import Outcome, WorkerSpec
from geodecloud.data.simulate import Simulation, simulate_scene
from geodecloud.decloud import decloud_scene
from geodecloud.errors import OutputError, SceneError
from geodecloud.settings import ModelSpec, Settings
from tests.conftest import identity, noise, read, write_scene


class Here:
    """One worker: this thread."""

    def __init__(self, spec):
        self.spec, self.job = spec, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def idle(self):
        return [] if self.job else ["here"]

    def start(self, _, job):
        self.job = job

    def renew(self, _):
        return False

    def events(self, _):
        job, self.job = self.job, None
        if job is None:
            return []
        for path in job.outputs:
            path.parent.mkdir(parents=True, exist_ok=True)
        settings = self.spec.settings.replace(**job.beside, overwrite=job.overwrite)
        try:
            report = decloud_scene(job.source, job.output, identity, settings, model_name="m")
        except SceneError as error:
            return [Done("here", Outcome(error=str(error)))]
        return [Done("here", Outcome(report.to_dict()))]


@dataclass
class Crew:
    """Counts the scenes that it was started for."""

    spec: WorkerSpec
    started: list = field(default_factory=list)

    def check(self):
        return SimpleNamespace(sha256="abc", name="m")

    def start(self, scenes):
        self.started.append(scenes)
        return Here(self.spec)


class Display:
    """Shows nothing."""

    def __getattr__(self, _):
        return lambda *_: None


@pytest.fixture
def batch(tmp_path):
    """A function that runs a batch of a folder; it returns the numbers done and skipped."""

    def run(*names, out=tmp_path / "out", overwrite=False, naming=None, failed=(), **options):
        crew = Crew(WorkerSpec(Settings(**options), ModelSpec()))
        search = Search(out, SCENES, recursive=True)
        request = Request(
            [str(name) for name in names or [tmp_path / "in"]],
            search,
            naming or Naming(),
            overwrite,
        )
        summary = Summary()
        run_batch(request, crew, nullcontext(Display()), summary)
        assert [line["source"]["path"] for line in summary.failed] == [*map(str, failed)]
        return len(summary.done), len(summary.skipped)

    (tmp_path / "in").mkdir()
    for name in "ab":
        write_scene(tmp_path / "in" / f"{name}.tif", noise((3, 70, 70)))
    return run


@pytest.mark.skipif(sys.platform != "linux", reason="names are any bytes on Linux alone")
def test_a_name_that_is_not_utf_8_fails_its_scene_alone(tmp_path, batch):
    bad = tmp_path / "in" / os.fsdecode(b"bad\xe9.tif")
    bad.write_bytes((tmp_path / "in" / "a.tif").read_bytes())
    assert batch(failed=[bad]) == (2, 0)
    assert batch(failed=[bad]) == (0, 2)
    [line] = (tmp_path / "out" / NAME).read_text().splitlines()[-1:]
    assert json.loads(line)["error"] == f"{bad}: its name is not UTF-8 text; rename the file"


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name.endswith((".tif", ".json"))}


def test_changed_options_ask_before_they_replace(tmp_path, batch):
    out = tmp_path / "out"
    assert batch() == (2, 0)
    before = contents(out)
    with pytest.raises(
        OutputError, match=r"a_clear\.tif: was made .*`overlap` 16, now 32\).*`over"
    ):
        batch(overlap=32)
    with pytest.raises(OutputError, match=r"`stac` False, now True"):
        batch(stac=True)
    with pytest.raises(OutputError, match=r"`provenance` none, now a_p\.tif"):
        batch(naming=Naming(provenance="{stem}_p.tif"))
    assert contents(out) == before
    assert batch() == (0, 2)
    assert batch(force=True, allow_network=True, threads=1) == (0, 2)  # of no effect on the done
    assert batch(overlap=32, overwrite=True) == (2, 0)
    assert contents(out) != before


def test_another_versions_manifest_asks_before_its_outputs_are_replaced(tmp_path, batch):
    batch()
    manifest = tmp_path / "out" / NAME
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["version"] = "0.0.1"
        del line["settings"]["shadows"]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(OutputError, match=r"was made by geodecloud 0\.0\.1 .*`shadows` none, now"):
        batch()


def test_a_changed_scene_or_a_missing_output_is_made_again(tmp_path, batch):
    naming = Naming(provenance="{stem}_p.tif")
    batch(naming=naming)
    write_scene(tmp_path / "in" / "a.tif", noise((3, 71, 70), seed=1))
    (tmp_path / "out" / "b_p.tif").unlink()
    assert batch(naming=naming) == (2, 0)
    assert read(tmp_path / "out" / "a_clear.tif").shape == (3, 71, 70)
    assert batch() == (0, 2)  # its picture is the same, and its provenance fits it


def test_a_scene_is_made_again_when_what_is_read_with_it_changes(tmp_path, batch, caplog):
    caplog.set_level("INFO")
    source, inner, scene = (tmp_path / name for name in ("s.tif", "inner.vrt", "scene.vrt"))
    write_scene(source, noise((3, 70, 70)))
    for file, vrt in ((source, inner), (inner, scene)):
        rasterio.shutil.copy(file, vrt, driver="VRT")
    assert batch(scene) == (1, 0)
    assert batch(scene) == (0, 1)
    write_scene(source, noise((3, 70, 70), seed=1))
    os.utime(source, (1, 1))  # older than the VRT
    assert batch(scene) == (1, 0)
    assert f"{scene}: is done again: {scene} has changed, or what is read with it" in caplog.text
    np.testing.assert_array_equal(read(tmp_path / "out" / "scene_clear.tif"), read(source))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(source, "r+") as file:
        before = source.stat()
        file.write_mask(np.full((70, 70), 255, "uint8"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.with_suffix(".tif.msk").exists()
    assert batch(scene) == (1, 0)
    assert batch(scene) == (0, 1)


def test_statistics_that_a_viewer_writes_beside_a_scene_do_not_change_it(tmp_path, batch):
    batch()
    beside = tmp_path / "in" / "a.tif.aux.xml"
    beside.write_text(STATISTICS)
    assert batch() == (0, 2)
    beside.write_text(STATISTICS.replace("<MDI", '<MDI key="PRODUCT">S2</MDI><MDI'))
    assert batch() == (1, 1)


STATISTICS = """<PAMDataset>
  <PAMRasterBand band="1">
    <Histograms><HistItem><HistMin>1</HistMin></HistItem></Histograms>
    <Metadata><MDI key="STATISTICS_MAXIMUM">3999</MDI></Metadata>
  </PAMRasterBand>
</PAMDataset>
"""


@pytest.mark.parametrize("kept", [0, 0.5, 0.9])
def test_an_output_that_is_cut_short_is_made_again(tmp_path, batch, caplog, kept):
    caplog.set_level("INFO")
    batch()
    output = tmp_path / "out" / "a_clear.tif"
    whole = output.read_bytes()
    output.write_bytes(whole[: int(kept * len(whole))])
    assert batch() == (1, 1)
    assert output.read_bytes() == whole
    assert f"is done again: {output} is damaged" in caplog.text


def test_outputs_that_are_copied_compressed_or_given_overviews_are_still_done(tmp_path, batch):
    naming = Naming(provenance="{stem}_p.tif", preview="{stem}.png")
    batch(naming=naming, stac=True)
    out = tmp_path / "out"
    for path in out.iterdir():
        os.utime(path, (1, 1))
    with rasterio.open(out / "a_clear.tif", "r+") as file:
        file.build_overviews([2])
    rasterio.shutil.copy(out / "b_clear.tif", tmp_path / "b.tif", compress="zstd", predictor=2)
    assert (tmp_path / "b.tif").stat().st_size < (out / "b_clear.tif").stat().st_size
    (tmp_path / "b.tif").replace(out / "b_clear.tif")
    (out / "b_clear.json").write_text('{"edited": true}')
    assert batch(naming=naming, stac=True) == (0, 2)


def test_an_output_of_other_options_or_of_another_scene_is_not_taken_for_its_own(tmp_path, batch):
    batch()
    first, second = (tmp_path / "out" / f"{name}_clear.tif" for name in "ab")
    decloud_scene(tmp_path / "in" / "a.tif", first, identity, Settings(overlap=32, overwrite=True))
    theirs = first.read_bytes()
    with pytest.raises(OutputError, match=r"a_clear\.tif: exists, and no batch made it; give"):
        batch()
    assert first.read_bytes() == theirs
    assert batch(overwrite=True) == (1, 1)
    first.write_bytes(second.read_bytes())
    with pytest.raises(OutputError, match=r"a_clear\.tif: exists, and no batch made it; give"):
        batch()
    assert batch(overwrite=True) == (1, 1)


def test_what_an_older_version_has_done_is_done(tmp_path, batch):
    batch()
    manifest, output = tmp_path / "out" / NAME, tmp_path / "out" / "a_clear.tif"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        del line["source"]["beside"], line["files"]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "in" / "a.tif.msk").write_bytes((tmp_path / "in" / "a.tif").read_bytes())
    assert batch() == (0, 2)
    output.write_bytes(b"")
    (tmp_path / "in" / "a.tif.msk").unlink()
    assert batch() == (1, 1)


def test_no_old_provenance_lies_beside_a_new_picture(tmp_path, batch):
    out = tmp_path / "out"
    naming = Naming(provenance="{stem}_p.tif", opacity="{stem}_o.tif", preview="{stem}.png")
    batch(naming=naming, stac=True)
    assert {path.suffix for path in out.iterdir()} >= {".png", ".qml", ".json", ".xml"}
    (out / "b_p.qml").write_text("<qgis/>")  # the user's
    with pytest.raises(OutputError, match="`overlap` 16, now 32"):
        batch(overlap=32)
    (out / "a_clear.tif").unlink()
    with pytest.raises(OutputError, match=r"a_p\.tif: was made with other options"):
        batch(tmp_path / "in" / "a.tif", overlap=32)
    assert batch(overlap=32, overwrite=True) == (2, 0)
    left = {path.name for path in out.iterdir() if not path.name.startswith(("geodecl", ".geod"))}
    assert left == {"a_clear.tif", "b_clear.tif", "b_p.qml"}


def test_a_file_that_no_batch_made_stays(tmp_path, batch):
    out = tmp_path / "out"
    out.mkdir()
    mine = out / "a_clear.tif"
    scene = tmp_path / "in" / "a.tif"
    decloud_scene(scene, mine, identity, Settings(overlap=32), model_name="m")
    with pytest.raises(OutputError, match=r"a_clear\.tif: exists, and no batch made it"):
        batch()
    for other in ({"bands": (3, 2, 1)}, {"scale": 8000}, {"offset": 0}, {"format": "cog"}):
        decloud_scene(scene, mine, identity, Settings(**other, overwrite=True), model_name="m")
        with pytest.raises(OutputError, match=r"a_clear\.tif: exists, and no batch made it"):
            batch()
    mine.unlink()
    decloud_scene(scene, mine, identity, Settings(), model_name="m")  # what a killed run leaves
    assert batch() == (2, 0)
    (out / "b_clear.json").write_text("mine")
    with pytest.raises(OutputError, match=r"`stac` False, now True"):
        batch(stac=True)
    (out / NAME).unlink()
    (out / "a_clear.tif").unlink()
    (out / "b_clear.tif").unlink()
    with pytest.raises(OutputError, match=r"b_clear\.json: exists, and no batch made it"):
        batch(stac=True)
    assert (out / "b_clear.json").read_text() == "mine"


def test_outputs_among_the_scenes_are_skipped(tmp_path, batch):
    folder = tmp_path / "in"
    naming = Naming(provenance="{stem}_p.tif", opacity="{stem}_o.tif")
    decloud_scene(
        folder / "a.tif",
        folder / "single.tif",
        identity,
        Settings(provenance=folder / "p.tif", opacity=folder / "o.tif"),
    )
    simulate_scene(
        folder / "a.tif", folder / "cloudy.tif", folder / "cloudy_opacity.tif", Simulation()
    )
    assert batch(naming=naming) == (3, 0)  # a, b, cloudy
    pattern = folder / "*.tif"
    for done in ((3, 0), (0, 3)):
        assert batch(pattern, out=folder, naming=naming) == done
    assert batch(folder, out=folder / "deeper") == (3, 0)
    with pytest.raises(SceneError, match="no scenes there but 1 output of"):
        batch(folder / "single.tif", out=tmp_path / "other")
    with rasterio.open(folder / "a_clear.tif") as file:
        assert file.count == 3


def test_a_folder_of_scenes_is_left_as_it_is_where_it_is_named_as_out_dir(tmp_path, batch):
    with pytest.raises(OutputError, match="is the folder of the outputs"):
        batch(tmp_path / "in", out=tmp_path / "in")
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"a.tif", "b.tif"}


@pytest.mark.parametrize("name", ["missing", "missing.2024", "missing.tif/"])
def test_a_missing_folder_fails_before_any_worker_starts(tmp_path, batch, name):
    out = tmp_path / "other"
    with pytest.raises(SceneError, match=f"{name}: no such folder or file"):
        batch(tmp_path / "in", f"{tmp_path}/{name}", out=out)
    assert not out.exists()


@dataclass
class Watched:
    """A watch over the folder ``in``, whose scenes settle at once."""

    planner: Planner
    recorder: Recorder

    def restore(self, job):
        """Do a job of one scene, as a worker does."""
        self.recorder.begun(job)
        job.output.write_bytes(b"restored")
        self.recorder.ended(job, Outcome({"width": 70, "height": 70}), "w", 1)


@pytest.fixture
def watched(tmp_path):
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    request = Request([str(tmp_path / "in")], Search(out), Naming(), settle=0)
    with Manifest(out) as manifest:
        recorder = Recorder(manifest, {"settings": {}, "model": "m"}, Display(), Summary())
        yield Watched(Planner(request, recorder, {}, stac=False), recorder)


def test_a_watched_scene_that_changes_while_it_is_restored_is_restored_again(tmp_path, watched):
    """As when an upload rests for longer than ``settle``."""
    scene = write_scene(tmp_path / "in" / "a.tif", noise((3, 70, 70)))
    [job] = watched.planner.settled()
    write_scene(scene, noise((3, 80, 80)))
    assert watched.planner.settled() == []
    watched.restore(job)
    [again] = watched.planner.settled()
    assert again.overwrite
    assert again.fingerprint != job.fingerprint
    watched.restore(again)
    assert watched.planner.settled() == []


def test_a_watched_scene_that_is_renamed_may_have_the_same_output(tmp_path, watched):
    scene = write_scene(tmp_path / "in" / "a.tif", noise((3, 70, 70)))
    [job] = watched.planner.settled()
    watched.restore(job)
    scene.rename(scene.with_suffix(".tiff"))
    [again] = watched.planner.settled()
    assert again.overwrite
    assert again.output == job.output
    write_scene(scene, noise((3, 70, 70)))  # now two scenes have it
    assert watched.planner.settled() == []


def test_a_watched_scene_may_take_the_place_of_an_output(tmp_path, watched):
    scene = write_scene(tmp_path / "a.tif", noise((3, 70, 70)))
    decloud_scene(scene, tmp_path / "in" / "b.tif", identity)
    assert watched.planner.settled() == []
    scene.rename(tmp_path / "in" / "b.tif")
    assert len(watched.planner.settled()) == 1
