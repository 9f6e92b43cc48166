"""Redis where a server may be replaced by another: by Sentinel, or in a Cluster."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from backends.ports import Add, Change, Conflict, Entry, Part, PartDamaged, Put, StoreUnavailable
from backends.redis import RedisState
from backends.redis_servers import primaries
from tests.damaging import age_redis, damage_redis
from tests.redis_cluster import Cluster, SentinelServer, back
from tests.servers import RedisServer
from tests.waiting import soon

SPACES = [f"space-{number}" for number in range(12)]


# --- Sentinel


@pytest.fixture
def watched(tmp_path):
    """A master, its replica, and a sentinel, each with a password."""
    master = RedisServer(tmp_path / "master", requirepass="m@ster", masterauth="m@ster", repl_diskless_sync_delay="0")
    master.start()
    copy = RedisServer(
        tmp_path / "copy", requirepass="m@ster", masterauth="m@ster", replicaof=f"127.0.0.1 {master.port}", repl_timeout="5"
    )
    copy.start()
    guard = SentinelServer(tmp_path / "sentinel", master, "gu@rd")
    guard.start()
    soon(lambda: [told["master-link-status"] for told in guard.replicas()] == ["ok"])
    yield master, copy, guard
    for server in (guard, copy, master):
        server.kill()


def test_sentinel_leads_to_the_new_master(watched):
    master, copy, guard = watched
    login, key = ":m%40ster@127.0.0.1:1,127.0.0.1", "sentinel_password=gu%40rd"
    with closing(RedisState(f"redis+sentinel://{login}:{guard.port}/mymaster/3?{key}&timeout_seconds=0.5")) as store:
        store.commit("home", Change(puts=(Put("key", b"a secret value"),), appends=(("log", b"1"),)))
        assert "can be written to" in store.check()
        store.commit("home", Change(deletes=("key",)))
        store.scrub()
        for server in (master, copy):
            assert not [path for path in server.folder.rglob("*") if path.is_file() and b"a secret" in path.read_bytes()]
        with copy.client() as client, master.client() as other:
            soon(lambda: client.info("replication")["slave_repl_offset"] >= other.info("replication")["master_repl_offset"])
        master.kill()
        with pytest.raises(StoreUnavailable):
            store.commit("home", Change())
        with copy.client() as client:
            soon(lambda: client.info("replication")["role"] == "master")
        made = back(lambda: store.commit("home", Change(appends=(("log", b"2"),))))
        assert made.sequences == (2,)
        assert store.read("home", "log") == [Entry(1, b"1"), Entry(2, b"2")]
        # The dead one still has its files.
        with pytest.raises(StoreUnavailable):
            store.scrub()
        shown = [(one.name, one.unread, b"".join(one.chunks)) for one in store.own_files(())]
        assert [why for name, why, _ in shown if str(master.port) in name] == ["it does not answer: ConnectionError"]
        assert [name for name, why, content in shown if str(copy.port) in name and not why and b"log" in content]


def test_a_sentinel_that_is_wrong_is_unavailable(watched):
    _, _, guard = watched
    for tail in ("mymaster", "mymaster?sentinel_password=wrong", "other?sentinel_password=gu%40rd"):
        with closing(RedisState(f"redis+sentinel://:m%40ster@127.0.0.1:{guard.port}/{tail}")) as store:
            for ask in (store.check, store.scrub, lambda store=store: store.put("home", "key", b"")):
                with pytest.raises(StoreUnavailable) as caught:
                    ask()
                assert "m@ster" not in str(caught.value)
                assert "gu@rd" not in str(caught.value)


# --- Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    one = Cluster(tmp_path_factory.mktemp("cluster"))
    one.start()
    yield one
    one.kill()


@pytest.fixture
def store(cluster):
    with closing(RedisState(f"{cluster.url}?timeout_seconds=0.5&scrub_seconds=10")) as store:
        yield store
        for space in SPACES:
            back(lambda space=space: store.commit(space, Change(deletes=tuple(key for key, _ in store.scan(space)))))


def owners(cluster):
    return {space: cluster.owner(f"smarthouse:{{{space}}}:log:log") for space in SPACES}


def test_spaces_are_spread_and_each_is_whole(cluster, store):
    assert len(set(owners(cluster).values())) == 3
    for space in SPACES:
        first = store.commit(space, Change(puts=(Put("key", b"value"), Put("brief", b"", 60)), appends=(("log", b"entry"),)))
        assert store.scan(space)[1][1].value == b"value"
        assert store.get(space, "brief").version == first.version
        assert store.read(space, "log")[-1].sequence == store.last_sequence(space, "log") == first.sequences[0]
        with pytest.raises(Conflict):
            store.put(space, "key", b"", expect=first.version + 1)
    assert "can be written to" in store.check()
    assert "warning" not in store.check()


def test_the_files_of_every_server_are_shown_and_keys_that_are_no_spaces(cluster, store):
    store.commit(SPACES[0], Change(puts=(Put("key", b"value"),)))
    owner = cluster.owner("smarthouse:stray")
    with owner.client() as client:
        client.set("smarthouse:stray", b"a stray value")
    shown = {one.name: b"".join(one.chunks) for one in store.own_files(())}
    with owner.client() as client:
        client.delete("smarthouse:stray")
    for server in cluster.servers:
        assert [name for name in shown if f":{server.port}, appendonlydir/" in name]
    strays = [name for name, content in shown.items() if ", key " in name and b"a stray value" in content]
    assert strays == [f"Redis at 127.0.0.1:{owner.port}, key smarthouse:stray"]


def test_a_dump_has_the_spaces_of_every_server_and_goes_back_to_where_they_belong(cluster):
    with closing(RedisState(f"{cluster.url}?prefix=dumped")) as store:
        for number, space in enumerate(SPACES):
            store.commit(space, Change(puts=(Put("key", b"%d" % number),), appends=(("log", b"%d" % number), ("log", b""))))
        dump = [*store.dump()]
        store.load(dump)
        for number, space in enumerate(SPACES):
            assert store.get(space, "key").value == b"%d" % number
            assert store.read(space, "log") == [Entry(1, b"%d" % number), Entry(2, b"")]
        assert sorted(store.spaces()) == sorted(SPACES)
        assert sorted(map(repr, store.dump())) == sorted(map(repr, dump))


def test_checksums_are_looked_at_and_added_on_every_server_of_the_cluster(store):
    space = SPACES[0]
    store.commit(space, Change(puts=(Put("summed", b"a value"),), adds=(Add("count", (1,)),), appends=(("sums", b"an entry"),)))
    servers = [server for server, _ in primaries(store._clients.client(), "smarthouse")]
    for old, new, part in (
        (b"a value", b"a walue", Part(space, "summed")),
        (b"1", b"3", Part(space, "count")),
        (b"an entry", b"an entrx", Part(space, "sums", 1)),
    ):
        for server in servers:
            damage_redis(server, "smarthouse", old, new)
        assert list(store.look_through()) == store.damaged() == [part]
        for server in servers:
            damage_redis(server, "smarthouse", new, old)
    for server in servers:
        damage_redis(server, "smarthouse", b"1", b"3")
    with pytest.raises(PartDamaged):
        store.commit(space, Change(adds=(Add("count", (1,)),)))
    for server in servers:
        damage_redis(server, "smarthouse", b"3", b"1")
        age_redis(server, "smarthouse")
    assert sum(store.add_sums()) >= 3
    assert sum(store.add_sums()) == 0
    assert store.commit(space, Change(adds=(Add("count", (1,)),), appends=(("sums", b"2"),))).sequences == (2,)
    assert store.read(space, "sums") == [Entry(1, b"an entry"), Entry(2, b"2")]


def test_a_cluster_is_used_from_threads_and_on_both_sides_of_a_fork(store):
    store.put(SPACES[0], "key", b"")
    begun = {space: store.last_sequence(space, "log") for space in SPACES}
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(append_to_all, store) for _ in range(4)]
        child = os.fork()
        if not child:
            append_to_all(store)
            os._exit(0)
        append_to_all(store)
        assert [one.result() for one in writing] == [None] * 4
    assert os.waitpid(child, 0)[1] == 0
    assert [store.last_sequence(space, "log") - begun[space] for space in SPACES] == [60] * len(SPACES)


def append_to_all(store):
    for _ in range(10):
        for space in SPACES:
            store.commit(space, Change(appends=(("log", b""),)))


def test_a_slot_that_moved_is_found(cluster, store):
    space = SPACES[0]
    store.commit(space, Change(puts=(Put("key", b"value"),), appends=(("log", b""),)))
    source = owners(cluster)[space]
    target = next(server for server in cluster.primaries if server is not source)
    move(cluster, space, source, target)
    try:
        assert owners(cluster)[space] is target
        assert store.get(space, "key").value == b"value"
        assert store.commit(space, Change(appends=(("log", b""),))).version > 1
    finally:
        move(cluster, space, target, source)


def move(cluster, space, source, target):
    """Hand the space's slot over, as redis-cli does it."""
    with source.client() as giver, target.client() as taker:
        slot = giver.execute_command("CLUSTER KEYSLOT", f"{{{space}}}")
        here, there = (one.execute_command("CLUSTER MYID").decode() for one in (giver, taker))
        taker.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", here)
        giver.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", there)
        keys = giver.execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
        giver.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for one in (taker, giver):
            one.execute_command("CLUSTER SETSLOT", slot, "NODE", there)
    soon(lambda: cluster.owner(f"{{{space}}}") is target)


