"""What is in the lake, told without a scan: each count is what an export holds, after every kind of change."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from smarthouse_api.errors import Invalid
from smarthouse_api.house import House
from smarthouse_api.states.contents.bundles import PREFIX
from smarthouse_api.states.contents.leaves import Leaf, LeafCounter, Place, Touched
from smarthouse_api.states.contents.service import Opened
from smarthouse_api.states.contents.summary import Selection
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.privacy import home_name
from smarthouse_api.states.uploads import Upload
from tests.conftest import Environment, agree, on_pairs, payload, rows, state
from tests.each import on_disk

environment = on_pairs("embedded_pair", "production_pair")

NOW = datetime(2026, 3, 20, 5, tzinfo=UTC)
UUIDS = [f"{number:08x}-1111-4222-8333-944455556666" for number in range(6)]
KINDS = (
    ("sensor.kitchen_temperature", {"unit_of_measurement": "°C", "device_class": "temperature"}),
    ("sensor.x_humidity", {"unit_of_measurement": "%", "device_class": "humidity"}),
    ("sensor.meter", {"unit_of_measurement": "kWh"}),
    ("sensor.of_their_own", {"unit_of_measurement": "bananas", "device_class": "mine"}),
    ("binary_sensor.door", {"device_class": "door"}),
    ("person.zoe", {}),
    ("sun.sun", {}),
    ("select.heating_mode", {}),
)
FILTERS = (
    Filters(),
    Filters(types=("sensor",)),
    Filters(units=("°C", "%")),
    Filters(device_classes=("humidity", "door")),
    Filters(since=date(2026, 3, 10), until=date(2026, 3, 19)),
    Filters(since=date(2026, 3, 19), time_field="received"),
    Filters(until=date(2026, 3, 18), types=("sensor", "person"), time_field="changed"),
)


def send(house: House, home: str, *states: Any, at: datetime = NOW) -> None:
    house.states.uploads.receive(Upload(home, payload(*states)), at)


def receive(house: House, home: str, *states: Any, at: datetime = NOW) -> None:
    send(house, home, *states, at=at)
    house.states.chores.flush()


def counted(house: House) -> None:
    house.states.contents.counting._rests_until = 0
    house.states.contents.count(lambda: False)


def drawn(chance: random.Random) -> Any:
    """A state of any kind: usual, late, much too late, of a time to come; without a time; and often the same again."""
    entity, attributes = chance.choice(KINDS)
    days = chance.choice((0, 0, 0, 1, 5, 17, 400, 20_000, -3))
    at = NOW - timedelta(days=days, minutes=chance.randrange(4))
    one = state(entity, chance.choice(("1", "2.5", "on", "home", "eco")), at.isoformat(), **attributes)
    if chance.random() < 0.3:
        one["last_changed"] = (at - timedelta(days=chance.choice((0, 1)))).isoformat()
    if chance.random() < 0.05:
        one["last_changed"] = one["last_updated"] = None
    return one


def exported(house: House, filters: Filters) -> list[dict[str, Any]]:
    export = house.states.exports.open(["json"], filters, metadata=False, fresh=False)
    if export is None:
        return []
    body = b"".join(export)
    export.close()
    return rows(body)


def day_of(row: dict[str, Any], time_field: str) -> str:
    at = {"updated": row["time"], "changed": row["last_changed"] or row["time"], "received": row["received"]}
    return str(at[time_field])[:10]


def is_as_exported(house: House, filters: Filters, others: Iterable[House] = ()) -> int:
    """Hold what is told against an export; returns the number of rows."""
    found = exported(house, filters)
    for one in (house, *others):
        is_told(one, filters, found)
    return len(found)


def is_told(house: House, filters: Filters, found: list[dict[str, Any]]) -> None:
    for told in (asked(house, filters), house.states.contents.answer(lambda opened: opened.select(filters))[0]):
        is_of(told, found, filters.time_field, house.states.contents.asking.secret())


def is_of(told: Selection, found: list[dict[str, Any]], time_field: str, secret: bytes) -> None:
    assert told.rows == len(found)
    assert told.homes == len({row["home"] for row in found})
    for name in ("type", "unit", "device_class"):
        counted = Counter(row[name] for row in found)
        assert {one.value: one.rows for one in told.facets(name)} == counted
        assert {one.value: one.homes for one in told.facets(name)} == {
            value: len({row["home"] for row in found if row[name] == value}) for value in counted
        }
    days = Counter(day_of(row, time_field) for row in found)
    assert {str(day): count for day, count in told.by_day().items()} == days
    columns = {day: column for column, day in enumerate(told.by_day())}
    of_columns, homes = told.rows_and_homes_by(lambda day: columns.get(day, -1), len(columns))
    assert dict(zip(map(str, columns), of_columns, strict=True)) == days
    of_days = {day: {row["home"] for row in found if day_of(row, time_field) == str(day)} for day in columns}
    assert homes == [len(some) for some in of_days.values()]
    by_home = defaultdict(Counter)
    for row in found:
        by_home[row["home"]][day_of(row, time_field)] += 1
    keys = told.home_keys()
    of_homes = told.of_homes(keys, lambda day: columns.get(day, -1), len(columns))
    assert {
        home_name(secret, key): Counter({str(day): count for day, count in zip(columns, of_home, strict=True) if count})
        for key, of_home in zip(keys, of_homes, strict=True)
    } == by_home
    has_its_ends(told, found)


def asked(house: House, filters: Filters) -> Selection:
    with house.states.contents.open() as opened:
        return opened.select(filters)


def has_its_ends(told: Selection, found: list[dict[str, Any]]) -> None:
    ends = defaultdict(list)
    for row in found:
        ends[row["type"], row["device_class"], row["unit"]].append(row["value"])
    measured = {(one.type, one.device_class, one.unit): one for one in told.measured(with_values=True)}
    assert {name: one.rows for name, one in measured.items()} == {name: len(values) for name, values in ends.items()}
    for name, values in ends.items():
        numbers = [value for value in values if value is not None]
        told_of_it = measured[name].least, measured[name].greatest
        assert told_of_it == ((min(numbers), max(numbers)) if numbers else (None, None))


def test_each_count_is_an_exports_after_every_kind_of_change(
    make_house: Callable[..., House], environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.days_over._ROWS", 8)
    chance, house = random.Random(len(environment)), make_house(export_words="eco")
    homes = UUIDS[:3]
    sent = [[drawn(chance) for _ in range(20)] for _ in homes]
    for turn in range(3):
        for home, states in zip(homes, sent, strict=True):
            again = chance.sample(states, 10) if turn else states
            send(house, home, *again, drawn(chance), at=NOW + timedelta(days=turn * chance.choice((0, 1, 9))))
            if turn == 0:
                house.states.chores.flush()
        house.states.chores.flush()
        is_as_exported(house, chance.choice(FILTERS))
        if turn == 0:
            counted(house)
        if turn == 1:
            with house.states.table.writing(5) as lease:
                house.states.table.compact(lease, 2, lambda: False)
            is_as_exported(house, chance.choice(FILTERS))
        if turn == 1:
            house.forgetting.forget(UUIDS[0])
    counted(house)
    other = make_house(export_words="eco")  # it reads what is kept
    on_disk = "SMARTHOUSE_DATA_DIR" in environment
    assert all(is_as_exported(house, filters, [other]) for filters in FILTERS[:: 1 if on_disk else 3])


def test_a_process_that_starts_reads_what_was_counted(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house()
    for days in (0, 40):
        receive(house, UUIDS[0], state(at=(NOW - timedelta(days=days)).isoformat()))
    counted(house)

    def fail(*_: Any) -> None:
        raise AssertionError("it counts anew")

    monkeypatch.setattr("smarthouse_api.states.contents.leaves.LeafCounter.counts", fail)
    monkeypatch.setattr("smarthouse_api.states.contents.leaves.LeafCounter.overlaps", fail)
    other = make_house()
    with other.states.contents.open() as opened:
        assert opened.select(Filters()).rows == 2


def test_damaged_counts_are_made_again(make_house: Callable[..., House]) -> None:
    house = make_house()
    receive(house, UUIDS[0], state(at=NOW.isoformat()))
    counted(house)
    (kept,) = (info.key for info in house.objects.list(PREFIX))
    stored = house.objects.get(kept)
    for damaged in (b"", b"rubbish", stored[:-9] + bytes([stored[-9] ^ 1]) + stored[-8:]):
        house.objects.put(kept, [damaged])
        assert is_as_exported(make_house(), Filters()) == 1


def test_no_count_of_a_forgotten_home_is_left(house: House) -> None:
    for home in UUIDS[:2]:
        send(house, home, *(state(at=(NOW - timedelta(days=days)).isoformat()) for days in (0, 40, 20_000)))
    house.states.chores.flush()
    counted(house)
    key = house.states.homes.find(UUIDS[0]).key
    kept = [info.key for info in house.objects.list(PREFIX)]
    assert len(kept) == 3
    house.forgetting.forget(UUIDS[0])
    for is_counted in (False, True):
        if is_counted:
            counted(house)
        for info in house.objects.list(PREFIX):
            bundle = house.states.contents.counting.bundles.load(info.key.removeprefix(PREFIX))
            assert bundle.leaves
            assert all(key not in some["home"].to_pylist() for digest in bundle.leaves for some in bundle.counts(digest))
    assert is_as_exported(house, Filters()) == 3


@on_disk
def test_what_is_counted_of_others_outlives_a_forget(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    days = (0, 1, 40, 20_000)
    for home in UUIDS[:3]:
        send(house, home, *(state(at=(NOW - timedelta(days=day)).isoformat()) for day in days))
    house.states.chores.flush()
    receive(house, UUIDS[1], *(state(at=(NOW - timedelta(days=day)).isoformat()) for day in (0, 3)), at=NOW + timedelta(days=9))
    with house.states.table.writing(5) as lease:
        house.states.table.compact(lease, 2, lambda: False)
    counted(house)

    def fail(*_: Any) -> None:
        raise AssertionError("it counts anew")

    with monkeypatch.context() as patched:
        patched.setattr("smarthouse_api.states.contents.leaves.LeafCounter.counts", fail)
        house.forgetting.forget(UUIDS[0])
        assert is_as_exported(house, Filters()) == 9
    receive(house, UUIDS[2], state(at=NOW.isoformat(), value="other"))
    house.forgetting.forget(UUIDS[1])
    assert is_as_exported(house, Filters()) == 5


@on_disk
def test_of_late_rows_only_homes_and_days_to_which_rows_came_are_counted_again(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, house, other = random.Random(5), make_house(), make_house()
    old = [NOW - timedelta(days=days, minutes=minute) for days in (0, 1, 5, 40, 41, 45, 20_000) for minute in (0, 1)]
    for home in UUIDS[:4]:
        send(house, home, *(state(chance.choice(KINDS)[0], "1", at.isoformat()) for at in old))
    house.states.chores.flush()
    counted(house)
    assert is_as_exported(house, Filters(), [other]) > 20
    count, touched_homes = LeafCounter.counts, list[int]()

    def noted(self: LeafCounter, leaf: Leaf, leaves: Mapping[Place, Leaf], touched: Touched | None = None) -> pa.Table:
        touched_homes.append(0 if touched is None else len(touched.homes))
        return count(self, leaf, leaves, touched)

    monkeypatch.setattr(LeafCounter, "counts", noted)
    for turn, (home, days) in enumerate(
        ((0, (40, 41)), (1, (45,)), (4, (40, 45)), (2, (0, 1, 5)), (3, (20_000, 0)), (0, (45,)))
    ):
        touched_homes.clear()
        again = (
            state(chance.choice(KINDS)[0], "1", (NOW - timedelta(days=day)).isoformat()) for day in days
        )  # may repeat others
        receive(
            house, UUIDS[home], *again, state(at=(NOW - timedelta(days=days[0], minutes=7)).isoformat()), at=NOW + timedelta(9)
        )
        is_as_exported(house, FILTERS[turn], [other])
        is_as_exported(house, Filters(), [other])
        assert set(touched_homes) == {1}
        if turn % 2:
            counted(house)  # the other one goes on from what is kept
    with house.states.table.writing(5) as lease:
        house.states.table.compact(lease, 2, lambda: False)
    house.forgetting.forget(UUIDS[1])
    receive(house, UUIDS[2], state(at=(NOW - timedelta(days=41)).isoformat()), at=NOW + timedelta(9))
    assert is_as_exported(house, Filters(), [other, make_house()]) > 20


@on_disk
def test_an_answer_is_made_again_if_a_home_is_forgotten_meanwhile(house: House) -> None:
    for home in UUIDS[:2]:
        send(house, home, state(at=NOW.isoformat()))
    house.states.chores.flush()
    counted(house)
    found = []

    def tell(opened: Opened) -> int:
        found.append(opened.select(Filters()).rows)
        if len(found) == 1:
            house.forgetting.forget(UUIDS[0])
        return found[-1]

    assert house.states.contents.answer(tell)[0] == 1
    assert found == [2, 1]


@on_disk
def test_a_question_needs_no_lease_once_all_is_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, UUIDS[0], state(at=NOW.isoformat()))
    assert is_as_exported(house, Filters()) == 1

    def fail(*_: Any) -> None:
        raise AssertionError("it takes a lease")

    monkeypatch.setattr(house.states.table, "reading", fail)
    assert house.states.contents.answer(lambda opened: opened.select(Filters()).rows)[0] == 1


def test_counts_that_are_lost_while_they_are_not_held_are_made_again(make_house: Callable[..., House]) -> None:
    house = make_house()
    receive(house, UUIDS[0], state(at=NOW.isoformat()))
    counted(house)
    assert is_as_exported(house, Filters()) == 1
    house.objects.delete([info.key for info in house.objects.list(PREFIX)])
    house.states.contents._shelf.keep(())
    house.states.contents._newest = None
    assert is_as_exported(house, Filters()) == 1


@on_disk
def test_too_many_rows_of_entities_are_refused_with_what_to_ask_instead(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, UUIDS[0], *(state(at=(NOW - timedelta(days=day)).isoformat()) for day in (0, 1)))
    filters = Filters(entities=("sensor.kitchen",))
    assert house.states.contents.answer(lambda opened: opened.select(filters).rows)[0] == len(exported(house, filters))
    monkeypatch.setattr("smarthouse_api.states.contents.service._MOST_OF_ENTITIES", 0)
    with pytest.raises(Invalid, match="ask for fewer entities, homes or days"):
        house.states.contents.answer(lambda opened: opened.select(filters).rows)


@on_disk
def test_rows_of_days_that_are_not_kept_are_not_counted(make_house: Callable[..., House]) -> None:
    house, now = make_house(lake_days=30), datetime.now(UTC)
    receive(house, UUIDS[0], state(at=now.isoformat()), at=now)
    receive(make_house(), UUIDS[0], state(at=(now - timedelta(days=35)).isoformat()), at=now)
    for time_field in ("updated", "changed", "received"):
        assert is_as_exported(house, Filters(time_field=time_field)) == 1


@on_disk
def test_nothing_is_counted_of_an_empty_lake(house: House) -> None:
    with house.states.contents.open() as opened:
        told = opened.select(Filters())
        assert (opened.version, told.rows, told.homes, told.facets("type"), told.by_day()) == (-1, 0, 0, [], {})
        assert told.span() is None


@on_disk
def test_under_strict_only_groups_of_enough_homes_are_counted(make_house: Callable[..., House]) -> None:
    house = make_house(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    agree(house, *UUIDS)
    for number, home in enumerate(UUIDS[:3]):
        send(
            house,
            home,
            state("sensor.kitchen", "1", NOW.isoformat(), unit_of_measurement="K"),
            state("sensor.power", "1", NOW.isoformat(), unit_of_measurement="W" if number else "kW"),
            state("sensor.alone", "1", (NOW - timedelta(days=number)).isoformat(), unit_of_measurement="V"),
        )
    house.states.chores.flush()
    assert is_as_exported(house, Filters()) == 5
    house.forgetting.forget(UUIDS[2])
    assert is_as_exported(house, Filters()) == 2
