"""Restore many scenes into one folder: start reading here."""

import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from geodecloud.batch.crew import Crew
from geodecloud.batch.events import Display
from geodecloud.batch.fingerprint import Fingerprint
from geodecloud.batch.manifest import Entry, Manifest, configuration_of
from geodecloud.batch.plan import INDEX, Claims, Job, Naming
from geodecloud.batch.record import Recorder, Summary
from geodecloud.batch.scheduler import Scheduler
from geodecloud.batch.search import FoundScene, Search
from geodecloud.batch.watch import Watch
from geodecloud.errors import GeodecloudError, OutputError, SceneError, counted
from geodecloud.raster.origin import is_output, tags_of_output
from geodecloud.raster.report.index import write_index
from geodecloud.raster.stac import item_path
from geodecloud.settings.parse import without_query
from geodecloud.version import VERSION

log = logging.getLogger("geodecloud")

_SCANS_PER_SETTLE = 4


@dataclass(frozen=True)
class Request:
    """The scenes that a user wants restored, and how.

    names: files, folders, products and globs.
    overwrite: replace existing files that no batch has made.
    fail_fast: stop at the first scene that fails.
    settle: None to restore the scenes that are there now; otherwise watch for new scenes, and
        take each when it has not changed for ``settle`` seconds.
    """

    names: list[str]
    search: Search
    naming: Naming
    overwrite: bool = False
    fail_fast: bool = False
    settle: float | None = None

    def sources(self) -> Iterator[FoundScene]:
        """Yield all scenes that are there now, each once."""
        seen = set()
        for name in self.names:
            for source in self.search.find(name):
                if source.name not in seen:
                    seen.add(source.name)
                    yield source


def run_batch(
    request: Request, crew: Crew, show: AbstractContextManager[Display], summary: Summary
) -> None:
    """Restore the scenes of a request that are not done yet.

    Args:
        show: entered once the folder belongs to this batch.
        summary: filled as scenes end, so that it is there when the batch is interrupted.

    Raises:
        UsageError: a setting is impossible, or two scenes would make the same file.
        OutputError: a file is in the way, or the manifest cannot be written.
        SceneError: there are no scenes, or a folder is missing.
        GeodecloudError: the model cannot be read, or no workers are left.
    """
    request.search.refuse_folders(request.names)
    model = crew.check()
    configuration = configuration_of(crew.spec, model.sha256)
    # Tags of an output that the same options and model have made.
    tags = {"CONFIG": crew.spec.settings.to_json(), "MODEL": model.name, "VERSION": VERSION}
    watching = request.settle is not None
    with Manifest(request.search.out) as manifest, show as display:
        recorder = Recorder(manifest, configuration, display, summary)
        planner = Planner(request, recorder, tags, stac=crew.spec.settings.output.stac)
        with recorder.timed():
            jobs = planner.present()
            once = iter([jobs])
            arrivals = planner.settled if watching else lambda: next(once, None)
            try:
                if jobs or watching:
                    with crew.start(None if watching else len(jobs)) as workers:
                        Scheduler(workers, arrivals, recorder, fail_fast=request.fail_fast).run()
            finally:
                if request.naming.report:
                    write_index(manifest.folder / INDEX, manifest.results())


