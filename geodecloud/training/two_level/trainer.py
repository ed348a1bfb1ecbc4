"""Train both levels in one network, from the first step to the last, through interruptions."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.synthesis import Batch, make_batch
from geodecloud.errors import UsageError
from geodecloud.model.model_file import read_info
from geodecloud.settings import Monitoring
from geodecloud.training.distributed import Processes, joined_processes
from geodecloud.training.loop import begin, check_run, take_steps
from geodecloud.training.saved_state import read_networks
from geodecloud.training.two_level.keep import Teacher
from geodecloud.training.two_level.library import Library, WindowSources
from geodecloud.training.two_level.narrow import is_narrower
from geodecloud.training.two_level.recipe import Recipe
from geodecloud.training.two_level.state import Run
from geodecloud.training.two_level.step import read_losses, train_step
from geodecloud.training.two_level.validate import WindowJudge
from geodecloud.training.writer import RunWriter

_DEFAULT_MONITORING = Monitoring()
_WINDOW_BATCHES = 6  # of 64 windows, by which a wider model is narrowed


def train(
    recipe: Recipe,
    sources: WindowSources,
    out: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    monitoring: Monitoring = _DEFAULT_MONITORING,
) -> Path:
    """Train and return the path of the last model, ``out/last.safetensors``.

    The folder ``out`` gets the files that :func:`geodecloud.training.trainer.train` writes.

    Args:
        recipe: of the run.
        sources: files to train on.
        out: a folder, made if it does not exist.
        start: a model file, or the state (``.pt``) of a run, to start from; None: random weights.
            A run from a generator narrower than the recipe's keeps its widths.
        resume: resume from ``out/last.pt`` if it exists.
        device: to train on; "auto" is a GPU if there is one.
        monitoring: how the run shows and logs its progress.

    Raises:
        DataError: data is missing or damaged, processes disagree, or a loss is not finite.
        GeodecloudError: ``out`` holds a run and ``resume`` is false, or it holds a run of another
            recipe, of other data or from another ``start``.
        ModelError: ``start`` cannot be read, or its networks do not fit the recipe's.
        OutputError: a file cannot be written.
        SceneError: a scene cannot be read.
        UsageError: the device is not available, TensorBoard is not installed, or the recipe keeps
            the answers of a model and ``start`` is missing or is not a model file.
    """
    check_run(out, monitoring, resume=resume)
    if recipe.schedule.keep and not start:
        raise UsageError(
            "`start` is missing: give the model whose answers are kept, or set keep = false in "
            "[schedule]"
        )
    if recipe.schedule.keep and start and start.suffix == ".pt":
        raise UsageError(
            f"{start}: is the state of a run: give a model file, whose answers can be kept, or set "
            "keep = false in [schedule]"
        )
    if start:
        recipe = _as_narrow_as(start, recipe)
    with joined_processes(device) as processes:
        recipe = _settled(recipe, processes)
        library = sources.read(recipe, processes.device)
        run = Run(recipe, processes, library.digest, partial(_windows, recipe, library))
        begin(run, out, start)
        teacher = Teacher(start, run) if recipe.schedule.keep and start else None
        train_run(run, library, out, monitoring, teacher)
    return out / "last.safetensors"


def train_run(
    run: Run,
    library: Library,
    out: Path,
    monitoring: Monitoring = _DEFAULT_MONITORING,
    teacher: Teacher | None = None,
) -> None:
    """Train a run from its current step to the last.

    Args:
        teacher: model whose answers the run keeps; None: the truth is that of the windows.
    """
    writer = None
    if run.processes.writes:
        writer = RunWriter(out, library.about, run, WindowJudge(run, library), monitoring)
    is_due = _every(run.config.schedule.save_every)
    take_steps(run, _losses(run, library, teacher), is_due, writer, monitoring)


def _as_narrow_as(start: Path, recipe: Recipe) -> Recipe:
    """Return the recipe with the start's widths, if these are smaller: no run adds channels."""
    if start.suffix == ".pt":
        _, plan, _ = read_networks(start, torch.device("cpu"))
    else:
        plan = read_info(start).plan
    return replace(recipe, generator=plan) if is_narrower(plan, recipe.generator) else recipe


def _settled(recipe: Recipe, processes: Processes) -> Recipe:
    """Return the recipe with its precision settled by the machine.

    Raises:
        DataError: the processes cannot divide a batch evenly.
    """
    plan = recipe.schedule
    processes.refuse_uneven(plan.batch_size, "schedule")
    return recipe.with_schedule(precision=processes.settled(plan.precision))


def _windows(recipe: Recipe, library: Library) -> Iterator[Tensor]:
    """Yield inputs of the generator that no step trains on, the same in all processes."""
    for step in range(_WINDOW_BATCHES):
        draw = Draw(recipe.schedule.seed, -1 - step, library.device)
        yield make_batch(draw, library.land, library.bank, 64, recipe.synthesis).model_input.cpu()


def _every(seconds: float) -> Callable[[], bool]:
    """Return a function that returns true at most once in ``seconds``, and not before."""
    last = time.monotonic()

    def is_due() -> bool:
        nonlocal last
        if time.monotonic() - last < seconds:
            return False
        last = time.monotonic()
        return True

    return is_due


def _losses(run: Run, library: Library, teacher: Teacher | None) -> Iterator[dict[str, float]]:
    """Take each step that remains, and yield its losses."""
    steps, batch = run.config.schedule.steps, _batch(run, library, teacher)
    while run.step < steps:
        losses = train_step(run, batch)
        # The next batch is made before the losses are read, so that a GPU need not wait.
        if run.step < steps:
            batch = _batch(run, library, teacher)
        yield read_losses(losses, run.step - 1)


def _batch(run: Run, library: Library, teacher: Teacher | None) -> Batch:
    """Make this process's part of the batch of the run's step."""
    plan, processes = run.config.schedule, run.processes
    draw = Draw(plan.seed, run.step, library.device, part=processes.rank)
    size = plan.batch_size // processes.count
    batch = make_batch(draw, library.land, library.bank, size, run.config.synthesis)
    return teacher.teach(batch) if teacher else batch
