"""Packets appended over HTTP against `XADD` and a bare Flask view, and read back against one object; each round in turn.

Only requests are timed. Nobody keeps house meanwhile, so that packets stay in the log, as they do in the yardstick's streams:
what sealing takes, which comes later, is printed with the reading. Nor does Redis rewrite its files, which one contender's
writes would set off in another's turn. Each connection appends to a stream of its own, as a gateway does, unless a row says
otherwise.

The yardstick of batches is redis-py's `XADD` of packets of the same size, in pipelines of as many, to the same server, from as
many connections, each in a process of its own. SQLite is held against a Redis that waits for the disk once a second, because it
does not wait for it at each commit either. The yardstick of single packets is the bare view under the service's gunicorn
settings. That of reading is one object of the same bytes in a store of the same kind, read by the store's own `stream`, as the
service reads segments, and sent by a bare view that knows its length.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import lake, load, memory, server, upload, xadd
from benchmarks.packets import BATCH, MEGABYTE, PACKET_BYTES, Fetched, Writer, fetch, fill, key_of, path_of
from benchmarks.paths import scratch
from benchmarks.stores import FSYNCS, Production, Stores
from benchmarks.table import Row, a_second, ratios
from config.settings import Settings

CONNECTIONS: Final = load.CONNECTIONS
AT_ONCE: Final = Settings().server.workers * Settings().server.threads
"""Connections that send single packets: as many as the service's default settings serve at once."""
WARMING: Final = 4
SQLITE: Final = "SQLite"
BARE: Final = "bare"
LOGGED: Final = 15_000
"""Packets that stay in the log, because they do not fill a segment."""

Round = Callable[[int], float]
"""A contender's turn in a round: packets a second, or megabytes."""


@dataclass(frozen=True)
class Plan:
    """rounds: of appends, `seconds` each. packets: of one download. downloads: rounds of those."""

    rounds: int
    seconds: float
    packets: int
    downloads: int


PLANS: Final = {
    "quick": Plan(1, 0.5, 20_000, 1),
    "small": Plan(5, 1, 100_000, 5),
    "1m": Plan(9, 1, 100_000, 15),
    "6m": Plan(15, 2, 100_000, 25),
}


def measure(size: str) -> list[Row]:
    """The rows: batches, single packets, downloads."""
    plan = PLANS[size]
    with scratch("streams") as folder, Production(folder / "servers") as production:
        for fsync in FSYNCS:
            production.redis(fsync).client().config_set("auto-aof-rewrite-percentage", 0)
        with ExitStack() as stack:
            appends = _Appends(plan, folder, production, stack)
            rows = [*appends.batches(), *appends.singles()]
        pairs = {
            "SQLite and a folder": (Stores(folder / "reads"), Stores(folder / "object")),
            "Redis and MinIO": (production.stores("reads"), production.stores("object")),
        }
        for name, (ours, other) in pairs.items():
            rows += _reading(plan, name, ours, other)
        return rows


class _Appends:
    """The service on each pair of stores, and the writers that append to it, or past it."""

    def __init__(self, plan: Plan, folder: Path, production: Production, stack: ExitStack) -> None:
        pairs = {SQLITE: Stores(folder / "appends"), **{fsync: production.stores("appends", fsync) for fsync in FSYNCS}}
        houses = {name: stack.enter_context(lake.opened(stores)) for name, stores in pairs.items()}
        self._writers = {name: Writer(house, folder / "bodies") for name, house in houses.items()}
        self._services = stack.enter_context(server.undisturbed(pairs))
        self._bare = stack.enter_context(server.bare(folder / "bare"))
        self._redis = {fsync: production.redis(fsync).port for fsync in FSYNCS}
        self._plan = plan

    def batches(self) -> list[Row]:
        ours = {name: self._posted(name, "batch") for name in self._services}
        raw = {f"XADD ({fsync})": self._added(fsync, BATCH) for fsync in FSYNCS}
        rates = _rounds(self._plan.rounds, "batches", {**ours, **raw})
        what = f"{BATCH} packets of 1 KB in one POST, durable, {CONNECTIONS} connections: {{}} over XADD in pipelines ({{}})"
        pairs = [*((f"Redis ({fsync})", fsync, fsync) for fsync in FSYNCS), (SQLITE, SQLITE, FSYNCS[1])]
        return [
            _row(what.format(named, fsync), "packets", rates[name], rates[f"XADD ({fsync})"], 0.5, 0.9)
            for named, name, fsync in pairs
        ]

    def singles(self) -> list[Row]:
        fsync = FSYNCS[0]
        kinds = {SQLITE: SQLITE, **{f"Redis ({fsync})": fsync for fsync in FSYNCS}}
        ours = {told: self._posted(name, "packet", AT_ONCE) for told, name in kinds.items()}
        shared = {
            f"{told}, all to one stream": self._posted(name, "packet", AT_ONCE, streams=1) for told, name in kinds.items()
        }
        yardsticks = {BARE: self._posted(BARE, "packet", AT_ONCE), "XADD": self._added(fsync, 1, AT_ONCE)}
        rates = _rounds(self._plan.rounds, "single packets", {**ours, **shared, **yardsticks})
        what = f"one packet of 1 KB in one POST, durable, {AT_ONCE} connections: {{}} over {{}}"
        return [
            *(_row(what.format(told, "a bare view"), "packets", rates[told], rates[BARE], 0.25) for told in ours),
            *(_row(what.format(told, "a bare view"), "packets", rates[told], rates[BARE]) for told in shared),
            _row(what.format(f"Redis ({fsync})", "XADD"), "packets", rates[f"Redis ({fsync})"], rates["XADD"]),
        ]

    def _posted(self, name: str, kind: str, connections: int = CONNECTIONS, streams: int | None = None) -> Round:
        streams = streams or connections
        one = self._bare if name == BARE else self._services[name]
        writer = self._writers[SQLITE if name == BARE else name]
        told = f"{name}, {streams} {'streams' if streams > 1 else 'stream'}"

        def turn(number: int) -> float:
            with writer.requests(kind, streams) as requests:
                outcome = load.post(load.Load(one.port, self._plan.seconds, requests, kind, connections, pinned=True))
            upload.tell(number, **{told: outcome})
            return outcome.a_second * (BATCH if kind == "batch" else 1)

        return turn

    def _added(self, fsync: str, batch: int, connections: int = CONNECTIONS) -> Round:
        wanted = xadd.Load(self._redis[fsync], self._plan.seconds, batch, PACKET_BYTES, connections)
        return lambda number: xadd.run(wanted).a_second


