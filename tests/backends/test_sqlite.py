"""What is SQLite's own: its options, its file, and what other readers of it can do to a scrub."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from backends import sqlite
from backends.ports import Change, Put, StoreDamaged, StoreUnavailable, StoreUnfit
from backends.sqlite import SqliteState
from backends.sqlite_damage import SqliteDamage
from tests.waiting import soon


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


@pytest.fixture
def impatient(path):
    store = SqliteState(f"sqlite://{path}?timeout_seconds=0.05")
    yield store
    store.close()


@pytest.mark.parametrize("query", ["timeout=5", "timeout_seconds=5&sync=full", "?"])
def test_an_unknown_option_is_answered_with_the_known_ones(query):
    with pytest.raises(ValueError) as caught:
        SqliteState(f"sqlite://state.db?{query}")
    if "=" in query:
        assert "synchronous, timeout_seconds" in str(caught.value)


@pytest.mark.parametrize("query", ["timeout_seconds=soon", "timeout_seconds=-1", "timeout_seconds=inf", "synchronous=off"])
def test_an_option_must_have_a_sensible_value(query):
    with pytest.raises(ValueError):
        SqliteState(f"sqlite://state.db?{query}")


def test_a_url_must_name_a_path():
    with pytest.raises(ValueError):
        SqliteState("sqlite://")


@pytest.mark.parametrize("name", ["state.db", "a b/%41#ü.db", ":memory:", "deep/down/state.db"])
def test_the_path_is_taken_letter_by_letter(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for url in (f"sqlite://{name}", f"sqlite://{tmp_path}/{name}"):
        store = SqliteState(url)
        store.put("home", url, b"")
        store.close()
        assert (tmp_path / name).is_file()
    assert len(store.scan("home")) == 2
    store.close()


@pytest.mark.parametrize(("option", "level"), [("", 1), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
def test_the_disk_is_waited_for_as_the_option_says(path, monkeypatch, option, level):
    made = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: made.append(connect(*args, **options)) or made[-1])
    store = SqliteState(f"sqlite://{path}{option}")
    store.put("home", "key", b"")
    assert [connection.execute("PRAGMA synchronous").fetchone() for connection in made] == [(level,)]
    store.close()


@pytest.mark.alone
def test_a_commit_that_finds_the_file_locked_gives_up_in_time(path, impatient):
    impatient.put("home", "key", b"old")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        for ask in (lambda: impatient.put("home", "key", b"new"), impatient.check, impatient.scrub):
            with pytest.raises(StoreUnavailable, match="locked"):
                ask()
        assert time.monotonic() - begun < 2
        assert impatient.get("home", "key").value == b"old"
    impatient.put("home", "key", b"new")


def test_a_scrub_is_refused_while_a_reader_holds_on_to_the_past(path, impatient):
    impatient.put("home", "key", b"a secret")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM documents").fetchall()
        impatient.commit("home", Change(deletes=("key",)))
        with pytest.raises(StoreUnavailable):
            impatient.scrub()
        reader.execute("COMMIT")
        impatient.scrub()
        assert not any(b"a secret" in file.read_bytes() for file in path.parent.iterdir())


def test_a_damaged_page_is_wrong_or_a_fault(path, impatient):
    for number in range(300):
        impatient.put("home", f"key {number}", b"value" * 100)
    impatient.scrub()
    impatient.close()
    stored = path.read_bytes()
    path.write_bytes(stored[: len(stored) // 2] + bytes(range(256)) * 16 + stored[len(stored) // 2 + 4096 :])
    try:
        told = list(impatient.verify())
    except StoreUnavailable as fault:
        told = [str(fault)]
    assert told


def test_expired_documents_are_removed_by_later_commits(path, impatient):
    impatient.commit("home", Change(puts=tuple(Put(f"key-{number}", b"", ttl_seconds=0) for number in range(1000))))
    for _ in range(10):
        impatient.put("home", "key", b"")
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT key FROM documents").fetchall() == [("key",)]


def test_a_broken_file_is_looked_at_afresh_when_it_is_whole_again(path, impatient):
    impatient.put("home", "key", b"value")
    impatient.close()
    whole = path.read_bytes()
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreUnavailable):
        impatient.get("home", "key")
    path.write_bytes(whole)
    assert impatient.get("home", "key").value == b"value"


def test_many_threads_share_few_connections(path, monkeypatch):
    made = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: made.append(connect(*args, **options)) or made[-1])
    store = SqliteState(f"sqlite://{path}")
    for _ in range(10):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda number: store.put("home", f"{number}", b"") and store.get("home", f"{number}"), range(10)))
    assert len(made) <= 3
    store.close()


# Damage


def filled(path: Path) -> SqliteState:
    state = SqliteState(f"sqlite://{path}")
    for first in range(0, 3000, 100):
        state.commit("s", Change(puts=tuple(Put(f"{number:05d}", b"x" * 100) for number in range(first, first + 100))))
        state.commit("s", Change(appends=tuple(("log", b"y" * 100) for _ in range(100))))
    state.close()
    return state


def look_around(state: SqliteState) -> None:
    for _ in range(8):
        state.check()


def damage(path: Path, text: bytes) -> None:
    """Overwrite the page that holds a text."""
    octets = bytearray(path.read_bytes())
    page = octets.rindex(text) // 4096 * 4096
    octets[page : page + 4096] = b"\x7f" * 4096
    path.write_bytes(octets)


@pytest.mark.parametrize("text", [b"00050", b"02999", b"y" * 100])
def test_a_damaged_page_is_noticed_by_a_few_looks(path: Path, text: bytes) -> None:
    state = filled(path)
    damage(path, text)
    with pytest.raises(StoreDamaged, match=r"SQLite: the file is damaged .*malformed.*; restore a backup"):
        look_around(state)
    with pytest.raises(StoreDamaged):
        state.check()


def test_damage_that_a_reader_met_is_told_at_once(path: Path) -> None:
    state = filled(path)
    damage(path, b"02999")
    with pytest.raises(StoreDamaged):
        state.scan("s", after="02900")
    with pytest.raises(StoreDamaged):
        state.check()


def test_another_programs_database_is_refused_and_stays_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE bookmarks (a, b)")
    before = path.read_bytes()
    with pytest.raises(StoreUnfit, match="a database of another program"):
        SqliteState(f"sqlite://{path}").check()
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir() if one.name.startswith(path.name)] == [path.name]


def test_a_file_that_is_none_of_sqlite_is_damaged(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreDamaged, match="file is not a database"):
        SqliteState(f"sqlite://{path}").check()


def test_a_look_reads_a_few_rows_and_the_next_one_reads_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.sqlite_damage._AT_ONCE", 10)
    filled(path)
    damage, asked = SqliteDamage(), list[str]()
    with closing(sqlite3.connect(path)) as connection:
        connection.set_trace_callback(asked.append)
        damage.look(connection)
        damage.look(connection)
    assert ["('s', '00009')" in query and "LIMIT 10" in query for query in asked] == [False, True]


def test_a_file_that_is_whole_again_is_well_again(path: Path) -> None:
    state = filled(path)
    whole = path.read_bytes()
    damage(path, b"02999")
    with pytest.raises(StoreDamaged):
        state.scan("s", after="02900")
    state.close()
    path.write_bytes(whole)
    assert "can be written to" in state.check()


@pytest.mark.parametrize("jump", [-86400.0, 86400.0])
def test_a_clock_that_jumps_neither_prolongs_nor_ends_what_is_stored_for_a_while(path, monkeypatch, jump):
    clock = time.time
    store, other = SqliteState(f"sqlite://{path}"), SqliteState(f"sqlite://{path}")
    store.put("home", "long", b"", ttl_seconds=3600)
    store.put("home", "short", b"", ttl_seconds=0.02)
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    later = soon(lambda: store.get("home", "short") is None)
    assert later
    for one in (store, other):  # a process that begins after the jump reads the same clock
        assert (one.get("home", "long") is None, one.get("home", "short") is None) == (False, True)
        assert abs(one.now() - clock()) < 60
    assert [key for key, _ in other.scan("home")] == ["long"]
    (ttl,) = [record.ttl_seconds for record in other.dump() if getattr(record, "key", "") == "long"]
    assert 3500 < ttl <= 3600
    store.close()
    other.close()


@pytest.mark.parametrize(("jump", "ahead"), [(-86400.0, 0.0), (86400.0, 86400.0)])
def test_after_a_boot_the_clock_goes_on_from_the_systems_and_never_back(path, monkeypatch, jump, ahead):
    clock = time.time
    with closing(SqliteState(f"sqlite://{path}")) as store:
        store.put("home", "key", b"")
        before = store.now()
    monkeypatch.setattr("backends.sqlite_clock._boot", lambda: "another")
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    with closing(SqliteState(f"sqlite://{path}")) as store:
        assert before + ahead - 2 <= store.now() < before + ahead + 60


def test_a_file_of_an_earlier_version_gets_a_clock_and_keeps_its_expiries(path):
    with closing(SqliteState(f"sqlite://{path}")) as store:
        store.put("home", "over", b"", ttl_seconds=-1)
        store.put("home", "key", b"", ttl_seconds=60)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE clock")
    with closing(SqliteState(f"sqlite://{path}")) as store:
        assert [key for key, _ in store.scan("home")] == ["key"]
        assert abs(store.now() - time.time()) < 60


def removed(path: Path) -> None:
    path.unlink()


def exchanged(path: Path) -> None:
    with closing(SqliteState(f"sqlite://{path}.other")) as other:
        other.put("home", "key", b"another's")
    Path(f"{path}.other").replace(path)


@pytest.mark.parametrize(
    ("change", "told"), [(removed, "state.db was removed"), (exchanged, "another file was put in the place")]
)
def test_a_file_that_is_gone_under_its_store_is_noticed_by_each_call(path, impatient, change, told):
    impatient.put("home", "key", b"1")
    path.with_name("kept").hardlink_to(path)
    change(path)
    calls = [
        lambda: impatient.get("home", "key"),
        lambda: impatient.put("home", "key", b"2"),
        lambda: impatient.scan("home"),
        lambda: impatient.erase("home"),
        lambda: list(impatient.spaces()),
        impatient.scrub,
        impatient.check,
    ]
    for call in calls:
        with pytest.raises(StoreDamaged, match=told):
            call()
    assert path.exists() is (change is exchanged), "no empty file was made in its place"
    path.with_name("kept").replace(path)
    assert impatient.get("home", "key").value == b"1"


def test_a_commit_into_a_file_that_is_removed_meanwhile_is_not_acknowledged(path, impatient, monkeypatch):
    impatient.put("home", "key", b"1")
    apply = sqlite.apply
    monkeypatch.setattr(sqlite, "apply", lambda *given: (apply(*given), path.unlink())[0])
    with pytest.raises(StoreDamaged, match=r"state\.db was removed"):
        impatient.put("home", "key", b"2")


def test_a_store_goes_on_with_the_file_that_it_loads(path, impatient):
    impatient.put("home", "key", b"1")
    impatient.load(list(impatient.dump()))
    assert impatient.get("home", "key").value == b"1"


@pytest.mark.parametrize("text", [b"homesa/key", b"homeslog"])
def test_no_bit_of_a_row_can_turn_over_unseen(path, text):
    """Whatever bit of the cell of a document or an entry: what is read is right or a fault, and a look finds all else."""
    state = SqliteState(f"sqlite://{path}")
    state.commit("homes", Change(puts=(Put("a/key", b"a value"),), appends=(("log", b"an entry"),)))
    state.scrub()
    state.close()
    whole, value = path.read_bytes(), b"a value" if text.endswith(b"key") else b"an entry"
    begin = whole.rindex(text, 0, whole.rindex(value))
    end = whole.index(value, begin) + len(value) + 4

    def read() -> list[object]:
        return [state.get("homes", "a/key"), state.read("homes", "log")]

    def look() -> list[object]:
        try:
            return [*state.verify(), *state.look_through()]
        except StoreDamaged as fault:
            return [fault]

    right = read()
    state.close()
    for bit in range(8 * (begin - 8), 8 * end):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            # A row whose name is another is not found, as if it were not there.
            assert all(one in (all_, None, []) for one, all_ in zip(read(), right, strict=True))
            is_right = read() == right
        except StoreDamaged:
            is_right = False
        assert is_right or look(), (bit // 8 - begin, bit % 8)
        state.close()
    path.write_bytes(whole)
    assert (read(), look()) == (right, [])
    state.close()


def test_those_who_open_a_new_file_together_all_have_it(tmp_path):
    for file in range(20):
        states = [SqliteState(f"sqlite://{tmp_path}/{file}.db") for _ in range(4)]
        together = threading.Barrier(len(states))

        def put(number, states=states, together=together):
            together.wait()
            states[number].put("home", str(number), b"")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, range(4)))
        assert [key for key, _ in states[0].scan("home")] == ["0", "1", "2", "3"]
        for state in states:
            state.close()
