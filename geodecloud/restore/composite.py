"""Composite the restored pixels with the input: the output's DN and provenance.

A clear pixel is copied, not computed: its DN come back bit for bit.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geodecloud.radiometry import Radiometry, as_dtype
from geodecloud.raster.opacity import NO_PERCENT
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.rows import Rows, given
from geodecloud.restore.classify import classify, cover
from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.filters import Floats, smoothstep
from geodecloud.settings import Output, Policy

_SCENE_ALONE = Output()
_SHADOW = (0.03, 0.1)  # shadow from which a pixel begins to be relit, and is relit fully
# Fringe of opaque cloud: its width in opacity below ``opaque_above``, and the weight of the other
# bands' own light there. The fill gives the level of the land. The bands' own light gives detail,
# since their ground is brighter than red's. The mean of two independent estimates errs less.
_FRINGE, _OWN_LIGHT = 0.1, 0.5
_EDGE = 0.1  # model range; the distance from its end over which DN beyond it fade in
_OPAQUE = {
    "fill": Provenance.FILLED,
    "keep": Provenance.CLOUD_KEPT,
    "nodata": Provenance.CLOUD_REMOVED,
}
_PIECE = 1 << 17  # pixels composited at once: their float64 fit into a cache


def composite(rows: Rows, facts: SceneFacts, policy: Policy, output: Output = _SCENE_ALONE) -> Rows:
    """Return the rows with the output's DN and provenance, without change, opacity and shadow.

    The other bands of ``facts`` are restored by the change of red, green and blue. Under a uniform
    haze every pixel changes.

    Args:
        output: decides whether ``percent`` and ``classes`` are needed.
    """
    if facts.radiometry.haze:
        rows = replace(rows, columns=None)
    out = rows.dn.copy() if rows.changing else rows.dn
    provenance = np.where(rows.valid, np.uint8(Provenance.MEASURED), np.uint8(Provenance.NODATA))
    for columns in rows.changing:
        height = max(1, _PIECE // (columns.stop - columns.start))
        for start in range(0, len(rows.valid), height):
            piece = rows.part(start, start + height, columns)
            part = slice(start, start + height), columns
            rgb, codes = _composite(piece, facts, policy)
            out[facts.rgb, *part], provenance[part] = rgb, codes
            if facts.others:
                out[facts.others.indices, *part] = _others(piece, rgb, codes, facts, policy)
    make_nodata(out, provenance == Provenance.CLOUD_REMOVED, facts)
    return replace(
        rows,
        out=out,
        provenance=provenance,
        percent=percent(rows) if output.opacity or output.report else None,
        classes=classify(rows, policy) if output.cloud_mask else None,
        fringe=fringe_weight(cover(rows, policy), policy) if facts.others else None,
        change=None,
        opacity=None,
        shadow=None,
    )


def percent(rows: Rows) -> NDArray[np.uint8]:
    """Return opacity and shadow in percent, uint8 (2, rows, width).

    Percentages are rounded up, so that 0 means none at all; 255 means nodata. Shadow is 0 if the
    network does not predict it.
    """
    out = np.zeros((2, *rows.valid.shape), np.uint8)
    for band, fraction in zip(out, (given(rows.opacity), rows.shadow), strict=True):
        if fraction is not None:
            band[:] = np.ceil(np.clip(fraction, 0, 1) * 100)  # blending may exceed 1 by rounding
        band[~rows.valid] = NO_PERCENT
    return out


def _composite(
    rows: Rows, facts: SceneFacts, policy: Policy
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Return DN of red, green and blue, (3, rows, width), and provenance (rows, width)."""
    radiometry, opacity, valid = facts.radiometry, given(rows.opacity), rows.valid
    opaque = valid & (cover(rows, policy) >= policy.opaque_above)
    if rows.fill_weight is not None and policy.opaque == "fill":
        opaque &= rows.fill_weight > 0  # a lone pixel of low opacity is restored, not filled
    ramp = smoothstep(opacity, policy.clear_below, policy.restored_above)
    weight = np.where(valid, ramp, np.float32(0))
    if policy.opaque != "fill":
        weight[opaque] = 0

    touched, restored_weight = weight > 0, weight
    if radiometry.haze:
        touched = valid if policy.opaque == "fill" else valid & ~opaque
        restored_weight = touched * (weight + (1 - weight) * np.float32(radiometry.haze))
    provenance = np.ceil(restored_weight * 100).astype(np.uint8)
    if policy.shadows == "restore" and rows.shadow is not None:
        relit = np.where(valid & ~opaque, smoothstep(rows.shadow, *_SHADOW), np.float32(0))
        provenance[relit > weight] = Provenance.SHADOW
        touched, weight = touched | (relit > 0), np.maximum(weight, relit)
    provenance[~valid] = Provenance.NODATA
    provenance[opaque] = _OPAQUE[policy.opaque]

    out = rows.dn[facts.rgb]  # a copy
    some = weight[touched]
    for dn, change in zip(out, given(rows.change), strict=True):
        dn[touched] = _restored_dn(dn[touched], change[touched], some, radiometry, facts.nodata)
    return out, provenance


