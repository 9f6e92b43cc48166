"""Records accepted durably over HTTP, in batches of 1,000, by both dialects on both pairs of stores, and read back.

The first yardstick is InfluxDB 1.6, which takes the same points as line protocol, in the same batches, over as many connections
of the same generator. It waits for the disk at each write, as Redis does with `appendfsync always` and SQLite with
`synchronous=full`. SQLite's default and `everysec` do not, and InfluxDB has no such mode: with a `wal-fsync-delay` each writer
still waits until the disk has it. The second yardstick is what orjson takes to parse the same bodies, in one process.

Only acceptance is timed, of the service and of InfluxDB: nobody keeps house meanwhile, InfluxDB brings nothing from its cache
into files, Redis does not rewrite its own. How fast the records are then curated into the lake is printed. Each dialect writes
to a collection of its own, with any number of connections. At the end all acknowledged records are read back and counted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from benchmarks import influx, lake, load, memory, points, readback, server
from benchmarks.paths import scratch
from benchmarks.points import BATCH, COLLECTION, DATASET, LINES, MADEVO, OBSRV
from benchmarks.stores import FSYNCS, Production, Stores
from benchmarks.table import Row, a_second, ratios
from smarthouse_api.collections.model import define
from smarthouse_api.house import House

CONNECTIONS: Final = load.CONNECTIONS
SECONDS: Final = 60
"""No round takes as long: it ends with its last batch."""
INFLUX: Final = "InfluxDB"
ORJSON: Final = "orjson"
TOLD: Final = {MADEVO: "Madevo's dialect", OBSRV: "Obsrv's dialect"}
IDS: Final = {MADEVO: COLLECTION, OBSRV: DATASET}
FULL: Final = {"SMARTHOUSE_STATE_URL": "sqlite://{data_dir}/state.db?synchronous=full"}

Contender = tuple[str, str]
Round = Callable[[], float]
"""A contender's turn in a round: records a second."""


@dataclass(frozen=True)
class Plan:
    """rounds: of `batches` each. records: that are read back, in so many `readings`."""

    rounds: int
    batches: int
    records: int
    readings: int


PLANS: Final = {
    "quick": Plan(1, 32, 10_000, 1),
    "small": Plan(5, 150, 200_000, 5),
    "1m": Plan(9, 300, 200_000, 9),
    "6m": Plan(15, 400, 200_000, 15),
}


def measure(size: str) -> list[Row]:
    """The rows: accepting, reading back."""
    plan = PLANS[size]
    with scratch("collections") as folder, Production(folder / "servers") as production, ExitStack() as stack:
        for fsync in FSYNCS:
            production.redis(fsync).client().config_set("auto-aof-rewrite-percentage", 0)
        yardstick = None
        if influx.installed():
            yardstick = influx.InfluxServer(folder / "influx")
            stack.callback(yardstick.stop)
            yardstick.start()
            print(f"  {yardstick.version()}")
        else:
            print(f"  {influx.MISSING}")
        rows = _Accepting(plan, folder, production, yardstick).rows()
        pairs = {"SQLite and a folder": Stores(folder / "reads"), "Redis and MinIO": production.stores("reads")}
        return [*rows, *readback.measure(plan.records, plan.readings, pairs, yardstick)]


