"""The plugin outside of QGIS: into profiles, into an archive; what the doctor finds."""

import configparser
import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import numpy as np
import pytest

from geodecloud import __version__
from geodecloud.qgis.plugin import executable
from geodecloud.qgis.profiles import SOURCE, Profile, find_profiles, profile_folders, this_program
from geodecloud.raster.provenance import PALETTE, provenance_style


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty home, on Linux."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "QGIS_CUSTOM_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _profile(base: Path, name: str = "default") -> Profile:
    path = base / "profiles" / name
    path.mkdir(parents=True)
    return Profile(path)


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", ".local/share/QGIS/QGIS3"),
        ("linux", ".local/share/QGIS/QGIS4"),
        ("linux", ".var/app/org.qgis.qgis/data/QGIS/QGIS3"),
        ("darwin", "Library/Application Support/QGIS/QGIS3"),
        ("win32", "Roaming/QGIS/QGIS4"),
    ],
)
def test_profiles_are_where_qgis_keeps_them(home, monkeypatch, platform, folder):
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("APPDATA", str(home / "Roaming"))
    assert profile_folders() == []
    profile = _profile(home / folder)
    assert find_profiles() == [profile]


def test_the_users_own_places_and_names_are_heeded(home, monkeypatch):
    _profile(home / ".local/share/QGIS/QGIS3")
    elsewhere = [_profile(home / "ü/QGIS/QGIS3"), _profile(home / "ü/QGIS/QGIS3", "survey")]
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "ü"))
    assert find_profiles() == elsewhere[:1]
    assert find_profiles("survey") == elsewhere[1:]
    (home / "ü/QGIS/QGIS3/profiles/profiles.ini").write_text("[core]\ndefaultProfile=survey\n")
    assert find_profiles() == elsewhere[1:]
    custom = _profile(home / "custom")
    monkeypatch.setenv("QGIS_CUSTOM_CONFIG_PATH", str(home / "custom"))
    assert find_profiles() == [custom]


def test_install_replaces_the_older_plugin_whole(home, cli):
    profiles = [_profile(home / f".local/share/QGIS/QGIS{major}") for major in (3, 4)]
    old = profiles[0].plugin / "of_an_older_version.py"
    old.parent.mkdir(parents=True)
    old.touch()
    for _ in range(2):
        done = cli("qgis", "install")
        assert done.code == 0, done.err
        assert all(str(profile.plugin) in done.out for profile in profiles)
    for profile in profiles:
        files = {path.name for path in profile.plugin.iterdir()}
        assert files == {p.name for p in SOURCE.iterdir() if p.is_file()} | {"executable.txt"}
        assert list(profile.plugin.parent.iterdir()) == [profile.plugin]
        assert (profile.plugin / "executable.txt").read_text() == str(this_program())


@pytest.mark.parametrize(
    ("present", "version", "made"),
    [
        ("", "QGIS 3.22.16", ".local/share/QGIS/QGIS3"),
        ("", "QGIS 4.0.1", ".local/share/QGIS/QGIS4"),
        ("", "", ".local/share/QGIS/QGIS3"),
        (".var/app/org.qgis.qgis", "", ".var/app/org.qgis.qgis/data/QGIS/QGIS3"),
        (".var/app/org.qgis.qgis", "QGIS 3.40.1", ".local/share/QGIS/QGIS3"),
        (".local/share/QGIS/QGIS3/profiles", "QGIS 3.22.16", ".local/share/QGIS/QGIS3"),
    ],
)
def test_install_makes_the_default_profile_where_qgis_was_never_started(
    home, cli, monkeypatch, present, version, made
):
    (home / present).mkdir(parents=True, exist_ok=True)
    tools = home / "tools"
    tools.mkdir()
    if version:
        (tools / "qgis").write_text(f"#!/bin/sh\necho {version}-Nowhere\n")
        (tools / "qgis").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/bin")
    monkeypatch.setattr(
        "shutil.which", lambda name, **_: str(tools / name) if (tools / name).exists() else None
    )
    done = cli("qgis", "install")
    assert done.code == 0, done.err
    assert "qgis_process plugins enable geodecloud" in done.out
    (found,) = find_profiles()
    assert found.path == home / made / "profiles" / "default"
    assert (found.plugin / "metadata.txt").is_file()
    monkeypatch.setenv("QGIS_CUSTOM_CONFIG_PATH", str(home / "custom"))
    assert cli("qgis", "install").code == 0
    assert (home / "custom" / "profiles" / "default" / "python" / "plugins").is_dir()


def test_install_says_what_is_wrong(home, cli, monkeypatch):
    done = cli("qgis", "install", "--profile", "survey")  # only the default one is made
    assert (done.code, "no QGIS profile was found" in done.err) == (1, True)
    profile = _profile(home / ".local/share/QGIS/QGIS3", "survey")
    done = cli("qgis", "install", "--profile", "surwey")
    assert (done.code, "'surwey'; give one of survey" in done.err) == (2, True)
    (profile.path / "python").write_text("a file where the folder should be")
    done = cli("qgis", "install", "--profile", "survey")
    assert (done.code, "cannot be written" in done.err) == (1, True)
    assert "Traceback" not in done.err


