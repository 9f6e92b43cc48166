"""What is in the lake, told without a scan: each count is what an export holds, after every kind of change."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from smarthouse_api.house import House
from smarthouse_api.states.contents.bundles import PREFIX
from smarthouse_api.states.contents.summary import Selection
from smarthouse_api.states.query import Filters
from smarthouse_api.states.records.privacy import home_name
from smarthouse_api.states.uploads import Upload
from tests.conftest import Environment, on_pairs, payload, rows, state

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


def receive(house: House, home: str, *states: Any, at: datetime = NOW) -> None:
    house.states.uploads.receive(Upload(home, payload(*states)), at)
    house.states.chores.flush()


def counted(house: House) -> None:
    house.states.contents._rests_until = 0
    house.states.contents.count(lambda: False)


def drawn(chance: random.Random) -> Any:
    """A state of any kind: usual, late, much too late, of a time to come; without a time; and often the same again."""
    entity, attributes = chance.choice(KINDS)
    days = chance.choice((0, 0, 0, 1, 2, 5, 17, 40, 400, 20_000, -3))
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
    secret = house.states.contents.asking.secret()
    with house.states.contents.open() as opened:
        told = opened.select(filters)
        assert told.rows == len(found)
        assert told.homes == len({row["home"] for row in found})
        for name in ("type", "unit", "device_class"):
            counted = Counter(row[name] for row in found)
            assert {one.value: one.rows for one in told.facets(name)} == counted
            assert {one.value: one.homes for one in told.facets(name)} == {
                value: len({row["home"] for row in found if row[name] == value}) for value in counted
            }
        days = Counter(day_of(row, filters.time_field) for row in found)
        assert {str(day): count for day, (count, _) in told.by_day().items()} == days
        by_home = defaultdict(Counter)
        for row in found:
            by_home[row["home"]][day_of(row, filters.time_field)] += 1
        assert {
            home_name(secret, home): Counter({str(day): count for day, count in of_home.items()})
            for home, of_home in told.by_home().items()
        } == by_home
        has_its_ends(told, found)


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
    homes = UUIDS[:4]
    sent = [[drawn(chance) for _ in range(30)] for _ in homes]
    for turn in range(3):
        for home, states in zip(homes, sent, strict=True):
            again = chance.sample(states, 10) if turn else states
            receive(house, home, *again, drawn(chance), at=NOW + timedelta(days=turn * chance.choice((0, 1, 9))))
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
    assert all(is_as_exported(house, filters, [other]) for filters in FILTERS)


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


@pytest.mark.parametrize("damage", [b"", b"rubbish", None], ids=["emptied", "rubbish", "flipped"])
def test_damaged_counts_are_made_again(make_house: Callable[..., House], damage: bytes | None) -> None:
    house = make_house()
    receive(house, UUIDS[0], state(at=NOW.isoformat()))
    counted(house)
    (kept,) = (info.key for info in house.objects.list(PREFIX))
    stored = house.objects.get(kept)
    house.objects.put(kept, [stored[:-9] + bytes([stored[-9] ^ 1]) + stored[-8:] if damage is None else damage])
    assert is_as_exported(make_house(), Filters()) == 1


def test_no_count_of_a_forgotten_home_is_left(house: House) -> None:
    for home in UUIDS[:2]:
        receive(house, home, *(state(at=(NOW - timedelta(days=days)).isoformat()) for days in (0, 40, 20_000)))
    counted(house)
    key = house.states.homes.find(UUIDS[0]).key
    kept = [info.key for info in house.objects.list(PREFIX)]
    assert len(kept) == 3
    house.forgetting.forget(UUIDS[0])
    for is_counted in (False, True):
        if is_counted:
            counted(house)
        for info in house.objects.list(PREFIX):
            counts = house.states.contents._bundles.load(info.key.removeprefix(PREFIX)).values()
            assert all(key not in table["home"].to_pylist() for _, table in counts)
    assert is_as_exported(house, Filters()) == 3


def test_rows_of_days_that_are_not_kept_are_not_counted(make_house: Callable[..., House]) -> None:
    house, now = make_house(lake_days=30), datetime.now(UTC)
    receive(house, UUIDS[0], state(at=now.isoformat()), at=now)
    receive(make_house(), UUIDS[0], state(at=(now - timedelta(days=35)).isoformat()), at=now)
    for time_field in ("updated", "changed", "received"):
        assert is_as_exported(house, Filters(time_field=time_field)) == 1


def test_nothing_is_counted_of_an_empty_lake(house: House) -> None:
    with house.states.contents.open() as opened:
        told = opened.select(Filters())
        assert (opened.version, told.rows, told.homes, told.facets("type"), told.by_day()) == (-1, 0, 0, [], {})
        assert told.span() is None


def test_under_strict_only_groups_of_enough_homes_are_counted(make_house: Callable[..., House]) -> None:
    house = make_house(export_privacy="strict", export_min_homes=2, enrolled_after_days=1)
    for number, home in enumerate(UUIDS[:3]):
        receive(
            house,
            home,
            state("sensor.kitchen", "1", NOW.isoformat(), unit_of_measurement="K"),
            state("sensor.power", "1", NOW.isoformat(), unit_of_measurement="W" if number else "kW"),
            state("sensor.alone", "1", (NOW - timedelta(days=number)).isoformat(), unit_of_measurement="V"),
        )
    assert is_as_exported(house, Filters()) == 5
    house.forgetting.forget(UUIDS[2])
    assert is_as_exported(house, Filters()) == 2
