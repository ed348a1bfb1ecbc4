"""The plugin's way to the executable, without QGIS: found, asked, run, heard, ended."""

import ast
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geodecloud.qgis.plugin import executable
from geodecloud.qgis.plugin.executable import ExecutableError, check, environment, find
from geodecloud.qgis.plugin.options import text_of
from geodecloud.qgis.plugin.runner import CancelledError, ProgramError, below, run
from geodecloud.raster.lock import acquire, release
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the fake executables are scripts")

PLUGIN = ROOT / "geodecloud" / "qgis" / "plugin"
STANDARD_LIBRARY_ONLY = ("executable.py", "options.py", "runner.py")


class Feedback:
    """What QGIS would be told, and whether it would cancel now."""

    def __init__(self, cancel_when=lambda feedback: False) -> None:
        self.progress: list[float] = []
        self.warnings: list[str] = []
        self._cancel_when = cancel_when

    def isCanceled(self) -> bool:
        return self._cancel_when(self)

    def setProgress(self, progress: float) -> None:
        self.progress.append(progress)

    def pushWarning(self, warning: str) -> None:
        self.warnings.append(warning)


def fake(folder: Path, *lines: str, name: str = "geodecloud") -> str:
    """An executable that is a script of these lines."""
    path = folder / name
    text = "\n".join(["import json, os, pathlib, signal, sys, time", *lines])
    path.write_text(f"#!{sys.executable}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Says its arguments."""
    return fake(tmp_path_factory.mktemp("a b ü"), "print(json.dumps(sys.argv[1:]))")


@settings(max_examples=10, deadline=None)  # each is a process
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
        max_size=12,
    )
)
def test_arguments_arrive_as_they_are(echo, arguments):
    assert json.loads(run([echo, *arguments], Feedback())) == arguments


def test_the_environment_of_qgis_stays_behind(tmp_path, monkeypatch):
    names = "PYTHONHOME PYTHONPATH PYTHONEXECUTABLE GDAL_DATA GDAL_DRIVER_PATH PROJ_LIB"
    dropped = [*names.split(), "LD_LIBRARY_PATH"]
    program = fake(tmp_path, "print(json.dumps(dict(os.environ)))")
    for name in dropped:
        monkeypatch.setenv(name, "/of/qgis")
    monkeypatch.setenv("HTTPS_PROXY", "kept")
    seen = json.loads(run([program], Feedback()))
    assert not set(dropped) & set(seen)
    assert seen["HTTPS_PROXY"] == "kept"
    assert os.environ["PYTHONHOME"] == "/of/qgis"  # QGIS itself goes on with it


def test_on_windows_the_libraries_of_qgis_leave_the_path():
    root = "/OSGeo4W"
    path = os.pathsep.join([f"{root}/bin", "/usr/bin", f"{root.lower()}/apps"])
    assert environment({"OSGEO4W_ROOT": root, "PATH": path})["PATH"] == "/usr/bin"


def test_progress_words_and_output_are_told_apart(tmp_path):
    program = fake(
        tmp_path,
        "def say(text): print(text, file=sys.stderr)",
        "say(json.dumps({'event': 'start', 'pid': os.getpid()}))",
        "say('geodecloud: scene.tif has no CRS')",
        "def rows(done, total):",
        "    say(json.dumps({'event': 'progress', 'done': done, 'total': total}))",
        "rows(5, 20); rows(10, 20); rows(20, 20); rows(0, 0)",
        "say('{ not JSON')",
        "say(json.dumps({'event': 'of a later version'}))",
        "print('one'); print('zwei ü')",
    )
    feedback = Feedback()
    assert run([program], feedback) == "one\nzwei ü"
    assert feedback.progress == [25, 50, 100]
    assert feedback.warnings == ["scene.tif has no CRS", "{ not JSON"]


def test_much_output_on_both_streams_does_not_stop_it(tmp_path):
    program = fake(
        tmp_path, "for _ in range(9000): print('x' * 99); print('y' * 99, file=sys.stderr)"
    )
    feedback = Feedback()
    assert len(run([program], feedback).splitlines()) == len(feedback.warnings) == 9000


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["sys.exit('geodecloud: error: a.tif: damaged')"], "a.tif: damaged"),
        (["raise ValueError('unforeseen')"], "ValueError: unforeseen"),
        (["sys.exit(7)"], "exit code 7 and no message"),
        (["os.kill(os.getpid(), signal.SIGKILL)"], "exit code -9 and no message"),
        (["sys.stdout.buffer.write(b'\\xff'); sys.exit('geodecloud: error: bytes')"], "bytes"),
    ],
)
def test_a_failure_is_told_in_the_programs_own_words(tmp_path, lines, words):
    with pytest.raises(ProgramError) as failure:
        run([fake(tmp_path, *lines)], Feedback())
    assert words in str(failure.value)
    assert not str(failure.value).startswith("geodecloud: ")


def test_what_cannot_be_started_is_said(tmp_path):
    with pytest.raises(ProgramError, match="does not start"):
        run([str(tmp_path / "none")], Feedback())


