"""Find and read EuroSAT in a folder or zip, as JPEG or GeoTIFF, and split it."""

import difflib
import functools
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from geodecloud.data.decode import decode_jpeg, decode_multispectral
from geodecloud.data.tiles import TILE, BadFiles, OnBad, Tiles
from geodecloud.errors import DataError, UsageError

SPLIT_SEED = 231  # as in the article
# Number of tiles of each class as published (Helber et al. 2019), like Forest/Forest_1 to
# Forest/Forest_3000.
_PUBLISHED = {
    **dict.fromkeys(("AnnualCrop", "Forest", "HerbaceousVegetation"), 3000),
    **dict.fromkeys(("Residential", "SeaLake"), 3000),
    **dict.fromkeys(("Highway", "Industrial", "PermanentCrop", "River"), 2500),
    "Pasture": 2000,
}
TRAINING_FRACTION = 0.7  # as in the article
JPEG, MULTISPECTRAL = (".jpg", ".jpeg"), (".tif", ".tiff")
# Resource forks of macOS, and cloudy tiles that ``geodecloud prepare`` has made.
_IGNORED = {"__MACOSX", "all_inputs"}

_Name = tuple[str, str]  # land cover and stem of a tile, like Forest and Forest_1


class TileFile(NamedTuple):
    """The file of one tile; files sort by (land_cover, stem), whatever their format.

    path: inside the folder or zip, with slashes.
    """

    land_cover: str
    stem: str
    path: str

    @property
    def name(self) -> str:
        """Name with its class, like ``Forest/Forest_1.jpg``."""
        return f"{self.land_cover}/{PurePosixPath(self.path).name}"

    @property
    def is_jpeg(self) -> bool:
        """True for a JPEG, False for a multispectral GeoTIFF."""
        return self.path.lower().endswith(JPEG)


class ReadTile(NamedTuple):
    """A tile with the bytes of its file and its pixels, uint8 (3, 64, 64)."""

    file: TileFile
    data: bytes
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class EuroSAT:
    """The files of EuroSAT.

    root: the folder or zip that holds the files.
    files: all files, sorted.
    """

    root: Path
    files: tuple[TileFile, ...]

    def part(
        self, *, held_out: bool, classes: Sequence[str] = (), seed: int = SPLIT_SEED
    ) -> list[TileFile]:
        """Return one part of the split: published tiles, then others, each in random order.

        The split is drawn over all tiles that were published, and apart over all other files. So
        a tile is in the same part whatever the classes, and a published one also where tiles are
        missing, or other files are there.

        Args:
            classes: return these land-cover classes only; none: all.

        Raises:
            DataError: there is no such class.
        """
        known = sorted({file.land_cover for file in self.files})
        for wanted in classes:
            if wanted not in known:
                near = difflib.get_close_matches(wanted, known, n=1, cutoff=0)[0]
                raise DataError(
                    f"{self.root}: no class {wanted!r}; did you mean {near!r}? "
                    f"the classes are {', '.join(known)}"
                )
        files = {(file.land_cover, file.stem): file for file in self.files}
        published = _published()
        others = sorted(files.keys() - set(published))
        part = [*_part(published, held_out, seed), *_part(others, held_out, seed)]
        present = [files[name] for name in part if name in files]
        return [file for file in present if not classes or file.land_cover in classes]

    def read(self, files: Sequence[TileFile], bad: BadFiles) -> Iterator[ReadTile]:
        """Read the files that are not damaged, under a progress bar."""
        source = self.root if self.root.is_dir() else zipfile.ZipFile(self.root)
        with source if isinstance(source, zipfile.ZipFile) else nullcontext():
            for file in tqdm(files, "tiles", leave=False, disable=None):
                name = f"{self.root}/{file.path}"
                with bad.tolerated(name):
                    data = _read(source, file.path, name)
                    pixels = (decode_jpeg if file.is_jpeg else decode_multispectral)(data, name)
                    yield ReadTile(file, data, pixels)
        bad.report(self.root)


def load_eurosat(
    root: Path,
    *,
    held_out: bool = False,
    limit: int | None = None,
    classes: Sequence[str] = (),
    on_bad: OnBad = "error",
    seed: int = SPLIT_SEED,
) -> Tiles:
    """Read the training 70 % of EuroSAT, or the held-out 30 %.

    Args:
        root: see :func:`find_eurosat`.
        limit: read at most so many tiles, evenly spread over the part.
        classes: read these land-cover classes only; none: all.
        on_bad: treatment of a tile that is damaged or of another size: "error", or "skip" it.

    Raises:
        DataError: there are no tiles, a tile is bad, or a class does not exist.
        UsageError: ``limit`` is less than 1.
    """
    source = find_eurosat(root)
    files = sorted(spread(source.part(held_out=held_out, classes=classes, seed=seed), limit))
    bad = BadFiles(on_bad)
    pixels = np.empty((len(files), 3, TILE, TILE), np.uint8)
    names: list[str] = []
    for tile in source.read(files, bad):
        pixels[len(names)] = tile.pixels
        names.append(tile.file.name)
    if not names:
        part = "held-out" if held_out else "training"
        damaged = f" ({len(bad.names)} are damaged)" if bad.names else ""
        raise DataError(f"{root}: no good tile in the {part} part{damaged}; give more tiles")
    return Tiles(pixels[: len(names)], tuple(names), tuple(bad.names))


