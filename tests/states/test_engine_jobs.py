"""Jobs whose parts an engine of its own writes: the same files, and nothing that stays of one cancelled or forgotten."""

from __future__ import annotations

import csv
import io
import json
import logging
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlglot import exp

from config.settings import Settings
from smarthouse_api.arrow.formats import FORMATS
from smarthouse_api.arrow.numbers import read_numbers
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.lake.spark import SparkEngine
from smarthouse_api.lake.spark_writing import SparkWriting
from smarthouse_api.states.export import engine_texts
from smarthouse_api.states.export.engine_queries import SPAN
from smarthouse_api.states.jobs.engine_files import PARTS, EngineFiles
from smarthouse_api.states.jobs.model import PREFIX
from smarthouse_api.states.query import Filters
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, agree_keys, payload, state, unzipped
from tests.lake.sail import SailServer
from tests.lake.test_engines import placed, row
from tests.servers import ACCESS_KEY, SECRET_KEY, MinioServer
from tests.states.test_jobs import file, work
from tests.waiting import soon

Make = Callable[..., House]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ME = "address/me"


@pytest.fixture
def environment(embedded_pair: dict[str, str]) -> dict[str, str]:
    return embedded_pair


@pytest.fixture(scope="module")
def sail(tmp_path_factory: pytest.TempPathFactory, minio_server: MinioServer) -> Iterator[SailServer]:
    options = {
        "AWS_ENDPOINT": f"http://{minio_server.endpoint}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    server = SailServer(tmp_path_factory.mktemp("sail"), **options)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The columns of the rows that an engine was asked to write, each time."""
    columns, writing = list[list[str]](), SparkEngine.writing

    def noted(self: SparkEngine, query: Any, sources: Any, uri: str, by: str, *kind: Any) -> Any:
        if by == SPAN:
            columns.append(query.named_selects)
        return writing(self, query, sources, uri, by, *kind)

    monkeypatch.setattr(SparkEngine, "writing", noted)
    return columns


NUMBERS = (
    *("0", "-0", "-0.0", "00.5", "+5", ".5", "5.", "1e5", "1E-7", "-1e300", "21", "210", "21.0", "21.50", "-7.000", "0.30"),
    *("0.0001", "0.00010", "0.000099", "0.000001", "0.0000", "-0.000012", "123456789.123456", "999999999", "1e16"),
    *("1234567890", "21.299999999999997", "0.1234567", "9007199254740993", "5.684341886080802e-14", "2.2250738585072014e-308"),
    "7." + "0" * 131_072,
)
"""Numbers as texts: some are written as they are, to some an engine adds or takes zeros, and some it must look up."""

THINGS: list[tuple[str, tuple[str, ...], str | None, str | None]] = [
    ("sensor.kitchen_temperature", ("21.5", "-0.25", "unknown", "21,5"), "°C", "temperature"),
    ("sensor.hall_temperature", NUMBERS, "°C", "temperature"),
    ("sensor.kitchen_position", ("59.3", "18.1"), "°", None),
    ("sensor.washer", ("running", "idle", "on", 'Anna\'s wash, "60"\n'), None, None),
    ("sensor.next_dawn_6f1b1a52_5a0e_4c0b_9b53_0c8f0f3d2a11", ("6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11",), None, None),
    ("binary_sensor.front_door", ("on", "off", "open"), None, "door"),
    ("person.anna", ("home", "not_home", "Work"), None, None),
    ("group.everybody", ("home", "not_home"), None, None),
    ("weather.balcony", ("sunny", "rainy", "nasty"), None, None),
    ("climate.hall", ("heat", "off", "Anna's"), None, None),
    ("light.hall", ("on", "off", ""), None, None),
    ("sun.sun", ("above_horizon",), None, None),
    ("select.mode", ("eco", "private", "12345678901234567890123456789012", "a\0b"), "\0m", None),
    ("counter.visits_1_2_3", ("1", "2"), None, None),
]
ATTRIBUTES = (
    "{}",
    '{"temperature":21.4,"wind_speed":3.6,"friendly_name":"Anna"}',
    '{"current_temperature":20.5,"hvac_action":"heating"}',
    '{"unit_of_measurement":"°C","device_class":"temperature","options":["on","Anna"]}',
)
UPLOADED = (
    None,
    '{"icon":"mdi:6f1b1a52-5a0e-4c0b-9b53-0c8f0f3d2a11"}',
    '{"friendly_name":"Anna\\u0000 \u2028 \\"A\\""}',
)
LONG = '{"note":"' + "n" * 131_072 + '"}'


def village(count: int = 1_500, seed: int = 7) -> list[dict[str, Any]]:
    """State changes of what rules of privacy tell apart: many of them twice, some without a time, some before 1970."""
    chance = random.Random(seed)
    homes = [f"{chance.getrandbits(32):08x}{'0' * 24}" for _ in range(6)]
    rows = list[dict[str, Any]]()
    for number in range(count):
        entity, words, unit, device_class = chance.choice(THINGS)
        day = chance.choice((0, 0, 0, 0, 1, 2, 3))  # the first is too large to be sorted at once, the others are one part
        at = NOON + timedelta(days=day, seconds=chance.randrange(400), microseconds=chance.choice((0, 250_001)))
        if number % 97 == 0:
            at = datetime(1969, 7, 20, 20, 17, 40, 500_000, tzinfo=UTC)
        word = chance.choice(words) if number % 500 != 2 else "x" * 131_073
        rows.append(
            row(
                home=chance.choice(homes),
                entity_id=entity,
                type=entity.partition(".")[0],
                state=word,
                value=read_numbers(pa.array([word]))[0].as_py(),
                unit=unit,
                device_class=device_class,
                last_changed=chance.choice((at, at, None)),
                last_updated=chance.choice((at, None)),
                received=NOON + timedelta(days=chance.randrange(4, 6), minutes=chance.randrange(3)),
                utc_offset=chance.choice((None, 60, 120)),
                attributes=chance.choice(ATTRIBUTES),
                attributes_uploaded=LONG if number % 500 == 1 else chance.choice(UPLOADED),
            )
        )
    return rows + [{**one, "received": one["received"] + timedelta(hours=1), "utc_offset": 60} for one in rows[::3]]


def fill(house: House, rows: list[dict[str, Any]]) -> None:
    house.installation.settle()
    snapshot = house.states.table.open_or_create()
    for start in range(0, len(rows), 1_000):
        house.states.table.append(snapshot, placed(rows[start : start + 1_000]), {"test": start + 1})
    agree_keys(house, (one["home"] for one in rows))


def ask(house: House, *formats: str, **filters: Any) -> str:
    request = house.states.jobs.request(Filters(**filters), formats or ("csv",))
    return house.states.jobs.ask(request, ME).id


def left(house: House) -> list[str]:
    """What jobs have in the object store, except checksums of files."""
    found = (*house.objects.list(PREFIX), *house.objects.list_table(PARTS))
    return [info.key for info in found if "/sums" not in info.key]


def file_of(house: House, id_: str) -> str:
    """The object that is the file of a job."""
    return house.states.jobs.files.usable(str(house.states.jobs.view(id_).version)).file


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"since": date(2026, 3, 2), "until": date(2026, 3, 3)},
    {"types": ("sensor", "weather"), "units": ("°C",)},
    {"time_field": "received", "since": date(2026, 3, 6)},
    {"time_field": "changed", "until": date(2026, 3, 2)},
    {"device_classes": ("temperature", "door")},
]


