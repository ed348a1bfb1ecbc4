"""Install the QGIS plugin into a profile, pack it, and check what is missing."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geodecloud.errors import GeodecloudError, OutputError, UsageError
from geodecloud.qgis.plugin import executable
from geodecloud.raster.atomic import AtomicFiles
from geodecloud.version import VERSION

NAME = "geodecloud"  # of the plugin's folder
SOURCE = Path(executable.__file__).parent
_LEFT_OUT = shutil.ignore_patterns("__pycache__", executable.REMEMBERED.name)
_DEFAULT = "default"  # name of the profile that QGIS makes when it is first started
_EPOCH = (1980, 1, 1, 0, 0, 0)  # time of all files in the archive, so that it is always the same


@dataclass(frozen=True)
class Profile:
    """A user's profile of QGIS: settings and plugins."""

    path: Path

    @property
    def plugin(self) -> Path:
        """The folder of our plugin, which may not exist."""
        return self.path / "python" / "plugins" / NAME

    @property
    def version(self) -> str | None:
        """The version of our plugin; None: it is not installed."""
        metadata = self.plugin / "metadata.txt"
        return _value(metadata, "general", "version") if metadata.is_file() else None

    @property
    def enabled(self) -> bool:
        """Whether the user has switched our plugin on."""
        files = [self.path / "QGIS" / f"QGIS{major}.ini" for major in (3, 4)]
        return any(_value(file, "PythonPlugins", NAME) == "true" for file in files)


def profile_folders() -> list[Path]:
    """Return the folders that exist in which QGIS 3 and 4 keep profiles."""
    return [folder for folder in _possible_folders() if folder.is_dir()]


def _possible_folders() -> list[Path]:
    """Return the folders of profiles of QGIS 3, then 4, of each way of installing it."""
    custom = os.environ.get("QGIS_CUSTOM_CONFIG_PATH")
    if custom:
        return [Path(custom) / "profiles"]
    home = Path.home()
    if sys.platform == "win32":
        bases = [Path(os.environ.get("APPDATA", home / "AppData" / "Roaming"))]
    elif sys.platform == "darwin":
        bases = [home / "Library" / "Application Support"]
    else:
        bases = [
            Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share"),
            home / ".var" / "app" / "org.qgis.qgis" / "data",  # Flatpak
        ]
    return [base / "QGIS" / f"QGIS{major}" / "profiles" for base in bases for major in (3, 4)]


def any_profile() -> bool:
    """Return whether QGIS has any profile: it makes one when it is first started."""
    return any(path.is_dir() for folder in profile_folders() for path in folder.iterdir())


def make_profile() -> Profile:
    """Make the profile that QGIS starts with, as QGIS itself does when it is first started.

    Raises:
        OutputError: it cannot be made.
    """
    places = _possible_folders()
    flatpak = [place for place in places if ".var" in place.parts]
    # A Flatpak has its folder once it is installed; any other QGIS is on the PATH.
    if flatpak and flatpak[0].parents[3].is_dir() and not shutil.which("qgis"):
        places = flatpak
    four = len(places) > 1 and _version_of_qgis().startswith("QGIS 4")
    path = places[1 if four else 0] / _DEFAULT
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
    return Profile(path)


def find_profiles(name: str | None = None) -> list[Profile]:
    """Return the profile of a name in each installed QGIS; None: the one that QGIS starts with.

    Raises:
        GeodecloudError: QGIS has never been started.
        UsageError: there is no such profile.
    """
    folders = profile_folders()
    if not any_profile():
        raise GeodecloudError(
            "no QGIS profile was found: 'geodecloud qgis install' makes the default one; or set "
            "QGIS_CUSTOM_CONFIG_PATH to the folder that QGIS gets as --profiles-path"
        )
    found = []
    for folder in folders:
        start = _value(folder / "profiles.ini", "core", "defaultProfile") or _DEFAULT
        if (folder / (name or start)).is_dir():
            found.append(Profile(folder / (name or start)))
    if not found:
        there = sorted({p.name for folder in folders for p in folder.iterdir() if p.is_dir()})
        raise UsageError(
            f"there is no QGIS profile {name or _DEFAULT!r}; give one of {', '.join(there)}"
        )
    return found


