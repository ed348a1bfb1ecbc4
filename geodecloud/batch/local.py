"""Workers that are processes of this machine."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, NoReturn

from geodecloud.batch.events import Done, Event, Lost, Progress
from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Restorer, WorkerSpec
from geodecloud.errors import GeodecloudError
from geodecloud.restore.heap import use_one_heap

log = logging.getLogger("geodecloud")

_PATIENCE = 10  # seconds for a worker to clean up before it is killed
_spawn = multiprocessing.get_context("spawn")  # a fork would inherit threads and locks


@dataclass
class _Process:
    """A worker as its owner sees it."""

    spec: WorkerSpec
    process: Any  # multiprocessing.context.SpawnProcess
    connection: Connection
    ready: bool = False
    busy: bool = False


class LocalWorkers:
    """One process for each of the spec. One that dies takes its scene with it, and is replaced.

    Args:
        spec: a worker's, with its device and its part of the threads.
    """

    def __init__(self, spec: list[WorkerSpec]) -> None:
        self._spec = spec
        self._processes: dict[str, _Process] = {}
        self._never_ready = ""  # how a worker ended that never was

    def __enter__(self) -> "LocalWorkers":
        for spec in self._spec:
            self._add(spec)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._processes.values():
            worker.process.terminate()
        for name in list(self._processes):
            self._end(name)

    def _add(self, spec: WorkerSpec) -> None:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_serve, args=(theirs, spec), daemon=True)
        process.start()
        theirs.close()  # so that the worker's end closes ours
        self._processes[f"{socket.gethostname()}:{process.pid}"] = _Process(spec, process, ours)

    def _end(self, name: str) -> _Process:
        worker = self._processes.pop(name)
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()
        return worker

    def idle(self) -> list[str]:
        """See :class:`geodecloud.batch.events.Workers`, also of what follows."""
        return [
            name for name, worker in self._processes.items() if worker.ready and not worker.busy
        ]

    def start(self, worker: str, job: Job) -> None:
        """Give an idle worker a scene."""
        self._processes[worker].busy = True
        self._processes[worker].connection.send(job)

    def renew(self, worker: str) -> bool:
        """Put a fresh process in the place of an idle one."""
        self._processes[worker].process.terminate()
        self._add(self._end(worker).spec)
        return True

    def events(self, seconds: float) -> list[Event]:
        """What has happened; waits so long for the first."""
        if not self._processes:
            raise GeodecloudError(
                f"no worker is left, they end while starting: {self._never_ready}"
            )
        by_connection = {worker.connection: name for name, worker in self._processes.items()}
        events = [self._receive(by_connection[c]) for c in wait(list(by_connection), seconds)]  # type: ignore[index]
        return [event for event in events if event]

    def _receive(self, name: str) -> Event | None:
        worker = self._processes[name]
        try:
            event = worker.connection.recv()
        except (EOFError, OSError):
            return self._lost(name)
        if isinstance(event, GeodecloudError):  # the model or the device: so it is with all
            for note in getattr(event, "__notes__", ()):
                log.info("%s", note)
            raise event
        if event is None:
            worker.ready = True
        elif isinstance(event, Done):
            worker.busy = False
        return event  # type: ignore[no-any-return]

    def _lost(self, name: str) -> Lost | None:
        worker = self._end(name)
        code = worker.process.exitcode
        how = f"killed by signal {-code}; out of memory?" if code < 0 else f"exit code {code}"
        if worker.ready:
            self._add(worker.spec)
        else:  # it would do so for ever
            self._never_ready = how
        if not worker.busy:
            return None
        return Lost(name, f"its worker process ended ({how})")


class _StopError(BaseException):
    """The owner wants the worker to end: leaves through every ``with`` block."""


def _stop(*_: object) -> NoReturn:
    raise _StopError


def _serve(connection: Connection, spec: WorkerSpec) -> None:
    """The life of a worker: None when ready, and for each job Progress and a Done."""
    use_one_heap()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the owner, who tells us
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_owner, daemon=True).start()
    name = f"{socket.gethostname()}:{os.getpid()}"
    try:
        try:
            restore = Restorer(spec)
        except GeodecloudError as error:
            connection.send(error)
            return
        except Exception as error:  # the owner says it, whatever it is
            said = GeodecloudError(f"no worker starts: {type(error).__name__}: {error}")
            said.add_note(traceback.format_exc())  # its own is lost on the way
            connection.send(said)
            return
        connection.send(None)
        while True:
            job = connection.recv()
            outcome = restore(job, lambda done, all_: connection.send(Progress(name, done, all_)))
            connection.send(Done(name, outcome))
    except (_StopError, EOFError, BrokenPipeError):
        return


def _end_with_owner() -> None:
    """A worker whose owner was killed ends at once, and cleans up."""
    owner = multiprocessing.parent_process()
    assert owner  # noqa: S101  for the type check
    owner.join()
    os.kill(os.getpid(), signal.SIGTERM)
