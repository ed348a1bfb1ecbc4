"""Classify pixels as clear, thin cloud, thick cloud or cloud shadow."""

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.cloud_mask import CloudClass
from geodecloud.raster.rows import Rows, given
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
