"""The same day's export from a lake of some days and from one of ten times as many: what growing costs.

The day's rows are the same, so that only finding them differs. Both lakes are served at once, and asked in turn.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from benchmarks import kept, lake, server
from benchmarks.download import check, download
from benchmarks.homes import ENTITIES, FIRST_DAY, STATES_A_DAY, Payload, payloads
from benchmarks.paths import scratch
from benchmarks.stores import Production, Stores
from benchmarks.table import Row, ratios

TIMES: Final = 10
WARMING: Final = 6
COMMITS_A_DAY: Final = 4
JSON_BYTES_OF_A_STATE: Final = 290
PUBLISHED: Final = ENTITIES - 1
"""The sun gives no row."""


@dataclass(frozen=True)
class Plan:
    """days: of the smaller lake."""

    homes: int
    days: int
    rounds: int

    @property
    def batch_bytes(self) -> int:
        """So many that a day comes in several commits: it comes all night, and is curated meanwhile."""
        return self.homes * ENTITIES * STATES_A_DAY * JSON_BYTES_OF_A_STATE // COMMITS_A_DAY


PLANS: Final = {"quick": Plan(4, 2, 2), "small": Plan(34, 3, 9), "1m": Plan(34, 30, 15), "6m": Plan(34, 30, 15)}


def measure(size: str) -> list[Row]:
    """A row for each pair of stores."""
    plan = PLANS[size]
    prepared = payloads(plan.homes, plan.days * TIMES)
    sizes = {plan.days: prepared[: plan.homes * plan.days], plan.days * TIMES: prepared}
    with scratch("growth") as folder:
        kept_ones = {days: Stores(kept.lake_of(plan.homes, days)) for days in sizes}
        embedded = _row(plan, "embedded", kept_ones, sizes, folder)
        with Production(folder / "servers") as production:
            pairs = {days: production.stores(f"days{days}") for days in sizes}
            for days, stores in pairs.items():
                lake.fill(stores, sizes[days], "Redis and MinIO", curate_batch_bytes=str(plan.batch_bytes))
            return [embedded, _row(plan, "Redis and MinIO", pairs, sizes, folder)]


def _row(plan: Plan, name: str, pairs: dict[int, Stores], sizes: dict[int, list[Payload]], folder: Path) -> Row:
    seconds = _rounds(plan, pairs, folder)
    small, large = (seconds[days] for days in sorted(seconds))
    for days, some in seconds.items():
        told = " ".join(f"{one * 1000:.0f}" for one in some)
        print(f"  {name}, one day of {days}: {told} ms")
    states = [sum(payload.states for payload in sizes[days]) / 1e6 for days in sorted(sizes)]
    return Row(
        f"export of one day, csv, {name}: of {states[1]:.1f} M states over {states[0]:.1f} M",
        f"{statistics.median(large) * 1000:.0f} ms",
        f"{statistics.median(small) * 1000:.0f} ms",
        ratios(large, small),
        must=1.2,
        ambition=1.0,
        low_is_good=True,
    )


def _rounds(plan: Plan, pairs: dict[int, Stores], folder: Path) -> dict[int, list[float]]:
    """Seconds of each round, by the lake's days; after exports that are counted and not timed, some for each worker."""
    seconds = defaultdict[int, list[float]](list)
    day = str(FIRST_DAY + timedelta(days=plan.days // 2))
    query = {"date_from": day, "date_to": day}
    with server.undisturbed(pairs) as services:
        for one in [*services.values()] * WARMING:
            check(one.port, "csv", query, plan.homes * PUBLISHED * STATES_A_DAY, folder / "checked.zip")
        for _ in range(plan.rounds):
            for days, one in services.items():
                seconds[days].append(download(one.port, "csv", query).seconds)
    return seconds
