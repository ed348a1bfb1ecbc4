"""What the batch asks of its workers, wherever they are."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from geodecloud.batch.plan import Job
from geodecloud.batch.worker import Outcome


@dataclass(frozen=True)
class Rows:
    """A worker has come so far with its scene."""

    worker: str
    done: int
    total: int


@dataclass(frozen=True)
class Finished:
    """A worker has ended its scene."""

    worker: str
    outcome: Outcome


@dataclass(frozen=True)
class Lost:
    """A worker has ended in the middle of a scene."""

    worker: str
    reason: str


Event = Rows | Finished | Lost


class Workers(Protocol):
    """Workers that restore a scene at a time each. The ``with`` block's end ends their work."""

    def __enter__(self) -> "Workers": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def idle(self) -> list[str]:
        """The names of those that wait for a scene; a name is never used again."""

    def start(self, worker: str, job: Job) -> None:
        """Give an idle worker a scene."""

    def renew(self, worker: str) -> bool:
        """Put a fresh worker in the place of an idle one; False where that is impossible."""

    def events(self, seconds: float) -> list[Event]:
        """What has happened; waits so long for the first.

        Raises:
            GeodecloudError: there are no workers any more, and none will come.
        """
