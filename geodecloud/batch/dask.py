"""Workers of an existing Dask cluster, which see the same paths as this machine.

Only whole scenes are sent, one at a time to each worker. Dask would find workers by itself, but
not one at a time, nor another one for a second try; so each task names its worker.
"""

import dataclasses
import logging
import queue
import re
import shutil
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from distributed import Client, Future, WorkerPlugin, get_worker

from geodecloud.batch.events import Done, Event, Lost, Progress
from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Outcome, Restorer, WorkerSpec
from geodecloud.errors import GeodecloudError, UsageError
from geodecloud.version import VERSION

_CONNECT = 10  # seconds for the scheduler to answer
_PATIENCE = 60  # seconds without any worker
_LOOK = 2  # seconds between two looks at which workers there are
_SAY = 0.5  # seconds between two words of a worker on how far it is


class ModelPlugin(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """The model and the spec, sent to each worker once, also to those that join later.

    Args:
        name: of the plugin; unique.
        model: the model file, whose bytes are sent.
    """

    def __init__(self, name: str, model: Path, spec: WorkerSpec) -> None:
        self.name = name
        self._model = (model.name, model.read_bytes())
        self._spec = spec
        self._version = VERSION
        self._restorer: Restorer | None = None

    def setup(self, worker: Any) -> None:
        """Write the model file; called on the worker.

        Raises:
            GeodecloudError: another version of geodecloud is installed there.
        """
        if self._version != VERSION:
            raise GeodecloudError(
                f"{worker.address}: has geodecloud {VERSION}, this is {self._version}; "
                "install the same on all"
            )
        name, content = self._model
        folder = self._folder(worker)
        folder.mkdir()
        (folder / name).write_bytes(content)
        model = dataclasses.replace(self._spec.model, model=folder / name)
        self._spec = dataclasses.replace(self._spec, model=model)
        self._model = (name, b"")

    def teardown(self, worker: Any) -> None:
        """Remove the model file; called on the worker."""
        shutil.rmtree(self._folder(worker), ignore_errors=True)

    def _folder(self, worker: Any) -> Path:
        return Path(worker.local_directory) / self.name

    def restore(self, job: Job, key: str) -> Outcome:
        """Restore a scene, in a thread of the worker; ``key``: of the task."""
        worker, said = get_worker(), 0.0

        def progress(done: int, total: int) -> None:
            nonlocal said
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                raise _UnwantedError
            if time.monotonic() - said > _SAY:
                said = time.monotonic()
                worker.log_event(self.name, {"worker": worker.address, "rows": [done, total]})

        try:
            if self._restorer is None:
                threads = self._spec.settings.limits.threads or worker.state.nthreads
                self._restorer = Restorer(self._spec.with_threads(threads))
        except GeodecloudError as error:
            return Outcome(error=str(error))
        return self._restorer(job, progress)


class _UnwantedError(BaseException):
    """Nobody waits for the scene any more: leaves through every ``with`` block."""


def _restore(plugin: str, job: Job, key: str) -> Outcome:
    """The task."""
    outcome: Outcome = get_worker().plugins[plugin].restore(job, key)
    return outcome


class DaskWorkers:
    """The workers of the cluster, each for a scene at a time.

    Args:
        address: of the scheduler, ``tcp://HOST:8786``.
        limit: how many workers to use at most; None: all.

    Raises:
        UsageError: that is no address.

    Raises, when it is entered:
        GeodecloudError: no scheduler is there, or a worker has another geodecloud, or none.
    """

    def __init__(self, address: str, model: Path, spec: WorkerSpec, limit: int | None) -> None:
        if not re.fullmatch(r"\w+://.+:\d+", address):
            raise UsageError(f"scheduler is {address!r}: give an address like tcp://HOST:8786")
        self._address = address
        self._name = f"geodecloud-{uuid.uuid4().hex}"
        self._plugin = ModelPlugin(self._name, model, spec)
        self._limit = limit
        self._futures: dict[str, Future] = {}  # by worker
        self._there: list[str] = []
        self._looked = self._seen_any = 0.0
        self._news: queue.SimpleQueue[Progress | str] = queue.SimpleQueue()  # str: done, a worker

    def __enter__(self) -> "DaskWorkers":
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what counts is said here
        try:
            self._client = Client(self._address, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise GeodecloudError(
                f"{self._address}: no Dask scheduler answers there ({type(error).__name__}); "
                "start one by: dask scheduler"
            ) from error
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
        self._client.subscribe_topic(self._name, self._hear)
        self._looked, self._seen_any = 0.0, time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._client.status == "running":
            self._client.cancel(list(self._futures.values()))
            self._client.unregister_worker_plugin(self._name)
        self._client.close()

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        said = event[1]
        self._news.put(Progress(said["worker"], *said["rows"]))

    def idle(self) -> list[str]:
        """See :class:`geodecloud.batch.events.Workers`, also of what follows."""
        free = [address for address in self._there if address not in self._futures]
        room = len(free) if self._limit is None else self._limit - len(self._futures)
        return free[: max(0, room)]

    def start(self, worker: str, job: Job) -> None:
        """Give an idle worker a scene."""
        key = f"{self._name}-{uuid.uuid4().hex}"
        future = self._client.submit(
            _restore, self._name, job, key, key=key, workers=[worker], pure=False
        )
        self._futures[worker] = future
        future.add_done_callback(lambda _: self._news.put(worker))

    def renew(self, worker: str) -> bool:  # noqa: ARG002
        """The workers are others' to start: never."""
        return False

    def events(self, seconds: float) -> list[Event]:
        """What has happened; waits so long for the first."""
        events: list[Event] = list(self._look())
        try:
            while True:
                news = self._news.get(timeout=0 if events else seconds)
                event = self._result(news) if isinstance(news, str) else news
                events += [event] if event else []
        except queue.Empty:
            return events

    def _look(self) -> list[Lost]:
        """See from time to time which workers there are; returns those lost with a scene."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return []
        self._looked = now
        self._refuse_lost_scheduler()
        there = self._client.scheduler_info(n_workers=-1)["workers"]
        self._there = [name for name, facts in there.items() if facts["status"] == "running"]
        self._seen_any = now if there else self._seen_any
        if now - self._seen_any > _PATIENCE:
            raise GeodecloudError(
                f"{self._address}: has no worker; start some by: dask worker {self._address}"
            )
        return [self._lose(name) for name in list(self._futures) if name not in there]

    def _lose(self, worker: str) -> Lost:
        self._futures.pop(worker).cancel()
        return Lost(worker, f"the Dask worker {worker} was lost; killed, or out of memory?")

    def _result(self, worker: str) -> Done | Lost | None:
        future = self._futures.get(worker)
        if future is None or not future.done():  # of a worker that was lost meanwhile
            return None
        self._refuse_lost_scheduler(future)
        try:
            outcome: Outcome = future.result(timeout=_CONNECT)
        except TimeoutError:  # lost with the result in its hands
            return self._lose(worker)
        except Exception as error:  # of Dask's own; it is this scene's result
            outcome = Outcome(error=f"{type(error).__name__}: {error}")
        del self._futures[worker]
        return Done(worker, outcome)

    def _refuse_lost_scheduler(self, future: Future | None = None) -> None:
        if self._client.status != "running" or (future and future.cancelled()):
            raise GeodecloudError(
                f"{self._address}: the scheduler is lost; run again, and what is done is skipped"
            )
