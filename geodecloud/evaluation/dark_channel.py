"""The dark channel prior: a dehazer without a network, to compare with.

    hazy = t * clear + (1 - t) * airlight

K. He, J. Sun, X. Tang: "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009. Somewhere
in each patch of a clear picture something is dark in some band; what light is there is haze.
The transmission t is refined by the guided filter of K. He, J. Sun, X. Tang: "Guided Image
Filtering", ECCV 2010, in place of the first paper's soft matting; the guide is the mean of the
bands.
"""

import numpy as np
from numpy.typing import NDArray

# Of the first paper:
_PATCH = 15  # pixels on a side
_OMEGA = 0.95  # share of the haze that is removed
_LEAST_T = 0.1  # transmission, below which the noise would be blown up
_AIRLIGHT_SHARE = 0.001  # of the pixels, those with the brightest dark channel
# Of the second, for dehazing:
_RADIUS = 20  # pixels
_EPSILON = 1e-3  # variance of the guide that counts as an edge


def dehaze(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The picture without haze, as far as the dark channel prior goes.

    Args:
        image: float32 (3, rows, width), in model range, 0..1.
        valid: bool (rows, width), somewhere True; where False nothing is looked at.

    Returns:
        float32 (3, rows, width), 0..1; where not valid, no meaning.
    """
    mean = image[:, valid].mean(axis=1, dtype=np.float64)[:, None, None]
    hazy = np.where(valid, image, mean)  # float64 (3, rows, width)
    airlight = _airlight(hazy, valid)[:, None, None]
    raw = 1 - _OMEGA * _dark_channel(hazy / airlight)
    transmission = np.maximum(_guided_filter(hazy.mean(axis=0), raw), _LEAST_T)
    clear = (hazy - airlight) / transmission + airlight
    return np.clip(clear, 0, 1).astype(np.float32)


def _airlight(hazy: NDArray[np.float64], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The brightest pixel, (3,), of those with the brightest dark channel."""
    dark = _dark_channel(hazy)[valid]
    count = max(1, round(_AIRLIGHT_SHARE * dark.size))
    candidates = hazy[:, valid][:, np.argpartition(dark, -count)[-count:]]  # (3, count)
    brightest: NDArray[np.float64] = candidates[:, candidates.sum(axis=0).argmax()]
    return np.maximum(brightest, 1e-6)  # of a black picture


def _dark_channel(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """The darkest value of any band in the patch around each pixel: (rows, width).

    The minimum of two neighbouring runs of pixels is that of a run twice as long.
    """
    dark: NDArray[np.float64] = np.pad(picture.min(axis=0), _PATCH // 2, mode="edge")
    for _ in range(2):  # along the columns, then along the rows
        run = 1
        while run < _PATCH:
            step = min(run, _PATCH - run)
            dark = np.minimum(dark[:-step], dark[step:])
            run += step
        dark = dark.T
    return dark


def _guided_filter(guide: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the values except where the guide has an edge; (rows, width) each."""
    mean_guide, mean_values = _box_mean(guide), _box_mean(values)
    covariance = _box_mean(guide * values) - mean_guide * mean_values
    variance = _box_mean(guide * guide) - mean_guide**2
    slope = covariance / (variance + _EPSILON)
    start = mean_values - slope * mean_guide
    return _box_mean(slope) * guide + _box_mean(start)


def _box_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a square around each pixel, of what of it lies inside the picture."""
    for _ in range(2):
        length = values.shape[0]
        first = np.maximum(np.arange(length) - _RADIUS, 0)
        last = np.minimum(np.arange(length) + _RADIUS + 1, length)
        sums = np.concatenate([np.zeros((1, values.shape[1])), values.cumsum(axis=0)])
        values = ((sums[last] - sums[first]) / (last - first)[:, None]).T
    return values
