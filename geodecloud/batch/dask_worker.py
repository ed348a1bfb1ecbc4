"""Restore scenes in a worker of a Dask cluster. This module runs in that worker."""

import shutil
import time
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Outcome, Restorer, WorkerSpec
from geodecloud.errors import GeodecloudError
from geodecloud.restore.heap import keep_freed_memory
from geodecloud.version import VERSION

_REPORT_SECONDS = 0.5  # between two reports of the rows done, and before the first


class ModelPlugin(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """The specification and the model file, sent once to each worker, even one that joins later.

    Args:
        name: a unique name.
        model: the model file, whose bytes are sent.
    """

    def __init__(self, name: str, model: Path, spec: WorkerSpec) -> None:
        self.name = name
        self._model_name, self._model_bytes = model.name, model.read_bytes()
        self._spec = spec
        self._version = VERSION  # the owner's
        self._restorer: Restorer | None = None
        self._fault = ""  # of the setup

    def setup(self, worker: Any) -> None:
        """Write the model file; Dask calls this on the worker.

        Dask keeps a worker that joins later and fails here, so its scenes get the error, too.

        Raises:
            GeodecloudError: another version of geodecloud is installed there.
            OSError: the model file cannot be written.
        """
        try:
            self._set_up(worker)
        except (GeodecloudError, OSError) as error:
            self._fault = str(error)
            raise

    def _set_up(self, worker: Any) -> None:
        if self._version != VERSION:
            raise GeodecloudError(
                f"{worker.address} has geodecloud {VERSION}, this machine {self._version}: "
                "install the same version on all"
            )
        keep_freed_memory()
        folder = self._folder(worker)
        folder.mkdir()
        path = folder / self._model_name
        path.write_bytes(self._model_bytes)
        self._model_bytes = b""
        self._spec = self._spec.with_model(model=path)

    def teardown(self, worker: Any) -> None:
        """Remove the model file; Dask calls this on the worker."""
        shutil.rmtree(self._folder(worker), ignore_errors=True)

    def _folder(self, worker: Any) -> Path:
        return Path(worker.local_directory) / self.name

    def restore(self, job: Job, key: str) -> Outcome:
        """Restore a scene in a thread of the worker.

        Args:
            key: Dask's name of the task; cancelling the task stops the work.
        """
        if self._fault:
            return Outcome(error=self._fault)
        worker, reported = get_worker(), time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal reported
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                raise _CancelledError
            if time.monotonic() - reported > _REPORT_SECONDS:
                reported = time.monotonic()
                worker.log_event(self.name, {"worker": worker.address, "rows": [done, total]})

        try:
            if self._restorer is None:
                threads = self._spec.settings.limits.threads or worker.state.nthreads
                self._restorer = Restorer(self._spec.with_threads(threads))
        except GeodecloudError as error:
            return Outcome(error=str(error))
        return self._restorer(job, progress)


class _CancelledError(BaseException):
    """The owner no longer waits for the scene. ``except Exception`` must not catch this."""


def restore(plugin: str, job: Job, key: str) -> Outcome:
    """Restore a scene with the plugin of this name: the task that the owner submits."""
    outcome: Outcome = get_worker().plugins[plugin].restore(job, key)
    return outcome
