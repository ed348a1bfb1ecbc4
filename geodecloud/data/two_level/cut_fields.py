"""Cut real cloud fields from a pair of scenes: the same place under cloud, and clear.

    cloudy = (1 - field) * ground + field * white      in each band

solved for the field, which over dark ground is the light that cloud adds. Cloud brightens every
band; ground that has changed seldom does. So a pixel's field is that of its least brightened band.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geodecloud.data.two_level.field_bank import SIDE
from geodecloud.errors import DataError, OutputError, SceneError
from geodecloud.radiometry import MODEL_WHITE, Radiometry
from geodecloud.raster.align import aligned
from geodecloud.raster.atomic import atomic_write
from geodecloud.raster.calibration import calibrate
from geodecloud.raster.scene import Scene, open_scene
from geodecloud.settings import Reading

Floats = NDArray[np.float32]
Form = Literal["png", "webp"]

_WHITE = 0.7 / MODEL_WHITE  # model range; light of cloud that hides everything, reflectance 0.7
# Red, green and blue of sea (turbid too) and forest in L1C, model range, at most.
_DARK = np.array((0.35, 0.45, 0.55), np.float32)[:, None, None]
_DARK_FRACTION = 0.95  # of a piece's pixels, at least
_RESIDUE = 0.016  # field; less is ground that changed, and from twice of it on all is cloud
_CLOUD, _CLOUD_FRACTION = 0.05, 0.01  # field of cloud, and of a piece's pixels the least part


@dataclass(frozen=True)
class Pair:
    """A cloudy and a clear scene on one grid, with the radiometry of each."""

    cloudy: Scene
    clear: Scene
    radiometry: tuple[Radiometry, Radiometry]

    def read(self, top: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Read 512 rows: both as float32 (3, 512, width) in model range, beyond 1 too; validity."""
        lights, valid = [], []
        for scene, radiometry in zip((self.cloudy, self.clear), self.radiometry, strict=True):
            dn, there = scene.read(top, top + SIDE)
            light = dn[scene.rgb].astype(np.float32) - np.float32(radiometry.black)
            lights.append(np.where(there, light / np.float32(radiometry.span), 0))
            valid.append(there)
        return lights[0], lights[1], valid[0] & valid[1]

    @property
    def white(self) -> float:
        """Light at which cloud is saturated: reflectance 0.7, or where 8 bits end."""
        if self.cloudy.dtype != np.uint8:
            return _WHITE
        return min(_WHITE, (255 - self.radiometry[0].black) / self.radiometry[0].span)


class Piece(NamedTuple):
    """A part of 512x512 of a pair; without a field, ``why`` says what is the matter."""

    top: int
    left: int
    field: NDArray[np.uint8] | None
    why: str = ""


def write_cloud_fields(
    cloudy: Path,
    clear: Path,
    out: Path,
    reading: Reading,
    *,
    form: Form = "png",
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[list[Path], Counter[str]]:
    """Write the cloud fields of a pair as grey 8-bit pictures of 512x512.

    Args:
        cloudy, clear: scenes of one place; the clear one is warped to the other where both are
            georeferenced.
        out: folder, made if it does not exist; a field is ``CLOUDY_TOP_LEFT.png`` there.
        reading: of both scenes.
        progress: called with (rows done, rows in all).

    Returns:
        The pictures; how many pieces were left out, by reason.

    Raises:
        DataError: no piece holds cloud over dark ground.
        OutputError: ``out`` holds fields of this scene already, or cannot be written.
        SceneError: a scene cannot be read, or the two cannot be laid over each other.
    """
    older = [path for path in out.glob(f"*.{form}") if path.name.startswith(f"{cloudy.stem}_")]
    if older and not overwrite:
        raise OutputError(f"{older[0]}: exists already; `overwrite` replaces it")
    written, left_out = [], Counter[str]()
    for piece in _pieces_of(cloudy, clear, reading, progress):
        if piece.field is None:
            left_out[piece.why] += 1
            continue
        path = out / f"{cloudy.stem}_{piece.top:05d}_{piece.left:05d}.{form}"
        _write(piece.field, path)
        written.append(path)
    if not written:
        raise DataError(
            f"{cloudy}: no cloud over dark ground in it; of its pieces {in_words(left_out)}; "
            "give a cloudy and a clear scene of sea or forest, the cloudy one first"
        )
    return written, left_out


def in_words(left_out: Counter[str]) -> str:
    """Return how many pieces were left out and why, in words."""
    return ", ".join(f"{count} {why}" for why, count in left_out.items()) or "none were left out"


def cut_pieces(
    cloudy: Floats, clear: Floats, valid: NDArray[np.bool_], white: float
) -> Iterator[Piece]:
    """Cut 512 rows of a pair into pieces, which cover the width with the least overlap.

    Args:
        cloudy, clear: float32 (3, 512, width), model range.
        valid: bool (512, width), in both.
        white: model range of cloud that hides everything.
    """
    field = cloud_field(cloudy, clear, white) * valid
    dark = np.all(clear < _DARK, axis=0)
    for left in _starts(field.shape[1]):
        here = np.s_[:, left : left + SIDE]
        if valid[here].mean() < _DARK_FRACTION:
            why = "with nodata"
        elif dark[here].mean() < _DARK_FRACTION:
            why = "over bright ground"
        elif (field[here] > _CLOUD).mean() < _CLOUD_FRACTION:
            why = "without cloud"
        else:
            yield Piece(0, left, np.rint(field[here] * 255).astype(np.uint8))
            continue
        yield Piece(0, left, None, why)


def cloud_field(cloudy: Floats, clear: Floats, white: float) -> Floats:
    """Return the cloud field of a pair, 0..1: float32 (3, H, W) each -> (H, W)."""
    room = np.maximum(np.float32(white) - clear, 0.1)
    field = ((cloudy - clear) / room).min(axis=0)
    certain = np.clip((field - _RESIDUE) / _RESIDUE, 0, 1)
    whole: Floats = np.clip(field, 0, 1) * certain
    return whole


def _pieces_of(
    cloudy: Path, clear: Path, reading: Reading, progress: Callable[[int, int], None]
) -> Iterator[Piece]:
    """Open a pair and yield its pieces from the top down."""
    # A doubtful radiometry is a warning: cloud may cover nearly all of the scene.
    doubt = replace(reading, force=True, keep_haze=True)
    with (
        open_scene(cloudy, reading=reading) as seen,
        open_scene(clear, reading=reading) as ground,
        aligned(ground, seen) as below,
    ):
        rows, columns = seen.shape
        if min(rows, columns) < SIDE:
            raise SceneError(f"{cloudy}: {columns}x{rows} pixels; give at least {SIDE}x{SIDE}")
        pair = Pair(seen, below, (calibrate(seen, doubt), calibrate(ground, doubt)))
        for top in _starts(rows):
            for piece in cut_pieces(*pair.read(top), pair.white):
                yield piece._replace(top=top)
            progress(top + SIDE, rows)


def _starts(length: int) -> list[int]:
    """Return where pieces begin that cover a length with the least overlap."""
    count = -(-length // SIDE)
    return [int(start) for start in np.linspace(0, length - SIDE, count)]


def _write(field: NDArray[np.uint8], path: Path) -> None:
    """Write one field; it appears whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part, part.open("wb") as file:
            Image.fromarray(field).save(file, path.suffix[1:], lossless=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error})") from error
