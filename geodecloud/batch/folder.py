"""A folder of outputs: which scenes are to be restored into it, and the record of them."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geodecloud.batch.events import Display, Workers
from geodecloud.batch.manifest import Entry, Manifest
from geodecloud.batch.plan import Claims, Job, Naming, Search, Source
from geodecloud.batch.scheduler import Batch, Listener, Try
from geodecloud.batch.watch import Watch
from geodecloud.batch.worker import Outcome, WorkerSpec
from geodecloud.errors import GeodecloudError, OutputError, SceneError
from geodecloud.raster.writer import made_from
from geodecloud.version import VERSION

# On the output; of the model, the hash is recorded.
_WITHOUT_EFFECT = {
    *("model", "threads", "batch_size", "max_memory"),
    *("provenance", "preview", "overwrite"),
}
_SCANS_PER_SETTLE = 4


@dataclass(frozen=True)
class Request:
    """What a batch is to do.

    names: files, folders, products, globs.
    settle: None: what is there now; else go on, with scenes that have not changed so many seconds.
    """

    names: list[str]
    search: Search
    naming: Naming
    overwrite: bool = False
    fail_fast: bool = False
    settle: float | None = None

    def sources(self) -> Iterator[Source]:
        """All scenes that are there, each once."""
        seen = set()
        for name in self.names:
            for source in self.search.find(name):
                if source.name not in seen:
                    seen.add(source.name)
                    yield source


@dataclass
class Summary:
    """What came of a batch: lines of the manifest, those skipped, seconds of wall time."""

    planned: int = 0
    entries: list[Entry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> list[Entry]:
        """Of the scenes that were restored."""
        return [entry for entry in self.entries if entry["status"] == "done"]

    @property
    def failed(self) -> list[Entry]:
        """Of the scenes that were not."""
        return [entry for entry in self.entries if entry["status"] == "failed"]

    @property
    def pixels(self) -> int:
        """Restored, height times width."""
        return sum(entry["pixels"] for entry in self.done)


def settings_entry(spec: WorkerSpec) -> dict[str, Any]:
    """Return the settings as the manifest has them: two runs with the same make the same output."""
    values: dict[str, Any] = {}
    for part in (*vars(spec.settings).values(), spec.model):
        values |= dataclasses.asdict(part)
    aoi = spec.settings.reading.aoi
    if aoi and Path(aoi).is_file():
        values["aoi"] = Path(aoi)
    return {name: _plain(value) for name, value in values.items() if name not in _WITHOUT_EFFECT}


def _plain(value: Any) -> Any:
    """For JSON; a file is its path, size and time."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Path):
        facts = Source(str(value.absolute())).facts()
        return [str(value.absolute()), *(dataclasses.astuple(facts) if facts else ())]
    return value


class FolderBatch:
    """Restores scenes into a folder, and writes a line of its manifest for each.

    Args:
        how: settings and model, as the manifest has them.
        display, summary: are told what happens.
    """

    def __init__(
        self,
        request: Request,
        manifest: Manifest,
        how: Entry,
        display: Display,
        summary: Summary,
    ) -> None:
        self._request = request
        self._manifest = manifest
        self._how = how
        self._display = display
        self._summary = summary
        self._claims = Claims()
        self._begun: dict[str, float] = {}
        self._watch = Watch(request.sources, request.settle or 0)
        self._next_scan = 0.0

    def run(self, workers: Callable[[int | None], AbstractContextManager[Workers]]) -> None:
        """Do it.

        Args:
            workers: makes workers for so many scenes; None: nobody knows how many.

        Raises:
            UsageError: two scenes would make the same file.
            OutputError: a file is in the way, or the manifest cannot be written.
            SceneError: there are no scenes.
            GeodecloudError: no workers are left.
        """
        begun = time.perf_counter()
        try:
            jobs = self._plan()
            watching = self._request.settle is not None
            if not jobs and not watching:
                return
            once = [jobs]
            arrivals = self._settled if watching else lambda: once.pop() if once else None
            listener = Listener(self._begin, self._display.rows, self._end)
            with workers(None if watching else len(jobs)) as crew:
                Batch(crew, arrivals, listener, fail_fast=self._request.fail_fast).run()
        finally:
            self._summary.seconds = time.perf_counter() - begun

    def _plan(self) -> list[Job]:
        """Everything that is there now, less what is done; what is impossible is refused."""
        naming, out = self._request.naming, self._manifest.folder
        overwrite = self._request.overwrite
        jobs = [naming.job(one, out, overwrite=overwrite) for one in self._request.sources()]
        jobs = [job for job in jobs if not self._manifest.made(Path(job.source))]
        if not jobs and self._request.settle is None:
            raise SceneError(f"{', '.join(self._request.names)}: no scenes there; see --pattern")
        for job in jobs:
            self._claims.add(job)
        return [] if self._request.settle is not None else self._undone(jobs)

    def _undone(self, jobs: list[Job]) -> list[Job]:
        todo = []
        for job in jobs:
            if self._manifest.is_done(job, self._how):
                self._summary.skipped.append(job.source)
            else:
                todo.append(self._allowed(job))
        self._summary.planned += len(todo)
        self._display.planned(self._summary.planned)
        return todo

    def _allowed(self, job: Job) -> Job:
        """The job with leave to replace what an earlier run has made."""
        there = [path for path in job.outputs if os.path.lexists(path)]
        if not there or job.overwrite:
            return job
        # A run that was killed has perhaps made the output, but not the line that says so.
        ours = self._manifest.made(job.output) or made_from(job.output) == Path(job.source).name
        if not ours:
            raise OutputError(f"{there[0]}: exists, and no batch made it; --overwrite replaces it")
        return dataclasses.replace(job, overwrite=True)

    def _settled(self) -> list[Job]:
        """While watching: the scenes that have come to rest since the last look."""
        now = time.monotonic()
        if now < self._next_scan:
            return []
        self._next_scan = now + self._watch.settle / _SCANS_PER_SETTLE
        todo: list[Job] = []
        for source in self._watch.settled(now):
            job = self._request.naming.job(
                source, self._manifest.folder, overwrite=self._request.overwrite
            )
            if self._manifest.made(Path(job.source)):
                continue
            try:
                self._claims.add(job)
                todo += self._undone([job])
            except GeodecloudError as error:
                self._summary.planned += 1
                self._display.planned(self._summary.planned)
                self._record(job, {"status": "failed", "error": str(error)})
        return todo

    def _begin(self, job: Job) -> None:
        self._begun[job.source] = time.perf_counter()
        self._display.begun(job)

    def _end(self, one: Try, worker: str, outcome: Outcome) -> None:
        seconds = round(time.perf_counter() - self._begun.pop(one.job.source), 3)
        entry: Entry = {"status": "failed" if outcome.error else "done", "seconds": seconds}
        entry |= {"worker": worker, "tries": one.count}
        if outcome.report:
            report = outcome.report
            entry["pixels"] = report["width"] * report["height"]
            entry |= {name: share for name, share in report.items() if name.endswith("_fraction")}
        told = {"error": outcome.error, "traceback": outcome.traceback}
        told["warnings"] = list(outcome.warnings)  # type: ignore[assignment]
        self._record(one.job, entry | {name: value for name, value in told.items() if value})

    def _record(self, job: Job, entry: Entry) -> None:
        about = {
            "version": VERSION,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        line = self._manifest.add(job, self._how | entry | about)
        self._summary.entries.append(line)
        self._display.ended(job, line)
