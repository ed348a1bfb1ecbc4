"""Each room imports only rooms below it, and importing the package is cheap."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BELOW_RASTER = "errors version settings radiometry"
BELOW_DECLOUD = f"{BELOW_RASTER} raster restore"
# Room -> the rooms that it may import, a part of a room by its dotted name.
ROOMS = {
    "errors": "",
    "version": "",
    "settings": "errors",
    "radiometry": "errors",
    "raster": BELOW_RASTER,
    "restore": f"{BELOW_RASTER} raster",
    "decloud": BELOW_DECLOUD,
    "masking": f"{BELOW_DECLOUD} decloud",
    "restore_arrays": f"{BELOW_DECLOUD} decloud masking",
    "batch": f"{BELOW_DECLOUD} decloud masking model",
    "model": f"{BELOW_RASTER} restore.windows restore.filters restore.memory raster.atomic",
    "data": f"{BELOW_RASTER} raster model.config model.inputs",
    "training": f"{BELOW_RASTER} model data evaluation.metrics evaluation.tables "
    "raster.atomic raster.unfinished raster.signals",
    "evaluation": f"{BELOW_DECLOUD} decloud masking model data",
    "qgis.profiles": "errors version raster.atomic qgis.plugin",
    "qgis.plugin": "",  # runs in QGIS's own Python, without the package
    "cli": f"{BELOW_DECLOUD} decloud masking batch model data training evaluation qgis",
}
# Package -> the rooms that may import it.
HEAVY = {
    "typer": "cli",
    "rasterio": "raster",
    "torch": "model data training evaluation",
    "safetensors": "model",
}


@functools.cache
def imports_of(path: Path) -> set[str]:
    """The dotted names that a module imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules_of(room: str) -> list[Path]:
    place = (ROOT / "geodecloud").joinpath(*room.split("."))
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def within(name: str, rooms: str) -> bool:
    return any(f"{name}.".startswith(f"{room}.") for room in rooms.split())


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room):
    for path in modules_of(room):
        ours = {name for name in imports_of(path) if name.startswith("geodecloud")}
        upwards = {
            name
            for name in ours
            if not within(name.removeprefix("geodecloud."), f"{room} {ROOMS[room]}")
        }
        assert not upwards, f"{path.relative_to(ROOT)} imports {', '.join(sorted(upwards))}"


@pytest.mark.parametrize("package", HEAVY)
def test_a_heavy_package_stays_in_its_rooms(package):
    for path in modules_of("."):
        name = ".".join(path.relative_to(ROOT / "geodecloud").with_suffix("").parts)
        heavy = {one for one in imports_of(path) if within(one, package)}
        assert not heavy or within(name, HEAVY[package]), f"{name} imports {package}"


def test_every_module_stands_in_a_room():
    names = {
        ".".join(path.relative_to(ROOT / "geodecloud").with_suffix("").parts)
        for path in modules_of(".")
    }
    homeless = {name for name in names if not within(name, " ".join(ROOMS))}
    assert homeless <= {"__init__", "__main__", "qgis.__init__"}


def test_importing_the_package_imports_nothing_heavy():
    heavy = {*HEAVY, "numpy", "PIL", "matplotlib", "noise"}
    script = f"import sys, geodecloud; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_raster_side_does_not_import_torch():
    script = "import sys, geodecloud.decloud; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_what_loads_a_model_does_not_import_rasterio():
    # The command line imports rasterio while another thread loads the model; two threads that
    # begin to import it at once can fail.
    used = [name for name in ROOMS["model"].split() if name.startswith(("restore.", "raster."))]
    modules = ", ".join(f"geodecloud.{name}" for name in used)
    script = f"import sys, {modules}; assert 'rasterio' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_a_quick_start_leaves_compiler_and_training_out_until_they_are_used():
    script = """
import sys
from geodecloud.model.startup import _TRIED, quick_imports
with quick_imports():
    import torch
early = "torch._decomp.decompositions" in sys.modules
assert early != torch.__version__.startswith(_TRIED)
assert torch.optim.AdamW  # the first use imports them
assert torch.utils.data.DataLoader and torch.export.Dim
assert "torch._decomp.decompositions" in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