@pytest.mark.parametrize(
    ("privacy", "questions"), [("standard", QUESTIONS), ("strict", QUESTIONS[:2]), ("raw", QUESTIONS[::5]), ("rotating", [{}])]
)
def test_an_engine_writes_the_rows_that_a_download_has(
    make_house: Make,
    environment: dict[str, str],
    sail: SailServer,
    written: list[list[str]],
    privacy: str,
    questions: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 600)
    monkeypatch.setattr("smarthouse_api.states.export.asking.Asking.secret", lambda self: bytes(32))
    settings: dict[str, Any] = {"export_privacy": privacy} if privacy != "rotating" else {"export_pseudonyms": privacy}
    settings |= {"export_min_homes": 4, "enrolled_after_days": 1, "export_words": "eco,Work"}
    here, there = make_house(**settings), make_house(engine_url=sail.url, **settings)
    fill(here, village())
    for question in questions:
        written.clear()
        monkeypatch.setattr("smarthouse_api.states.jobs.engine_parts._MOST_SHARES", 99.0 if question else 2.0)
        formats = tuple(FORMATS) if not question else ("csv",)
        id_ = ask(there, *formats, **question)
        work(there)
        view = there.states.jobs.view(id_)
        assert view.state == "done", view.told
        export = here.states.exports.open(formats, Filters(**question), metadata=False)
        assert export is not None
        ours, theirs = unzipped(b"".join(export)), unzipped(file(there, id_))
        export.close()
        for name in ours:
            if name == "parquet":
                tables = [pq.read_table(io.BytesIO(members[name])) for members in (ours, theirs)]
                assert tables[0].equals(tables[1])
            else:
                assert ours[name] == theirs[name], (name, question)
        assert len(ours["csv"].splitlines()) > 10
        lines = {name for names in written for name in names if name.endswith("_line")}
        assert written, question
        assert lines == ({"csv_line"} if question else {"csv_line", "objects_line", "xml_line"})
        assert question == {} or "state" not in written[0], "no row is encoded here"
        if not question:
            assert len(written) > 1
            assert (b"Anna" in ours["csv"]) is (privacy == "raw")
            assert b",eco," in ours["csv"]
        assert all(key.endswith("/zip") for key in left(there))
    assert not list(Path(environment["SMARTHOUSE_DATA_DIR"]).glob("objects/tables/parts")), "no empty folder stays"


