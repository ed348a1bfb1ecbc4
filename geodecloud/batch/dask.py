"""Use the workers of an existing Dask cluster. This module runs in the batch's owner.

The workers see the same paths as this machine. Each restores one whole scene at a time. Dask by
itself would give a worker several scenes, and might give a scene's second attempt to the same
worker. So each task names its worker.
"""

import logging
import queue
import re
import time
import uuid
from pathlib import Path
from typing import Any

from distributed import Client, Future

from geodecloud.batch.dask_worker import ModelPlugin, restore
from geodecloud.batch.events import Done, Event, Lost, RowsDone
from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Outcome, WorkerSpec
from geodecloud.errors import GeodecloudError, UsageError

_CONNECT_SECONDS = 10  # for the scheduler to answer
_NO_WORKER_SECONDS = 60  # longest time without any worker
_REFRESH_SECONDS = 2  # between two requests for the list of workers


class DaskWorkers:
    """The workers of a cluster, each of which restores one scene at a time.

    Args:
        address: address of the scheduler, like ``tcp://HOST:8786``.
        model: the model file, which is sent to each worker.
        limit: number of workers to use at most; None: all.

    Raises:
        UsageError: the address is malformed.
        GeodecloudError: on entering, no scheduler answers, or a worker has no geodecloud or
            another version.
    """

    def __init__(self, address: str, model: Path, spec: WorkerSpec, limit: int | None) -> None:
        if not re.fullmatch(r"\w+://.+:\d+", address):
            raise UsageError(f"`scheduler` is {address!r}: give an address like tcp://HOST:8786")
        self._address = address
        self._name = f"geodecloud-{uuid.uuid4().hex}"
        self._plugin = ModelPlugin(self._name, model, spec)
        self._limit = limit
        self._futures: dict[str, Future] = {}  # by worker
        self._running: list[str] = []  # workers to which Dask can give tasks
        self._refreshed = self._last_any = 0.0  # seconds of the monotonic clock
        # Rows of a worker, or the name of a worker whose task has ended; filled by Dask's threads.
        self._inbox: queue.SimpleQueue[RowsDone | str] = queue.SimpleQueue()

    def __enter__(self) -> "DaskWorkers":
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # our errors say it in one line
        self._client = self._connect()
        try:
            self._client.register_plugin(self._plugin)
        except ImportError as error:
            self._client.close()
            raise GeodecloudError(
                f"{self._address}: a worker or the scheduler has no geodecloud ({error}); install "
                "'geodecloud[dask]' there"
            ) from error
        except GeodecloudError:
            self._client.close()
            raise
        self._client.subscribe_topic(self._name, self._receive_rows)
        self._refreshed, self._last_any = 0.0, time.monotonic()
        return self

    def _connect(self) -> Client:
        try:
            return Client(self._address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise GeodecloudError(
                f"{self._address}: no Dask scheduler answers there ({type(error).__name__}); "
                "start one with: dask scheduler"
            ) from error

    def __exit__(self, *_: object) -> None:
        if self._client.status == "running":
            self._client.cancel(list(self._futures.values()))
            self._client.unregister_worker_plugin(self._name)
        self._client.close()

    def _receive_rows(self, event: tuple[float, dict[str, Any]]) -> None:
        report = event[1]
        done, total = report["rows"]
        self._inbox.put(RowsDone(report["worker"], done, total))

    def idle(self) -> list[str]:
        """See :class:`geodecloud.batch.events.Workers`, also for the other methods."""
        idle = [address for address in self._running if address not in self._futures]
        if self._limit is None:
            return idle
        return idle[: max(0, self._limit - len(self._futures))]

    def start(self, worker: str, job: Job) -> None:
        """Give a scene to an idle worker."""
        key = f"{self._name}-{uuid.uuid4().hex}"
        future = self._client.submit(
            restore, self._name, job, key, key=key, workers=[worker], pure=False
        )
        self._futures[worker] = future
        future.add_done_callback(lambda _: self._inbox.put(worker))

    def renew(self, worker: str) -> bool:  # noqa: ARG002
        """Return False: only the owner of the cluster can start workers."""
        return False

    def events(self, seconds: float) -> list[Event]:
        """Return what has happened; wait at most ``seconds`` for the first event."""
        events: list[Event] = list(self._refresh())
        try:
            while True:
                news = self._inbox.get(timeout=0 if events else seconds)
                event = self._end(news) if isinstance(news, str) else news
                events += [event] if event else []
        except queue.Empty:
            return events

    def _refresh(self) -> list[Lost]:
        """Ask the scheduler for its workers, at intervals; return those lost with a scene."""
        now = time.monotonic()
        if now - self._refreshed < _REFRESH_SECONDS:
            return []
        self._refreshed = now
        self._refuse_lost_scheduler()
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        self._running = [name for name, facts in known.items() if facts["status"] == "running"]
        self._last_any = now if known else self._last_any
        if now - self._last_any > _NO_WORKER_SECONDS:
            raise GeodecloudError(
                f"{self._address}: has no worker; start some with: dask worker {self._address}"
            )
        return [self._lose(name) for name in list(self._futures) if name not in known]

    def _lose(self, worker: str) -> Lost:
        self._futures.pop(worker).cancel()
        return Lost(worker, f"the Dask worker {worker} was lost; killed, or out of memory?")

    def _end(self, worker: str) -> Done | Lost | None:
        future = self._futures.get(worker)
        if future is None or not future.done():  # the worker was lost meanwhile
            return None
        self._refuse_lost_scheduler(future)
        try:
            outcome: Outcome = future.result(timeout=_CONNECT_SECONDS)
        except TimeoutError:  # the worker was lost before it could send its result
            return self._lose(worker)
        except Exception as error:  # of Dask itself; it becomes the result of the scene
            outcome = Outcome(error=f"{type(error).__name__}: {error}")
        del self._futures[worker]
        return Done(worker, outcome)

    def _refuse_lost_scheduler(self, future: Future | None = None) -> None:
        if self._client.status != "running" or (future and future.cancelled()):
            raise GeodecloudError(
                f"{self._address}: the scheduler is lost; run again: finished scenes are skipped"
            )
