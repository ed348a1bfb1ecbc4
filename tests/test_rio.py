"""``rio decloud`` is the program, as a command of rasterio."""

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner
from rasterio.rio.main import main_group

from geodecloud.cli import rio
from geodecloud.raster.provenance import Provenance
from tests.conftest import ROOT, read


@pytest.fixture
def rio_cli():
    """Rasterio's command line, with the command of our entry point."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ((name, value),) = project["entry-points"]["rasterio.rio_plugins"].items()
    command = EntryPoint(name, value, "rasterio.rio_plugins").load()
    assert command is rio.decloud
    main_group.add_command(command, name)
    return lambda *args: CliRunner().invoke(main_group, [str(arg) for arg in args])


def test_rio_decloud_restores_as_the_program_does(rio_cli, cli, scene, tiny_model, tmp_path):
    ours, theirs = tmp_path / "ours.tif", tmp_path / "theirs.tif"
    options = ("--model", tiny_model, "--force", "-q")
    assert cli(scene, ours, *options).code == 0
    done = rio_cli("decloud", scene, theirs, "--provenance", tmp_path / "p.tif", *options)
    assert done.exit_code == 0, done.output
    assert (read(theirs) == read(ours)).all()
    assert (read(tmp_path / "p.tif") != Provenance.NODATA).any()


def test_rio_shows_the_program_s_help_and_errors(rio_cli, tmp_path):
    assert "decloud" in rio_cli("--help").output
    shown = rio_cli("decloud", "--help")
    assert shown.exit_code == 0
    assert "--provenance" in shown.output
    failed = rio_cli("decloud", tmp_path / "absent.tif", tmp_path / "out.tif")
    assert failed.exit_code == 1
    assert "absent.tif" in failed.output


def test_rio_starts_without_our_heavy_modules():
    script = "import sys, geodecloud.cli.rio; assert not {'torch', 'typer'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
