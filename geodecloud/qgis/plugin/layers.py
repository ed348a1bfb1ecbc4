"""Get the source of a map layer, and style the layers that the program makes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsMapLayer,
    QgsProcessingException,
    QgsProcessingLayerPostProcessorInterface,
    QgsProviderRegistry,
    QgsReadWriteContext,
)
from qgis.PyQt.QtXml import QDomDocument

_PROVENANCE = Path(__file__).with_name("provenance.qml")
_SYMBOLOGY = QgsMapLayer.StyleCategory.Symbology


def source_of(layer: Any) -> str:
    """Return what GDAL opens for a raster layer: a path, or the name of a subdataset.

    Raises:
        QgsProcessingException: another program cannot open the layer.
    """
    provider: str = layer.providerType()
    source: str = layer.source()
    if provider != "gdal":
        raise QgsProcessingException(
            f"The layer '{layer.name()}' comes from the provider '{provider}', not from a file. "
            "Export it to a GeoTIFF first (right click, Export > Save As, raw data)."
        )
    parts = QgsProviderRegistry.instance().decodeUri("gdal", source)
    options = [*parts.get("openOptions", ()), *parts.get("credentialOptions", {})]
    if options:
        raise QgsProcessingException(
            f"The layer '{layer.name()}' is opened with GDAL's options {', '.join(options)}, "
            "which geodecloud does not support. Export it to a GeoTIFF first."
        )
    if "/vsimem/" in source:
        raise QgsProcessingException(
            f"The layer '{layer.name()}' is in the memory of QGIS. Export it to a GeoTIFF first."
        )
    return os.path.abspath(source) if os.path.exists(source) else source  # noqa: PTH100, PTH110


def put_provenance_style(raster: Path) -> None:
    """Write the style of provenance beside a raster; one that exists is the user's and stays."""
    style = raster.with_suffix(".qml")
    if not style.exists():
        shutil.copyfile(_PROVENANCE, style)


class Style(QgsProcessingLayerPostProcessorInterface):
    """The style of a layer to be loaded: bands, contrast, colours, transparency."""

    _waiting: ClassVar[list[Style]] = []  # QGIS does not keep them alive for us

    def __init__(self, document: QDomDocument) -> None:
        super().__init__()
        self._document = document

    @classmethod
    def of(cls, layer: Any) -> Style:
        """Return the style of another layer."""
        document = QDomDocument()
        layer.exportNamedStyle(document, QgsReadWriteContext(), _SYMBOLOGY)
        return cls(document)

    @classmethod
    def of_file(cls, path: Path) -> Style:
        """Return the style of a QML file."""
        document = QDomDocument()
        document.setContent(path.read_bytes())
        return cls(document)

    def wait_for(self, raster: str, context: Any, *, on_top: bool = False) -> None:
        """Style the layer of a raster, if QGIS will load it."""
        if context.willLoadLayerOnCompletion(raster):
            self._waiting.append(self)
            details = context.layerToLoadOnCompletionDetails(raster)
            details.setPostProcessor(self)
            details.layerSortKey = int(on_top)  # has an effect since QGIS 3.32

    def postProcessLayer(self, layer: Any, context: Any, feedback: Any) -> None:
        """Style the layer; QGIS calls this when it has loaded the layer."""
        layer.importNamedStyle(self._document, _SYMBOLOGY)
        layer.triggerRepaint()
        self._waiting.remove(self)