def _others(
    rows: Rows,
    rgb: NDArray[Any],
    provenance: NDArray[np.uint8],
    facts: SceneFacts,
    policy: Policy,
) -> NDArray[Any]:
    """Return DN of the other bands, (count, rows, width), restored or made nodata.

    Args:
        rgb: (3, rows, width), restored DN of red, green and blue.
        provenance: (rows, width), from the composite of red, green and blue.
    """
    others, before = facts.others, rows.dn[facts.rgb]
    if not facts.others_nodata:
        shadow = provenance == Provenance.SHADOW
        return others.restore(rows.dn, (before, rgb), shadow)
    out = rows.dn[others.indices]  # a copy
    changed = (before != rgb).any(axis=0)
    if policy.opaque == "fill":
        changed |= (provenance == Provenance.FILLED) | (given(rows.fill_weight) > 0)
    out[:, changed & rows.valid] = facts.nodata
    return out


def fringe_weight(opacity: Floats, policy: Policy) -> Floats:
    """Return the weight, (rows, width), of the other bands' own light where colours are filled."""
    opaque = policy.opaque_above
    return np.float32(_OWN_LIGHT) * smoothstep(opacity, opaque, opaque - _FRINGE)


def make_nodata(out: NDArray[Any], where: NDArray[np.bool_], facts: SceneFacts) -> None:
    """Make pixels nodata, in place; a file's mask is left to its writer.

    Args:
        out: (bands, rows, width).
        where: bool (rows, width).
    """
    if not where.any():
        return
    if facts.alpha is not None:
        out[facts.alpha][where] = 0
    if facts.nodata is not None:  # beside alpha, too: GDAL asks for the value first
        for band in facts.restored:
            out[band][where] = facts.nodata


def _restored_dn(
    dn: NDArray[Any],
    change: Floats,
    weight: Floats,
    radiometry: Radiometry,
    nodata: float | None,
) -> NDArray[Any]:
    """Return the restored DN of some pixels of a band, (count,).

    The network saw DN clipped to the model range. If the restored value lies at the end where the
    DN was clipped, the clipped part is added again. So a change of 0 returns the DN bit for bit.
    Farther from that end less is added: a cloud of DN 9000 must not shine through.
    """
    exact = dn.astype(np.float64)
    seen = radiometry.to_model(dn)
    ground = radiometry.without_haze(seen)
    restored = np.clip(ground + change, 0, 1)
    span = np.float64(radiometry.span)
    step = (restored - ground) * span
    darkest, brightest = radiometry.black, radiometry.black + radiometry.span
    if dn.size and not (dn.min() >= darkest and dn.max() <= brightest):
        beyond = exact - np.clip(exact, darkest, brightest)
        distance = np.where(beyond > 0, 1 - restored, restored)  # from that end of the range
        step -= beyond * np.clip(distance / _EDGE, 0, 1)
    step *= weight
    if radiometry.haze:
        step += (ground - seen) * span
    return as_dtype(exact + step, dn.dtype, nodata)
