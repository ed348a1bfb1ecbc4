"""Find the geodecloud executable, and the environment that it runs in.

Needs the standard library only, and Python 3.9: QGIS brings its own interpreter.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

NAME = "geodecloud"
OLDEST = (0, 1, 0)  # the first version with --progress json
SETTING = "Settings > Options > Processing > Providers > geodecloud"
REMEMBERED = Path(__file__).with_name("executable.txt")  # written by `geodecloud qgis install`

# Variables that QGIS sets for its own Python, GDAL and PROJ; they would break the executable's.
_OF_QGIS = (
    *("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"),
    *("GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
)
NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # no console flashes up on Windows
_PATIENCE = 60  # seconds for --version: the first start from a cold disk is slow


class ExecutableError(Exception):
    """There is no usable executable; the message says what to do."""


def find(setting: str = "", remembered: Path = REMEMBERED) -> str:
    """Return the executable of the user's setting, else the first that is found.

    Args:
        setting: the user's choice; empty: none.
        remembered: file with the path of the executable that installed the plugin; it may be
            missing.

    Raises:
        ExecutableError: the setting is not a program, or no executable is found.
    """
    if setting:
        found = shutil.which(setting)
        if not found:
            raise ExecutableError(f"{setting} is not a program: correct it in {SETTING}")
        return found
    for place in _places(remembered):
        found = shutil.which(place)
        if found:
            return found
    raise ExecutableError(
        "The geodecloud program was not found. Install it with 'pip install geodecloud' in a "
        "Python environment of its own and run 'geodecloud qgis install' there, or name the "
        f"program in {SETTING}"
    )


def check(executable: str) -> str:
    """Return an executable's version.

    Raises:
        ExecutableError: it does not start, is another program, or is too old.
    """
    try:
        done = subprocess.run(
            [executable, "--version"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            creationflags=NO_WINDOW,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExecutableError(f"{executable} does not start ({error}); see {SETTING}") from error
    answer = done.stdout.decode("utf-8", "replace")
    found = re.match(rf"{NAME} (\d+)\.(\d+)\.(\d+)", answer)
    if done.returncode or not found:
        words = (answer + done.stderr.decode("utf-8", "replace")).strip()[-300:]
        raise ExecutableError(
            f"{executable} is not geodecloud: its answer is {words!r}; see {SETTING}"
        )
    version = answer.split()[1]
    if tuple(map(int, found.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ExecutableError(
            f"{executable} is version {version}, and this plugin needs {oldest}: "
            "run 'pip install --upgrade geodecloud' where it is installed"
        )
    return version


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return ``given`` without QGIS's own variables, and with UTF-8 in the pipes."""
    kept = {name: value for name, value in given.items() if name.upper() not in _OF_QGIS}
    root = kept.get("OSGEO4W_ROOT", "").lower()
    if root:  # QGIS on Windows: its libraries would be found before those of the executable
        parts = kept.get("PATH", "").split(os.pathsep)
        kept["PATH"] = os.pathsep.join(p for p in parts if not p.lower().startswith(root))
    return {**kept, "PYTHONUTF8": "1"}


def _places(remembered: Path) -> Iterator[str]:
    """Yield the places of the executable, best first; a bare name is looked up on PATH."""
    if remembered.is_file():
        yield remembered.read_text(encoding="utf-8").strip()
    yield NAME
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if os.environ.get(variable):
            yield str(Path(os.environ[variable], scripts, NAME))
    home = Path.home()
    yield str(home / ".local" / "bin" / NAME)  # pipx and uv; not on the PATH of desktop programs
    for venv in (".venv", "venv", "geodecloud/.venv", "geodecloud/venv"):
        yield str(home / venv / scripts / NAME)
    if sys.platform == "darwin":  # a program started from the Dock has a short PATH
        yield f"/opt/homebrew/bin/{NAME}"
        yield f"/usr/local/bin/{NAME}"