def _reading(plan: Plan, name: str, stores: Stores, other: Stores) -> list[Row]:
    """Downloads of packets that are sealed, and of others that are still in the log."""
    counts = {"sealed": plan.packets, "logged": min(LOGGED, plan.packets)}
    data = {kind: os.urandom(count * PACKET_BYTES) for kind, count in counts.items()}
    key = _prepared(name, data, stores, other)
    rows = []
    with server.undisturbed({name: stores}) as services, server.bare(other.data_dir, other.settings) as bare:
        service = services[name]
        for kind, octets in data.items():
            paths = f"{path_of(kind)}/data?start=0&stop={counts[kind]}", f"/objects/{kind}?size={len(octets)}"
            wanted = hashlib.sha256(octets).hexdigest()
            turns = {
                "ours": lambda digest, path=paths[0]: fetch(service.port, path, key, digest=digest),
                "one object": lambda digest, path=paths[1]: fetch(bare.port, path, digest=digest),
            }
            _check(f"{name}, {kind}", turns, wanted, service.pid)
            rates = _rounds(plan.downloads, f"{name}, {kind}", {who: _timed(turn) for who, turn in turns.items()})
            what = (
                f"download of {counts[kind]} packets of 1 KB {'from segments' if kind == 'sealed' else 'from the log'}, {name}"
            )
            must = 0.5 if kind == "sealed" else None
            rows.append(_row(f"{what}: over one object", "MB", rates["ours"], rates["one object"], must))
    return rows


def _prepared(name: str, data: Mapping[str, bytes], stores: Stores, other: Stores) -> str:
    """Store the packets, and each stream's bytes as one object; a key for the streams."""
    with lake.opened(stores) as house, lake.opened(other) as objects:
        for kind, octets in data.items():
            stream = fill(house, kind, octets)
            objects.objects.put(kind, [octets])
            if kind == "sealed":
                started = time.perf_counter()
                house.streams.chores.maintain(stream)
                seconds = time.perf_counter() - started
                segments = [one.size_bytes for one in house.objects.list("packets/") if one.key.endswith(".data")]
                if not segments:
                    raise RuntimeError("nothing was sealed")
                told = f"{sum(segments) / MEGABYTE:.0f} MB into {len(segments)} segments in {seconds:.1f} s"
                print(f"  {name}: sealed {told}, {sum(segments) / MEGABYTE / seconds:.0f} MB/s")
        return key_of(house)


def _check(told: str, turns: Mapping[str, Callable[[bool], Fetched]], digest: str, pid: int) -> None:
    """Have both download it a few times, untimed. RuntimeError unless it is what was stored. Prints the service's memory."""
    with memory.PeakMemory(pid) as before:
        time.sleep(0.5)
    with memory.PeakMemory(pid) as peak:
        for who, turn in [*turns.items()] * WARMING:
            if turn(True).digest != digest:
                raise RuntimeError(f"{told}: {who} sent other bytes")
    largest = f"{peak.process_mb:.0f} MB for the largest process, {before.process_mb:.0f} MB before"
    print(f"  {told}: memory while downloading: {peak.tree_mb:.0f} MB for the tree, {largest}")


def _timed(turn: Callable[[bool], Fetched]) -> Round:
    return lambda number: turn(False).megabytes_a_second


def _rounds(rounds: int, what: str, turns: Mapping[str, Round]) -> dict[str, list[float]]:
    """By contender, what each round gave; after one that does not count."""
    rates = defaultdict[str, list[float]](list)
    for number in range(rounds + 1):
        for name, turn in turns.items():
            rates[name].append(turn(number))
        told = ", ".join(f"{name} {rates[name][-1]:.0f}/s" for name in turns)
        print(f"  {what}, {f'round {number}' if number else 'warming up'}: {told}", flush=True)
    return {name: some[1:] for name, some in rates.items()}


def _row(
    what: str,
    unit: str,
    ours: Sequence[float],
    baseline: Sequence[float],
    must: float | None = None,
    ambition: float | None = None,
) -> Row:
    return Row(what, a_second(ours, unit), a_second(baseline, unit), ratios(ours, baseline), must, ambition)
