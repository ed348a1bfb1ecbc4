"""Run in QGIS by ``benchmarks/pictures.py``: keep the dialog, and the result on the map, as PNG."""

import os
import traceback
from pathlib import Path
from typing import Any

import processing
from processing.gui.AlgorithmDialog import AlgorithmDialog
from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsMultiBandColorRenderer,
    QgsProject,
    QgsRasterLayer,
)
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.PyQt.QtWidgets import QApplication, QDockWidget
from qgis.utils import iface, loadPlugin, startPlugin, updateAvailablePlugins

OUT = Path(os.environ["GEODECLOUD_PICTURES"])
SCENE = Path(os.environ["GEODECLOUD_SCENE"])
ALGORITHM = "geodecloud:removeclouds"


def main() -> None:
    window = iface.mainWindow()
    window.resize(1180, 720)
    if QgsApplication.processingRegistry().algorithmById(ALGORITHM) is None:
        updateAvailablePlugins()
        loadPlugin("geodecloud")
        startPlugin("geodecloud")
    layer = QgsRasterLayer(str(SCENE), "s2_cloudy")
    show_in_natural_colours(layer)
    QgsProject.instance().addMapLayer(layer)
    QgsProject.instance().setCrs(layer.crs())
    keep_dialog()
    names = {"OUTPUT": "restored.tif", "PROVENANCE": "provenance.tif"}
    outputs = {key: str(SCENE.with_name(name)) for key, name in names.items()}
    processing.runAndLoadResults(ALGORITHM, {"INPUT": layer, **outputs})
    layers = QgsProject.instance().mapLayers().values()
    (provenance,) = (one for one in layers if one.source() == outputs["PROVENANCE"])
    provenance.setOpacity(0.6)  # so that the restored ground shows
    tree = QgsProject.instance().layerTreeRoot()
    node = tree.findLayer(provenance.id())
    on_top = node.clone()
    on_top.setExpanded(True)
    tree.insertChildNode(0, on_top)
    tree.removeChildNode(node)
    iface.setActiveLayer(provenance)
    for dock in window.findChildren(QDockWidget):
        dock.setVisible(dock.objectName() == "Layers")
        if dock.objectName() == "Layers":
            window.resizeDocks([dock], [370], Qt.Horizontal)
    extent = layer.extent()
    extent.scale(1.05)
    iface.mapCanvas().setExtent(extent)
    iface.mapCanvas().refresh()
    QTimer.singleShot(4000, keep_window)


def show_in_natural_colours(layer: QgsRasterLayer) -> None:
    bands = (3, 2, 1)
    renderer = QgsMultiBandColorRenderer(layer.dataProvider(), *bands)
    setters = ("setRedContrastEnhancement", "setGreenContrastEnhancement")
    setters = dict(zip(bands, (*setters, "setBlueContrastEnhancement"), strict=True))
    for band, setter in setters.items():
        contrast = QgsContrastEnhancement(layer.dataProvider().dataType(band))
        contrast.setMinimumValue(200)
        contrast.setMaximumValue(2500)
        contrast.setContrastEnhancementAlgorithm(QgsContrastEnhancement.StretchToMinimumMaximum)
        getattr(renderer, setter)(contrast)
    layer.setRenderer(renderer)


def keep_dialog() -> None:
    algorithm = QgsApplication.processingRegistry().createAlgorithmById(ALGORITHM)
    dialog = AlgorithmDialog(algorithm, parent=iface.mainWindow())
    # Names that any machine may have.
    dialog.setParameters({"OUTPUT": "/data/restored.tif", "PROVENANCE": "/data/provenance.tif"})
    dialog.resize(1000, 820)
    dialog.show()
    QApplication.processEvents()
    save(dialog, "qgis_dialog.png")
    dialog.close()


def keep_window() -> None:
    iface.messageBar().clearWidgets()
    QApplication.processEvents()
    save(iface.mainWindow(), "qgis_result.png")
    leave()


def save(widget: Any, name: str) -> None:
    picture = widget.grab()
    picture.save(str(OUT / name))
    print(f"docs/{name}: {picture.width()} x {picture.height()}", flush=True)


def leave() -> None:
    os._exit(0)  # without a question whether to save the project


def guarded() -> None:
    try:
        main()
    except Exception:  # QGIS would show it in a window that nobody sees
        traceback.print_exc()
        os._exit(1)


QTimer.singleShot(3000, guarded)
