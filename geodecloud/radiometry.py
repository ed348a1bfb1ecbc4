"""From DN to the model range and back: the only place for 10000, -1000, 2750 and TCI.

    reflectance = (DN + offset) / scale
    model range = reflectance / 0.275

0.275 is where EuroSAT's 8 bits end: RGB = L1C bands 4, 3, 2 as
``clip(floor(v * 254 / 2750 + 1.5), 1, 255)``, which reproduces EuroSAT's JPEGs from its
multispectral tiles bit for bit (checked on 100 tiles).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geodecloud.errors import UsageError

SCALE = 10_000.0  # Sentinel-2 QUANTIFICATION_VALUE: DN of reflectance 1
BASELINE_4_OFFSET = -1000.0  # BOA_ADD_OFFSET / RADIO_ADD_OFFSET from processing baseline 04.00 on
TCI_SCALE = 1016.0  # 254 / 0.25: fits an L2A TCI to its own bands within a step (T29UNU, 04.00)
MODEL_WHITE = 0.275  # reflectance at the top of the model range
EUROSAT_STEPS = 254.0  # 8-bit steps of EuroSAT between reflectance 0 (value 1) and 0.275 (255)


@dataclass(frozen=True)
class Radiometry:
    """How the DN of a scene become reflectance: ``(DN + offset) / scale``.

    Args:
        scale: DN per unit of reflectance, positive.
        offset: added to the DN first, as Sentinel-2's ``BOA_ADD_OFFSET``.
    """

    scale: float = SCALE
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"scale is {self.scale:g}: it must be positive, like 10000")
        if not np.isfinite(self.offset):
            raise UsageError(f"offset is {self.offset:g}: it must be a number, like -1000")

    @property
    def black(self) -> float:
        """DN at the bottom of the model range, reflectance 0."""
        return -self.offset

    @property
    def span(self) -> float:
        """DN between the bottom and the top of the model range, reflectance 0 to 0.275."""
        return MODEL_WHITE * self.scale

    def to_model(self, dn: NDArray[Any]) -> NDArray[np.float32]:
        """DN of any shape and dtype in model range: float32, clipped to 0..1, NaN stays."""
        model = (dn.astype(np.float32) - np.float32(self.black)) / np.float32(self.span)
        clipped: NDArray[np.float32] = np.clip(model, 0, 1)
        return clipped


def guess_radiometry(dtype: DTypeLike) -> Radiometry:
    """What the dtype alone suggests: an 8-bit picture (TCI), Sentinel-2 DN, or reflectance."""
    dtype = np.dtype(dtype)
    if dtype == np.uint8:
        return Radiometry(TCI_SCALE)
    if dtype.kind == "f":
        return Radiometry(1.0)
    return Radiometry()


def eurosat_to_model(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """EuroSAT's 8-bit values in model range: 1 -> 0, 255 -> 1. Any shape."""
    model = np.maximum(pixels.astype(np.float32) - 1, 0)
    model /= np.float32(EUROSAT_STEPS)
    return model


def model_to_eurosat(model: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The inverse of :func:`eurosat_to_model`, rounded: 0 -> 1, 1 -> 255. Any shape."""
    pixels: NDArray[np.uint8] = np.rint(np.clip(model, 0, 1) * EUROSAT_STEPS + 1).astype(np.uint8)
    return pixels
