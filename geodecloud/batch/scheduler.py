"""Give jobs to idle workers, and failed jobs a second attempt on another worker."""

import dataclasses
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from geodecloud.batch.events import Done, Lost, RowsDone, Workers
from geodecloud.batch.plan import Job
from geodecloud.batch.record import Recorder
from geodecloud.batch.worker import Outcome
from geodecloud.raster.unfinished import sweep

MAX_ATTEMPTS = 2
_POLL_SECONDS = 0.5  # between two checks for new scenes and workers


@dataclass(frozen=True)
class Attempt:
    """A job that waits for a worker or runs on one.

    number: 1 for the first attempt.
    avoided: the worker of the previous attempt.
    """

    job: Job
    number: int = 1
    avoided: str | None = None


class Scheduler:
    """A scheduler that gives out jobs until none is left and no more will come.

    Args:
        workers: entered already.
        arrivals: returns the jobs that have arrived since the last call; None: no more will come.
    """

    def __init__(
        self,
        workers: Workers,
        arrivals: Callable[[], list[Job] | None],
        recorder: Recorder,
        *,
        fail_fast: bool = False,
    ) -> None:
        self._workers = workers
        self._arrivals = arrivals
        self._recorder = recorder
        self._fail_fast = fail_fast
        self._waiting: deque[Attempt] = deque()
        self._running: dict[str, Attempt] = {}  # by worker

    def run(self) -> None:
        """Do all jobs.

        Raises:
            GeodecloudError: no worker is left, or a result cannot be recorded.
        """
        while True:
            jobs = self._arrivals()
            self._waiting.extend(Attempt(job) for job in jobs or ())
            if jobs is None and not self._waiting and not self._running:
                return
            self._give_out()
            for event in self._workers.events(_POLL_SECONDS):
                if isinstance(event, RowsDone):
                    if event.worker in self._running:
                        job = self._running[event.worker].job
                        self._recorder.rows(job, event.done, event.total)
                elif self._failed_fast(event):
                    return

    def _give_out(self) -> None:
        idle = self._workers.idle()
        for worker in idle:
            attempt = next((one for one in self._waiting if one.avoided != worker), None)
            if attempt is None and self._waiting and not self._running and idle == [worker]:
                # Only second attempts wait, and there is no other worker: take a fresh one, else
                # the same.
                attempt = None if self._workers.renew(worker) else self._waiting[0]
            if attempt is not None:
                self._waiting.remove(attempt)
                self._running[worker] = attempt
                self._recorder.begun(attempt.job)
                self._workers.start(worker, attempt.job)

    def _failed_fast(self, event: Done | Lost) -> bool:
        """Handle the end of an attempt; return whether its failure stops the batch."""
        attempt = self._running.pop(event.worker)
        job = attempt.job
        if isinstance(event, Lost):
            outcome = Outcome(error=event.reason)
            # The worker may have died between writing the outputs and reporting them.
            job = dataclasses.replace(job, overwrite=True)
            for path in job.outputs:
                sweep(path.parent)
        else:
            outcome = event.outcome
        if outcome.error and attempt.number < MAX_ATTEMPTS:
            self._waiting.append(Attempt(job, attempt.number + 1, event.worker))
            return False
        self._recorder.ended(job, outcome, event.worker, attempt.number)
        return bool(outcome.error) and self._fail_fast
