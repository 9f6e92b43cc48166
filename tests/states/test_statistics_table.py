"""Long-term statistics in the lake: each period is read once, whatever dies, and nothing of a forgotten home is left."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from backends.ports import Change, StoreUnavailable
from config.settings import Settings
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.coordination.queue import Queue
from smarthouse_api.house import House
from smarthouse_api.states.pending import Pending
from smarthouse_api.states.receipts import Answer
from smarthouse_api.states.records.periods import each_once
from smarthouse_api.states.records.schema import PERIODS
from smarthouse_api.states.statistics_table import StatisticsTable
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, MEMORY, OTHER_HOME, on_pairs, payload, state
from tests.each import on_disk, on_disk_and_servers
from tests.waiting import pass_time

environment = on_pairs("embedded_pair", "production_pair")

ARRIVAL = datetime(2026, 3, 2, 5, tzinfo=UTC)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARK = "sensor.that_only_this_home_ever_had"


class Died(BaseException):
    """What a test throws where a process would have been killed."""


def hours(*means: float, statistic_id: str = "sensor.power", start: datetime = NOON) -> bytes:
    """One hour after the other, as the websocket answers them."""
    first = int(start.timestamp() * 1000)
    told = [{"start": first + n * 3_600_000, "end": first + (n + 1) * 3_600_000, "mean": one} for n, one in enumerate(means)]
    return json.dumps({statistic_id: told}).encode()


def both(value: float) -> bytes:
    """A list with a state and an hour."""
    hour = {"statistic_id": "sensor.power", "start": NOON.isoformat(), "end": ARRIVAL.isoformat(), "mean": value}
    return json.dumps([state(value=str(value)), hour]).encode()


def receive(house: House, *bodies: bytes, home: str = HOME, at: datetime = ARRIVAL) -> list[Answer]:
    return [house.states.uploads.receive(Upload(home, body), at) for body in bodies]


def periods(house: House) -> list[dict[str, Any]]:
    """All periods of the lake, each once."""
    snapshot = house.states.statistics.open()
    return [] if snapshot is None else [one for part in house.states.statistics.periods(snapshot) for one in part.to_pylist()]


def means(house: House) -> list[float]:
    house.states.chores.flush()
    return sorted(one["mean"] for one in periods(house))


def kept(house: House) -> int:
    """How many rows the table holds, repeats among them."""
    snapshot = house.states.statistics.open()
    return 0 if snapshot is None else snapshot.to_pyarrow_table().num_rows


def states(house: House) -> list[str]:
    snapshot = house.states.table.open()
    return [] if snapshot is None else sorted(snapshot.to_pyarrow_table()["state"].to_pylist())


# Rows


def test_an_upload_of_statistics_becomes_rows_and_is_taken_from_the_queue(house: House) -> None:
    (answer,) = receive(house, hours(1.5, 2.5))
    house.states.chores.flush()
    home = house.states.homes.find(HOME)
    assert home is not None
    first, second = periods(house)
    told = {"home": home.key, "statistic_id": "sensor.power", "start": NOON, "period_seconds": 3600, "mean": 1.5}
    assert {**first, **told, "received": ARRIVAL} == first
    assert (first["end"], first["day"], second["mean"]) == (NOON + timedelta(hours=1), date(2026, 3, 1), 2.5)
    assert (answer.receipt.records, answer.receipt.statistics) == (0, 2)
    assert house.states.uploads.pending() == []
    assert states(house) == []


def test_a_lake_without_statistics_has_no_table_of_them(house: House) -> None:
    receive(house, payload(state()))
    house.states.chores.flush()
    house.forgetting.forget(HOME)
    house.housekeeper.keep()
    assert house.states.statistics.open() is None
    assert "statistics" not in house.health()[0]["lake"]


def test_readiness_tells_of_the_table_once_there_is_one(house: House) -> None:
    receive(house, hours(1))
    house.states.chores.flush()
    assert "statistics: version 1 can be read" in house.health()[0]["lake"]


@on_disk
def test_statistics_are_rows_once_however_often_and_in_whatever_shape_they_come(house: House) -> None:
    hour = {"start": NOON.isoformat(), "end": (NOON + timedelta(hours=1)).isoformat(), "mean": 1.5}
    recorder = {
        "statistics_meta": [{"id": 9, "statistic_id": "sensor.power", "unit_of_measurement": "W"}],
        "statistics": [{"id": 1, "metadata_id": 9, "start_ts": NOON.timestamp(), "mean": 1.5, "min": None}],
    }
    answers = [{"sensor.power": [hour]}, {"statistics": {"sensor.power": [hour]}}, recorder]
    receive(house, hours(1.5), hours(1.5), *(json.dumps(one).encode() for one in answers))
    house.states.chores.flush()
    receive(house, hours(1.5, 2.5), at=ARRIVAL + timedelta(days=40))
    assert means(house) == [1.5, 2.5]
    assert [one["unit"] for one in periods(house)] == ["W", None]
    assert {one["received"] for one in periods(house) if one["mean"] == 1.5} == {ARRIVAL}


@on_disk
def test_what_differs_is_no_repeat(house: House) -> None:
    receive(house, hours(1.5), hours(1.75), hours(1.5, statistic_id="sensor.b"), hours(1.5, start=ARRIVAL))
    assert means(house) == [1.5, 1.5, 1.5, 1.75]


@on_disk
def test_the_same_statistics_of_two_homes_are_two_rows(house: House) -> None:
    receive(house, hours(1.5))
    receive(house, hours(1.5), home=OTHER_HOME)
    assert means(house) == [1.5, 1.5]


def test_states_and_statistics_of_one_body_go_each_to_their_table(house: House) -> None:
    receive(house, both(1.5), payload(state(value="7")), hours(2.5))
    assert means(house) == [1.5, 2.5]
    assert states(house) == ["1.5", "7"]


def test_the_first_that_arrived_stays_and_the_others_tell_what_it_lacks() -> None:
    def row(day: int, **told: object) -> dict[str, object]:
        at = datetime(2026, 1, day, tzinfo=UTC)
        return {
            **dict.fromkeys(PERIODS.names),
            "day": date(2026, 1, 1),
            "bucket": 1,
            "home": "a",
            "statistic_id": "b",
            "mean": 1.5,
            "received": at,
            **told,
        }

    found = each_once(pa.Table.from_pylist([row(3, unit="kW"), row(2, unit="W"), row(1), row(4, end=NOON)], PERIODS))
    assert found.to_pylist() == [row(1, unit="W", end=NOON)]


MONTHS = {
    "2026-03-03T23:00:00+00:00": "2026-03-01",
    "2026-03-04T00:00:00+00:00": "1970-01-01",
    "2024-02-29T23:00:00+00:00": "2024-02-01",
    "2000-01-01T00:00:00+00:00": "2000-01-01",
    "1999-12-31T23:00:00+00:00": "1970-01-01",
    "yesterday": "2026-03-01",
}


@on_disk
def test_a_period_lies_in_the_month_in_which_it_starts(house: House) -> None:
    for number, start in enumerate(MONTHS):
        receive(house, json.dumps({"sensor.a": [{"start": start, "mean": number}]}).encode())
    house.states.chores.flush()
    found = sorted(periods(house), key=lambda row: row["mean"])
    assert [row["day"].isoformat() for row in found] == [*MONTHS.values()]
    assert all(row["bucket"] in range(8) for row in found)


@on_disk
def test_years_of_a_home_are_a_file_for_each_month(house: House) -> None:
    days = [[NOON - timedelta(days=3 * day + number) for day in range(240)] for number in range(3)]
    receive(
        house, *(json.dumps({"sensor.a": [{"start": at.isoformat(), "mean": 1.5} for at in some]}).encode() for some in days)
    )
    house.states.chores.flush()
    snapshot = house.states.statistics.open()
    assert snapshot is not None
    assert 23 < len(snapshot.file_uris()) == len({one["day"] for one in periods(house)}) < 28
    assert len(means(house)) == 720


# Compaction


def test_compaction_merges_files_and_leaves_out_repeats(make_house: Callable[..., House]) -> None:
    house = make_house(lake_compact_files=2)
    for number in range(3):
        receive(house, hours(1.5, *[2.5] * number))
        house.states.chores.flush()
    assert kept(house) == 6
    house.housekeeper.keep()
    snapshot = house.states.statistics.open()
    assert snapshot is not None
    assert (len(snapshot.file_uris()), kept(house)) == (1, 3)
    assert means(house) == [1.5, 2.5, 2.5]


@on_disk
def test_a_partition_that_does_not_fit_into_memory_is_merged_unsorted(
    make_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    house = make_house(lake_compact_files=2)
    for number in range(3):
        receive(house, hours(1.5, *[2.5] * number))
        house.states.chores.flush()
    monkeypatch.setattr("smarthouse_api.states.statistics_table.MOST_SORTED_BYTES", 1)
    house.housekeeper.keep()
    snapshot = house.states.statistics.open()
    assert snapshot is not None
    assert (len(snapshot.file_uris()), kept(house)) == (1, 6)
    assert means(house) == [1.5, 2.5, 2.5]


def test_what_compaction_replaced_is_removed(embedded_pair: dict[str, str]) -> None:
    house = House(Settings.from_env({**embedded_pair, "SMARTHOUSE_LAKE_COMPACT_FILES": "2"}))
    for number in range(3):
        receive(house, hours(number))
        house.states.chores.flush()
    house.housekeeper.keep()
    assert len(list(Path(embedded_pair["SMARTHOUSE_DATA_DIR"]).rglob("statistics/day=*/**/*.parquet"))) == 1
    house.close()


# Crashes


ALONE, IN_ONE, BESIDE = ([hours(2)], []), ([both(2)], ["2"]), ([payload(state(value="7")), hours(2)], ["7"])


@on_disk_and_servers("others, expected", [ALONE, IN_ONE, BESIDE], [IN_ONE])
@pytest.mark.parametrize("step", ["statistics", "states", "drop"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_step_neither_loses_nor_doubles(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str, when: str, others: list[bytes], expected: list[str]
) -> None:
    owner, name = {"statistics": (StatisticsTable, "append"), "states": (StatesTable, "append"), "drop": (Queue, "drop")}[step]
    done = getattr(owner, name)

    def dying(self: Any, *arguments: Any) -> None:
        if when == "after":
            done(self, *[list(one) if hasattr(one, "__next__") else one for one in arguments])
        raise Died

    receive(house, hours(1), *others)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with suppress(Died):  # statistics alone commit no states
            house.states.chores.flush()
    receive(house, hours(9))
    assert means(house) == [1, 2, 9]
    assert states(house) == expected
    assert house.states.uploads.pending() == []


def test_a_curator_that_slept_through_a_forgetting_brings_nothing_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, hours(1))
    append = StatisticsTable.append

    def sleep_first(self: StatisticsTable, *commit: Any) -> None:
        monkeypatch.undo()
        house.state.commit("leases", Change(deletes=("one/lake",)))
        house.forgetting.forget(HOME)
        append(self, *commit)

    monkeypatch.setattr(StatisticsTable, "append", sleep_first)
    with suppress(StoreUnavailable):
        house.states.chores.flush()
    assert kept(house) == 0
    assert house.states.uploads.pending() == []


def test_statistics_that_were_lost_behind_anothers_erasing_stay_queued(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, hours(1))

    def lose(*_: object) -> None:
        monkeypatch.undo()
        house.state.commit("leases", Change(deletes=("one/lake",)))

    monkeypatch.setattr(StatisticsTable, "append", lose)
    assert means(house) == [1]


def test_what_a_dead_curator_has_added_is_recognised(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, hours(1))
    receive(house, payload(state()), at=ARRIVAL + timedelta(days=1))

    def die(*_: object) -> None:
        raise Died

    monkeypatch.setattr(Queue, "drop", die)
    with pytest.raises(Died):
        house.states.chores.flush()
    monkeypatch.undo()
    house.states.chores.flush()
    assert kept(house) == 1


def test_rows_that_were_made_before_a_purge_are_not_added_after_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A curator slept between reading the bodies and opening the table, which is newer than the purge then."""
    receive(house, hours(1))
    open_or_create = StatisticsTable.open_or_create

    def sleep_first(self: StatisticsTable) -> DeltaTable:
        monkeypatch.undo()
        house.state.commit("leases", Change(deletes=("one/lake",)))
        house.forgetting.forget(HOME)
        return open_or_create(self)

    monkeypatch.setattr(StatisticsTable, "open_or_create", sleep_first)
    house.states.chores.flush()
    assert house.states.statistics.open() is not None
    assert kept(house) == 0


