"""The curator: every acknowledged payload becomes rows exactly once, whatever dies when."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from backends.ports import Change, Conflict, StoreUnavailable
from config.settings import Settings
from smarthouse_api.coordination.leases import Leases
from smarthouse_api.coordination.queue import Queue
from smarthouse_api.errors import Unavailable
from smarthouse_api.house import House
from smarthouse_api.lake.compaction import Compaction
from smarthouse_api.lake.curator import Curator
from smarthouse_api.states.chores import StatesChores
from smarthouse_api.states.homes_table import LEASE
from smarthouse_api.states.records.schema import STATES
from smarthouse_api.states.table import StatesTable
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, OTHER_HOME, on_pairs, payload, state

environment = on_pairs("embedded_pair", "production_pair")


class Died(BaseException):
    """What a test throws where a process would have been killed."""


def upload(house: House, *values: object, home: str = HOME) -> None:
    for value in values:
        house.states.uploads.receive(Upload(home, payload(state(value=str(value)))))


def lake(house: House) -> pa.Table:
    table = house.states.table.open()
    return STATES.empty_table() if table is None else table.to_pyarrow_table()


def values(house: House) -> list[str]:
    return sorted(lake(house)["state"].to_pylist())


def test_a_flush_brings_everything_acknowledged_into_the_lake(house: House) -> None:
    upload(house, 1, 2, 3)
    house.states.chores.flush()
    assert values(house) == ["1", "2", "3"]
    assert house.states.uploads.pending() == []


def test_a_flush_of_nothing_makes_no_table(house: House) -> None:
    house.states.chores.flush()
    assert lake(house).num_rows == 0


def test_a_second_flush_adds_nothing(house: House) -> None:
    upload(house, 1)
    house.states.chores.flush()
    house.states.chores.flush()
    assert values(house) == ["1"]


@pytest.mark.parametrize("step", ["before the commit", "after the commit", "before the drop", "after the drop"])
def test_a_crash_at_any_step_neither_loses_nor_doubles(house: House, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    when, what = step.split(" the ")
    owner, name = (StatesTable, "append") if what == "commit" else (Queue, "drop")
    done = getattr(owner, name)

    def dying(self: Any, *arguments: Any) -> None:
        if when == "after":
            done(self, *[list(one) if hasattr(one, "__next__") else one for one in arguments])
        raise Died

    upload(house, 1, 2)
    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(Died):
        house.states.chores.flush()
    monkeypatch.undo()
    upload(house, 3)
    house.states.chores.flush()
    assert values(house) == ["1", "2", "3"]


def test_small_batches_hold_what_one_large_batch_holds(make_house: Callable[..., House]) -> None:
    house = make_house(curate_batch_bytes=1)
    upload(house, *range(5))
    house.states.chores.flush()
    assert values(house) == list("01234")


def sleeping_before_its_commit(house: House, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Flush with a curator that sleeps through its lease between preparing a batch and committing it."""
    append = StatesTable.append

    def sleep_first(self: StatesTable, *commit: Any) -> None:
        monkeypatch.undo()
        house.state.commit("leases", Change(deletes=("one/lake",)))
        meanwhile()
        append(self, *commit)

    monkeypatch.setattr(StatesTable, "append", sleep_first)
    house.states.chores.flush()


def test_a_curator_that_slept_through_its_lease_doubles_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house, 1)
    sleeping_before_its_commit(house, monkeypatch, house.states.chores.flush)
    assert values(house) == ["1"]


def test_a_curator_that_slept_through_a_forgetting_brings_nothing_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house, "forgotten")
    with suppress(StoreUnavailable):
        sleeping_before_its_commit(house, monkeypatch, lambda: house.forgetting.forget(HOME))
    assert values(house) == []


