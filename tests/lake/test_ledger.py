"""The ledger of the lake: damage to a table's log shows at once, in words that name the file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product

import pytest
from flask.testing import FlaskClient

from backends.ports import StoreError, StoreUnfit
from smarthouse_api.house import House
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.ledger import SPACE, Ledger
from smarthouse_api.states.uploads import Upload
from tests.conftest import HOME, house_of, on_pairs, payload, state
from tests.each import on_disk

environment = on_pairs("embedded_pair", "production_pair")

COMMIT = "_delta_log/{:020d}.json"


def upload(house: House, *values: object) -> None:
    for value in values:
        house.states.uploads.receive(Upload(HOME, payload(state(value=str(value)))))
        house.states.chores.flush()


def flip(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def damage(house: House, path: str, how: Callable[[bytes], bytes] | None, name: str = "states") -> None:
    """Change a file of a table as a disk might, or remove it."""
    if how is None:
        house.objects.sweep_table(name, [path])
    else:
        house.objects.put_table(name, path, [how(b"".join(house.objects.stream_table(name, path)))])


def tidy(house: House) -> None:
    with house.states.table.writing(1) as lease:
        house.states.table.erase_history(lease)


HOW = {"emptied": lambda data: b"", "cut": lambda data: data[:-9], "flipped": flip, "removed": None}


def test_a_damaged_commit_is_named_and_nothing_is_exported(client: FlaskClient) -> None:
    house = house_of(client)
    upload(house, 1, 2, 3)
    commits = [COMMIT.format(number) for number in (0, 2, 3)]
    for how, commit in product(HOW.values(), commits):
        stored = b"".join(house.objects.stream_table("states", commit))
        damage(house, commit, how)
        house.states.table.ledger.distrust()  # as in a process that starts now
        with pytest.raises(StoreUnfit, match=commit):
            house.states.table.open()
        if how is HOW["flipped"] or commit == commits[-1]:
            assert client.get("/api/export/csv", buffered=True).status_code == 503
            ready = client.get("/health/ready")
            assert ready.status_code == 503
            assert "smarthouse rebuild" in ready.get_data(as_text=True)
            assert commit in ready.get_data(as_text=True)
        house.objects.put_table("states", commit, [stored])
    assert client.get("/api/export/csv", buffered=True).status_code == 200


def test_a_damaged_checkpoint_is_named(house: House) -> None:
    upload(house, 1, 2)
    tidy(house)
    (path,) = [info.key for info in house.objects.list_table("states", "_delta_log/") if "checkpoint.parquet" in info.key]
    stored = b"".join(house.objects.stream_table("states", path))
    for how in HOW.values():
        house.states.table.ledger.distrust()
        damage(house, path, how)
        with pytest.raises(StoreUnfit, match=path):
            house.states.table.open()
        house.objects.put_table("states", path, [stored])
        assert house.states.table.open() is not None


def test_a_damaged_hint_at_the_checkpoint_is_removed(house: House) -> None:
    upload(house, 1, 2)
    tidy(house)
    path = "_delta_log/_last_checkpoint"
    for hint in (b"", b"no JSON", b'{"version":99,"size":1}', None):
        if hint is None:
            house.objects.sweep_table("states", [path])
        else:
            house.objects.put_table("states", path, [hint])
        table = house.states.table.open()
        assert table is not None
        assert table.to_pyarrow_table().num_rows == 2


def test_a_table_that_is_gone_is_missed(house: House) -> None:
    upload(house, 1)
    house.objects.sweep_table("states", [info.key for info in house.objects.list_table("states")])
    with pytest.raises(StoreUnfit, match="states"):
        house.states.table.open()


def test_a_table_of_yesterday_is_behind(house: House) -> None:
    upload(house, 1)
    before = {info.key: b"".join(house.objects.stream_table("states", info.key)) for info in house.objects.list_table("states")}
    upload(house, 2, 3)
    tidy(house)
    house.objects.sweep_table("states", [info.key for info in house.objects.list_table("states")])
    for path, data in before.items():
        house.objects.put_table("states", path, [data])
    with pytest.raises(StoreUnfit, match=r"is missing|behind"):
        house.states.table.open()


@on_disk
def test_a_state_of_yesterday_fits_a_newer_lake(house: House) -> None:
    upload(house, 1)
    before = list(house.state.scan_all(SPACE))
    upload(house, 2, 3)
    tidy(house)
    house.state.erase(SPACE)
    for name, document in before:
        house.state.put(SPACE, name, document.value)
    upload(house, 4)
    assert_complete(house)


@on_disk
def test_what_a_dead_writer_left_unrecorded_is_recorded_by_the_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(house, 1)
    with monkeypatch.context() as dead:
        dead.setattr(Ledger, "record", lambda *_: None)
        upload(house, 2)
    upload(house, 3)
    assert_complete(house)


@on_disk
def test_a_table_of_an_earlier_version_gets_a_ledger_step_by_step(house: House) -> None:
    upload(house, 1, 2)
    tidy(house)
    house.state.erase(SPACE)
    upload(house, 3)
    assert house.states.table.ledger.head() is None
    with house.states.table.writing(1):
        assert not house.states.table.remember(lambda: True)
        assert house.states.table.remember(lambda: False)
    assert_complete(house)
    upload(house, 4)
    assert_complete(house)


@on_disk
def test_erasing_a_space_of_the_ledger_is_repeatable(house: House) -> None:
    upload(house, 1)
    house.states.table.ledger.forget()
    house.states.table.ledger.forget()
    assert not list(house.state.scan_all(SPACE))


def test_a_removed_file_leaves_the_ledger(house: House) -> None:
    upload(house, 1, 2, 3)
    with house.states.table.writing(1) as lease:
        assert house.states.table.compact(lease, 2, lambda: False)
    assert_complete(house)
    house.forgetting.forget(HOME)
    assert_complete(house)


def parquet(house: House) -> dict[str, int]:
    table = house.states.table.open()
    assert table is not None
    return {one["path"]: one["size_bytes"] for one in files_of(table).to_pylist()}


@pytest.fixture
def read(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of tables that were read."""
    seen, stream = list[str](), house.objects.stream_table

    def note(name: str, path: str, *more: int) -> Iterator[bytes]:
        seen.append(path)
        return stream(name, path, *more)

    monkeypatch.setattr(house.objects, "stream_table", note)
    return seen


