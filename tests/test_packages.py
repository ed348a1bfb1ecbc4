"""Wheel, sdist, Docker image and conda recipe agree, and work with no checkout beside them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.windows import Window

from tests.conftest import ROOT, SAMPLES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
CONDA_NAMES = {"torch": "pytorch"}
# Those that pyproject.toml declares; the tests run with each that is here.
PYTHONS = [f"python3.{minor}" for minor in (11, 12, 13)]
HERE = f"python3.{sys.version_info.minor}"
SAMPLE = Window(0, 0, 96, 80)


def recipe() -> dict[str, Any]:
    """The recipe, rendered as conda-build does it."""
    jinja2 = pytest.importorskip("jinja2")
    text = (ROOT / "recipe" / "meta.yaml").read_text("utf-8")
    rendered: dict[str, Any] = yaml.safe_load(jinja2.Template(text).render(PYTHON="python"))
    return rendered


def test_the_recipe_agrees_with_the_project():
    made = recipe()
    assert made["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    assert made["about"]["summary"] == PROJECT["description"]
    assert made["about"]["license"] == PROJECT["license"]
    python, *needs = made["requirements"]["run"]
    assert python == f"python {PROJECT['requires-python']}"
    parts = [re.fullmatch(r"([a-z]+)(.*)", need).groups() for need in PROJECT["dependencies"]]
    assert needs == [f"{CONDA_NAMES.get(name, name)} {bounds}" for name, bounds in parts]
    ((name, value),) = PROJECT["scripts"].items()
    assert made["build"]["entry_points"] == [f"{name} = {value}"]


def test_the_citation_agrees_with_the_project():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (cited["title"], cited["version"]) == (PROJECT["name"], PROJECT["version"])
    assert cited["license"] == PROJECT["license"]
    article, _ = cited["references"]
    assert article["title"].startswith("Erasing Clouds from Satellite Imagery Using GANs")
    assert {"authors", "year", "url"} <= article.keys()


def test_the_version_is_dated_in_the_changelog_as_in_the_citation():
    titles = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert titles[:2] == ["Unreleased", f"{PROJECT['version']} - {cited['date-released']}"]


def test_the_docker_image_is_slim_and_runs_the_program_as_a_user():
    base, last = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert base == last
    assert last.endswith("-slim")
    assert last.removeprefix("python:").removesuffix("-slim") in " ".join(PYTHONS)
    assert re.findall(r"^USER (.*)", DOCKERFILE, re.MULTILINE) == ["user"]
    assert DOCKERFILE.rstrip().endswith('WORKDIR /data\nENTRYPOINT ["geodecloud"]')
    (torch,) = (need for need in PROJECT["dependencies"] if need.startswith("torch"))
    assert f'"{torch}"' in DOCKERFILE


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The wheel and the sdist, built as by ``make dist``."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


@dataclass(frozen=True)
class Environment:
    """A virtual environment; no checkout stands beside it.

    folder: where its programs run.
    """

    path: Path
    folder: Path

    def run(self, *words: object) -> str:
        """Run a program of the environment and return its output."""
        command = [str(word) for word in words]
        command[0] = str(self.path / "bin" / command[0])
        clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        clean["PATH"] = f"{self.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command, check=False, cwd=self.folder, env=clean, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def find_python(name: str) -> str | Path | None:
    """The interpreter of a name, on the PATH or among those of pyenv, that runs; else None."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for found in filter(None, (shutil.which(name), *sorted(versions.glob(f"*/bin/{name}")))):
        command = [found, "-c", "import venv, ensurepip"]
        if not subprocess.run(command, check=False, capture_output=True).returncode:
            return found
    return None


