"""The promises of an object store: bytes of any size under a key, and tables. Its errors are in `backends.ports`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime


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

    bin_seconds: how long the bytes of a deleted object may stay on the store's disk, where no client reaches them.
    """

    bin_seconds: float = 0.0

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
        """The whole object. Raises `NoSuchObject`, and `ObjectDamaged` if only this object cannot be read."""

    @abstractmethod
    def stream(self, key: str, start: int = 0, length: int | None = None, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The object's bytes from `start`, `length` of them or to its end, in chunks of at most `chunk_bytes`.

        All chunks are of one and the same object: if it is replaced or deleted meanwhile, either the rest comes or
        `StoreError` is raised, never a silent end. Nobody who deletes it waits for who reads it. Raises
        `NoSuchObject` when called, not at the first chunk.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, by key in byte order."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; one that is not there is fine. Its bytes are gone from the store when this returns.

        Who reads one from the store itself, see `SignsUrls`, delays this by the store's longest wait for an answer at most.
        Raises `ObjectInUse` where the store lets such a reader have more time.
        """

    def delete_below(self, folder: str) -> None:
        """Remove all objects whose keys continue `folder` after a `/`, also those that are damaged so that no list shows them.

        folder: a key. Nobody puts objects there meanwhile.
        """
        self.delete(info.key for info in self.list(f"{folder}/"))

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

    def missing(self) -> str | None:
        """Say in words that the store's place, such as its bucket, does not exist, and what to do; None if it does.

        Makes nothing. Raises `StoreUnavailable`.
        """
        return None

    @abstractmethod
    def list_table(self, name: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every file of the table whose path starts with `prefix`, by path in byte order; half-written ones are left out.

        The key of each is its path relative to the table. The log's begin with `_delta_log/`.
        """

    @abstractmethod
    def stream_table(self, name: str, path: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """The bytes of one file of the table, as `stream` gives those of an object. Raises `NoSuchObject` when called.

        path: as `list_table` gives it: segments joined by `/`, none empty, `.` or `..`. Anything else is a `ValueError`.
        """

    @abstractmethod
    def put_table(self, name: str, path: str, chunks: Iterable[bytes]) -> int:
        """Store one file of the table, as `put` stores an object; its size in bytes. Only for the one who may write the table.

        path: as in `stream_table`.
        """

    def close(self) -> None:  # noqa: B027
        """Release connections. The store opens them again when it is next used."""

    def free_bytes(self) -> int | None:
        """How much more the store has room for; None if it has no bound that it can tell of."""
        return None


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
