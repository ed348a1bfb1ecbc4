"""Declare how often each cloud and each change of a clear tile occurs in training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from geodecloud.errors import ConfigError
from geodecloud.model.config import require_fractions


@dataclass(frozen=True)
class CloudMix:
    """Fractions of the tiles under each of the ``KINDS`` of cloud; they add up to 1."""

    none: float = 0.30
    haze: float = 0.20
    veil: float = 0.20
    cirrus: float = 0.08
    cumulus: float = 0.16
    deck: float = 0.06

    def __post_init__(self) -> None:
        total = sum(dataclasses.astuple(self))
        if not abs(total - 1) <= 1e-6 or min(dataclasses.astuple(self)) < 0:
            raise ConfigError(
                f"[clouds] fractions add up to {total:g}: give fractions of 0 or more "
                "that add up to 1"
            )

    @classmethod
    def only(cls, kind: str) -> CloudMix:
        """Return a mix that puts every tile under this kind of cloud."""
        return cls(**{one.name: float(one.name == kind) for one in dataclasses.fields(cls)})


@dataclass(frozen=True)
class Augmentation:
    """Fractions of the tiles that each change happens to; see :mod:`geodecloud.data.augment`."""

    turned: float = 1.0  # rotated by quarter turns and mirrored
    colours: float = 1.0  # other sun, soil, sensor and path radiance
    patches: float = 0.2  # smooth patches of another colour: turbid water, soil, crops
    sand: float = 0.1  # bright bare ground in patches
    pale: float = 0.6  # of the tiles of water: turbid, shallow or glittering
    shores: float = 0.1  # water along a winding line
    airless: float = 0.2  # path radiance removed, as in L2A
    pictures: float = 0.25  # contrast-stretched, as 8-bit pictures are
    coarse: float = 0.2  # four tiles as one of half the resolution
    fine: float = 0.1  # a quarter of a tile at twice the resolution

    def __post_init__(self) -> None:
        require_fractions(self, "augmentation", *dataclasses.asdict(self))
