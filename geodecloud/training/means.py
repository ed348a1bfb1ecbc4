"""Take the means of losses over some steps."""

from collections import defaultdict
from typing import Any


class Means:
    """Means of losses over the steps in which they occurred."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, losses: dict[str, float]) -> None:
        """Add the losses of a step."""
        for name, value in losses.items():
            self._sums[name] += value
            self._counts[name] += 1

    def take(self) -> dict[str, float]:
        """Return the means since the last call, and start over."""
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        self._sums.clear()
        self._counts.clear()
        return means

    def state_dict(self) -> dict[str, dict[str, float]]:
        """Return the sums and counts since the last call of :meth:`take`."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Go on from saved sums and counts."""
        self.take()
        self._sums.update(state["sums"])
        self._counts.update(state["counts"])
