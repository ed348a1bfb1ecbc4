"""Find the scenes that a user names by files, folders, products and globs."""

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from geodecloud.batch.fingerprint import Fingerprint, fingerprint_of
from geodecloud.errors import OutputError, SceneError, UsageError
from geodecloud.raster.source import holds_bands
from geodecloud.settings.parse import is_gdal_name
from geodecloud.settings.text import decode

SCENES = ("*.tif", "*.tiff", "*.SAFE", "*.SAFE.zip", "S2*_MSIL*.zip")  # in a folder
_METADATA = "MTD_MSIL*.xml"  # of a Sentinel-2 product, in its folder


@dataclass(frozen=True)
class FoundScene:
    """A scene that was found.

    name: absolute path of a file or of a product's folder, or a name that only GDAL can open.
    subfolder: path from the folder that was searched to the folder of the scene.
    """

    name: str
    subfolder: Path = Path()

    def fingerprint(self) -> Fingerprint | None:
        """Return the scene's fingerprint; None if there is no such file."""
        return fingerprint_of(Path(self.name))

    @property
    def stem(self) -> str:
        """The scene's name without suffix; for a product's metadata file, the product's."""
        path = Path(self.name)
        path = path.parent if fnmatch(path.name, _METADATA) else path
        if path.is_dir() and path.suffix.upper() != ".SAFE":
            return path.name  # with one file per band; its name may have dots, as HLS has
        return re.sub(r"(\.SAFE)?(\.zip)?$|\.[^.]+$", "", path.name, count=1, flags=re.IGNORECASE)


@dataclass(frozen=True)
class Search:
    """The way folders are searched for scenes.

    out: the folder of the outputs, which is not searched.
    pattern: globs for the names of scenes in a folder, of which one has to match. By default a
        folder with one file per band is a scene, too.
    recursive: search the folders below a folder too.
    """

    out: Path
    pattern: tuple[str, ...] = SCENES
    recursive: bool = False

    def find(self, name: str) -> list[FoundScene]:
        """Return the scenes that a file, folder, product or glob names, sorted by name.

        A missing file is returned like a scene: it fails later, as one scene among others.

        Raises:
            OutputError: the folder is that of the outputs.
        """
        if is_gdal_name(name):
            return [FoundScene(name)]
        path = Path(name).absolute()
        if path.is_dir() and not self._is_scene(path):
            return list(self._in_folder(path))
        if path.exists() or not glob.has_magic(name):
            return [FoundScene(os.path.normpath(path))]
        fixed = _fixed_part(path)
        found: list[FoundScene] = []
        for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207  is absolute
            path = Path(match)
            if self._is_out(path):
                continue
            if path.is_dir() and not self._is_scene(path):
                found += self._in_folder(path, fixed)
            elif not any(is_product(parent) for parent in path.parents):
                found.append(FoundScene(match, path.parent.relative_to(fixed)))
        return found

    def refuse_folders(self, names: Iterable[str]) -> None:
        """Refuse names of missing folders, and of the folder of the outputs, before any work.

        Missing names without a suffix, or that end in a separator, are those of folders.

        Raises:
            SceneError: a folder is missing.
            OutputError: a folder is that of the outputs.
        """
        for name in names:
            path = Path(name)
            if is_gdal_name(name) or glob.has_magic(name):
                continue
            if path.is_dir() and not self._is_scene(path):
                self._refuse_out(path)
            elif not path.exists() and (
                not path.suffix[1:2].isalpha() or name.endswith(("/", os.sep))
            ):
                raise SceneError(f"{name}: no such folder or file; check its path")

    def _refuse_out(self, folder: Path) -> None:
        if self._is_out(folder):
            raise OutputError(
                f"{folder}: is the folder of the outputs, which the next run would take for "
                "scenes; name another `out`"
            )

    def _in_folder(self, folder: Path, root: Path | None = None) -> Iterator[FoundScene]:
        """Yield the scenes of a folder; their subfolders begin at ``root``, or at the folder."""
        self._refuse_out(folder)
        for here, folders, files in _walk(folder):
            stacks = {name for name in folders if self._is_stack(here / name)}
            products = {name for name in folders if is_product(here / name)}
            folders[:] = sorted(
                name
                for name in folders
                if self.recursive
                and name not in stacks | products
                and not name.startswith(".")
                and not self._is_out(here / name)
            )
            named = {name for name in products.union(files) if self._matches(name)}
            for name in sorted(stacks | named):
                if not name.startswith("."):
                    yield FoundScene(str(here / name), here.relative_to(root or folder))

    def _is_out(self, path: Path) -> bool:
        return path.resolve() == self.out.resolve()

    def _is_scene(self, folder: Path) -> bool:
        """Return whether a folder is one scene."""
        return is_product(folder) or self._is_stack(folder)

    def _is_stack(self, folder: Path) -> bool:
        """Return whether a folder is a scene with one file per band, and ``pattern`` allows it."""
        wanted = self.pattern == SCENES or self._matches(folder.name)
        return wanted and not is_product(folder) and holds_bands(folder)

    def _matches(self, name: str) -> bool:
        return any(fnmatch(name.lower(), pattern.lower()) for pattern in self.pattern)


def is_product(folder: Path) -> bool:
    """Return whether a folder is one scene: a Sentinel-2 product."""
    return folder.is_dir() and (folder.suffix.upper() == ".SAFE" or any(folder.glob(_METADATA)))


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield each folder in a folder, its folders and its files, like :func:`os.walk`.

    Links to folders are followed at the end, so that a folder that is also there itself, or a
    link to a folder above, is not searched under another name.
    """
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        for walked, folders, files in os.walk(waiting.pop(0)):
            here = Path(walked)
            if (place := here.resolve()) in seen:
                folders.clear()
                continue
            seen.add(place)
            yield here, folders, files
            waiting += [here / name for name in folders if (here / name).is_symlink()]


def _fixed_part(pattern: Path) -> Path:
    """Return the folders of an absolute pattern before its first wildcard."""
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def read_names(names: Iterable[str]) -> list[str]:
    """Return the names on a command line, with those on stdin in place of ``-``.

    On stdin, each name is a line, or ends in a NUL as ``find -print0`` writes it.

    Raises:
        UsageError: stdin is not UTF-8 or UTF-16 text.
    """
    read: list[str] = []
    for name in names:
        read += _names_on_stdin() if name == "-" else [name]
    return [name for name in read if name]


def _names_on_stdin() -> list[str]:
    if not hasattr(sys.stdin, "buffer"):  # replaced by the caller: text already
        text = sys.stdin.read()
    else:
        try:
            text = decode(sys.stdin.buffer.read())
        except UnicodeDecodeError as error:
            raise UsageError(f"stdin: the list of scenes is not UTF-8 text ({error})") from error
    if "\0" in text:
        return text.split("\0")
    return [line.strip() for line in text.splitlines()]