def test_cancelling_lets_it_tidy_up(tmp_path):
    program = fake(
        tmp_path,
        "part = pathlib.Path(sys.argv[1])",
        "signal.signal(signal.SIGTERM, lambda *_: (part.unlink(), sys.exit(143)))",
        "part.touch()",
        "while True: time.sleep(0.01)",
    )
    part = tmp_path / "part"
    with pytest.raises(CancelledError):
        run([program, str(part)], Feedback(lambda _: part.exists()), [tmp_path])
    assert not part.exists()


def test_one_that_had_finished_is_not_called_cancelled(tmp_path):
    """It ended well between two looks at whether the user has cancelled."""
    out = tmp_path / "out"
    program = fake(
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "pathlib.Path(sys.argv[1]).touch()",
        "time.sleep(0.3)",
        "print('its report')",
    )
    assert run([program, str(out)], Feedback(lambda _: out.exists()), [tmp_path]) == "its report"


@pytest.mark.parametrize("subfolder", ["", "made/by it"])
def test_one_that_must_be_killed_leaves_nothing_either(tmp_path, monkeypatch, subfolder):
    monkeypatch.setattr("geodecloud.qgis.plugin.runner._GRACE", 0.2)
    program = fake(
        tmp_path,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "print(json.dumps({'event': 'start', 'pid': os.getpid()}), file=sys.stderr, flush=True)",
        "folder = pathlib.Path(sys.argv[1], sys.argv[2])",
        "folder.mkdir(parents=True, exist_ok=True)",
        "(folder / '.geodecloud.a.lock').touch()",
        "(folder / '.geodecloud.a.host.0.part').touch()",
        "(folder / '.geodecloud.a.host.0.part.aux.xml').touch()",
        "(folder / 'ready').touch()",
        "while True: time.sleep(0.01)",
    )
    of_another_run = [tmp_path / f".geodecloud.b.{name}" for name in ("lock", "host.1.part")]
    for path in of_another_run:
        path.touch()
    held = acquire(of_another_run[0])
    begun = time.monotonic()
    ready = Feedback(lambda _: (tmp_path / subfolder / "ready").exists())
    folders = below(tmp_path) if subfolder else [tmp_path]
    with pytest.raises(CancelledError):
        run([program, tmp_path, subfolder], ready, folders)
    assert time.monotonic() - begun < 60
    assert sorted(tmp_path.rglob(".geodecloud.*")) == sorted(of_another_run)
    release(of_another_run[0], held)


def test_where_the_executable_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    nowhere = tmp_path / "executable.txt"
    with pytest.raises(ExecutableError, match="pip install geodecloud"):
        find(remembered=nowhere)

    def put(folder: str) -> str:
        (tmp_path / folder).mkdir(parents=True)
        return fake(tmp_path / folder)

    # Each is preferred to the one before.
    assert put("geodecloud/.venv/bin") == find(remembered=nowhere)
    assert put(".local/bin") == find(remembered=nowhere)
    active = put("active/bin")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))
    assert active == find(remembered=nowhere)
    on_path = put("path")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert on_path == find(remembered=nowhere)
    nowhere.write_text("/gone/with/its/venv", encoding="utf-8")
    assert on_path == find(remembered=nowhere)
    remembered = fake(tmp_path, name="remembered ü")
    nowhere.write_text(remembered + "\n", encoding="utf-8")
    assert remembered == find(remembered=nowhere)
    assert active == find(active, remembered=nowhere)
    with pytest.raises(ExecutableError, match="none is not a program: correct it in Settings"):
        find("none", remembered=nowhere)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["print('geodecloud 0.0.9')"], "version 0.0.9, and this plugin needs 0.1.0: .*--upgrade"),
        (["print('something else 1.2.3')"], "is not geodecloud"),
        (["sys.exit('No module named torch')"], "its answer is 'No module named torch'"),
    ],
)
def test_another_or_too_old_a_program_is_refused(tmp_path, lines, words):
    with pytest.raises(ExecutableError, match=words):
        check(fake(tmp_path, *lines))


def test_a_program_that_does_not_start_or_answer(tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(ExecutableError, match="does not start"):
        check(str(broken))
    monkeypatch.setattr(executable, "_PATIENCE", 0.2)
    with pytest.raises(ExecutableError, match="does not start"):
        check(fake(tmp_path, "time.sleep(60)"))


@pytest.mark.parametrize(
    "answer", ["geodecloud 0.1.0", "geodecloud 0.10.1.dev3", "geodecloud 1.0.0"]
)
def test_newer_versions_are_welcome(tmp_path, answer):
    assert check(fake(tmp_path, f"print({answer!r})")) == answer.split()[1]


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**15), 10**15))
@example(float(np.finfo("float32").min), 64)  # the nodata value of many rasters, and a window
def test_a_number_reaches_the_program_as_it_is(number, whole):
    assert float(text_of(number)) == number
    assert text_of(float(whole)) == str(whole)


@pytest.mark.parametrize("path", sorted(PLUGIN.glob("*.py")), ids=lambda path: path.name)
def test_the_plugin_runs_in_the_python_of_qgis(path):
    """Python 3.9 reads it, and it imports QGIS, the standard library and itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    allowed = {*sys.stdlib_module_names}
    allowed |= set() if path.name in STANDARD_LIBRARY_ONLY else {"qgis", "processing"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").split(".")[0] in allowed
