"""Lay a grid of windows over a scene."""

from dataclasses import dataclass

from geodecloud.settings import Windows


@dataclass(frozen=True)
class WindowGrid:
    """Square windows of ``size`` pixels that overlap by ``overlap``.

    The last window of a row or column is moved back inside the scene. A scene smaller than a window
    gets one window that extends beyond it.
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

    def core(self, start: int, length: int) -> slice:
        """Return a window's core along an axis: its pixels without half of each overlap.

        The cores of all windows cover the axis.

        Args:
            start: the window's first pixel.
            length: length of the axis in pixels.
        """
        half, end = self.overlap // 2, start + self.size
        return slice(start + half if start else 0, end - half if end < length else length)


def grid_of(windows: Windows) -> WindowGrid:
    """Return the grid that the settings ask for."""
    return WindowGrid(windows.window, windows.overlap)
