"""Bars or events: how a batch says how far it has come."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from geodecloud.batch.manifest import Entry
from geodecloud.batch.plan import Job
from geodecloud.cli.console import ProgressChoice, progress_bar

log = logging.getLogger("geodecloud")


@dataclass(frozen=True)
class Display:
    """Who shows the batch: how many scenes are planned, begin, have come how far, have ended."""

    planned: Callable[[int], None]
    begun: Callable[[Job], None]
    rows: Callable[[Job, int, int], None]
    ended: Callable[[Job, Entry], None]


def show_batch(style: ProgressChoice, *, hidden: bool) -> AbstractContextManager[Display]:
    """What to tell of a batch while the ``with`` block runs; ``hidden``: only what went wrong."""
    if style is ProgressChoice.json:
        return _events()
    return _bars(hidden=hidden or style is ProgressChoice.none)


@contextlib.contextmanager
def _events() -> Iterator[Display]:
    """For programs: the scenes done, with the shares of those at hand."""
    at_hand: dict[str, float] = {}
    done = total = 0
    with progress_bar(ProgressChoice.json, unit="scene") as tell:

        def planned(count: int) -> None:
            nonlocal total
            total = count

        def show(job: Job, rows: int, height: int) -> None:
            at_hand[job.source] = rows / max(height, 1)
            tell(round(done + sum(at_hand.values()), 3), total)

        def ended(job: Job, entry: Entry) -> None:
            nonlocal done
            at_hand.pop(job.source, None)
            done += 1
            _say(job, entry)
            tell(round(done + sum(at_hand.values()), 3), total)

        yield Display(planned, lambda job: show(job, 0, 0), show, ended)


@contextlib.contextmanager
def _bars(*, hidden: bool) -> Iterator[Display]:
    """Two bars on a terminal, all scenes and those at hand; a line for what went wrong."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    off = True if hidden else None  # None: where stderr is no terminal
    at_hand: dict[str, tuple[int, int]] = {}
    with (
        tqdm(unit="scene", position=0, disable=off) as scenes,
        tqdm(unit="row", position=1, leave=False, disable=off) as rows,
        logging_redirect_tqdm([log]) if not scenes.disable else contextlib.nullcontext(),
    ):

        def planned(count: int) -> None:
            scenes.total = count
            scenes.refresh()

        def show(job: Job, done: int, total: int) -> None:
            at_hand[job.source] = (done, total)
            rows.set_description(", ".join(Path(source).name for source in at_hand), refresh=False)
            rows.total = sum(total for _, total in at_hand.values())
            rows.n = sum(done for done, _ in at_hand.values())
            rows.refresh()

        def ended(job: Job, entry: Entry) -> None:
            at_hand.pop(job.source, None)
            scenes.update()
            _say(job, entry)

        yield Display(planned, lambda job: show(job, 0, 0), show, ended)


def _say(job: Job, entry: Entry) -> None:
    """What went wrong with a scene."""
    for warning in entry.get("warnings", ()):
        log.warning("%s", _about(job, warning))
    if entry["status"] == "failed":
        log.error("%s", _about(job, entry["error"]))
    else:
        log.info("%s: %.1f s", job.output, entry["seconds"])


def _about(job: Job, message: str) -> str:
    """A message that names its scene."""
    return message if job.source in message else f"{job.source}: {message}"
