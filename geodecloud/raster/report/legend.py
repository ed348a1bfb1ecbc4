"""Show the provenance codes with their colours and their fractions of the pixels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from geodecloud.raster.provenance import PALETTE, RESTORED, Provenance, legend
from geodecloud.raster.report.html import as_text, percent
from geodecloud.raster.style import Colour


def _groups(codes: NDArray[np.int64]) -> Iterator[tuple[str, str, str, float]]:
    """Yield codes, their meaning, CSS colour, and fraction of the pixels with data."""
    valid = max(int(codes.sum() - codes[Provenance.NODATA]), 1)
    for numbers, meaning in legend().items():
        first, _, last = numbers.partition("-")
        span = slice(int(first), int(last or first) + 1)
        yield numbers, meaning, _colour(int(first)), int(codes[span].sum()) / valid


def _colour(code: int) -> str:
    if code == Provenance.MEASURED:
        return "var(--measured)"
    if code == RESTORED[0]:
        return f"linear-gradient(to right, {_css(PALETTE[code])}, {_css(PALETTE[RESTORED[-1]])})"
    return _css(PALETTE[code])


def _css(colour: Colour) -> str:
    return f"rgb{colour[:3]}"


def legend_of(codes: NDArray[np.int64]) -> str:
    """Return the rows of the legend.

    Args:
        codes: int64 (256,), number of pixels of each code.
    """
    rows = []
    for numbers, meaning, colour, share in _groups(codes):
        swatch = f'<span class="swatch" style="background:{colour}"></span>'
        shown = "" if numbers == str(Provenance.NODATA.value) else percent(share)
        none = "" if share else ' class="none"'
        rows.append(
            f'<tr{none}><td>{swatch}</td><th scope="row">{numbers}</th>'
            f"<td>{as_text(meaning)}</td><td>{shown}</td></tr>"
        )
    return "\n".join(rows)


def bar_of(codes: NDArray[np.int64]) -> str:
    """Return a bar divided in proportion to the codes' pixels, without nodata."""
    return "".join(
        f'<span style="flex:{share:.6f};background:{colour}" title="{as_text(meaning)}"></span>'
        for numbers, meaning, colour, share in _groups(codes)
        if share and numbers != str(Provenance.NODATA.value)
    )


def ramp_of(colour: Colour) -> str:
    """Return the colour key of a layer in percent."""
    return (
        ' <span class="ramp" aria-hidden="true">0 <span style="background:linear-gradient('
        f'to right, transparent, {_css(colour)})"></span> 100 %</span>'
    )
