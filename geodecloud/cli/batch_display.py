"""Show how far a batch has come: bars for people, JSON lines for programs."""

import contextlib
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from geodecloud.batch.events import Display
from geodecloud.batch.plan import Job
from geodecloud.cli.console import ProgressStyle, progress_bar

log = logging.getLogger("geodecloud")


def show_batch(style: ProgressStyle, *, hidden: bool) -> AbstractContextManager[Display]:
    """Return a display that lasts for the ``with`` block; ``hidden``: messages only, no bars."""
    if style == "json":
        return _json_lines()
    return _bars(hidden=hidden or style == "none")


@contextlib.contextmanager
def _json_lines() -> Iterator[Display]:
    with progress_bar("json", unit="scene") as show:
        yield _JsonDisplay(show)


@contextlib.contextmanager
def _bars(*, hidden: bool) -> Iterator[Display]:
    from tqdm import tqdm

    disable = True if hidden else None  # None: only where stderr is no terminal
    with (
        tqdm(unit="scene", position=0, disable=disable) as scenes,
        tqdm(unit="row", position=1, leave=False, disable=disable) as rows,
    ):
        yield _BarDisplay(scenes, rows)


class _BatchDisplay(ABC):
    """A display that counts scenes, and the rows of those that workers are restoring."""

    def __init__(self) -> None:
        self.total_scenes = 0
        self.ended_scenes = 0
        self.running: dict[str, tuple[int, int]] = {}  # source -> rows done, rows in all
        self._warned: set[str] = set()  # warnings without the scene's name and numbers

    @abstractmethod
    def show(self) -> None:
        """Show the counts."""

    def planned(self, count: int) -> None:
        """See :class:`geodecloud.batch.events.Display`, also for the other methods."""
        self.total_scenes = count

    def begun(self, job: Job) -> None:
        """Show that a worker begins a scene."""
        self.rows(job, 0, 0)

    def rows(self, job: Job, done: int, total: int) -> None:
        """Show how many rows of a scene are done."""
        self.running[job.source] = (done, total)
        self.show()

    def ended(self, job: Job, entry: Mapping[str, Any]) -> None:
        """Log a scene's warnings, error or time, and show the counts."""
        self.running.pop(job.source, None)
        self.ended_scenes += 1
        self._log(job, entry)
        self.show()

    def _log(self, job: Job, entry: Mapping[str, Any]) -> None:
        """Log the scene's error or seconds, and its warnings, each kind once in a batch."""
        for warning in entry.get("warnings", ()):
            kind = re.sub(r"\d+", "", warning.replace(job.source, ""))
            if kind not in self._warned:
                self._warned.add(kind)
                log.warning("%s", _with_source(job, warning))
        if entry["status"] == "failed":
            log.error("%s", _with_source(job, entry["error"]))
        else:
            log.info("%s: %.1f s", job.output, entry["seconds"])


class _JsonDisplay(_BatchDisplay):
    """JSON lines of the scenes done, which count fractions of the scenes in progress."""

    def __init__(self, show: Callable[[float, float], None]) -> None:
        super().__init__()
        self._show = show

    def show(self) -> None:
        """Print a line."""
        fractions = [done / max(total, 1) for done, total in self.running.values()]
        self._show(round(self.ended_scenes + sum(fractions), 3), self.total_scenes)


class _BarDisplay(_BatchDisplay):
    """Two bars on a terminal: all scenes, and the rows of the scenes in progress."""

    def __init__(self, scenes: Any, rows: Any) -> None:
        super().__init__()
        self._scenes, self._rows = scenes, rows

    def planned(self, count: int) -> None:
        """Show the bar of the scenes before the first begins."""
        super().planned(count)
        self.show()

    def show(self) -> None:
        """Draw both bars."""
        self._scenes.total, self._scenes.n = self.total_scenes, self.ended_scenes
        self._scenes.refresh()
        names = ", ".join(Path(source).name for source in self.running)
        if not names and not self.ended_scenes:
            names = "starting workers"
        self._rows.set_description(names, refresh=False)
        self._rows.total = sum(total for _, total in self.running.values())
        self._rows.n = sum(done for done, _ in self.running.values())
        self._rows.refresh()


def _with_source(job: Job, message: str) -> str:
    return message if job.source in message else f"{job.source}: {message}"
