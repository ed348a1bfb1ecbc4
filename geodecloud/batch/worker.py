"""One scene, inside a worker: what comes of it is a value, never an exception."""

import dataclasses
import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geodecloud.batch.plan import Job
from geodecloud.errors import GeodecloudError
from geodecloud.settings import ModelSpec, Settings

Progress = Callable[[int, int], None]

# The parts of an output are named by the process that writes them: one scene at a time in each.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What came of a scene: the report, see :class:`geodecloud.decloud.Report`, or an error.

    error: one line; traceback: of an error that nobody expected.
    warnings: what was said on the way.
    """

    report: dict[str, Any] | None = None
    error: str | None = None
    traceback: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkerSpec:
    """How a worker restores its scenes; plain values, which any process can unpickle."""

    settings: Settings
    model: ModelSpec

    def with_threads(self, threads: int) -> "WorkerSpec":
        """Return the same for another number of threads."""
        return WorkerSpec(self.settings.replace(threads=threads), self.model)


class Restorer:
    """Restores scene after scene with one predictor.

    Raises:
        GeodecloudError: the model or the device is not to be had.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        from geodecloud.model.checkpoint import default_model
        from geodecloud.model.predictor import Predictor

        self._settings, model = spec.settings, spec.model
        self._predictor = Predictor(
            model.model or default_model(),
            model.device,
            model.precision,
            self._settings.limits.threads,
        )

    def __call__(self, job: Job, progress: Progress) -> Outcome:
        """Restore a scene; ``progress`` is called with (rows done, rows in all)."""
        with _one_at_a_time, _Warnings() as warnings:
            outcome = self._restore(job, progress)
        return dataclasses.replace(outcome, warnings=tuple(warnings.lines))

    def _restore(self, job: Job, progress: Progress) -> Outcome:
        from geodecloud.decloud import decloud_scene

        try:
            settings = self._settings.replace(
                provenance=job.provenance,
                preview=job.preview,
                overwrite=job.overwrite,
            )
            for path in job.outputs:
                path.parent.mkdir(parents=True, exist_ok=True)
            report = decloud_scene(
                job.source,
                job.output,
                self._predictor,
                settings,
                model_name=self._predictor.name,
                progress=progress,
            )
        except (GeodecloudError, OSError, UnicodeError) as error:
            return Outcome(error=_one_line(error))
        except Exception as error:  # it is recorded, and the batch goes on
            if isinstance(error, MemoryError) or "memory" in str(error):  # torch's: RuntimeError
                return Outcome(error=f"out of memory ({_one_line(error)})")
            text = f"{type(error).__name__}: {_one_line(error)} (not foreseen: please report it)"
            return Outcome(error=text, traceback=traceback.format_exc())
        return Outcome(report=report.to_dict())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _Warnings(logging.Handler):
    """Keeps what the package says while the ``with`` block runs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> "_Warnings":
        logging.getLogger("geodecloud").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("geodecloud").removeHandler(self)