class Planner:
    """A planner that finds the jobs of a request that are not done yet.

    Args:
        tags: of an output that the same options and model have made.
        stac: each output has a STAC item beside it.
    """

    def __init__(
        self, request: Request, recorder: Recorder, tags: dict[str, str], *, stac: bool
    ) -> None:
        self._request = request
        self._recorder = recorder
        self._tags = tags
        self._stac = stac
        # Sources that are outputs of earlier runs, as they were found.
        self._own: set[tuple[str, Fingerprint | None]] = set()
        self._manifest = recorder.manifest
        self._claims = Claims()
        self._watch = Watch(self._idle_sources, request.settle or 0)
        self._next_scan = 0.0  # seconds of the monotonic clock

    def present(self) -> list[Job]:
        """Return the jobs of the scenes that are there now, without those that are done.

        While watching, return none: scenes come once they have settled. Two scenes with the same
        output are refused now.
        """
        watching = self._request.settle is not None
        jobs = self._jobs(self._request.sources())
        if not jobs and not watching:
            own = f" but {counted(len(self._own), 'output')} of earlier runs" if self._own else ""
            raise SceneError(
                f"{', '.join(self._request.names)}: no scenes there{own}; see `pattern` and "
                "`recursive`"
            )
        for job in jobs:
            self._claims.add(job)
        return [] if watching else self._undone(jobs)

    def settled(self) -> list[Job]:
        """Return the jobs of the scenes that have settled since the last call."""
        now = time.monotonic()
        if now < self._next_scan:
            return []
        self._next_scan = now + self._watch.settle / _SCANS_PER_SETTLE
        undone: list[Job] = []
        for job in self._jobs(self._watch.settled(now)):
            try:
                self._claims.add(job)
                undone += self._undone([job])
            except GeodecloudError as error:
                self._recorder.refused(job, error)
        return undone

    def _idle_sources(self) -> Iterator[FoundScene]:
        """Yield the scenes that are there now and have no unfinished job.

        A scene that changes while it is restored is found once its result is recorded.
        """
        busy = self._recorder.unfinished
        return (source for source in self._request.sources() if source.name not in busy)

    def _jobs(self, sources: Iterator[FoundScene] | list[FoundScene]) -> list[Job]:
        """Return a job for each source that is not an output of an earlier run."""
        naming, out = self._request.naming, self._manifest.folder
        jobs = [naming.job(one, out, overwrite=self._request.overwrite) for one in sources]
        if self._stac:
            jobs = [dataclasses.replace(job, item=item_path(job.output)) for job in jobs]
        return [job for job in jobs if not self._is_output(job)]

    def _is_output(self, job: Job) -> bool:
        """Return whether a job's source is an output, of this folder's batches or any other run."""
        path, found_as = Path(job.source), (job.source, job.fingerprint)
        if found_as in self._own:
            return True
        # A scene that is done need not be opened.
        if self._manifest.wrote(path) or (not self._recorder.is_done(job) and is_output(path)):
            log.info("%s: is an output of an earlier run, and is skipped", path)
            self._own.add(found_as)
            return True
        return False

    def _undone(self, jobs: list[Job]) -> list[Job]:
        undone = [self._allowed(job) for job in jobs if not self._recorder.skip_if_done(job)]
        for job in undone:
            if reason := self._manifest.reason_to_redo(job):
                log.info("%s: is done again: %s", job.source, reason)
        self._recorder.planned(undone)
        return undone

    def _allowed(self, job: Job) -> Job:
        """Return a job that may replace files of an earlier run with the same options.

        Raises:
            OutputError: files of other options or no batch's exist, and ``overwrite`` is not set.
        """
        entry = self._manifest.last_made(job)
        made = self._manifest.existing(entry) if entry else []
        stale = tuple(path for path in made if path not in job.outputs)
        existing = [path for path in job.outputs if os.path.lexists(path)]
        if job.overwrite or not (existing or stale):
            return dataclasses.replace(job, stale=stale)
        if entry and (others := self._recorder.other_options(job, entry)):
            raise OutputError(
                f"{[*existing, *stale][0]}: was made {_by(entry)}with other options "
                f"({'; '.join(others)}); give `overwrite` to replace it, or name another `out`"
            )
        # A killed run may have written the output, but not its line of the manifest.
        foreign = [path for path in existing if path not in made]
        if foreign and not (job.output in existing and self._would_make_the_same(job)):
            raise OutputError(
                f"{foreign[0]}: exists, and no batch made it; give `overwrite` to replace it"
            )
        return dataclasses.replace(job, overwrite=True, stale=stale)

    def _would_make_the_same(self, job: Job) -> bool:
        tags = tags_of_output(job.output)
        wanted = {**self._tags, "SOURCE": Path(without_query(job.source)).name}
        return all(tags.get(name) == value for name, value in wanted.items())


def _by(entry: Entry) -> str:
    version = entry.get("version", VERSION)
    return "" if version == VERSION else f"by geodecloud {version} "