@pytest.mark.parametrize("pair", ["memory_pair", "production_pair"])
def test_an_engine_makes_jobs_on_other_stores_and_a_forget_leaves_none(
    request: pytest.FixtureRequest, sail: SailServer, written: list[list[str]], pair: str
) -> None:
    stores = request.getfixturevalue(pair)
    house = House(Settings.from_env({**stores, "SMARTHOUSE_ENGINE_URL": sail.url}))
    try:
        for home in (HOME, OTHER_HOME):
            receive(house, home, range(20))
        id_ = ask(house, "json")
        work(house)
        assert (house.states.jobs.view(id_).state, house.states.jobs.view(id_).rows, len(written)) == ("done", 40, 1)
        assert len(json.loads(unzipped(file(house, id_))["json"])) == 40
        assert left(house) == [f"{PREFIX}{house.states.jobs.view(id_).version}/zip"]
        house.forgetting.forget(OTHER_HOME)
        assert left(house) == []
    finally:
        house.close()


def test_names_and_what_is_new_are_asked_for_by_what_is_published(
    make_house: Make, sail: SailServer, written: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 600)
    here, there = make_house(), make_house(engine_url=sail.url)
    for home in (HOME, OTHER_HOME):
        receive(here, home, range(40))
    first = ask(there, "jsonl")
    work(there)
    names = [json.loads(line) for line in unzipped(file(there, first))["jsonl"].splitlines()]
    entities, homes = (tuple(sorted({one[name] for one in names}))[:2] for name in ("entity_id", "home"))
    receive(here, HOME, range(20, 60))
    version = there.states.jobs.view(first).version
    for question in ({"entities": entities, "homes": homes[:1]}, {"since": version}):
        written.clear()
        since = question.pop("since", None)
        request = there.states.jobs.request(Filters(**question), ("csv",), since=since)
        id_ = there.states.jobs.ask(request, ME).id
        work(there)
        export = here.states.exports.open(("csv",), request.filters, metadata=False)
        assert export is not None
        ours = unzipped(b"".join(export))["csv"]
        export.close()
        assert unzipped(file(there, id_))["csv"] == ours
        assert there.states.jobs.view(id_).rows == len(ours.splitlines()) - 1 > 0
        assert len(written) == 1
    assert there.states.jobs.view(id_).rows == 20