@pytest.fixture(scope="session", params=PYTHONS)
def environment(request, built, tmp_path_factory) -> Iterator[Environment]:
    """An empty environment, in which the steps of the Docker image have been run."""
    python = sys.executable if request.param == HERE else find_python(request.param)
    if not python:
        pytest.skip(f"there is no {request.param} here")
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    made = Environment(folder / "venv", folder)
    _, image = re.split(r"^FROM .*\n", DOCKERFILE, flags=re.MULTILINE)[1:]
    steps = re.findall(r"^RUN (pip install .*)", image, re.MULTILINE)
    assert [step.split()[-1] for step in steps] == ['"torch>=2.6,<2.14"', "/tmp/*.whl"]  # noqa: S108
    for step in steps:
        # The index of CPU builds need not be reached: any torch will do.
        words = shlex.split(step.replace('--index-url "$TORCH_INDEX"', ""))
        words = [str(built[0]) if word.endswith("*.whl") else word for word in words]
        made.run(*words, "--no-compile", "--quiet")
    yield made
    shutil.rmtree(made.path)  # a gigabyte


@pytest.mark.slow
def test_the_sdist_holds_what_the_wheel_and_the_docs_are_made_of(built):
    wheel, sdist = built
    with tarfile.open(sdist) as packed:
        sources = {name.partition("/")[2] for name in packed.getnames()}
    with zipfile.ZipFile(wheel) as packed:
        modules = {name for name in packed.namelist() if name.startswith("geodecloud/")}
        text = packed.read(f"geodecloud-{PROJECT['version']}.dist-info/METADATA").decode("utf-8")
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "geodecloud").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "executable.txt"
    }
    assert modules == there
    assert modules <= sources
    assert "\n# geodecloud\n" in text
    for name in ("CITATION.cff", "mkdocs.yml", "recipe/meta.yaml", "Dockerfile", "docs/data.md"):
        assert name in sources
    for name in ("configs/default.toml", "sample_data/s2_cloudy.tif", "tests/test_packages.py"):
        assert name in sources


@pytest.mark.slow
def test_the_wheel_restores_a_scene_with_no_checkout_beside_it(environment):
    scene = environment.folder / "scene.tif"
    with rasterio.open(SAMPLES / "s2_cloudy.tif") as sample:
        sample_dn = sample.read(window=SAMPLE)
        profile = sample.profile | {"width": SAMPLE.width, "height": SAMPLE.height}
        with rasterio.open(scene, "w", **profile) as cut:
            cut.write(sample_dn)
            cut.descriptions = sample.descriptions
    where = environment.run("python", "-c", "import geodecloud; print(geodecloud.__file__)")
    assert str(environment.path) in where
    beside = ("--provenance", "p.tif", "--preview", "p.png", "--report", "report.html")
    environment.run("geodecloud", "scene.tif", "out.tif", *beside, "--force")
    with rasterio.open(environment.folder / "out.tif") as out:
        dn = out.read()
    with rasterio.open(environment.folder / "p.tif") as codes:
        measured = np.isin(codes.read(1), (0, 255))
    assert "<html" in (environment.folder / "report.html").read_text("utf-8")[:500]
    assert (dn[:, measured] == sample_dn[:, measured]).all()
    assert (dn[:, ~measured] != sample_dn[:, ~measured]).any()


@pytest.mark.slow
def test_the_recipe_s_tests_pass(environment):
    tests = recipe()["test"]
    environment.run("python", "-c", f"import {', '.join(tests['imports'])}")
    for command in tests["commands"]:
        environment.run(*shlex.split(command))
    assert (environment.folder / "geodecloud_plugin.zip").is_file()


@pytest.mark.slow
def test_the_docker_image_restores_a_scene(tmp_path):
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "info"], check=False, capture_output=True).returncode:
        pytest.skip("Docker does not run here")
    subprocess.run([docker, "build", "--quiet", "--tag", "geodecloud-test", ROOT], check=True)
    shutil.copy(SAMPLES / "s2_cloudy.tif", tmp_path / "in.tif")
    user = ["-u", str(os.getuid()), "-v", f"{tmp_path}:/data"]
    command = [docker, "run", "--rm", *user, "geodecloud-test", "in.tif", "out.tif"]
    subprocess.run(command, check=True)
    assert (tmp_path / "out.tif").is_file()
