"""Keep a record of a folder of outputs: one line of JSON for each scene that ended."""

import dataclasses
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from geodecloud.batch.fingerprint import ANOTHER, Stamp, fault_of, size_and_time, stamp
from geodecloud.batch.plan import BESIDE, Job
from geodecloud.batch.worker import WorkerSpec
from geodecloud.errors import OutputError, OutputWarning, warn
from geodecloud.raster.dn import json_number
from geodecloud.raster.report.index import Result
from geodecloud.raster.stac import item_path

NAME = "geodecloud-manifest.jsonl"
_LOCK = ".geodecloud-batch.lock"
# Options without effect on the pixels, and those that the manifest records in another form.
_NOT_RECORDED = {
    *("model", "threads", "batch_size", "max_memory"),
    *(*BESIDE, "overwrite"),
    *("force", "allow_network"),  # what was restored without them is the same with them
}

Entry = dict[str, Any]


def configuration_of(spec: WorkerSpec, model_sha256: str) -> Entry:
    """Return the settings and the model as a line of the manifest records them.

    With an equal configuration, an equal source gives an equal output.
    """
    values: dict[str, Any] = {}
    for part in dataclasses.fields(spec.settings):
        values |= dataclasses.asdict(getattr(spec.settings, part.name))
    values |= dataclasses.asdict(spec.model)
    aoi = spec.settings.reading.aoi
    if aoi and Path(aoi).is_file():
        values["aoi"] = Path(aoi)
    settings = {name: _json(value) for name, value in values.items() if name not in _NOT_RECORDED}
    settings |= {"mask_only": True} if spec.mask_only else {}
    return {"settings": settings, "model": model_sha256}


def _json(value: Any) -> Any:
    """Return a value that JSON can hold: for a file, its path, size and time."""
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, float):
        return json_number(value)
    if isinstance(value, Path):
        path = value.absolute()
        facts: list[float] = []
        with suppress(OSError):  # it is not there
            facts = [*size_and_time(path)]
        return [str(path), *facts]
    return value


