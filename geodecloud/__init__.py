"""Remove clouds from satellite rasters, and say which pixels were invented.

    import geodecloud
    report = geodecloud.decloud_file("scene.tif", "clear.tif")

Importing this package imports neither torch nor rasterio; using it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pathlib import Path

    from geodecloud.decloud import Report, Settings
    from geodecloud.predictor import Precision

__all__ = ["Settings", "__version__", "decloud_file"]


def decloud_file(
    src: str | Path,
    dst: str | Path,
    settings: Settings | None = None,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> Report:
    """Restore the scene ``src`` into the new GeoTIFF ``dst``.

    Args:
        settings: bands, radiometry, windows, what to do under opaque cloud; see
            :class:`geodecloud.decloud.Settings`.
        model: a model file; None: the one that comes with the package.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        precision: "auto", "fp32" or "bf16".

    Returns:
        what was done: pixels, windows, fractions, seconds.

    Raises:
        geodecloud.errors.GeodecloudError: with one line that names the file, the value and the
            remedy. ``dst`` is then as it was before.
    """
    from pathlib import Path

    from geodecloud.checkpoint import default_model
    from geodecloud.decloud import decloud_scene
    from geodecloud.predictor import Predictor

    predictor = Predictor(Path(model) if model else default_model(), device, precision)
    return decloud_scene(Path(src), Path(dst), predictor, settings, model_name=predictor.name)


def __getattr__(name: str) -> Any:
    if name == "Settings":
        from geodecloud.decloud import Settings

        return Settings
    raise AttributeError(f"module 'geodecloud' has no attribute {name!r}")
