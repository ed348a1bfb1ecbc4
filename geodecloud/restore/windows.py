"""Lay windows over a scene: integers only."""

from dataclasses import dataclass

from geodecloud.settings import Windows


@dataclass(frozen=True)
class WindowGrid:
    """Square windows of ``size`` pixels that overlap by ``overlap``.

    The last window of a row or column is moved back inside the scene; a scene smaller than a
    window gets one window that reaches beyond it.
    """

    size: int = 64
    overlap: int = 16

    @property
    def stride(self) -> int:
        """Pixels from one window to the next."""
        return self.size - self.overlap

    def starts(self, length: int) -> list[int]:
        """Return the first pixel of each window along an axis of ``length`` pixels, ascending."""
        if length <= self.size:
            return [0]
        last = length - self.size
        return [*range(0, last, self.stride), last]


def grid_of(windows: Windows) -> WindowGrid:
    """Return the grid that the settings ask for."""
    return WindowGrid(windows.window, windows.overlap)
