"""Aggregates of states, against an implementation that goes through time second by second of each change, one by one."""

from __future__ import annotations

import json
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest

from smarthouse_api.arrow.times import microseconds, time_of
from smarthouse_api.errors import Invalid
from smarthouse_api.states.aggregates.asked import FIGURES
from smarthouse_api.states.aggregates.clocks import DAY_US, HOUR_US, MINUTE_US, Clock, Timeline, timelines_of
from smarthouse_api.states.aggregates.rows import AggregatedRows
from smarthouse_api.states.aggregates.wide_columns import WideColumn, columns_of_states, wide_columns
from smarthouse_api.states.aggregates.wide_rows import WideRows
from smarthouse_api.states.records.rows import folded_unit
from smarthouse_api.states.records.rules import published_words
from smarthouse_api.states.vocabulary import facts

FIRST = datetime(2026, 3, 27, tzinfo=UTC)
NOW = microseconds(datetime(2026, 12, 1, tzinfo=UTC))
HOLD = DAY_US
LENGTHS = {"15m": 15 * MINUTE_US, "1h": HOUR_US, "1d": DAY_US}

State = tuple[str, str, str | None, datetime, str]
"""Home, entity, unit, time, state."""


def batches(states: list[State], size: int) -> Iterator[pa.RecordBatch]:
    """Rows as an export yields them: by day, home, entity and time, in batches that may end anywhere."""
    rows = sorted(states, key=lambda one: (one[3].date(), one[0], one[1], one[3]))
    for begin in range(0, len(rows), size):
        home, entity, unit, time, state = zip(*rows[begin : begin + size], strict=True)
        columns = {
            "home": pa.array(home).dictionary_encode(),
            "entity_id": pa.array(entity).dictionary_encode(),
            "type": pa.array([one.partition(".")[0] for one in entity]).dictionary_encode(),
            "unit": pa.array(unit, pa.string()).dictionary_encode(),
            "device_class": pa.nulls(len(home), pa.string()).dictionary_encode(),
            "time": pa.array(time, pa.timestamp("us", "UTC")),
            "state": pa.array(state).dictionary_encode(),
            "value": pa.array([float(one) if one.replace(".", "").isdigit() else None for one in state], pa.float64()),
        }
        yield pa.RecordBatch.from_pydict(columns)


def drawn(chance: random.Random, days: int) -> list[State]:
    states = list[State]()
    for home in ("home_a", "home_b", "home_c"):
        for entity in ("sensor.power", "sensor.rare", "binary_sensor.door", "climate.hall"):
            at = FIRST + timedelta(seconds=chance.randrange(3600))
            while at < FIRST + timedelta(days=days):
                if entity in ("binary_sensor.door", "climate.hall"):
                    unit, state = None, chance.choice(("on", "off", "unavailable"))
                else:
                    unit = chance.choice(("W", "W", "W", "kW"))
                    state = chance.choice((str(chance.randrange(50) / 4), "unknown"))
                states.append((home, entity, unit, at, state))
                longest = 200_000 if entity == "sensor.rare" else 20_000
                at += timedelta(seconds=chance.choice((1, 60, 900, chance.randrange(1, longest))))
    return states


def expected(states: list[State], begin_of, end_of) -> dict[tuple[str, str, str | None, int], dict[str, object]]:  # type: ignore[no-untyped-def]
    """What each interval must tell. begin_of: of a home and a time, when its interval begins; end_of: of that, when it ends."""
    by_entity = defaultdict(list)
    for state in sorted(states, key=lambda one: one[3]):
        by_entity[state[0], state[1]].append(state)
    told: dict[tuple[str, str, str | None, int], dict[str, object]] = {}

    def of(home: str, entity: str, unit: str | None, begin: int) -> dict[str, object]:
        fresh = {"pieces": [], "words": defaultdict(int), "changes": 0, "end": end_of(home, begin)}
        return told.setdefault((home, entity, unit, begin), fresh)

    for (home, entity), some in by_entity.items():
        for place, (_, _, unit, time, state) in enumerate(some):
            at = microseconds(time)
            of(home, entity, unit, begin_of(home, at))["changes"] += 1  # type: ignore[operator]
            until = min(at + HOLD, microseconds(some[place + 1][3]) if place + 1 < len(some) else at + HOLD, NOW)
            while at < until and state not in ("unknown", "unavailable"):
                begin = begin_of(home, at)
                upto = min(until, end_of(home, begin))
                one = of(home, entity, unit, begin)
                if unit is None:
                    one["words"][state] += upto - at  # type: ignore[index]
                else:
                    one["pieces"].append((upto - at, float(state)))  # type: ignore[attr-defined]
                at = upto
    return told


