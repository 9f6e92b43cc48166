"""The checksums in Redis, and a look through all that a store keeps there.

A document is `<head> <expires_us> <value>`. The head is 27 digits: the checksum and 10**9, a `7`, and the version. An earlier
version wrote the version alone, which has 16 digits at most; it can read these heads, though it takes them for great versions.
An expiry is `0` or has 16 digits. So no single bit makes one form the other, nor what lasts something that is over.

An entry of a stream has the fields `v` and `s`, its value and its checksum. An earlier version wrote no `s`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import redis

from backends.parts import checksum, name_sum
from backends.ports import Entry, Part, PartDamaged
from backends.sums import DamagedParts

_LEAST_EXPIRY_US: Final = 10**15
_MOST_EXPIRY_US: Final = 10**16 - 1
_ABOVE: Final = 10**9
_MARK: Final = ord("7")
_PAGE: Final = 500


def packed(space: str, key: str, version: int, expires_us: int, value: bytes) -> bytes:
    """Write a document as the scripts do. expires_us: 0 for ever."""
    told = checksum(name_sum(space, key), value, version, expires_us) + _ABOVE
    return b"%d7%016d %d %s" % (told, version, expires_us, value)


def expiry(time_us: int) -> int:
    """Return the nearest time that is written with 16 digits."""
    return min(max(time_us, _LEAST_EXPIRY_US), _MOST_EXPIRY_US)


class RedisSums:
    """Compares what is read with its checksum. Raises `PartDamaged`, and remembers each."""

    def __init__(self) -> None:
        self.damaged = DamagedParts()

    def document(self, space: str, key: str, found: bytes) -> tuple[int, int, bytes]:
        """Take a document apart: version, expiry, value."""
        head, _, rest = found.partition(b" ")
        expires, _, value = rest.partition(b" ")
        if head.isdigit() and (expires == b"0" or (len(expires) == 16 and expires.isdigit())):
            if len(head) == 27 and head[10] == _MARK:
                version, expires_us = int(head[11:]), int(expires)
                if int(head[:10]) - _ABOVE == checksum(name_sum(space, key), value, version, expires_us):
                    return version, expires_us, value
            elif len(head) <= 16:
                return int(head), int(expires), value
        raise self.damaged.fault(Part(space, key))

    def entry(self, space: str, log: str, names: int, id_: bytes, fields: Mapping[bytes, bytes]) -> Entry:
        """Make an entry. names: the log's `name_sum`."""
        sequence, value, told = sequence_of(id_), fields.get(b"v"), fields.get(b"s")
        if value is not None and len(fields) == (1 if told is None else 2):
            made = None if told is None else b"%d" % checksum(names, value, sequence)
            if told == made:
                return Entry(sequence, value)
        raise self.damaged.fault(Part(space, log, sequence))

    def look(self, server: redis.Redis, space: str, key: bytes) -> Iterator[list[Part]]:
        """Compare all of a space, page by page. key: what precedes the names of its keys."""
        cursor = None
        while cursor != 0:
            cursor, page = server.execute_command("HSCAN", key + b"documents", cursor or 0, "COUNT", _PAGE)
            lost = self._not_in_index(server, space, key, list(page)) if page else []
            yield [*lost, *_met(lambda one: self.document(space, _text(one[0]), one[1]), page.items())]
        for log in logs_of(server, key):
            name = _text(log[4:])
            names = name_sum(space, name)
            for page in pages(server, key + log):
                yield _met(lambda one, name=name, names=names: self.entry(space, name, names, *one), page)  # type: ignore[misc]

    def _not_in_index(self, server: redis.Redis, space: str, key: bytes, names: list[bytes]) -> list[Part]:
        """List the documents that no scan would find."""
        scores = server.execute_command("ZMSCORE", key + b"index", *names)
        lost = list[Part]()
        for name in (name for name, score in zip(names, scores, strict=True) if score is None):
            with server.pipeline(transaction=True) as both:
                both.execute_command("HEXISTS", key + b"documents", name)
                both.execute_command("ZSCORE", key + b"index", name)
                is_there, score = both.execute()
            if is_there and score is None:
                lost.append(self.damaged.fault(Part(space, _text(name))).part)
        return lost


def logs_of(server: redis.Redis, key: bytes) -> list[bytes]:
    """List the logs of a space: `log:` and the name."""
    return [name for name in server.execute_command("HKEYS", key + b"counters") if name.startswith(b"log:")]


def pages(server: redis.Redis, log: bytes) -> Iterator[list[Any]]:
    """Read a stream, page by page."""
    after = 0
    while page := server.execute_command("XRANGE", log, f"{after + 1}-0", "+", "COUNT", _PAGE):
        yield page
        after = sequence_of(page[-1][0])


def unsummed(page: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    """List the documents that an earlier version wrote."""
    return ((name, found) for name, found in page.items() if found.find(b" ") <= 16)


def sequence_of(id_: bytes) -> int:
    return int(id_.partition(b"-")[0])


def _met(compare: Callable[[Any], object], items: Any) -> list[Part]:
    parts = list[Part]()
    for one in items:
        try:
            compare(one)
        except PartDamaged as fault:
            parts.append(fault.part)
    return parts


def _text(name: bytes) -> str:
    return name.decode(errors="replace")
