"""Damage what a state store keeps, behind the service's back: a value changes, and its checksum stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import redis


def flipped(value: bytes) -> bytes:
    """The value with one bit turned over, in its midst."""
    changed = bytearray(value)
    changed[len(value) // 2] ^= 1
    return bytes(changed)


def damage(environment: Mapping[str, str], old: bytes, new: bytes) -> None:
    """Make every stored `old` another value, in the state store that these settings name: SQLite or Redis."""
    url = environment.get("SMARTHOUSE_STATE_URL", "")
    if url.startswith("redis://"):
        server, _, prefix = url.partition("?prefix=")
        with redis.Redis.from_url(server) as client:
            damage_redis(client, prefix, old, new)
    else:
        damage_sqlite(Path(environment["SMARTHOUSE_DATA_DIR"], "state.db"), old, new)


def damage_sqlite(path: Path, old: bytes, new: bytes) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        for table in ("documents", "entries"):
            other.execute(f"UPDATE {table} SET value = ?2 WHERE value = ?1", (old, new))


def damage_redis(client: Any, prefix: str, old: bytes, new: bytes) -> None:
    change_redis(
        client,
        prefix,
        lambda packed: b" ".join([*packed.split(b" ", 2)[:2], new]) if packed.split(b" ", 2)[2] == old else packed,
        lambda fields: {**fields, b"v": new} if fields[b"v"] == old else fields,
    )


def age_redis(client: Any, prefix: str) -> None:
    """Write everything as an earlier version did: without checksums."""
    change_redis(
        client, prefix, lambda packed: b"%d %b" % (int(packed[11:27]), packed[28:]), lambda fields: {b"v": fields[b"v"]}
    )


def change_redis(
    client: Any,
    prefix: str,
    document: Callable[[bytes], bytes],
    entry: Callable[[dict[bytes, bytes]], dict[bytes, bytes]],
) -> None:
    """Change each document and each entry as it is stored."""
    for key in client.scan_iter(match=f"{prefix}:*"):
        if key.endswith(b":documents"):
            for name, packed in client.hgetall(key).items():
                client.hset(key, name, document(packed))
        elif b":log:" in key:
            entries = client.xrange(key)
            client.delete(key)
            for id_, fields in entries:
                client.xadd(key, entry(fields), id_)
