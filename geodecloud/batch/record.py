"""Record the result of each scene: in the manifest, on the display and in a summary."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from geodecloud.batch.events import Display
from geodecloud.batch.manifest import Entry, Manifest
from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Outcome
from geodecloud.errors import GeodecloudError
from geodecloud.raster.stale import remove_output
from geodecloud.version import VERSION


@dataclass
class Summary:
    """The results of a batch.

    planned: number of scenes to restore.
    entries: lines of the manifest, one for each scene that ended.
    skipped: scenes that an earlier run has restored.
    seconds: wall time.
    """

    planned: int = 0
    entries: list[Entry] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> list[Entry]:
        """The lines of the scenes that were restored."""
        return [entry for entry in self.entries if entry["status"] == "done"]

    @property
    def failed(self) -> list[Entry]:
        """The lines of the scenes that were not restored."""
        return [entry for entry in self.entries if entry["status"] == "failed"]

    @property
    def pixels(self) -> int:
        """Number of pixels of the scenes that were restored."""
        return sum(entry["pixels"] for entry in self.done)


class Recorder:
    """A recorder of the scenes of a batch.

    Args:
        manifest: entered already.
        configuration: settings and model, see :func:`~geodecloud.batch.manifest.configuration_of`.

    Attributes:
        unfinished: the sources that are to be restored, and whose results are not recorded yet.
    """

    def __init__(
        self, manifest: Manifest, configuration: Entry, display: Display, summary: Summary
    ) -> None:
        self.manifest = manifest
        self._configuration = configuration
        self._display = display
        self._summary = summary
        self.unfinished: set[str] = set()
        self._begun: dict[str, float] = {}  # source -> seconds of the performance counter

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the wall time of the ``with`` block."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._summary.seconds = time.perf_counter() - begun

    def is_done(self, job: Job) -> bool:
        """Return whether an earlier run has done a job."""
        return self.manifest.is_done(job, self._configuration)

    def other_options(self, job: Job, entry: Entry) -> list[str]:
        """Return in words in which options a job differs from an earlier run."""
        return self.manifest.other_options(job, entry, self._configuration)

    def skip_if_done(self, job: Job) -> bool:
        """Return whether an earlier run has done a job; record it if so."""
        done = self.is_done(job)
        if done:
            self._summary.skipped.append(job.source)
        return done

    def planned(self, jobs: list[Job]) -> None:
        """Record that more scenes are to be restored."""
        self.unfinished.update(job.source for job in jobs)
        self._summary.planned += len(jobs)
        self._display.planned(self._summary.planned)

    def refused(self, job: Job, error: GeodecloudError) -> None:
        """Record a scene that cannot be restored as planned."""
        self.planned([job])
        self._add(job, {"status": "failed", "error": str(error)})

    def begun(self, job: Job) -> None:
        """Record that a worker begins a scene."""
        self._begun[job.source] = time.perf_counter()
        self._display.begun(job)

    def rows(self, job: Job, done: int, total: int) -> None:
        """Show how many rows of a scene are done."""
        self._display.rows(job, done, total)

    def ended(self, job: Job, outcome: Outcome, worker: str, attempts: int) -> None:
        """Record the result of a scene after its last attempt."""
        entry: Entry = {
            "status": "failed" if outcome.error else "done",
            "seconds": round(time.perf_counter() - self._begun.pop(job.source), 3),
            "worker": worker,
            "tries": attempts,
        }
        if outcome.report:
            report = outcome.report
            entry["pixels"] = report["width"] * report["height"]
            entry |= {name: value for name, value in report.items() if name.endswith("_fraction")}
        messages = {
            "error": outcome.error,
            "traceback": outcome.traceback,
            "warnings": list(outcome.warnings),
        }
        if not outcome.error:
            for path in job.stale:
                remove_output(path)
        self._add(job, entry | {name: value for name, value in messages.items() if value})

    def _add(self, job: Job, entry: Entry) -> None:
        origin = {
            "version": VERSION,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        line = self.manifest.add(job, self._configuration | entry | origin)
        self._summary.entries.append(line)
        self.unfinished.discard(job.source)
        self._display.ended(job, line)
