"""Run workers as processes of this machine. This module runs in the batch's owner."""

import logging
import multiprocessing
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from geodecloud.batch.events import Done, Event, Lost
from geodecloud.batch.local_worker import READY, serve, worker_name
from geodecloud.batch.plan import Job
from geodecloud.batch.worker import WorkerSpec
from geodecloud.errors import GeodecloudError

log = logging.getLogger("geodecloud")

_STOP_SECONDS = 10  # for a worker to clean up before it is killed
_spawn = multiprocessing.get_context("spawn")  # a fork would inherit threads and locks


def divide(
    spec: WorkerSpec, processes: int | None, scenes: int | None, gpus: int
) -> list[WorkerSpec]:
    """Return a specification for each process, with its device and its part of the threads.

    Args:
        processes: number of processes; None: one for each GPU, at least one.
        scenes: number of scenes, an upper bound on the processes; None: unknown.
        gpus: number of CUDA devices, which the processes take in turn if the device is "auto".
    """
    gpus = gpus if spec.model.device == "auto" else 0
    processes = processes or max(1, gpus)
    count = min(processes, scenes or processes)
    spec = spec.with_threads(max(1, spec.settings.limits.thread_count // count))
    if not gpus:
        return [spec] * count
    return [spec.with_model(device=f"cuda:{i % gpus}") for i in range(count)]


@dataclass
class _Process:
    spec: WorkerSpec
    process: SpawnProcess
    connection: Connection
    ready: bool = False
    busy: bool = False


class LocalWorkers:
    """One process for each specification.

    A process that dies in the middle of a scene is replaced; :class:`Lost` reports the scene.
    """

    def __init__(self, specs: list[WorkerSpec]) -> None:
        self._specs = specs
        self._processes: dict[str, _Process] = {}
        self._start_failure = ""  # exit of the last worker that was never ready

    def __enter__(self) -> "LocalWorkers":
        for spec in self._specs:
            self._add(spec)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._processes.values():
            worker.process.terminate()
        for name in list(self._processes):
            self._remove(name)

    def _add(self, spec: WorkerSpec) -> None:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=serve, args=(theirs, spec), daemon=True)
        process.start()
        theirs.close()  # so that our end is closed when the worker's is
        assert process.pid  # noqa: S101  for the type check: it has started
        self._processes[worker_name(process.pid)] = _Process(spec, process, ours)

    def _remove(self, name: str) -> _Process:
        worker = self._processes.pop(name)
        worker.process.join(_STOP_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()
        return worker

    def idle(self) -> list[str]:
        """See :class:`geodecloud.batch.events.Workers`, also for the other methods."""
        return [
            name for name, worker in self._processes.items() if worker.ready and not worker.busy
        ]

    def start(self, worker: str, job: Job) -> None:
        """Give a scene to an idle worker."""
        self._processes[worker].busy = True
        with suppress(OSError):  # a worker that has died meanwhile is lost, as `events` will find
            self._processes[worker].connection.send(job)

    def renew(self, worker: str) -> bool:
        """Replace an idle process by a fresh one."""
        self._processes[worker].process.terminate()
        self._add(self._remove(worker).spec)
        return True

    def events(self, seconds: float) -> list[Event]:
        """Return what has happened; wait at most ``seconds`` for the first event."""
        if not self._processes:
            raise GeodecloudError(
                f"every worker exited during startup ({self._start_failure}); give fewer `workers`"
            )
        by_connection = {worker.connection: name for name, worker in self._processes.items()}
        events = [self._receive(by_connection[c]) for c in wait(list(by_connection), seconds)]  # type: ignore[index]
        return [event for event in events if event]

    def _receive(self, name: str) -> Event | None:
        worker = self._processes[name]
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            return self._replace_dead(name)
        if isinstance(message, GeodecloudError):  # model or device: the same for all workers
            for note in getattr(message, "__notes__", ()):
                log.info("%s", note)
            raise message
        if message == READY:
            worker.ready = True
            return None
        if isinstance(message, Done):
            worker.busy = False
        event: Event = message
        return event

    def _replace_dead(self, name: str) -> Lost | None:
        worker = self._remove(name)
        code = worker.process.exitcode or 0
        how = f"killed by signal {-code}; out of memory?" if code < 0 else f"exit code {code}"
        if worker.ready:
            self._add(worker.spec)
        else:  # a fresh one would fail in the same way
            self._start_failure = how
        return Lost(name, f"its worker process ended ({how})") if worker.busy else None