def compare(rows: AggregatedRows, wanted: dict[tuple[str, str, str | None, int], dict[str, object]]) -> None:
    found = [row for batch in rows for row in batch.to_pylist()]
    names = [(row["home"], row["entity_id"], row["unit"], microseconds(row["start"])) for row in found]
    assert len(set(names)) == len(names)
    assert set(names) == set(wanted)
    for name, row in zip(names, found, strict=True):
        one = wanted[name]
        length = one["end"] - name[3]
        weights = [weight for weight, _ in one["pieces"]]
        values = [value for _, value in one["pieces"]]
        assert microseconds(row["end"]) == one["end"]
        assert row["changes"] == one["changes"]
        if values:
            assert math.isclose(row["mean"], sum(w * v for w, v in one["pieces"]) / sum(weights), rel_tol=1e-9)
            assert (row["min"], row["max"], row["last"]) == (min(values), max(values), values[-1])
        else:
            assert (row["mean"], row["min"], row["max"], row["last"]) == (None, None, None, None)
        known = sum(weights) + sum(one["words"].values())
        assert math.isclose(row["known"], known / length, abs_tol=1e-8)
        shares = {word: weight / length for word, weight in one["words"].items()}
        assert json.loads(row["shares"] or "{}") == pytest.approx(shares, abs=1e-8)
    days = [((row["end"] - timedelta(microseconds=1)).date(), row["home"], row["entity_id"]) for row in found]
    assert days == sorted(days)


