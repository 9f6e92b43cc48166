"""The promises every storage backend keeps.

Two ports hold everything durable: `StateStore` (small documents and append-only logs) and `ObjectStore` (bytes of any
size under a key). The docstrings are the contract; `tests/backends` holds every backend to them.

Both are safe to share between threads, and, except for `memory://`, between processes. A constructor opens nothing:
connections are made on first use, so that a store may be built before a fork and used after it. What a driver raises
reaches no caller: an outage is `StoreUnavailable`, a store that is full is `StoreFull`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final


class StoreError(Exception):
    """Says that a storage backend could not do what was asked; nothing was changed unless the subclass says otherwise."""


class StoreUnavailable(StoreError):
    """Says that the store does not answer, is locked, or failed; whether a write in flight took effect is not known."""


class StoreFull(StoreUnavailable):
    """Says that the store has no room for the write; reads and the deletion of objects still work."""


class StoreUnfit(StoreUnavailable):
    """Says that the store answers, but is set up so that it cannot keep a promise; the message says what must be changed."""


class Conflict(StoreError):
    """Says that a condition of a commit or a put did not hold; nothing of it was stored."""


class NoSuchObject(StoreError):
    """Says that there is no object under the key."""


@dataclass(frozen=True, slots=True)
class Document:
    """Holds a document's value, and the version that its last write gave it."""

    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Holds one entry of a log: its value, and the sequence by which it is read and dropped."""

    sequence: int
    value: bytes


ABSENT: Final = 0
"""The version a document has before it exists: `expect={key: ABSENT}` asks that the key be free."""


@dataclass(frozen=True, slots=True)
class Put:
    """Asks a commit to store `value` under `key`; with `ttl_seconds`, only for so long by the store's own clock."""

    key: str
    value: bytes
    ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Says what one commit checks and then does, in the order of the fields: a key that is put and deleted is gone.

    expect: document key -> the version it must have (`ABSENT`: none), whether or not the commit also writes it.
    puts: documents stored; deletes: document keys removed (a key that is not there is fine).
    appends: (log, value) pairs, appended in order.
    drops: (log, sequence) pairs, entries removed (one that is not there is fine).
    """

    expect: dict[str, int] = field(default_factory=dict)
    puts: tuple[Put, ...] = ()
    deletes: tuple[str, ...] = ()
    appends: tuple[tuple[str, bytes], ...] = ()
    drops: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """Tells the caller of a commit what it was given.

    version: what every document that it put now carries; sequences: one for each append, in order.
    """

    version: int
    sequences: tuple[int, ...] = ()


class StateStore(ABC):
    """Stores small documents, with compare-and-set and ordered scans, and append-only logs, in *spaces*.

    A space is the unit of atomicity: one commit touches one space, and a backend that shards keeps a space together.
    Space, key and log names are text without NUL, 1 to 512 bytes of UTF-8; anything else is a `ValueError` before the store
    is asked. A key may be used in two spaces, and a log may bear the name of a document. Values are any bytes, small (a
    megabyte at most): large bytes belong to an object.
    """

    @abstractmethod
    def get(self, space: str, key: str) -> Document | None:
        """The document under `key`, or None when there is none or its time is over."""

    @abstractmethod
    def scan(self, space: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[tuple[str, Document]]:
        """Up to `limit` live documents whose key starts with `prefix` and is greater than `after`, by key in UTF-8 byte order.

        Pages read one after another hold every document that was there throughout, once.
        """

    @abstractmethod
    def read(self, space: str, log: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Up to `limit` entries with a sequence above `after`, ascending.

        When an entry is visible, every entry below it that will ever exist is visible too or was dropped.
        """

    @abstractmethod
    def last_sequence(self, space: str, log: str) -> int:
        """The highest sequence ever given in the log, dropped entries included; 0 when there was none."""

    @abstractmethod
    def commit(self, space: str, change: Change) -> Committed:
        """Do all of `change`, or nothing of it.

        Sequences of a log count 1, 2, 3, … without a gap and are never given twice, not after a drop and not after a
        crash. Versions rise with every commit to a space and are never given twice either, so that a version works as a
        fencing token. Once it returns, the change survives a `kill -9` of every process; a crash before leaves all of it or
        nothing. Every later read, in any process, sees it.

        Raises `Conflict` when an expectation does not hold. After a `StoreUnavailable` the change may or may not have been
        made: repeat it only under an expectation that tells.
        """

    @abstractmethod
    def erase(self, space: str) -> None:
        """Remove all documents and logs of a space, and what the store remembers of it; repeatable.

        For a space that is not used again: its versions and sequences would begin anew.
        """

    @abstractmethod
    def scrub(self) -> None:
        """Erase for good: after it returns, no file of the store holds a byte of any value that was deleted, dropped,
        overwritten or timed out before it was called.

        The store rewrites all that it holds, which may take minutes: not for a request that somebody waits for, but on the
        smallest stores. Raises `StoreUnavailable` when that could not be done now (a reader holds on to the past, or it takes
        too long); it can be repeated.
        """

    @abstractmethod
    def check(self) -> str:
        """One line on the store's condition, for readiness, with a warning in words when it may lose what it was given.

        Raises `StoreUnavailable` when it cannot be written to, `StoreUnfit` when it is set up so that it should not be.
        """

    def get_many(self, space: str, keys: Sequence[str]) -> list[Document | None]:
        """What `get` gives for each of the keys, each looked up at some moment of the call."""
        return [self.get(space, key) for key in keys]

    def scan_all(self, space: str, prefix: str = "") -> Iterator[tuple[str, Document]]:
        """Every live document under `prefix`, page by page."""
        after = ""
        while page := self.scan(space, prefix, after):
            yield from page
            after = page[-1][0]

    def put(self, space: str, key: str, value: bytes, *, expect: int | None = None, ttl_seconds: float | None = None) -> int:
        """Store one document, under the condition that it has version `expect` if that is given; its new version."""
        wanted = {} if expect is None else {key: expect}
        return self.commit(space, Change(expect=wanted, puts=(Put(key, value, ttl_seconds),))).version

    def close(self) -> None:  # noqa: B027
        """Release connections. The store opens them again when it is next used."""


