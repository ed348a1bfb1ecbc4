"""Recognise the rasters that geodecloud has written."""

from pathlib import Path

from geodecloud.errors import SceneError
from geodecloud.raster.descriptions import Kind, kind_of
from geodecloud.raster.endings import GEOTIFF
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.scene import Scene
from geodecloud.raster.statements import TAG


def tags_of_output(path: Path) -> dict[str, str]:
    """Return a file's geodecloud tags, without their prefix; empty for other programs' files."""
    tags, _ = _stated(path)
    return {name.removeprefix(TAG): tags[name] for name in tags if name.startswith(TAG)}


def is_raster(path: Path) -> bool:
    """Return whether a file can be opened as a raster."""
    return bool(_stated(path)[1])


def is_output(path: Path) -> bool:
    """Return whether a file is a restored scene, provenance, opacity or a cloud mask.

    Simulated scenes do not count: they are made to be restored.
    """
    if path.suffix.lower() not in GEOTIFF or not path.is_file():
        return False
    tags, bands = _stated(path)
    return f"{TAG}SOURCE" in tags or kind_of(bands) is not None


def refuse_restored(scene: Scene, remedy: str) -> None:
    """Refuse a scene that geodecloud has restored already.

    Raises:
        SceneError: the scene is an output of geodecloud.
    """
    tags = scene.dataset.tags()
    if f"{TAG}SOURCE" in tags and float(tags.get(f"{TAG}CHANGED_FRACTION", 1)) > 0:
        raise SceneError(
            f"{scene.path}: geodecloud has restored it already, and invented pixels would count "
            f"as measured; {remedy}"
        )


def kind_of_raster(path: Path) -> Kind | None:
    """Return what a file beside a scene holds; None: something else, or it is no raster."""
    return kind_of(_stated(path)[1])


def _stated(path: Path) -> tuple[dict[str, str], tuple[str | None, ...]]:
    """Return a raster's tags and band descriptions; both empty if the file is not a raster."""
    try:
        with open_raster(path) as file:
            return file.tags(), tuple(file.descriptions)
    except SceneError:
        return {}, ()
