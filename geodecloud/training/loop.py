"""Take the steps of a run, show its progress, and save it when due."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

from geodecloud.errors import GeodecloudError, UsageError
from geodecloud.raster.signals import Stopped, defer_signals
from geodecloud.settings import Monitoring
from geodecloud.training.progress import Progress
from geodecloud.training.state import State
from geodecloud.training.writer import RunWriter


def begin(run: State, out: Path, start: Path | None) -> None:
    """Take over the weights of ``start``, and the state of ``out`` where there is one."""
    if start:
        run.start_from(start)
    if (out / "last.pt").exists():
        run.load(out / "last.pt")
    facts = {"step of last.pt": run.step, "tiles": run.data, "config": run.config.to_dict()}
    run.processes.agree(facts)


def check_run(out: Path, monitoring: Monitoring, *, resume: bool) -> None:
    """Check that a folder holds no run, or that the run is to be resumed, and that it can be shown.

    Raises:
        GeodecloudError: ``out`` holds a run.
        UsageError: TensorBoard is asked for, but not installed.
    """
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
    """Take all steps that remain. Ctrl-C and a request to end save the state first.

    Args:
        losses: yields the losses of each step after it was taken.
        is_due: whether everything is to be written after a step; after the last it is.
        writer: None in processes that do not write.
    """
    progress = Progress(run, hidden=monitoring.quiet or not writer)
    if run.step:
        progress.say(f"resumed after step {run.step} of {run.size[0]}")
    try:
        while _take_step(run, losses, writer, progress):
            if (run.step == run.size[0] or is_due()) and writer:
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

    A request to end waits for the end of the step, and the state is saved then. Not so where
    there are several processes: they may wait in the step for one that has gone.
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
        if alone and writer and run.step < run.size[0]:
            writer.save()
        raise
    return step is not None
