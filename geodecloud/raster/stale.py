"""Find and remove outputs of an earlier run that would no longer fit a new picture."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from geodecloud.errors import OutputError, OutputWarning, warn
from geodecloud.raster.cloud_mask import style as style_of_cloud_mask
from geodecloud.raster.opacity import style as style_of_opacity
from geodecloud.raster.origin import is_opacity, is_provenance, tags_of_output
from geodecloud.raster.provenance import style as style_of_provenance
from geodecloud.raster.stac import item_path
from geodecloud.raster.unfinished import remove

_CLEAR = "_clear"  # with which a batch ends the name of a restored scene


class StaleOutputs:
    """The provenance, opacity and STAC item that stand beside a picture under its name.

    A new picture makes them untrue, unless it brings its own. Files of other programs are left.

    Args:
        dst: the picture.
        written: the files that the run writes, its inputs, and what else must stay.
    """

    def __init__(self, dst: Path, written: Iterable[Path]) -> None:
        self._dst = dst
        stay = {path.absolute() for path in written}
        self.paths = [path for path in self._candidates() if path.absolute() not in stay]

    def refuse(self) -> None:
        """Refuse to write beside them.

        Raises:
            OutputError: there are some.
        """
        for path in self.paths:
            raise OutputError(
                f"{path}: stands beside {self._dst.name} and would not fit the new one; "
                "`overwrite` removes it"
            )

    def remove(self) -> None:
        """Remove them, and say so."""
        for path in self.paths:
            remove_output(path)
            warn(OutputWarning, f"{path}: is removed, as it does not fit the new {self._dst.name}")

    def _candidates(self) -> Iterable[Path]:
        stems, folder = [self._dst.stem], self._dst.parent
        source = Path(tags_of_output(self._dst).get("SOURCE", "")) if self._dst.is_file() else None
        if source and self._dst.stem == source.stem + _CLEAR:
            stems.append(source.stem)
        for stem in stems:
            for kind, is_ours in (("provenance", is_provenance), ("opacity", is_opacity)):
                yield from _existing(folder, f"{stem}_{kind}", is_ours)
        item = item_path(self._dst)
        if item.is_file() and _is_item(item):
            yield item


def remove_output(path: Path) -> None:
    """Remove an output that no longer fits, and what this program or GDAL has put beside it."""
    ours = (style_of_provenance(), style_of_opacity(), style_of_cloud_mask())
    beside = path.with_suffix(".qml")
    if beside.is_file() and beside.read_text("utf-8", errors="replace") in ours:
        beside.unlink(missing_ok=True)  # another style is the user's
    remove(path)


def _existing(folder: Path, stem: str, is_ours: Callable[[Path], bool]) -> Iterable[Path]:
    paths = [folder / f"{stem}{suffix}" for suffix in (".tif", ".tiff")]
    return [path for path in paths if path.is_file() and is_ours(path)]


def _is_item(path: Path) -> bool:
    try:
        item = json.loads(path.read_text("utf-8"))
        return "geodecloud" in item["properties"]["processing:software"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