@pytest.fixture(params=["whole", "in pieces"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows of a batch. In pieces, an entity's rows and the pieces of its states are too many to be put together at once."""
    if request.param == "whole":
        return 100_000
    monkeypatch.setattr("smarthouse_api.states.aggregates.sweep.MOST_BEHIND", 2)
    monkeypatch.setattr("smarthouse_api.states.aggregates.holding._MOST_PIECES", 100)
    return 29


@pytest.mark.parametrize("every", LENGTHS)
@pytest.mark.parametrize("seed", range(2))
def test_means_are_weighted_by_the_time_for_which_a_state_was_held(every: str, seed: int, size: int) -> None:
    chance, length = random.Random(seed), LENGTHS[every]
    states = drawn(chance, 2)
    clock = Clock(length)
    first = microseconds(FIRST) // DAY_US
    rows = AggregatedRows(list(batches(states, size)), clock, HOLD, NOW, first - 1, first + 9)
    compare(rows, expected(states, lambda _, at: at - at % length, lambda _, begin: begin + length))


ZONES = {"home_a": "Europe/Lisbon", "home_b": "America/New_York", "home_c": "Asia/Kolkata"}


QUARTER_US = 15 * MINUTE_US


@cache
def index_in(home: str, at: int, length: int) -> int:
    """Which interval of a home's own clock holds a time."""
    offset = time_of(at).astimezone(ZoneInfo(ZONES[home])).utcoffset()
    assert offset is not None
    ahead = offset // timedelta(microseconds=1)
    return (at + (ahead if length == DAY_US else ahead % length)) // length


@cache
def begin_in(home: str, quarter: int, length: int) -> int:
    """When the interval of a home's own clock begins that holds a quarter of an hour: found by going back, one by one."""
    begin = quarter
    while index_in(home, begin - QUARTER_US, length) == index_in(home, quarter, length):
        begin -= QUARTER_US
    return begin


@pytest.mark.parametrize("month", [3, 10])
@pytest.mark.parametrize("every", ["1h", "1d"])
def test_a_homes_own_days_are_as_long_as_its_clock_says(every: str, month: int, size: int) -> None:
    length, chance = LENGTHS[every], random.Random(month)
    begin = datetime(2026, month, 28 if month == 3 else 24, tzinfo=UTC)  # the day before a clock is changed
    shift = begin - FIRST
    states = [(home, entity, unit, at + shift, state) for home, entity, unit, at, state in drawn(chance, 2)]
    # Something is told every hour, so that it is known when a clock is changed.
    often = (begin + timedelta(hours=number) for number in range(3 * 24))
    states += [(home, "sensor.often", "W", at, "1") for at in often for home in ZONES]
    told = [
        (home, at, int(at.astimezone(ZoneInfo(ZONES[home])).utcoffset() / timedelta(minutes=1))) for home, _, _, at, _ in states
    ]
    by_day = defaultdict(list)
    for home, at, offset in told:
        by_day[home, offset, at.date()].append(at)
    offsets = [
        {"home": home, "utc_offset": offset, "first": min(some), "last": max(some)}
        for (home, offset, _), some in by_day.items()
    ]
    clock = Clock(length, timelines_of(pa.Table.from_pylist(offsets).to_batches()))
    day = microseconds(begin) // DAY_US

    @cache
    def end_of(home: str, begun: int) -> int:
        upto = begun + QUARTER_US
        while begin_in(home, upto, length) == begun:
            upto += QUARTER_US
        return upto

    def begun(home: str, at: int) -> int:
        return begin_in(home, at - at % QUARTER_US, length)

    rows = AggregatedRows(list(batches(states, size)), clock, HOLD, NOW, day - 2, day + 9)
    compare(rows, expected(states, begun, end_of))
    for row in (row for batch in rows for row in batch.to_pylist()):
        assert timedelta(minutes=row["utc_offset"]) == row["start"].astimezone(ZoneInfo(ZONES[row["home"]])).utcoffset()


def test_a_midnight_that_was_skipped_begins_with_the_change() -> None:
    line = Timeline([0, 10 * DAY_US + 3 * HOUR_US], [-3 * HOUR_US, -2 * HOUR_US])  # at midnight, the clock goes to one
    assert line.begin(10, DAY_US) == 10 * DAY_US + 3 * HOUR_US
    assert line.begin(11, DAY_US) == 11 * DAY_US + 2 * HOUR_US


@pytest.mark.parametrize("every", ["1h", "1d"])
def test_the_wide_layout_is_the_long_one_pivoted(every: str, size: int) -> None:
    chance, length = random.Random(every), LENGTHS[every]
    states = drawn(chance, 2)
    wanted = expected(states, lambda _, at: at - at % length, lambda _, begin: begin + length)
    cells = dict[tuple[str, int], dict[str, float]]()
    for (home, entity, unit, begin), one in wanted.items():
        of_row, of_unit = cells.setdefault((home, begin), {}), "" if unit is None else f".{unit}"
        weights, values = [w for w, _ in one["pieces"]], [v for _, v in one["pieces"]]
        if values:
            of_row[f"{entity}.mean.{unit}"] = sum(w * v for w, v in one["pieces"]) / sum(weights)
            of_row |= {
                f"{entity}.min.{unit}": min(values),
                f"{entity}.max.{unit}": max(values),
                f"{entity}.last.{unit}": values[-1],
            }
        known = sum(weights) + sum(one["words"].values())
        of_row |= {f"{entity}.known{of_unit}": known / length, f"{entity}.changes{of_unit}": one["changes"]}
        if one["words"]:
            of_row |= {f"{entity}.share.{word}": one["words"].get(word, 0) / length for word in ("on", "off")}
    columns = wide_columns(columns_of_states(batches(states, size), FIGURES), 100)
    layout, first = WideRows(columns), microseconds(FIRST) // DAY_US
    rows = AggregatedRows(list(batches(states, size)), Clock(length), HOLD, NOW, first - 1, first + 9, layout)
    told = pd.concat([batch.to_pandas(strings_to_categorical=False) for batch in rows]).astype({"home": str})
    assert rows.count == len(told) == len(cells)
    found = told.assign(begin=told["start"].map(lambda at: microseconds(at.to_pydatetime()))).set_index(["home", "begin"])
    oracle = pd.DataFrame.from_dict(cells, orient="index")
    assert sorted(oracle.columns) == sorted(one.name for one in columns)
    pd.testing.assert_frame_equal(
        found[[one.name for one in columns]].sort_index(),
        oracle[[one.name for one in columns]].sort_index(),
        atol=1e-8,
        check_dtype=False,
        check_names=False,
    )
    assert [*zip(told["start"].dt.date, told["home"], told["start"], strict=True)] == sorted(
        zip(told["start"].dt.date, told["home"], told["start"], strict=True)
    )


def test_every_unit_and_word_gives_a_name_of_its_own_that_xml_takes() -> None:
    units = {folded_unit(unit) for unit in facts.units()}
    names = [WideColumn("sensor.x", unit, "mean").name for unit in units]
    names += [
        WideColumn("sensor.x", None, "share", word).name for word in published_words(["Zwölf", "zwolf", "a b", "a_b", "1"])
    ]
    assert len({name.lower() for name in names if name.isascii()}) > len(units)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) for name in names)
    assert WideColumn("sensor.x", "°C", "mean").name == "sensor.x.mean.degC"
    assert WideColumn("sensor.x", "μg/m3", "max").name == "sensor.x.max.ug_per_m3"


def test_too_many_columns_are_refused_in_words() -> None:
    states = drawn(random.Random(1), 1)
    with pytest.raises(Invalid, match="more than 3 columns"):
        wide_columns(columns_of_states(batches(states, 100), ("mean", "share")), 3)
