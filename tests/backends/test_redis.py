"""What is Redis's own: its URLs, its keys, what it does when it is full, and what a check says of it."""

from __future__ import annotations

import re
import uuid
from contextlib import closing

import pytest
import redis
from redis.crc import key_slot

from backends.ports import Change, Entry, Part, PartDamaged, Put, StoreFull
from backends.redis import RedisState
from backends.redis_urls import redis_url
from tests.servers import RedisServer


@pytest.fixture
def prefix():
    return uuid.uuid4().hex


@pytest.fixture
def store(redis_server, prefix):
    with closing(RedisState(f"{redis_server.url}?prefix={prefix}")) as store:
        yield store


@pytest.fixture
def client(redis_server):
    """A plain client of the shared server; its settings are set right again after the test."""
    with redis.Redis(port=redis_server.port, protocol=2) as client:
        yield client
        for name, value in {"maxmemory": 0, "maxmemory-policy": "noeviction", "appendfsync": "always"}.items():
            client.config_set(name, value)


# --- URLs


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://host", {"servers": (("host", 6379),), "database": 0, "prefix": "smarthouse", "tls": False}),
        ("redis://user:a%2Fb%40c@host:1/3?prefix=a", {"username": "user", "password": "a/b@c", "database": 3, "prefix": "a"}),
        ("rediss://:p@[::1]:7/0?ca=/a.pem", {"tls": True, "username": None, "servers": (("::1", 7),), "ca": "/a.pem"}),
        (
            "redis+sentinel://u:p@a:1,b/mymaster/2?sentinel_password=q%26",
            {"servers": (("a", 1), ("b", 26379)), "master": "mymaster", "database": 2, "sentinel_password": "q&"},
        ),
        ("rediss+cluster://a,b:7001?timeout_seconds=0.5", {"servers": (("a", 6379), ("b", 7001)), "timeout_seconds": 0.5}),
    ],
)
def test_a_url_says_where_and_how(url, told):
    parts = redis_url(url)
    assert {name: getattr(parts, name) for name in told} == told


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://:hunter2/0",
        "redis://:hunter2@/0",
        "redis://:hunter2@host:port/0",
        "redis://:hunter2@host:99999/0",
        "redis://:hunter2@host,other/0",
        "redis://:hunter2@host/zero",
        "redis://:hunter2%@host/0",
        "redis://:hun/ter2@host/0",
        "redis://:hun?ter2@host/0",
        "redis://:hunter2@host/0?hunter2",
        "redis://:hunter2@host/0?timeout_seconds=hunter2",
        "redis://:hunter2@host/0?timeout_seconds=0",
        "redis://:hunter2@host/0?timeout_seconds=inf",
        "redis://:hunter2@host/0?scrub_seconds=nan",
        "redis://:hunter2@host/0?prefix={hunter2}",
        "redis://:hunter2@host/0?hunter2=1",
        "redis+sentinel://:hunter2@host",
        "redis+sentinel://:hunter2@host/0",
        "redis+sentinel://:hunter2@host/mymaster/zero",
        "redis+cluster://:hunter2@host/1",
        "unredis://:hunter2@host",
    ],
)
def test_what_is_wrong_with_a_url_is_told_without_repeating_it(url):
    with pytest.raises(ValueError) as caught:
        RedisState(url)
    assert not any(part in str(caught.value) for part in ("hun", "ter2"))


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("redis://host?timeout=1", "there are prefix, scrub_seconds, timeout_seconds"),
        ("redis://host?ca=a.pem", "there are prefix, scrub_seconds, timeout_seconds"),
        ("rediss+cluster://host?timeout=1", "there are ca, cert, key, prefix, scrub_seconds, timeout_seconds"),
        (
            "redis+sentinel://host/m?x=",
            "there are prefix, scrub_seconds, sentinel_password, sentinel_username, timeout_seconds",
        ),
    ],
)
def test_an_unknown_option_is_answered_with_the_known_ones(url, known):
    with pytest.raises(ValueError, match=known):
        RedisState(url)


# --- what is kept


def test_databases_and_prefixes_are_apart(redis_server, prefix):
    base = redis_server.url.removesuffix("0")
    stores = [RedisState(f"{base}{tail}") for tail in (f"0?prefix={prefix}", f"1?prefix={prefix}", f"0?prefix={prefix}:more")]
    for number, store in enumerate(stores):
        store.put("home", "key", b"%d" % number)
    assert [store.get("home", "key").value for store in stores] == [b"0", b"1", b"2"]
    assert [len(store.scan("home")) for store in stores] == [1, 1, 1]
    stores[1].scrub()
    for store in stores:
        store.close()


def test_the_keys_of_a_space_are_named_as_documented_and_share_a_slot(store, client, prefix):
    space = "a{b}c%/é"
    store.commit(space, Change(puts=(Put("key", b"", 60),), appends=(("log", b""), ("log", b"")), drops=(("log", 1),)))
    keys = [key.decode() for key in client.keys(f"{prefix}:*")]
    kinds = ["counters", "documents", "dropped", "expiries", "index", "log:log"]
    assert sorted(keys) == [f"{prefix}:{{a%7Bb%7Dc%25/é}}:{kind}" for kind in kinds]
    assert len({key_slot(key.encode()) for key in keys}) == 1