class Manifest:
    """The manifest of a folder, open for one run at a time.

    The operating system holds the lock, and releases it when the process ends, however it ends.
    Lines are only ever appended. The last line about an output counts. A line that a crash has
    cut or garbled is ignored.

    Raises:
        OutputError: on entering, the folder cannot be made or written, or another run uses it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.path = self.folder / NAME
        self._lock = FileLock(self.folder / _LOCK)
        self._entries: dict[str, Entry] = {}  # by output, relative to the folder
        self._made: dict[str, Entry] = {}  # by output: the line of the last run that wrote it
        self._files: set[Path] = set()  # files that any run has written
        self._file: TextIO | None = None

    def __enter__(self) -> "Manifest":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(
                f"{self.folder}: another batch is using this folder; wait until it finishes, or "
                "name another folder"
            ) from None
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be written ({error.strerror})") from error
        try:
            self._open()
        except OSError as error:
            self._lock.release()
            raise OutputError(f"{self.path}: cannot be opened ({error.strerror})") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()
        self._lock.release()

    def _open(self) -> None:
        self._file = self.path.open("a+", encoding="utf-8", errors="surrogateescape")
        self._file.seek(0)
        line, damaged = "\n", 0
        for line in self._file:
            entry = _parse(line)
            if entry:
                self._remember(entry)
            elif line.strip():
                damaged += 1
        if damaged:
            lines = "line is" if damaged == 1 else "lines are"
            warn(OutputWarning, f"{self.path}: {damaged} damaged {lines} ignored")
        if not line.endswith("\n"):  # cut by a crash: the next entry needs a line of its own
            self._append("\n")

    def _append(self, text: str) -> None:
        """Append a text, whole or not at all."""
        assert self._file  # noqa: S101  the manifest is entered
        end = os.fstat(self._file.fileno()).st_size
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._file = None
            os.truncate(self.path, end)
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def add(self, job: Job, entry: Entry) -> Entry:
        """Append the result of a job, and return the line with its source and outputs.

        Raises:
            OutputError: the line cannot be written; on a full disk, say.
        """
        entry = self._identity(job) | entry
        if entry["status"] == "done":
            made = {self._relative(path): stamp(path) for path in job.outputs}
            entry["files"] = {name: one for name, one in made.items() if one}
        self._append(json.dumps(entry) + "\n")
        self._remember(entry)
        return entry

    def _remember(self, entry: Entry) -> None:
        self._entries[entry["output"]] = entry
        if entry.get("status") == "done":
            self._made[entry["output"]] = entry
            self._files.update(self._files_of(entry))

    def is_done(self, job: Job, configuration: Entry) -> bool:
        """Return whether the outputs exist, made of an equal source by an equal configuration."""
        entry = self._entries.get(self._relative(job.output), {})
        identity = {name: value for name, value in self._identity(job).items() if value}
        wanted: Entry = {**identity, **configuration, "status": "done"}
        del wanted["source"]
        same = all(entry.get(name) == value for name, value in wanted.items())
        return same and job.fingerprint is not None and not self.reason_to_redo(job)

    def reason_to_redo(self, job: Job) -> str:
        """Return in words what has changed since a job was done; empty: nothing, or it was not."""
        entry = self._entries.get(self._relative(job.output), {})
        if entry.get("status") != "done":
            return ""
        source = self._identity(job)["source"]
        # Lines of older versions do not say what was beside the source.
        if {"beside": source["beside"], **entry.get("source", {})} != source:
            return f"{job.source} has changed, or what is read with it"
        faults = ((path, self._fault(path, entry)) for path in job.outputs)
        return next((f"{path} {fault}" for path, fault in faults if fault), "")

    def _fault(self, path: Path, entry: Entry) -> str:
        """Return in a word what has become of a file of a line, see :func:`fault_of`."""
        made = entry.get("files", {}).get(self._relative(path))
        return fault_of(path, made and Stamp(*made))

    def wrote(self, path: Path) -> bool:
        """Return whether a run has written this file."""
        return path in self._files

    def last_made(self, job: Job) -> Entry | None:
        """Return the line of the last run that has written the output of a job."""
        return self._made.get(self._relative(job.output))

    def existing(self, entry: Entry) -> list[Path]:
        """Return the files of a line that are still there, and not replaced by others."""
        return [
            path
            for path in self._files_of(entry)
            if os.path.lexists(path) and self._fault(path, entry) != ANOTHER
        ]

    def other_options(self, job: Job, entry: Entry, configuration: Entry) -> list[str]:
        """Return in words in which options a job differs from the run of a line."""
        old, new = entry.get("settings", {}), configuration["settings"]
        texts = [
            f"`{name}` {_text(old.get(name))}, now {_text(new.get(name))}"
            for name in sorted({*old, *new})
            if old.get(name) != new.get(name)
        ]
        texts += ["another model"] if entry.get("model") != configuration["model"] else []
        identity = self._identity(job)
        for name in BESIDE:
            if identity[name] and identity[name] != entry.get(name):
                texts.append(f"`{name}` {_text(entry.get(name))}, now {identity[name]}")
        return texts

    def results(self) -> list[Result]:
        """Return the last result of each scene, for the page that lists the reports."""
        return [
            Result(
                source=str(entry.get("source", {}).get("path", name)),
                error=entry.get("error"),
                report=self._absolute(entry["report"]) if entry.get("report") else None,
                fractions={one: entry[one] for one in entry if one.endswith("_fraction")},
                warnings=len(entry.get("warnings", ())),
            )
            for name, entry in sorted(self._entries.items())
        ]

    def _files_of(self, entry: Entry) -> list[Path]:
        names = [entry.get(name) for name in ("output", *BESIDE)]
        paths = [self._absolute(name) for name in names if name]
        if entry.get("settings", {}).get("stac"):
            paths.append(item_path(paths[0]))
        return paths

    def _identity(self, job: Job) -> Entry:
        fingerprint = job.fingerprint
        made = {name: self._relative(path) for name, path in job.beside.items()}
        return {
            "source": {
                "path": job.source,
                "size": fingerprint.size if fingerprint else None,
                "mtime": fingerprint.mtime if fingerprint else None,
                "beside": fingerprint.beside if fingerprint else None,
            },
            "output": self._relative(job.output),
            **{name: made.get(name) for name in BESIDE},
        }

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()

    def _absolute(self, name: str) -> Path:
        return Path(os.path.normpath(self.folder / name))


def _text(value: Any) -> str:
    """Return the value of a setting for messages; for a file, its path."""
    if isinstance(value, list):
        is_file = len(value) == 3 and isinstance(value[0], str) and not isinstance(value[1], str)
        return str(value[0]) if is_file else ",".join(map(_text, value))
    return "none" if value is None else str(value)


def _parse(line: str) -> Entry | None:
    """Return the entry of a line; None if the line is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if isinstance(entry, dict) and isinstance(entry.get("output"), str):
        return entry
    return None
