"""Take the steps of a run, show its progress, and save it when due."""

import contextlib
import importlib.util
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from geodecloud.errors import GeodecloudError, OutputError, UsageError
from geodecloud.raster.signals import Stopped, defer_signals
from geodecloud.settings import Monitoring
from geodecloud.training.progress import Progress
from geodecloud.training.state import State
from geodecloud.training.writer import RunWriter


def begin(run: State, out: Path, start: Path | None) -> None:
    """Load the state of ``out`` if it holds one, else the weights of ``start``.

    Args:
        start: a model file, or the state of another run; None: random weights.

    Raises:
        DataError: the processes have different states, data or configurations.
        GeodecloudError: the state is damaged, or of another configuration, other data or another
            ``start``; or the networks of ``start`` have another shape.
        ModelError: ``start`` cannot be read.
    """
    if (out / "last.pt").exists():
        run.load(out / "last.pt", start)
    elif start:
        run.start_from(start)
    config = run.config.to_dict()
    facts = {"step of last.pt": run.step, "training data": run.data, "configuration": config}
    run.processes.agree(facts)


def check_run(out: Path, monitoring: Monitoring, *, resume: bool) -> None:
    """Check that a run may write to ``out``, and that it can be monitored as wanted.

    Raises:
        GeodecloudError: ``out`` holds a run, and ``resume`` is false.
        OutputError: ``out`` is a file, lies below one, or is not writable.
        UsageError: ``log_dir`` is given, but TensorBoard is not installed.
    """
    existing = next(path for path in (out, *out.parents) if os.path.lexists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise OutputError(f"{existing}: is no folder to write to; give another `out`")
    if (out / "last.pt").exists() and not resume:
        raise GeodecloudError(f"{out}: holds a run; give `resume`, or another `out`")
    if monitoring.log_dir and not importlib.util.find_spec("tensorboard"):
        raise UsageError("`log_dir` needs TensorBoard: pip install 'geodecloud[tensorboard]'")


def take_steps(
    run: State,
    losses: Iterator[dict[str, float]],
    is_due: Callable[[], bool],
    writer: RunWriter | None,
    monitoring: Monitoring,
) -> None:
    """Take all steps that remain. On Ctrl-C or a request to end, save the state first.

    Args:
        losses: takes a step each time, and yields its losses.
        is_due: returns whether to validate and write after this step. The last step is always due.
        writer: None in processes that do not write.
        monitoring: whether progress is shown.
    """
    progress = Progress(run, hidden=monitoring.quiet or not writer)
    if run.step:
        progress.say(f"resumed after step {run.step} of {run.steps}")
    else:
        progress.say(f"new run of {run.steps} steps")
    try:
        if run.losses and writer and (run.step == run.steps or is_due()):
            progress.say(writer.write(math.nan))  # Ctrl-C came before this step was validated
        while _take_step(run, losses, writer, progress):
            if (run.step == run.steps or is_due()) and writer:
                progress.say(writer.write(progress.images_per_second))
    except (KeyboardInterrupt, Stopped):
        if writer:
            progress.say(f"stopped after step {run.step}; {writer.saved}")
        raise
    finally:
        progress.close()
        if writer:
            writer.close()
    run.processes.wait()


def _take_step(
    run: State, losses: Iterator[dict[str, float]], writer: RunWriter | None, progress: Progress
) -> bool:
    """Take a step and return True, or False where none remains.

    A request to end waits for the end of the step; then the state is saved. With several processes
    neither is possible: the step may wait forever for a process that has ended.
    """
    alone = run.processes.count == 1
    try:
        with defer_signals() if alone else contextlib.nullcontext():
            step = next(losses, None)
            if step is not None:
                progress.add(step)
                if writer:
                    writer.add(step)
    except (KeyboardInterrupt, Stopped):
        if alone and writer:
            writer.save()
        raise
    return step is not None