def test_a_payload_that_cannot_be_decoded_is_set_aside_and_the_others_are_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = type(house.states.uploads).decode

    def stumble(self: Any, bodies: Any) -> Any:
        if any(body == payload(state(value="poison")) for body, _ in bodies):
            raise TypeError("no such thing was thought of")
        return decode(self, bodies)

    monkeypatch.setattr(type(house.states.uploads), "decode", stumble)
    upload(house, 1, "poison", 2)
    house.states.chores.flush()
    assert values(house) == ["1", "2"]
    assert len(list(house.objects.list("raw/"))) == 3


def test_what_was_acknowledged_is_decoded_under_limits_lowered_since(
    embedded_pair: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = House(Settings.from_env(embedded_pair))
    first.states.uploads.receive(Upload(HOME, payload(*[state(value="1")] * 3)))
    second = House(Settings.from_env({**embedded_pair, "SMARTHOUSE_MAX_RECORDS": "1"}))
    second.states.chores.flush()
    assert values(second) == ["1", "1", "1"]
    first.close()
    second.close()


def test_a_state_store_older_than_the_lake_is_told(house: House) -> None:
    upload(house, 1)
    house.states.chores.flush()
    house.states.table.append(house.states.table.open_or_create(), lake(house), {house.states.uploads.log_id(): 99})
    upload(house, 2)
    with pytest.raises(StoreUnavailable, match="older than the lake"):
        house.states.chores.flush()


def test_a_flush_that_cannot_get_the_lease_ends(make_house: Callable[..., House]) -> None:
    house = make_house(flush_timeout_seconds=0.1)
    upload(house, 1)
    held = Leases(house.state, 30).try_hold(LEASE)
    assert held is not None
    with pytest.raises(Unavailable):
        house.states.chores.flush()
    held.release()


def test_payloads_of_a_hidden_home_give_no_rows(house: House) -> None:
    upload(house, "hidden")
    upload(house, "shown", home=OTHER_HOME)
    house.states.homes.hide(house.states.homes.tag(HOME))
    house.states.chores.flush()
    assert values(house) == ["shown"]


def test_every_row_knows_its_home_day_bucket_and_time(house: House) -> None:
    at = datetime(2026, 3, 2, 1, 2, 3, 456789, tzinfo=UTC)
    house.states.uploads.receive(Upload(HOME, payload(state(at="{{REDACTED}}"), state(at="2026-03-01T12:00:00+01:00"))), at)
    house.states.chores.flush()
    found = lake(house).sort_by("time").to_pylist()
    home = house.states.homes.find(HOME)
    assert home is not None
    assert {row["home"] for row in found} == {home.key}
    assert [row["day"].isoformat() for row in found] == ["2026-03-01", "2026-03-02"]
    assert {row["bucket"] for row in found} == {1000 + int(home.key[:8], 16) % 8}
    assert [row["time"] for row in found] == [datetime(2026, 3, 1, 11, tzinfo=UTC), at]


def test_a_lake_that_cannot_be_curated_is_not_compacted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise StoreUnavailable("the state store is older than the lake")

    compacted, chores = list[bool](), house.states.chores
    monkeypatch.setattr(Compaction, "compact", lambda *_: compacted.append(True))
    with monkeypatch.context() as patch:
        patch.setattr(Curator, "curate", failing)
        with pytest.raises(StoreUnavailable):
            chores.curate(lambda: False)
        chores.compact(lambda: False)
    assert compacted == []
    chores.curate(lambda: False)
    chores.compact(lambda: False)
    assert compacted == [True, True]  # both tables


@pytest.mark.parametrize("chore", ["compact", "move"])
def test_who_replaces_files_asks_for_a_purge_with_the_lease_that_a_purge_needs(house: House, chore: str) -> None:
    table, asked = house.states.table, list[bool]()

    def is_purging() -> bool:
        if is_free := (lease := table.try_write()) is not None:
            lease.release()
        asked.append(is_free)
        return True

    upload(house, 1)
    house.states.chores.flush()
    tables = table, house.states.statistics
    of_homes = house.states.uploads, house.states.homes, house.states.consents
    parts = *of_homes, *tables, house.states.rebuilding, house.states.chores.retention
    chores = StatesChores(*parts, is_purging, house.settings.lake)
    getattr(chores, chore)(lambda: False)
    assert asked == [False]


def test_compaction_merges_files_and_keeps_rows(make_house: Callable[..., House]) -> None:
    house = make_house(lake_compact_files=2)
    for value in range(4):
        upload(house, value)
        house.states.chores.flush()
    table = house.states.table
    before = table.open()
    house.housekeeper.keep()
    after = table.open()
    assert before is not None
    assert after is not None
    assert (len(before.file_uris()), len(after.file_uris())) == (4, 1)
    assert values(house) == list("0123")


def test_an_object_store_that_holds_none_of_the_queue_keeps_the_queue(house: House) -> None:
    upload(house, 1)
    house.objects.delete([info.key for info in house.objects.list("raw/")])
    with pytest.raises(StoreUnavailable, match="no queued payload"):
        house.states.chores.flush()
    assert len(house.states.uploads.pending()) == 1


def test_one_payload_that_is_gone_costs_itself_alone(house: House) -> None:
    upload(house, 1)
    house.objects.delete([info.key for info in house.objects.list("raw/")])
    upload(house, 2)
    house.states.chores.flush()
    assert values(house) == ["2"]
    assert house.states.uploads.pending() == []


def test_a_flush_that_takes_too_long_ends_between_batches(make_house: Callable[..., House], monkeypatch: Any) -> None:
    first = make_house()
    upload(first, 0)
    first.states.chores.flush()  # what the first one of a process takes is not what is asked here
    house = make_house(flush_timeout_seconds=1, curate_batch_bytes=1)
    upload(house, *range(50))
    append = StatesTable.append

    def slowly(self: StatesTable, *commit: Any) -> None:
        time.sleep(0.3)
        append(self, *commit)

    monkeypatch.setattr(StatesTable, "append", slowly)
    with pytest.raises(Unavailable):
        house.states.chores.flush()
    assert 0 < len(house.states.uploads.pending()) < 50


def test_whoever_has_lost_its_turn_at_the_queue_drops_nothing(house: House) -> None:
    upload(house, 1)
    first = house.states.uploads.queue.take_turn()
    house.states.uploads.queue.take_turn()
    with pytest.raises(Conflict):
        house.states.uploads.queue.drop(first, [1])
    assert len(house.states.uploads.pending()) == 1


def test_what_only_stood_for_a_sequence_that_was_passed_over_gives_no_rows(house: House) -> None:
    """As a restoring leaves it that died between its commits."""
    house.state.commit("homes", Change(appends=(("pending", b""),)))
    house.housekeeper.keep()
    assert house.states.uploads.queue.read() == []
    house.state.commit("homes", Change(appends=(("pending", b""),)))
    upload(house, 1)
    house.states.chores.flush()
    assert values(house) == ["1"]
    assert house.states.uploads.queue.read() == []


def test_a_round_of_housekeeping_curates_what_is_pending(house: House) -> None:
    upload(house, 1)
    house.housekeeper.keep()
    assert values(house) == ["1"]


def test_states_of_many_homes_are_counted_exactly_once(house: House) -> None:
    homes = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(20)]
    for home in homes:
        upload(house, 1, 2, home=home)
    house.states.chores.flush()
    assert set(Counter(lake(house)["home"].to_pylist()).values()) == {2}


def test_a_requests_id_follows_its_upload_to_the_line_of_the_lake(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for request_id in ("first", "second"):
        house.states.uploads.receive(Upload(HOME, payload(state(value=request_id)), request_id=request_id))
    with caplog.at_level("INFO"):
        house.states.chores.flush()
    assert "the lake holds the uploads of the requests first second" in caplog.text
    assert "2 rows of 2 entries were committed" in caplog.text