def test_a_plain_consumer_group_reads_a_log(store, client, prefix):
    key = f"{prefix}:{{home}}:log:log"
    client.xgroup_create(key, "group", id="0", mkstream=True)
    store.commit("home", Change(appends=(("log", b"one"), ("log", b"two"))))
    ((_, entries),) = client.xreadgroup("group", "me", {key: ">"})
    assert [(id_, fields[b"v"]) for id_, fields in entries] == [(b"1-0", b"one"), (b"2-0", b"two")]
    assert client.xack(key, "group", "1-0") == 1
    store.commit("home", Change(drops=(("log", 1),)))
    assert store.read("home", "log") == [Entry(2, b"two")]
    assert store.commit("home", Change(appends=(("log", b"three"),))).sequences == (3,)


def test_a_scrub_leaves_consumer_groups_as_they_are(store, client, prefix):
    key = f"{prefix}:{{home}}:log:log"
    store.commit("home", Change(appends=tuple(("log", b"%d" % number) for number in range(1, 8))))
    client.xgroup_create(key, "group", id="0")
    client.xreadgroup("group", "me", {key: ">"}, count=4)
    store.commit("home", Change(drops=(("log", 2), ("log", 7))))
    told = client.xinfo_stream(key), client.xinfo_groups(key), client.xpending(key, "group"), client.xrange(key)
    store.scrub()
    told_again = client.xinfo_stream(key), client.xinfo_groups(key), client.xpending(key, "group"), client.xrange(key)
    assert told_again == told
    assert not client.exists(f"{prefix}:{{home}}:dropped")
    assert store.commit("home", Change(appends=(("log", b""),))).sequences == (8,)


def test_expired_documents_are_removed_by_later_commits(store, client, prefix):
    store.commit("home", Change(puts=tuple(Put(f"key-{number}", b"", ttl_seconds=0) for number in range(1000))))
    for _ in range(5):
        store.put("home", "key", b"")
    assert client.hkeys(f"{prefix}:{{home}}:documents") == client.zrange(f"{prefix}:{{home}}:index", 0, -1) == [b"key"]
    assert not client.exists(f"{prefix}:{{home}}:expiries")


def test_a_page_of_large_documents_comes_in_parts(store, monkeypatch):
    monkeypatch.setattr("backends.redis._PAGE_BYTES", 2500)
    store.commit("home", Change(puts=tuple(Put(f"{number:02}", b"x" * 1000) for number in range(10))))
    assert [key for key, _ in store.scan("home", limit=8)] == [f"{number:02}" for number in range(8)]


def test_a_large_commit_is_one(store):
    many = range(10_000)
    store.commit("home", Change(puts=tuple(Put(f"{n}", b"") for n in many), appends=tuple(("log", b"") for _ in many)))
    assert store.last_sequence("home", "log") == len(store.read("home", "log", limit=10**6)) == 10_000
    store.commit("home", Change(deletes=tuple(f"{n}" for n in many), drops=tuple(("log", n + 1) for n in many)))
    assert store.scan("home") == store.read("home", "log") == []


# --- the server is full


FULL_REFUSES = {
    "append": Change(appends=(("log", b""),)),
    "new document": Change(puts=(Put("new", b""),)),
    "more than it deletes": Change(puts=(Put("new", b""), Put("newer", b"")), deletes=("kept",)),
    "not what it deletes": Change(puts=(Put("new", b""),), deletes=("never there",)),
    "append and drop": Change(appends=(("log", b""),), drops=(("log", 1),)),
}
FULL_TAKES = {
    "delete": Change(deletes=("kept",)),
    "drop": Change(drops=(("log", 1),)),
    "replace": Change(puts=(Put("kept", b"other"),)),
    "put for a while": Change(puts=(Put("lease", b"", 60),)),
    "hide": Change(puts=(Put("hidden", b""),), deletes=("kept",)),
    "nothing": Change(),
}


@pytest.fixture
def full(store, client):
    store.commit("home", Change(puts=(Put("kept", b"value"), Put("brief", b"", 0)), appends=(("log", b"entry"),)))
    client.config_set("maxmemory", 1)
    return store


@pytest.mark.parametrize("name", FULL_REFUSES)
def test_a_full_server_refuses_what_takes_room_whole(full, client, prefix, name):
    before = {key: client.dump(key) for key in client.keys(f"{prefix}:*")}
    with pytest.raises(StoreFull):
        full.commit("home", FULL_REFUSES[name])
    assert {key: client.dump(key) for key in client.keys(f"{prefix}:*")} == before


