"""Where the tiles of a run come from."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from geodecloud.data.eurosat import SPLIT_SEED, load_eurosat
from geodecloud.data.scene_tiles import tiles_from_scenes
from geodecloud.data.tiles import OnBad, Tiles, join


@dataclass(frozen=True)
class Data:
    """The tiles of a run.

    Args:
        training: to train on.
        held_out: to validate on.
        about: where they come from, for the model file.
    """

    training: Tiles
    held_out: Tiles
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """What the tiles are read from.

    Args:
        eurosat: folder or zip.
        scenes: folder of clear GeoTIFFs for more training tiles.
        classes: only these of EuroSAT's land-cover classes; none: all.
        on_bad: "error", or "skip" to leave out and count what cannot be read.
        scale, offset: of the scenes, as for restoring; None: as each says.
    """

    eurosat: Path
    scenes: Path | None = None
    classes: tuple[str, ...] = ()
    on_bad: OnBad = "error"
    scale: float | None = None
    offset: float | None = None

    def read(self, validation_tiles: int, split_seed: int = SPLIT_SEED) -> Data:
        """The training 70 % of EuroSAT with the tiles of the scenes, and some of the other 30 %.

        Raises:
            DataError: there are none, or one cannot be read.
        """
        load = partial(
            load_eurosat, self.eurosat, classes=self.classes, on_bad=self.on_bad, seed=split_seed
        )
        training = load()
        about: dict[str, Any] = {"eurosat_tiles": len(training), "split_seed": split_seed}
        if self.classes:
            about["classes"] = list(self.classes)
        if self.scenes:
            cut = tiles_from_scenes(
                self.scenes, on_bad=self.on_bad, scale=self.scale, offset=self.offset
            )
            about["scene_tiles"] = len(cut)
            training = join(training, cut)
        if training.skipped:
            about["skipped"] = len(training.skipped)
        return Data(training, load(held_out=True, limit=validation_tiles), about)
