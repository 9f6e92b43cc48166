"""Curating: states a second from raw payloads to committed rows, against msgspec's decoding of the same payloads alone.

`python -m benchmarks.curate HOMES DAYS ROUNDS` measures both in one process; the answer is JSON.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec

from benchmarks import lake
from benchmarks.homes import Payload, payloads
from benchmarks.memory import PeakMemory
from benchmarks.paths import ROOT, scratch
from benchmarks.stores import Stores
from benchmarks.table import Row, a_second, ratios

TIMEOUT_SECONDS: Final = 1800
WHAT: Final = "curating, raw payloads to committed rows"


@dataclass(frozen=True)
class Plan:
    homes: int
    days: int
    rounds: int


PLANS: Final = {"quick": Plan(4, 2, 1), "small": Plan(20, 5, 3), "1m": Plan(34, 10, 5), "6m": Plan(200, 10, 5)}


@dataclass(frozen=True)
class Outcome:
    """Figures of each round, states a second."""

    states: int
    decoded: list[float]
    decoded_raw: list[float]
    curated: list[float]
    process_mb: float
    tree_mb: float


class State(msgspec.Struct):
    """All of a state, its attributes included."""

    entity_id: str
    state: str
    attributes: dict[str, Any]
    last_changed: str
    last_updated: str


class RawState(msgspec.Struct, gc=False):
    """A state whose attributes are left as JSON: the least that decoding can be."""

    entity_id: str
    state: str
    attributes: msgspec.Raw
    last_changed: str
    last_updated: str


def decode(prepared: Sequence[Payload], kind: type[msgspec.Struct]) -> float:
    """States a second of msgspec alone: no reading, no inflating, and no collecting of others' garbage counts."""
    decoder = msgspec.json.Decoder(dict[str, list[kind]])
    states, seconds = 0, 0.0
    gc.collect()
    gc.freeze()
    for payload in prepared:
        text = zlib.decompress(payload.path.read_bytes())
        started = time.perf_counter()
        decoded = decoder.decode(text)
        seconds += time.perf_counter() - started
        states += sum(map(len, decoded.values()))
    gc.unfreeze()
    return states / seconds


def once(prepared: Sequence[Payload], stores: Stores) -> tuple[float, PeakMemory]:
    """States a second of the curator on a lake of its own, and its memory."""
    with lake.opened(stores) as house:
        lake.receive(house, prepared)
        with PeakMemory(os.getpid()) as peak:
            started = time.perf_counter()
            lake.curate(house)
            seconds = time.perf_counter() - started
        rows = lake.rows(house)
    expected = sum(payload.states for payload in prepared)
    if rows != expected:
        raise RuntimeError(f"{rows} rows were committed for {expected} states")
    return rows / seconds, peak


def _embedded(prepared: Sequence[Payload]) -> tuple[float, PeakMemory]:
    with scratch("curate") as data_dir:
        return once(prepared, Stores(data_dir))


def measure_here(plan: Plan) -> Outcome:
    """Every round in this process, decoding and curating in turn, after a small one that is not counted."""
    prepared = payloads(plan.homes, plan.days)
    decoded, decoded_raw, curated, peaks = [], [], [], []
    _embedded(prepared[: plan.homes])
    for _ in range(plan.rounds):
        decoded.append(decode(prepared, State))
        decoded_raw.append(decode(prepared, RawState))
        rate, peak = _embedded(prepared)
        curated.append(rate)
        peaks.append((peak.process_mb, peak.tree_mb))
    states = sum(payload.states for payload in prepared)
    process_mb, tree_mb = (max(sizes) for sizes in zip(*peaks, strict=True))
    return Outcome(states, decoded, decoded_raw, curated, process_mb, tree_mb)


def measure(size: str) -> list[Row]:
    """One row, measured in a process of its own."""
    plan = PLANS[size]
    payloads(plan.homes, plan.days)
    command = [sys.executable, "-m", "benchmarks.curate", str(plan.homes), str(plan.days), str(plan.rounds)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=TIMEOUT_SECONDS)
    outcome = Outcome(**json.loads(done.stdout))
    print(f"  {outcome.states} states a round; msgspec with attributes left as JSON: {a_second(outcome.decoded_raw, 'states')}")
    print(
        f"  memory while curating: {outcome.tree_mb:.0f} MB for the tree, {outcome.process_mb:.0f} MB for the largest process"
    )
    figures = ratios(outcome.curated, outcome.decoded)
    return [Row(WHAT, a_second(outcome.curated, "states"), a_second(outcome.decoded, "states"), figures, 0.25, 0.60)]


def main() -> None:
    print(json.dumps(asdict(measure_here(Plan(*map(int, sys.argv[1:]))))))


if __name__ == "__main__":
    main()
