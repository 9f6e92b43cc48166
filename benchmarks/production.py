"""Redis and MinIO against the embedded stores: uploads, exports, curating, and the latency of a write; each round in turn.

The servers share the machine with the service and its clients, so that the ratio is the worst there is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import curate, lake, latency, load, memory, server, upload
from benchmarks.download import check, download
from benchmarks.homes import payloads
from benchmarks.paths import scratch
from benchmarks.stores import FSYNCS, Production, Stores
from benchmarks.table import Row, a_second, ratios

DAYS: Final = 30
WARMING: Final = 3
IDLE_SECONDS: Final = 0.0001
"""Processor time that a server takes though nobody asks it, shared out among the uploads, is less."""

EMBEDDED: Final = "embedded"


@dataclass(frozen=True)
class Plan:
    """homes, rounds: of the export, over `DAYS`."""

    homes: int
    rounds: int


PLANS: Final = {"quick": Plan(2, 1), "small": Plan(10, 3), "1m": Plan(34, 5), "6m": Plan(200, 3)}


def measure(size: str) -> list[Row]:
    """The rows, each production over embedded."""
    with scratch("production") as folder, Production(folder / "servers") as production:
        _present(production)
        writers = {fsync: production.stores("latency", fsync) for fsync in FSYNCS}
        return [
            *_uploads(upload.PLANS[size], folder, production),
            _export(PLANS[size], folder, production),
            _curating(curate.PLANS[size], folder, production),
            *latency.measure(size, Stores(folder / "latency"), writers),
        ]


def _present(production: Production) -> None:
    with lake.opened(production.stores("present")) as house:
        print(f"  {house.state.check()}; {house.objects.check()}; on the cores of all else")


def _uploads(plan: upload.Plan, folder: Path, production: Production) -> list[Row]:
    prepared = plan.prepared()
    pairs = {EMBEDDED: Stores(folder / "uploads"), **{fsync: production.stores("uploads", fsync) for fsync in FSYNCS}}
    rates = defaultdict[str, list[float]](list)
    with server.undisturbed(pairs) as services:
        upload.warm_up(plan, prepared, *(one.port for one in services.values()))
        for number in range(1, plan.rounds + 1):
            for name, one in services.items():
                pids = {"service": one.pid, **production.pids()}
                before = {who: memory.cpu_seconds(pid) for who, pid in pids.items()}
                outcome = load.run(one.port, plan.of_round(number, prepared), plan.seconds)
                rates[name].append(outcome.a_second)
                upload.tell(number, **{name: outcome})
                used = {who: (memory.cpu_seconds(pid) - before[who]) / outcome.answers for who, pid in pids.items()}
                told = [f"{who} {seconds * 1000:.1f} ms" for who, seconds in used.items() if seconds > IDLE_SECONDS]
                print(f"    processor time of an upload: {', '.join(told)}")
    return [
        Row(
            f"{upload.WHAT}: Redis ({fsync}) and MinIO over embedded",
            a_second(rates[fsync], "req"),
            a_second(rates[EMBEDDED], "req"),
            ratios(rates[fsync], rates[EMBEDDED]),
            must=0.4 if fsync == FSYNCS[0] else None,
        )
        for fsync in FSYNCS
    ]


def _export(plan: Plan, folder: Path, production: Production) -> Row:
    prepared = payloads(plan.homes, DAYS)
    states = sum(payload.states for payload in prepared)
    pairs = {EMBEDDED: Stores(folder / "export"), "production": production.stores("export")}
    for name, one in pairs.items():
        lake.fill(one, prepared, name)
    rates = defaultdict[str, list[float]](list)
    with server.undisturbed(pairs) as services:
        for service in [*services.values()] * WARMING:
            check(service.port, "csv", {}, states, folder / "checked.zip")
        for number in range(1, plan.rounds + 1):
            for name, service in services.items():
                rates[name].append(states / download(service.port, "csv").seconds)
            told = ", ".join(f"{name} {rate[-1] / 1e3:.0f} k rows/s" for name, rate in rates.items())
            print(f"  export of {states} states, round {number}: {told}")
    return Row(
        f"full export over HTTP, zipped csv, {states / 1e6:.1f} M states: Redis and MinIO over embedded",
        a_second(rates["production"], "rows"),
        a_second(rates[EMBEDDED], "rows"),
        ratios(rates["production"], rates[EMBEDDED]),
        must=0.7,
    )


def _curating(plan: curate.Plan, folder: Path, production: Production) -> Row:
    prepared = payloads(plan.homes, plan.days)
    ours, baseline = [], []
    for number in range(plan.rounds + 1):
        # The first is small, and not counted.
        some = prepared if number else prepared[: plan.homes]
        name = f"curate{number}"
        rates = [curate.once(some, stores)[0] for stores in (Stores(folder / name), production.stores(name))]
        if number:
            baseline.append(rates[0])
            ours.append(rates[1])
    return Row(
        f"{curate.WHAT}: Redis and MinIO over embedded",
        a_second(ours, "states"),
        a_second(baseline, "states"),
        ratios(ours, baseline),
    )
