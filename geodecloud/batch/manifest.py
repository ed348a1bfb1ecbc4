"""What was done in a folder of outputs, one line of JSON for each scene."""

import json
import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from filelock import FileLock, Timeout

from geodecloud.batch.plan import Job
from geodecloud.errors import OutputError

log = logging.getLogger("geodecloud")

NAME = "geodecloud-manifest.jsonl"
_LOCK = ".geodecloud-batch.lock"

Entry = dict[str, Any]


class Manifest:
    """The manifest of a folder, open for one run at a time.

    The lock is the operating system's: it ends with the process that holds it, however that
    ends. The file is only ever appended to; the last line about an output counts, and a line
    that a crash has cut or garbled says nothing.

    Raises, when it is entered:
        OutputError: the folder cannot be made or written, or another run is at work there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.path = self.folder / NAME
        self._lock = FileLock(self.folder / _LOCK)
        self._entries: dict[str, Entry] = {}  # by output, below the folder
        self._made: set[str] = set()  # outputs that were written by any run
        self._file: TextIO | None = None

    def __enter__(self) -> "Manifest":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(
                f"{self.folder}: another geodecloud batch is at work there; wait for its end, or "
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()
        self._lock.release()

    def _open(self) -> None:
        self._file = self.path.open("a+", encoding="utf-8", errors="surrogateescape")
        self._file.seek(0)
        line, damaged = "\n", 0
        for line in self._file:
            entry = _parsed(line)
            if entry:
                self._remember(entry)
            elif line.strip():
                damaged += 1
        if damaged:
            log.warning("%s: %d damaged line(s) say nothing; going on", self.path, damaged)
        if not line.endswith("\n"):  # cut by a crash: what comes next begins a line of its own
            self._append("\n")

    def _append(self, text: str) -> None:
        """Write at the end, wholly or not at all."""
        assert self._file  # noqa: S101  it is entered
        end = os.fstat(self._file.fileno()).st_size
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            self._file = None
            os.truncate(self.path, end)
            raise OutputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def add(self, job: Job, entry: Entry) -> Entry:
        """Append what came of a job, with its source and outputs; returns the whole line.

        Raises:
            OutputError: the disk is full, say.
        """
        entry = self._identity(job) | entry
        self._append(json.dumps(entry) + "\n")
        self._remember(entry)
        return entry

    def _remember(self, entry: Entry) -> None:
        self._entries[entry["output"]] = entry
        if entry.get("status") == "done":
            self._made.add(entry["output"])

    def is_done(self, job: Job, how: Entry) -> bool:
        """Whether the job was done with the same source, in the same way, and is still there.

        Args:
            how: settings and model, as in the manifest.
        """
        entry = self._entries.get(self._below(job.output), {})
        wanted: Entry = {**self._identity(job), **how, "status": "done"}
        return (
            job.facts is not None
            and all(entry.get(name) == value for name, value in wanted.items())
            and all(path.exists() for path in job.outputs)
        )

    def made(self, path: Path) -> bool:
        """Whether a run has written this output, so that another may replace it."""
        return self._below(path) in self._made

    def _identity(self, job: Job) -> Entry:
        facts = job.facts
        return {
            "source": {
                "path": job.source,
                "size": facts.size if facts else None,
                "mtime": facts.mtime if facts else None,
            },
            "output": self._below(job.output),
            "provenance": self._below(job.provenance) if job.provenance else None,
            "preview": self._below(job.preview) if job.preview else None,
        }

    def _below(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.folder)).as_posix()


def _parsed(line: str) -> Entry | None:
    """The entry of a line, None if it is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if isinstance(entry, dict) and isinstance(entry.get("output"), str):
        return entry
    return None