def test_a_failover_in_the_midst_of_curating_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(Settings.from_env(MEMORY))
    receive(house, both(1))
    house.states.chores.flush()
    replica = copy.deepcopy(house.state._spaces)  # type: ignore[attr-defined]
    receive(house, both(2))
    append = StatesTable.append

    def fail_over(self: StatesTable, *commit: Any) -> None:
        monkeypatch.undo()
        house.state._spaces = replica  # type: ignore[attr-defined]
        receive(house, hours(3, start=ARRIVAL), at=ARRIVAL + timedelta(days=1))
        append(self, *commit)

    monkeypatch.setattr(StatesTable, "append", fail_over)
    assert means(house) == [1, 2, 3]
    assert states(house) == ["1", "2"]
    house.close()


@on_disk
def test_what_a_version_queued_that_did_not_count_statistics_is_read_for_them(house: House) -> None:
    receive(house, both(1), payload(state(value="7")))
    for entry in house.states.uploads.queue.read():
        told = msgspec.json.decode(entry.value)
        old = {name: value for name, value in told.items() if name not in ("records", "statistics")}
        assert msgspec.json.decode(json.dumps(old), type=Pending).statistics is None
        house.states.uploads.queue.drop(house.states.uploads.queue.take_turn(), [entry.sequence])
        house.state.commit("homes", Change(appends=(("pending", json.dumps(old).encode()),)))
    assert means(house) == [1]
    assert states(house) == ["1", "7"]


