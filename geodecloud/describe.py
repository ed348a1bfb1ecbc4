"""What ``geodecloud info`` tells of a scene or a model."""

from pathlib import Path
from typing import Any

from geodecloud.scene import open_scene, scene_radiometry


def describe(file: Path) -> dict[str, Any]:
    """Facts about a model file, or about a scene and what would be used to restore it.

    Raises:
        GeodecloudError: it is neither.
    """
    if file.suffix == ".safetensors":
        from geodecloud.checkpoint import read_info

        model = read_info(file)
        return {"model": str(file), "sha256": model.sha256, **model.metadata}
    with open_scene(file) as scene:
        radiometry = scene_radiometry(scene, None, None)
        height, width = scene.shape
        return {
            "scene": str(file),
            "size": f"{width} x {height}",
            "dtype": str(scene.dtype),
            "crs": str(scene.dataset.crs) if scene.dataset.crs else None,
            "bands": list(scene.bands),
            "bands from": scene.bands_from,
            "scale": radiometry.scale,
            "offset": radiometry.offset,
            "corrected": round(radiometry.corrected, 3),
            "nodata": None if scene.nodata is None else str(scene.nodata),
        }
