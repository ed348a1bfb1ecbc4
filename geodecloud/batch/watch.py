"""Wait for scenes to appear in a folder and to stop growing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from geodecloud.batch.fingerprint import Fingerprint
from geodecloud.batch.search import FoundScene


@dataclass
class _Seen:
    fingerprint: Fingerprint
    since: float  # seconds of the monotonic clock
    taken: bool = False


@dataclass
class Watch:
    """Finds scenes whose size and time no longer change.

    It lists the folders again and again, since network file systems do not notify of changes.

    Args:
        find: returns all scenes that are there.
        settle: seconds for which size and time must stay the same.
    """

    find: Callable[[], Iterable[FoundScene]]
    settle: float
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def settled(self, now: float) -> list[FoundScene]:
        """Return the scenes that have settled since the last call.

        A scene is returned once, and again after each change.

        Args:
            now: seconds of the monotonic clock.
        """
        settled = []
        for source in self.find():
            fingerprint = source.fingerprint()
            if fingerprint is None:  # vanished meanwhile
                continue
            seen = self._seen.get(source.name)
            if seen is None or seen.fingerprint != fingerprint:
                self._seen[source.name] = seen = _Seen(fingerprint, now)
            if not seen.taken and now - seen.since >= self.settle:
                seen.taken = True
                settled.append(source)
        return settled
