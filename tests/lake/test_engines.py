"""Both engines give the same rows, and the distributed one fails loudly, soon, by its name, and not for longer than it must."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import sqlglot
from deltalake import DeltaTable, write_deltalake
from flask.testing import FlaskClient
from minio import Minio
from sqlglot import exp

from smarthouse_api.arrow.time_columns import TIMESTAMP
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.lake.datafusion import EmbeddedEngine
from smarthouse_api.lake.engine import Engine
from smarthouse_api.lake.engine_registry import open_engine
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.open_table import CONFIGURATION
from smarthouse_api.lake.repairs import month_end
from smarthouse_api.states import planning
from smarthouse_api.states.aggregates.periods import VALUES
from smarthouse_api.states.export import statistics_queries
from smarthouse_api.states.export.things import select_things
from smarthouse_api.states.groups import select_groups
from smarthouse_api.states.planning import is_outdated, parts
from smarthouse_api.states.query import After, ExportPart, Filters
from smarthouse_api.states.records.periods import periods_of
from smarthouse_api.states.records.placement import bucket_of
from smarthouse_api.states.records.rows import states_of
from smarthouse_api.states.records.schema import PERIODS, RECORDS, STATES, STATISTICS
from smarthouse_api.states.records.sorting import encoded, in_order
from smarthouse_api.states.renewal import renewed
from smarthouse_api.states.selects import select_new_days, select_rows
from tests.conftest import ROOT, Environment, agree_keys, house_of, unzipped
from tests.lake.sail import SailServer
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer, free_port, missing

Clients = Callable[..., FlaskClient]
Row = dict[str, Any]

FIRST_DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NASTY = {
    "quote": "it's",
    "quotes": "''\"\"``",
    "statement": "'; DROP TABLE states; --",
    "condition": "' OR 1=1 --",
    "backslash": "\\",
    "backslashes": "\\\\",
    "escaped quote": "\\'",
    "escape": "\\n",
    "code point": "\\u0041",
    "octal": "\\101",
    "pattern": "%_\\%",
    "break": "a\nb\r\tc",
    "control": "a\x00b",
    "control and digits": "\x0012",
    "end of file": "\x1a",
    "variable": "${spark.app.name}",
    "environment": "${env:HOME}",
    "parameter": ":text0",
    "mark": "?",
    "braces": "{{x}} {fn x}",
    "comment": "/* */ -- #",
    "unicode": "µ³ é 😀 \U0010ffff \u2028",
    "spaces": "  ",
    "empty": "",
    "null": "NULL",
    "long": "ab" * 50_000,
}
SHORT = [text for name, text in NASTY.items() if name != "long"]
"""What many rows can have without being many megabytes."""


def row(**values: Any) -> Row:
    """A row of the lake; its day, bucket and time follow from the rest."""
    return {
        "home": "00000001",
        "entity_id": "sensor.a",
        "type": "sensor",
        "state": "1",
        "value": 1.0,
        "unit": None,
        "device_class": None,
        "last_changed": NOON,
        "last_updated": NOON,
        "received": NOON,
        "attributes": "{}",
        **values,
    }


def town(count: int = 1_200, seed: int = 1) -> list[Row]:
    """Rows of many homes, days, types and units, with many a tie."""
    chance = random.Random(seed)
    homes = [f"{chance.getrandbits(32):08x}{'0' * 24}" for _ in range(8)]
    rows = []
    for number in range(count):
        changed = NOON + timedelta(days=chance.randrange(4), seconds=chance.randrange(300))
        type_ = chance.choice(("sensor", "binary_sensor", "light", "sensor's"))
        rows.append(
            row(
                home=chance.choice(homes),
                type=type_,
                entity_id=f"{type_}.{chance.choice('abcäé')}",
                state=chance.choice(("on", "off", "1.5", "", "\\'\n", "😀")),
                value=chance.choice((None, 1.5, -0.0, 1e300)),
                unit=chance.choice((None, "K", "k", "°C", "m'\\", *SHORT)) if number % 7 else None,
                device_class=chance.choice((None, "power")),
                last_changed=chance.choice((changed, changed, None)),
                last_updated=chance.choice((changed, changed + timedelta(microseconds=1), None)),
                received=datetime.combine(changed.date(), datetime.min.time(), UTC) + timedelta(hours=23),
                attributes=chance.choice(("{}", '{"min":1}')),
                attributes_uploaded=f'{{"icon":"{number % 5}"}}' if number % 3 else None,
            )
        )
    return rows


def coherent(rows: list[Row]) -> list[Row]:
    """The rows with what follows from a state change as it does follow."""
    told = '{"unit_of_measurement":"K","device_class":"power"'
    return [
        {
            **one,
            "type": one["entity_id"].partition(".")[0],
            "value": 1.5 if one["state"] == "1.5" else None,
            "unit": "K",
            "device_class": "power",
            "attributes": told + (',"min":1}' if "min" in one["attributes"] else "}"),
        }
        for one in rows
        if "'" not in one["type"]
    ]


def placed(rows: list[Row]) -> pa.Table:
    """Rows as the present version writes them."""
    return states_of(
        pa.Table.from_pylist(rows, RECORDS),
        home=pa.array([one["home"] for one in rows], pa.string()),
        share=pa.array([bucket_of(one["home"]) for one in rows], pa.int32()),
        received=pa.array([one["received"] for one in rows], TIMESTAMP),
    )


def outdated(rows: list[Row]) -> pa.Table:
    """Rows as version 0.2 wrote them: by the day of arrival, with another time, and without the newer columns."""

    def as_it_was(one: Row) -> Row:
        at = one["last_changed"] or one["last_updated"] or one["received"]
        return {**one, "day": one["received"].date(), "bucket": bucket_of(one["home"]), "time": at}

    return pa.Table.from_pylist([as_it_was(one) for one in rows], STATES)


def write(table: DeltaTable, rows: list[Row]) -> None:
    write_deltalake(table, placed(rows), mode="append")


def new_table(folder: Path) -> DeltaTable:
    return DeltaTable.create(folder.as_uri(), STATES, partition_by=["day", "bucket"], configuration=CONFIGURATION)


def texts(batches: Iterator[pa.RecordBatch]) -> list[str]:
    return sorted(one["state"] for batch in batches for one in batch.to_pylist())


A_DAY = ExportPart(FIRST_DAY, FIRST_DAY)
ALL_DAYS = ExportPart(date.min, date.max)
LEFT_OUT = ("day", "bucket", "unit_nfkc", "attributes_uploaded", "entered")
EVERYTHING = select_rows(ALL_DAYS, Filters(), (), outdated=False)
ENDLESS = sqlglot.parse_one("SELECT CAST(id AS STRING) AS state FROM RANGE(100000000000)", dialect="spark")
assert isinstance(ENDLESS, exp.Select)


@pytest.fixture(scope="module")
def sail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SailServer]:
    """An endpoint for the tests that leave it as it was."""
    server = SailServer(tmp_path_factory.mktemp("sail"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def spark(sail: SailServer) -> Iterator[Engine]:
    with closing(open_engine(sail.url)) as engine:
        yield engine


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> DeltaTable:
    """A snapshot of three commits."""
    table = new_table(tmp_path_factory.mktemp("lake"))
    rows = town()
    for start in range(0, len(rows), 400):
        write(table, rows[start : start + 400])
    return table


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> DeltaTable:
    """Rows of which half were written by an earlier version, and many by both."""
    table = new_table(tmp_path_factory.mktemp("mixed"))
    rows = town()
    write_deltalake(table, outdated(rows[:800]), mode="append")
    write(table, rows[400:])
    return table


@pytest.fixture
def few(tmp_path: Path) -> DeltaTable:
    table = new_table(tmp_path / "few")
    write(table, [row(state="old")])
    return table


# The same rows


@pytest.mark.parametrize("nasty", NASTY.values(), ids=NASTY)
@pytest.mark.parametrize("engine", ["embedded", "spark"])
def test_a_text_means_itself(request: pytest.FixtureRequest, nasty_table: DeltaTable, engine: str, nasty: str) -> None:
    one = EmbeddedEngine() if engine == "embedded" else request.getfixturevalue("spark")
    name = next(name for name, text in NASTY.items() if text == nasty)
    assert texts(one.stream(nasty_table, select_rows(A_DAY, Filters(units=(nasty,)), (), outdated=False))) == [name]
    assert texts(one.stream(nasty_table, select_rows(A_DAY, Filters(types=(nasty,)), (), outdated=False))) == []


@pytest.fixture(scope="module")
def nasty_table(tmp_path_factory: pytest.TempPathFactory) -> DeltaTable:
    table = new_table(tmp_path_factory.mktemp("nasty"))
    write(table, [row(state=name, unit=text) for name, text in NASTY.items()])
    return table


FILTERS = {
    "everything": Filters(),
    "days": Filters(since=date(2026, 3, 2), until=date(2026, 3, 3)),
    "all days that there are": Filters(since=date.min, until=date.max),
    "days of arrival": Filters(since=date(2026, 3, 2), until=date(2026, 3, 2), time_field="received"),
    "type": Filters(types=("sensor",)),
    "types": Filters(types=("binary_sensor", "sensor's", "none")),
    "unit": Filters(units=("K",)),
    "units": Filters(units=("°C", "m'\\", "k", *SHORT)),
    "all in one": Filters(date(2026, 3, 1), date(2026, 3, 3), ("sensor", "light"), ("K", "it's", "\\'"), "received"),
    "nothing": Filters(units=("lux",)),
}


def read(engine: Engine, table: DeltaTable, filters: Filters, hidden: list[str]) -> list[Row]:
    """The rows of a snapshot, part by part, in order."""
    files = files_of(table)
    old = is_outdated(files)

    def count(asked: exp.Select) -> tuple[np.ndarray, np.ndarray]:
        found = [one for batch in engine.stream(table, asked) for one in batch.to_pylist()]
        return np.array([int(one["own_day"]) for one in found]), np.array([one["found"] for one in found])

    rows = list[Row]()
    for part in parts(files, filters, count):
        found = list(engine.stream(table, select_rows(part, filters, hidden, outdated=old)))
        if found and old:
            found = renewed(pa.Table.from_batches(found)).to_batches()
        if (together := encoded(found)) is not None:
            rows += filters.keep(in_order(together), renewed=old).to_pylist()
    return rows


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("snapshot", ["crowded", "mixed"])
def test_both_engines_give_the_same_rows_in_the_same_order(
    request: pytest.FixtureRequest, spark: Engine, snapshot: str, filters: Filters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MAX_SORTED_ROWS", 250)
    table, hidden = request.getfixturevalue(snapshot), [row["home"] for row in town(2)]
    found = [read(engine, table, filters, hidden) for engine in (EmbeddedEngine(), spark)]
    assert found[0] == found[1]
    assert bool(found[0]) is (filters != FILTERS["nothing"])
    assert not {one["home"] for one in found[0]} & set(hidden)


def test_rows_of_an_earlier_version_are_read_as_those_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "MAX_SORTED_ROWS", 150)
    rows = coherent(town(600))
    old, both, new = (new_table(tmp_path / name) for name in ("old", "both", "new"))
    write_deltalake(old, outdated(rows), mode="append")
    write_deltalake(both, outdated(rows[:300]), mode="append")
    write(both, rows[150:])
    write(new, rows)

    def told(table: DeltaTable, filters: Filters) -> list[Row]:
        only_here = ("bucket", "unit_nfkc")
        rows = read(EmbeddedEngine(), table, filters, [])
        return [{name: value for name, value in one.items() if name not in only_here} for one in rows]

    for name, filters in FILTERS.items():
        assert told(old, filters) == told(both, filters) == told(new, filters), name


@pytest.mark.parametrize(("least", "days"), [(1, 1), (6, 4), (8, 4), (8, 5), (9, 4)])
def test_both_engines_find_the_same_groups(spark: Engine, crowded: DeltaTable, least: int, days: int) -> None:
    homes = sorted({one["home"] for one in town()})
    query = select_groups((date.min, date.max), ["ffffffff"], homes, least, days)
    found = [
        sorted(
            (int(one["own_day"]), one["type"], repr(one["unit_nfkc"]))
            for batch in engine.stream(crowded, query)
            for one in batch.to_pylist()
        )
        for engine in (EmbeddedEngine(), spark)
    ]
    assert found[0] == found[1]
    assert bool(found[0]) is (least <= 8 and days <= 4)


def test_both_engines_find_what_entered_after_a_snapshot_and_what_is_told(spark: Engine, tmp_path: Path) -> None:
    table, rows = new_table(tmp_path / "lake"), town()
    for number, begin in ((10, 0), (20, 400), (-30, 800), (None, 1_000)):
        some = placed(rows[begin : begin + 400])
        entered = pa.repeat(pa.scalar(number, pa.int64()), len(some))
        write_deltalake(table, some.set_column(some.column_names.index("entered"), "entered", entered), mode="append")
    filters = Filters(types=("sensor", "binary_sensor"), after=After(15, None))
    part = ExportPart(date.min, date.max)
    queries = (
        select_new_days(filters, 15, ["ffffffff"]),
        select_new_days(filters, 25, []),
        select_rows(part, filters, [], outdated=False),
        *(
            select_things(filters, ["ffffffff"], words, grouped=grouped)
            for words, grouped in ((["on", "home"], True), (None, False))
        ),
    )
    for query in queries:
        ours, theirs = (
            sorted(repr(one | {"own_day": int(one.get("own_day", 0))}) for batch in found for one in batch.to_pylist())
            for found in (engine.stream(table, query) for engine in (EmbeddedEngine(), spark))
        )
        assert ours == theirs
        assert ours
    assert {one["least"] for batch in spark.stream(table, queries[0]) for one in batch.to_pylist()} == {-30}


def test_both_engines_find_the_same_statistics(spark: Engine, tmp_path: Path) -> None:
    table = DeltaTable.create(
        (tmp_path / "lake").as_uri(), PERIODS, partition_by=["day", "bucket"], configuration=CONFIGURATION
    )
    chance, rows = random.Random(1), []
    for number in range(300):
        start = NOON + timedelta(hours=number, days=-400 * (number % 7 == 0), weeks=6000 * (number % 50 == 49))
        values = {name: chance.choice((None, number / 4)) for name in VALUES}
        rows.append({"home": f"{number % 3:08}", "statistic_id": "sensor.x", "start": start, "period_seconds": 3600, **values})
    statistics = pa.Table.from_pylist(rows, pa.schema([("home", pa.string()), *STATISTICS]))
    received = pa.array([NOON] * len(rows), TIMESTAMP)
    share = pa.array([bucket_of(one["home"]) for one in rows], pa.int32())
    home = statistics["home"].combine_chunks()
    write_deltalake(
        table, periods_of(statistics.drop_columns(["home"]), home=home, share=share, received=received), mode="append"
    )
    filters = Filters(NOON.date() + timedelta(days=1))
    months = [rows[number]["start"].date().replace(day=1) for number in (1, 99)]
    asked = [statistics_queries.select_periods(Filters(), month, month_end(month), ["00000002"]) for month in months]
    asked += [statistics_queries.select_far_days(Filters(), [])]
    asked += [statistics_queries.select_things(filters, ["00000002"], by_day=by_day) for by_day in (True, False)]
    for query in asked:
        ours, theirs = (
            sorted(repr(one | {"own_day": int(one.get("own_day", 0))}) for batch in found for one in batch.to_pylist())
            for found in (engine.stream(table, query) for engine in (EmbeddedEngine(), spark))
        )
        assert ours == theirs
        assert ours


def test_columns_come_typed_as_those_of_an_export(spark: Engine, crowded: DeltaTable) -> None:
    expected = [(field.name, field.type) for field in STATES if field.name not in LEFT_OUT]
    for batch in spark.stream(crowded, EVERYTHING):
        assert [(field.name, field.type) for field in batch.schema] == expected


def test_every_time_that_there_is_comes_back(spark: Engine, tmp_path: Path) -> None:
    times = [datetime.min.replace(tzinfo=UTC), NOON.replace(microsecond=123_456), datetime.max.replace(tzinfo=UTC)]
    table = new_table(tmp_path / "lake")
    write(table, [row(last_changed=time, last_updated=None) for time in times])
    found = pa.Table.from_batches(spark.stream(table, EVERYTHING))
    assert sorted(found["last_changed"].to_pylist()) == times
    assert found["last_updated"].null_count == 3


def test_large_batches_come_whole(spark: Engine, tmp_path: Path) -> None:
    large = "x" * (8 << 20)
    table = new_table(tmp_path / "lake")
    write(table, [row(state=large) for _ in range(4)])
    assert texts(spark.stream(table, EVERYTHING)) == [large] * 4


# Over HTTP


@pytest.fixture
def environment(embedded_pair: Environment) -> Environment:
    """Stores that two applications can share."""
    return embedded_pair


def fill(house: House) -> None:
    house.installation.settle()
    snapshot, rows = house.states.table.open_or_create(), town()
    for start in range(0, len(rows), 400):
        house.states.table.append(snapshot, placed(rows[start : start + 400]), {"test": start + 1})
    agree_keys(house, (one["home"] for one in rows))


QUERIES: list[dict[str, Any]] = [
    {},
    {"types": "sensor,light"},
    {"units": ["°C", "m'\\", "' OR 1=1 --", "\\", "${env:HOME}"]},
    {"date_from": "2026-03-02", "date_to": "2026-03-03"},
    {"date_from": "2026-03-02", "time_field": "received", "types": "sensor", "units": ["K", "it's"]},
]


@pytest.mark.parametrize("privacy", ["standard", "strict", "raw"])
def test_exports_are_the_same_from_both_engines(
    make_client: Clients, sail: SailServer, privacy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MAX_SORTED_ROWS", 400)
    settings = {"export_privacy": privacy, "export_min_homes": 2, "enrolled_after_days": 1}
    clients = [make_client(engine_url=url, **settings) for url in ("embedded", sail.url)]
    fill(house_of(clients[0]))
    headers = {"Authorization": f"Bearer {house_of(clients[0]).access.create('operator', admin=True)[1]}"}
    for query in QUERIES if privacy == "standard" else QUERIES[::3]:
        asked = {"formats": "json,csv", **query}
        found = [client.get("/api/export/dataset", query_string=asked, headers=headers, buffered=True) for client in clients]
        assert [answer.status_code for answer in found] == [200, 200], query
        ours, theirs = (unzipped(answer.data) for answer in found)
        assert ours["json"] == theirs["json"], query
        assert ours["csv"] == theirs["csv"], query
        assert len(ours["csv"].splitlines()) > 1, query
        assert (b"icon" in ours["csv"]) is (privacy == "raw"), query


@pytest.mark.alone
def test_an_engine_that_is_not_there_is_a_503_that_names_it_and_no_secret(make_client: Clients) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    client = make_client(engine_url=f"sc://{endpoint}/;token=hunter2")
    fill(house_of(client))
    started = time.monotonic()
    answer = client.get("/api/export/json", buffered=True)
    assert time.monotonic() - started < 3
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.headers["Retry-After"]
    assert endpoint in answer.text
    assert "hunter2" not in answer.text
    assert not house_of(client).states.table.is_read()


def test_an_engine_killed_in_the_middle_breaks_the_zip(
    make_client: Clients, own_sail: SailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MAX_SORTED_ROWS", 120)
    monkeypatch.setattr("smarthouse_api.states.export.published_rows._READ_AHEAD_BYTES", 1)
    client = make_client(engine_url=own_sail.url)
    fill(house_of(client))
    answer = client.get("/api/export/dataset?formats=json,csv", buffered=False)
    assert answer.status_code == 200
    own_sail.kill()
    came = BytesIO()
    with pytest.raises(ConnectionResetError) as broken:
        came.writelines(answer.response)
    assert own_sail.endpoint in str(broken.value.__cause__)
    answer.close()
    assert not zipfile.is_zipfile(came)
    assert not house_of(client).states.table.is_read()


def test_exports_work_again_once_the_engine_is_back(make_client: Clients, own_sail: SailServer) -> None:
    client = make_client(engine_url=own_sail.url)
    fill(house_of(client))

    def fetched() -> Any:
        return client.get("/api/export/json", buffered=True)

    first = fetched()
    own_sail.kill()
    assert [fetched().status_code for _ in range(3)] == [503, 503, 503]
    own_sail.start()
    again = fetched()
    assert again.status_code == 200
    assert unzipped(again.data)["json"] == unzipped(first.data)["json"]


# Outages


@pytest.mark.alone
def test_an_engine_that_takes_connections_and_does_not_answer_is_given_up(few: DeltaTable, own_sail: SailServer) -> None:
    from smarthouse_api.lake.spark import SparkEngine

    with closing(SparkEngine(own_sail.url, answer_seconds=2)) as engine:
        own_sail.pause()
        started = time.monotonic()
        with pytest.raises(Unavailable, match=f"{own_sail.endpoint} does not answer in time"):
            list(engine.stream(few, EVERYTHING))
        assert time.monotonic() - started < 4
        own_sail.resume()
        assert texts(engine.stream(few, EVERYTHING)) == ["old"]


def test_a_result_that_breaks_off_is_no_result(crowded: DeltaTable, own_sail: SailServer) -> None:
    with closing(open_engine(own_sail.url)) as engine:
        batches = engine.stream(crowded, ENDLESS)
        next(batches)
        own_sail.kill()
        with pytest.raises(Unavailable, match=own_sail.endpoint):
            list(batches)


@pytest.mark.alone
def test_an_engine_that_hangs_in_the_middle_is_given_up(crowded: DeltaTable, own_sail: SailServer) -> None:
    from smarthouse_api.lake.spark import SparkEngine

    with closing(SparkEngine(own_sail.url, answer_seconds=1)) as engine:
        batches = engine.stream(crowded, ENDLESS)
        next(batches)
        own_sail.pause()
        started = time.monotonic()
        with pytest.raises(Unavailable, match=f"{own_sail.endpoint} does not answer any more"):
            list(batches)
        assert time.monotonic() - started < 4


def test_a_query_that_takes_long_is_waited_for_while_its_engine_answers(few: DeltaTable) -> None:
    from smarthouse_api.lake.spark import SparkEngine

    with closing(StrictServer(busy_for=3)) as server, closing(SparkEngine(server.url, answer_seconds=0.5)) as engine:
        assert list(engine.stream(few, EVERYTHING)) == []
        assert server.asked >= 3


def test_a_restart_between_two_queries_goes_unnoticed(few: DeltaTable, own_sail: SailServer) -> None:
    with closing(open_engine(own_sail.url)) as engine:
        for _ in range(2):
            assert texts(engine.stream(few, EVERYTHING)) == ["old"]
            own_sail.kill()
            own_sail.start()


def test_an_engine_without_access_to_the_table_is_unavailable_and_its_words_are_logged(
    few: DeltaTable, tmp_path: Path, spark: Engine, sail: SailServer, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "few").rename(tmp_path / "moved")
    with caplog.at_level(logging.ERROR), pytest.raises(Unavailable, match=sail.endpoint) as told:
        list(spark.stream(few, EVERYTHING))
    assert str(tmp_path) not in told.value.detail
    assert sail.endpoint in caplog.text


@pytest.mark.alone
def test_a_query_that_takes_too_long_is_given_up_and_stopped(crowded: DeltaTable, sail: SailServer) -> None:
    from smarthouse_api.lake.spark import SparkEngine

    with closing(SparkEngine(sail.url, query_seconds=0.5)) as engine:
        with pytest.raises(Unavailable, match=f"{sail.endpoint} does not answer in time"):
            # One batch after the other, for a server whose every thread computes does not hear for minutes that it should stop.
            for _ in engine.stream(crowded, ENDLESS):
                pass
        assert comes_to_rest(sail)


@pytest.mark.alone
def test_a_reader_that_goes_away_stops_the_query(crowded: DeltaTable, sail: SailServer, spark: Engine) -> None:
    batches = spark.stream(crowded, ENDLESS)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert comes_to_rest(sail)


def comes_to_rest(server: SailServer) -> bool:
    """Whether it stops soon: it looks only now and then whether it should, and the queries would take many minutes."""
    process = psutil.Process(server.pid)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.cpu_percent(interval=0.2) < 20:
            return True
    return False


def test_a_session_that_the_server_has_closed_is_made_anew(few: DeltaTable) -> None:
    with closing(StrictServer()) as server, closing(open_engine(server.url)) as engine:
        assert list(engine.stream(few, EVERYTHING)) == []
        server.closed.update(server.ids)
        assert list(engine.stream(few, EVERYTHING)) == []
        assert len(server.ids) == 2
    assert server.released == {server.ids[-1]}


def test_each_query_has_its_snapshot_under_a_name_of_its_own(few: DeltaTable) -> None:
    """Apache Spark keeps such names for the whole session, while it reads the SQL: two queries must not share one."""
    with closing(StrictServer()) as server, closing(open_engine(server.url)) as engine:
        for _ in range(2):
            list(engine.stream(few, EVERYTHING))
    (one, its_sql), (other, _) = server.sources
    assert one != other
    assert f"`{one}`" in its_sql


class StrictServer:
    """An endpoint that answers no rows, and nothing to a session that it has closed, as Apache Spark does.

    busy_for: questions whether it is there that it takes before a query is answered.
    """

    def __init__(self, busy_for: int = 0) -> None:
        grpc = pytest.importorskip("grpc")
        import pyspark.sql.connect.proto as pb
        from pyspark.sql.connect.proto import base_pb2_grpc

        self.ids: list[str] = []
        self.closed: set[str] = set()
        self.released: set[str] = set()
        self.sources: list[tuple[str, str]] = []
        self.asked = 0
        changed = threading.Condition()
        outer = self

        class Service(base_pb2_grpc.SparkConnectServiceServicer):  # type: ignore[misc, no-any-unimported]
            def Config(self, request: Any, context: Any) -> Any:
                if request.session_id in outer.closed:
                    context.abort(grpc.StatusCode.INTERNAL, "[INVALID_HANDLE.SESSION_CLOSED]")
                if request.session_id not in outer.ids:
                    outer.ids.append(request.session_id)
                with changed:
                    outer.asked += 1
                    changed.notify_all()
                return pb.ConfigResponse(session_id=request.session_id)

            def ExecutePlan(self, request: Any, context: Any) -> Any:
                with changed:
                    changed.wait_for(lambda: outer.asked >= busy_for, timeout=30)
                plan = request.plan.root.with_relations
                outer.sources.append((plan.references[0].subquery_alias.alias, plan.root.sql.query))
                yield pb.ExecutePlanResponse(session_id=request.session_id)

            def ReleaseSession(self, request: Any, context: Any) -> Any:
                outer.released.add(request.session_id)
                return pb.ReleaseSessionResponse(session_id=request.session_id)

        self._server = grpc.server(ThreadPoolExecutor(2))
        base_pb2_grpc.add_SparkConnectServiceServicer_to_server(Service(), self._server)
        self.url = f"sc://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()


# Snapshots, stores, processes and threads


def test_an_export_stays_on_the_snapshot_that_it_opened(few: DeltaTable, tmp_path: Path, spark: Engine) -> None:
    later = DeltaTable((tmp_path / "few").as_uri())
    write(later, [row(state="new")])
    for engine in (EmbeddedEngine(), spark):
        assert texts(engine.stream(few, EVERYTHING)) == ["old"]
        assert texts(engine.stream(later, EVERYTHING)) == ["new", "old"]


def test_a_snapshot_can_be_read_however_many_commits_come_after_it(few: DeltaTable, tmp_path: Path, spark: Engine) -> None:
    later = DeltaTable((tmp_path / "few").as_uri())
    for _ in range(int(CONFIGURATION["delta.checkpointInterval"]) + 1):
        write(later, [])
    for engine in (EmbeddedEngine(), spark):
        assert texts(engine.stream(few, EVERYTHING)) == ["old"]


def test_a_table_in_a_bucket_is_read_with_the_engines_own_credentials(tmp_path: Path) -> None:
    store = MinioServer(tmp_path / "minio")
    store.start()
    options = {
        "AWS_ENDPOINT": f"http://{store.endpoint}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    server = SailServer(tmp_path / "sail", **options)
    try:
        server.start()
        Minio(store.endpoint, ACCESS_KEY, SECRET_KEY, secure=False).make_bucket("house")
        uri = "s3://house/lake/states"
        table = DeltaTable.create(uri, STATES, partition_by=["day", "bucket"], storage_options=options)
        write(table, [row(state="old")])
        write(DeltaTable(uri, storage_options=options), [row(state="new")])
        with closing(open_engine(server.url)) as engine:
            assert texts(engine.stream(table, EVERYTHING)) == ["old"]
    finally:
        server.kill()
        store.kill()


def test_an_engine_opened_before_a_fork_serves_every_process_after_it(
    few: DeltaTable, sail: SailServer, tmp_path: Path
) -> None:
    script = f"""
        import os, sys
        from datetime import date
        sys.path.insert(0, {str(ROOT)!r})
        from deltalake import DeltaTable
        from smarthouse_api.lake.engine_registry import open_engine
        from smarthouse_api.states.groups import select_groups

        engine = open_engine({sail.url!r})
        children = []
        for _ in range(2):
            child = os.fork()
            if not child:
                table = DeltaTable({few.table_uri!r})
                groups = select_groups((date.min, date.max), (), ["00000001"], 1, 1)
                rows = sum(batch.num_rows for batch in engine.stream(table, groups))
                engine.close()
                os._exit(rows)
            children.append(child)
        sys.exit([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] != [1, 1])
    """
    # pyspark takes `python -c` for its own tests, and exits.
    (tmp_path / "forks.py").write_text(textwrap.dedent(script))
    subprocess.run([sys.executable, "-W", "error", tmp_path / "forks.py"], check=True, timeout=60)


def test_many_threads_share_an_engine(spark: Engine, crowded: DeltaTable) -> None:
    filters = list(FILTERS.values())
    queries = [select_rows(ALL_DAYS, filters[number % len(filters)], (), outdated=False) for number in range(16)]

    def count(engine: Engine, query: exp.Select) -> int:
        return sum(batch.num_rows for batch in engine.stream(crowded, query))

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda query: count(spark, query), queries))
    assert found == [count(EmbeddedEngine(), query) for query in queries]


def test_queries_leave_no_thread_and_no_open_file(spark: Engine, few: DeltaTable, own_sail: SailServer) -> None:
    def use_up(engine: Engine) -> None:
        for batches in [engine.stream(few, EVERYTHING) for _ in range(10)]:
            next(batches)
            batches.close()  # type: ignore[attr-defined]

    use_up(spark)
    process, threads = psutil.Process(), set(threading.enumerate())
    files = process.num_fds()
    use_up(spark)
    for _ in range(3):
        with closing(open_engine(own_sail.url)) as engine:
            use_up(engine)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (process.num_fds() > files or not set(threading.enumerate()) <= threads):
        threading.Event().wait(0.01)
    assert process.num_fds() <= files
    assert set(threading.enumerate()) <= threads


def test_who_opens_after_the_look_for_readers_needs_no_log_that_is_cleaned(
    make_client: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = house_of(make_client())
    fill(house)
    table = house.states.table
    table.readers_need_log = True
    opened = dict[int, set[str]]()

    def look() -> bool:
        snapshot = table.open()
        assert snapshot is not None
        log = {info.key for info in house.objects.list_table(table.name, "_delta_log/")}
        opened[snapshot.version()] = log - {"_delta_log/_last_checkpoint"}
        return False

    monkeypatch.setattr(table, "is_read", look)
    with table.writing(1) as lease:
        assert table.erase_history(lease)
    ((version, listed),) = opened.items()
    stays = {info.key for info in house.objects.list_table(table.name, "_delta_log/")}
    assert f"_delta_log/{version:020d}.checkpoint.parquet" in listed & stays
    assert listed - stays, "something was cleaned"


@pytest.mark.parametrize("purges", [False, True])
def test_exports_that_open_while_the_log_is_cleaned_come_whole(make_client: Clients, sail: SailServer, purges: bool) -> None:
    client = make_client(engine_url=sail.url, export_privacy="raw", exports_at_once=4)
    house, over = house_of(client), threading.Event()
    headers = {"Authorization": f"Bearer {house.access.create('operator', admin=True)[1]}"}
    house.installation.settle()
    table, told = house.states.table, list[int]()
    table.append(table.open_or_create(), placed(town(60)), {"test": 1})

    def clean() -> None:
        while not over.is_set():
            with table.writing(10) as lease:
                table.erase_history(lease, break_readers_after=10 if purges else None)

    def export() -> None:
        for _ in range(3):
            told.append(client.application.test_client().get("/api/export/csv", headers=headers, buffered=True).status_code)

    with ThreadPoolExecutor(3) as pool:
        cleaning, *exporting = pool.submit(clean), pool.submit(export), pool.submit(export)
        for one in exporting:
            one.result()
        over.set()
        cleaning.result()
    assert told == [200] * 6


# The URL


@pytest.mark.parametrize(
    "url",
    [
        "sc://",
        "sc:///",
        "sc://:15002",
        "sc://host:port",
        "sc://host:99999",
        "sc://host:15002/path",
        "sc://host:15002/;token",
        "sc://host:15002/;token=hunter2==",
        "sc://host:15002;token=hunter2",
        "sc://host:15002/?token=hunter2",
        "sc://me:hunter2@host:15002",
        "sc://host:15002/;token=hunter2 ",
        "spark://me:hunter2@host:15002",
        "duckdb",
        "",
    ],
)
def test_a_malformed_url_is_a_fault_that_shows_a_good_one_and_no_secret(url: str) -> None:
    with pytest.raises(ValueError, match="sc://host:port") as told:
        open_engine(url)
    assert "hunter2" not in "".join(map(str, (told.value, told.value.__cause__)))


@pytest.mark.parametrize(
    "url",
    [
        "sc://localhost",
        "sc://localhost/",
        "sc://host:15002",
        "sc://[::1]:15002",
        "sc://host:15002/;use_ssl=true;token=a%3Db;user_id=me;x-cluster=1",
        "embedded",
    ],
)
def test_a_good_url_opens_an_engine_and_asks_no_server(url: str) -> None:
    needs_spark()
    with closing(open_engine(url)) as engine:
        assert isinstance(engine, Engine)


def needs_spark() -> None:
    try:
        import pyspark  # noqa: F401
    except ImportError:
        missing("pyspark is missing: pip install -e '.[test]'")


def test_the_client_of_spark_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("pyspark.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "smarthouse_api.lake.spark", raising=False)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ValueError, match=r"install smarthouse-api\[spark\]"):
        open_engine("sc://localhost")


def test_the_embedded_engine_needs_nothing_of_spark() -> None:
    script = """
        import sys
        from smarthouse_api.app import create_app
        from smarthouse_api.lake.engine_registry import open_engine
        open_engine("embedded")
        sys.exit(bool({"pyspark", "grpc", "pandas", "smarthouse_api.lake.spark"} & set(sys.modules)))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=True, timeout=60)
