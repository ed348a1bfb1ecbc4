"""Count the pixels and windows of a run: what was changed, and how."""

from dataclasses import asdict, dataclass

import numpy as np

from geodecloud.raster.provenance import REFERENCES, Provenance, among
from geodecloud.raster.rows import Rows, given


@dataclass(frozen=True)
class Counts:
    """Pixels and windows of rows, or of a whole scene.

    valid: pixels with data.
    changed: of these, pixels that are not as measured: restored, relit, filled, from a reference,
        or cloud made nodata.
    filled: pixels with the colour of the land around.
    referenced: pixels from a reference.
    relit: pixels in a cloud's shadow that became brighter.
    windows, windows_skipped: all windows; those without data, or where the gate is closed, which
        the network did not compute.
    """

    valid: int = 0
    changed: int = 0
    filled: int = 0
    referenced: int = 0
    relit: int = 0
    windows: int = 0
    windows_skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(sum, zip(asdict(self).values(), asdict(other).values(), strict=True)))

    @property
    def changed_fraction(self) -> float:
        """Fraction of the valid pixels that are not as measured."""
        return self.changed / max(self.valid, 1)

    @property
    def invented_fraction(self) -> float:
        """Fraction of the valid pixels that are filled with the colour of the land around.

        The network computes restored and relit pixels from the ground that is visible there, so
        they are changed, not invented.
        """
        return self.filled / max(self.valid, 1)

    @property
    def reference_fraction(self) -> float:
        """Fraction of the valid pixels that come from a reference."""
        return self.referenced / max(self.valid, 1)

    @property
    def shadow_fraction(self) -> float:
        """Fraction of the valid pixels that are relit in a cloud's shadow."""
        return self.relit / max(self.valid, 1)

    def fractions(self) -> dict[str, float]:
        """Return all fractions by name; ``changed_fraction`` contains the others."""
        kinds = ("changed", "invented", "reference", "shadow")
        return {name: getattr(self, name) for name in map("{}_fraction".format, kinds)}


def count(rows: Rows, rgb: list[int]) -> Counts:
    """Count the pixels and windows of rows.

    Args:
        rgb: indices of red, green and blue among the bands.
    """
    counts = Counts(
        valid=int(np.count_nonzero(rows.valid)),
        windows=rows.windows,
        windows_skipped=rows.windows_skipped,
    )
    for columns in rows.changing:
        provenance, valid = given(rows.provenance)[:, columns], rows.valid[:, columns]
        kept = among(provenance, (Provenance.MEASURED, Provenance.CLOUD_KEPT))
        beyond = provenance == Provenance.BEYOND_LIMIT
        if beyond.any():
            out, dn = given(rows.out)[rgb, :, columns], rows.dn[rgb, :, columns]
            kept |= beyond & (out == dn).all(axis=0)
        counts += Counts(
            changed=int(np.count_nonzero(valid & ~kept)),
            filled=int(np.count_nonzero(provenance == Provenance.FILLED)),
            referenced=int(np.count_nonzero(among(provenance, REFERENCES))),
            relit=int(np.count_nonzero(provenance == Provenance.SHADOW)),
        )
    return counts