def receive(house: House, home: str, numbers: range) -> None:
    states = [
        state(f"sensor.kitchen_{number % 3}", str(number), (NOON - timedelta(minutes=number)).isoformat())
        | {"attributes": {"unit_of_measurement": "°C", "device_class": "temperature"}}
        for number in numbers
    ]
    house.states.uploads.receive(Upload(home, payload(*states)), NOON)
    house.states.chores.flush()


# What fails, and what stays


def test_what_an_engine_cannot_write_is_made_here(
    make_house: Make, sail: SailServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = make_house(engine_url=sail.url)
    receive(house, HOME, range(40))
    monkeypatch.setattr("smarthouse_api.states.jobs.engine_files.EngineFiles.uri", lambda self, path: f"nowhere://x/{path}")
    id_ = ask(house)
    with caplog.at_level(logging.WARNING):
        work(house)
    assert house.states.jobs.view(id_).rows == 40
    assert "the parts of export jobs are made here" in caplog.text
    assert left(house) == [f"{PREFIX}{house.states.jobs.view(id_).version}/zip"]


def with_several_values() -> list[dict[str, Any]]:
    """Make rows of one state with two values, which no engine writes as lines."""
    of_one = {"unit": "°C", "device_class": "temperature", "state": "1e1"}
    rows = [row(**of_one, value=value, last_changed=NOON + timedelta(hours=value)) for value in (10.0, 11.0)]
    return [{**one, "last_updated": one["last_changed"]} for one in rows]


def test_rows_that_are_not_in_their_order_are_not_taken(
    make_house: Make,
    sail: SailServer,
    written: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = make_house(engine_url=sail.url)
    fill(house, with_several_values())
    read = EngineFiles.read
    monkeypatch.setattr(EngineFiles, "read", lambda *given: (batch.slice(1) for batch in read(*given)))
    id_ = ask(house)
    with caplog.at_level(logging.WARNING):
        soon(lambda: work(house) or house.states.jobs.view(id_).state == "done")
    assert house.states.jobs.view(id_).rows == 2
    assert len(written) == 1
    assert "has not written the rows in their order" in caplog.text


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_a_text_that_lacks_a_line_is_not_taken(
    make_house: Make,
    sail: SailServer,
    written: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    format_: str,
) -> None:
    house, select = make_house(engine_url=sail.url), engine_texts.select_text
    receive(house, HOME, range(40))
    monkeypatch.setattr("smarthouse_api.states.jobs.engine_parts.select_text", lambda *given: select(*given).limit(38))
    id_ = ask(house, format_)
    with caplog.at_level(logging.WARNING):
        soon(lambda: work(house) or house.states.jobs.view(id_).state == "done")
    assert (house.states.jobs.view(id_).rows, len(written)) == (40, 1)
    assert "has not written all lines as a text" in caplog.text
    assert unzipped(file(house, id_))[format_].count(b"sensor.kitchen") == 40


def stored_without_nulls(query: exp.Select) -> exp.Select:
    """Have a column that no engine stores as one with nulls."""
    return query.select(
        *(exp.Literal.string("a").as_(one) if one == "home" else one for one in query.named_selects), append=False
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda query: query.limit(38), "has not written the rows in their order"),
        (lambda query: query.order_by("place DESC", append=False), "has not written the rows in their order"),
        (lambda query: query.where("place <> 7"), "has not written the rows in their order"),
        (stored_without_nulls, "has not written the rows as an export has them"),
    ],
    ids=["few", "turned", "without-one", "stored-without-nulls"],
)
def test_a_table_that_an_engine_wrote_wrongly_is_not_taken(
    make_house: Make,
    sail: SailServer,
    written: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: Callable[[exp.Select], exp.Select],
    told: str,
) -> None:
    house, select = make_house(engine_url=sail.url), engine_texts.select_table
    receive(house, HOME, range(40))
    monkeypatch.setattr("smarthouse_api.states.jobs.engine_parts.select_table", lambda: wrong(select()))
    id_ = ask(house, "parquet")
    with caplog.at_level(logging.WARNING):
        soon(lambda: work(house) or house.states.jobs.view(id_).state == "done")
    assert (house.states.jobs.view(id_).rows, len(written)) == (40, 1)
    assert told in caplog.text
    assert pq.read_table(io.BytesIO(unzipped(file(house, id_))["parquet"])).num_rows == 40