# Forgetting


def test_forgetting_leaves_no_row_of_the_home_and_all_of_the_others(house: House) -> None:
    receive(house, hours(1), hours(2, start=NOON - timedelta(days=400)), both(3))
    receive(house, hours(4), home=OTHER_HOME)
    house.states.chores.flush()
    receive(house, hours(5))
    house.forgetting.forget(HOME)
    assert means(house) == [4]
    receive(house, hours(1))
    assert means(house) == [1, 4]


def test_forgetting_leaves_no_byte_of_the_home(embedded_pair: dict[str, str]) -> None:
    house, folder = House(Settings.from_env(embedded_pair)), Path(embedded_pair["SMARTHOUSE_DATA_DIR"])
    for number in range(3):
        receive(house, hours(number, statistic_id=MARK))
        receive(house, hours(number), home=OTHER_HOME)
        house.states.chores.flush()
    home = house.states.homes.find(HOME)
    assert home is not None
    marks = [home.key.encode(), MARK.encode()]

    def found() -> set[str]:
        return {
            path.relative_to(folder).parts[0]
            for path in folder.rglob("*")
            if path.is_file() and any(mark in path.read_bytes() for mark in marks)
        }

    assert found()
    house.forgetting.forget(HOME)
    assert found() == set()
    assert means(house) == [0, 1, 2]
    house.close()


