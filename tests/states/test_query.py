"""The parts of an export: no day is left out, however many days there are."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlglot import exp

from smarthouse_api.states.planning import parts
from smarthouse_api.states.query import ExportPart, Filters
from smarthouse_api.states.records.placement import FAR, OWN_DAY, Numbers
from smarthouse_api.states.selects import select_rows

FIRST = date(2026, 3, 1)
DAY = timedelta(days=1)


def files(*daily: int, far: int = 0) -> pa.Table:
    """A snapshot with rows on some days, the first of them `FIRST`, and rows whose time cannot be right."""
    rows = [(FIRST + number * DAY, OWN_DAY, count) for number, count in enumerate(daily) if count] + [
        (date(1970, 1, 1), FAR, far)
    ]
    days, buckets, counts = zip(*rows, strict=True)
    return pa.table(
        {"partition.day": days, "partition.bucket": buckets, "num_records": counts, "size_bytes": np.ones(len(rows), np.int64)}
    )


def no_days(_: exp.Select) -> tuple[Numbers, Numbers]:
    raise AssertionError("there are too few rows to count them")


def planned(*daily: int, filters: Filters | None = None) -> list[ExportPart]:
    found = list(parts(files(*daily, far=1), filters or Filters(), no_days))
    assert [one.last + DAY for one in found[:-1]] == [one.first for one in found[1:]]
    assert (found[0].first, found[-1].last) == (filters or Filters()).span
    return found


@pytest.fixture(autouse=True)
def _ten_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 10)


def test_a_day_that_is_too_large_is_a_part_of_its_own() -> None:
    found = planned(2, 0, 3, 50, 0, 4, 20, 30)
    assert [(one.first.isoformat(), one.last.isoformat()) for one in found] == [
        ("0001-01-01", "2026-03-03"),
        ("2026-03-04", "2026-03-04"),
        ("2026-03-05", "2026-03-06"),
        ("2026-03-07", "2026-03-07"),
        ("2026-03-08", "2026-03-08"),
        ("2026-03-09", "9999-12-31"),
    ]
    assert [one.first for one in found if one.share > 1] == [FIRST + number * DAY for number in (3, 6, 7)]


NARROW = (Filters(types=("sensor",)), Filters(units=("K",)), Filters(device_classes=("power",)), Filters(keys=("a0",)))


@pytest.mark.parametrize("filters", NARROW)
def test_parts_of_some_rows_of_large_days_are_packed_by_their_number(filters: Filters) -> None:
    asked = list[str]()

    def count(query: exp.Select) -> tuple[Numbers, Numbers]:
        asked.append(str(query))
        days = np.array([(FIRST - date(1970, 1, 1)).days + number for number in range(6)])
        return days, np.array([4, 5, 0, 30, 1, 2])

    found = list(parts(files(50, 50, 50, 50, 50, 50), replace(filters, since=FIRST, until=FIRST + 5 * DAY), count))
    assert [(one.first.day, one.last.day, round(one.share, 1)) for one in found] == [(1, 3, 0.9), (4, 4, 3.0), (5, 6, 0.3)]
    (query,) = asked
    assert any(word in query.partition("WHERE")[2] for word in ("'sensor'", "'K'", "'power'", "'a0'"))
    assert list(parts(files(1, 1), filters, no_days))  # few rows are not counted


@pytest.mark.parametrize("far", [0, 1])
def test_rows_are_found_by_their_partition_where_all_are_filed_by_their_own_day(far: int) -> None:
    filters = Filters(FIRST, FIRST + 4 * DAY)
    snapshot = files(2, 3, 50, 4).slice(0, 4) if not far else files(2, 3, 50, 4, far=far)
    queries = [str(select_rows(part, filters, (), outdated=False)) for part in parts(snapshot, filters, no_days)]
    assert len(queries) > 2
    assert all(("day BETWEEN" in query, "time" in query.partition("WHERE")[2]) == (not far, bool(far)) for query in queries)


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("day", [date.min, date.max, FIRST])
def test_one_wanted_day_is_covered_whatever_it_holds(count: int, day: date) -> None:
    planned(count, count, filters=Filters(day, day))


def test_a_row_on_every_day_that_there_is_is_planned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.planning.MAX_SORTED_ROWS", 200)
    every = np.arange(date.min.toordinal(), date.max.toordinal() + 1) - date(1970, 1, 1).toordinal()
    found = list(parts(files(far=len(every)), Filters(), lambda _: (every, np.ones(len(every), np.int64))))
    assert len(found) == pytest.approx(len(every) / 200, rel=0.12)
    assert max(one.share for one in found) <= 1.0001
    assert (found[0].first, found[-1].last) == (date.min, date.max)
