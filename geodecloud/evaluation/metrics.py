"""Compare two images over their valid pixels: PSNR, SSIM, SAM, MAE, bias.

Every metric takes

    image, truth: float (bands, rows, columns), in model range, 0..1;
    valid: bool (rows, columns); invalid pixels are ignored, even NaN.

Every metric but the bias is symmetric in image and truth. All raise ValueError if no pixel is
valid.
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
    """Return the mean squared error over pixels and bands."""
    return float(np.mean(_difference(image, truth, valid) ** 2))


def psnr(image: Picture, truth: Picture, valid: Mask) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for equal images."""
    return to_psnr(mean_square(image, truth, valid))


def to_psnr(mean_square: float) -> float:
    """Return the PSNR in dB of a mean squared error, for values of 0..1."""
    return float("inf") if mean_square == 0 else -10 * float(np.log10(mean_square))


def mae(image: Picture, truth: Picture, valid: Mask) -> float:
    """Return the mean absolute error over pixels and bands."""
    return float(np.mean(np.abs(_difference(image, truth, valid))))


def bias(image: Picture, truth: Picture, valid: Mask) -> NDArray[np.float64]:
    """Return the mean error of each band, (bands,): image minus truth, positive if too bright."""
    errors: NDArray[np.float64] = _difference(image, truth, valid).mean(axis=1)
    return errors


def sam(image: Picture, truth: Picture, valid: Mask) -> float:
    """Return the mean spectral angle over pixels, in degrees: an error that ignores brightness.

    A pixel that is black in either image has no angle and is left out; NaN if no pixel remains.
    (Kruse et al.: "The Spectral Image Processing System (SIPS)", Remote Sensing of Environment
    1993; Kahan's formula, accurate for small angles.)
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
    """Return the mean structural similarity over pixels and bands, -1..1; 1 for equal images.

    The window is a Gaussian of 11 x 11 pixels. Only pixels whose whole window is valid count; NaN
    if there are none, as in an image smaller than a window.
    """
    _difference(image, truth, valid)
    whole = _whole_windows(valid)
    if not whole.any():
        return float("nan")
    pairs = zip(image, truth, strict=True)  # band by band, to save memory
    maps = (_ssim_map(*(np.where(valid, x, np.float64(0)) for x in pair)) for pair in pairs)
    return float(np.mean([similarity[whole].mean() for similarity in maps]))


def _difference(image: Picture, truth: Picture, valid: Mask) -> NDArray[np.float64]:
    """Return image minus truth at the valid pixels: (bands, count)."""
    if not valid.any():
        raise ValueError("no valid pixel to compare")
    difference: NDArray[np.float64] = image[:, valid].astype(np.float64) - truth[:, valid]
    return difference


def _ssim_map(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the SSIM of each pixel of a band, without a border of ``_RADIUS`` pixels."""
    mean_x, mean_y = _gaussian(x), _gaussian(y)
    covariance = _gaussian(x * y) - mean_x * mean_y
    variances = _gaussian(x * x + y * y) - mean_x**2 - mean_y**2
    similarity: NDArray[np.float64] = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    similarity /= (mean_x**2 + mean_y**2 + _C1) * (variances + _C2)
    return similarity


def _gaussian(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Gaussian mean over each whole window: ``_RADIUS`` pixels fewer on each side."""
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
    """Return where the whole window is valid, for the pixels of :func:`_ssim_map`."""
    for _ in range(2):
        length = max(valid.shape[0] - 2 * _RADIUS, 0)
        parts = [valid[i : i + length] for i in range(2 * _RADIUS + 1)]
        valid = np.logical_and.reduce(parts).T
    return valid
