"""Which pixels change, and what is said of them: opacity -> measured, restored, filled.

Where the sky is clear the DN of the input is the DN of the output, bit for bit: such a pixel is
not computed, it is copied.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import UsageError
from geodecloud.radiometry import Radiometry, as_dtype
from geodecloud.raster.provenance import Provenance
from geodecloud.restore.filters import box_mean, dilate, smoothstep
from geodecloud.settings import Policy

_DOUBTFUL, _CERTAIN = 0.30, 0.40  # opacity that pale water does not reach, and that cloud does
_PATCH = 3  # pixels to each side over which it does: a roof or a sandbank is smaller
_NEAR = 12  # pixels from certain cloud within which thin cloud is believed
_FADE = 6  # pixels over which the belief fades beyond
_EVEN = (0.015, 0.03)  # standard deviation of brightness: water, and what only land has
_DIM = (0.5, 0.6)  # mean brightness: of water still, and of cloud alone
_AROUND = 24  # pixels to each side over which both are taken
REACH = max(_PATCH + _NEAR + _FADE, _AROUND)
_EDGE = 0.1  # share of the model range over which values beyond it fade in


def hysteresis(opacity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Opacity as it is near certain cloud, fading to 0 where there is none.

    To one window, pale water and fields look like thin haze: low opacity everywhere, high nowhere.
    The thin rim of a cloud has its cloud beside it. On a clear Sentinel-2 coast this leaves a
    hundredth of the pixels changed instead of a quarter, for a tenth of a dB on real thin cloud
    (benchmarks/TRAINING_LOG.md).

    Args:
        opacity: float32 (rows, columns), 0..1. The answer for a row depends on ``REACH`` rows
            above and below it.
    """
    near = dilate(box_mean(opacity, _PATCH), _NEAR)
    certain = smoothstep((near - _DOUBTFUL) / (_CERTAIN - _DOUBTFUL))
    return opacity * np.minimum(box_mean(certain, _FADE), 1)


def water_weight(brightness: NDArray[np.float32]) -> NDArray[np.float32]:
    """A factor for opacity: 0 where the scene is even and dim all around, 1 on uneven or bright.

    Turbid water and haze over water are the same picture, and to change what was measured would
    be a guess. What is even and bright is cloud (benchmarks/TRAINING_LOG.md has what this saves).

    Args:
        brightness: float32 (rows, columns), mean of R, G, B as the network saw them. The answer
            for a row depends on ``REACH`` rows above and below it.
    """
    level = box_mean(brightness, _AROUND)
    variance = box_mean(np.square(brightness), _AROUND) - np.square(level)
    uneven = (np.sqrt(np.maximum(variance, 0)) - _EVEN[0]) / (_EVEN[1] - _EVEN[0])
    bright = (level - _DIM[0]) / (_DIM[1] - _DIM[0])
    told: NDArray[np.float32] = np.clip(np.maximum(uneven, bright), 0, 1)
    return told


@dataclass(frozen=True)
class Restoration:
    """What the network says of some rows, blended; all in model range.

    change: float32 (3, rows, width), restored minus input.
    opacity: float32 (rows, width), 0..1.
    """

    change: NDArray[np.float32]
    opacity: NDArray[np.float32]


def composite(
    dn: NDArray[Any],
    valid: NDArray[np.bool_],
    restoration: Restoration,
    radiometry: Radiometry,
    rule: Policy,
    nodata: float | None = None,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The output's DN and provenance.

    Args:
        dn: (3, rows, width), any real dtype, R, G, B.
        valid: (rows, width); where False the DN stay and the provenance is 255.
        radiometry: of the scene. Under a veil no pixel stays as measured.
        nodata: of the scene; no restored pixel may take this value.

    Returns:
        dn as the input's dtype and shape; provenance uint8 (rows, width).
    """
    opaque = valid & (restoration.opacity >= rule.opaque_above)
    ramp = (restoration.opacity - rule.clear_below) / (rule.restored_above - rule.clear_below)
    share = np.where(valid, smoothstep(ramp), np.float32(0))
    if rule.opaque != "fill":
        share[opaque] = 0

    touched, restored = share > 0, share
    if radiometry.haze:
        touched = valid if rule.opaque == "fill" else valid & ~opaque
        restored = touched * (share + (1 - share) * np.float32(radiometry.haze))
    provenance = np.ceil(restored * 100).astype(np.uint8)
    provenance[~valid] = Provenance.NODATA
    if rule.opaque == "fill":
        provenance[opaque] = Provenance.FILLED

    out = dn.copy()
    some = share[touched]
    for old, change, new in zip(dn, restoration.change, out, strict=True):
        new[touched] = _restored_dn(old[touched], change[touched], some, radiometry, nodata)
    if rule.opaque == "nodata":
        if nodata is None:
            raise UsageError(
                "opaque is nodata, but the scene has no nodata value; use fill or keep"
            )
        out[:, opaque] = nodata
        provenance[opaque] = Provenance.NODATA
    return out, provenance


def _restored_dn(
    dn: NDArray[Any],
    change: NDArray[np.float32],
    share: NDArray[np.float32],
    radiometry: Radiometry,
    nodata: float | None,
) -> NDArray[Any]:
    """New DN of some pixels of a band, (count,), written relative to the old ones.

    The network saw values clipped to the model range. What was cut off is kept where the network
    too still answers the end of the range (so that no change is exactly no change), and dropped
    where it answers something else (a cloud at DN 9000 must not shine through).
    """
    exact = dn.astype(np.float64)
    seen = radiometry.to_model(dn)
    bare = radiometry.without_haze(seen)
    restored = np.clip(bare + change, 0, 1)
    beyond = exact - np.clip(exact, radiometry.black, radiometry.black + radiometry.span)
    distance = np.where(beyond > 0, 1 - restored, restored)  # from the end it lies beyond
    dropped = beyond * np.clip(distance / _EDGE, 0, 1)
    span = np.float64(radiometry.span)
    step = share * ((restored - bare) * span - dropped)
    if radiometry.haze:
        step += (bare - seen) * span
    return as_dtype(exact + step, dn.dtype, nodata)


def lay_over(
    dn: NDArray[Any],
    share: NDArray[np.float32],
    colour: NDArray[np.float32],
    radiometry: Radiometry,
    nodata: float | None,
) -> NDArray[Any]:
    """DN with another colour over them, as far as ``share`` says.

    Args:
        dn: (count,), of one band, any real dtype.
        share: float32 (count,), 0..1; where it is 1 nothing of the old DN is left.
        colour: float32 (count,), model range.
        nodata: of the scene; no pixel may take this value.
    """
    new = radiometry.black + radiometry.span * np.clip(colour, 0, 1).astype(np.float64)
    return as_dtype(dn + share * (new - dn), dn.dtype, nodata)
