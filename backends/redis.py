"""Keep documents and logs in Redis: one server, a master that Sentinel names, or a Cluster.

The keys of a space are named `<prefix>:{<space>}:...`, so that a Cluster keeps it together; in the space's name `%`, `{` and
`}` are written as `%25`, `%7B` and `%7D`:

    :documents      hash, key -> `<head> <expires_us> <value>`, see `backends.redis_sums`
    :index          sorted set of the keys, for scans
    :expiries       sorted set of the keys that expire, by when: microseconds since 1970 by the server's clock
    :counters       hash: `version` of the space, `log:<log>` the last sequence given
    :dropped        set of logs that lost entries, which a scrub has to rebuild
    :changed        set of what changed while a dump reads the space; it expires
    :log:<log>      a stream; an entry's id is `<sequence>-0`, its value the field `v`, its checksum `s`

Any client may read a log, through consumer groups too (XGROUP CREATE, XREADGROUP, XACK change nothing that is kept here);
entries go when the service drops them. Nothing else may write to these keys.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import replace

import redis

from backends import redis_dumps, redis_files, redis_loads
from backends.checks import check_change, check_names
from backends.circuits import Circuit, FailsFast
from backends.counters import passed
from backends.dumps import Dumped
from backends.own_files import OwnFile, ShowsFiles
from backends.parts import checksum, name_sum, value_sum
from backends.ports import (
    Change,
    Committed,
    Conflict,
    CountsWindows,
    Document,
    Entry,
    KeepsSums,
    NamesLogs,
    Part,
    PartDamaged,
    StateStore,
    StoreUnavailable,
)
from backends.redis_connections import RedisClients
from backends.redis_scripts import COMMIT, COUNT, EXPIRE, GET, GET_MANY, NOW, REBUILD, SCAN, SUM, read_scripts
from backends.redis_servers import condition, every_server, found, primaries, rewrite, room_of
from backends.redis_sums import RedisSums, logs_of, pages, sequence_of, unsummed
from backends.redis_urls import redis_url

_LARGEST = 2**63 - 1
_LONGEST_US = 1 << 51
_PAGE = 1000
_PAGE_BYTES = 4 << 20
_WITHIN_SPACE = str.maketrans({"%": "%25", "{": "%7B", "}": "%7D"})


class RedisState(FailsFast, StateStore, NamesLogs, CountsWindows, KeepsSums, ShowsFiles):
    """Keeps documents and logs in Redis or Valkey. `rediss` instead of `redis` is TLS:

    - `redis://[user:password@]host:port/database`
    - `redis+sentinel://[user:password@]host:port,host:port/master/database`
    - `redis+cluster://[user:password@]host:port,host:port`

    Options after `?`: `prefix=smarthouse` of every key; `timeout_seconds=2` to connect and for each answer;
    `scrub_seconds=120`; over TLS `ca`, and `cert` and `key` of this client, all paths of PEM files; with Sentinel
    `sentinel_username` and `sentinel_password`. Special characters in a password are percent-encoded.

    A commit is as durable as the server: set `appendonly yes` and `appendfsync always`. A replica that replaces a master may
    lack the last commits, which are lost then. A full server (`maxmemory`, `noeviction`) refuses commits that append, or that
    put more documents without a lifetime than they delete; all others pass, those that add to counters too.
    """

    def __init__(self, url: str) -> None:
        read_scripts()
        self._url = redis_url(url)
        self._clients = RedisClients(self._url)
        self._run, self._ask = self._clients.run, self._clients.ask
        self._sums = RedisSums()
        self._looking, self._looks = threading.Lock(), iter(list[list[Part]]())

    def circuit_of(self, is_write: bool, place: str) -> Circuit:
        # A server of a Cluster that hangs holds some of the spaces.
        return self._circuit(hash(place) % 64 if self._url.kind == "cluster" else 0)

    def get(self, space: str, key: str) -> Document | None:
        check_names(space, key)
        packed = self._run(GET, [self._key(space, "documents")], key.encode())
        return None if packed is None else self._document(space, key, packed)

    def get_many(self, space: str, keys: Sequence[str]) -> list[Document | None]:
        check_names(space, *keys)
        found: list[bytes | None] = []
        for start in range(0, len(keys), _PAGE):
            names = [key.encode() for key in keys[start : start + _PAGE]]
            found += self._run(GET_MANY, [self._key(space, "documents")], *names)
        return [None if packed is None else self._document(space, key, packed) for key, packed in zip(keys, found, strict=True)]

    def scan(self, space: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[tuple[str, Document]]:
        check_names(space)
        keys = [self._key(space, name) for name in ("documents", "index")]
        least, begun = prefix.encode(), after.encode()
        low = b"(" + begun if begun >= least else b"[" + least
        high = b"(" + least + b"\xff" if least else b"+"
        documents: list[tuple[str, Document]] = []
        while len(documents) < limit:
            last, page = self._run(SCAN, keys, low, high, min(limit - len(documents), _PAGE), _PAGE_BYTES)
            names = [name.decode(errors="replace") for name in page[::2]]
            pairs = zip(names, page[1::2], strict=True)
            documents += self._sums.damaged.whole(lambda pair: (pair[0], self._document(space, *pair)), pairs)
            if last is None:
                break
            low = b"(" + last
        return documents

    def read(self, space: str, log: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        check_names(space, log)
        key, names, entries = self._key(space, f"log:{log}"), name_sum(space, log), list[Entry]()
        after = max(after, 0)
        while len(entries) < limit and after < _LARGEST:
            count = min(limit - len(entries), _PAGE)
            page = self._ask("XRANGE", key, f"{after + 1}-0", "+", "COUNT", count)
            entries += self._sums.damaged.whole(lambda one: self._sums.entry(space, log, names, *one), page)
            if len(page) < count:
                break
            after = sequence_of(page[-1][0])
        return entries

    def last_sequence(self, space: str, log: str) -> int:
        check_names(space, log)
        return int(self._ask("HGET", self._key(space, "counters"), f"log:{log}") or 0)

    def log_name(self, space: str, log: str) -> str:
        check_names(space, log)
        return self._key(space, f"log:{log}")

    def count_in_window(self, name: str, count: int, seconds: float) -> tuple[int, float]:
        # Of no space, so that neither a dump nor a scrub looks at it.
        counted, left = self._run(COUNT, [f"{self._url.prefix}:rate:{name}"], count, math.ceil(seconds * 1000), repeat=False)
        return int(counted), int(left) / 1000

    def commit(self, space: str, change: Change) -> Committed:
        check_change(space, change)
        touched = dict.fromkeys(log for log, _ in (*change.appends, *change.drops))
        logs = {log: number for number, log in enumerate(touched, 1)}
        before = self._key(space, "log:")
        keys = [self._key(space, name) for name in ("documents", "index", "expiries", "counters", "dropped", "changed")]
        version, *rest = self._run(
            COMMIT,
            [*keys, *(before + log for log in logs)],
            *_arguments(space, change, logs, len(before.encode())),
            repeat=False,
        )
        if version == -2:
            raise self._sums.damaged.fault(Part(space, rest[0].decode()))
        if version < 0:
            raise passed(change.adds[int(rest[0]) - 1], int(rest[1]))
        if not version:
            key = rest[0].decode()
            raise Conflict(f"{key!r} in {space!r} has version {int(rest[1])}, not {change.expect[key]}")
        return Committed(version, tuple(rest))

    def erase(self, space: str) -> None:
        check_names(space)
        counters = self._key(space, "counters")
        logs = [name for name in self._ask("HKEYS", counters) if name.startswith(b"log:")]
        names = ("documents", "index", "expiries", "dropped", "changed")
        # The counters last: they tell which logs there are.
        self._ask("UNLINK", *(self._key(space, name) for name in names), *(self._key(space, "").encode() + log for log in logs))
        self._ask("UNLINK", counters)

    def scrub(self) -> None:
        deadline = time.monotonic() + self._url.scrub_seconds
        with self._clients.translated(), every_server(self._url, self._clients.client()) as servers:
            # A long log is rebuilt at about 10 µs an entry, and the server answers nobody meanwhile.
            with closing(RedisClients(replace(self._url, timeout_seconds=self._url.scrub_seconds))) as patient:
                for space, kind in found(servers, self._url.prefix):
                    if kind == "expiries":
                        self._expire(patient, space, deadline)
                    elif kind == "dropped":
                        self._rebuild(patient, space)
                    elif kind == "changed":
                        patient.ask("UNLINK", self._tagged(space, "changed"))
            rewrite(servers, deadline)

    def check(self) -> str:
        try:
            told = self._condition()
        except StoreUnavailable:
            if self._url.kind != "cluster":
                raise
            self._clients.close()  # another server may have taken over, which nothing but a use would notice
            told = self._condition()
        self._look_on()
        return told

    def size_bytes(self) -> int:
        with self._clients.translated():
            servers = primaries(self._clients.client(), self._url.prefix)
            return sum(int(server.info("memory")["used_memory"]) for server, _ in servers)

    def spaces(self) -> Iterator[str]:
        with self._clients.translated():
            yield from redis_dumps.spaces(self._clients.client(), self._url.prefix)

    def dump(self, around: AbstractContextManager[object] = nullcontext()) -> Iterator[Dumped]:  # noqa: B008
        with self._clients.translated():
            yield from redis_dumps.dumped(self._clients.client(), self._url.prefix, around, self._sums)

    def load(self, dump: Iterable[Dumped]) -> None:
        with self._clients.translated():
            client = self._clients.client()
        redis_loads.load(client, self._url.prefix, dump, self._key, self._clients.translated)

    def own_files(self, tables: Collection[str]) -> Iterator[OwnFile]:
        with self._clients.translated(), every_server(self._url, self._clients.client()) as servers:
            yield from redis_files.own_files(servers, self._url.prefix)

    def damaged(self) -> list[Part]:
        return self._sums.damaged.left(self)

    def reading_around(self) -> AbstractContextManager[None]:
        return self._sums.damaged.reading_around()

    def look_through(self) -> Iterator[Part]:
        for parts in self._pages():
            yield from parts

    def add_sums(self) -> Iterator[int]:
        with self._clients.translated():
            for server, name in self._spaces():
                yield from self._sum_documents(server, name)
                yield from self._sum_logs(server, name)

    def close(self) -> None:
        self._clients.close()

    def now(self) -> float:
        return int(self._run(NOW, [self._key("leases", "documents")])) / 1e6

    def free_bytes(self) -> int | None:
        with self._clients.translated():
            left = [room_of(server) for server, _ in primaries(self._clients.client(), self._url.prefix)]
        return min((one for one in left if one is not None), default=None)

    def _condition(self) -> str:
        with self._clients.translated():
            conditions = [condition(*one) for one in primaries(self._clients.client(), self._url.prefix)]
        versions = " and ".join(dict.fromkeys(version for version, _ in conditions))
        warnings = dict.fromkeys(warning for _, warnings in conditions for warning in warnings)
        return "; ".join([f"{versions} can be written to", *(f"warning: {warning}" for warning in warnings)])

    def _document(self, space: str, key: str, packed: bytes) -> Document:
        version, _, value = self._sums.document(space, key, packed)
        return Document(value, version)

    def _spaces(self) -> Iterator[tuple[redis.Redis, bytes]]:
        for server, _ in primaries(self._clients.client(), self._url.prefix):
            for name in redis_dumps.names_of_spaces(server, self._url.prefix):
                yield server, name

    def _pages(self) -> Iterator[list[Part]]:
        """Compare everything with its checksums, page by page; the damaged parts of each page."""
        with self._clients.translated():
            for server, name in self._spaces():
                yield from self._sums.look(server, redis_dumps.space_of(name), self._tagged(name, ""))

    def _look_on(self) -> None:
        """Compare one more page. What is damaged is remembered."""
        if self._looking.acquire(blocking=False):
            try:
                if next(self._looks, None) is None:
                    self._looks = self._pages()
            finally:
                self._looking.release()

    def _sum_documents(self, server: redis.Redis, name: bytes) -> Iterator[int]:
        space, key, cursor = redis_dumps.space_of(name), self._tagged(name, "documents"), None
        while cursor != 0:
            cursor, page = server.execute_command("HSCAN", key, cursor or 0, "COUNT", _PAGE)
            told = list[bytes | str | int]()
            for document, packed in unsummed(page):
                with suppress(PartDamaged):
                    version, _, value = self._sums.document(space, document.decode(), packed)
                    told += (document, version, name_sum(space, document.decode()) + value_sum(value))
            yield self._run(SUM, [key], *told) if told else 0

    def _sum_logs(self, server: redis.Redis, name: bytes) -> Iterator[int]:
        space = redis_dumps.space_of(name)
        for log in logs_of(server, self._tagged(name, "")):
            key, names, told = self._tagged(name, "") + log, name_sum(space, log[4:].decode()), list[bytes | int]()
            for page in pages(server, key):
                for id_, fields in page:
                    if fields.keys() == {b"v"}:
                        told += (id_, checksum(names, fields[b"v"], sequence_of(id_)))
            if told:
                # The server answers nobody meanwhile: about 10 µs for each entry of the log.
                self._run(REBUILD, [self._tagged(name, "dropped"), key], log[4:], *told)
            yield len(told) // 2

    def _expire(self, patient: RedisClients, space: bytes, deadline: float) -> None:
        keys = [self._tagged(space, name) for name in ("documents", "index", "expiries")]
        while patient.run(EXPIRE, keys):
            if time.monotonic() > deadline:
                raise StoreUnavailable("Redis: what is timed out is not removed in time")

    def _rebuild(self, patient: RedisClients, space: bytes) -> None:
        dropped = self._tagged(space, "dropped")
        for log in patient.ask("SMEMBERS", dropped):
            patient.run(REBUILD, [dropped, self._tagged(space, "log:") + log], log)

    def _key(self, space: str, name: str) -> str:
        return f"{self._url.prefix}:{{{space.translate(_WITHIN_SPACE)}}}:{name}"

    def _tagged(self, space: bytes, name: str) -> bytes:
        return b"%s:{%s}:%s" % (self._url.prefix.encode(), space, name.encode())


def _arguments(space: str, change: Change, logs: dict[str, int], before: int) -> list[bytes | str | int]:
    """Write the change as `COMMIT` takes it. A key that is put and deleted is only deleted."""
    deletes = dict.fromkeys(change.deletes)
    puts = [put for put in change.puts if put.key not in deletes]
    drops: dict[int, list[str]] = {}
    for log, sequence in change.drops:
        if 0 < sequence <= _LARGEST:
            drops.setdefault(logs[log], []).append(f"{sequence}-0")
    counts = change.expect, puts, deletes, change.appends, drops, change.adds
    told: list[bytes | str | int] = [before, *map(len, counts)]
    for key, version in change.expect.items():
        told += (key, f"{version:d}")
    for put in puts:
        told += (put.key, _lifetime(put.ttl_seconds), name_sum(space, put.key) + value_sum(put.value), put.value)
    told += deletes
    names = {log: name_sum(space, log) for log in logs}
    for log, value in change.appends:
        told += (logs[log], names[log] + value_sum(value), value)
    for number, ids in drops.items():
        told += (number, len(ids), *ids)
    for add in change.adds:
        most = "" if add.most is None else add.most
        told += (add.key, _lifetime(add.ttl_seconds), most, name_sum(space, add.key), len(add.amounts), *add.amounts)
    return told


def _lifetime(seconds: float | None) -> str | int:
    if seconds is None:
        return ""
    return math.ceil(max(min(seconds * 1e6, _LONGEST_US), -_LONGEST_US))
