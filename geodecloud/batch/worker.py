"""Restore one scene after another, inside a worker."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodecloud.batch.plan import Job
from geodecloud.errors import GeodecloudError, GeodecloudWarning
from geodecloud.settings import ModelSpec, Settings

# One scene at a time in each process, since warnings are caught for the process as a whole.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class WorkerSpec:
    """The settings and the model of a worker: plain values, which any process can unpickle.

    mask_only: whether workers write cloud masks and restore nothing.
    """

    settings: Settings
    model: ModelSpec
    mask_only: bool = False

    def with_model(self, **changes: Any) -> WorkerSpec:
        """Return the same specification with some fields of its model changed."""
        return dataclasses.replace(self, model=dataclasses.replace(self.model, **changes))

    def with_threads(self, threads: int) -> WorkerSpec:
        """Return the same specification for another number of threads."""
        return dataclasses.replace(self, settings=self.settings.replace(threads=threads))

    def with_absolute_paths(self) -> WorkerSpec:
        """Return the same specification for workers in other working directories."""
        reading, policy = self.settings.reading, self.settings.policy
        changes: dict[str, Any] = {"references": list(map(_absolute, policy.references))}
        if reading.mask:
            changes["mask"] = _absolute(reading.mask)
        if reading.aoi and Path(reading.aoi).is_file():
            changes["aoi"] = Path(reading.aoi).absolute()
        spec = dataclasses.replace(self, settings=self.settings.replace(**changes))
        return spec.with_model(model=self.model.model.absolute()) if self.model.model else spec


def _absolute(name: Path | str) -> Path | str:
    """Return the absolute path of a file; a name that only GDAL can open stays as it is."""
    return name.absolute() if isinstance(name, Path) else name


@dataclass(frozen=True)
class Outcome:
    """The result of a scene: a report or an error.

    report: as :meth:`geodecloud.decloud.Report.to_dict` returns it.
    error: one line.
    traceback: of an unexpected exception.
    warnings: one line each.
    """

    report: dict[str, Any] | None = None
    error: str | None = None
    traceback: str | None = None
    warnings: tuple[str, ...] = ()


class Restorer:
    """Restores one scene after another with the same predictor.

    Raises:
        GeodecloudError: the model cannot be loaded, or the device is not available.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        # Import now, so that the first scene need not wait.
        from geodecloud import decloud, masking  # noqa: F401
        from geodecloud.model.predictor import load_predictor

        self._settings, self._mask_only = spec.settings, spec.mask_only
        with collected_warnings() as messages:
            self._predictor = load_predictor(spec.model, spec.settings.limits.threads)
        self._start_warnings = messages

    def __call__(self, job: Job, progress: Callable[[int, int], None]) -> Outcome:
        """Restore a scene, and return its result whatever happens.

        The first result has the warnings of the predictor too.
        """
        with _one_at_a_time, collected_warnings() as messages:
            outcome = self._restore(job, progress)
        messages = [*self._start_warnings, *messages]
        self._start_warnings = []
        return dataclasses.replace(outcome, warnings=tuple(dict.fromkeys(messages)))

    def _restore(self, job: Job, progress: Callable[[int, int], None]) -> Outcome:
        from geodecloud.decloud import decloud_scene
        from geodecloud.masking import mask_scene

        try:
            settings = self._settings.replace(**job.beside, overwrite=job.overwrite)
            for path in job.outputs:
                path.parent.mkdir(parents=True, exist_ok=True)
            arguments = job.source, job.output, self._predictor, settings
            name = self._predictor.name
            if self._mask_only:
                found = mask_scene(*arguments, model_name=name, progress=progress)
                return Outcome(report=found.to_dict())
            report = decloud_scene(*arguments, model_name=name, progress=progress)
        except (GeodecloudError, OSError, UnicodeError) as error:
            return Outcome(error=_one_line(error))
        except Exception as error:  # it is recorded, and the batch goes on
            if isinstance(error, MemoryError) or "memory" in str(error):  # PyTorch: RuntimeError
                return Outcome(error=f"out of memory ({_one_line(error)})")
            message = f"{type(error).__name__}: {_one_line(error)} (unexpected: please report it)"
            return Outcome(error=message, traceback=traceback.format_exc())
        return Outcome(report=report.to_dict())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


@contextlib.contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Collect the warnings of the package while the ``with`` block runs, in any thread.

    Warnings of other packages go where they would go without this block.
    """
    messages: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", GeodecloudWarning)
        show_others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, GeodecloudWarning):
                messages.append(" ".join(str(message).split()))
            else:
                show_others(message, category, *where, **more)

        warnings.showwarning = show
        yield messages
