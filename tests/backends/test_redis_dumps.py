"""How Redis's dumps let writers wait: for what has changed since they began, however large a space is."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import closing, contextmanager

import pytest
import redis

from backends.dumps import DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.ports import Change, Put
from backends.redis import RedisState


@pytest.fixture
def prefix():
    return uuid.uuid4().hex


@pytest.fixture
def store(redis_server, prefix):
    with closing(RedisState(f"{redis_server.url}?prefix={prefix}")) as store:
        puts = tuple(Put(f"key-{number}", b"old") for number in range(3000))
        store.commit("home", Change(puts=puts, appends=(("log", b"1"), ("log", b"2"))))
        yield store


@pytest.fixture
def client(redis_server):
    with redis.Redis(port=redis_server.port, protocol=2) as client:
        yield client


def change(store: RedisState) -> None:
    """Change something of each kind."""
    put, deletes = Put("key-7", b"new"), ("key-8",)
    store.commit("home", Change(puts=(put, Put("more", b"")), deletes=deletes, appends=(("log", b"3"),), drops=(("log", 1),)))
    store.put("other", "key", b"")
    store.erase("gone")


@contextmanager
def before_the_moment(act: Callable[[], object]):
    act()
    yield


def whole(store: RedisState, act: Callable[[], object], patched: pytest.MonkeyPatch) -> list[str]:
    """Dump a store in which `act` changes things meanwhile; what the server was asked for while writers waited."""
    asked = list[str]()
    ask = redis.Redis.execute_command
    with patched.context() as spied:
        spied.setattr(
            redis.Redis, "execute_command", lambda self, *words, **named: asked.append(words[0]) or ask(self, *words, **named)
        )
        found = list(store.dump(before_the_moment(act)))
    spaces = {one.space: one.version for one in found if isinstance(one, DumpedSpace)}
    documents = {one.key: one.value for one in found if isinstance(one, DumpedDocument)}
    assert set(spaces) == {"home", "other"}
    assert len(documents) == 3001
    assert (documents["key-7"], documents["key-9"], "key-8" in documents) == (b"new", b"old", False)
    assert [one for one in found if isinstance(one, DumpedLog)] == [DumpedLog("log", 3)]
    assert [one for one in found if isinstance(one, DumpedEntry)] == [DumpedEntry(2, b"2"), DumpedEntry(3, b"3")]
    begin = asked.index("CLIENT PAUSE")
    return asked[begin : asked.index("CLIENT UNPAUSE")]


def test_writers_wait_for_what_has_changed_and_not_for_a_whole_space(store, client, prefix, monkeypatch):
    store.put("gone", "key", b"")
    paused = whole(store, lambda: change(store), monkeypatch)
    assert paused.count("HSCAN") == 1  # of the new space, which is small
    assert not client.exists(f"{prefix}:{{home}}:changed")


def test_a_space_whose_changes_are_not_known_is_read_again(store, client, prefix, monkeypatch):
    def forgotten() -> None:
        client.delete(f"{prefix}:{{home}}:changed")
        change(store)

    assert whole(store, forgotten, monkeypatch).count("HSCAN") > 2


def test_two_dumps_at_once_are_each_of_one_moment(store, monkeypatch):
    def both() -> None:
        list(store.dump())
        change(store)

    whole(store, both, monkeypatch)


def test_a_scrub_leaves_nothing_of_a_dump_that_died(store, client, prefix, monkeypatch):
    dump = store.dump(before_the_moment(lambda: (_ for _ in ()).throw(KeyboardInterrupt)))
    monkeypatch.setattr("backends.redis_dumps._Reading.end", lambda self: None)
    with pytest.raises(KeyboardInterrupt):
        next(dump)
    assert client.ttl(f"{prefix}:{{home}}:changed") > 0
    store.scrub()
    assert not client.exists(f"{prefix}:{{home}}:changed")
