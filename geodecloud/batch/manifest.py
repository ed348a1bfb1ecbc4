"""Keep a record of a folder of outputs: one line of JSON for each scene that ended."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from geodecloud.batch.plan import Job
from geodecloud.batch.search import FoundScene
from geodecloud.batch.worker import WorkerSpec
from geodecloud.errors import OutputError, OutputWarning, warn

NAME = "geodecloud-manifest.jsonl"
_LOCK = ".geodecloud-batch.lock"
# Options without effect on the pixels, and those of which the manifest has more than the value.
_NOT_RECORDED = {
    *("model", "threads", "batch_size", "max_memory"),
    *("provenance", "opacity", "preview", "overwrite"),
}

Entry = dict[str, Any]


def configuration_of(spec: WorkerSpec, model_sha256: str) -> Entry:
    """Return the settings and the model as a line of the manifest has them.

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
    return {"settings": settings, "model": model_sha256}


def _json(value: Any) -> Any:
    """Return a value as JSON has it: for a file, its path, size and time."""
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    if isinstance(value, Path):
        fingerprint = FoundScene(str(value.absolute())).fingerprint()
        facts = dataclasses.astuple(fingerprint) if fingerprint else ()
        return [str(value.absolute()), *facts]
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
        self._made: set[str] = set()  # outputs that any run has written
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
        """Append a text as a whole or not at all."""
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
        self._append(json.dumps(entry) + "\n")
        self._remember(entry)
        return entry

    def _remember(self, entry: Entry) -> None:
        self._entries[entry["output"]] = entry
        if entry.get("status") == "done":
            self._made.add(entry["output"])

    def is_done(self, job: Job, configuration: Entry) -> bool:
        """Return whether the outputs exist, made of an equal source by an equal configuration."""
        entry = self._entries.get(self._relative(job.output), {})
        wanted: Entry = {**self._identity(job), **configuration, "status": "done"}
        return (
            job.fingerprint is not None
            and all(entry.get(name) == value for name, value in wanted.items())
            and all(path.exists() for path in job.outputs)
        )

    def made(self, path: Path) -> bool:
        """Return whether a run has written this output, so that another may replace it."""
        return self._relative(path) in self._made

    def _identity(self, job: Job) -> Entry:
        fingerprint = job.fingerprint
        return {
            "source": {
                "path": job.source,
                "size": fingerprint.size if fingerprint else None,
                "mtime": fingerprint.mtime if fingerprint else None,
            },
            "output": self._relative(job.output),
            "provenance": self._relative(job.provenance) if job.provenance else None,
            "opacity": self._relative(job.opacity) if job.opacity else None,
            "preview": self._relative(job.preview) if job.preview else None,
        }

    def _relative(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()


def _parse(line: str) -> Entry | None:
    """Return the entry of a line; None if the line is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if isinstance(entry, dict) and isinstance(entry.get("output"), str):
        return entry
    return None
