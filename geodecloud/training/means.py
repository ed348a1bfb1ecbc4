"""Take the means of losses over some steps."""

from collections import defaultdict


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
        """Return the means since the last call, and start over."""
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        self._sums.clear()
        self._counts.clear()
        return means
