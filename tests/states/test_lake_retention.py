"""Retention of the lake: rows of old days are dropped, and stay away if they are sent, exported or made again."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from smarthouse_api.house import House
from smarthouse_api.states.query import Filters
from smarthouse_api.status.gauges import Gauges
from tests.conftest import OTHER_HOME, on_pairs
from tests.states.test_raw_retention import send
from tests.states.test_rebuilding import data_files, keep_house
from tests.states.test_statistics_table import hours, means, receive

environment = on_pairs("embedded_pair", "production_pair")

DAYS = 40
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - timedelta(days=DAYS)
LAST_OLD = FIRST - timedelta(seconds=1)
LONG_AGO = (FIRST.replace(day=1) - timedelta(days=1)).replace(day=1)
FUTURE = TODAY + timedelta(days=900)
KEPT = {"first", "new", "future"}
OLD = {"boundary", "old", "late", "1999", "old future"}
Make = Callable[..., House]


def states(house: House) -> set[str]:
    """The states of all rows in the table."""
    snapshot = house.states.table.open()
    return set() if snapshot is None else set(snapshot.to_pyarrow_table(columns=["state"])["state"].to_pylist())


def published(house: House, **filters: Any) -> set[str]:
    """The states of the rows of an export."""
    export = house.states.exports.open(["csv"], Filters(**filters), metadata=False)
    if export is None:
        return set()
    with zipfile.ZipFile(io.BytesIO(b"".join(export))) as zipped:
        lines = zipped.read(zipped.namelist()[0]).decode().splitlines()[1:]
    export.close()
    return {line.split(",")[3] for line in lines}


def fill(house: House) -> None:
    """Rows of every kind of partition, on both sides of the first day that is kept."""
    send(house, "boundary", LAST_OLD)
    send(house, "old", LONG_AGO)
    send(house, "late", TODAY, at=LONG_AGO)
    send(house, "1999", TODAY, at=datetime(1999, 1, 1, tzinfo=UTC))
    send(house, "old future", LONG_AGO, at=FUTURE)
    send(house, "first", FIRST)
    send(house, "new", TODAY, OTHER_HOME)
    send(house, "future", TODAY, at=FUTURE)
    receive(house, hours(1, start=LONG_AGO), hours(2, start=TODAY), at=TODAY)
    house.states.chores.flush()


def drop(house: House) -> None:
    house.states.chores._dropped_at = float("-inf")
    house.states.chores.drop(lambda: False)


def test_rows_of_old_days_are_dropped_with_their_bytes_and_the_others_stay(make_house: Make) -> None:
    house = make_house(export_privacy="raw")
    fill(house)
    drop(house)
    assert states(house) == KEPT | OLD
    other = make_house(export_privacy="raw", lake_days=DAYS)
    before = set(data_files(house))
    part = next(path for path in before if f"day={LAST_OLD:%Y-%m-%d}" in path)
    for name in (part, part.replace(f"{LAST_OLD:%Y-%m-%d}", f"{FIRST:%Y-%m-%d}")):
        house.objects.put(f"damaged/states/{name}", [b"what is left of it"])
    drop(other)
    assert [f"{FIRST:%Y-%m-%d}" in info.key for info in house.objects.list("damaged/")] == [True]
    assert states(other) == KEPT
    assert means(other) == [2]
    drop(other)
    told = other.status.report()
    assert (told.tables["states"].dropped, told.tables["statistics"].dropped) == (5, 1)
    assert told.tables["states"].oldest == FIRST.date()
    samples = {
        (one.name, *one.labels.values()): one.value for metric in Gauges(lambda: told).collect() for one in metric.samples
    }
    assert samples["smarthouse_lake_rows_dropped_total", "states"] == 5
    assert samples["smarthouse_lake_oldest_timestamp_seconds", "states"] == FIRST.timestamp()
    keep_house(other)
    assert len(before - set(data_files(other))) >= 4
    assert list(other.verifying.run(1, lambda *_: None)) == []


def test_an_export_shows_no_old_row_though_it_is_not_dropped_yet(make_house: Make) -> None:
    fill(make_house())
    house = make_house(export_privacy="raw", lake_days=DAYS)
    for time_field in ("updated", "changed", "received"):
        assert published(house, time_field=time_field) == KEPT | {"old future"}
        assert published(house, time_field=time_field, since=TODAY.date()) >= {"new", "future"}
    assert published(house, since=LONG_AGO.date(), until=LAST_OLD.date()) == set()
    assert published(house, since=FIRST.date(), until=FIRST.date()) == {"first"}


def test_neither_an_upload_nor_a_rebuild_brings_old_rows_back(make_house: Make) -> None:
    fill(make_house())
    house = make_house(lake_days=DAYS)
    drop(house)
    answer = send(house, "late again", TODAY, at=LONG_AGO)
    assert answer.receipt.records == 1
    send(house, "early again", LAST_OLD)
    receive(house, hours(3, start=LONG_AGO))
    house.states.chores.flush()
    assert (states(house), means(house)) == (KEPT, [2])
    house.states.rebuilding.ask(None, None)
    keep_house(house)
    assert states(house) == KEPT
    assert means(house) == [2]
    assert house.states.uploads.pending() == []


def test_a_drop_that_dies_goes_on_and_makes_way_for_a_purge(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.states.homes_table._MOST_DROPPED_AT_ONCE", 1)
    fill(make_house())
    house = make_house(lake_days=DAYS)
    monkeypatch.setattr(house.states.chores, "_is_purging", lambda: True)
    drop(house)
    assert states(house) == KEPT | OLD
    monkeypatch.setattr(house.states.chores, "_is_purging", lambda: False)
    house.states.chores.drop(lambda: True)
    some = states(house)
    assert KEPT < some < KEPT | OLD
    drop(make_house(lake_days=DAYS))
    assert states(house) == KEPT
    assert means(house) == [2]
