"""From DN to the model range and back: the only place for 10000, -1000 and 2750.

    reflectance = (DN + offset) / scale
    model range = reflectance / 0.275

0.275 is where EuroSAT's 8 bits end: RGB = L1C bands 4, 3, 2 as
``clip(floor(v * 254 / 2750 + 1.5), 1, 255)``, which reproduces EuroSAT's JPEGs from its
multispectral tiles bit for bit (checked on 100 tiles).
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geodecloud.errors import UsageError

SCALE = 10_000.0  # Sentinel-2 QUANTIFICATION_VALUE: DN of reflectance 1
BASELINE_4_OFFSET = -1000.0  # BOA_ADD_OFFSET / RADIO_ADD_OFFSET from processing baseline 04.00 on
MODEL_WHITE = 0.275  # reflectance at the top of the model range
# An 8-bit picture is taken to end where the model range does, as EuroSAT's do: where it is
# saturated, so is what the network sees.
PICTURE_SCALE = 255 / MODEL_WHITE
# Sentinel-2's true colour image (TCI), 0 = nodata. L2A: measured on a product of baseline 04.00
# (T29UNU, 2022-10-05), where TCI = 0.1016 (DN - 1000) + 0.5 in red; 255 is reflectance 0.25. L1C:
# 255 is DN 3558, says ESA's user guide (Sentinel-2 MSI, Definitions).
L2A_TCI_SCALE = 254 / 0.25
L1C_TCI_SCALE = 255 / 0.3558
EUROSAT_STEPS = 254.0  # 8-bit steps of EuroSAT between reflectance 0 (value 1) and 0.275 (255)

Level = Literal["L1C", "L2A"]  # of Sentinel-2's products: as seen from space, and corrected

DARK_OBJECT_SHARE = 0.01  # share of a scene's pixels that are darker than its darkest light
LARGE = 128 * 128  # pixels of a scene that holds something dark, be it the shadow of a wood
# What clear air alone sends up to a satellite in red, green and blue, in model range: the darkest
# pixels of EuroSAT (L1C) have 0.087, 0.161, 0.244 (0.5th percentile of 2,500 tiles), those of
# atmospherically corrected scenes (L2A) about 0.
PATH_RADIANCE = (0.08, 0.15, 0.25)
L1C_DARK_OBJECT = (0.087, 0.161, 0.244)

_SURE = 0.4  # so much of the air's blue is missing in no L1C scene
# An even veil over a whole picture, see :func:`uniform_haze`; all in model range.
HAZE_GREY = 0.8  # a map service's haze is not white; from 0.7 to 0.95 the figures differ little
_BARE = 0.15  # the darkest light that is left
_VEILED = (0.18, 0.25)  # darkest light of a picture that may be clear still, and that is not
_GREY = (0.05, 0.10)  # so far apart are its bands: grey, and not so grey
_LEAST = 0.1  # opacity; for less no pixel is to lose what was measured
_WHITE = (0.60, 0.70)  # under more than that there is nothing to see


@dataclass(frozen=True)
class Radiometry:
    """How the DN of a scene become reflectance, and what the network is to see of it.

    Args:
        scale: DN per unit of reflectance, positive; reflectance = (DN + offset) / scale.
        offset: added to the DN first, as Sentinel-2's ``BOA_ADD_OFFSET``.
        path_radiance_removed: 0..1, how far the light of the air has been taken away: 0 for
            L1C, 1 for a dark L2A scene. The network knows L1C: without the blue of the air, thin
            cirrus looks to it like air. So the air is put back before the network and taken away
            after.
        dark_object: of the scene, the darkest light in red, green and blue, as the network sees it:
            in a window haze over all and pale ground are the same picture, in the scene they are
            not. A share of ``DARK_OBJECT_SHARE`` of its pixels are darker.
        haze: 0..1, opacity of an even grey veil that lies over all of a picture. It is taken away
            before the network, and from every pixel of the output.
        origin: in words, who says so.
        guessed: nobody does; the dtype suggests it.
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
        with np.errstate(over="ignore"):  # nodata may be as far out as a float goes
            model = dn.astype(np.float32)
            model -= np.float32(self.black)
            model /= np.float32(self.span)
        return np.clip(model, 0, 1, out=model)

    def without_haze(self, model: NDArray[np.float32]) -> NDArray[np.float32]:
        """Model range without the veil, float32 of any shape, 0..1.

        What the veil is made of is in :data:`HAZE_GREY`: model = (1 - veil) * ground + veil * grey.
        """
        if self.haze == 0:
            return model
        ground = (model - np.float32(self.haze * HAZE_GREY)) / np.float32(1 - self.haze)
        return np.clip(ground, 0, 1, out=ground)

    def to_network(self, model: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network is to see of a model range, float32 (3, rows, width), 0..1.

        Without the veil, and with the air that L1C has: air + (1 - air) * ground.
        """
        model = self.without_haze(model)
        if self.path_radiance_removed == 0:
            return model
        air = self._path_radiance()
        seen: NDArray[np.float32] = air + (1 - air) * model
        return seen

    def from_network(self, change: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a change by the network, (..., 3, rows, width), as one of ground without haze."""
        return change if self.path_radiance_removed == 0 else change / (1 - self._path_radiance())

    def _path_radiance(self) -> NDArray[np.float32]:
        return (np.array(PATH_RADIANCE) * self.path_radiance_removed).astype(np.float32)[
            :, None, None
        ]


def find_dark_object(seen: NDArray[np.float32], pixels: int) -> tuple[float, float, float]:
    """``Radiometry.dark_object`` of a scene.

    A scene that is too small to hold something dark for certain is taken to lie beside some.

    Args:
        seen: float32 (3, count), R, G, B as the network sees them, some or all of the scene's.
        pixels: that the scene has.
    """
    own = np.percentile(seen, 100 * DARK_OBJECT_SHARE, axis=1)
    red, green, blue = own if pixels >= LARGE else np.minimum(own, L1C_DARK_OBJECT)
    return float(red), float(green), float(blue)


def uniform_haze(darkest: NDArray[np.float64]) -> float:
    """``Radiometry.haze`` of an 8-bit picture with this darkest light.

    Somewhere in a picture of some size something is dark. Where the darkest is bright, and grey as
    haze is and as land hardly is, it is the light of a veil over all (dark-object subtraction,
    Chavez 1988). To a window that veil and pale ground are one.

    Args:
        darkest: (3,), red, green and blue in model range.
    """
    low, high = darkest.min(), darkest.max()
    veiled, grey, white = (
        np.clip((value - start) / (end - start), 0, 1)
        for value, (start, end) in ((low, _VEILED), (high - low, _GREY), (low, _WHITE))
    )
    opacity = (low - _BARE) / (HAZE_GREY - _BARE)
    opacity *= veiled * (1 - grey) * (1 - white)
    return float(opacity) if opacity >= _LEAST else 0.0


def measure_path_radiance_removed(dark: NDArray[np.floating], level: Level | None = None) -> float:
    """``Radiometry.path_radiance_removed`` of a scene whose darkest pixels are these.

    Two things tell of air that is gone: a blue that no L1C scene has, and too little more blue
    than red. Haze hides the first, red deserts have the second of themselves, so where nobody says
    of what level a scene is, the second counts as far as the first is seen. And it counts by half:
    what is restored with all of the air put back is darker and yellower than the land beside it.

    Args:
        dark: (3,), red, green and blue in model range; may be below 0.
        level: of the product; None: not known.
    """
    if level == "L1C":
        return 0.0
    red, _, blue = dark
    by_level = np.clip((L1C_DARK_OBJECT[2] - blue) / PATH_RADIANCE[2], 0, 1)
    by_colour = np.clip(
        (L1C_DARK_OBJECT[2] - L1C_DARK_OBJECT[0] - (blue - red))
        / (PATH_RADIANCE[2] - PATH_RADIANCE[0]),
        0,
        1,
    )
    sure = 1 if level == "L2A" else min(by_level / _SURE, 1)
    return float(by_level + sure * max(by_colour - by_level, 0) / 2)


def guess_radiometry(dtype: DTypeLike) -> Radiometry:
    """What the dtype alone suggests: an 8-bit picture, Sentinel-2 DN, or reflectance."""
    dtype = np.dtype(dtype)
    if dtype == np.uint8:
        return Radiometry(PICTURE_SCALE, origin="8 bits are taken for a picture", guessed=True)
    if dtype.kind == "f":
        return Radiometry(1.0, origin="floats are taken for reflectance", guessed=True)
    return Radiometry(origin="integers are taken for reflectance x 10000", guessed=True)


def multispectral_to_eurosat(dn: NDArray[Any]) -> NDArray[np.uint8]:
    """L1C reflectance x 10000, of any shape, in EuroSAT's 8-bit radiometry, as it was published."""
    steps = dn.astype(np.float64) * EUROSAT_STEPS / (MODEL_WHITE * SCALE)
    pixels: NDArray[np.uint8] = np.clip(np.floor(steps + 1.5), 1, 255).astype(np.uint8)
    return pixels


def eurosat_to_model(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """EuroSAT's 8-bit values in model range: 1 -> 0, 255 -> 1. Any shape."""
    model = np.maximum(pixels.astype(np.float32) - 1, 0)
    model /= np.float32(EUROSAT_STEPS)
    return model


def model_to_eurosat(model: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The inverse of :func:`eurosat_to_model`, rounded: 0 -> 1, 1 -> 255. Any shape."""
    pixels: NDArray[np.uint8] = np.rint(np.clip(model, 0, 1) * EUROSAT_STEPS + 1).astype(np.uint8)
    return pixels
