"""How long one write takes that nobody shares: a commit like an upload's, and a put of an object of its size."""

from __future__ import annotations

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from backends.ports import ABSENT, Change, ObjectStore, Put, StateStore
from benchmarks import lake
from benchmarks.stores import FSYNCS, Stores
from benchmarks.table import Row, ratios

SPACE: Final = "homes"
HOME: Final = "home/of-the-benchmark"
RECEIPT: Final = b'{"id":"099d967ed1bd40a1bf6c9745aa1a1cff","records":360,"ignored":0}'
QUEUED: Final = b"q" * 230
"""As many bytes as an upload's place in the queue has."""

OBJECT: Final = os.urandom(8 << 10)
WARMING: Final = 20

Write = Callable[[str], object]
"""One write under a name that was never written to."""


@dataclass(frozen=True)
class Plan:
    rounds: int
    writes: int


PLANS: Final = {"quick": Plan(1, 20), "small": Plan(3, 300), "1m": Plan(5, 1000), "6m": Plan(5, 1000)}


def measure(size: str, embedded: Stores, production: Mapping[str, Stores]) -> list[Row]:
    """The rows. production: by how Redis waits for the disk."""
    plan = PLANS[size]
    with ExitStack() as stack:
        house = stack.enter_context(lake.opened(embedded))
        others = {fsync: stack.enter_context(lake.opened(stores)) for fsync, stores in production.items()}
        states = {"SQLite": _commit(house.state), **{fsync: _commit(other.state) for fsync, other in others.items()}}
        objects = {"folder": _put(house.objects), "MinIO": _put(others[FSYNCS[0]].objects)}
        commits, puts = _timed(plan, states), _timed(plan, objects)
    what = "a state commit like an upload's: Redis ({}) over SQLite"
    rows = [_row(what.format(fsync), commits[fsync], commits["SQLite"]) for fsync in others]
    return [*rows, _row("a put of an object of 8 KB: MinIO over a folder", puts["MinIO"], puts["folder"])]


def _commit(state: StateStore) -> Write:
    version = state.put(SPACE, HOME, b"home")

    def write(name: str) -> object:
        receipt = f"upload/{name}"
        expect = {HOME: version, receipt: ABSENT}
        return state.commit(SPACE, Change(expect=expect, puts=(Put(receipt, RECEIPT),), appends=(("pending", QUEUED),)))

    return write


def _put(objects: ObjectStore) -> Write:
    return lambda name: objects.put(f"raw/benchmark/2025-06-01/{name}", [OBJECT])


def _timed(plan: Plan, writes: Mapping[str, Write]) -> dict[str, list[list[float]]]:
    """By who wrote, each round's milliseconds. In a round each writes some and then the next does."""
    found = defaultdict[str, list[list[float]]](list)
    for number in range(plan.rounds + 1):
        count = plan.writes if number else WARMING
        for name, write in writes.items():
            found[name].append([_milliseconds(write, f"{number:032x}{turn:032x}") for turn in range(count)])
    return {name: rounds[1:] for name, rounds in found.items()}


def _milliseconds(write: Write, name: str) -> float:
    started = time.perf_counter()
    write(name)
    return (time.perf_counter() - started) * 1000


def _row(what: str, ours: list[list[float]], baseline: list[list[float]]) -> Row:
    """The ratio is that of the medians."""
    return Row(what, _told(ours), _told(baseline), ratios(map(statistics.median, ours), map(statistics.median, baseline)))


def _told(rounds: list[list[float]]) -> str:
    centiles = statistics.quantiles([one for some in rounds for one in some], n=100)
    return f"{centiles[49]:.2f} ms, p99 {centiles[98]:.2f} ms"
