"""What is SQLite's own: its options, its file, and what other readers of it can do to a scrub."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from backends.ports import Change, Put, StoreUnavailable
from backends.sqlite import SqliteState


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