def test_a_state_with_several_values_is_encoded_here(make_house: Make, sail: SailServer, written: list[list[str]]) -> None:
    here, there = make_house(), make_house(engine_url=sail.url)
    fill(here, with_several_values())
    id_ = ask(there)
    work(there)
    assert [one["value"] for one in csv.DictReader(io.StringIO(unzipped(file(there, id_))["csv"].decode()))] == ["10.0", "11.0"]
    assert ["csv_line" in names for names in written] == [False]


def test_a_line_that_an_engine_has_not_written_is_missed(
    make_house: Make, sail: SailServer, written: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(engine_url=sail.url)
    receive(house, HOME, range(40))
    with monkeypatch.context() as wrong:
        null = exp.cast(exp.null(), "string")
        wrong.setattr("smarthouse_api.states.export.engine_lines.line", lambda *_: null.copy())
        id_ = ask(house)
        soon(lambda: work(house) or house.states.jobs.view(id_).state == "done")
    assert house.states.jobs.view(id_).rows == 40
    assert len(unzipped(file(house, id_))["csv"].splitlines()) == 41
    assert len(written) == 1


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, while an engine writes."""
    wait, is_done = SparkWriting.wait, list[bool]()

    def act_and_wait(self: SparkWriting, seconds: float) -> bool:
        if not is_done:
            is_done.append(True)
            act()
            return False
        return wait(self, seconds)

    monkeypatch.setattr(SparkWriting, "wait", act_and_wait)


def test_a_forget_while_an_engine_writes_leaves_nothing_of_the_home(
    make_house: Make, sail: SailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, forgetter = make_house(engine_url=sail.url), make_house(engine_url=sail.url, purge_wait_seconds=5)
    for home in (HOME, OTHER_HOME):
        receive(house, home, range(40))
    forgets = [threading.Thread(target=forgetter.forgetting.forget, args=(OTHER_HOME,))]

    def forget() -> None:
        forgets[0].start()
        soon(forgetter.states.homes.hidden)

    meanwhile(monkeypatch, forget)
    id_ = ask(house)
    soon(lambda: work(house) or house.states.jobs.view(id_).state == "done")
    forgets[0].join()
    assert house.states.jobs.view(id_).rows == 40
    assert left(house) == [file_of(house, id_)]
    assert not house.states.jobs.maker._shop.book.writings()


class Killed(BaseException):
    """Ends all that a process does, as kill -9 does."""


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_what_a_dead_process_had_an_engine_write_goes(
    make_house: Make, sail: SailServer, is_forgotten: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, other = make_house(engine_url=sail.url), make_house(engine_url=sail.url)
    for home in (HOME, OTHER_HOME):
        receive(house, home, range(40))
    id_ = ask(house)
    with monkeypatch.context() as dying:
        meanwhile(dying, kill)
        dying.setattr(SparkWriting, "stop", lambda self: False)
        with pytest.raises(Killed):
            work(house)
    assert any("things" in path for path in left(house))
    assert house.states.jobs.maker._shop.book.writings()
    if is_forgotten:
        other.forgetting.forget(OTHER_HOME)
        assert left(house) == []
        assert not other.states.jobs.maker._shop.book.writings()
    soon(lambda: work(other) or other.states.jobs.view(id_).state == "done")
    assert other.states.jobs.view(id_).rows == 40 if is_forgotten else 80
    assert left(house) == [file_of(other, id_)]
    assert not other.states.jobs.maker._shop.book.writings()


def test_an_engine_that_hangs_is_given_up_and_a_forget_waits_until_it_surely_writes_no_more(
    make_house: Make, own_sail: SailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(engine_url=own_sail.url, engine_answer_seconds=2, purge_wait_seconds=0.1)
    for home in (HOME, OTHER_HOME):
        receive(house, home, range(40))
    id_ = ask(house)
    with monkeypatch.context() as hanging:
        meanwhile(hanging, own_sail.pause)
        work(house)
        told = house.states.jobs.view(id_)
        assert (told.state, own_sail.endpoint in (told.told or "")) == ("running", True), told
        assert house.states.jobs.maker._shop.book.writings()
        with pytest.raises(Unavailable, match="may still write"):
            house.forgetting.forget(OTHER_HOME)
        own_sail.resume()
        house.forgetting.forget(OTHER_HOME)
    assert left(house) == []
    own_sail.kill()
    own_sail.start()
    soon(lambda: work(house) or house.states.jobs.view(id_).state == "done")
    assert house.states.jobs.view(id_).rows == 40


@pytest.mark.parametrize("has_rows", [False, True])
def test_an_engine_that_is_killed_makes_the_part_again(
    make_house: Make, own_sail: SailServer, written: list[list[str]], monkeypatch: pytest.MonkeyPatch, has_rows: bool
) -> None:
    house = make_house(engine_url=own_sail.url)
    receive(house, HOME, range(40))
    id_ = ask(house)
    with monkeypatch.context() as dying:
        if has_rows:  # and is to make a text of their lines
            select = engine_texts.select_text
            dying.setattr(
                "smarthouse_api.states.jobs.engine_parts.select_text", lambda *given: own_sail.kill() or select(*given)
            )
        else:
            meanwhile(dying, own_sail.kill)
        work(house)
    assert house.states.jobs.view(id_).state == "running"
    own_sail.start()
    soon(lambda: work(house) or house.states.jobs.view(id_).state == "done")
    assert (house.states.jobs.view(id_).rows, len(written)) == (40, 2)
    assert left(house) == [f"{PREFIX}{house.states.jobs.view(id_).version}/zip"]


def test_a_cancelled_job_stops_the_engine(make_house: Make, sail: SailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    house, client = make_house(engine_url=sail.url), make_house()
    receive(house, HOME, range(40))
    id_ = ask(house)
    meanwhile(monkeypatch, lambda: client.states.jobs.cancel(id_))
    work(house)
    assert house.states.jobs.view(id_).state == "cancelled"
    assert left(house) == []
    assert not house.states.jobs.maker._shop.book.writings()
    house.objects.put_table(f"{PARTS}/{'0' * 32}", "late/part.parquet", [b"written by an engine that did not hear"])
    house.states.jobs.tidy()
    assert left(house) == []


def test_a_new_engine_is_warmed(make_house: Make, sail: SailServer, caplog: pytest.LogCaptureFixture) -> None:
    house = make_house(engine_url=sail.url)
    receive(house, HOME, range(40))
    assert house.engine.is_cold()
    with caplog.at_level(logging.INFO):
        house.states.jobs.warm_engine()
        soon(lambda: not house.engine.is_cold())
    assert "is warm after" in caplog.text