@pytest.mark.parametrize("name", FULL_TAKES)
def test_a_full_server_takes_what_makes_room_or_will(full, client, name):
    before = max(document.version for _, document in full.scan("home"))
    version = full.commit("home", FULL_TAKES[name]).version
    assert version > before
    client.config_set("maxmemory", 0)
    put = {one.key for one in FULL_TAKES[name].puts}
    assert {key for key, document in full.scan("home") if document.version == version} == put
    assert (full.get("home", "kept") is None) == ("kept" in FULL_TAKES[name].deletes)


def test_a_full_server_can_be_scrubbed_and_is_not_ready(full, client):
    full.commit("home", Change(deletes=("kept",)))
    full.scrub()
    with pytest.raises(StoreFull):
        full.check()


# --- what a check says


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({}, ""),
        ({"appendfsync": "everysec"}, "; warning: appendfsync is everysec, not always: a crash may lose the last seconds"),
        ({"maxmemory-policy": "allkeys-lru"}, "; warning: maxmemory-policy is allkeys-lru, not noeviction: data is thrown"),
        ({"maxmemory-policy": "volatile-lru"}, ""),
    ],
)
def test_a_check_warns_of_what_may_lose_data(store, client, settings, warning):
    for name, value in settings.items():
        client.config_set(name, value)
    said = store.check()
    assert re.match("Redis [0-9.]+ can be written to" + warning, said)
    assert (";" in said) == bool(warning)


def test_a_check_warns_of_little_room(store, client):
    client.config_set("maxmemory", int(int(client.info("memory")["used_memory"]) / 0.95))
    assert "over 90 % of maxmemory" in store.check()


def test_a_server_without_the_last_commits_gives_other_versions_than_those_had(store, client, prefix):
    """As after a failover to a replica that lacked them."""
    before = {key: client.dump(key) for key in client.keys(f"{prefix}:*")}
    lost = store.put("home", "head", b"lost")
    client.delete(*client.keys(f"{prefix}:*"))
    for key, dumped in before.items():
        client.restore(key, 0, dumped)
    assert store.put("home", "head", b"kept") != lost


def test_no_key_is_left_of_an_erased_space(store, client, prefix):
    store.commit("home", Change(puts=(Put("key", b"value"), Put("brief", b"", 0)), appends=(("log", b"entry"),)))
    store.commit("home", Change(drops=(("log", 1),)))
    store.erase("home")
    assert client.keys(f"{prefix}:*") == []


# Damage


def test_no_bit_of_a_document_can_turn_over_unseen(store, client, prefix):
    """Nothing else is read, and nothing vanishes, though the value looks like what an earlier version wrote."""
    documents = f"{prefix}:{{home}}:documents"
    store.commit("home", Change(puts=(Put("key", b"0 10 word"), Put("brief", b"0", ttl_seconds=3600))))
    for name in (b"key", b"brief"):
        packed = client.hget(documents, name)
        for bit in range(8 * len(packed)):
            if name == b"brief" and bit // 8 in range(28, 44):
                continue  # it may be over already
            flipped = bytearray(packed)
            flipped[bit // 8] ^= 1 << bit % 8
            client.hset(documents, name, bytes(flipped))
            with pytest.raises(PartDamaged):
                store.get("home", name.decode())
        client.hset(documents, name, packed)
    assert list(store.look_through()) == []


def test_a_document_whose_key_is_damaged_in_either_place_shows(store, client, prefix):
    store.put("home", "key", b"value")
    client.rename(f"{prefix}:{{home}}:documents", "kept")
    client.hset(f"{prefix}:{{home}}:documents", "kex", client.hget("kept", "key"))
    with pytest.raises(PartDamaged):
        store.scan("home")
    assert {part.name for part in store.look_through()} == {"kex"}
    client.rename("kept", f"{prefix}:{{home}}:documents")
    client.zrem(f"{prefix}:{{home}}:index", "key")
    client.zadd(f"{prefix}:{{home}}:index", {"kex": 0})
    with pytest.raises(PartDamaged):
        store.scan("home")
    assert {part.name for part in store.look_through()} == {"key"}


def test_a_bit_of_the_append_only_file_that_turned_over_while_the_server_was_down_shows(tmp_path):
    server = RedisServer(tmp_path / "redis")
    server.start()
    with closing(RedisState(server.url)) as store:
        store.commit("home", Change(puts=(Put("key", b"the value"),), appends=(("log", b"the entry"),)))
        server.kill()
        (file,) = (path for path in server.folder.rglob("*.aof") if b"the value" in path.read_bytes())
        whole = file.read_bytes()
        for text, read, part in (
            (b"the value", lambda: store.get("home", "key"), Part("home", "key")),
            (b"the entry", lambda: store.read("home", "log"), Part("home", "log", 1)),
        ):
            file.write_bytes(whole.replace(text, text.replace(b"t", b"u", 1)))
            server.start()
            with pytest.raises(PartDamaged):
                read()
            assert list(store.look_through()) == [part]
            server.kill()
            file.write_bytes(whole)
        server.start()
        assert (store.get("home", "key").value, list(store.look_through())) == (b"the value", [])
    server.kill()
