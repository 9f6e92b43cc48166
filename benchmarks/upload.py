"""Uploads a second: `POST /api/ingest/data` against a bare Flask view, round by round on the same two servers' settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import load, memory, server
from benchmarks.homes import STATES_OF_A_NIGHTLY_UPLOAD, Payload, payloads
from benchmarks.paths import scratch
from benchmarks.table import Row, a_second, ratios

HOMES: Final = 200
WHAT: Final = f"POST /data, 104 KB JSON in 8 KB zlib, durable, {load.CONNECTIONS} connections"


@dataclass(frozen=True)
class Plan:
    """rounds: of ours and the bare view in turn, `seconds` each. uploads: distinct payloads prepared for a round."""

    rounds: int
    seconds: float
    uploads: int

    def prepared(self) -> list[Payload]:
        """Payloads for the warming up and all rounds."""
        days = -(-(self.rounds + 1) * self.uploads // HOMES)
        return payloads(HOMES, days, STATES_OF_A_NIGHTLY_UPLOAD)

    def of_round(self, number: int, prepared: list[Payload]) -> list[Payload]:
        """Those of a round, of which the first is 1."""
        return prepared[number * self.uploads : (number + 1) * self.uploads]


PLANS: Final = {
    "quick": Plan(1, 0.5, 400),
    "small": Plan(3, 2, 3000),
    "1m": Plan(5, 3, 5000),
    "6m": Plan(7, 3, 5000),
}


def measure(size: str) -> list[Row]:
    """One row, and what the rounds were like."""
    plan = PLANS[size]
    with scratch("upload") as folder:
        return [_compare(plan, plan.prepared(), folder)]


def _compare(plan: Plan, prepared: list[Payload], folder: Path) -> Row:
    ours, baseline = [], []
    with server.service(folder / "ours") as mine, server.bare(folder / "bare") as other, memory.PeakMemory(mine.pid) as peak:
        warm_up(plan, prepared, mine.port, other.port)
        for number in range(1, plan.rounds + 1):
            uploads = plan.of_round(number, prepared)
            if not memory.settle(mine.pid):
                print("  the service was still busy before this round")
            baseline.append(load.run(other.port, uploads, plan.seconds, again=True))
            ours.append(load.run(mine.port, uploads, plan.seconds))
            tell(number, ours=ours[-1], bare=baseline[-1])
    print(f"  memory while uploading: {peak.tree_mb:.0f} MB for the tree, {peak.process_mb:.0f} MB for the largest process")
    mine_rates, other_rates = [one.a_second for one in ours], [one.a_second for one in baseline]
    figures = ratios(mine_rates, other_rates)
    return Row(WHAT, a_second(mine_rates, "req"), a_second(other_rates, "req"), figures, 0.20, 0.50)


def warm_up(plan: Plan, prepared: list[Payload], *ports: int) -> None:
    for port in ports:
        load.run(port, prepared[: min(plan.uploads, 1000)], plan.seconds)


def tell(number: int, **outcomes: load.Outcome) -> None:
    for name, one in outcomes.items():
        rate = f"{one.a_second:.0f} req/s, median {one.median_ms:.1f} ms, p99 {one.p99_ms:.1f} ms"
        print(f"  round {number} {name}: {rate}, {one.answers} answers, generator {one.busy:.0%} busy")
