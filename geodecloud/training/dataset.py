"""Clear tiles for training: EuroSAT as people have it, and tiles cut from clear scenes."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from geodecloud.errors import DataError
from geodecloud.radiometry import eurosat_to_model, model_to_eurosat
from geodecloud.scene import open_scene, scene_radiometry
from geodecloud.training.augment import augment
from geodecloud.training.clouds import draw_uniforms

TILE = 64  # pixels on a side of a EuroSAT tile
SPLIT_SEED = 231  # as in the article
TRAINING_SHARE = 0.7  # as in the article
_AUGMENT = 1_000_003  # keeps the augmentation's random stream apart from the clouds'


@dataclass(frozen=True)
class Tiles:
    """Clear tiles in memory.

    pixels: uint8 (count, 3, 64, 64) in EuroSAT's 8-bit radiometry.
    names: where each tile comes from, ``Class/File.jpg`` for EuroSAT.
    """

    pixels: NDArray[np.uint8]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def digest(self) -> str:
        """SHA-256 of names and pixels: the same for the same training data."""
        sha = hashlib.sha256("\n".join(self.names).encode())
        sha.update(self.pixels.data)
        return sha.hexdigest()


def load_eurosat(root: Path, *, held_out: bool = False, limit: int | None = None) -> Tiles:
    """The training 70 % of EuroSAT, or the held-out 30 %, by a split with a fixed seed.

    Args:
        root: a folder or zip whose deepest folders are the classes with their JPEG tiles.
        held_out: the other part of the split.
        limit: at most so many, evenly spread over the part.

    Raises:
        DataError: no tiles there, or one is damaged or of another size.
    """
    found = sorted(_images(root))
    if not found:
        raise DataError(f"{root}: no JPEG tiles in it; give the EuroSAT folder or its zip")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(found))
    cut = round(TRAINING_SHARE * len(found))
    part = order[cut:] if held_out else order[:cut]
    if limit is not None and limit < len(part):
        part = part[np.linspace(0, len(part) - 1, limit).astype(int)]
    names = [found[i] for i in sorted(part)]
    pixels = np.empty((len(names), 3, TILE, TILE), np.uint8)
    for i, data in enumerate(tqdm(_read(root, names), "tiles", len(names), leave=False)):
        pixels[i] = _decode(data, f"{root}/{names[i]}")
    return Tiles(pixels, tuple("/".join(PurePosixPath(n).parts[-2:]) for n in names))


def _images(root: Path) -> list[str]:
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; give the EuroSAT folder or its zip")
    if root.is_dir():
        names = [p.relative_to(root).as_posix() for p in root.rglob("*")]
    else:
        try:
            names = zipfile.ZipFile(root).namelist()
        except zipfile.BadZipFile as error:
            raise DataError(f"{root}: neither a folder nor a zip file") from error
    return [n for n in names if n.lower().endswith((".jpg", ".jpeg"))]


def _read(root: Path, names: list[str]) -> Iterator[bytes]:
    if root.is_dir():
        yield from ((root / name).read_bytes() for name in names)
        return
    with zipfile.ZipFile(root) as archive:
        yield from (archive.read(name) for name in names)


def _decode(data: bytes, where: str) -> NDArray[np.uint8]:
    try:
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError) as error:
        raise DataError(f"{where}: damaged picture ({error})") from error
    if picture.shape != (TILE, TILE, 3):
        raise DataError(f"{where}: {picture.shape[1]}x{picture.shape[0]} pixels, not {TILE}x{TILE}")
    return picture.transpose(2, 0, 1)


def tiles_from_scenes(folder: Path) -> Tiles:
    """Cut clear scenes, Sentinel-2 or any other with red, green and blue, into tiles.

    Tiles lie side by side; one that touches nodata is left out. The scene's own radiometry
    applies, as when it is restored.

    Raises:
        DataError: no GeoTIFF there, or no whole tile in them.
    """
    pixels, names = [], []
    for path in sorted(folder.glob("*.tif")):
        with open_scene(path) as scene:
            radiometry = scene_radiometry(scene, None, None)
            height, width = scene.shape
            for top in range(0, height - TILE + 1, TILE):
                dn, valid = scene.read(top, top + TILE)
                row = model_to_eurosat(radiometry.to_network(radiometry.to_model(dn[scene.rgb])))
                for left in range(0, width - TILE + 1, TILE):
                    if valid[:, left : left + TILE].all():
                        pixels.append(row[:, :, left : left + TILE])
                        names.append(f"{path.name}@{top},{left}")
    if not pixels:
        raise DataError(f"{folder}: no tile of {TILE}x{TILE} valid pixels in any .tif in it")
    return Tiles(np.stack(pixels), tuple(names))


def join(first: Tiles, second: Tiles) -> Tiles:
    """The tiles of both."""
    return Tiles(np.concatenate([first.pixels, second.pixels]), first.names + second.names)


def batches(
    tiles: Tiles, seed: int, batch_size: int, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches from step ``start`` on: clear tiles and the uniforms for their clouds.

    Yields:
        clear: float32 (batch_size, 3, 64, 64) in model range, augmented.
        uniforms: float32 (batch_size, clouds.UNIFORMS).

    What a tile looks like in an epoch depends on (seed, epoch, tile) only.
    """
    if len(tiles) < batch_size:
        raise DataError(f"{len(tiles)} tiles are fewer than one batch of {batch_size}")
    per_epoch = len(tiles) // batch_size
    step = start
    while True:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(tiles))
        items = order[position * batch_size : (position + 1) * batch_size].tolist()
        clear = torch.from_numpy(eurosat_to_model(tiles.pixels[items]))
        yield (
            augment(clear, draw_uniforms(seed + _AUGMENT, epoch, items)),
            draw_uniforms(seed, epoch, items),
        )
        step += 1
