"""Classify pixels as clear, thin cloud, thick cloud or cloud shadow, and say which are filled."""

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.cloud_mask import CloudClass
from geodecloud.raster.rows import Rows, given
from geodecloud.restore.filters import Floats
from geodecloud.settings import Policy

# Chosen on the labelled scenes of benchmarks/masks.py.
THIN_ABOVE = 0.1  # opacity from which a pixel is thin cloud; 0.08 to 0.13 score alike
SHADOW_ABOVE = 0.15  # shadow from which a pixel is a cloud's shadow


def classify(rows: Rows, policy: Policy) -> NDArray[np.uint8]:
    """Return the class of each pixel: uint8 (rows, width), see :class:`CloudClass`.

    Cloud is thick from opacity ``policy.opaque_above``. Cloud takes precedence over shadow.
    """
    opacity = given(rows.opacity)
    classes = np.full(opacity.shape, CloudClass.CLEAR, np.uint8)
    if rows.shadow is not None:
        classes[rows.shadow >= SHADOW_ABOVE] = CloudClass.SHADOW
    classes[opacity >= min(THIN_ABOVE, policy.opaque_above)] = CloudClass.THIN
    classes[opacity >= policy.opaque_above] = CloudClass.THICK
    classes[~rows.valid] = CloudClass.NODATA
    return classes


def cover(rows: Rows, policy: Policy) -> Floats:
    """Return the opacity that decides which pixels are filled: float32 (rows, width), 0..1.

    Where shadows are filled, a pixel of class shadow counts as opaque.
    """
    opacity = given(rows.opacity)
    if policy.shadows != "fill" or rows.shadow is None:
        return opacity
    shaded = rows.shadow * np.float32(policy.opaque_above / SHADOW_ABOVE)
    covered: Floats = np.maximum(opacity, np.minimum(shaded, 1))
    return covered
