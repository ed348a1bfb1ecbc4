"""List the images of a folder to score, and match them with those of another folder."""

from collections.abc import Sequence
from pathlib import Path

from geodecloud.errors import DataError
from geodecloud.raster.grid import Grid, grids_match

_TOLERANCE = 0.5  # largest distance in pixels between the corners of files that are compared


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files of a folder with one of the suffixes, by stem, in the order of their names.

    Raises:
        DataError: there is no such folder, or two files have the same stem.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of {', '.join(suffixes)} files")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise DataError(f"{path}: {found[path.stem].name} has the same stem; remove one")
            found[path.stem] = path
    return found


def refuse_other_grid(path: Path, grid: Grid, other: Path, wanted: Grid) -> None:
    """Refuse a file whose pixels lie elsewhere than those of the other file.

    Raises:
        DataError: the grids differ.
    """
    if not grids_match(grid, wanted, tolerance=_TOLERANCE):
        raise DataError(f"{path}: not on the grid of {other}; warp one with gdalwarp")