def _part(names: Sequence[_Name], held_out: bool, seed: int) -> list[_Name]:
    """Return one part of the split of these names, in random order."""
    order = np.random.default_rng(seed).permutation(len(names))
    cut = round(TRAINING_FRACTION * len(names))
    return [names[i] for i in (order[cut:] if held_out else order[:cut])]


@functools.cache
def _published() -> tuple[_Name, ...]:
    """Return class and stem of all published tiles, sorted as the files are."""
    names = (
        (land_cover, f"{land_cover}_{number}")
        for land_cover, count in _PUBLISHED.items()
        for number in range(1, count + 1)
    )
    return tuple(sorted(names))


def spread(files: Sequence[TileFile], limit: int | None) -> list[TileFile]:
    """Return at most ``limit`` of the files, evenly spread; None: all files."""
    if limit is None or limit >= len(files):
        return list(files)
    if limit < 1:
        raise UsageError(f"`limit` is {limit}: give 1 or more")
    return [files[i] for i in np.linspace(0, len(files) - 1, limit).astype(int)]


def find_eurosat(root: Path) -> EuroSAT:
    """Find the tiles of EuroSAT.

    Args:
        root: ``EuroSAT/``, ``2750/``, ``EuroSAT_RGB/``, ``EuroSAT_MS/`` or a folder above, or a
            zip of these, or a folder with such a zip in it. A folder is a class where a file in
            it begins with the folder's name, as ``Forest/Forest_1.jpg``. Where there is no such
            folder, every folder with JPEGs is a class. A tile that is there as JPEG and as
            GeoTIFF counts once, as JPEG.

    Raises:
        DataError: there are no tiles.
    """
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; give the EuroSAT folder or its zip")
    files = _tiles_among(_names(root), root)
    zips = sorted(root.glob("[!.]*.zip")) if root.is_dir() and not files else []
    if len(zips) > 1:
        names = ", ".join(path.name for path in zips)
        raise DataError(f"{root}: holds {names}; name one of them")
    if zips:
        return find_eurosat(zips[0])
    if not files:
        raise DataError(
            f"{root}: holds no JPEG or GeoTIFF tiles; give the EuroSAT folder or its zip "
            "(geodecloud download-eurosat fetches it)"
        )
    return EuroSAT(root, tuple(files))


def _names(root: Path) -> Iterator[str]:
    """Yield the names of all files in a folder or zip, with slashes."""
    if not root.is_dir():
        try:
            with zipfile.ZipFile(root) as archive:
                yield from archive.namelist()
        except zipfile.BadZipFile as error:
            raise DataError(f"{root}: neither a folder nor a zip file ({error})") from error
        return
    seen = set()
    for folder, below, names in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:  # a link in a circle
            below.clear()
            continue
        seen.add(os.path.realpath(folder))
        yield from ((Path(folder) / name).relative_to(root).as_posix() for name in names)


def _tiles_among(names: Iterable[str], root: Path) -> list[TileFile]:
    """Return the tiles among the files, sorted, each once."""
    top = root.resolve().name if root.is_dir() else root.stem
    pictures = []
    for name in names:
        path = PurePosixPath(name)
        hidden = any(part in _IGNORED or part.startswith(".") for part in path.parts)
        if not hidden and path.suffix.lower() in JPEG + MULTISPECTRAL:
            pictures.append(TileFile(path.parent.name or top, path.stem, name))
    folders = {_folder(file) for file in pictures if _bears_its_class(file)}
    files = [f for f in pictures if (_folder(f) in folders if folders else f.is_jpeg)]
    unique = {(f.land_cover, f.stem): f for f in sorted(files, key=lambda f: (f.is_jpeg, f.path))}
    return sorted(unique.values())


def _bears_its_class(file: TileFile) -> bool:
    return file.stem.lower().startswith(file.land_cover.lower() + "_")


def _folder(file: TileFile) -> str:
    return file.path.rpartition("/")[0]


def _read(source: Path | zipfile.ZipFile, path: str, name: str) -> bytes:
    """Read one file of a folder or zip; ``name`` is for messages."""
    try:
        return (source / path).read_bytes() if isinstance(source, Path) else source.read(path)
    except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{name}: cannot be read ({error})") from error
