"""How good a restoration is, over valid pixels: PSNR, SSIM, SAM, MAE.

Every function takes

    image, truth: float (bands, rows, width), in model range, 0..1;
    valid: bool (rows, width); what a pixel holds where it is False does not matter, NaN included;

is symmetric in image and truth, and raises ValueError where no pixel is valid.
"""

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]

# Wang, Bovik, Sheikh, Simoncelli: "Image Quality Assessment: From Error Visibility to Structural
# Similarity", IEEE TIP 2004, for values of 0..1.
_SIGMA = 1.5  # pixels, of the Gaussian window
_RADIUS = 5  # pixels; the window is 11 x 11
_C1, _C2 = 0.01**2, 0.03**2


def mean_square(image: Picture, truth: Picture, valid: Mask) -> float:
    """Mean squared error over pixels and bands."""
    return float(np.mean(_difference(image, truth, valid) ** 2))


def psnr(image: Picture, truth: Picture, valid: Mask) -> float:
    """Peak signal-to-noise ratio in dB; infinite where they are equal."""
    return to_psnr(mean_square(image, truth, valid))


def to_psnr(mean_square: float) -> float:
    """The PSNR in dB of a mean squared error, for values of 0..1."""
    return float("inf") if mean_square == 0 else -10 * float(np.log10(mean_square))


def mae(image: Picture, truth: Picture, valid: Mask) -> float:
    """Mean absolute error over pixels and bands."""
    return float(np.mean(np.abs(_difference(image, truth, valid))))


def sam(image: Picture, truth: Picture, valid: Mask) -> float:
    """Spectral angle in degrees, the mean over pixels: how far the colour is off.

    Whether a pixel is brighter or darker does not count. A pixel that is black, all bands 0, in
    one of the two has no colour and is left out; NaN where none remains. (Kruse et al.: "The
    Spectral Image Processing System (SIPS)", Remote Sensing of Environment 1993; the angle by
    Kahan's formula, which is exact for small ones.)
    """
    _difference(image, truth, valid)
    a, b = (x[:, valid].astype(np.float64) for x in (image, truth))  # (bands, count)
    lengths = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    coloured = (lengths[0] > 0) & (lengths[1] > 0)
    if not coloured.any():
        return float("nan")
    a, b = a[:, coloured] / lengths[0][coloured], b[:, coloured] / lengths[1][coloured]
    angle = 2 * np.arctan2(np.linalg.norm(a - b, axis=0), np.linalg.norm(a + b, axis=0))
    return float(np.degrees(angle.mean()))


def ssim(image: Picture, truth: Picture, valid: Mask) -> float:
    """Structural similarity, -1..1; 1 where they are equal. The mean over pixels and bands.

    Of a pixel counts the Gaussian window of 11 x 11 around it, so the mean is over the pixels
    whose whole window is valid; NaN where there is none, as in a scene smaller than a window.
    """
    _difference(image, truth, valid)
    whole = _whole_windows(valid)
    if not whole.any():
        return float("nan")
    pairs = zip(image, truth, strict=True)  # band by band, for the memory's sake
    maps = (_ssim_map(*(np.where(valid, x, np.float64(0)) for x in pair)) for pair in pairs)
    return float(np.mean([similarity[whole].mean() for similarity in maps]))


def _difference(image: Picture, truth: Picture, valid: Mask) -> NDArray[np.float64]:
    """Image minus truth at the valid pixels: (bands, count)."""
    if not valid.any():
        raise ValueError("no valid pixel to compare")
    difference: NDArray[np.float64] = image[:, valid].astype(np.float64) - truth[:, valid]
    return difference


def _ssim_map(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of one band, (rows, width), without the border of ``_RADIUS`` pixels."""
    mean_x, mean_y = _gaussian(x), _gaussian(y)
    covariance = _gaussian(x * y) - mean_x * mean_y
    variances = _gaussian(x * x + y * y) - mean_x**2 - mean_y**2
    similarity: NDArray[np.float64] = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    similarity /= (mean_x**2 + mean_y**2 + _C1) * (variances + _C2)
    return similarity


def _gaussian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over the window around each pixel that has one: smaller by the border."""
    weights = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    weights /= weights.sum()
    for _ in range(2):  # along the columns, then along the rows
        length = values.shape[0] - 2 * _RADIUS
        total = np.zeros((length, values.shape[1]))
        for i, weight in enumerate(weights):
            total += weight * values[i : i + length]
        values = total.T
    return values


def _whole_windows(valid: Mask) -> Mask:
    """Whether the whole window is valid, for the pixels of :func:`_ssim_map`."""
    for _ in range(2):
        length = max(valid.shape[0] - 2 * _RADIUS, 0)
        parts = [valid[i : i + length] for i in range(2 * _RADIUS + 1)]
        valid = np.logical_and.reduce(parts).T
    return valid
