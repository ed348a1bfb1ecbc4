"""What a run says of itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodecloud.composite import BEYOND, FILLED, MEASURED, NODATA
from geodecloud.radiometry import Radiometry
from geodecloud.second_pass import Finished


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
    seconds: float = 0.0

    @property
    def changed_fraction(self) -> float:
        """Of the valid pixels, those that are not as measured."""
        return self.changed / max(self.valid, 1)

    @property
    def invented_fraction(self) -> float:
        """Of the valid pixels, those filled under opaque cloud, be it from a reference."""
        return self.filled / max(self.valid, 1)

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
            "windows": self.windows,
            "windows_skipped": self.windows_skipped,
            "seconds": round(self.seconds, 3),
            "changed_fraction": self.changed_fraction,
            "invented_fraction": self.invented_fraction,
        }

    def fractions(self) -> dict[str, str]:
        """For the output's tags."""
        return {
            "CHANGED_FRACTION": f"{self.changed_fraction:.6f}",
            "INVENTED_FRACTION": f"{self.invented_fraction:.6f}",
        }

    def count(self, rows: Finished) -> None:
        """Add finished rows."""
        marks = rows.provenance
        self.valid += int(rows.valid.sum())
        self.changed += int((rows.valid & (marks != MEASURED)).sum())
        self.filled += int(((marks >= FILLED) & (marks != BEYOND) & (marks != NODATA)).sum())
