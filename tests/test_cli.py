"""The command line as a person meets it: options, JSON, exit codes, clear failures."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import rasterio
from PIL import Image
from safetensors.torch import save_file
from typer.main import get_command
from typer.models import OptionInfo

from geodecloud import __version__
from geodecloud.cli.main import app
from tests.conftest import ROOT, SAMPLES, noise, read, write_scene

JSON_KEYS = set(
    """
    src dst width height bands windows windows_skipped seconds seconds_network changed_fraction
    invented_fraction reference_fraction shadow_fraction device precision model scale
    offset radiometry haze other_bands warnings
    """.split()
)


def test_all_options_and_all_outputs(cli, tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((4, 70, 90)), nodata=0)
    out, marks, picture = tmp_path / "o ü.tif", tmp_path / "p.tif", tmp_path / "p.png"
    options = ["--bands", "4,2,1", "--scale", "9000", "--offset", "-500", "--window", "32"]
    options += ["--overlap", "8", "--ramp", "linear", "--device", "cpu", "--precision", "fp32"]
    options += ["--opaque", "nodata", "--opaque-above", "0.8", "--provenance", marks]
    options += ["--preview", picture, "--model", tiny_model, "--overwrite", "--json", "-q"]
    out.write_text("old")
    assert cli(src, out, *options).code == 0
    facts = json.loads(cli.out)
    assert set(facts) == JSON_KEYS
    assert (facts["width"], facts["height"], facts["bands"]) == (90, 70, [4, 2, 1])
    assert (facts["scale"], facts["offset"], facts["windows"]) == (9000, -500, 3 * 4)
    assert (facts["device"], facts["precision"]) == ("cpu", "fp32")
    assert cli.err == ""
    assert read(out).shape == (4, 70, 90)
    with rasterio.open(marks) as file:
        assert (file.dtypes, file.nodata, file.shape) == (("uint8",), 255, (70, 90))
        assert "measured" in file.descriptions[0]
        assert file.colormap(1)[101] == (200, 0, 200, 255)
    with Image.open(picture) as png:
        assert png.size == (3 * 90 + 2 * 4, 70)
    beside = {"p.qml", "p.tif.aux.xml"}  # the style of provenance, and the names of its codes
    assert {p.name for p in tmp_path.iterdir()} == {"in.tif", out.name, "p.tif", "p.png", *beside}


def test_the_same_bytes_every_time(cli, tmp_path, tiny_model):
    for name in ("a.tif", "b.tif"):
        assert cli(SAMPLES / "s2_cloudy.tif", tmp_path / name, "--model", tiny_model).code == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_info_describes_a_scene_and_a_model(cli, tmp_path, tiny_model):
    scene = json.loads(cli("info", SAMPLES / "l8_cloudy.tif", "--json").out)
    assert scene["bands"] == [1, 2, 3]
    assert (scene["scale"], scene["offset"]) == pytest.approx((50000, -5000))
    assert "EPSG:32616" in cli("info", SAMPLES / "l8_cloudy.tif").out
    assert "red, green, blue  1, 2, 3" in cli("info", SAMPLES / "l8_cloudy.tif").out
    plain = write_scene(tmp_path / "plain.tif", noise((3, 20, 20)))
    assert "if that is wrong, give --bands" in cli("info", plain).err
    assert json.loads(cli("info", tiny_model, "--json").out)["generator"]["width"] == 4
    assert re.search(r"^ *bands  red, green, blue$", cli("info", tiny_model).out, re.MULTILINE)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_need_no_torch(option):
    script = (
        "import sys; from geodecloud.cli.main import main\n"
        f"try: main(['{option}'])\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'rasterio', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert "geodecloud" in done.stdout
    if option == "--version":
        assert __version__ in done.stdout


def _palette(folder: Path) -> Path:
    path = write_scene(folder / "palette.tif", noise((1, 20, 20), "uint8"))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255)})
    return path


def _truncated(folder: Path) -> Path:
    path = write_scene(folder / "cut.tif", noise((3, 200, 200)), compress="deflate")
    path.write_bytes(path.read_bytes()[:50000])
    return path


def _text(folder: Path) -> Path:
    path = folder / "text.tif"
    path.write_text("no raster at all")
    return path


BAD_SCENES = {
    "missing": (lambda folder: folder / "none.tif", "no such file"),
    "text": (_text, "cannot be opened as a raster"),
    "folder": (lambda folder: folder, "give three files"),
    "truncated": (_truncated, "damaged or truncated"),
    "two bands": (lambda f: write_scene(f / "two.tif", noise((2, 9, 9))), "2 bands, but"),
    "complex": (lambda f: write_scene(f / "c.tif", noise((3, 9, 9)) * np.complex64(1)), "complex"),
    "palette": (_palette, "palette"),
}


@pytest.mark.parametrize("kind", BAD_SCENES)
def test_a_bad_scene_is_one_clear_line(cli, tmp_path, tiny_model, kind):
    make, words = BAD_SCENES[kind]
    src = make(tmp_path)
    _fails(cli, tmp_path, 1, words, src, tmp_path / "out.tif", "--model", tiny_model)
    assert str(src) in cli.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--window", "60"], "multiple of 16"),
        (["--window", "64", "--overlap", "33"], "at most half"),
        (["--bands", "1,2"], "three numbers"),
        (["--bands", "1,2,9"], "1 to 3"),
        (["--scale", "0"], "more than 0"),
        (
            ["--scale", "0.0000275", "--offset", "-0.2"],
            "2.75e-05 x DN - 0.2 is --scale 36363.636 and --offset -7272.7273",
        ),
        (["--bounds", "0,0,1,1"], "0,0,1,1: it lies outside the scene, 500000,"),
        (["--opaque-above", "2"], "opaque-above is 2"),
        (["--opaque", "nodata"], "no nodata value"),
        (["--opaque", "hide"], "invalid value for '--opaque': 'hide' is not one of"),
        (["--device", "abacus"], "abacus"),
        (["--device", "meta"], "auto, cpu"),
        (["--provenance", "p.png"], "name it .tif"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli, tmp_path, scene, tiny_model, options, words):
    _fails(cli, tmp_path, 2, words, scene, tmp_path / "out.tif", "--model", tiny_model, *options)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["", "out.tif"], "SRC"),
        (["a.tif", ""], "DST"),
        (["a.tif", "out.tif", "--provenance", ""], "--provenance"),
        (["a.tif", "out.tif", "--opacity="], "--opacity"),
        (["a.tif", "out.tif", "--cloud-mask", ""], "--cloud-mask"),
        (["a.tif", "out.tif", "--preview", ""], "--preview"),
        (["a.tif", "out.tif", "--report", ""], "--report"),
        (["a.tif", "out.tif", "--bounds", ""], "--bounds"),
        (["a.tif", "out.tif", "--reference", "b.tif", "--reference", ""], "--reference"),
        (["--red", "", "--green", "g.tif", "--blue", "b.tif", "out.tif"], "--red"),
        (["mask", "a.tif", ""], "MASK"),
        (["simulate", "a.tif", ""], "DST"),
        (["batch", "a.tif", ""], "OUT_DIR"),
        (["batch", "", "out"], "SRC"),
        (["batch", "a.tif", "out", "--name", ""], "--name"),
    ],
)
def test_an_empty_value_is_refused_by_name(cli, arguments, name):
    done = cli(*arguments)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{name} is empty" in done.err


def test_a_missing_argument_is_exit_code_2(cli, tmp_path, scene):
    _fails(cli, tmp_path, 2, "DST", scene)


def test_outputs_are_protected(cli, tmp_path, scene, tiny_model):
    model = ["--model", tiny_model]
    old = tmp_path / "old.tif"
    old.write_text("old")
    _fails(cli, tmp_path, 1, "--overwrite", scene, old, *model)
    picture = tmp_path / "old.png"
    picture.write_text("old")
    _fails(cli, tmp_path, 1, "--overwrite", scene, tmp_path / "o.tif", "--preview", picture, *model)
    jpeg = tmp_path / "new.jpg"
    _fails(cli, tmp_path, 2, "name it .png", scene, tmp_path / "o.tif", "--preview", jpeg, *model)
    (tmp_path / "link.tif").symlink_to(scene)
    for same in (scene, tmp_path / "link.tif", f"{tmp_path}/../{tmp_path.name}/scene.tif"):
        _fails(cli, tmp_path, 1, "input itself", scene, same, "--overwrite", *model)
    _fails(cli, tmp_path, 1, "does not exist", scene, tmp_path / "none" / "o.tif", *model)
    (tmp_path / "folder.tif").mkdir()
    _fails(cli, tmp_path, 1, "is a folder", scene, tmp_path / "folder.tif", "--overwrite", *model)
    _fails(
        cli,
        tmp_path,
        1,
        "twice",
        scene,
        tmp_path / "o.tif",
        "--provenance",
        tmp_path / "o.tif",
        *model,
    )


def test_a_folder_without_write_permission(cli, tmp_path, scene, tiny_model, monkeypatch):
    # Root may write everywhere, so the system is made to say no.
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    _fails(cli, tmp_path, 1, "not writable", scene, tmp_path / "o.tif", "--model", tiny_model)


def test_bad_models(cli, tmp_path, scene, tiny_model):
    out = tmp_path / "out.tif"
    _fails(cli, tmp_path, 1, "no such model", scene, out, "--model", tmp_path / "none")
    missing = tmp_path / "none.safetensors"  # there is no --model to leave out
    _fails(cli, tmp_path, 1, "no such model file; check its path", "info", missing)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_model.read_bytes()[:-100])
    _fails(cli, tmp_path, 1, "damaged", scene, out, "--model", cut)
    _fails(cli, tmp_path, 1, "damaged", scene, out, "--model", scene)
    other = tmp_path / "other.safetensors"
    save_file({}, other)
    _fails(cli, tmp_path, 1, "not a model of geodecloud", scene, out, "--model", other)
    save_file(
        {},
        other,
        {"geodecloud": '{"kind": "geodecloud-generator", "generator": {"width": 4}, "window": 64}'},
    )
    _fails(cli, tmp_path, 1, "do not fit", scene, out, "--model", other)


def test_no_crs_is_a_warning_only(cli, tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20)), crs=None)
    assert cli(src, tmp_path / "out.tif", "--model", tiny_model).code == 0
    assert "no CRS" in cli.err


def _fails(cli, folder, code, words, *args):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    cli(*args)
    assert cli.code == code, cli.err
    assert words in cli.err
    assert "Traceback" not in cli.err
    if code == 1:
        errors = [line for line in cli.err.splitlines() if "error:" in line]
        assert len(errors) == 1
        assert cli.err.endswith(errors[0] + "\n")
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before


_SLOW_RUN = """
import signal, sys, time
from pathlib import Path
import numpy as np
from geodecloud.cli.run import run
from geodecloud.decloud import decloud_scene
from geodecloud.settings import Settings

