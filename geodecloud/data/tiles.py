"""Hold clear tiles in memory, and count the files that cannot be read."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import DataError, DataWarning, SceneError, UsageError, counted, warn

log = logging.getLogger("geodecloud")

TILE = 64  # pixels on a side of a EuroSAT tile
OnBad = Literal["error", "skip"]


@dataclass(frozen=True)
class Tiles:
    """Clear tiles in memory.

    pixels: uint8 (count, 3, 64, 64) in EuroSAT's 8-bit radiometry.
    names: of each tile, ``Class/File.jpg`` for EuroSAT.
    skipped: the bad files, which were left out.
    """

    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> str:
        """Return the SHA-256 of names and pixels: the same for the same training data."""
        sha = hashlib.sha256("\n".join(self.names).encode())
        sha.update(self.pixels.data)
        return sha.hexdigest()


def join(first: Tiles, second: Tiles) -> Tiles:
    """Return the tiles of both."""
    return Tiles(
        np.concatenate([first.pixels, second.pixels]),
        first.names + second.names,
        first.skipped + second.skipped,
    )


class BadFiles:
    """Treatment of bad files: the first one raises, or all are left out and counted.

    Args:
        on_bad: "error" or "skip".
    """

    def __init__(self, on_bad: OnBad) -> None:
        if on_bad not in get_args(OnBad):
            raise UsageError(f"`on_bad` is {on_bad!r}: give {' or '.join(get_args(OnBad))}")
        self._raises = on_bad == "error"
        self.names: list[str] = []

    @contextmanager
    def tolerated(self, name: str) -> Iterator[None]:
        """Leave out the file ``name`` if it makes the ``with`` block fail, or pass the error on."""
        try:
            yield
        except (DataError, SceneError) as error:
            if self._raises:
                raise
            self.names.append(name)
            log.info("left out: %s", error)

    def report(self, root: object) -> None:
        """Warn once if any file of ``root`` was left out."""
        if self.names:
            files = counted(len(self.names), "bad file")
            warn(DataWarning, f"{root}: {files} left out, first {self.names[0]}")
