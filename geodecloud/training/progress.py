"""Show the progress of a run: a bar on a terminal, elsewhere a line every half minute."""

import sys
import time

from tqdm import tqdm

from geodecloud.training.means import Means
from geodecloud.training.state import State

_LINE_EVERY = 30.0  # seconds from one line to the next if stderr is no terminal


class Progress:
    """Progress of a run, on stderr.

    Args:
        hidden: show nothing.
    """

    def __init__(self, run: State, *, hidden: bool) -> None:
        self.run, self.hidden = run, hidden
        self._first, self._begun = run.step, time.monotonic()
        self._shown, self._means = self._begun, Means()
        # For tqdm, None disables the bar unless stderr is a terminal.
        self._bar = tqdm(
            total=run.steps, initial=run.step, unit="step", disable=True if hidden else None
        )

    @property
    def images_per_second(self) -> float:
        """Mean rate since the run began or was resumed, the time of validation included."""
        return self.run.batch_size * self._rate

    @property
    def _rate(self) -> float:
        """Mean rate in steps per second."""
        return (self.run.step - self._first) / max(time.monotonic() - self._begun, 1e-9)

    def add(self, losses: dict[str, float]) -> None:
        """Show the losses of a step that was taken."""
        if self.hidden:
            return
        if not self._bar.disable:
            shown = {name: f"{value:.3f}" for name, value in losses.items()}
            shown["images/s"] = f"{self.images_per_second:.0f}"
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update()
            return
        self._means.add(losses)
        now = time.monotonic()
        if now - self._shown >= _LINE_EVERY or self.run.step == self.run.steps:
            self._shown = now
            self.say(self._line())

    def _line(self) -> str:
        """Return step, time left, rate and the mean losses since the last line."""
        step, steps = self.run.step, self.run.steps
        left = tqdm.format_interval((steps - step) / max(self._rate, 1e-9))
        losses = ", ".join(f"{name} {value:.4f}" for name, value in self._means.take().items())
        return (
            f"step {step} of {steps} ({step / steps:.0%}), {left} left, "
            f"{self.images_per_second:.1f} images/s: {losses}"
        )

    def say(self, line: str) -> None:
        """Show a line; on a terminal, above the bar."""
        if not self.hidden:
            self._bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """End the bar; it stays on the terminal."""
        self._bar.close()
