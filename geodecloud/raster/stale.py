"""Find and remove outputs of an earlier run that do not fit a new restored scene."""

import json
from collections.abc import Iterable
from pathlib import Path

from geodecloud.errors import OutputError, OutputWarning, warn
from geodecloud.raster.cloud_mask import cloud_mask_style
from geodecloud.raster.descriptions import Kind
from geodecloud.raster.endings import GEOTIFF
from geodecloud.raster.opacity import opacity_style
from geodecloud.raster.origin import kind_of_raster, tags_of_output
from geodecloud.raster.provenance import provenance_style
from geodecloud.raster.stac import item_path
from geodecloud.raster.unfinished import remove_raster

_CLEAR = "_clear"  # ending of a restored scene's name in a batch
# Ending of the name of a raster beside a scene -> what it holds.
_BESIDE: dict[str, Kind] = {"provenance": "provenance", "opacity": "opacity"}
_MASKS: dict[str, Kind] = {"mask": "a cloud mask", "cloud_mask": "a cloud mask"}


class StaleOutputs:
    """The provenance, opacity, cloud mask and STAC item beside a restored scene, under its name.

    They do not fit a new scene, unless its run writes them anew. Other programs' files stay.

    Args:
        dst: path of the restored scene.
        written: files that the run writes, its inputs, and others that must stay.
    """

    def __init__(self, dst: Path, written: Iterable[Path]) -> None:
        self._dst = dst
        stay = {path.absolute() for path in written}
        self.paths = [path for path in self._candidates() if path.absolute() not in stay]

    def refuse(self) -> None:
        """Refuse to write a new scene beside stale outputs.

        Raises:
            OutputError: there are stale outputs.
        """
        if self.paths:
            raise OutputError(
                f"{self.paths[0]}: belongs to the old {self._dst.name}, not to the new one; give "
                "`overwrite` to remove it"
            )

    def remove(self) -> None:
        """Remove the stale outputs, with a warning for each."""
        for path in self.paths:
            remove_output(path)
            warn(OutputWarning, f"{path}: is removed; it belongs to the old {self._dst.name}")

    def _candidates(self) -> Iterable[Path]:
        stem, folder = self._dst.stem, self._dst.parent
        source = tags_of_output(self._dst).get("SOURCE") if self._dst.is_file() else None
        for name, kind in _BESIDE.items():
            yield from _existing(folder, f"{stem}_{name}", kind)
            if source and stem == Path(source).stem + _CLEAR:
                yield from _existing(folder, f"{Path(source).stem}_{name}", kind)
        # Only beside a scene that is there: `geodecloud mask` may have made the mask of a scene
        # before it is restored. A batch of masks names them by their source, so those stay.
        for name, kind in _MASKS.items() if source else ():
            yield from _existing(folder, f"{stem}_{name}", kind)
        item = item_path(self._dst)
        if item.is_file() and _is_item(item):
            yield item


def remove_output(path: Path) -> None:
    """Remove a stale output, and the files that geodecloud or GDAL has written beside it."""
    beside = path.with_suffix(".qml")
    if is_own_style(beside):
        beside.unlink(missing_ok=True)
    remove_raster(path)


def is_own_style(path: Path) -> bool:
    """Return whether a file is a QGIS style that geodecloud wrote; another style is the user's."""
    ours = (provenance_style(), opacity_style(), cloud_mask_style())
    return path.is_file() and path.read_text("utf-8", errors="replace") in ours


def _existing(folder: Path, stem: str, kind: Kind) -> Iterable[Path]:
    paths = [folder / f"{stem}{suffix}" for suffix in GEOTIFF]
    return [path for path in paths if path.is_file() and kind_of_raster(path) == kind]


def _is_item(path: Path) -> bool:
    try:
        item = json.loads(path.read_text("utf-8"))
        return "geodecloud" in item["properties"]["processing:software"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
