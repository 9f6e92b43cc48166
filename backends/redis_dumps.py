"""Read all that a store keeps in Redis at one moment.

How a dump is of one moment though others write, and holds them up only briefly:

1. Each space has a set `changed` while it is read, where a commit notes what it changes. It expires, should this process die.
2. Every space is read while the others go on, then what has changed meanwhile, until that is little.
3. The servers are told to let writers wait. That ends by itself, should this process die.
4. What has changed since is read again, and spaces that are new. Spaces that are gone are forgotten.
5. Writers go on. All was put together in a temporary database on this machine's disk, from which the dump comes.

If a set is not there any more, its space is read as a whole while writers wait. A script counts as a write, so that the
service's own reads wait too; therefore a dump runs no script.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote

import redis

from backends.dump_spool import Spool
from backends.dumps import Dumped
from backends.parts import name_sum
from backends.redis_connections import Client
from backends.redis_loads import send
from backends.redis_servers import found, primaries, still, time_us
from backends.redis_sums import RedisSums

_PAGE: Final = 2000
_FOLLOWED_SECONDS: Final = 600
_RENEWED_SECONDS: Final = 60.0
_LITTLE: Final = 200
_ROUNDS: Final = 10
_DOCUMENT: Final = b"document\0"
_ENTRY: Final = b"entry\0"

Place = tuple[int, bytes]


def spaces(client: Client, prefix: str) -> Iterator[str]:
    """List the spaces of a store."""
    for server, _ in primaries(client, prefix):
        yield from map(space_of, names_of_spaces(server, prefix))


def dumped(client: Client, prefix: str, around: AbstractContextManager[object], sums: RedisSums) -> Iterator[Dumped]:
    """Read all spaces as they are at one moment. Raises the driver's errors, and `StoreUnavailable`, also `PartDamaged`."""
    servers = [server for server, _ in primaries(client, prefix)]
    with closing(Spool()) as spool:
        reading = _Reading(servers, prefix, spool, sums)
        try:
            reading.read_all()
            reading.follow()
            with around:
                reading.follow()
                with still(servers) as keep_still:
                    rest = reading.rest(keep_still)
            reading.take_in(rest)
        finally:
            reading.end()
        yield from spool.dumped()


@dataclass(slots=True)
class _Seen:
    """Holds what was read of a space: its version, and the last sequence of each of its logs."""

    version: int
    logs: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Answers:
    """Holds what the server told of a space: everything, or what is noted in `changed`."""

    place: Place
    is_whole: bool
    counters: dict[bytes, bytes]
    now_us: int
    documents: list[dict[bytes, bytes | None]] = field(default_factory=list)
    entries: list[tuple[bytes, list[Any]]] = field(default_factory=list)
    dropped: list[tuple[bytes, bytes]] = field(default_factory=list)