class _Accepting:
    """The service on each pair of stores, and the yardsticks. A contender's name is who takes the records, and the dialect."""

    def __init__(self, plan: Plan, folder: Path, production: Production, yardstick: influx.InfluxServer | None) -> None:
        self._plan, self._folder, self._production, self._influx = plan, folder, production, yardstick
        self._pairs = {
            "SQLite": Stores(folder / "accepting"),
            "SQLite (full)": Stores(folder / "accepting-full", FULL),
            **{f"Redis ({fsync})": production.stores("accepting", fsync) for fsync in FSYNCS},
        }
        self._bodies = dict[str, list[Path]]()
        self._acknowledged = defaultdict[Contender, int](int)
        self._used = defaultdict[Contender, defaultdict[str, float]](lambda: defaultdict(float))

    def rows(self) -> list[Row]:
        with ExitStack() as stack:
            houses = {name: stack.enter_context(lake.opened(stores)) for name, stores in self._pairs.items()}
            rates = self._rounds({name: _prepared(house) for name, house in houses.items()})
            for name, house in houses.items():
                for dialect, id_ in IDS.items():
                    _check(house, name, id_, self._acknowledged[name, dialect])
        if self._influx is not None:
            held, sent = self._influx.points(COLLECTION), self._acknowledged[INFLUX, LINES]
            if held != sent:
                raise RuntimeError(f"InfluxDB holds {held} points of {sent} that it acknowledged")
        return self._compared(rates)

    def _rounds(self, keys: Mapping[str, str]) -> dict[Contender, list[float]]:
        """By contender, what each round gave; after one that does not count."""
        rates = defaultdict[Contender, list[float]](list)
        with server.undisturbed(self._pairs) as services:
            turns = self._turns(services, keys)
            for number in range(self._plan.rounds + 1):
                self._bodies = points.write(self._folder / "bodies", number * self._plan.batches, self._plan.batches)
                for contender, turn in turns.items():
                    rates[contender].append(turn())
                told = ", ".join(f"{' '.join(one)} {some[-1] / 1e3:.0f} k/s" for one, some in rates.items())
                print(f"  {f'round {number}' if number else 'warming up'}: {told}", flush=True)
        for contender, used in self._used.items():
            batches = self._acknowledged[contender] / BATCH
            told = ", ".join(f"{who} {seconds * 1000 / batches:.1f} ms" for who, seconds in used.items())
            print(f"  processor time of a batch, {' '.join(contender)}: {told}")
        return {contender: some[1:] for contender, some in rates.items()}

    def _turns(self, services: Mapping[str, server.Server], keys: Mapping[str, str]) -> dict[Contender, Round]:
        turns = dict[Contender, Round]()
        others = self._production.pids()
        for dialect in IDS:
            for name, one in services.items():
                pids = {"service": one.pid, **({name: others[name]} if name in others else {})}
                turns[name, dialect] = self._posting((name, dialect), one.port, _head(dialect, keys[name]), pids)
            turns[ORJSON, dialect] = self._parsing(dialect)
        if self._influx is not None:
            head = load.post_head(influx.WRITE, {})
            turns[INFLUX, LINES] = self._posting((INFLUX, LINES), self._influx.port, head, {INFLUX: self._influx.pid})
        return turns

    def _parsing(self, dialect: str) -> Round:
        return lambda: _parsed(self._bodies[dialect])

    def _posting(self, contender: Contender, port: int, head: str, pids: Mapping[str, int]) -> Round:
        dialect = contender[1]

        def turn() -> float:
            before = {who: memory.cpu_seconds(pid) for who, pid in pids.items()}
            requests = [(head, str(path)) for path in self._bodies[dialect]]
            outcome = load.post(load.Load(port, SECONDS, requests, dialect, CONNECTIONS))
            self._acknowledged[contender] += outcome.good * BATCH
            for who, pid in pids.items():
                self._used[contender][who] += memory.cpu_seconds(pid) - before[who]
            return outcome.a_second * BATCH

        return turn

    def _compared(self, rates: Mapping[Contender, Sequence[float]]) -> list[Row]:
        what = f"{BATCH} records in one POST, durable, {CONNECTIONS} connections, {{}}: {{}} over {{}}"
        rows = []
        for dialect, told in TOLD.items():
            for name in self._pairs:
                ours = rates[name, dialect]
                if self._influx is not None:
                    rows.append(_row(what.format(told, name, INFLUX), ours, rates[INFLUX, LINES], 0.5, 1.5))
                rows.append(_row(what.format(told, name, "orjson alone"), ours, rates[ORJSON, dialect], 0.15))
        return rows


def _prepared(house: House) -> str:
    """Make the collections; a key for them."""
    for members in ({"id": COLLECTION}, {"id": DATASET, "entry_topic": DATASET}):
        house.collections.catalogue.create(define(members))
    return house.access.create("benchmark", datasources=[COLLECTION])[1]


def _head(dialect: str, key: str) -> str:
    """Obsrv's dialect needs no key for a dataset that is open, as its clients send none."""
    headers = {"Content-Type": "application/json"}
    if dialect == OBSRV:
        return load.post_head(f"/v2/data/in/{DATASET}", headers)
    return load.post_head("/restapi/datasource/insert", {**headers, "Authorization": f"Bearer {key}"})


def _parsed(bodies: Sequence[Path]) -> float:
    """Have orjson parse them, already in memory; records a second."""
    texts = [path.read_bytes() for path in bodies]
    started = time.perf_counter()
    for text in texts:
        orjson.loads(text)
    return len(texts) * BATCH / (time.perf_counter() - started)


def _check(house: House, name: str, id_: str, acknowledged: int) -> None:
    """Curate what was acknowledged, and read it back. RuntimeError unless all of it is there."""
    collection = house.collections.catalogue.find(id_)
    started = time.perf_counter()
    house.collections.chores.flush(collection)
    seconds = time.perf_counter() - started
    print(f"  {name}, {id_}: {acknowledged} records curated in {seconds:.1f} s, {acknowledged / seconds / 1e3:.0f} k rows/s")
    held = readback.count(house, collection)
    if held != acknowledged:
        raise RuntimeError(f"{name}: {id_} holds {held} records of {acknowledged} that were acknowledged")


def _row(what: str, ours: Sequence[float], baseline: Sequence[float], must: float, ambition: float | None = None) -> Row:
    return Row(what, a_second(ours, "records"), a_second(baseline, "records"), ratios(ours, baseline), must, ambition)
