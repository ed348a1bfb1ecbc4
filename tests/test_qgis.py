"""The plugin in the real QGIS, without a screen; skipped, saying so, where there is no QGIS."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geodecloud.qgis.profiles import Profile, examine, find_profiles, install, this_program
from geodecloud.raster.provenance import PALETTE, Provenance
from tests.conftest import ROOT, SAMPLES, write_scene

pytestmark = pytest.mark.slow

# Debian's qgis_process of QGIS 3.22 is a script that adds an option which the program refuses.
QGIS_PROCESS = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
PYTHON = "/usr/bin/python3"  # of the system, which QGIS's modules are installed for


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A new profile of QGIS with the plugin installed and switched on, by its own means."""
    if QGIS_PROCESS is None:
        pytest.skip("no QGIS here: apt-get install --no-install-recommends qgis")
    folder = tmp_path_factory.mktemp("QGIS ü")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QGIS_CUSTOM_CONFIG_PATH", str(folder))
        (folder / "profiles" / "default").mkdir(parents=True)
        (found,) = find_profiles()
        install(found)
        assert _run(QGIS_PROCESS, "plugins", "enable", "geodecloud").returncode == 0
        yield found


def _remove(scene: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return _run(QGIS_PROCESS, "run", "geodecloud:removeclouds", f"--INPUT={scene}", *options)


def test_the_doctor_is_content(profile):
    findings = list(examine())
    assert {finding.subject for finding in findings} == {"QGIS", "profile", "plugin", "program"}
    assert all(finding.well for finding in findings), findings


@pytest.mark.parametrize("real", [False, True], ids=["sample", "real"])
def test_the_same_bytes_as_the_command_line(profile, tmp_path, request, real):
    scene = SAMPLES / "s2_cloudy.tif"
    with rasterio.open(scene) as cloudy:
        grid = {"crs": cloudy.crs, "transform": cloudy.transform}
        classes = np.full((1, *cloudy.shape), 4, "uint8")
    classes[:, ::2] = 9
    mask = write_scene(tmp_path / "mask.tif", classes, **grid)
    options, flags = [f"--MASK={mask}", "--MASK_VALUES=9"], ["--mask", mask, "--mask-values=9"]
    if real:
        scenes = request.getfixturevalue("shared") / "scenes"
        scene = scenes / "S2_L1C_ukis_512_rgb_uint16_nocrs.tif"
        options, flags = ["--OFFSET=-100", "--OPAQUE=keep"], ["--offset=-100", "--opaque=keep"]
    ours, theirs = tmp_path / "with ü space", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    done = _remove(scene, f"--OUTPUT={ours / 'r.tif'}", f"--PROVENANCE={ours / 'p.tif'}", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 - done" in done.stdout
    command = [this_program(), scene, theirs / "r.tif", "--provenance", theirs / "p.tif"]
    assert _run(*command, *flags).returncode == 0
    for name in ("r.tif", "p.tif"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert {path.name for path in ours.iterdir()} == {
        *("r.tif", "p.tif"),
        *("p.tif.aux.xml", "p.qml"),
    }


def test_references_and_the_limit_are_passed_on(profile, tmp_path):
    with rasterio.open(SAMPLES / "s2_clear.tif") as clear:
        cloudy, grid = clear.read(), {"crs": clear.crs, "transform": clear.transform}
    cloudy[:, 60:140, 40:120] = 16000
    scene = write_scene(tmp_path / "cloudy.tif", cloudy, nodata=0, **grid)
    references = [tmp_path / "ä.tif", tmp_path / "b.tif"]
    for path in references:
        path.write_bytes((SAMPLES / "s2_clear.tif").read_bytes())
    ours, theirs = tmp_path / "ours.tif", tmp_path / "theirs.tif"
    layers = [f"--REFERENCES={path}" for path in references]
    limit = ["--FILL_LIMIT=250", "--BEYOND_LIMIT=nodata"]
    done = _remove(scene, f"--OUTPUT={ours}", *layers, *limit)
    assert done.returncode == 0, done.stdout + done.stderr
    flags = [f"--reference={path}" for path in references]
    flags += ["--fill-limit=250", "--beyond-limit=nodata"]
    assert _run(this_program(), scene, theirs, *flags).returncode == 0
    assert ours.read_bytes() == theirs.read_bytes()
    given = float(re.search(r"REFERENCED:\s+([0-9.e-]+)", done.stdout)[1])
    assert given > 0.02


def test_haze_is_kept_if_asked(profile, tmp_path):
    dn = np.random.default_rng(1).integers(90, 160, (3, 160, 160)).astype(np.uint8)
    scene = write_scene(tmp_path / "hazy.tif", dn, crs="EPSG:32633")
    taken, kept, same = (tmp_path / f"{name}.tif" for name in ("taken", "kept", "same"))
    assert _remove(scene, f"--OUTPUT={taken}").returncode == 0
    opaque = ["--KEEP_VEIL=true", "--OPAQUE=keep"]  # what is kept looks like cloud
    assert _remove(scene, f"--OUTPUT={kept}", *opaque).returncode == 0
    assert _run(this_program(), scene, same, "--keep-veil", "--opaque=keep").returncode == 0
    assert kept.read_bytes() == same.read_bytes()
    with rasterio.open(taken) as bare, rasterio.open(kept) as hazy:
        assert bare.read().mean() < hazy.read().mean()  # the network takes some of it, too
    assert _run(this_program(), scene, same, "--overwrite").returncode == 0
    assert taken.read_bytes() == same.read_bytes()


def test_clouds_are_simulated(profile, tmp_path):
    out = [f"--OUTPUT={tmp_path / 'c.tif'}", f"--OPACITY={tmp_path / 'o.tif'}"]
    options = ["--KIND=cirrus", "--SEED=3", "--ZOOM=2", "--RED=3", "--GREEN=2", "--BLUE=1"]
    command = ["run", "geodecloud:simulateclouds", f"--INPUT={SAMPLES / 's2_clear.tif'}"]
    done = _run(QGIS_PROCESS, *command, *out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    flags = ["--kind=cirrus", "--seed=3", "--zoom=2", "--bands=3,2,1"]
    same = tmp_path / "same.tif"
    _run(this_program(), "simulate", SAMPLES / "s2_clear.tif", same, *flags)
    assert (tmp_path / "c.tif").read_bytes() == same.read_bytes()
    assert (tmp_path / "o.tif").read_bytes() == (tmp_path / "same_opacity.tif").read_bytes()


def test_clouds_are_found(profile, tmp_path):
    command = ["run", "geodecloud:maskclouds", f"--INPUT={SAMPLES / 's2_cloudy.tif'}"]
    done = _run(QGIS_PROCESS, *command, f"--OUTPUT={tmp_path / 'm.tif'}", "--OPAQUE_ABOVE=0.6")
    assert done.returncode == 0, done.stdout + done.stderr
    same = tmp_path / "same.tif"
    _run(this_program(), "mask", SAMPLES / "s2_cloudy.tif", same, "--opaque-above=0.6")
    assert (tmp_path / "m.tif").read_bytes() == same.read_bytes()
    with rasterio.open(same) as found:
        assert "THICK" in done.stdout
        assert set(np.unique(found.read(1))) <= {0, 1, 2, 3, 255}


def test_a_damaged_scene_is_told_in_the_programs_words(profile, tmp_path):
    scene = tmp_path / "cut.tif"
    scene.write_bytes((SAMPLES / "s2_cloudy.tif").read_bytes()[:20000])
    done = _remove(scene, f"--OUTPUT={tmp_path / 'out.tif'}")
    assert done.returncode == 1
    assert f"{scene}: damaged or truncated" in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cut.tif"]


def test_choices_are_numbers_too_as_the_help_proposes(profile, tmp_path):
    scene = SAMPLES / "s2_cloudy.tif"
    both = ["--NODATA=0"]
    names = ["--OPAQUE=keep", "--SHADOWS=keep", *both]
    numbers = ["--OPAQUE=1", "--SHADOWS=1", *both]
    for path, options in (("names.tif", names), ("numbers.tif", numbers)):
        done = _remove(scene, f"--OUTPUT={tmp_path / path}", *options)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "--opaque keep --shadows keep" in done.stdout
    assert "--nodata 0" in done.stdout
    assert (tmp_path / "names.tif").read_bytes() == (tmp_path / "numbers.tif").read_bytes()
    done = _remove(scene, f"--OUTPUT={tmp_path / 'none.tif'}", "--OPAQUE=3")
    assert (done.returncode, "value for OPAQUE" in done.stdout + done.stderr) == (1, True)


def test_two_bands_of_three_are_refused(profile, tmp_path):
    options = ["--RED=1", "--BLUE=2", f"--OUTPUT={tmp_path / 'out.tif'}"]
    done = _remove(SAMPLES / "s2_cloudy.tif", *options)
    assert done.returncode == 1
    assert "Give all three" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def session(profile, tmp_path_factory, tiny_model) -> dict[str, Any]:
    """What a session of QGIS saw: see ``qgis_session.py``."""
    if _run(PYTHON, "-c", "import qgis.core").returncode:
        pytest.skip(f"{PYTHON} has no qgis module")
    folder = tmp_path_factory.mktemp("session ü")
    ramp = np.linspace(500, 9000, 300 * 200).reshape(1, 300, 200).repeat(3, axis=0)
    scene = write_scene(folder / "scene ü.tif", ramp.astype("uint16"), nodata=0)
    large = write_scene(
        folder / "large.tif", np.random.default_rng(0).integers(500, 600, (3, 6000, 2000), "uint16")
    )
    script = ROOT / "tests" / "qgis_session.py"
    out = folder / "out"
    out.mkdir()
    done = _run(PYTHON, script, profile.plugin.parent, scene, large, tiny_model, out)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_restored_layer_has_the_contrast_of_the_cloudy_one(session):
    assert session["remove_and_load"]["contrast"] == [123, 4567]
    progress = session["remove_and_load"]["progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 100


def test_provenance_is_shown_by_degree_from_qgis_and_by_hand(session):
    loaded, by_hand = session["remove_and_load"]["provenance"]
    assert loaded == by_hand
    assert loaded["legend"][0] == "measured, unchanged"
    assert "invented" in " ".join(loaded["legend"])
    for value in range(Provenance.CLOUD_REMOVED + 1):
        assert loaded["colours"][value] == pytest.approx(PALETTE[value], abs=1)
    assert loaded["nodata"] == list(PALETTE[255])


def test_the_results_are_numbers_too(session):
    results = session["remove_and_load"]["results"]
    with rasterio.open(results["PROVENANCE"]) as marks:
        provenance = marks.read(1)
    assert results["CHANGED"] == pytest.approx((provenance != 0).mean())
    assert results["RELIT"] == (provenance == Provenance.SHADOW).mean()
    assert results["INVENTED"] == pytest.approx((provenance == Provenance.FILLED).mean())


def test_opacity_and_shadow_are_a_layer(session):
    assert session["remove_and_load"]["results"]["OPACITY"] is None  # it was not asked for
    with rasterio.open(session["subdataset"]["OPACITY"]) as found:
        assert (found.shape, found.nodata) == ((300, 200), 255)
        assert [text.split()[0] for text in found.descriptions] == ["opacity", "shadow"]


def test_a_cloud_mask_is_a_layer(session):
    assert session["remove_and_load"]["results"]["CLOUD_MASK"] is None  # it was not asked for
    with rasterio.open(session["subdataset"]["CLOUD_MASK"]) as found:
        assert (found.shape, found.nodata) == ((300, 200), 255)
        assert "thick cloud" in found.descriptions[0]


def test_cancelling_leaves_no_file(session):
    cancelled = session["cancel"]
    assert 0 < cancelled["seen"][-1] < 100
    assert cancelled["left"] == []
    assert cancelled["results"] == {}
    assert "Cancelled: nothing was written." in cancelled["said"]


def test_layers_that_are_no_files_are_refused(session):
    told = session["refusals"]
    assert "'tiles' comes from the provider 'wms'" in told["wms"]
    assert "OVERVIEW_LEVEL" in told["options"]
    assert "in the memory of QGIS" in told["memory"]
    assert "none.tif" in told["missing"]


def test_a_subdataset_works(session):
    with rasterio.open(session["subdataset"]["OUTPUT"]) as restored:
        assert restored.shape == (300, 200)


def test_it_works_in_a_model(session):
    assert [Path(path).name for path in session["model"].values()] == ["model.tif"]
    assert all(Path(path).is_file() for path in session["model"].values())


def test_a_missing_executable_is_told_with_the_remedy(session):
    told = session["missing_executable"]
    assert told["can execute"] == [False, told["warning"]]
    for words in (told["warning"], told["run"]):
        assert "gone is not a program: correct it in Settings > Options" in words


def test_a_folder_is_a_batch_of_the_program(session):
    done, failed = session["folder"]["done"], session["folder"]["failed"]
    out = Path(done["arguments"][2])
    assert done["arguments"][:3] == ["batch", str(out.parent), str(out)]
    assert " ".join(done["arguments"][3:]) == (
        "--pattern *.tif --offset -1000 --bands 3,2,1 --provenance {stem}_provenance.tif "
        "--opaque fill --progress json"
    )
    assert set(done["files"]) == {"a_provenance.tif", "a_provenance.qml"}  # the stub writes one
    options = (
        "--recursive --offset -1000 --bands 3,2,1 --opacity {stem}_opacity.tif --opaque keep "
        "--shadows keep --progress json"
    )
    assert " ".join(failed["arguments"][3:]) == options
    assert "1 of 2 scenes failed" in failed["said"][-1]
    assert sum("1 of 2 scenes failed" in said for said in failed["said"][:-1]) <= 1  # QGIS's own


def test_the_plugin_can_be_switched_off(session):
    assert session["unloaded"]
