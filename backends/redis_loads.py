"""Write another store's content into Redis, in place of all that a store keeps there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final

from backends.dumps import Dumped, DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.parts import checksum, name_sum
from backends.redis_connections import Client
from backends.redis_servers import primaries, time_us
from backends.redis_sums import expiry, packed

_PAGE: Final = 2000
_BATCH_COMMANDS: Final = 2000
_BATCH_BYTES: Final = 4 << 20

Words = tuple[bytes | str | int, ...]


def load(
    client: Client,
    prefix: str,
    dump: Iterable[Dumped],
    key_of: Callable[[str, str], str],
    translated: Callable[[], AbstractContextManager[object]],
) -> None:
    """Replace all spaces. key_of: names the key of a space's part. translated: turns the driver's errors into the port's."""
    with translated():
        now_us = _clear(client, prefix)
    begun = set[str]()
    for batch in _batches(words for one in _placed(dump) for words in _commands(*one, begun, key_of, now_us)):
        with translated():
            send(client, batch)


def _clear(client: Client, prefix: str) -> int:
    """Remove all spaces; the time by the server's clock, in microseconds since 1970."""
    now_us = 0
    for server, _ in primaries(client, prefix):
        now_us = time_us(server)
        keys = server.scan_iter(match=f"{prefix}:{{*", count=_PAGE)
        while some := [*islice(keys, _PAGE)]:
            send(server, [("UNLINK", key) for key in some])
    return now_us


def send(client: Client, commands: Iterable[Words]) -> list[Any]:
    """Send commands in one go; their answers."""
    with client.pipeline(transaction=False) as pipe:
        for words in commands:
            pipe.execute_command(*words)
        answers: list[Any] = pipe.execute()
    return answers


def _placed(dump: Iterable[Dumped]) -> Iterator[tuple[Dumped, str, str]]:
    """Give each record with its space and its log."""
    space = log = ""
    for one in dump:
        if isinstance(one, DumpedSpace):
            space = one.space
        elif isinstance(one, DumpedLog):
            log = one.log
        yield one, space, log


def _commands(
    one: Dumped, space: str, log: str, begun: set[str], key_of: Callable[[str, str], str], now_us: int
) -> Iterator[Words]:
    """Give the commands that write a record."""
    match one:
        case DumpedSpace():
            if space in begun:
                for name in (
                    "documents",
                    "index",
                    "expiries",
                    "counters",
                    *(f"log:{name}" for name in _logs_begun(begun, space)),
                ):
                    yield "UNLINK", key_of(space, name)
            begun.add(space)
            if one.version:
                yield "HSET", key_of(space, "counters"), "version", one.version
        case DumpedDocument():
            expires_us = 0 if one.ttl_seconds is None else expiry(now_us + int(one.ttl_seconds * 1e6))
            document = packed(space, one.key, one.version, expires_us, one.value)
            yield "HSET", key_of(space, "documents"), one.key, document
            yield "ZADD", key_of(space, "index"), 0, one.key
            if expires_us:
                yield "ZADD", key_of(space, "expiries"), expires_us, one.key
        case DumpedLog():
            begun.add(f"{space}\0{log}")
            yield "HSET", key_of(space, "counters"), f"log:{log}", one.sequence
        case DumpedEntry():
            told = checksum(name_sum(space, log), one.value, one.sequence)
            yield "XADD", key_of(space, f"log:{log}"), f"{one.sequence}-0", "v", one.value, "s", told


def _logs_begun(begun: set[str], space: str) -> list[str]:
    return [name.partition("\0")[2] for name in begun if name.startswith(f"{space}\0")]


def _batches(commands: Iterable[Words]) -> Iterator[list[Words]]:
    batch, size = list[Words](), 0
    for words in commands:
        batch.append(words)
        size += sum(len(word) for word in words if not isinstance(word, int))
        if len(batch) >= _BATCH_COMMANDS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
