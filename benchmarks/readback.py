"""Records of a collection read back over HTTP: rows a second, first byte, memory; InfluxDB's own CSV of the same points beside.

They are in the lake already, so that nothing but reading is timed.
"""

from __future__ import annotations

import http.client
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from benchmarks import influx, lake, load, memory, points, server
from benchmarks.points import BATCH, COLLECTION, LINES, MADEVO
from benchmarks.stores import Stores
from benchmarks.table import Row, a_second, ratios
from smarthouse_api.collections.model import Collection, define
from smarthouse_api.collections.records import Selection
from smarthouse_api.house import House

WARMING: Final = 4
CSV: Final = "csv"
FORMATS: Final = ("jsonl", CSV)
INFLUX: Final = "InfluxDB"
SELECT: Final = influx.query_path(f"SELECT * FROM {COLLECTION}", chunked="true", chunk_size=10_000)
_ANSWER_SECONDS: Final = 600
_BUFFER_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Read:
    """lines: of the answer, a CSV's header included."""

    lines: int
    size: int
    first_byte_seconds: float
    seconds: float


def read(port: int, path: str, headers: Mapping[str, str]) -> Read:
    """A whole answer. RuntimeError for one that is none."""
    connection = http.client.HTTPConnection(server.HOST, port, timeout=_ANSWER_SECONDS)
    try:
        started = time.perf_counter()
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{path} was answered with {response.status}: {response.read(500)!r}")
        lines = response.read(1).count(b"\n")
        first, size = time.perf_counter() - started, 1
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while got := response.readinto(buffer):
            size += got
            lines += bytes(buffer[:got]).count(b"\n")
        return Read(lines, size, first, time.perf_counter() - started)
    finally:
        connection.close()


def count(house: House, collection: Collection) -> int:
    """How many records it holds, by reading them all."""
    answer = house.collections.records.open(collection, Selection(None, None, None, None), "jsonl", with_meta=False)
    try:
        return sum(chunk.count(b"\n") for chunk in answer.chunks)
    finally:
        answer.close()


def measure(records: int, rounds: int, pairs: Mapping[str, Stores], yardstick: influx.InfluxServer | None) -> list[Row]:
    """A row for each pair and format; InfluxDB is held against the CSV, which it writes too."""
    folder = next(iter(pairs.values())).data_dir.with_name("readings")
    bodies = points.write(folder, 0, records // BATCH)
    keys = {name: _filled(stores, name, bodies[MADEVO]) for name, stores in pairs.items()}
    turns = dict[tuple[str, str], Callable[[], Read]]()
    with server.undisturbed(pairs) as services:
        for name, one in services.items():
            told = {"Authorization": f"Bearer {keys[name]}"}
            for fmt in FORMATS:
                path = f"/restapi/datasource/{COLLECTION}/records?format={fmt}"
                turns[name, fmt] = partial(read, one.port, path, told)
                _check(f"{name}, {fmt}", turns[name, fmt], records + (fmt == CSV), one.pid)
        if yardstick is not None:
            _fill_influx(yardstick, bodies[LINES])
            turns[INFLUX, CSV] = partial(read, yardstick.port, SELECT, {"Accept": "application/csv"})
            _check(f"{INFLUX}, {CSV}", turns[INFLUX, CSV], records + 1, yardstick.pid)
        rates = _rounds(records, rounds, turns)
    return [_row(f"reading {records} records back as {fmt}, {name}", rates, (name, fmt)) for name in pairs for fmt in FORMATS]


def _rounds(
    records: int, rounds: int, turns: Mapping[tuple[str, str], Callable[[], Read]]
) -> dict[tuple[str, str], list[float]]:
    """Rows a second, by who sends them and in which format."""
    rates, firsts = defaultdict[tuple[str, str], list[float]](list), defaultdict[tuple[str, str], list[float]](list)
    for _ in range(rounds):
        for who, turn in turns.items():
            one = turn()
            rates[who].append(records / one.seconds)
            firsts[who].append(one.first_byte_seconds * 1000)
    for who, some in rates.items():
        first = f"first byte {statistics.median(firsts[who]):.0f} ms, slowest {max(firsts[who]):.0f} ms"
        print(f"  {', '.join(who)}: {a_second(some, 'rows')}, {first}")
    return rates


def _filled(stores: Stores, name: str, bodies: Sequence[Path]) -> str:
    """A collection of the bodies' records, in the lake; a key for it."""
    with lake.opened(stores) as house:
        collection = house.collections.catalogue.create(define({"id": COLLECTION})).collection
        for path in bodies:
            house.collections.accepting.accept(collection, orjson.loads(path.read_bytes())["data"])
        started = time.perf_counter()
        house.collections.chores.flush(collection)
        seconds = time.perf_counter() - started
        print(f"  {name}: {len(bodies) * BATCH} records curated in {seconds:.1f} s")
        return house.access.create("benchmark", datasources=[COLLECTION])[1]


def _fill_influx(yardstick: influx.InfluxServer, bodies: Sequence[Path]) -> None:
    yardstick.empty()
    head = load.post_head(influx.WRITE, {})
    load.post(load.Load(yardstick.port, _ANSWER_SECONDS, [(head, str(path)) for path in bodies], LINES))


def _check(told: str, turn: Callable[[], Read], lines: int, pid: int) -> None:
    """Have it read a few times, untimed, and print the memory. RuntimeError unless all is there."""
    with memory.PeakMemory(pid) as before:
        time.sleep(0.5)
    with memory.PeakMemory(pid) as peak:
        for _ in range(WARMING):
            found = turn()
            if found.lines != lines:
                raise RuntimeError(f"{told}: {found.lines} lines were sent instead of {lines}")
    largest = f"{peak.process_mb:.0f} MB for the largest process, {before.process_mb:.0f} MB before"
    print(f"  {told}: {found.size / 1e6:.1f} MB; memory while reading: {peak.tree_mb:.0f} MB for the tree, {largest}")


def _row(what: str, rates: Mapping[tuple[str, str], Sequence[float]], who: tuple[str, str]) -> Row:
    ours, baseline = rates[who], rates.get((INFLUX, who[1]))
    if baseline is None:
        return Row(what, a_second(ours, "rows"), "", [rate / 1e3 for rate in ours], unit="k rows/s")
    return Row(f"{what}: over {INFLUX}'s CSV", a_second(ours, "rows"), a_second(baseline, "rows"), ratios(ours, baseline))
