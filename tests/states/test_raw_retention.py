"""Retention of raw uploads: what the lake holds expires, nothing else does, and nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backends.ports import Conflict, StoreUnavailable
from backends.registry import open_objects
from config.settings import Settings
from smarthouse_api.backups.lists import Listed
from smarthouse_api.cli import main
from smarthouse_api.errors import Invalid
from smarthouse_api.house import House
from smarthouse_api.states.counts import Kept
from smarthouse_api.states.expired import expired_until, first_whole_day
from smarthouse_api.states.homes import SPACE
from smarthouse_api.states.query import Filters
from smarthouse_api.states.raw import Damaged
from smarthouse_api.states.receipts import Answer, stored_receipts
from smarthouse_api.states.uploads import Upload
from smarthouse_api.status.gauges import Gauges
from smarthouse_api.status.report import RawUploads
from tests.conftest import HOME, OTHER_HOME, Environment, on_pairs, payload, state
from tests.each import on_disk
from tests.states.test_rebuilding import damage, data_files, flip, keep_house, rows
from tests.waiting import soon

environment = on_pairs("embedded_pair", "production_pair")

NOW = datetime.now(UTC)
OLD, OLDER, NEW = (NOW - timedelta(days=days) for days in (40, 45, 3))
Make = Callable[..., House]


def body(value: object, at: datetime) -> bytes:
    return payload(state(value=str(value), at=at.isoformat(), unit_of_measurement="°C", device_class="temperature"))


def send(house: House, value: object, arrival: datetime, home: str = HOME, at: datetime | None = None) -> Answer:
    """Upload one state. at: its own time, by default that of its arrival."""
    return house.states.uploads.receive(Upload(home, body(value, at or arrival)), arrival)


def expire(house: House) -> int:
    return sum(some.uploads for some in house.states.chores.retention.steps())


def raw(house: House) -> list[str]:
    return sorted(info.key for info in house.objects.list("raw/"))


def key_of(house: House, uuid: str = HOME) -> str:
    home = house.states.homes.find(uuid)
    assert home is not None
    return home.key


@pytest.fixture
def filled(make_house: Make) -> House:
    """Two uploads of a home that are old, one that is not, and an old one of another home; all in the lake."""
    house = make_house(raw_days=30)
    house.installation.settle()
    for value, arrival in ((1, OLD), (2, OLDER), (3, NEW)):
        send(house, value, arrival)
    send(house, 4, OLD, OTHER_HOME)
    house.states.chores.flush()
    return house


def test_what_is_old_and_in_the_lake_expires_and_stays_counted_exported_and_verified(filled: House) -> None:
    before, told = rows(filled), filled.archives.summary(HOME)
    sizes = sorted(info.size_bytes for info in filled.objects.list("raw/"))
    assert (expire(filled), expire(filled)) == (3, 0)
    (left,) = filled.objects.list("raw/")
    assert f"{NEW:%Y-%m-%d}" in left.key
    home = key_of(filled)
    assert filled.states.counts.of([home])[0].uploads == 1
    assert filled.states.counts.in_all() == Kept(left.size_bytes, 1, 1)
    assert filled.states.counts.expired() == Kept(sum(sizes) - left.size_bytes, 3, 3)
    assert filled.states.counts.expired(home).uploads == 2
    # By these, a home's Home Assistant tells what was lost from what has expired.
    now = filled.archives.summary(HOME)
    assert (now["uploads"], now["expired_uploads"], now["first"]) == (1, 2, told["first"])
    assert sorted(receipt.expired for receipt in stored_receipts(filled.state, home)) == [False, True, True]
    assert list(filled.verifying.run(1, lambda *_: None)) == []
    assert len(list(filled.states.uploads.kept())) == 1
    assert rows(filled) == before
    filled.housekeeper.census.go_on(lambda: False)
    told = filled.status.report()
    assert told.uploads == RawUploads(1, left.size_bytes, 3, sum(sizes) - left.size_bytes, 4, sum(sizes), 4)
    assert told.storage is not None
    assert told.storage.oldest_upload == pytest.approx(NEW.timestamp())
    gauges = {metric.name: metric.samples[0].value for metric in Gauges(lambda: told).collect() if metric.samples}
    assert gauges["smarthouse_uploads_expired"] == 3
    assert gauges["smarthouse_uploads_oldest_timestamp_seconds"] == pytest.approx(NEW.timestamp())


@on_disk
def test_a_round_is_done_once_an_hour_and_never_without_the_setting(make_house: Make, filled: House) -> None:
    make_house().housekeeper.keep()
    assert len(raw(filled)) == 4
    filled.housekeeper.keep()
    assert len(raw(filled)) == 1
    send(filled, 5, OLD)
    filled.housekeeper.keep()
    filled.housekeeper.keep()
    assert len(raw(filled)) == 2


def test_another_process_goes_on_soon_if_one_dies_in_its_round(
    make_house: Make, filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.raw_retention._AT_ONCE", 1)
    monkeypatch.setattr("smarthouse_api.states.raw_retention._RETRY_SECONDS", 0.05)
    filled.states.chores.expire(lambda: True)
    assert len(raw(filled)) == 3
    other = make_house(raw_days=30).states.chores
    soon(lambda: other.expire(lambda: False) or len(raw(filled)) == 1)


@on_disk
def test_what_waits_is_damaged_or_was_set_aside_does_not_expire(make_house: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    house = make_house(raw_days=30)
    send(house, 1, OLD)
    assert expire(house) == 0
    house.states.chores.flush()
    monkeypatch.setattr("smarthouse_api.states.rows.states_of", lambda *_, **__: 1 / 0)
    send(house, 2, OLD)
    house.states.chores.flush()
    monkeypatch.undo()
    send(house, 3, OLD)
    whole = {name: house.objects.get(name) for name in raw(house)}
    waiting = {entry.object for entry in house.states.uploads.pending()}
    (three,) = waiting
    house.objects.put(three, [b"damaged"])
    house.states.chores.flush()
    assert expire(house) == 1
    assert len(raw(house)) == 2
    house.objects.put(three, [whole[three]])
    house.states.uploads.healing.look_now()
    assert expire(house) == 0, "it waits for the lake"
    house.states.chores.flush()
    assert len(rows(house)) == 2
    assert expire(house) == 1
    house.states.rebuilding.repairs.add(house.states.rebuilding.plan(None, None, accepts_loss=True))
    send(house, 5, OLD)
    house.states.chores.flush()
    assert expire(house) == 0, "rows are being made again"


def test_nothing_is_lost_though_a_process_dies_at_any_step(
    make_house: Make, filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.raw_retention._AT_ONCE", 1)
    before, counts, steps, step = rows(filled), filled.states.counts, 0, -1

    def dying(act: Callable[..., Any], *, is_done: bool) -> Callable[..., Any]:
        def act_or_die(*given: Any) -> Any:
            nonlocal steps
            steps += 1
            made = act(*given) if is_done or steps != step else None
            if steps == step:
                raise StoreUnavailable("killed")
            return made

        return act_or_die

    for is_done in (False, True):
        for step in range(1, 7):
            steps, house = 0, make_house(raw_days=30)
            monkeypatch.setattr(house.state, "commit", dying(house.state.commit, is_done=is_done))
            monkeypatch.setattr(house.objects, "delete", dying(house.objects.delete, is_done=is_done))
            try:
                expire(house)
            except StoreUnavailable:
                assert list(filled.verifying.run(1, lambda *_: None)) == []
                assert counts.in_all().uploads + counts.expired().uploads == 4
            if (step, is_done) == (3, False):
                assert len(raw(filled)) == 4
                assert counts.expired().uploads == 1
    assert expire(filled) == 0
    assert len(raw(filled)) == 1
    assert (counts.in_all().uploads, counts.expired().uploads) == (1, 3)
    assert rows(filled) == before


def test_a_turn_ends_once_another_process_begins_one_or_queues_uploads_again(
    make_house: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smarthouse_api.states.raw_retention._AT_ONCE", 1)
    house = make_house(raw_days=30)
    for value in range(5):
        send(house, value, OLD + timedelta(hours=value))
    house.states.chores.flush()
    one, other = (of.states.chores.retention.steps() for of in (house, make_house(raw_days=30)))
    assert next(one).uploads == next(other).uploads == 1
    assert list(one) == []
    damaged = next(iter(house.states.uploads.kept()))
    house.states.uploads.healing.note([(damaged, Damaged())], is_all=False)
    house.states.uploads.healing.look_now()
    assert list(other) == []
    assert expire(house) == 2
    assert raw(house) == [damaged.object]
    assert (house.states.counts.in_all().uploads, house.states.counts.expired().uploads) == (1, 4)


def test_the_same_bytes_again_are_kept_anew_and_a_row_stays_one(filled: House) -> None:
    before = rows(filled)
    expire(filled)
    again = filled.states.uploads.receive(Upload(HOME, body(1, OLD)))
    assert (again.duplicate, again.receipt.records) == (False, 1)
    assert filled.states.uploads.receive(Upload(HOME, body(1, OLD))).duplicate
    assert filled.states.counts.of([key_of(filled)])[0].uploads == 2
    assert rows(filled) == before
    assert list(filled.verifying.run(1, lambda *_: None)) == []
    assert expire(filled) == 0, "it came just now"


@on_disk
def test_what_has_expired_stays_so_over_a_quota(make_house: Make, filled: House) -> None:
    expire(filled)
    full = make_house(raw_days=30, quota_home_bytes=1)
    assert full.states.uploads.receive(Upload(HOME, body(1, OLD))).duplicate
    assert len(raw(full)) == 1


@on_disk
def test_a_rebuild_of_what_has_expired_is_refused_and_another_leaves_its_rows(make_house: Make) -> None:
    house = make_house(raw_days=30)
    until = NOW - timedelta(days=31)
    first = first_whole_day(round(until.timestamp() * 1e6))
    at = datetime(first.year, first.month, first.day, tzinfo=UTC)
    send(house, "late", until, at=at.replace(day=1) - timedelta(hours=1) if first.day < 5 else at.replace(day=1))
    send(house, "usual", at + timedelta(hours=30), at=at + timedelta(hours=5))
    send(house, "far", until, at=datetime(1999, 1, 1, tzinfo=UTC))
    house.states.chores.flush()
    before = rows(house)
    assert expire(house) == 2
    for since in (None, first - timedelta(days=1)):
        with pytest.raises(Invalid, match=f"that came until {until:%Y-%m-%d} have expired.*again is {first}"):
            house.states.rebuilding.ask(since, None)
    house.states.rebuilding.ask(first, None)
    keep_house(house)
    assert rows(house) == before
    house.states.rebuilding.repairs.add(house.states.rebuilding.plan(None, None, accepts_loss=True))
    keep_house(house)
    assert len(rows(house)) == 1


@on_disk
def test_nothing_is_removed_if_uploads_expire_after_a_rebuild_was_asked_for(filled: House) -> None:
    before, plan = rows(filled), filled.states.rebuilding.plan(None, None)
    expire(filled)
    filled.states.rebuilding.repairs.add(plan)
    keep_house(filled)
    assert rows(filled) == before


@on_disk
def test_rows_of_a_damaged_file_are_lost_once_their_upload_has_expired(filled: House) -> None:
    before = rows(filled)
    expire(filled)
    old = next(path for path in data_files(filled) if f"day={OLDER:%Y-%m-%d}" in path)
    damage(filled, old, flip)
    for _ in range(2):
        assert len(rows(filled)) == len(before) - 1
        keep_house(filled)
    export = filled.states.exports.open(["csv"], Filters())
    assert export is not None
    export.close()
    assert export.incomplete == f"rows of {OLDER:%Y-%m-%d} are lost for good"
    (problem,) = filled.verifying.run(1, lambda *_: None)
    assert "uploads that have expired" in problem.name
    assert "lost for good" in filled.health()[0]["lake"]
    assert filled.status.report().waiting.repairs == 0
    filled.states.uploads.receive(Upload(HOME, body(2, OLDER)))
    assert len(rows(filled)) == len(before), "its home has sent it again"
    assert filled.states.rebuilding.repairs.accept_losses() == 1
    assert list(filled.verifying.run(1, lambda *_: None)) == []


def test_damage_is_found_before_the_upload_expires(filled: House) -> None:
    before = rows(filled)
    old = next(path for path in data_files(filled) if f"day={OLDER:%Y-%m-%d}" in path)
    damage(filled, old, flip)
    filled.states.table.ledger.distrust()
    assert expire(filled) < 3
    assert len(filled.states.rebuilding.repairs.unfinished()) == 1
    assert expire(filled) == 0
    keep_house(filled)
    expire(filled)
    assert len(raw(filled)) == 1
    assert rows(filled) == before
    assert filled.states.rebuilding.condition() is None


@on_disk
def test_files_that_another_process_replaces_meanwhile_keep_nothing(make_house: Make, filled: House) -> None:
    steps = filled.states.chores.retention.steps()
    filled.states.chores.retention._left = list(filled.states.homes.everyone())
    turn = filled.states.chores.retention._begin()
    assert turn is not None
    other = make_house(lake_days=35)
    other.states.chores.drop(lambda: False)
    keep_house(other)
    homes = list(filled.states.homes.everyone())
    with pytest.raises(Conflict):
        list(chain.from_iterable(filled.states.chores.retention._expire(turn, home) for home in homes))
    assert filled.states.rebuilding.repairs.all() == []
    assert sum(some.uploads for some in steps) == 3
    assert len(rows(other)) == 1


@on_disk
def test_a_home_that_is_forgotten_meanwhile_does_not_stop_a_round(filled: House) -> None:
    retention = filled.states.chores.retention
    retention._left = list(filled.states.homes.everyone())
    filled.forgetting.forget(OTHER_HOME)
    while retention._left is not None:
        expire(filled)
    assert len(raw(filled)) == 1


def test_a_forgotten_home_leaves_nothing_of_what_has_expired(filled: House) -> None:
    expire(filled)
    key = key_of(filled)
    filled.forgetting.forget(HOME)
    assert not [name for name, _ in filled.state.scan_all(SPACE) if key in name and not name.startswith("unbroken/")]
    assert len(rows(filled)) == 1


def test_a_damaged_lake_is_restored_without_what_has_expired_and_says_so(filled: House) -> None:
    expire(filled)
    damage(filled, f"_delta_log/{1:020d}.json", lambda _: b"")
    filled.restoring.restore([])
    keep_house(filled)
    assert len(rows(filled)) == 1
    assert "lost for good" in str(filled.states.rebuilding.condition())
    until = expired_until(filled.state)
    assert until is not None
    assert filled.states.rebuilding.repairs.touching(first_whole_day(until), date.max) == []


def test_a_backup_has_what_has_expired_by_its_receipts_alone(filled: House, tmp_path: Path) -> None:
    place = open_objects(f"file://{tmp_path}/backup")
    filled.backups.make(place, lambda *_: None)
    expire(filled)
    before = rows(filled)
    filled.backups.make(place, lambda *_: None)
    assert len(list(place.list("objects/raw/")) or [one for one in place.list() if "raw/" in one.key]) == 1
    there = House(Settings.from_env({"SMARTHOUSE_DATA_DIR": str(tmp_path / "there"), "SMARTHOUSE_RAW_DAYS": "30"}))
    there.backups.restore_from(place, Listed(), is_replaced=False, told=lambda *_: None)
    assert rows(there) == before
    assert list(there.verifying.run(1, lambda *_: None)) == []
    assert (len(raw(there)), expire(there)) == (1, 0)
    with pytest.raises(Invalid, match="have expired"):
        there.states.rebuilding.plan(None, None)
    there.close()
    place.close()


@pytest.mark.parametrize("environment", ["embedded_pair"], indirect=True)
def test_the_command_refuses_and_names_the_day_unless_the_loss_is_accepted(filled: House, embedded_pair: Environment) -> None:
    expire(filled)
    until = expired_until(filled.state)
    assert until is not None
    told = CliRunner().invoke(main, ["rebuild", "--no-wait"], env=embedded_pair)
    assert (told.exit_code, f"{first_whole_day(until)}" in told.stderr, "Nothing was asked for" in told.stderr) == (
        1,
        True,
        True,
    )
    for words in (["--despite-expiry"], ["--from", f"{first_whole_day(until)}"]):
        assert CliRunner().invoke(main, ["rebuild", "--no-wait", *words], env=embedded_pair).exit_code == 0
