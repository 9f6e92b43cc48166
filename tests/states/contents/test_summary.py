"""The summary against a count by hand, over random counts in several chunks, few of them held at once."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from smarthouse_api.states.contents import summary
from smarthouse_api.states.contents.chunks import chunk_of
from smarthouse_api.states.contents.counts import COUNTS, compact
from smarthouse_api.states.contents.shelf import HeldChunk, Shelf
from smarthouse_api.states.contents.summary import Publishing, Selection, Summary
from smarthouse_api.states.query import Filters

EPOCH = date(1970, 1, 1)
HOMES = [f"{number:08x}" for number in range(9)]
KINDS = (
    ("sensor", "sensor", "°C", "temperature"),
    ("sensor", "sensor", "K", "temperature"),
    ("sensor", "sensor", None, None),
    ("light", "light", None, None),
    ("binary_sensor", "binary_sensor", None, "door"),
)
MONTHS = (18_000, 18_031, 20_000)


class Count(NamedTuple):
    home: str
    type: str
    kind: str
    unit: str | None
    device_class: str | None
    day: int
    changed: int
    received: int
    rows: int
    least: float | None
    greatest: float | None


def drawn(chance: random.Random, month: int) -> list[Count]:
    """Counts of a month, and what some rows of others add to them: as many less as more, where they arrived earlier."""
    found = []
    for _ in range(60):
        day = month + chance.randrange(30)
        value = chance.choice((None, chance.randrange(-9, 99)))
        days = day, day - chance.choice((0, 0, 0, 1, 400)), day + chance.choice((0, 1, 1, 2))
        ends = (None, None) if value is None else (float(value), value + chance.choice((0.0, 1.5)))
        found.append(Count(chance.choice(HOMES), *chance.choice(KINDS), *days, chance.choice((1, 2, 300, 70_000)), *ends))
    return found


def corrections(chance: random.Random, counts: Iterable[Count]) -> list[Count]:
    of_some = chance.sample(list(counts), 30)
    return [one._replace(rows=-chance.randrange(1, one.rows + 1)) for one in of_some]


def table(counts: Iterable[Count]) -> pa.Table:
    return compact(pa.Table.from_pylist([one._asdict() for one in counts], COUNTS))


def filters(chance: random.Random) -> Filters:
    first = EPOCH + timedelta(days=chance.choice(MONTHS) + chance.randrange(-5, 32))
    return Filters(
        since=chance.choice((None, first)),
        until=chance.choice((None, first + timedelta(days=chance.choice((0, 6, 40, 3000))))),
        types=chance.choice(((), ("sensor",), ("sensor", "light"), ("lock",))),
        units=chance.choice(((), ("℃",), ("K", "°C"))),
        device_classes=chance.choice(((), ("temperature",), ("door", "temperature"))),
        keys=chance.choice(((), tuple(HOMES[:3]), (HOMES[4], "gone"))),
        time_field=chance.choice(("updated", "changed", "received")),
        kept_since=chance.choice((None, EPOCH + timedelta(days=MONTHS[1] + 7))),
    )


def passes(one: Count, asked: Filters, hidden: Iterable[str]) -> bool:
    day = day_of(one, asked)
    return (
        one.home not in hidden
        and (not asked.keys or one.home in asked.keys)
        and (not asked.types or one.type in asked.types)
        and (not asked.units or one.unit in {"°C" if unit == "℃" else unit for unit in asked.units})
        and (not asked.device_classes or one.device_class in asked.device_classes)
        and (asked.since is None or day >= asked.since)
        and (asked.until is None or day <= asked.until)
        and (asked.kept_since is None or EPOCH + timedelta(days=one.day) >= asked.kept_since)
    )


def day_of(one: Count, asked: Filters) -> date:
    days = {"updated": one.day, "changed": one.changed, "received": one.received}
    return EPOCH + timedelta(days=days[asked.time_field])


def sums(counts: Iterable[Count], name: Any) -> Counter[Any]:
    found = Counter[Any]()
    for one in counts:
        found[name(one)] += one.rows
    return +found


def is_told(told: Selection, left: list[Count], asked: Filters) -> None:
    assert told.rows == sum(one.rows for one in left)
    by_home = sums(left, lambda one: one.home)
    assert (told.homes, sorted(told.home_keys())) == (len(by_home), sorted(by_home))
    for name in ("type", "unit", "device_class"):
        of_name = {one.value: (one.rows, one.homes) for one in told.facets(name)}
        homes = Counter(value for value, _ in sums(left, attrgetter(name, "home")))
        rows = sums(left, attrgetter(name))
        assert of_name == {value: (count, homes[value]) for value, count in rows.items()}
    by_day = sums(left, lambda one: day_of(one, asked))
    assert told.by_day() == dict(sorted(by_day.items()))
    assert told.span() == ((min(by_day), max(by_day)) if by_day else None)
    columns = {day: column for column, day in enumerate(sorted(by_day))}
    cells = sums(left, lambda one: (one.home, day_of(one, asked)))
    rows, homes = told.rows_and_homes_by(lambda day: columns.get(day, -1), len(columns))
    assert rows == [by_day[day] for day in columns]
    assert homes == [sum(day == at for _, at in cells) for day in columns]
    keys = sorted(by_home)[:4]
    of_homes = told.of_homes(keys, lambda day: columns.get(day, -1), len(columns))
    assert of_homes == [[cells[key, day] for day in columns] for key in keys]
    ends = defaultdict[Any, list[float]](list)
    for one in left:
        if one.least is not None and one.greatest is not None:
            ends[one.type, one.device_class, one.unit] += [one.least, one.greatest]
    for measured in told.measured(with_values=True):
        values = ends[measured.type, measured.device_class, measured.unit]
        assert (measured.least, measured.greatest) == ((min(values), max(values)) if values else (None, None))
    assert all(one.least is None for one in told.measured(with_values=False))


@pytest.mark.parametrize("seed", range(4))
def test_each_answer_is_a_count_by_hand_whatever_is_held(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "_MOST_CELLS", 20)
    chance = random.Random(seed)
    months = [drawn(chance, month) for month in MONTHS]
    every = [one for month in months for one in month]
    wrong = corrections(chance, every)
    some = [*months, wrong[:15], wrong[15:]]
    shelf, made = Shelf(9_000), Counter[int]()

    def make(number: int) -> Any:
        made[number] += 1
        return chunk_of(map(table, (some[number][:20], some[number][20:])), shelf.names)

    chunks = [HeldChunk(shelf, str(number), partial(make, number)) for number in range(len(some))]
    told_days = [month + day for month in MONTHS for day in range(0, 30, 2)]
    groups = frozenset((day, kind[0], kind[2]) for day in told_days for kind in KINDS[:3])
    for publishing in (Publishing(raw=True), Publishing(raw=True, groups=groups)):
        all_of = Summary(shelf.names, chunks, publishing)
        for _ in range(12):
            asked, hidden = filters(chance), chance.choice(([], HOMES[2:5], ["never seen"]))
            left = [
                one
                for one in (*every, *wrong)
                if passes(one, asked, hidden)
                and (publishing.groups is None or (one.day, one.type, one.unit) in publishing.groups)
            ]
            is_told(all_of.select(asked, hidden), left, asked)
            assert shelf.nbytes <= 9_000
    assert min(made.values()) > 1  # some were made again
    assert all_of.none().rows == 0


def test_what_is_published_of_a_kind_is_told_and_not_what_is_stored() -> None:
    day = MONTHS[0]
    counts = [
        Count("00000001", "sensor", "sensor", "°C", "temperature", day, day, day, 3, 1.0, 2.0),
        Count("00000001", "sensor", "sensor", "bananas", "mine", day, day, day, 2, 7.0, 8.0),
    ]
    shelf = Shelf()
    told = Summary(shelf.names, [HeldChunk(shelf, "one", lambda: chunk_of([table(counts)], shelf.names))], Publishing()).select(
        Filters()
    )
    assert {(one.value, one.rows) for one in told.facets("unit")} == {("°C", 3), (None, 2)}
    assert {(one.unit, one.least, one.greatest) for one in told.measured(with_values=True)} == {
        ("°C", 1.0, 2.0),
        (None, None, None),
    }


def test_names_that_are_of_no_use_do_not_pile_up() -> None:
    shelf = Shelf()
    shelf.names.number_homes(HOMES)
    assert not shelf.is_crowded()
    shelf.names.number_homes(f"{number:08x}" for number in range(1000, 11_100))
    assert shelf.is_crowded()


def test_a_chunk_takes_few_bytes_for_each_count() -> None:
    chance = random.Random(7)
    days = range(MONTHS[0], MONTHS[0] + 30)
    counts = [
        Count(home, *kind, day, day, day + chance.randrange(2), chance.randrange(1, 1500), 1.0, 2.0)
        for day in days
        for home in HOMES
        for kind in KINDS
    ]
    chunk = chunk_of([table(counts)], Shelf().names)
    assert chunk.detail.nbytes < 6 * len(counts)
    assert chunk.outline.nbytes < 60 * len(HOMES) * len(KINDS) + 2000
