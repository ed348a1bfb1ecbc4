"""Convert DN to the model range and back. Only this module computes with 10000, -1000 and 2750.

    reflectance = (DN + offset) / scale
    model range = reflectance / 0.275

0.275 is where EuroSAT's 8 bits end: RGB = L1C bands 4, 3, 2 as
``clip(floor(v * 254 / 2750 + 1.5), 1, 255)``, which reproduces EuroSAT's JPEGs from its
multispectral tiles bit for bit (checked on 100 tiles).

A window is too small to tell atmosphere from bright ground. So three quantities are measured once
per scene: the dark object, the path radiance that an atmospheric correction removed, and a uniform
haze (Chavez 1988). Removed path radiance is added back only for models of one level, which were
trained on top-of-atmosphere scenes (L1C) alone.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geodecloud.errors import UsageError

SCALE = 10_000.0  # Sentinel-2 QUANTIFICATION_VALUE: DN of reflectance 1
BASELINE_4_OFFSET = -1000.0  # BOA_ADD_OFFSET / RADIO_ADD_OFFSET from processing baseline 04.00 on
MODEL_WHITE = 0.275  # reflectance at the top of the model range
BRIGHTEST = 4.0  # model range; brighter light is clipped before the network
# An 8-bit picture is assumed to end where the model range does, as EuroSAT's do: where the picture
# is saturated, so is the generator's input.
PICTURE_SCALE = 255 / MODEL_WHITE
# Sentinel-2's true colour image (TCI), 0 = nodata. L2A: measured on a product of baseline 04.00
# (T29UNU, 2022-10-05), where TCI = 0.1016 (DN - 1000) + 0.5 in red; 255 is reflectance 0.25. L1C:
# 255 is DN 3558 (ESA's user guide, Sentinel-2 MSI, Definitions).
L2A_TCI_SCALE = 254 / 0.25
L1C_TCI_SCALE = 255 / 0.3558
EUROSAT_STEPS = 254.0  # 8-bit steps of EuroSAT between reflectance 0 (value 1) and 0.275 (255)

# Processing levels of Sentinel-2: top-of-atmosphere and surface reflectance.
Level = Literal["L1C", "L2A"]

DARK_OBJECT_QUANTILE = 0.01  # this fraction of a scene's pixels is darker than its dark object
LARGE = 128 * 128  # pixels; so large a scene holds a dark object, like the shadow of a wood
# Path radiance of clear air in red, green and blue, in model range: the darkest pixels of EuroSAT
# (L1C) have 0.087, 0.161, 0.244 (0.5th percentile of 2,500 tiles), those of L2A scenes about 0.
PATH_RADIANCE = (0.08, 0.15, 0.25)
L1C_DARK_OBJECT = (0.087, 0.161, 0.244)
_CERTAIN_DEFICIT = 0.4  # fraction of blue's path radiance; no L1C scene lacks as much

# A uniform haze over a whole picture, see :func:`uniform_haze`; values in model range.
HAZE_GREY = 0.8  # a map service's haze is not white; values from 0.7 to 0.95 score alike
_DARK_LEFT = 0.15  # dark object after the haze is removed
_BRIGHT = (0.18, 0.25)  # dark object up to which a picture may be clear, and from which it is hazy
_COLOURED = (0.05, 0.10)  # spread of the dark object's bands up to which it is grey, and coloured
_HIDDEN = (0.60, 0.70)  # dark object from which cloud begins to hide, and wholly hides, the ground
_LEAST_HAZE = 0.1  # opacity; removing less is not worth changing every pixel


@dataclass(frozen=True)
class Radiometry:
    """The conversion of a scene's DN to reflectance and to the generator's input.

    Args:
        scale: DN per unit of reflectance, positive; reflectance = (DN + offset) / scale.
        offset: added to the DN first, like Sentinel-2's ``BOA_ADD_OFFSET``.
        path_radiance_removed: fraction (0..1) of the path radiance that an atmospheric correction
            has removed: 0 for L1C, 1 for a dark L2A scene. It is added before the generator and
            removed after it: thin cirrus without blue path radiance looks like clear air to the
            generator.
        dark_object: red, green and blue of the scene's dark object, in model range, as the
            generator sees it: a fraction ``DARK_OBJECT_QUANTILE`` of the pixels is darker. It tells
            haze over a whole window from pale ground.
        haze: opacity (0..1) of a uniform grey haze over the whole picture. It is removed before
            the generator, and from every pixel of the output.
        origin: source of scale and offset, in words.
        guessed: whether scale and offset are guessed from the dtype alone.
    """

    scale: float = SCALE
    offset: float = 0.0
    path_radiance_removed: float = 0.0
    dark_object: tuple[float, float, float] = field(default=L1C_DARK_OBJECT, compare=False)
    haze: float = field(default=0.0, compare=False)
    origin: str = field(default="as given", compare=False)
    guessed: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"`scale` is {self.scale:g}: give a positive number like 10000")
        if not np.isfinite(self.offset):
            raise UsageError(f"`offset` is {self.offset:g}: give a number like -1000")

    @property
    def black(self) -> float:
        """DN at the bottom of the model range, reflectance 0."""
        return -self.offset

    @property
    def span(self) -> float:
        """DN between the bottom and the top of the model range, reflectance 0 to 0.275."""
        return MODEL_WHITE * self.scale

    @property
    def is_picture(self) -> bool:
        """True for an 8-bit scene whose radiometry is not known."""
        return self.guessed and self.scale == PICTURE_SCALE

    def to_model(self, dn: NDArray[Any], most: float = 1.0) -> NDArray[np.float32]:
        """Return DN of any shape and dtype in model range: float32, NaN stays.

        Args:
            most: the upper bound to which values are clipped; the lower is 0.
        """
        model = self.unclipped(dn)
        return np.clip(model, 0, most, out=model)

    @np.errstate(over="ignore", invalid="ignore")  # nodata may be the largest float, or infinite
    def unclipped(self, dn: NDArray[Any]) -> NDArray[np.float32]:
        """Return DN of any shape and dtype in units of the model range: float32, NaN stays."""
        light: NDArray[np.float32] = dn.astype(np.float32)
        light -= np.float32(self.black)
        light /= np.float32(self.span)
        return light

    def as_measured(self) -> "Radiometry":
        """Return this radiometry for a network trained on corrected scenes: no path radiance."""
        removed = self._removed()[:, 0, 0]
        dark = np.maximum((np.array(self.dark_object) - removed) / (1 - removed), 0)
        red, green, blue = dark.tolist()
        return replace(self, path_radiance_removed=0.0, dark_object=(red, green, blue))

    def without_haze(self, model: NDArray[np.float32]) -> NDArray[np.float32]:
        """Remove the uniform haze: model = (1 - haze) * ground + haze * ``HAZE_GREY``.

        Args:
            model: float32 of any shape, model range.

        Returns:
            ground: float32 of that shape, clipped to 0..1.
        """
        if self.haze == 0:
            return model
        ground = (model - np.float32(self.haze * HAZE_GREY)) / np.float32(1 - self.haze)
        return np.clip(ground, 0, 1, out=ground)

    def to_network(self, model: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the generator's input: without haze, and with the path radiance of L1C.

        Path radiance p adds to the ground g as p + (1 - p) * g.

        Args:
            model: float32 (3, rows, width), model range.
        """
        ground = self.without_haze(model)
        if self.path_radiance_removed == 0:
            return ground
        path_radiance = self._removed()
        model_input: NDArray[np.float32] = path_radiance + (1 - path_radiance) * ground
        return model_input

    def from_network(self, change: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert a change of the generator's input to one of the haze-free ground.

        Args:
            change: float32 (..., 3, rows, width).
        """
        return change if self.path_radiance_removed == 0 else change / (1 - self._removed())

    def _removed(self) -> NDArray[np.float32]:
        """Return the removed path radiance, float32 (3, 1, 1), model range."""
        removed = np.array(PATH_RADIANCE) * self.path_radiance_removed
        return removed.astype(np.float32)[:, None, None]


def find_dark_object(model_input: NDArray[np.float32], pixels: int) -> tuple[float, float, float]:
    """Return ``Radiometry.dark_object`` of a scene.

    A scene of fewer than ``LARGE`` pixels may hold no dark object, so its value is at most
    ``L1C_DARK_OBJECT``.

    Args:
        model_input: float32 (3, count), R, G, B of some or all pixels as the generator sees them.
        pixels: number of pixels of the scene.
    """
    darkest = np.percentile(model_input, 100 * DARK_OBJECT_QUANTILE, axis=1)
    red, green, blue = darkest if pixels >= LARGE else np.minimum(darkest, L1C_DARK_OBJECT)
    return float(red), float(green), float(blue)


def uniform_haze(dark_object: NDArray[np.floating]) -> float:
    """Return ``Radiometry.haze`` of an 8-bit picture with this dark object.

    Any large picture holds something dark. If even that is bright and grey, haze lies over the
    whole picture: land is hardly ever both (dark-object subtraction, Chavez 1988). A window is too
    small to tell that haze from pale ground.

    Args:
        dark_object: (3,), red, green and blue in model range.
    """
    low, high = dark_object.min(), dark_object.max()
    bright, coloured, hidden = (
        np.clip((value - start) / (end - start), 0, 1)
        for value, (start, end) in ((low, _BRIGHT), (high - low, _COLOURED), (low, _HIDDEN))
    )
    opacity = (low - _DARK_LEFT) / (HAZE_GREY - _DARK_LEFT)
    opacity *= bright * (1 - coloured) * (1 - hidden)
    return float(opacity) if opacity >= _LEAST_HAZE else 0.0


def measure_path_radiance_removed(dark: NDArray[np.floating], level: Level | None = None) -> float:
    """Return ``Radiometry.path_radiance_removed`` of a scene with these dark pixels.

    Two signs reveal a removal: less blue than any L1C scene has, and a smaller excess of blue over
    red. Haze hides the first sign; red deserts show the second by nature. So without a known level
    the second sign counts only in proportion to the first. The second sign always counts half: with
    the full path radiance added, restored pixels become darker and yellower than the land beside
    them.

    Args:
        dark: (3,), red, green and blue in model range; may be below 0.
        level: processing level of the product; None if not known.
    """
    if level == "L1C":
        return 0.0
    red, _, blue = dark
    by_blue = np.clip((L1C_DARK_OBJECT[2] - blue) / PATH_RADIANCE[2], 0, 1)
    by_excess = np.clip(
        (L1C_DARK_OBJECT[2] - L1C_DARK_OBJECT[0] - (blue - red))
        / (PATH_RADIANCE[2] - PATH_RADIANCE[0]),
        0,
        1,
    )
    certainty = 1 if level == "L2A" else min(by_blue / _CERTAIN_DEFICIT, 1)
    return float(by_blue + certainty * max(by_excess - by_blue, 0) / 2)


def guess_radiometry(dtype: DTypeLike) -> Radiometry:
    """Guess the radiometry from the dtype: an 8-bit picture, Sentinel-2 DN, or reflectance."""
    dtype = np.dtype(dtype)
    if dtype == np.uint8:
        return Radiometry(PICTURE_SCALE, origin="8 bits are taken for a picture", guessed=True)
    if dtype.kind == "f":
        return Radiometry(1.0, origin="floats are taken for reflectance", guessed=True)
    return Radiometry(origin="integers are taken for reflectance x 10000", guessed=True)


def multispectral_to_eurosat(dn: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert L1C reflectance x 10000, of any shape, to EuroSAT's published 8-bit values."""
    steps = dn.astype(np.float64) * EUROSAT_STEPS / (MODEL_WHITE * SCALE)
    pixels: NDArray[np.uint8] = np.clip(np.floor(steps + 1.5), 1, 255).astype(np.uint8)
    return pixels


def eurosat_to_model(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert EuroSAT's 8-bit values, of any shape, to the model range: 1 -> 0, 255 -> 1."""
    model = np.maximum(pixels.astype(np.float32) - 1, 0)
    model /= np.float32(EUROSAT_STEPS)
    return model


def model_to_eurosat(model: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Invert :func:`eurosat_to_model`, rounded: 0 -> 1, 1 -> 255. Any shape."""
    pixels: NDArray[np.uint8] = np.rint(np.clip(model, 0, 1) * EUROSAT_STEPS + 1).astype(np.uint8)
    return pixels


def as_dtype(
    values: NDArray[np.float64], dtype: np.dtype[Any], nodata: float | None
) -> NDArray[Any]:
    """Convert DN of any shape to the scene's dtype; none becomes nodata.

    Values are rounded and clipped for an integer dtype. A value equal to nodata becomes a
    neighbouring one.
    """
    if dtype.kind == "f":
        out = values.astype(dtype)
        if nodata is not None and np.isfinite(nodata):
            out[out == nodata] = np.nextafter(dtype.type(nodata), dtype.type(np.inf))
        return out
    limits = np.iinfo(dtype)
    out = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    if nodata is not None:
        out[out == nodata] = nodata + 1 if nodata < limits.max else nodata - 1
    return out