def test_the_archive_is_a_plugin_and_always_the_same(cli, tmp_path):
    archive = tmp_path / "plugin ü.zip"
    assert cli("qgis", "zip", archive).code == 0
    first = archive.read_bytes()
    assert "exists already" in cli("qgis", "zip", archive).err
    done = cli("qgis", "zip", tmp_path / "plugin.tar")
    assert (done.code, "QGIS installs from a zip; name it .zip" in done.err) == (2, True)
    assert cli("qgis", "zip", archive, "--overwrite").code == 0
    assert archive.read_bytes() == first
    with zipfile.ZipFile(archive) as packed:
        names = set(packed.namelist())
        assert {"geodecloud/__init__.py", "geodecloud/metadata.txt", "geodecloud/LICENSE"} <= names
        assert {name.split("/")[0] for name in names} == {"geodecloud"}
        assert not {name for name in names if "cache" in name or name.endswith("executable.txt")}
        for name in names:
            assert packed.read(name) == (SOURCE / name.split("/")[1]).read_bytes()


def test_the_archive_passes_the_checks_of_the_plugin_repository(cli, tmp_path):
    """Of plugins.qgis.org, but for those that ask the network whether the addresses answer."""
    archive = tmp_path / "geodecloud.zip"
    assert cli("qgis", "zip", archive).code == 0
    assert archive.stat().st_size < 25_000_000
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None
        names = packed.namelist()
        (folder,) = {name.split("/")[0] for name in names}
        metadata = configparser.ConfigParser()
        metadata.read_string(packed.read(f"{folder}/metadata.txt").decode("utf-8"))
        start = packed.read(f"{folder}/__init__.py").decode("utf-8")
        licence = packed.read(f"{folder}/LICENSE").decode("utf-8")
        general = metadata["general"]
        icon = packed.read(f"{folder}/{general['icon']}")
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]+", folder)
    for name in names:
        assert not name.startswith("/")
        assert not re.search(r"\.\.|\\|\.pyc$|__pycache__|__MACOSX|/\.", name), name
    assert "def classFactory(" in start
    assert licence.startswith("MIT License")
    assert ET.fromstring(icon).tag.endswith("svg")  # noqa: S314 - our own
    required = "name description version qgisMinimumVersion author email about repository tracker"
    for key in f"{required} homepage license changelog tags category".split():
        assert general[key].strip(), key
    assert general["version"] == __version__
    assert general["license"] == "MIT"
    assert general["hasProcessingProvider"] == general["supportsQt6"] == "yes"
    assert (general["qgisMinimumVersion"], general["qgisMaximumVersion"]) == ("3.22", "4.99")
    assert all(general[k].startswith("https://") for k in ("homepage", "repository", "tracker"))
    assert len({general[k] for k in ("homepage", "repository", "tracker")}) == 3
    assert general["email"].count("@") == 1
    assert "plugin" not in general["name"].lower()
    assert "plugin" not in general["tags"].lower()
    assert not re.search(r"<[a-z]", general["about"])
    assert list(executable.OLDEST) <= [int(part) for part in re.findall(r"\d+", __version__)]


def test_the_style_paints_what_the_raster_means():
    """As in QGIS: linear between the items of the style."""
    assert (SOURCE / "provenance.qml").read_text(encoding="utf-8") == provenance_style()
    style = ET.parse(SOURCE / "provenance.qml")  # noqa: S314 - our own
    items = style.findall(".//item")
    values = [float(item.get("value")) for item in items]
    colours = [[*bytes.fromhex(item.get("color")[1:]), int(item.get("alpha"))] for item in items]
    for value, colour in PALETTE.items():
        if value < 255:
            painted = [np.interp(value, values, channel) for channel in zip(*colours, strict=True)]
            assert painted == pytest.approx(colour, abs=1), value
    nodata = style.find(".//rasterrenderer").get("nodataColor")
    assert tuple(map(int, nodata.split(","))) == PALETTE[255]


def test_the_doctor_names_what_is_missing(home, cli, monkeypatch):
    tools = home / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):  # an active environment has the program
        monkeypatch.delenv(variable, raising=False)
    done = cli("qgis", "doctor")
    assert done.code == 1
    assert "MISSING  QGIS: not found" in done.out
    assert "MISSING  profile: no QGIS profile was found" in done.out

    qgis = tools / "qgis"
    qgis.write_text("#!/bin/sh\necho QGIS 3.99-Nowhere\n")
    qgis.chmod(0o755)
    profile = _profile(home / ".local/share/QGIS/QGIS3")
    done = cli("qgis", "doctor")
    assert "ok  QGIS" in done.out
    assert "3.99-Nowhere" in done.out
    assert "MISSING  plugin: not installed" in done.out

    cli("qgis", "install")
    done = cli("qgis", "doctor")
    assert done.code == 1
    assert "MISSING  plugin: switched off" in done.out
    assert f"program: {this_program()}: version {__version__}" in done.out

    settings = profile.path / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir()
    settings.write_text("[Plugins]\ngeodecloud=false\n\n[PythonPlugins]\ngeodecloud=true\n")
    done = cli("qgis", "doctor")
    assert (done.code, "MISSING" in done.out) == (0, False)

    metadata = profile.plugin / "metadata.txt"
    metadata.write_text(metadata.read_text().replace(f"version={__version__}", "version=0.0.1", 1))
    (profile.plugin / "executable.txt").write_text("/gone")
    done = cli("qgis", "doctor")
    assert done.code == 1
    assert f"version 0.0.1, this is {__version__}" in done.out
    assert "MISSING  program: The geodecloud program was not found" in done.out
