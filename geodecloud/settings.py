"""What may be chosen for a scene."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from geodecloud.raster.profile import GTIFF, Form
from geodecloud.restore.blend import Ramp
from geodecloud.restore.composite import Rule
from geodecloud.restore.memory import Limits
from geodecloud.restore.windows import Grid


@dataclass(frozen=True)
class Settings:
    """What may be chosen for a scene; the defaults suit Sentinel-2.

    bands: of red, green and blue, from 1; None: found by description or colour.
    scale, offset: reflectance = (DN + offset) / scale; None: as the file or its dtype suggests.
    keep_veil: leave an even veil over a whole 8-bit picture, as a mask does anyway; see
        :func:`geodecloud.radiometry.uniform_haze`.
    mask, mask_values: where alone clouds are removed, see :func:`geodecloud.raster.mask.open_mask`.
    aoi, resolution, allow_network: see :func:`geodecloud.raster.scene.open_scene`.
    references: other dates of the same place, to fill opaque pixels from; the first counts most.
    provenance, preview: where to write them, if anywhere.
    form: of the output and of the provenance.
    limits: of threads and memory.
    stac: whether to write a STAC item beside the output, as ``DST.json`` without its suffix.
    """

    bands: tuple[int, int, int] | None = None
    scale: float | None = None
    offset: float | None = None
    grid: Grid = field(default_factory=Grid)
    ramp: Ramp = "cosine"
    rule: Rule = field(default_factory=Rule)
    references: tuple[Path, ...] = ()
    keep_veil: bool = False
    mask: Path | str | None = None
    mask_values: tuple[int, ...] | None = None
    aoi: str | Path | None = None
    resolution: int | None = None
    allow_network: bool = False
    form: Form = GTIFF
    limits: Limits = field(default_factory=Limits)
    stac: bool = False
    provenance: Path | str | None = None
    preview: Path | str | None = None
    overwrite: bool = False

    def to_json(self) -> str:
        """What has a part in the output's pixels, for its tags."""
        facts = {
            "window": self.grid.size,
            "overlap": self.grid.overlap,
            "ramp": self.ramp,
            **asdict(self.rule),
            "references": [path.name for path in self.references] or None,
            "keep_veil": self.keep_veil or None,
            "mask": Path(self.mask).name if self.mask else None,
            "mask_values": self.mask_values,
            "aoi": str(self.aoi) if self.aoi else None,
            "resolution": self.resolution,
        }
        return json.dumps({name: value for name, value in facts.items() if value is not None})
