"""The promises every storage backend keeps.

Two ports hold everything durable: `StateStore` (small documents and append-only logs) and `ObjectStore` (bytes of any
size under a key). The docstrings are the contract; `tests/backends` holds every backend to them.

Both are safe to share between threads, and, except for `memory://`, between processes. A constructor opens nothing:
connections are made on first use, so that a store may be built before a fork and used after it. What a driver raises
reaches no caller: an outage is `StoreUnavailable`, a store that is full is `StoreFull`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from backends.dumps import Dumps
from backends.object_ports import ObjectInfo as ObjectInfo
from backends.object_ports import ObjectStore as ObjectStore
from backends.object_ports import SignsUrls as SignsUrls
from backends.object_ports import TableLocation as TableLocation
from backends.parts import Part as Part


class StoreError(Exception):
    """Says that a storage backend could not do what was asked; nothing was changed unless the subclass says otherwise."""


class StoreUnavailable(StoreError):
    """Says that the store does not answer, is locked, or failed; whether a write in flight took effect is not known."""


class ObjectInUse(StoreUnavailable):
    """Says that an object cannot be deleted now, since somebody may be reading it; the store answers for all others."""


class StoreFull(StoreUnavailable):
    """Says that the store has no room for the write; reads and the deletion of objects still work."""


class StoreUnfit(StoreUnavailable):
    """Says that the store answers, but is set up so that it cannot keep a promise; the message says what must be changed."""


class StoreDamaged(StoreUnfit):
    """Says that bytes of the store itself are damaged, so that some of it cannot be read; the message says what to do."""


class PartDamaged(StoreDamaged):
    """Says that one document, or one entry of a log, is not what was stored. The rest of the store can be used.

    The message is fit for logs: it has neither the value nor the key of a home.
    """

    def __init__(self, part: Part) -> None:
        super().__init__(part)
        self.part = part

    def __str__(self) -> str:
        return f"the state store's {self.part.name_in_logs} is damaged; `smarthouse verify` names all; restore a backup"


class Conflict(StoreError):
    """Says that a condition of a commit or a put did not hold; nothing of it was stored."""


class NoSuchObject(StoreError):
    """Says that there is no object under the key."""


class ObjectDamaged(NoSuchObject):
    """Says that the bytes of one object are lost, although the store answers for others. It can be replaced and deleted."""


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
class Add:
    """Asks a commit to add to a counter. Others may add to it at the same time.

    key: of a document that holds whole numbers, in decimal and separated by spaces; until it exists, all of them are 0. Nothing
    else of the commit may write it. amounts: one for each number, negative ones included; every sum stays within 2**53.
    most: the commit is refused if it raises the first number, and that would then be greater. ttl_seconds: as for `Put`.
    """

    key: str
    amounts: tuple[int, ...]
    most: int | None = None
    ttl_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Says what one commit checks and then does, in the order of the fields: a key that is put and deleted is gone.

    expect: document key -> the version it must have (`ABSENT`: none), whether or not the commit also writes it.
    puts: documents stored; deletes: document keys removed (a key that is not there is fine).
    appends: (log, value) pairs, appended in order.
    drops: (log, sequence) pairs, entries removed (one that is not there is fine).
    adds: counters raised or lowered.
    """

    expect: dict[str, int] = field(default_factory=dict)
    puts: tuple[Put, ...] = ()
    deletes: tuple[str, ...] = ()
    appends: tuple[tuple[str, bytes], ...] = ()
    drops: tuple[tuple[str, int], ...] = ()
    adds: tuple[Add, ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """Tells the caller of a commit what it was given.

    version: what every document that it put now carries; sequences: one for each append, in order.
    """

    version: int
    sequences: tuple[int, ...] = ()


class StateStore(Dumps, ABC):
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

        Raises `Conflict` when an expectation does not hold, or a counter would pass its most. After a `StoreUnavailable` the
        change may or may not have been made: repeat it only under an expectation that tells.
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

        Raises `StoreUnavailable` when it cannot be written to, `StoreUnfit` when it is set up so that it should not be, and
        `StoreDamaged` once this process has met damage. It looks at a part of what is stored, another one each time.
        """

    def size_bytes(self) -> int | None:
        """How much the store takes up, on its disk or in its memory; None where it cannot tell. Raises `StoreUnavailable`."""
        return None

    def verify(self) -> Iterator[str]:
        """What is wrong with the store's own files, in words, as far as the store can tell; nothing where it cannot.

        It may read all that the store holds. Others may read and write meanwhile. Raises `StoreUnavailable`.
        """
        yield from ()

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

    def close(self) -> None:
        """Release connections. The store opens them again when it is next used."""

    @abstractmethod
    def now(self) -> float:
        """The time by which documents expire, in seconds since 1970, about: the same in every process that shares the store.

        It goes on evenly, as far as the store can see to that, though the system's clock is set back or forward.
        """

    def free_bytes(self) -> int | None:
        """How much more the store has room for; None if it has no bound that it can tell of."""
        return None


class KeepsSums(ABC):
    """Keeps a checksum of each document and entry, and compares it whenever it reads one. Some state stores have this power.

    Whatever reads a damaged part raises `PartDamaged`: `get`, `scan`, `read`, `dump`, and a commit that adds to it. A commit
    that replaces or deletes it ends the damage. What an earlier version wrote has no checksum, and is taken as it is.
    """

    @abstractmethod
    def damaged(self) -> list[Part]:
        """The damaged parts that this process has met, and that still are. `check` looks for more, some at a time."""

    @abstractmethod
    def reading_around(self) -> AbstractContextManager[None]:
        """A context in which `scan` and `read` leave damaged parts out, in this thread. Only for looking at what is left."""

    @abstractmethod
    def look_through(self) -> Iterator[Part]:
        """Read all documents and entries; each damaged one. Others may read and write meanwhile."""

    @abstractmethod
    def add_sums(self) -> Iterator[int]:
        """Give a checksum to each part that has none, some in each step; how many. It can be broken off and repeated.

        Others may read and write meanwhile, except processes of earlier versions.
        """


class NamesLogs(ABC):
    """Tells under which name any client of the store itself can read a log. Only some state stores have this power."""

    @abstractmethod
    def log_name(self, space: str, log: str) -> str:
        """The log's name in the store. Asks no server."""


class KeepsReserve(ABC):
    """Keeps room aside for what must succeed though the store is full. Some stores of either kind have this power."""

    @abstractmethod
    def keep_reserve(self) -> None:
        """Set room aside, as far as there is more than enough of it; repeatable. It may take as long as writing the reserve."""

    @abstractmethod
    def spend_reserve(self) -> bool:
        """Give up the room that is set aside; False if there is none. What is put next finds it, or what others put."""


class CountsWindows(ABC):
    """Counts events for all processes of all machines, in windows of time. Only some state stores have this power."""

    @abstractmethod
    def count_in_window(self, name: str, count: int, seconds: float) -> tuple[int, float]:
        """Add to the count under `name`, in a window of `seconds` that begins with its first; the whole count so far, and how
        many seconds are left of the window.

        A count is worth little: it may be lost in a crash, and no backup has it.
        """