class NamesLogs(ABC):
    """Tells under which name any client of the store itself can read a log. Only some state stores have this power."""

    @abstractmethod
    def log_name(self, space: str, log: str) -> str:
        """The log's name in the store. Asks no server."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Describes an object in a list: its key, its size in bytes, and when it was last written (UTC)."""

    key: str
    size_bytes: int
    modified_at: datetime


class ObjectStore(ABC):
    """Stores bytes of any size under a key.

    A key is one or more segments joined by `/`; a segment is 1 to 200 characters of `A-Z a-z 0-9 . _ = -` and not `.` or
    `..`; the whole is at most 900. Anything else is a `ValueError` before the store is asked. No key continues another's:
    beside an object `a`, none is put under `a/b`, which some stores cannot hold.
    """

    @abstractmethod
    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> int:
        """Store the concatenation of `chunks` under `key`, replacing what was there; its size in bytes.

        A reader sees the old object, or none, or the whole new one, never a part, whatever dies when. Once it returns, the
        object survives a `kill -9` of every process. When `chunks` raises, nothing is stored and the exception passes.
        if_absent: of several who put an object so, one succeeds; the others, like one who finds an object there, get
        `Conflict`, and what is there stays.
        """

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The whole object. Raises `NoSuchObject`."""

    @abstractmethod
    def stream(self, key: str, start: int = 0, length: int | None = None, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The object's bytes from `start`, `length` of them or to its end, in chunks of at most `chunk_bytes`.

        All chunks are of one and the same object though it be replaced meanwhile; if it is deleted meanwhile, either the
        rest comes or `StoreError` is raised, never a silent end. Raises `NoSuchObject` when called, not at the first chunk.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, by key in byte order."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; one that is not there is fine. Its bytes are gone from the store when this returns."""

    @abstractmethod
    def sweep(self) -> int:
        """Remove what writers that died left behind and nobody can read; how many pieces. A living writer loses nothing: a
        store that cannot tell waits until a writer would be impossibly old.
        """

    @abstractmethod
    def check(self) -> str:
        """One line on the store's condition, for readiness.

        Raises `StoreUnavailable` when it cannot be written to, `StoreUnfit` when it is set up so that it should not be: it
        keeps what is deleted.
        """

    @abstractmethod
    def table_location(self, name: str) -> TableLocation:
        """Where `deltalake` keeps the table `name` (a key) in this store; the same in every process that shares the store.

        As with keys, no name continues another's. `list` shows no file of a table.
        """

    @abstractmethod
    def sweep_table(self, name: str, dead: Iterable[str] = ()) -> int:
        """Remove from the table the files `dead`, and the half-written ones that `deltalake` leaves when it dies and that its
        vacuum does not see; how many half-written ones there were.

        dead: paths relative to the table, as `DeltaTable.vacuum` lists them; one that is not there is fine. Only for the one
        who may write the table: a living writer's half-written files look the same.
        """

    def close(self) -> None:  # noqa: B027
        """Release connections. The store opens them again when it is next used."""


class SignsUrls(ABC):
    """Signs URLs: anyone with the URL gets the object from the store itself, without a key. Only some object stores can."""

    @abstractmethod
    def signed_url(self, key: str, seconds: float, file_name: str | None = None) -> str | None:
        """An absolute URL under which the object can be fetched for so long; None where no endpoint for clients is configured.

        Asks no server, so that the object need not exist. file_name: what a browser saves it as.
        """


@dataclass(frozen=True, slots=True)
class TableLocation:
    """Tells `deltalake` where a table is: its URI, and the storage options, secrets among them, to open it with."""

    uri: str
    storage_options: dict[str, str] = field(default_factory=dict, repr=False)
