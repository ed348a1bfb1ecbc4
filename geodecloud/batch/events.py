"""Define the protocols between a batch, its workers and its display."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Outcome


@dataclass(frozen=True)
class RowsDone:
    """A worker has restored ``done`` of the ``total`` rows of its scene."""

    worker: str
    done: int
    total: int


@dataclass(frozen=True)
class Done:
    """A worker has ended its scene, with success or an error."""

    worker: str
    outcome: Outcome


@dataclass(frozen=True)
class Lost:
    """A worker has died in the middle of a scene."""

    worker: str
    reason: str


Event = RowsDone | Done | Lost


class Workers(Protocol):
    """A group of workers, each of which restores one scene at a time.

    Leaving the ``with`` block stops their work.
    """

    def __enter__(self) -> "Workers": ...

    def __exit__(self, *_: object) -> None: ...

    def idle(self) -> list[str]:
        """Return the names of the workers that wait for a scene; no name is used twice."""

    def start(self, worker: str, job: Job) -> None:
        """Give a scene to an idle worker."""

    def renew(self, worker: str) -> bool:
        """Replace an idle worker by a fresh one; return False where that is impossible."""

    def events(self, seconds: float) -> list[Event]:
        """Return what has happened; wait at most ``seconds`` for the first event.

        Raises:
            GeodecloudError: no worker is left, and none will come.
        """


class Display(Protocol):
    """Shows a batch to the user."""

    def planned(self, count: int) -> None:
        """Show how many scenes there are to restore."""

    def begun(self, job: Job) -> None:
        """Show that a worker begins a scene."""

    def rows(self, job: Job, done: int, total: int) -> None:
        """Show how many rows of a scene are done."""

    def ended(self, job: Job, entry: Mapping[str, Any]) -> None:
        """Show the result of a scene, from its line of the manifest."""
