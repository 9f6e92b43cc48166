"""Talk to the servers behind a store one by one: check how they are set up, and have them rewrite their files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from typing import Any

import redis
from redis.cluster import RedisCluster
from redis.crc import key_slot

from backends.ports import StoreUnavailable
from backends.redis_connections import Address, Client, client_of, sentinel
from backends.redis_urls import RedisUrl

_PAUSE_SECONDS = 0.02
_STILL_SECONDS = 2.0


def primaries(client: Client, prefix: str) -> Iterator[tuple[redis.Redis, str]]:
    """List every server that takes writes, each with a key to probe it with. In a cluster: those that hold slots."""
    if not isinstance(client, RedisCluster):
        yield client, f"{prefix}:check"
        return
    slots = dict(client.nodes_manager.slots_cache)
    wanted = {nodes[0].name for nodes in slots.values()}
    for number in count():
        key = f"{prefix}:check:{number}"
        nodes = slots.get(key_slot(key.encode()))
        if nodes and nodes[0].name in wanted:
            wanted.remove(nodes[0].name)
            yield client.get_redis_connection(nodes[0]), key
        if not wanted:
            return


def condition(server: redis.Redis, key: str) -> tuple[str, list[str]]:
    """Check a server with a write: its name and version, and a warning for each unsafe setting. Raises the driver's errors."""
    server.execute_command("SET", key, b"", "PX", 1000)  # milliseconds
    info = _info(server)
    name = "Valkey" if "valkey_version" in info else "Redis"
    return f"{name} {info.get('valkey_version') or info['redis_version']}", [*_warnings(server, info)]


def _warnings(server: redis.Redis, info: dict[str, Any]) -> Iterator[str]:
    if not info.get("aof_enabled"):
        yield "appendonly is off: a restart may lose everything since the last snapshot, or all there is"
    elif (wait := setting_of(server, "appendfsync")) not in (None, "always"):
        yield f"appendfsync is {wait}, not always: a crash may lose the last seconds"
    policy, most = str(info.get("maxmemory_policy", "")), int(info.get("maxmemory", 0))
    if policy.startswith("allkeys"):
        yield f"maxmemory-policy is {policy}, not noeviction: data is thrown away when memory is short"
    if most and int(info["used_memory"]) > 0.9 * most:
        yield "over 90 % of maxmemory is used"
    for field, what in (
        ("aof_last_write_status", "write to the append-only file"),
        ("aof_last_bgrewrite_status", "rewrite of the append-only file"),
        ("rdb_last_bgsave_status", "snapshot"),
    ):
        if info.get(field, "ok") != "ok":
            yield f"the last {what} failed"


def setting_of(server: redis.Redis, name: str) -> str | None:
    """Ask for a setting of the server; None if it does not tell, as managed servers do not."""
    try:
        found = server.execute_command("CONFIG GET", name)
    except redis.ResponseError:
        return None
    return found.get(name) if isinstance(found, dict) else None


def room_of(server: redis.Redis) -> int | None:
    """Return how much more a server may store; None where its memory is not limited. Raises the driver's errors."""
    info = server.execute_command("INFO", "memory")
    most = int(info.get("maxmemory", 0))
    return max(0, most - int(info["used_memory"])) if most else None


