"""Give the output a nodata value if the scene declares none."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import UsageError
from geodecloud.raster.dn import exact, holds, is_nan
from geodecloud.raster.scene import Scene
from geodecloud.settings import Output


def output_nodata(scene: Scene, output: Output) -> float | None:
    """Return the DN that means nodata in the output: the scene's, else ``dst_nodata``.

    Raises:
        UsageError: ``dst_nodata`` contradicts the scene, or the dtype cannot hold it.
    """
    wanted = output.dst_nodata
    if wanted is None or wanted == scene.nodata or (is_nan(wanted) and is_nan(scene.nodata)):
        return scene.nodata
    if scene.nodata is not None:
        raise UsageError(
            f"`dst_nodata` is {exact(wanted)}, but {scene.path} declares {exact(scene.nodata)}; "
            "leave `dst_nodata` out"
        )
    if scene.masked or scene.alpha:
        raise UsageError(
            f"`dst_nodata` is {exact(wanted)}, but {scene.path} has a mask or alpha for its "
            "nodata; leave `dst_nodata` out"
        )
    if scene.validity.fill and wanted != scene.validity.fill.value:
        raise UsageError(
            f"`dst_nodata` is {exact(wanted)}, but {scene.path} is filled with "
            f"{exact(scene.validity.fill.value)} at its border; give that value"
        )
    if holds(scene.dtype, wanted) or (is_nan(wanted) and scene.dtype.kind == "f"):
        return wanted
    if scene.dtype.kind == "f":
        raise UsageError(f"`dst_nodata` is {exact(wanted)}: {scene.dtype} cannot hold it")
    limits = np.iinfo(scene.dtype)
    raise UsageError(
        f"`dst_nodata` is {exact(wanted)}: {scene.path} has {scene.dtype} values; give a whole "
        f"number of {limits.min} to {limits.max}"
    )


class NodataCheck:
    """A check for pixels that would turn into nodata because their DN equals ``dst_nodata``.

    Restored pixels never take that DN, but measured pixels may have it.
    """

    def __init__(self, scene: Scene, output: Output) -> None:
        new = scene.nodata is None and output.dst_nodata is not None
        self._value = scene.dtype.type(output.dst_nodata) if new else None
        self._path = scene.path
        self._pixels = 0

    def add(self, dn: NDArray[Any], out: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Count such pixels in rows of the output.

        Args:
            dn, out: (bands, rows, width), DN of the scene and of the output. Where ``dn`` has
                another value, a band of ``out`` was made nodata on purpose.
            valid: bool (rows, width), False where the output means nodata.
        """
        if self._value is not None:
            measured = (dn == self._value) & (out == self._value)
            self._pixels += int((measured.any(axis=0) & valid).sum())

    def finish(self) -> None:
        """Refuse ``dst_nodata`` if a pixel has it, after all rows.

        Raises:
            UsageError: measured pixels have this DN.
        """
        if self._pixels and self._value is not None:
            raise UsageError(
                f"`dst_nodata` is {exact(float(self._value))}: {self._pixels} pixels of "
                f"{self._path} have this value and would turn into nodata; give another value"
            )
