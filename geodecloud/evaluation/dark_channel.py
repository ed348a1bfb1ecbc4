"""Remove haze by the dark channel prior: a baseline without a network.

    hazy = t * clear + (1 - t) * airlight

In a clear image, every patch has a pixel that is almost black in one band. In a hazy image, the
light of this pixel is haze (K. He, J. Sun, X. Tang: "Single Image Haze Removal Using Dark Channel
Prior", CVPR 2009). The guided filter (the same authors: "Guided Image Filtering", ECCV 2010)
refines the transmission t, in place of the first paper's soft matting. Its guide is the mean of the
bands.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter, uniform_filter

# Dark channel prior (CVPR 2009):
_PATCH = 15  # pixels on a side
_OMEGA = 0.95  # fraction of the haze that is removed
_MIN_TRANSMISSION = 0.1  # division by less would amplify noise
_AIRLIGHT_FRACTION = 0.001  # fraction of the pixels that are candidates for the airlight
_MIN_AIRLIGHT = 1e-6  # avoids division by 0 in a black image
# Guided filter (ECCV 2010), for dehazing:
_GUIDE_WINDOW = 41  # pixels on a side: radius 20
_EPSILON = 1e-3  # variance of the guide that counts as an edge


def dehaze(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Remove the haze of an image by the dark channel prior.

    Args:
        image: float32 (3, rows, columns), in model range, 0..1.
        valid: bool (rows, columns), True somewhere; invalid pixels do not influence the result.

    Returns:
        float32 (3, rows, columns), 0..1; meaningless at invalid pixels.
    """
    mean = image[:, valid].mean(axis=1, dtype=np.float64)[:, None, None]
    hazy = np.where(valid, image, mean)  # float64 (3, rows, columns)
    airlight = _airlight(hazy, valid)[:, None, None]
    raw = 1 - _OMEGA * _dark_channel(hazy / airlight)
    transmission = np.maximum(_guided_filter(hazy.mean(axis=0), raw), _MIN_TRANSMISSION)
    clear = (hazy - airlight) / transmission + airlight
    return np.clip(clear, 0, 1).astype(np.float32)


def _airlight(hazy: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the brightest of the pixels with the brightest dark channel, (3,)."""
    dark = _dark_channel(hazy)[valid]
    count = max(1, round(_AIRLIGHT_FRACTION * dark.size))
    candidates = hazy[:, valid][:, np.argpartition(dark, -count)[-count:]]  # (3, count)
    brightest: NDArray[np.float64] = candidates[:, candidates.sum(axis=0).argmax()]
    return np.maximum(brightest, _MIN_AIRLIGHT)


def _dark_channel(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the minimum over the bands and the patch around each pixel: (rows, columns)."""
    dark: NDArray[np.float64] = minimum_filter(image.min(axis=0), _PATCH, mode="nearest")
    return dark


def _guided_filter(guide: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the values but preserve the edges of the guide; all are (rows, columns)."""
    mean_guide, mean_values = _box_mean(guide), _box_mean(values)
    covariance = _box_mean(guide * values) - mean_guide * mean_values
    variance = _box_mean(guide * guide) - mean_guide**2
    slope = covariance / (variance + _EPSILON)
    intercept = mean_values - slope * mean_guide
    return _box_mean(slope) * guide + _box_mean(intercept)


def _box_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over a square around each pixel, cropped to the image."""
    inside = uniform_filter(np.ones_like(values), _GUIDE_WINDOW, mode="constant")
    mean: NDArray[np.float64] = uniform_filter(values, _GUIDE_WINDOW, mode="constant") / inside
    return mean