def restore():
    def network(patches, _):
        time.sleep(0.2)
        return np.concatenate([patches, patches[:, :1] * 0 + 0.2], axis=1)
    src, dst, preview = map(Path, sys.argv[1:])
    decloud_scene(src, dst, network, Settings(preview=preview, overlap=32))

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and so does one under nohup
run(restore)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("which", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (getattr(signal, "SIGHUP", None), 129)],
)
def test_interrupted_runs_leave_nothing(tmp_path, which, code):
    src = write_scene(tmp_path / "in.tif", np.ones((3, 800, 800), np.uint16), compress="lzw")
    before = set(tmp_path.iterdir())
    command = [sys.executable, "-c", _SLOW_RUN, src, tmp_path / "out.tif", tmp_path / "p.png"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".geodecloud.*.part")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(which)
    _, errors = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in errors
    assert errors.endswith("geodecloud: interrupted\n")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_closed_terminal_is_ignored_under_nohup():
    script = "from geodecloud.raster.signals import *; print(*map(int, requests()))"
    command = ["nohup", sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.split() == [b"2", b"15"]


def test_simulate_writes_clouds_and_their_opacity(cli, tmp_path, scene):
    done = cli("simulate", scene, tmp_path / "cloudy.tif", "--kind", "haze", "--seed", 3)
    assert done.code == 0
    assert "mean opacity" in done.out
    assert read(tmp_path / "cloudy_opacity.tif").shape == (1, 100, 90)
    assert read(tmp_path / "cloudy.tif").mean() > read(scene).mean()
    _fails(cli, tmp_path, 1, "exists already", "simulate", scene, tmp_path / "cloudy.tif")
    _fails(cli, tmp_path, 2, "'fog' is not one of", "simulate", scene, "x.tif", "--kind", "fog")
    _fails(cli, tmp_path, 2, "zoom is 0", "simulate", scene, tmp_path / "x.tif", "--zoom", 0)
    _fails(cli, tmp_path, 1, "no such file", "simulate", tmp_path / "no.tif", tmp_path / "x.tif")
    _fails(cli, tmp_path, 2, "x.png: the output is a GeoTIFF", "simulate", scene, "x.png")
    options = ["--opacity", tmp_path / "o.png"]
    _fails(cli, tmp_path, 2, "name it .tif", "simulate", scene, tmp_path / "x.tif", *options)


@pytest.mark.parametrize("command", ["remove", "simulate"])
def test_progress_as_json_lines_for_programs(cli, tmp_path, scene, tiny_model, command):
    options = ["--model", tiny_model, "--quiet"] if command == "remove" else []
    assert cli(command, scene, tmp_path / "o.tif", "--progress", "json", *options).code == 0
    start, *events = [json.loads(line) for line in cli.err.splitlines() if line.startswith("{")]
    assert start == {"event": "start", "pid": os.getpid()}
    assert {(e["event"], e["total"], e["unit"]) for e in events} == {("progress", 100, "row")}
    done = [event["done"] for event in events]
    assert done == sorted(done)
    assert done[-1] == 100


@pytest.mark.slow
def test_a_batch_counts_scenes_in_json_lines(cli, tmp_path, tiny_model):
    for name in ("a.tif", "b.tif"):
        write_scene(tmp_path / name, noise((3, 100, 90)))
    (tmp_path / "c.tif").write_text("no raster")
    options = ["--model", tiny_model, "--progress", "json"]
    assert cli("batch", tmp_path, tmp_path / "out", *options).code == 1
    start, *events = [json.loads(line) for line in cli.err.splitlines() if line.startswith("{")]
    assert start["event"] == "start"
    assert {(e["event"], e["total"], e["unit"]) for e in events} == {("progress", 3, "scene")}
    assert events[-1]["done"] == 3
    assert (cli.out + cli.err).count("c.tif: cannot be opened") == 1
    assert "failed       1" in cli.out
    assert max(event["done"] for event in events) == 3
    assert "c.tif" in cli.err


COMMANDS = ["", "remove", "batch", "info", "simulate", "evaluate", "train", "prepare"]
COMMANDS += ["cloud-fields", "download-eurosat", "qgis", "qgis install", "qgis zip", "qgis doctor"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_each_text_stands_alone(cli, command):
    done = cli(*command.split(), "--help")
    assert done.code == 0
    assert done.out.isascii()
    assert max(map(len, done.out.splitlines())) <= 80
    assert "[default: (" not in done.out
    assert "None" not in done.out
    for section in re.findall(r"^(\w+):\n((?:  .*\n)+)", done.out, re.MULTILINE):
        texts = re.findall(r"^  \S.*?  +(\S.*)$", section[1], re.MULTILINE)
        assert all(text[0].isupper() or text[0].isdigit() for text in texts), section


def test_help_has_a_section_for_each_kind_of_option(cli):
    titles = re.findall(r"^(\w+):$", cli("remove", "--help").out, re.MULTILINE)
    assert titles == "Arguments Input Clouds Fill Windows Output Performance General".split()


def test_every_option_with_a_value_says_of_which_kind():
    def parameters(command, path=""):
        for name, below in getattr(command, "commands", {}).items():
            yield from parameters(below, f"{path} {name}")
        yield from ((path, one) for one in command.params)

    for path, one in parameters(get_command(app)):
        if not one.hidden and not getattr(one, "is_flag", False):
            assert one.metavar, f"{path} {one.name}"
            assert one.help, f"{path} {one.name}"


def test_an_option_named_like_its_value_declares_its_name():
    """Some versions of Typer (0.27) call an option ``name`` with ``metavar="NAME"`` ``--NAME``."""
    seen = 0
    for command in app.registered_commands:
        for name, parameter in inspect.signature(command.callback).parameters.items():
            for info in getattr(parameter.annotation, "__metadata__", ()):
                seen += isinstance(info, OptionInfo)
                if isinstance(info, OptionInfo) and (info.metavar or "").lower() == name:
                    # Within Annotated, Typer keeps the first declared name as the default.
                    declared = info.param_decls or isinstance(info.default, str)
                    assert declared, (command.callback.__name__, name)
    assert seen > 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("bacht in.tif out", "no such command: bacht; did you mean batch?"),
        ("inof in.tif", "did you mean info?"),
        ("qgis instal", "Did you mean 'install'? See geodecloud qgis --help"),
        ("in.tif out.tif --opaqe fill", "--opaque"),
        ("in.tif out.tif --fill-limit 300m", "--fill-limit"),
        ("mask in.tif", "missing argument 'MASK'; see geodecloud mask --help"),
        ("a.tif b.tif c.tif out", "use geodecloud batch SRC... OUT_DIR"),
        ("{folder} {folder}", "use geodecloud batch SRC... OUT_DIR"),
        ("{folder} out", "use geodecloud batch SRC... OUT_DIR"),
        ("a.tif {folder}", "use geodecloud batch SRC... OUT_DIR"),
        ("batch a.tif", "OUT_DIR is missing"),
        ("batch", "OUT_DIR is missing"),
        ("batch a.tif {file}", "OUT_DIR is missing: {file} is a file"),
        ("batch a.tif out.tif", "OUT_DIR is out.tif: name a folder"),
        ("batch a.tif out --settle 5", "--settle needs --watch"),
        ("a.tif", "DST is missing"),
        ("out.tif --red a.tif --blue b.tif", "--red, --green and --blue"),
        ("--red a.tif --green b.tif --blue c.tif", "DST is missing: give DST after"),
        ("--red a.tif", "--red, --green and --blue"),
        ("remove -q", "SRC is missing: give SRC and DST"),
        ("a.tif o.tif --threads all", "--threads is all: give a whole number, or ALL_CPUS"),
        ("a.tif o.tif --max-memory 600", "--max-memory is 600: give a size with its unit"),
        ("a.tif o.tif --fill-limit -3", "--fill-limit is -3: give more than 0"),
        ("a.tif o.tif --overlap 40", "--overlap is 40: give at most half of --window, 32"),
        ("a.tif o.tif --reference b.tif --opaque keep", "--reference"),
        ("a.tif o.tif --co ZSTD", "--co is ZSTD: give KEY=VALUE"),
        ("evaluate", "give CLOUDY_DIR and CLEAR_DIR"),
        ("evaluate --seams a.tif --window 60", "--window is 60"),
        ("train --data here", "--out"),
    ],
)
def test_a_fault_of_usage_is_told_with_its_remedy(cli, tmp_path, arguments, words):
    (tmp_path / "file").touch()
    names = {"folder": str(tmp_path), "file": str(tmp_path / "file")}
    done = cli(*(one.format(**names) for one in arguments.split()))
    assert done.code == 2
    assert words.format(**names) in done.err
    assert "`" not in done.err
    assert done.err.count("\n") == 1


