"""Take the steps of a run, show how it goes, and write when that is due."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from geodecloud.errors import GeodecloudError
from geodecloud.training.state import State
from geodecloud.training.writer import RunWriter

_LINE_EVERY = 10.0  # seconds from one line to the next where stderr is no terminal


class Means:
    """Means of losses over the steps in which they occurred."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, losses: dict[str, float]) -> None:
        """Add the losses of a step."""
        for name, value in losses.items():
            self._sums[name] += value
            self._counts[name] += 1

    def take(self) -> dict[str, float]:
        """Return the means, and begin anew."""
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        self._sums.clear()
        self._counts.clear()
        return means


def begin(run: State, out: Path, start: Path | None) -> None:
    """Take over the weights of ``start``, and the state of ``out`` where there is one."""
    if start:
        run.start_from(start)
    if (out / "last.pt").exists():
        run.load(out / "last.pt")
    facts = {"step of last.pt": run.step, "tiles": run.data, "config": run.config.to_dict()}
    run.processes.agree(facts)


def refuse_to_restart(out: Path, *, resume: bool) -> None:
    """Check that a folder holds no run, or that the run is to be resumed.

    Raises:
        GeodecloudError: ``out`` holds a run.
    """
    if (out / "last.pt").exists() and not resume:
        raise GeodecloudError(f"{out}: holds a run; give `resume`, or another `out`")


def take_steps(
    run: State,
    losses: Iterator[dict[str, float]],
    is_due: Callable[[], bool],
    writer: RunWriter | None,
) -> None:
    """Take all steps that remain.

    Args:
        losses: yields the losses of each step after it was taken.
        is_due: whether the state is to be written after a step; after the last it is.
        writer: None in processes that do not write.
    """
    begun = shown = time.monotonic()
    first, (steps, batch_size) = run.step, run.size
    written, printed = Means(), Means()
    bar = tqdm(
        total=steps, initial=first, unit="step", disable=None if run.processes.writes else True
    )
    for step in losses:
        written.add(step)
        printed.add(step)
        now = time.monotonic()
        speed = batch_size * (run.step - first) / (now - begun)
        bar.set_postfix(
            {k: f"{v:.3f}" for k, v in step.items()} | {"images/s": f"{speed:.0f}"}, refresh=False
        )
        bar.update()
        if bar.disable and writer and (now - shown >= _LINE_EVERY or run.step == steps):
            line = {"step": run.step, "images/s": round(speed, 1)}
            bar.write(json.dumps(line | {k: round(v, 4) for k, v in printed.take().items()}))
            shown = now
        if run.step == steps or is_due():
            means = written.take()
            if writer:
                bar.write(writer.write(means | {"images_per_second": speed}))
    bar.close()
    run.processes.wait()
