"""Scenes that appear in a folder, once they have stopped growing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from geodecloud.batch.plan import Facts, Source


@dataclass
class _Seen:
    facts: Facts
    since: float
    taken: bool = False


@dataclass
class Watch:
    """Looks again and again (no file system tells of every change) and says what has settled.

    Args:
        find: all scenes that are there.
        settle: seconds for which size and time must stay as they are.
    """

    find: Callable[[], Iterable[Source]]
    settle: float
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def settled(self, now: float) -> list[Source]:
        """The scenes that have settled since, each once until it changes; ``now`` in seconds."""
        ready = []
        for source in self.find():
            facts = source.facts()
            if facts is None:  # vanished again
                continue
            seen = self._seen.get(source.name)
            if seen is None or seen.facts != facts:
                self._seen[source.name] = seen = _Seen(facts, now)
            if not seen.taken and now - seen.since >= self.settle:
                seen.taken = True
                ready.append(source)
        return ready
