"""Imports point one way, and importing the package is cheap."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Module (or folder) -> what of geodecloud it may import, and which heavy packages.
ALLOWED = {
    "errors": set(),
    "windows": {"errors"},
    "pipeline": set(),
    "work": {"errors", "windows"},
    "blending": {"windows", "numpy"},
    "radiometry": {"errors", "numpy"},
    "metrics": {"numpy"},
    "dark_channel": {"numpy"},
    "neighbours": {"numpy"},
    "composite": {"errors", "neighbours", "radiometry", "numpy"},
    "context": {"neighbours", "numpy"},
    "output": {"errors"},
    "calibration": {"errors", "radiometry", "scene", "numpy"},
    "network": {"errors"},
    "vrt": {"errors", "rasterio"},
    "products": {"errors", "vrt"},
    "area": {"errors", "rasterio"},
    "limits": {"errors", "numpy", "rasterio"},
    "scene": {
        *("area", "errors", "limits", "network", "products", "vrt"),
        *("numpy", "rasterio"),
    },
    "mask": {"area", "errors", "scene", "numpy", "rasterio"},
    "stac": {"area", "errors", "radiometry", "scene", "rasterio"},
    "form": {"errors", "scene", "numpy", "rasterio"},
    "metadata": {"scene", "rasterio"},
    "geotiff": {
        *("calibration", "composite", "errors", "form", "metadata", "scene"),
        *("numpy", "rasterio"),
    },
    "preview": {"composite", "errors", "radiometry", "numpy", "PIL"},
    "patches": {"radiometry", "scene", "windows", "numpy"},
    "strips": {
        *("blending", "composite", "context", "errors", "patches", "pipeline", "radiometry"),
        "scene",
        *("windows", "work", "numpy"),
    },
    "finished": {"errors", "neighbours", "work", "numpy"},
    "second_pass": {
        *("composite", "context", "finished", "neighbours", "radiometry", "swatches", "texture"),
        *("work", "numpy"),
    },
    "swatches": {"context", "neighbours", "numpy"},
    "texture": {"neighbours", "swatches", "numpy"},
    "reference": {
        *("area", "calibration", "context", "errors", "neighbours", "radiometry", "scene"),
        *("numpy", "rasterio"),
    },
    "settings": {"blending", "composite", "form", "windows", "work"},
    "report": {"composite", "finished", "radiometry"},
    "sinks": {"finished", "geotiff", "output", "preview", "report", "scene", "settings"},
    "decloud": {
        *("calibration", "composite", "context", "errors", "finished", "mask", "output"),
        *(
            "pipeline",
            "products",
            "radiometry",
            "reference",
            "report",
            "scene",
            "second_pass",
            "settings",
        ),
        *("sinks", "stac", "strips", "work", "numpy"),
    },
    "array": {"decloud", "errors", "geotiff", "strips", "numpy"},
    "config": {"errors"},
    "device": {"errors", "torch"},
    "models": {"config", "torch"},
    "checkpoint": {"config", "errors", "models", "safetensors", "torch"},
    "precision": {"context", "neighbours", "radiometry", "numpy"},
    "predictor": {
        *("checkpoint", "device", "errors", "models", "precision", "radiometry", "work"),
        *("numpy", "torch"),
    },
    "training": {
        *("calibration", "checkpoint", "composite", "config", "device", "errors", "geotiff"),
        *("metrics", "models", "output", "radiometry", "scene", "scores", "training"),
        *("PIL", "matplotlib", "noise", "numpy", "rasterio", "torch"),
    },
    "console": {"errors"},
    "cli": {
        *("cli_batch", "cli_qgis", "cli_training", "console", "decloud", "describe", "errors"),
        "options",
    },
    "options": {
        *("checkpoint", "composite", "console", "decloud", "form", "predictor", "windows"),
        "work",
    },
    "batch": {"batch", "console", "errors", "geotiff", "options", "output", "decloud"},
    "cli_batch": {"batch", "checkpoint", "console", "errors", "options", "torch", "work"},
    "cli_training": {
        "config",
        "console",
        "decloud",
        "errors",
        "evaluate",
        "evaluate_tiles",
        "scores",
        "seams",
        "training",
        "windows",
    },
    "cli_qgis": {"console", "qgis_profiles"},
    "qgis_profiles": {"errors", "output", "qgis_plugin"},
    "qgis_plugin": set(),  # runs in QGIS's own Python, without us
    "describe": {"calibration", "checkpoint", "scene"},
    "scores": {"metrics"},
    "evaluate": {
        *("area", "calibration", "checkpoint", "composite", "dark_channel", "decloud", "errors"),
        *("geotiff", "metrics", "predictor", "preview", "radiometry", "scene", "scores"),
        *("strips", "numpy"),
    },
    "seams": {
        *("checkpoint", "composite", "decloud", "errors", "geotiff", "predictor", "scene"),
        *("scores", "windows", "numpy"),
    },
    "evaluate_tiles": {
        *("checkpoint", "composite", "config", "dark_channel", "errors", "metrics", "predictor"),
        *("preview", "radiometry", "scores", "strips", "training", "numpy", "torch"),
    },
}
HEAVY = {"numpy", "rasterio", "torch", "safetensors", "PIL", "matplotlib", "noise"}


@pytest.mark.parametrize("module", ALLOWED)
def test_imports_point_one_way(module):
    place = ROOT / "geodecloud" / module
    imported = set()
    for path in place.glob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names} & {
                    *HEAVY,
                    "geodecloud",
                }
            elif isinstance(node, ast.ImportFrom):
                parts = (node.module or "").split(".")
                if parts == ["geodecloud"]:
                    imported |= {alias.name for alias in node.names} - {"__version__"}
                imported |= set(parts[1:2]) if parts[0] == "geodecloud" else {parts[0]} & HEAVY
    assert imported <= ALLOWED[module]


def test_importing_the_package_imports_nothing_heavy():
    script = f"import sys, geodecloud; assert not {HEAVY} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_raster_side_does_not_import_torch():
    script = "import sys, geodecloud.decloud; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
