"""What ``geodecloud info`` tells of a scene or a model."""

from pathlib import Path
from typing import Any

from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import open_scene


def describe(file: str | Path, resolution: int | None = None) -> dict[str, Any]:
    """Facts about a model file, or about a scene and what would be used to restore it.

    Raises:
        GeodecloudError: it is neither.
    """
    if Path(file).suffix == ".safetensors":
        from geodecloud.model.checkpoint import read_info

        model = read_info(Path(file))
        return {"model": str(file), "sha256": model.sha256, **model.metadata}
    with open_scene(file, resolution=resolution) as scene:
        radiometry = calibrate(scene)
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
            "radiometry": radiometry.origin,
            "corrected": round(radiometry.path_radiance_removed, 3),
            "veil": round(radiometry.haze, 3),
            "darkest": [round(light, 3) for light in radiometry.dark_object],
            "nodata": None if scene.nodata is None else str(scene.nodata),
        }
