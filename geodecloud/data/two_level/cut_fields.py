"""Cut real cloud fields from a pair of scenes: the same area under cloud, and clear.

    cloudy = (1 - field) * ground + field * white      in each band

is solved for the field, which over dark ground is the light that cloud adds. Cloud brightens every
band; a change of the ground seldom does. So a pixel takes the least field of its three bands.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geodecloud.data.two_level.cloud_fields import CLOUD
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

_WHITE = 0.7 / MODEL_WHITE  # light of opaque cloud in model range: reflectance 0.7
# Upper bounds of sea (also turbid) and forest in L1C: red, green and blue in model range.
_DARK = np.array((0.35, 0.45, 0.55), np.float32)[:, None, None]
_DARK_FRACTION = 0.95  # least fraction of a piece's pixels that are valid, and that are dark
_RESIDUE = 0.016  # a field below it is a change of the ground; from twice as much on, cloud
_CLOUD_FRACTION = 0.01  # least fraction of a piece's pixels that have cloud


@dataclass(frozen=True)
class Pair:
    """A cloudy and a clear scene on one grid, and the radiometry of both, in this order."""

    cloudy: Scene
    clear: Scene
    radiometry: tuple[Radiometry, Radiometry]

    def read(self, top: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Read 512 rows of both scenes.

        Returns:
            cloudy, clear: float32 (3, 512, width), model range, also beyond 1.
            valid: bool (512, width), in both.
        """
        lights, valid = [], []
        for scene, radiometry in zip((self.cloudy, self.clear), self.radiometry, strict=True):
            dn, is_valid = scene.read(top, top + SIDE)
            lights.append(np.where(is_valid, radiometry.unclipped(dn[scene.rgb]), 0))
            valid.append(is_valid)
        return lights[0], lights[1], valid[0] & valid[1]

    @property
    def white(self) -> float:
        """Light of opaque cloud in model range: reflectance 0.7, or the end of 8 bits."""
        if self.cloudy.dtype != np.uint8:
            return _WHITE
        return min(_WHITE, (255 - self.radiometry[0].black) / self.radiometry[0].span)


class Piece(NamedTuple):
    """A part of a pair, 512x512 pixels.

    top, left: its first row and column in the cloudy scene.
    field: uint8 (512, 512), 255 times the cloud field; None: the piece is left out.
    reason: of leaving it out, in words.
    """

    top: int
    left: int
    field: NDArray[np.uint8] | None
    reason: str = ""


def write_cloud_fields(
    cloudy: Path,
    clear: Path,
    out: Path,
    reading: Reading,
    *,
    form: Form,
    overwrite: bool,
    progress: Callable[[int, int], None],
) -> tuple[list[Path], Counter[str]]:
    """Write the cloud fields of a pair as grey 8-bit pictures of 512x512.

    Args:
        cloudy, clear: scenes of one area; where both are georeferenced, the clear one is warped to
            the grid of the cloudy one.
        out: folder, made if it does not exist. Files are named ``CLOUDY_TOP_LEFT.png``, after the
            scene and the field's first row and column.
        reading: reading options of both scenes.
        form: format of the pictures; WebP is lossless.
        overwrite: overwrite fields of the same names.
        progress: called with (rows done, rows in all).

    Returns:
        The paths of the pictures; the number of pieces left out, by reason.

    Raises:
        DataError: no piece holds cloud over dark ground.
        OutputError: ``out`` holds fields of this scene already, or cannot be written.
        SceneError: a scene cannot be read or is smaller than 512x512, or the scenes do not match.
    """
    name = re.compile(rf"{re.escape(cloudy.stem)}_\d{{5,}}_\d{{5,}}")
    older = [path for path in out.glob(f"*.{form}") if name.fullmatch(path.stem)]
    if older and not overwrite:
        raise OutputError(f"{older[0]}: exists already; give `overwrite` to replace it")
    written, left_out = [], Counter[str]()
    for piece in _pieces_of(cloudy, clear, reading, progress):
        if piece.field is None:
            left_out[piece.reason] += 1
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
    """Return the number of pieces left out, by reason, as text."""
    counts = (f"{count} {reason}" for reason, count in left_out.items())
    return ", ".join(counts) or "none were left out"


def cut_pieces(
    cloudy: Floats, clear: Floats, valid: NDArray[np.bool_], white: float
) -> Iterator[Piece]:
    """Cut 512 rows of a pair into pieces that cover the width with the least overlap.

    Args:
        cloudy, clear: float32 (3, 512, width), model range.
        valid: bool (512, width), in both.
        white: light of opaque cloud, model range.
    """
    field = cloud_field(cloudy, clear, white) * valid
    dark = np.all(clear < _DARK, axis=0)
    for left in _starts(field.shape[1]):
        piece = np.s_[:, left : left + SIDE]
        if valid[piece].mean() < _DARK_FRACTION:
            reason = "with nodata"
        elif dark[piece].mean() < _DARK_FRACTION:
            reason = "over bright ground"
        elif (field[piece] > CLOUD).mean() < _CLOUD_FRACTION:
            reason = "without cloud"
        else:
            yield Piece(0, left, np.rint(field[piece] * 255).astype(np.uint8))
            continue
        yield Piece(0, left, None, reason)


def cloud_field(cloudy: Floats, clear: Floats, white: float) -> Floats:
    """Return the cloud field of a pair, 0..1: float32 (3, H, W) each -> (H, W).

    Args:
        cloudy, clear: model range.
        white: light of opaque cloud, model range.
    """
    headroom = np.maximum(np.float32(white) - clear, 0.1)
    field = ((cloudy - clear) / headroom).min(axis=0)
    confidence = np.clip((field - _RESIDUE) / _RESIDUE, 0, 1)
    bounded: Floats = np.clip(field, 0, 1) * confidence
    return bounded


def _pieces_of(
    cloudy: Path, clear: Path, reading: Reading, progress: Callable[[int, int], None]
) -> Iterator[Piece]:
    """Open a pair and yield its pieces from the top down."""
    # Radiometry that contradicts the pixels is no error: cloud may cover nearly all of the scene.
    tolerant = replace(reading, force=True, keep_haze=True)
    with (
        open_scene(cloudy, reading=reading) as seen,
        open_scene(clear, reading=reading) as ground,
        aligned(ground, seen) as warped,
    ):
        rows, columns = seen.shape
        if min(rows, columns) < SIDE:
            raise SceneError(f"{cloudy}: {columns}x{rows} pixels; give at least {SIDE}x{SIDE}")
        pair = Pair(seen, warped, (calibrate(seen, tolerant), calibrate(ground, tolerant)))
        for top in _starts(rows):
            for piece in cut_pieces(*pair.read(top), pair.white):
                yield piece._replace(top=top)
            progress(top + SIDE, rows)


def _starts(length: int) -> list[int]:
    """Return the first pixels of the pieces that cover a length with the least overlap."""
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