def test_a_scrub_reaches_every_server_of_the_cluster(cluster, store):
    for space in SPACES:
        store.commit(space, Change(puts=(Put("key", b"a secret value"), Put("brief", b"a secret value", 0))))
        store.commit(space, Change(appends=(("log", b"a secret entry"), ("log", b""))))
    holders = [server for server in cluster.servers if holds(server, b"a secret")]
    for space in SPACES:
        last = store.last_sequence(space, "log")
        store.commit(space, Change(deletes=("key",), drops=(("log", last - 1),)))
    store.scrub()
    assert not [server for server in cluster.servers if holds(server, b"a secret")]
    assert holders == cluster.servers


def holds(server, secret):
    return any(secret in path.read_bytes() for path in server.folder.rglob("*") if path.is_file())


def test_a_server_that_is_killed_and_comes_back_has_lost_nothing(cluster, store):
    victim = cluster.primaries[1]
    space = next(space for space, owner in owners(cluster).items() if owner is victim)
    others = [space for space, owner in owners(cluster).items() if owner is not victim]
    made = store.commit(space, Change(appends=(("log", b"before"),)))
    victim.kill()
    for ask in (lambda: store.commit(space, Change(appends=(("log", b""),))), store.check, store.scrub):
        with pytest.raises(StoreUnavailable):
            ask()
    victim.start()
    cluster.wait_until_whole()
    again = back(lambda: store.commit(space, Change(appends=(("log", b"after"),))))
    assert again.sequences[0] == made.sequences[0] + 1
    assert [entry.value for entry in store.read(space, "log", after=made.sequences[0] - 1)] == [b"before", b"after"]
    assert all(back(lambda other=other: store.commit(other, Change())) for other in others)
    assert "can be written to" in back(store.check)