class _Reading:
    """Reads the spaces of a store into a spool, and what changes meanwhile."""

    def __init__(self, servers: list[redis.Redis], prefix: str, spool: Spool, sums: RedisSums) -> None:
        self._servers, self._prefix, self._spool, self._sums = servers, prefix, spool, sums
        self._token = secrets.token_bytes(8)
        self._seen: dict[Place, _Seen] = {}
        self._renewed_at = time.monotonic()

    def read_all(self) -> None:
        """Read every space, and have its changes noted from now on."""
        for number, server in enumerate(self._servers):
            for space in names_of_spaces(server, self._prefix):
                place = number, space
                changed = self._key(space, b"changed")
                send(server, [("SADD", changed, self._token), ("EXPIRE", changed, _FOLLOWED_SECONDS)])
                for answers in self._whole(place, self._renew):
                    self._take_in(answers)

    def follow(self) -> None:
        """Read what has changed since, again and again, until it is little."""
        for _ in range(_ROUNDS):
            count = 0
            for place, version in self._versions(self._seen).items():
                if self._seen[place].version != version:
                    noted = self._noted(place)
                    if len(noted) > 1:
                        self._servers[place[0]].execute_command(
                            "SREM", self._key(place[1], b"changed"), *(noted - {self._token})
                        )
                    count += len(noted)
                    if self._token in noted:  # else it is read as a whole in the end
                        self._take_in(self._changes(place, noted, self._renew))
                        self._seen[place].version = version  # what came since is noted, and read next time
            if count <= _LITTLE:
                return

    def rest(self, keep_still: Callable[[], None]) -> list[_Answers]:
        """Ask for what has changed since, while writers wait, and leave the answers as they come."""
        there = [
            (number, space) for number, server in enumerate(self._servers) for space in names_of_spaces(server, self._prefix)
        ]
        rest = [_Answers(place, True, {}, 0) for place in self._seen.keys() - set(there)]
        for place, version in self._versions(there).items():
            keep_still()
            if place not in self._seen or self._token not in (noted := self._noted(place)):
                rest += self._whole(place, keep_still)
            elif self._seen[place].version != version:
                rest.append(self._changes(place, noted, keep_still))
        return rest

    def take_in(self, rest: list[_Answers]) -> None:
        """Take in what was asked for while writers waited."""
        while rest:
            self._take_in(rest.pop(0))

    def end(self) -> None:
        """Have changes noted no more."""
        for number, server in enumerate(self._servers):
            keys = (self._key(space, b"changed") for at, space in self._seen if at == number)
            while some := [*islice(keys, _PAGE)]:
                send(server, [("UNLINK", key) for key in some])

    def _whole(self, place: Place, go_on: Callable[[], None]) -> Iterator[_Answers]:
        """Ask for a whole space, in pieces; the first begins it."""
        server, key = self._servers[place[0]], self._key(place[1], b"")
        counters = server.execute_command("HGETALL", key + b"counters")
        first = _Answers(place, True, counters, time_us(server))
        yield first
        cursor = None
        while cursor != 0:
            go_on()
            cursor, page = server.execute_command("HSCAN", key + b"documents", cursor or 0, "COUNT", _PAGE)
            yield _Answers(place, False, counters, first.now_us, documents=[page])
        for log in filter(_is_log, counters):
            for page in self._pages(place, log, 0, go_on):
                yield _Answers(place, False, counters, first.now_us, entries=[(log, page)])

    def _changes(self, place: Place, noted: set[bytes], go_on: Callable[[], None]) -> _Answers:
        """Ask for what has changed in a space."""
        server, key = self._servers[place[0]], self._key(place[1], b"")
        counters = server.execute_command("HGETALL", key + b"counters")
        answers = _Answers(place, False, counters, time_us(server))
        names = (name.removeprefix(_DOCUMENT) for name in noted if name.startswith(_DOCUMENT))
        while some := [*islice(names, _PAGE)]:
            go_on()
            answers.documents.append(dict(zip(some, server.execute_command("HMGET", key + b"documents", *some), strict=True)))
        for log in filter(_is_log, counters):
            if int(counters[log]) != (last := self._seen[place].logs.get(log, 0)):
                answers.entries += ((log, page) for page in self._pages(place, log, last, go_on))
        for name in noted:
            if name.startswith(_ENTRY):
                log, _, id_ = name.removeprefix(_ENTRY).partition(b"\0")
                answers.dropped.append((log, id_))
        return answers

    def _pages(self, place: Place, log: bytes, after: int, go_on: Callable[[], None]) -> Iterator[list[Any]]:
        is_over = False
        while not is_over:
            go_on()
            words = "XRANGE", self._key(place[1], log), f"{after + 1}-0", "+", "COUNT", _PAGE
            page = self._servers[place[0]].execute_command(*words)
            yield page
            after, is_over = _sequence(page[-1][0]) if page else after, len(page) < _PAGE

    def _take_in(self, answers: _Answers) -> None:
        space, spool = space_of(answers.place[1]), self._spool
        if answers.is_whole:
            spool.forget(space)
            self._seen[answers.place] = _Seen(0)
        seen = self._seen[answers.place]
        if answers.counters:
            seen.version = int(answers.counters.get(b"version", 0))
            spool.version(space, seen.version)
        clock = time.time() - answers.now_us / 1e6
        for page in answers.documents:
            spool.documents(
                space, (self._row(space, name, packed, clock) for name, packed in page.items() if packed is not None)
            )
            spool.remove(space, (name.decode() for name, packed in page.items() if packed is None))
        for log, sequence in ((log, int(last)) for log, last in answers.counters.items() if _is_log(log)):
            if seen.logs.get(log) != sequence:
                spool.log(space, log[4:].decode(), sequence)
                seen.logs[log] = sequence
        for log, entries in answers.entries:
            name = log[4:].decode()
            names = name_sum(space, name)
            read = (self._sums.entry(space, name, names, *entry) for entry in entries)
            spool.entries(space, name, ((entry.sequence, entry.value) for entry in read))
        for log, id_ in answers.dropped:
            spool.drop(space, log.decode(), _sequence(id_))

    def _row(self, space: str, name: bytes, packed: bytes, clock: float) -> tuple[str, int, float | None, bytes]:
        """Make a document's row. clock: how far this machine's clock is ahead of the server's, in seconds."""
        key = name.decode()
        version, expires_us, value = self._sums.document(space, key, packed)
        return key, version, expires_us / 1e6 + clock if expires_us else None, value

    def _noted(self, place: Place) -> set[bytes]:
        return set(self._servers[place[0]].execute_command("SMEMBERS", self._key(place[1], b"changed")))

    def _versions(self, places: Iterable[Place]) -> dict[Place, int]:
        told = dict[Place, int]()
        for number, server in enumerate(self._servers):
            names = (space for at, space in places if at == number)
            while some := [*islice(names, _PAGE)]:
                asked = send(server, [("HGET", self._key(space, b"counters"), "version") for space in some])
                told |= {(number, space): int(version or 0) for space, version in zip(some, asked, strict=True)}
        return told

    def _renew(self) -> None:
        """Keep the sets from expiring."""
        if time.monotonic() - self._renewed_at > _RENEWED_SECONDS:
            self._renewed_at = time.monotonic()
            for number, server in enumerate(self._servers):
                keys = (self._key(space, b"changed") for at, space in self._seen if at == number)
                while some := [*islice(keys, _PAGE)]:
                    send(server, [("EXPIRE", key, _FOLLOWED_SECONDS) for key in some])

    def _key(self, space: bytes, name: bytes) -> bytes:
        return b"%s:{%s}:%s" % (self._prefix.encode(), space, name)


def names_of_spaces(server: redis.Redis, prefix: str) -> Iterator[bytes]:
    begun = set[bytes]()
    for space, kind in found([server], prefix):
        if kind == "counters" and space not in begun:
            begun.add(space)
            yield space


def _is_log(field_: bytes) -> bool:
    return field_.startswith(b"log:")


def _sequence(id_: bytes) -> int:
    return int(id_.partition(b"-")[0])


def space_of(space: bytes) -> str:
    return unquote(space.decode())
