"""How good a restoration is, over valid pixels."""

import numpy as np
from numpy.typing import NDArray


def psnr(image: NDArray[np.float32], truth: NDArray[np.float32], valid: NDArray[np.bool_]) -> float:
    """Peak signal-to-noise ratio in dB, for values of 0..1; infinite where they are equal.

    Args:
        image, truth: (bands, rows, width), in model range.
        valid: (rows, width).

    Raises:
        ValueError: no pixel is valid.
    """
    if not valid.any():
        raise ValueError("no valid pixel to compare")
    error = image[:, valid].astype(np.float64) - truth[:, valid]
    mean_square = float(np.mean(error**2))
    return float("inf") if mean_square == 0 else -10 * float(np.log10(mean_square))
