"""Start the workers of a batch: processes of this machine, or those of a Dask scheduler."""

from dataclasses import dataclass

from geodecloud.batch.events import Workers
from geodecloud.batch.local import LocalWorkers, divide
from geodecloud.batch.worker import WorkerSpec
from geodecloud.errors import UsageError
from geodecloud.model.device import gpu_count
from geodecloud.model.model_file import ModelInfo, default_model, read_info
from geodecloud.raster.profile import refuse_unknown_options


@dataclass(frozen=True)
class Crew:
    """The workers that a user wants.

    count: number of workers; None: one for each GPU or Dask worker, at least one.
    scheduler: address of a Dask scheduler; None: processes of this machine.
    """

    spec: WorkerSpec
    count: int | None = None
    scheduler: str | None = None

    def check(self) -> ModelInfo:
        """Return the description of the model, before any work.

        Raises:
            UsageError: GDAL has no such creation option.
            ModelError: the model file is missing or damaged.
        """
        refuse_unknown_options(self.spec.settings.output)
        return read_info(self.spec.model.model or default_model())

    def start(self, scenes: int | None) -> Workers:
        """Return workers for a number of scenes, to be entered; None: the number is unknown.

        Raises:
            UsageError: Dask is not installed.
        """
        if not self.scheduler:
            return LocalWorkers(divide(self.spec, self.count, scenes, gpu_count()))
        try:
            from geodecloud.batch.dask import DaskWorkers
        except ImportError as error:
            raise UsageError(
                f"`scheduler` needs Dask ({error}): pip install 'geodecloud[dask]'"
            ) from error
        model = self.spec.model.model or default_model()
        return DaskWorkers(self.scheduler, model, self.spec, self.count)
