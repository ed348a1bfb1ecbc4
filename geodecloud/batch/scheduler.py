"""The batch itself: jobs to idle workers, a second try on another one, a line for each."""

import dataclasses
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from geodecloud.batch.events import Done, Lost, Progress, Workers
from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Outcome
from geodecloud.raster.atomic import sweep

_TICK = 0.5  # seconds between two looks for new scenes and workers
_TRIES = 2


@dataclass(frozen=True)
class Try:
    """A job that waits or is at hand, for the ``count``-th time; ``before``: who had it."""

    job: Job
    count: int = 1
    before: str | None = None


@dataclass(frozen=True)
class Listener:
    """Who is told: when a scene begins, how far it is (rows done, in all), and how it ended."""

    begun: Callable[[Job], None]
    rows: Callable[[Job, int, int], None]
    ended: Callable[[Try, str, Outcome], None]  # with the worker


class Batch:
    """Hands out jobs until none is left and no more will come.

    Args:
        arrivals: asked again and again for new jobs; None: no more will come.
        fail_fast: end with the first failure.
    """

    def __init__(
        self,
        workers: Workers,
        arrivals: Callable[[], list[Job] | None],
        listener: Listener,
        *,
        fail_fast: bool = False,
    ) -> None:
        self._workers = workers
        self._arrivals = arrivals
        self._listener = listener
        self._fail_fast = fail_fast
        self._waiting: deque[Try] = deque()
        self._running: dict[str, Try] = {}

    def run(self) -> None:
        """Do all jobs.

        Raises:
            GeodecloudError: no workers are left, or the listener cannot go on.
        """
        while True:
            jobs = self._arrivals()
            self._waiting.extend(Try(job) for job in jobs or ())
            if jobs is None and not self._waiting and not self._running:
                return
            self._hand_out()
            for event in self._workers.events(_TICK):
                if isinstance(event, Progress):
                    if event.worker in self._running:
                        job = self._running[event.worker].job
                        self._listener.rows(job, event.done, event.total)
                elif not self._end(event):
                    return

    def _hand_out(self) -> None:
        for worker in self._workers.idle():
            fit = next((one for one in self._waiting if one.before != worker), None)
            if fit is None and self._waiting and not self._running:
                # Only second tries wait, and there is no other worker: a fresh one, or the same.
                fit = None if self._workers.renew(worker) else self._waiting[0]
            if fit is not None:
                self._waiting.remove(fit)
                self._running[worker] = fit
                self._listener.begun(fit.job)
                self._workers.start(worker, fit.job)

    def _end(self, event: Done | Lost) -> bool:
        """Take a result, or the loss of a worker; returns whether to go on."""
        one = self._running.pop(event.worker)
        job = one.job
        if isinstance(event, Lost):
            outcome = Outcome(error=event.reason)
            job = dataclasses.replace(job, overwrite=True)  # it may have written, and not said so
            for path in job.outputs:
                sweep(path.parent)
        else:
            outcome = event.outcome
        if outcome.error and one.count < _TRIES:
            self._waiting.append(Try(job, one.count + 1, event.worker))
            return True
        self._listener.ended(one, event.worker, outcome)
        return not (outcome.error and self._fail_fast)