def test_what_users_of_gdal_and_rio_type_works(cli, tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((3, 300, 300)))
    options = ["--format", "COG", "--threads", "ALL_CPUS", "-b", "1,2,3", "--dst-nodata", "0"]
    options += ["--bounds", "500000,5497500,502000,5500000", "--model", tiny_model]
    assert cli(src, tmp_path / "out.tif", *options).code == 0, cli.err
    with rasterio.open(tmp_path / "out.tif") as out:
        assert (out.shape, out.nodata) == ((250, 200), 0)
        assert out.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(cli, tmp_path, scene, tiny_model):
    before = set(tmp_path.iterdir())
    arguments = [scene, tmp_path / "out.tif", "--model", tiny_model, "--scale", "9000"]
    arguments += ["--offset", "-500", "--provenance", tmp_path / "p.tif", "--dry-run"]
    facts = json.loads(cli(*arguments, "--json").out)
    assert set(tmp_path.iterdir()) == before
    assert (facts["width"], facts["height"], facts["windows"]) == (90, 100, 4)
    assert (facts["scale"], facts["offset"], facts["bands"]) == (9000, -500, [1, 2, 3])
    assert facts["writes"] == [str(tmp_path / name) for name in ("out.tif", "p.tif", "p.qml")]
    assert facts["model"] == str(tiny_model)
    assert 100 < facts["memory_mib"] <= facts["max_memory_mib"] == 1024
    assert "writes  " in cli(*arguments).out
    for option in ("--mask", "--reference"):
        _fails(cli, tmp_path, 1, "no such file", *arguments, option, tmp_path / "none.tif")
    (tmp_path / "p.tif").touch()
    _fails(cli, tmp_path, 1, "exists already", *arguments)


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("geodecloud ba", {"batch"}),
        ("geodecloud --opaq", {"--opaque", "--opaque-above"}),
        ("geodecloud in.tif out.tif --opaque ", {"fill", "keep", "nodata"}),
        ("geodecloud batch in out --sched", {"--scheduler"}),
    ],
)
def test_a_shell_completes_commands_and_options(cli, monkeypatch, words, answers):
    monkeypatch.setenv("_GEODECLOUD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    assert set(cli().out.split()) == answers


def test_warnings_are_lines_of_the_program(cli, tmp_path, tiny_model):
    src = write_scene(tmp_path / "in.tif", noise((3, 20, 20)), crs=None)
    arguments = [src, tmp_path / "out.tif", "--model", tiny_model, "--overwrite"]
    lines = cli(*arguments, "--keep-veil").err.splitlines()
    assert lines[0] == "geodecloud: warning: --keep-veil is now called --keep-haze"
    assert all(line.startswith("geodecloud: warning: ") for line in lines)
    assert any("no CRS" in line for line in lines)
    assert ".py:" not in cli.err
    assert cli(*arguments, "--keep-veil", "-q").err == ""


@pytest.mark.slow
def test_a_batch_warns_of_each_kind_once(cli, tmp_path, tiny_model):
    for name in ("a.tif", "b.tif"):
        write_scene(tmp_path / name, noise((3, 20, 20)), crs=None)
    assert cli("batch", tmp_path, tmp_path / "out", "--model", tiny_model).code == 0
    warnings = [line for line in cli.err.splitlines() if "warning: " in line]
    assert len([line for line in warnings if "no CRS" in line]) == 1


def test_choices_of_the_command_line_are_those_of_the_library():
    from geodecloud.cli.options import OnBad
    from geodecloud.data import tiles

    assert get_args(OnBad) == get_args(tiles.OnBad)


_IN_A_FINALIZER = """
class Finalized:
    def __del__(self): stop()
def program():
    Finalized()
    time.sleep(60)
"""
_IN_NUMPY = """
class Kind(type):
    def __getattr__(self, name):
        stop()
        raise AttributeError(name)
class Code(int, metaclass=Kind): pass
def program():
    np.zeros(3, "uint8") == Code(1)  # NumPy looks for __array_ufunc__, and drops any exception
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("program", [_IN_A_FINALIZER, _IN_NUMPY], ids=["finalizer", "numpy"])
@pytest.mark.parametrize(
    ("around", "words"),
    [
        ("from geodecloud.cli.run import run", "geodecloud: interrupted\n"),
        (
            "from geodecloud.raster.signals import *\n"
            "def run(program):\n"
            "    with stopped_by(signal.SIGTERM):\n"
            "        try: program()\n"
            "        except Stopped as stopped: stopped.arrived = True; sys.exit(143)",
            "",
        ),
    ],
    ids=["command line", "worker"],
)
def test_a_signal_that_a_library_drops_still_ends_the_run(program, around, words):
    stop = "def stop(): os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.01)\n"
    script = f"import os, signal, sys, time\nimport numpy as np\n{around}\n{stop}{program}"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}run(program)\n"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (143, words.splitlines())