def install(profile: Profile) -> None:
    """Copy the plugin into a profile, in place of an older one; it will start this program.

    Raises:
        OutputError: the profile cannot be written to.
    """
    plugins = profile.plugin.parent
    try:
        plugins.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=plugins, prefix=f".{NAME}.") as folder:
            new, old = Path(folder) / "new", Path(folder) / "old"
            shutil.copytree(SOURCE, new, ignore=_LEFT_OUT)
            (new / executable.REMEMBERED.name).write_text(str(this_program()), encoding="utf-8")
            if profile.plugin.exists():
                profile.plugin.rename(old)
            new.rename(profile.plugin)
    except OSError as error:
        raise OutputError(f"{profile.plugin}: cannot be written ({error})") from error


def this_program() -> Path:
    """Return the executable that belongs to the running Python."""
    found = shutil.which(NAME, path=sysconfig.get_path("scripts"))
    return Path(found or sys.argv[0]).absolute()


def write_zip(path: Path, *, overwrite: bool) -> None:
    """Write the archive for Plugins > Manage and Install Plugins > Install from ZIP of QGIS.

    Raises:
        OutputError: the archive cannot be written, or exists.
        UsageError: its name does not end in .zip, by which QGIS looks for archives.
    """
    if path.suffix.lower() != ".zip":
        raise UsageError(f"{path}: QGIS installs from a zip; name it .zip")
    with AtomicFiles([], overwrite=overwrite) as outputs:
        files = [p for p in sorted(SOURCE.iterdir()) if p.is_file() and p != executable.REMEMBERED]
        with zipfile.ZipFile(outputs.add(path), "w") as archive:
            for file in files:
                entry = zipfile.ZipInfo(f"{NAME}/{file.name}", _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())


@dataclass(frozen=True)
class Finding:
    """The result of one check: its subject, whether all is well, and the finding or the remedy."""

    subject: str
    well: bool
    message: str


def examine(name: str | None = None) -> Iterator[Finding]:
    """Check QGIS, the plugin in its profiles, and the program that the plugin will start."""
    yield _examine_qgis()
    try:
        profiles = find_profiles(name)
    except GeodecloudError as error:
        yield Finding("profile", False, str(error))
        return
    for profile in profiles:
        yield Finding("profile", True, str(profile.path))
        version = profile.version
        if version is None:
            yield Finding("plugin", False, "not installed: run 'geodecloud qgis install'")
            continue
        same = version == VERSION
        remedy = "" if same else f", this is {VERSION}: run 'geodecloud qgis install'"
        yield Finding("plugin", same, f"version {version}{remedy}")
        switch = "tick geodecloud in QGIS under Plugins > Manage and Install Plugins > Installed"
        message = "switched on" if profile.enabled else f"switched off: {switch}"
        yield Finding("plugin", profile.enabled, message)
        yield _examine_program(profile)


def _examine_qgis() -> Finding:
    program = shutil.which("qgis") or next((str(p) for p in _usual_places() if p.exists()), None)
    if program is None:
        return Finding("QGIS", False, "not found on PATH or in the usual places; install it")
    if sys.platform != "linux":  # elsewhere it would open a window
        return Finding("QGIS", True, program)
    return Finding("QGIS", True, f"{program}: {_version_of_qgis() or 'unknown version'}")


def _version_of_qgis() -> str:
    """Return the version line of the QGIS on the PATH; empty if there is none."""
    program = shutil.which("qgis") if sys.platform == "linux" else None
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - found above
            [program, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    versions = (line for line in done.stdout.splitlines() if line.startswith("QGIS "))
    return next(versions, "")


def _usual_places() -> Iterator[Path]:
    yield from Path("/Applications").glob("QGIS*.app")
    for variable in ("ProgramFiles", "SystemDrive"):
        if os.environ.get(variable):
            base = Path(os.environ[variable] + os.sep)
            yield from base.glob("QGIS*/bin/qgis*.bat")
            yield from base.glob("OSGeo4W*/bin/qgis*.bat")


def _examine_program(profile: Profile) -> Finding:
    """Check the program that a profile's plugin starts, unless its options name another."""
    remembered = profile.plugin / executable.REMEMBERED.name
    try:
        program = executable.find(remembered=remembered)
        return Finding("program", True, f"{program}: version {executable.check(program)}")
    except executable.ExecutableError as error:
        return Finding("program", False, str(error))


def _value(file: Path, section: str, key: str) -> str | None:
    """Return a value of an INI file as QGIS writes them; None where there is none.

    ``configparser`` refuses such files.
    """
    if not file.is_file():
        return None
    here = ""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("["):
            here = line.strip().strip("[]")
        name, equals, value = line.partition("=")
        if equals and here == section and name.strip() == key:
            return value.strip()
    return None
