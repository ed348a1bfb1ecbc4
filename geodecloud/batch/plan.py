"""Name the outputs of each scene, and refuse two scenes with the same output."""

import dataclasses
import os
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geodecloud.batch.fingerprint import Fingerprint
from geodecloud.batch.search import FoundScene
from geodecloud.errors import UsageError
from geodecloud.raster.endings import find_wrong_ending

INDEX = "geodecloud-report.html"  # lists the reports, in the folder of the outputs
# Outputs beside the restored scene, with names of their own.
BESIDE = ("provenance", "opacity", "cloud_mask", "preview", "report")


@dataclass(frozen=True)
class Job:
    """A scene and the files to write for it; all paths are absolute.

    fingerprint: fingerprint of the scene when it was found; None if it was missing.
    beside: the other outputs that have a pattern, by their names in :data:`BESIDE`.
    item: the STAC item; None: none is written.
    overwrite: existing outputs may be replaced.
    stale: files of an earlier run that do not fit the new output.
    """

    source: str
    fingerprint: Fingerprint | None
    output: Path
    beside: Mapping[str, Path] = field(default_factory=dict)
    item: Path | None = None
    overwrite: bool = False
    stale: tuple[Path, ...] = ()

    @property
    def outputs(self) -> list[Path]:
        """All files to write."""
        return [self.output, *self.beside.values(), *([self.item] if self.item else [])]


@dataclass(frozen=True)
class Naming:
    """Patterns for the paths of outputs below the folder of the outputs.

    In a pattern, ``{stem}`` is the scene's name and ``{parent}`` the name of its folder.

    Raises:
        UsageError: a pattern has other fields, leaves the folder, or names a file of another kind.
    """

    name: str = "{stem}_clear.tif"
    provenance: str | None = None
    opacity: str | None = None
    preview: str | None = None
    cloud_mask: str | None = None
    report: str | None = None

    def __post_init__(self) -> None:
        for option, pattern in self._patterns().items():
            _check_pattern(option, pattern)

    def _patterns(self) -> dict[str, str]:
        patterns: dict[str, str | None] = dataclasses.asdict(self)
        return {option: pattern for option, pattern in patterns.items() if pattern is not None}

    def job(self, source: FoundScene, out: Path, *, overwrite: bool = False) -> Job:
        """Return the job of a scene, with outputs in or below the folder ``out``."""
        fields = {"stem": source.stem, "parent": Path(source.name).parent.name}
        folder = out.absolute() / source.subfolder
        paths = {
            option: folder / pattern.format(**fields)
            for option, pattern in self._patterns().items()
        }
        return Job(
            source=source.name,
            fingerprint=source.fingerprint(),
            output=paths["name"],
            beside={name: paths[name] for name in BESIDE if name in paths},
            overwrite=overwrite,
        )


def _check_pattern(option: str, pattern: str) -> None:
    try:
        fields = {field for _, field, _, _ in string.Formatter().parse(pattern)}
        example = Path(pattern.format(stem="scene", parent="folder"))
    except (ValueError, KeyError, IndexError, AttributeError):
        fields, example = {"?"}, Path("?")
    given = f"`{option}` is {pattern!r}"
    if not fields <= {None, "stem", "parent"}:
        raise UsageError(f"{given}: use no other fields than {{stem}} and {{parent}}")
    if example.is_absolute() or ".." in example.parts or not example.name:
        raise UsageError(f"{given}: name a file below `out`")
    if wrong := find_wrong_ending(option, example):
        words, ending = wrong
        raise UsageError(f"{given}: {words}, so end it in {ending}")
    if option == "report" and example == Path(INDEX):
        raise UsageError(f"{given}: that page lists all reports; give another name")


class Claims:
    """The files that scenes read or make, each claimed by one scene for as long as it is there."""

    def __init__(self) -> None:
        self._owners: dict[str, Job] = {}  # file -> the job of the scene that reads or makes it

    def add(self, job: Job) -> None:
        """Claim the files of a job; a job may be added again.

        Raises:
            UsageError: one of the outputs is a scene, or another scene makes it too.
        """
        source = os.path.normcase(job.source)
        claims = {source: job}
        for path in job.outputs:
            key = os.path.normcase(path)
            if key in claims:
                raise UsageError(
                    f"{path}: would be written twice; give `name`, `provenance`, `opacity`, "
                    "`cloud_mask`, `preview` and `report` patterns that differ"
                )
            if other := self._other_owner(key, job):
                raise UsageError(
                    f"{path}: would be made from {other} and from {job.source}; tell the outputs "
                    "apart by `name`, like '{parent}_{stem}.tif'"
                )
            claims[key] = job
        if self._other_owner(source, job):
            raise UsageError(f"{job.source}: is both an input scene and an output; change `name`")
        self._owners |= claims

    def _other_owner(self, file: str, job: Job) -> str | None:
        """Return another scene that has claimed a file, unless that scene is gone meanwhile."""
        owner = self._owners.get(file, job)
        was_there = owner.fingerprint is not None
        gone = was_there and not Path(owner.source).exists()
        return None if gone or owner.source == job.source else owner.source
