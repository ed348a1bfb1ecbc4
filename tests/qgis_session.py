"""A session of the real QGIS, run by QGIS's own Python; prints what it saw as JSON.

    python3 tests/qgis_session.py PLUGINS SCENE LARGE_SCENE MODEL FOLDER

with the folder of plugins of a profile that ours is installed in, a small and a large scene, a
model file, and a folder to write to. ``tests/test_qgis.py`` starts it and judges.
"""

import json
import sys
from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelOutput,
    QgsProcessingModelParameter,
    QgsProcessingParameterRasterLayer,
    QgsProject,
    QgsRasterLayer,
)

PLUGINS, SCENE, LARGE, MODEL = sys.argv[1:5]
FOLDER = Path(sys.argv[5])


class Feedback(QgsProcessingFeedback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(False)
        self.said: list[str] = []
        self.seen: list[float] = []
        self.progressChanged.connect(self.seen.append)

    def pushWarning(self, warning: str) -> None:
        self.said.append(warning)

    def pushInfo(self, info: str) -> None:
        self.said.append(info)

    def reportError(self, error: str, fatalError: bool = False) -> None:
        self.said.append(error)


def remove_and_load(processing: Any) -> dict[str, Any]:
    """A layer with a contrast of its own; both results loaded into the project."""
    layer = QgsRasterLayer(SCENE, "scene")
    contrast = QgsContrastEnhancement(layer.renderer().redContrastEnhancement())
    contrast.setMinimumValue(123)
    contrast.setMaximumValue(4567)
    layer.renderer().setRedContrastEnhancement(contrast)
    outputs = {"OUTPUT": str(FOLDER / "r ü.tif"), "PROVENANCE": str(FOLDER / "p ü.tif")}
    feedback = Feedback()
    results = processing.runAndLoadResults(
        "geodecloud:removeclouds", {"INPUT": layer, "MODEL": MODEL, **outputs}, feedback=feedback
    )
    loaded = {layer.source(): layer for layer in QgsProject.instance().mapLayers().values()}
    red = loaded[outputs["OUTPUT"]].renderer().redContrastEnhancement()
    by_hand = QgsRasterLayer(outputs["PROVENANCE"], "opened by hand")
    return {
        "results": results,
        "progress": feedback.seen,
        "contrast": [red.minimumValue(), red.maximumValue()],
        "provenance": [described(loaded[outputs["PROVENANCE"]]), described(by_hand)],
    }


def described(layer: QgsRasterLayer) -> dict[str, Any]:
    """How a provenance layer is shown."""
    renderer = layer.renderer()
    shade = renderer.shader().rasterShaderFunction().shade
    return {
        "legend": [label for label, _ in renderer.legendSymbologyItems()],
        "colours": [shade(float(value))[1:] for value in range(106)],
        "nodata": renderer.nodataColor().getRgb(),
    }


def cancel(processing: Any) -> dict[str, Any]:
    """Cancel at the first sign of progress."""
    feedback = Feedback()
    feedback.progressChanged.connect(lambda progress: progress > 0 and feedback.cancel())
    folder = FOLDER / "cancelled"
    folder.mkdir()
    outputs = {"OUTPUT": str(folder / "r.tif"), "PROVENANCE": str(folder / "p.tif")}
    results = processing.run(
        "geodecloud:removeclouds",
        {"INPUT": LARGE, "MODEL": MODEL, **outputs},
        feedback=feedback,
    )
    left = [path.name for path in folder.iterdir()]
    return {"results": results, "seen": feedback.seen, "left": left, "said": feedback.said}


def refusal(processing: Any, layer: Any) -> str:
    """What the user is told of a layer that the program cannot open."""
    feedback = Feedback()
    try:
        processing.run(
            "geodecloud:removeclouds",
            {"INPUT": layer, "MODEL": MODEL, "OUTPUT": str(FOLDER / "refused.tif")},
            feedback=feedback,
        )
    except QgsProcessingException as error:
        return " ".join([*feedback.said, str(error)])
    return "not refused"


def refusals(processing: Any) -> dict[str, str]:
    tiles = QgsRasterLayer("type=xyz&url=http://127.0.0.1:1/{z}/{x}/{y}.png", "tiles", "wms")
    options = QgsRasterLayer(f"{SCENE}|option:OVERVIEW_LEVEL=NONE", "options")
    gdal.Translate("/vsimem/scene.tif", SCENE)
    return {
        "wms": refusal(processing, tiles),
        "options": refusal(processing, options),
        "memory": refusal(processing, QgsRasterLayer("/vsimem/scene.tif", "memory")),
        "missing": refusal(processing, str(FOLDER / "none.tif")),
    }


def subdataset(processing: Any) -> dict[str, Any]:
    """A layer that is no file; with its opacity and shadow."""
    layer = QgsRasterLayer(f"GTIFF_DIR:1:{SCENE}", "directory")
    outputs = {"OUTPUT": str(FOLDER / "subdataset.tif"), "OPACITY": str(FOLDER / "o ü.tif")}
    outputs |= {"CLOUD_MASK": str(FOLDER / "mask beside.tif")}
    return processing.run("geodecloud:removeclouds", {"INPUT": layer, "MODEL": MODEL, **outputs})


def model(processing: Any) -> dict[str, Any]:
    """Clouds are simulated and removed again, in a model saved to disk and read back."""
    algorithm = QgsProcessingModelAlgorithm("there and back", "tests")
    algorithm.addModelParameter(
        QgsProcessingParameterRasterLayer("clear"), QgsProcessingModelParameter("clear")
    )
    source = QgsProcessingModelChildParameterSource
    simulate = QgsProcessingModelChildAlgorithm("geodecloud:simulateclouds")
    simulate.setChildId("simulate")
    simulate.addParameterSources("INPUT", [source.fromModelParameter("clear")])
    algorithm.addChildAlgorithm(simulate)
    remove = QgsProcessingModelChildAlgorithm("geodecloud:removeclouds")
    remove.setChildId("remove")
    remove.addParameterSources("INPUT", [source.fromChildOutput("simulate", "OUTPUT")])
    remove.addParameterSources("MODEL", [source.fromStaticValue(MODEL)])
    restored = QgsProcessingModelOutput("restored")
    restored.setChildId("remove")
    restored.setChildOutputName("OUTPUT")
    remove.setModelOutputs({"restored": restored})
    algorithm.addChildAlgorithm(remove)
    path = str(FOLDER / "model.model3")
    algorithm.toFile(path)
    again = QgsProcessingModelAlgorithm()
    again.fromFile(path)
    again.initAlgorithm()
    names = [definition.name() for definition in again.destinationParameterDefinitions()]
    results = processing.run(again, {"clear": SCENE, names[0]: str(FOLDER / "model.tif")})
    return {key: value for key, value in results.items() if isinstance(value, str)}


def missing_executable(processing: Any) -> dict[str, Any]:
    """The provider's options name a program that has gone."""
    from processing.core.ProcessingConfig import ProcessingConfig

    gone = FOLDER / "gone"
    gone.touch()  # QGIS itself refuses to set what is not there
    ProcessingConfig.setSettingValue("GEODECLOUD_EXECUTABLE", str(gone))
    gone.unlink()
    algorithm = QgsApplication.processingRegistry().createAlgorithmById("geodecloud:removeclouds")
    told = {
        "can execute": algorithm.canExecute(),
        "warning": algorithm.provider().warningMessage(),
        "run": refusal(processing, SCENE),
    }
    ProcessingConfig.setSettingValue("GEODECLOUD_EXECUTABLE", "")
    return told


_BATCH = """#!/usr/bin/env python3
import json, pathlib, sys
if sys.argv[1:] == ["--version"]:
    sys.exit(print("geodecloud 9.9.9"))
out = pathlib.Path(sys.argv[3])
(out / "below").mkdir(parents=True)
(out / "below" / "a_provenance.tif").touch()
for done in (1, 2):
    print(json.dumps({"event": "progress", "done": done, "total": 2}), file=sys.stderr)
print(json.dumps(sys.argv[1:]))
if "--recursive" in sys.argv:
    sys.exit("geodecloud: error: 1 of 2 scenes failed")
"""


def folder(processing: Any) -> dict[str, Any]:
    """Two folders, by a program that says what it was asked; the second fails in part."""
    from processing.core.ProcessingConfig import ProcessingConfig

    program = FOLDER / "batch ü"
    program.write_text(_BATCH, encoding="utf-8")
    program.chmod(0o755)
    ProcessingConfig.setSettingValue("GEODECLOUD_EXECUTABLE", str(program))
    common = {"INPUT": str(FOLDER), "BANDS": "3,2,1", "OFFSET": -1000}
    told = {}
    for name, options in {
        "done": {"PATTERN": "*.tif"},
        "failed": {
            "RECURSIVE": True,
            "PROVENANCE": False,
            "OPAQUE": "keep",
            "OPACITY": True,
            "SHADOWS": "keep",
        },
    }.items():
        feedback, output = Feedback(), FOLDER / name
        try:
            processing.run(
                "geodecloud:removecloudsfolder",
                {**common, **options, "OUTPUT": str(output)},
                feedback=feedback,
            )
        except QgsProcessingException as error:
            feedback.said.append(str(error))
        arguments = next(json.loads(said) for said in feedback.said if said.startswith("["))
        files = [path.name for path in output.rglob("*.*")]
        told[name] = {"arguments": arguments, "files": files, "said": feedback.said}
    ProcessingConfig.setSettingValue("GEODECLOUD_EXECUTABLE", "")
    return told


def main() -> None:
    application = QgsApplication([], True)
    application.initQgis()
    sys.path += [str(Path(QgsApplication.pkgDataPath()) / "python" / "plugins")]
    import processing
    from processing.core.Processing import Processing

    Processing.initialize()
    sys.path.insert(0, PLUGINS)
    from geodecloud import classFactory

    plugin = classFactory(None)
    plugin.initGui()
    scenarios = [remove_and_load, cancel, refusals, subdataset, model, missing_executable, folder]
    seen = {scenario.__name__: scenario(processing) for scenario in scenarios}
    plugin.unload()
    seen["unloaded"] = QgsApplication.processingRegistry().providerById("geodecloud") is None
    print(json.dumps(seen))


main()
