"""Describe the processor, and count the cores that this process may use."""

import functools
import math
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

_ROOT = Path("/")
_MOST_LINES = 100  # of /proc/cpuinfo, in case the file never ends


def available_threads(root: Path = _ROOT) -> int:
    """Return the number of cores that this process may use, at least 1.

    Args:
        root: folder that holds ``proc`` and ``sys``.
    """
    # Only some systems tell the affinity of a process.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = (math.ceil(quota) for quota in _quotas(root))
    return max(1, min([cores or 1, *quotas]))


def processor(root: Path = _ROOT) -> dict[str, str]:
    """Return Linux's facts about the first processor, such as its flags; elsewhere, nothing.

    Args:
        root: folder that holds ``proc``.
    """
    try:
        with (root / "proc" / "cpuinfo").open(encoding="utf-8") as file:
            lines = iter(file.readline, "\n")  # an empty line ends a processor
            entries = [line.partition(":") for line in islice(lines, _MOST_LINES)]
    except (OSError, ValueError):
        return {}
    return {name.strip(): value.strip() for name, _, value in entries}


@functools.cache  # a run asks a dozen times, and each answer takes several files
def _quotas(root: Path) -> tuple[float, ...]:
    """Return the CPU quotas, in cores, of this process's control groups (``docker --cpus 1.5``)."""
    return tuple(_read_quotas(root))


def _read_quotas(root: Path) -> Iterator[float]:
    groups = root / "sys" / "fs" / "cgroup"
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # no Linux
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        names = controllers.split(",")
        if not controllers:  # version 2
            files, mounts = ["cpu.max"], [groups, groups / "unified"]
        elif "cpu" in names:  # version 1
            files = ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            mounts = [groups / "cpu", groups / controllers]
        else:
            continue
        # The quotas of the groups above hold, too. In a container the path may be the host's, but
        # the container sees only its own group, at the root.
        inner = Path(path.lstrip("/"))
        for mount in mounts:
            for group in (inner, *inner.parents):
                if ".." not in group.parts:
                    words = [word for file in files for word in _words(mount / group / file)]
                    yield from _ratio(words)


def _ratio(words: list[str]) -> Iterator[float]:
    """Yield quota / period of ``[quota, period]``; nothing where there is no limit."""
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):  # no max, -1
        yield int(words[0]) / int(words[1])


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return []
