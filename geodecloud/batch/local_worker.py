"""Serve a batch from a process of this machine. This module runs in that process."""

import multiprocessing
import os
import signal
import socket
import threading
import traceback
from multiprocessing.connection import Connection

from geodecloud.batch.events import Done, RowsDone
from geodecloud.batch.worker import Restorer, WorkerSpec
from geodecloud.errors import GeodecloudError
from geodecloud.model.startup import quick_imports
from geodecloud.raster.process import own_process
from geodecloud.raster.signals import Stopped, requests, stopped_by
from geodecloud.restore.heap import use_one_heap

READY = "ready"


def worker_name(pid: int) -> str:
    """Return the name of a worker on this machine, by which owner and worker know it."""
    return f"{socket.gethostname()}:{pid}"


def serve(connection: Connection, spec: WorkerSpec) -> None:
    """Restore the scenes that arrive on a connection until the owner stops this process.

    Sends ``READY`` once, or the error that keeps the worker from starting; then, for each
    :class:`~geodecloud.batch.plan.Job` received, :class:`RowsDone` many times and
    :class:`Done` once.
    """
    use_one_heap()
    own_process()
    # Ctrl-C and a closed terminal reach the owner, which stops us.
    for number in {*requests()} - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    worker = worker_name(os.getpid())

    def progress(done: int, total: int) -> None:
        connection.send(RowsDone(worker, done, total))

    with stopped_by(signal.SIGTERM):
        threading.Thread(target=_stop_with_owner, daemon=True).start()
        try:
            restore = _restorer(connection, spec)
            while restore:
                connection.send(Done(worker, restore(connection.recv(), progress)))
        except (EOFError, BrokenPipeError):
            return
        except Stopped as stopped:
            stopped.arrived = True


def _restorer(connection: Connection, spec: WorkerSpec) -> Restorer | None:
    """Return the restorer of scenes; None after an error, which the owner raises."""
    try:
        with quick_imports():
            restorer = Restorer(spec)
    except GeodecloudError as error:
        connection.send(error)
        return None
    except Exception as error:
        failure = GeodecloudError(f"no worker starts: {type(error).__name__}: {error}")
        failure.add_note(traceback.format_exc())  # pickling drops the traceback itself
        connection.send(failure)
        return None
    connection.send(READY)
    return restorer


def _stop_with_owner() -> None:
    """Stop this process, cleaning up, as soon as its owner has died."""
    owner = multiprocessing.parent_process()
    assert owner  # noqa: S101  for the type check
    owner.join()
    os.kill(os.getpid(), signal.SIGTERM)