def test_a_replica_takes_over_and_the_old_primary_becomes_one(cluster, store):
    victim = cluster.primaries[0]
    space = next(space for space, owner in owners(cluster).items() if owner is victim)
    made = store.commit(space, Change(appends=(("log", b""),)))
    idle = RedisState(cluster.url)
    idle.check()
    with victim.client() as client, cluster.replica.client() as copy:
        written = client.info("replication")["master_repl_offset"]
        soon(lambda: copy.info("replication")["slave_repl_offset"] >= written)
    victim.kill()
    try:
        with cluster.replica.client() as copy:
            soon(lambda: copy.info("replication")["role"] == "master")
        cluster.wait_until_whole()
        again = back(lambda: store.commit(space, Change(appends=(("log", b""),))))
        assert again.sequences[0] == made.sequences[0] + 1
        assert "can be written to" in idle.check()
    finally:
        idle.close()
        victim.start()
        cluster.wait_until_whole()
    assert back(lambda: store.commit(space, Change())).version > again.version
    back(store.scrub)


def test_a_cluster_that_is_nowhere_is_unavailable_to_all_at_once():
    with closing(RedisState("redis+cluster://127.0.0.1:1,127.0.0.1:2")) as store, ThreadPoolExecutor(8) as pool:
        failed = [pool.submit(store.get, "home", "key") for _ in range(8)]
        assert all(isinstance(one.exception(), StoreUnavailable) for one in failed)
        with pytest.raises(StoreUnavailable, match="refused"):
            store.check()


@pytest.mark.alone
def test_a_server_of_the_cluster_that_hangs_costs_the_others_nothing(cluster, store):
    victim = cluster.primaries[1]
    held = owners(cluster)
    space = next(space for space, owner in held.items() if owner is victim)
    other = next(space for space, owner in held.items() if owner is not victim)
    store.put(space, "key", b"")
    store.put(other, "key", b"")
    victim.pause()
    stop = threading.Timer(0.4, victim.resume)
    begun = time.monotonic()
    stop.start()
    assert store.get(other, "key").value == b""
    assert time.monotonic() - begun < 0.3
    assert back(lambda: store.get(space, "key")).value == b""
    stop.join()
    cluster.wait_until_whole()


@pytest.mark.alone
def test_a_cluster_that_hangs_is_unavailable_to_every_thread_in_time(cluster, store):
    with closing(RedisState(f"{cluster.url}?timeout_seconds=0.2")) as hasty, ThreadPoolExecutor(8) as pool:
        hasty.put(SPACES[0], "key", b"")
        for server in cluster.servers:
            server.pause()
        begun = time.monotonic()
        failed = [pool.submit(hasty.get, SPACES[0], "key") for _ in range(16)]
        assert all(isinstance(one.exception(), StoreUnavailable) for one in failed)
        assert time.monotonic() - begun < 2
        for server in cluster.servers:
            server.resume()
        cluster.wait_until_whole()
        assert back(lambda: hasty.get(SPACES[0], "key")) is not None
