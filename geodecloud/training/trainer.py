"""Train a model at one level, from the first step to the last, through interruptions."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from geodecloud.settings import Monitoring
from geodecloud.training.config import Config
from geodecloud.training.distributed import Processes, joined_processes
from geodecloud.training.loader import RunTiles, batches
from geodecloud.training.loop import begin, check_run, take_steps
from geodecloud.training.state import Run
from geodecloud.training.step import train_step
from geodecloud.training.validate import TileJudge
from geodecloud.training.writer import RunWriter

_DEFAULT_MONITORING = Monitoring()


def train(
    config: Config,
    data: RunTiles,
    out: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    monitoring: Monitoring = _DEFAULT_MONITORING,
) -> Path:
    """Train and return the path of the last model, ``out/last.safetensors``.

    The folder ``out`` gets ``last.pt`` (the state, for ``resume``), ``last.safetensors`` and
    ``best.safetensors`` (averaged weights; best by the PSNR over the held-out tiles),
    ``losses.jsonl``, ``metrics.jsonl``, ``losses.png``, ``README.md`` and, for each validation,
    ``models/step_N.safetensors`` and ``figures/step_N.png``.

    Args:
        config: of the run.
        data: tiles to train and to validate on.
        out: a folder, made if it does not exist.
        start: a model file, or the state (``.pt``) of a run, to start from; None: random weights.
        resume: resume from ``out/last.pt`` if it exists.
        device: to train on; "auto" is a GPU if there is one.
        monitoring: how the run shows and logs its progress.

    Raises:
        DataError: there are too few tiles, processes disagree, or a loss is not finite.
        GeodecloudError: ``out`` holds a run and ``resume`` is false, or it holds a run of another
            configuration, of other tiles or from another ``start``; or the networks of ``start``
            have another shape.
        ModelError: ``start`` cannot be read.
        OutputError: a file cannot be written.
        UsageError: the device is not available, or TensorBoard is not installed.
    """
    check_run(out, monitoring, resume=resume)
    with joined_processes(device) as processes:
        config = _settled(config, len(data.training), processes)
        run = Run(config, processes, data.training.digest())
        begin(run, out, start)
        writer = None
        if processes.writes:
            about = {"training_tiles": len(data.training), **data.about}
            writer = RunWriter(out, about, run, TileJudge(run, data), monitoring)
        every = config.training.validate_every
        take_steps(run, _losses(run, data), lambda: run.step % every == 0, writer, monitoring)
    return out / "last.safetensors"


def _settled(config: Config, tiles: int, processes: Processes) -> Config:
    """Return the configuration with steps, precision and validation settled by data and machine.

    Raises:
        DataError: the processes cannot divide a batch evenly.
    """
    plan = config.training
    processes.refuse_uneven(plan.batch_size, "training")
    epoch = max(tiles // plan.batch_size, 1)
    steps = round(plan.epochs * epoch) if plan.epochs else plan.steps
    settled = dataclasses.replace(
        plan,
        steps=max(steps, 1),
        epochs=0,
        precision=processes.settled(plan.precision),
        validate_every=plan.validate_every or epoch,
    )
    return dataclasses.replace(config, training=settled)


def _losses(run: Run, data: RunTiles) -> Iterator[dict[str, float]]:
    """Take each step that remains, and yield its losses."""
    plan, processes = run.config.training, run.processes
    process = (processes.rank, processes.count)
    for batch in batches(data.training, plan.seed, plan.batch_size, run.step, process):
        if run.step >= plan.steps:
            return
        losses = train_step(run, batch.to(processes.device))
        run.step += 1
        yield losses
