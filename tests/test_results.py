"""The page of results is what benchmarks/results.py writes, and says what has not been run."""

import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks import results
from benchmarks.results import PAGE, SECTIONS, Section, read_results, run_section, write_page
from tests.conftest import ROOT, SAMPLES

SCRIPT = "import sys; print('gain 1.5 dB of', sys.argv[1]); sys.exit(len(sys.argv) - 2)"
MADE = Section("made", "Made", "It means this.", "It is from here.", (), ("DATA/pairs",))


@pytest.fixture
def section(monkeypatch, tmp_path):
    """Replace the sections by one, beside data that are there."""
    (tmp_path / "pairs").mkdir()
    command = f"python -c {results.shlex.quote(SCRIPT)} DATA/pairs"
    made = replace(MADE, commands=(command,))
    other = replace(MADE, name="other", title="Other")
    monkeypatch.setattr(results, "SECTIONS", (made, other))
    return made


def test_the_page_is_as_the_script_writes_it():
    page = PAGE.read_text("utf-8")
    assert write_page(read_results(page)) == page
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)


def test_what_a_command_prints_is_laid_between_its_markers_alone(section, tmp_path):
    before = write_page({"other": "kept"})
    assert "Not run yet." in before
    text, good = run_section(section, tmp_path)
    assert good
    page = write_page(read_results(before) | {"made": text})
    assert f"$ {section.commands[0]}\ngain 1.5 dB of DATA/pairs\n```" in page
    assert read_results(page) == {"made": text, "other": "kept"}
    assert "Not run" not in page


def test_absent_data_are_named_and_a_failure_is_shown(section, tmp_path):
    text, good = run_section(section, tmp_path / "elsewhere")
    assert good
    assert text.startswith("Not run: DATA/pairs is absent.")
    assert not results.has_results(text)
    failing = replace(section, commands=(f"{section.commands[0]} more", *section.commands))
    text, good = run_section(failing, tmp_path)
    assert not good
    assert text.count("$ python") == 1  # the commands after it are not run
    assert "gain 1.5 dB of DATA/pairs\nexit code 1" in text
    assert not results.has_results(text)


def test_an_unknown_section_is_a_clear_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["results.py", "--only", "gains,x"])
    with pytest.raises(SystemExit):
        results.main()
    assert "--only x: give some of gains, thin" in capsys.readouterr().err


def test_the_stages_that_are_timed_are_there():
    """The script finds each stage by the name of its function, so both are renamed together."""
    command = ["benchmarks/where_time_goes.py", SAMPLES / "s2_cloudy.tif", "--stand-in"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert {"relight", "fill", "blend", "gate"} <= {
        line.split("  ")[0] for line in done.stdout.splitlines()
    }
