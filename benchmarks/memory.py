"""What a whole process tree takes: its peak memory, sampled while something runs, and its processor time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, Self

import psutil

RSS_EVERY_SECONDS: Final = 0.02
EVERY_TENTH: Final = 10
MEGABYTE: Final = 1_000_000
CALM_SECONDS: Final = 17
"""More than the service's `curate_interval_seconds`."""

CALM_CORE: Final = 0.05


class PeakMemory:
    """A context manager that watches `pid` and all of its descendants.

    process_mb: the largest resident size that one process of the tree reached. tree_mb: the largest sum of the tree's
    proportional sizes (PSS: a page shared by two processes is counted once; resident sizes where the system has none).
    Resident sizes are taken every 20 ms, the costlier PSS whenever their sum is a new peak, the list of processes every 200 ms.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.process_mb = self.tree_mb = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        turn, highest = 0, 0
        tree: list[psutil.Process] = []
        while not self._stop.is_set():
            if turn % EVERY_TENTH == 0:
                tree = processes(self._root)
            sizes = _sizes(tree, _resident)
            self.process_mb = max(self.process_mb, max(sizes, default=0) / MEGABYTE)
            if sum(sizes) > highest * 1.01:
                highest = sum(sizes)
                self.tree_mb = max(self.tree_mb, sum(_sizes(tree, _proportional)) / MEGABYTE)
            turn += 1
            self._stop.wait(RSS_EVERY_SECONDS)


def processes(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _sizes(tree: list[psutil.Process], size: Callable[[psutil.Process], int]) -> list[int]:
    return [_or_zero(size, process) for process in tree]


def _or_zero(ask: Callable[[psutil.Process], Any], process: psutil.Process) -> Any:
    try:
        return ask(process)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _resident(process: psutil.Process) -> int:
    return process.memory_info().rss


def _proportional(process: psutil.Process) -> int:
    full = process.memory_full_info()
    return getattr(full, "pss", full.rss)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def cpu_seconds(pid: int) -> float:
    """Processor time that the processes of the tree, as far as they live, have had so far."""
    return float(sum(_or_zero(_cpu_seconds, process) for process in processes(psutil.Process(pid))))


def settle(pid: int, timeout_seconds: float = 120) -> bool:
    """Wait until the tree of `pid` has been calm for longer than its background work ever pauses; False if not in time."""
    calm, deadline = 0, time.monotonic() + timeout_seconds
    while calm < CALM_SECONDS:
        if time.monotonic() > deadline:
            return False
        before = cpu_seconds(pid)
        time.sleep(1)
        calm = calm + 1 if cpu_seconds(pid) - before < CALM_CORE else 0
    return True
