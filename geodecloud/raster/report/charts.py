"""Draw histograms as SVG, in the colours of the page's style."""

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.bands import COLOURS

_BINS = 64
_WIDTH, _HEIGHT = 256, 110  # of a chart, in units of its own


def histograms(counts: NDArray[np.int64]) -> str:
    """Return a chart for each of red, green and blue: before as a line, after as an area.

    Args:
        counts: (2, 3, 256), before and after; red, green, blue; 8-bit values.
    """
    binned = counts.reshape(2, 3, _BINS, -1).sum(axis=3)
    shares = binned / np.maximum(counts.sum(axis=2), 1)[..., None]
    inner = shares[..., 1:-1]  # the first and last bins also hold values beyond the range
    top = max(float(inner.max()), 1e-9)
    return "\n".join(
        _chart(colour, *np.minimum(shares[:, i] / top, 1)) for i, colour in enumerate(COLOURS)
    )


def _chart(colour: str, before: NDArray[np.float64], after: NDArray[np.float64]) -> str:
    label = f"Histogram of {colour}: the line is before, the area is after"
    return (
        f'<figure class="chart {colour}"><svg viewBox="0 -4 {_WIDTH} {_HEIGHT + 6}" role="img" '
        f'aria-label="{label}" preserveAspectRatio="none">'
        f'<path class="after" d="{_steps(after)}V{_HEIGHT}H0Z"/>'
        f'<path class="before" d="{_steps(before)}"/>'
        f'<path class="axis" d="M0 {_HEIGHT}H{_WIDTH}"/></svg>'
        f"<figcaption><span>0</span><span>{colour}</span><span>0.275</span></figcaption></figure>"
    )


def _steps(heights: NDArray[np.float64]) -> str:
    """Return the SVG path of a step line from left to right."""
    wide = _WIDTH // _BINS
    tops = [f"{_HEIGHT * (1 - height):.1f}" for height in heights]
    return f"M0 {tops[0]}" + "".join(f"V{top}h{wide}" for top in tops)