def test_a_reader_of_statistics_is_broken_off_by_a_forgetting(make_house: Callable[..., House]) -> None:
    house = make_house(purge_wait_seconds=0)
    receive(house, hours(1))
    house.states.chores.flush()
    with house.states.statistics.reading() as lease:
        house.forgetting.forget(HOME)
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_home_with_statistics_alone_is_erased_if_its_name_was_lost(house: House) -> None:
    receive(house, payload(state()), home=OTHER_HOME)
    receive(house, hours(1))
    house.states.chores.flush()
    home = house.states.homes.find(HOME)
    assert home is not None
    house.objects.delete([info.key for info in house.objects.list(f"raw/{home.key}/")])
    house.state.commit("homes", Change(deletes=(home.name,)))
    assert house.restoring.restore([]).orphaned == 1
    assert kept(house) == 0


def test_a_purge_that_died_between_the_tables_is_finished(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(house, both(1))
    house.states.chores.flush()

    def die(*_: object, **__: object) -> None:
        raise Died

    for method in ("delete_homes", "erase_history"):
        monkeypatch.setattr(StatisticsTable, method, die)
        with pytest.raises(Died):
            house.forgetting.forget(HOME)
        monkeypatch.undo()
    pass_time(house, 61, monkeypatch)
    house.housekeeper.keep()
    assert (kept(house), states(house), house.forgetting.is_due()) == (0, [], False)
