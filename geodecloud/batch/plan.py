"""Which scenes there are, and where each goes."""

import glob
import os
import re
import string
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from geodecloud.errors import OutputError, UsageError

SCENES = ("*.tif", "*.tiff", "*.SAFE", "*.SAFE.zip", "S2*_MSIL*.zip")  # in a folder
_METADATA = "MTD_MSIL*.xml"  # of a Sentinel-2 product, in its folder
_GDAL_NAME = re.compile(r"/vsi|[A-Z][A-Z0-9_]+:")  # what only GDAL can open; no drive letter


@dataclass(frozen=True)
class Facts:
    """What tells that a source has changed: bytes and time of the last change (seconds).

    Of a folder: the sum of its files, and the latest.
    """

    size: int
    mtime: float


@dataclass(frozen=True)
class Source:
    """A scene that was found.

    name: absolute path of a file or a product's folder, or a name that only GDAL knows.
    below: the folders between the one that was searched and the scene.
    """

    name: str
    below: Path = Path()

    def facts(self) -> Facts | None:
        """How large and how old; None if there is no such file."""
        try:
            status = Path(self.name).stat()
            if not Path(self.name).is_dir():
                return Facts(status.st_size, status.st_mtime)
            files = [file.stat() for file in Path(self.name).rglob("*")]
        except OSError:  # missing, or vanished just now
            return None
        return Facts(
            sum(file.st_size for file in files),
            max(file.st_mtime for file in [status, *files]),
        )

    @property
    def stem(self) -> str:
        """The scene's name without suffix; a product's, for its metadata file."""
        path = Path(self.name)
        path = path.parent if fnmatch(path.name, _METADATA) else path
        return re.sub(r"(\.SAFE)?(\.zip)?$|\.[^.]+$", "", path.name, count=1, flags=re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """A scene and the files to make of it, all paths absolute."""

    source: str
    facts: Facts | None
    output: Path
    provenance: Path | None = None
    preview: Path | None = None
    overwrite: bool = False

    @property
    def outputs(self) -> list[Path]:
        """All files to make."""
        return [path for path in (self.output, self.provenance, self.preview) if path]


@dataclass(frozen=True)
class Search:
    """How folders are searched.

    patterns: of the names of scenes; recursive: whether below the folder too.
    out: the folder of the outputs, which are no scenes.
    """

    out: Path
    patterns: tuple[str, ...] = SCENES
    recursive: bool = False

    def find(self, name: str) -> list[Source]:
        """The scenes that a file, folder, product or glob means, in the order of their names.

        A file that does not exist is one too: that it fails is its own result.

        Raises:
            OutputError: the scenes lie in the folder of the outputs.
        """
        if _GDAL_NAME.match(name):
            return [Source(name)]
        path = Path(name).absolute()
        if path.is_dir() and not is_product(path):
            return list(self._below(path))
        if path.exists() or not glob.has_magic(name):
            return [Source(os.path.normpath(path))]
        fixed = _fixed_part(path)
        found: list[Source] = []
        for match in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207  is absolute
            place = Path(match)
            if place.is_dir() and not is_product(place):
                found += self._below(place, fixed)
            elif not any(is_product(parent) for parent in place.parents):
                found.append(Source(match, place.parent.relative_to(fixed)))
        return found

    def _below(self, folder: Path, root: Path | None = None) -> Iterator[Source]:
        if folder.resolve() == self.out.resolve():
            raise OutputError(
                f"{folder}: the outputs would be scenes of the next run; name another OUT_DIR"
            )
        for place, folders, files in os.walk(folder):
            here = Path(place)
            products = sorted(name for name in folders if is_product(here / name))
            folders[:] = sorted(
                name
                for name in folders
                if self.recursive
                and name not in products
                and not name.startswith(".")
                and (here / name).resolve() != self.out.resolve()
            )
            for name in sorted([*products, *files]):
                if not name.startswith(".") and self._fits(name):
                    yield Source(str(here / name), here.relative_to(root or folder))

    def _fits(self, name: str) -> bool:
        return any(fnmatch(name.lower(), pattern.lower()) for pattern in self.patterns)


def is_product(folder: Path) -> bool:
    """Whether a folder is one scene: a Sentinel-2 product."""
    return folder.is_dir() and (folder.suffix.upper() == ".SAFE" or any(folder.glob(_METADATA)))


def _fixed_part(pattern: Path) -> Path:
    """The folders of an absolute pattern before its first wildcard."""
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def read_names(names: Iterable[str]) -> list[str]:
    """The names on the command line; ``-`` stands for names on stdin, a line each."""
    read: list[str] = []
    for name in names:
        read += (line.strip() for line in sys.stdin) if name == "-" else [name]
    return [name for name in read if name]


@dataclass(frozen=True)
class Naming:
    """Names of the outputs: ``{stem}`` is the scene's name, ``{parent}`` that of its folder."""

    scene: str = "{stem}_clear.tif"
    provenance: str | None = None
    preview: str | None = None

    def __post_init__(self) -> None:
        for pattern in filter(None, (self.scene, self.provenance, self.preview)):
            try:
                fields = {field for _, field, _, _ in string.Formatter().parse(pattern)}
                example = Path(pattern.format(stem="scene", parent="folder"))
            except (ValueError, KeyError, IndexError, AttributeError):
                fields, example = {"?"}, Path("?")
            if not fields <= {None, "stem", "parent"}:
                raise UsageError(f"name is {pattern!r}: it may hold {{stem}} and {{parent}} only")
            if example.is_absolute() or ".." in example.parts or not example.name:
                raise UsageError(f"name is {pattern!r}: name a file below OUT_DIR")
        for pattern in filter(None, (self.scene, self.provenance)):
            if Path(pattern).suffix.lower() not in (".tif", ".tiff"):
                raise UsageError(f"name is {pattern!r}: the output is a GeoTIFF; name it .tif")

    def job(self, source: Source, out: Path, *, overwrite: bool = False) -> Job:
        """What is to be made of a scene."""

        def place(pattern: str | None) -> Path | None:
            if pattern is None:
                return None
            names = {"stem": source.stem, "parent": Path(source.name).parent.name}
            return out.absolute() / source.below / pattern.format(**names)

        output = place(self.scene)
        assert output  # noqa: S101  for the type check: its pattern is never None
        others = place(self.provenance), place(self.preview)
        return Job(source.name, source.facts(), output, *others, overwrite)


class Claims:
    """Which scene makes which file: no two the same one, and none a scene."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}  # file -> the scene that makes it, or that it is

    def add(self, job: Job) -> None:
        """Claim a job's files for it, once or again.

        Raises:
            UsageError: another scene makes one of them, or it is one.
        """
        claims = {os.path.normcase(job.source): job.source}
        for path in job.outputs:
            key = os.path.normcase(path)
            owner = self._owners.get(key, job.source)
            if key in claims:
                raise UsageError(f"{path}: would be written twice; give --name and others apart")
            if owner != job.source:
                raise UsageError(
                    f"{path}: would be made of {owner} and of {job.source}; tell them apart by "
                    "--name, say '{parent}_{stem}.tif'"
                )
            claims[key] = job.source
        source = os.path.normcase(job.source)
        if self._owners.get(source, job.source) != job.source:
            raise UsageError(f"{job.source}: is a scene, and would be an output; change --name")
        self._owners |= claims
