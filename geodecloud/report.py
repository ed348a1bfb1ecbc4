"""What a run says of itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodecloud.radiometry import Radiometry
from geodecloud.raster.provenance import Provenance
from geodecloud.restore.rows import Finished


@dataclass
class Report:
    """What was done, in pixels and windows; seconds of wall time."""

    src: Path
    dst: Path
    height: int
    width: int
    bands: tuple[int, int, int]
    radiometry: Radiometry
    windows: int = 0
    windows_skipped: int = 0
    valid: int = 0
    changed: int = 0
    filled: int = 0
    referenced: int = 0
    seconds: float = 0.0

    @property
    def changed_fraction(self) -> float:
        """Of the valid pixels, those that are not as measured."""
        return self.changed / max(self.valid, 1)

    @property
    def invented_fraction(self) -> float:
        """Of the valid pixels, those filled under opaque cloud with the colour of the land."""
        return self.filled / max(self.valid, 1)

    @property
    def reference_fraction(self) -> float:
        """Of the valid pixels, those from a reference: measured, but on another date."""
        return self.referenced / max(self.valid, 1)

    def fractions(self) -> dict[str, float]:
        """All of them by name; the last two are parts of the first."""
        return {
            "changed_fraction": self.changed_fraction,
            "invented_fraction": self.invented_fraction,
            "reference_fraction": self.reference_fraction,
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "src": str(self.src),
            "dst": str(self.dst),
            "width": self.width,
            "height": self.height,
            "bands": list(self.bands),
            "scale": self.radiometry.scale,
            "offset": self.radiometry.offset,
            "radiometry": self.radiometry.origin,
            "veil": round(self.radiometry.haze, 3),
            "windows": self.windows,
            "windows_skipped": self.windows_skipped,
            "seconds": round(self.seconds, 3),
            **self.fractions(),
        }

    def count(self, rows: Finished) -> None:
        """Add finished rows."""
        marks, rgb = rows.provenance, [band - 1 for band in self.bands]
        kept = marks == Provenance.MEASURED
        beyond = marks == Provenance.BEYOND_LIMIT
        if beyond.any():
            kept |= beyond & (rows.after[rgb] == rows.before[rgb]).all(axis=0)
        self.valid += int(rows.valid.sum())
        self.changed += int((rows.valid & ~kept).sum())
        self.filled += int((marks == Provenance.FILLED).sum())
        referenced = (marks >= Provenance.REFERENCE) & (marks != Provenance.NODATA)
        self.referenced += int(referenced.sum())