@contextmanager
def every_server(url: RedisUrl, client: Client) -> Iterator[list[redis.Redis]]:
    """Make clients for all servers, one each, including replicas and servers that are down."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(client_of(url, address))) for address in _addresses(url, client)]


def _addresses(url: RedisUrl, client: Client) -> list[Address]:
    if url.kind == "sentinel":
        guards = sentinel(url)
        try:
            master = guards.discover_master(url.master)
            replicas = guards.sentinels[0].sentinel_slaves(url.master)  # of the one that has answered
            return [master, *((one["ip"], int(one["port"])) for one in replicas)]
        finally:
            guards.close()
    if isinstance(client, RedisCluster):
        nodes = client.execute_command("CLUSTER NODES")
        return [_address(name, url) for name, node in nodes.items() if "noaddr" not in node["flags"]]
    info = client.execute_command("INFO", "replication")
    return [url.servers[0], *((told["ip"], int(told["port"])) for name, told in info.items() if _names_replica(name, told))]


def _address(name: str, url: RedisUrl) -> Address:
    host, _, port = name.rpartition(":")
    return host or url.servers[0][0], int(port)


def _names_replica(name: str, told: object) -> bool:
    return name.removeprefix("slave").isdigit() and isinstance(told, dict)


def found(servers: list[redis.Redis], prefix: str) -> Iterator[tuple[bytes, str]]:
    """Find the spaces under `prefix`, each with a kind of key that it has. A pair may come more than once."""
    begin = f"{prefix}:{{".encode()
    for server in servers:
        if _info(server).get("role") == "slave":
            continue
        cursor = None
        while cursor != 0:
            cursor, keys = server.execute_command("SCAN", cursor or 0, "MATCH", begin + b"*", "COUNT", 1000)
            for key in keys:
                space, _, kind = key.removeprefix(begin).partition(b"}:")
                yield space, kind.decode(errors="replace")


@contextmanager
def still(servers: list[redis.Redis]) -> Iterator[Callable[[], None]]:
    """Let writers wait. Yields what must be called again and again; it raises `StoreUnavailable` if they went on meanwhile."""
    ends_at = 0.0

    def keep() -> None:
        nonlocal ends_at
        now = time.monotonic()
        if ends_at and now > ends_at:
            raise StoreUnavailable("Redis: the server was not held still for as long as it was read; repeat this")
        if now > ends_at - _STILL_SECONDS / 2:
            for server in servers:
                server.execute_command("CLIENT PAUSE", int(_STILL_SECONDS * 1000), "WRITE")
            ends_at = now + _STILL_SECONDS

    keep()
    try:
        yield keep
        if time.monotonic() > ends_at:
            raise StoreUnavailable("Redis: the server was not held still for as long as it was read; repeat this")
    finally:
        for server in servers:
            server.execute_command("CLIENT UNPAUSE")


def time_us(server: redis.Redis) -> int:
    """Ask for the server's clock: microseconds since 1970."""
    seconds, microseconds = server.execute_command("TIME")
    return int(seconds) * 1_000_000 + int(microseconds)


def rewrite(servers: list[redis.Redis], deadline: float) -> None:
    """Have every server replace its files with the data as it is now, so that no deleted byte remains.

    1. A rewrite that is under way is waited for and followed by another.
    2. Both kinds of file are written, whatever the settings are now: a snapshot may be left from earlier settings, or from a
       replica's first copy.
    """
    now = [_info(server) for server in servers]
    written = {one["master_replid"]: int(one["master_repl_offset"]) for one in now if one.get("role") == "master"}
    for server in servers:
        _wait(server, lambda info: info.get("role") != "slave" or _has(info, written), deadline)
        if _wait(server, _idle, deadline).get("aof_enabled"):
            _write(server, "BGREWRITEAOF", "aof_last_bgrewrite_status", deadline)
        _write(server, "BGSAVE", "rdb_last_bgsave_status", deadline)


def _write(server: redis.Redis, order: str, status: str, deadline: float) -> None:
    while True:
        try:
            server.execute_command(order)
            break
        except redis.ResponseError as error:
            # The server has begun one by itself.
            if "progress" not in str(error):
                raise
        _wait(server, _idle, deadline)
    if _wait(server, _idle, deadline).get(status, "ok") != "ok":
        raise StoreUnavailable(f"Redis: its {order} failed")


def _idle(info: dict[str, Any]) -> bool:
    # When the server says that a rewrite is done, it has removed the names of the files that the new ones replace.
    busy = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress", "loading")
    return not any(info.get(name) for name in busy)


def _has(info: dict[str, Any], written: dict[str, int]) -> bool:
    """Tell whether the replica has all that its master had."""
    return int(info.get("slave_repl_offset", 0)) >= written.get(info["master_replid"], 1 << 62)


def _wait(server: redis.Redis, until: Callable[[dict[str, Any]], bool], deadline: float) -> dict[str, Any]:
    while not until(info := _info(server)):
        if time.monotonic() > deadline:
            raise StoreUnavailable("Redis: the files are not rewritten in time")
        time.sleep(_PAUSE_SECONDS)
    return info


def _info(server: redis.Redis) -> dict[str, Any]:
    info: dict[str, Any] = server.execute_command("INFO")
    return info