def test_a_file_that_was_found_whole_is_not_read_again_for_an_hour(
    house: House, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(house, 1, 2)
    files, ledger = parquet(house), house.states.table.ledger
    for expected in (sorted(files), []):
        read.clear()
        assert list(ledger.faults(files)) == []
        assert house.states.table.open() is not None
        assert sorted(path for path in read if path in files) == expected
    assert read == []
    assert list(ledger.faults(files, anew=True)) == []
    assert sorted(read) == sorted(files)
    monkeypatch.setattr("smarthouse_api.lake.verified_files._AGE_SECONDS", 0.0)
    read.clear()
    assert list(ledger.faults(files)) == []
    assert sorted(read) == sorted(files)


def test_a_file_that_changes_after_it_was_found_whole_is_read_again(house: House) -> None:
    upload(house, 1, 2)
    files, ledger = parquet(house), house.states.table.ledger
    path = sorted(files)[0]
    stored = b"".join(house.objects.stream_table("states", path))
    for how in HOW.values():
        assert list(ledger.faults(files)) == []
        damage(house, path, how)
        assert [found for found, _ in ledger.faults(files)] == [path]
        house.objects.put_table("states", path, [stored])


@on_disk
def test_only_so_many_files_are_remembered(house: House, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smarthouse_api.lake.verified_files._MOST", 1)
    upload(house, 1, 2)
    files, ledger = parquet(house), house.states.table.ledger
    for _ in range(2):
        assert list(ledger.faults(files)) == []
    read.clear()
    assert list(ledger.faults(files)) == []
    assert len(read) == len(files) - 1


def test_bits_that_turned_unseen_are_found_once_the_engine_meets_them(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's size and time are as before: only reading it tells."""
    house = house_of(client)
    upload(house, 1, 2)
    assert client.get("/api/export/csv", buffered=True).status_code == 200
    files, known = parquet(house), house.states.table.ledger._files
    infos = known.listed(files)
    damage(house, sorted(files)[0], lambda data: b"x" * len(data))
    monkeypatch.setattr(known, "listed", lambda paths: infos)
    with suppress(StoreError):
        assert client.get("/api/export/csv", buffered=True).status_code == 503
    answer = client.get("/api/export/csv", buffered=True)
    assert answer.status_code == 200
    assert "X-Incomplete" in answer.headers


@on_disk
def test_the_log_tells_once_an_hour_that_a_table_is_damaged_and_once_that_it_is_whole(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(house, 1)
    path, now = COMMIT.format(1), [time.monotonic()]
    whole = b"".join(house.objects.stream_table("states", path))
    damage(house, path, flip)
    monkeypatch.setattr("smarthouse_api.coordination.troubles.time.monotonic", lambda: now[0])
    for seconds, count in ((0, 1), (1800, 1), (1900, 2)):
        now[0] += seconds
        for _ in range(3):
            house.states.table.ledger.distrust()
            with pytest.raises(StoreUnfit):
                house.states.table.open()
        assert caplog.text.count("the log of the lake's table states is damaged") == count
    house.objects.put_table("states", path, [whole])
    for _ in range(3):
        house.states.table.open()
    assert caplog.text.count("the lake's table states can be read again") == 1


def assert_complete(house: House) -> None:
    """The ledger has the newest version and each live file, and no other."""
    table, ledger = house.states.table.open(), house.states.table.ledger
    assert table is not None
    head = ledger.head()
    assert head is not None
    assert head.version == table.version()
    recorded = {name.removeprefix("file/states/") for name, _ in house.state.scan_all(SPACE, "file/states/")}
    live = {one["path"]: one["size_bytes"] for one in files_of(table).to_pylist()}
    assert recorded == set(live)
    assert list(ledger.faults(live)) == []
