"""How many cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")
_UNIFIED: Final = "0::"


def cores() -> int:
    """Count the cores that this process may run on. A quota of its cgroup, such as a container's, may be less."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *_quotas()]))


def _quotas() -> Iterator[int]:
    """Yield the whole cores that each quota allows: of this process's cgroup, and of those that it is in."""
    with suppress(OSError):
        for line in _OWN_CGROUP.read_text().splitlines():
            if line.startswith(_UNIFIED):
                own = PurePosixPath(line.removeprefix(_UNIFIED))
                for cgroup in (own, *own.parents):
                    yield from _quota(_CGROUPS / cgroup.relative_to("/") / "cpu.max")


def _quota(file: Path) -> Iterator[int]:
    with suppress(OSError, ValueError):  # the outermost has none; `max` is no number
        quota, period = map(int, file.read_text().split())
        yield quota // period
