"""Keep everything in this process's memory: for tests, and for trying things out."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from backends.checks import check_change, check_key, check_names, check_path, check_range
from backends.counters import added
from backends.dumps import Dumped, DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.ports import (
    ABSENT,
    Change,
    Committed,
    Conflict,
    Document,
    Entry,
    NoSuchObject,
    ObjectInfo,
    ObjectStore,
    StateStore,
    TableLocation,
)


@dataclass(slots=True)
class _Space:
    """Holds the documents and logs of one space."""

    version: int = 0
    documents: dict[str, tuple[Document, float | None]] = field(default_factory=dict)
    expiries: list[tuple[float, str]] = field(default_factory=list)
    sequences: Counter[str] = field(default_factory=Counter)
    logs: defaultdict[str, dict[int, bytes]] = field(default_factory=lambda: defaultdict(dict))

    def live(self, key: str) -> Document | None:
        document, expires_at = self.documents.get(key, (None, None))
        return None if expires_at is not None and expires_at <= time.monotonic() else document

    def forget_expired(self) -> None:
        while self.expiries and self.expiries[0][0] <= time.monotonic():
            _, key = heapq.heappop(self.expiries)
            if self.live(key) is None:
                self.documents.pop(key, None)

    def put(self, key: str, document: Document, ttl_seconds: float | None) -> None:
        expires_at = None
        if ttl_seconds is not None:
            expires_at = time.monotonic() + ttl_seconds
            heapq.heappush(self.expiries, (expires_at, key))
        self.documents[key] = (document, expires_at)

    def dumped(self, name: str) -> Iterator[Dumped]:
        yield DumpedSpace(name, self.version)
        now = time.monotonic()
        for key, (document, expires_at) in self.documents.items():
            if expires_at is None or expires_at > now:
                yield DumpedDocument(key, document.value, document.version, expires_at and expires_at - now)
        for log, sequence in self.sequences.items():
            yield DumpedLog(log, sequence)
            yield from (DumpedEntry(*entry) for entry in self.logs[log].items())


class MemoryState(StateStore):
    """Keeps documents and logs until the process ends: `memory://`."""

    def __init__(self, url: str) -> None:
        _check_url(url)
        self._lock = threading.Lock()
        self._spaces: defaultdict[str, _Space] = defaultdict(_Space)
        self._began_at = time.time() - time.monotonic()

    def get(self, space: str, key: str) -> Document | None:
        check_names(space, key)
        with self._lock:
            return self._spaces[space].live(key)

    def scan(self, space: str, prefix: str = "", after: str = "", limit: int = 1000) -> list[tuple[str, Document]]:
        check_names(space)
        with self._lock:
            here = self._spaces[space]
            keys = sorted(key for key in here.documents if key.startswith(prefix) and key > after)
            live = ((key, document) for key in keys if (document := here.live(key)) is not None)
            return list(islice(live, max(limit, 0)))

    def read(self, space: str, log: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        check_names(space, log)
        with self._lock:
            entries = [Entry(sequence, value) for sequence, value in self._spaces[space].logs[log].items() if sequence > after]
            return entries[: max(limit, 0)]

    def last_sequence(self, space: str, log: str) -> int:
        check_names(space, log)
        with self._lock:
            return self._spaces[space].sequences[log]

    def commit(self, space: str, change: Change) -> Committed:
        check_change(space, change)
        with self._lock:
            here = self._spaces[space]
            for key, wanted in change.expect.items():
                document = here.live(key)
                found = document.version if document else ABSENT
                if found != wanted:
                    raise Conflict(f"{key!r} in {space!r} has version {found}, not {wanted}")
            counted = [added(add, document.value if (document := here.live(add.key)) else None) for add in change.adds]
            here.version += 1
            here.forget_expired()
            for put in change.puts:
                here.put(put.key, Document(put.value, here.version), put.ttl_seconds)
            for key in change.deletes:
                here.documents.pop(key, None)
            for add, value in zip(change.adds, counted, strict=True):
                here.put(add.key, Document(value, here.version), add.ttl_seconds)
            sequences = []
            for log, value in change.appends:
                here.sequences[log] += 1
                sequences.append(here.sequences[log])
                here.logs[log][here.sequences[log]] = value
            for log, sequence in change.drops:
                here.logs[log].pop(sequence, None)
            return Committed(here.version, tuple(sequences))

    def now(self) -> float:
        return self._began_at + time.monotonic()

    def erase(self, space: str) -> None:
        check_names(space)
        with self._lock:
            self._spaces.pop(space, None)

    def scrub(self) -> None:
        with self._lock:
            for space in self._spaces.values():
                space.forget_expired()

    def check(self) -> str:
        return "in memory"

    def spaces(self) -> Iterator[str]:
        with self._lock:
            return iter([name for name, space in self._spaces.items() if space.version])

    def dump(self, around: AbstractContextManager[object] = nullcontext()) -> Iterator[Dumped]:  # noqa: B008
        with around, self._lock:
            there = [one for name, space in self._spaces.items() if space.version for one in space.dumped(name)]
        yield from there

    def load(self, dump: Iterable[Dumped]) -> None:
        loaded, here, log = defaultdict[str, _Space](_Space), _Space(), ""
        for one in dump:
            match one:
                case DumpedSpace():
                    here = loaded[one.space] = _Space(one.version)
                case DumpedDocument():
                    here.put(one.key, Document(one.value, one.version), one.ttl_seconds)
                case DumpedLog():
                    log, here.sequences[one.log] = one.log, one.sequence
                case DumpedEntry():
                    here.logs[log][one.sequence] = one.value
        with self._lock:
            self._spaces = loaded


class MemoryObjects(ObjectStore):
    """Keeps objects until the process ends: `memory://`. Tables are in a temporary folder until `close`."""

    def __init__(self, url: str) -> None:
        _check_url(url)
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._tables: TemporaryDirectory[str] | None = None

    def put(self, key: str, chunks: Iterable[bytes], *, if_absent: bool = False) -> int:
        check_key(key)
        data = b"".join(chunks)
        with self._lock:
            if if_absent and key in self._objects:
                raise Conflict(f"there is an object {key!r} already")
            self._objects[key] = (data, datetime.now(UTC))
        return len(data)

    def get(self, key: str) -> bytes:
        check_key(key)
        with self._lock:
            if key not in self._objects:
                raise NoSuchObject(key)
            return self._objects[key][0]

    def stream(self, key: str, start: int = 0, length: int | None = None, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        check_range(start, length, chunk_bytes)
        data = self.get(key)
        end = len(data) if length is None else min(start + length, len(data))
        return (data[at : min(at + chunk_bytes, end)] for at in range(start, end, chunk_bytes))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            found = sorted((key, *item) for key, item in self._objects.items() if key.startswith(prefix))
        return (ObjectInfo(key, len(data), modified_at) for key, data, modified_at in found)

    def delete(self, keys: Iterable[str]) -> None:
        checked = [check_key(key) for key in keys]
        with self._lock:
            for key in checked:
                self._objects.pop(key, None)

    def sweep(self) -> int:
        return 0

    def check(self) -> str:
        return "in memory"

    def table_location(self, name: str) -> TableLocation:
        with self._lock:
            return TableLocation(self._table(name).as_uri())

    def sweep_table(self, name: str, dead: Iterable[str] = ()) -> int:
        with self._lock:
            folder = self._table(name)
        for path in dead:
            (folder / path).unlink(missing_ok=True)
        return 0

    def list_table(self, name: str, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            folder = self._table(name)
        paths = sorted(found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file())
        for path in paths:
            if path.startswith(prefix):
                status = (folder / path).stat()
                yield ObjectInfo(path, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def stream_table(self, name: str, path: str, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        check_path(path)
        with self._lock:
            file = self._table(name) / path
        if not file.is_file():
            raise NoSuchObject(path)
        data = file.read_bytes()
        return (data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes))

    def put_table(self, name: str, path: str, chunks: Iterable[bytes]) -> int:
        check_path(path)
        data = b"".join(chunks)
        with self._lock:
            file = self._table(name) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            return file.write_bytes(data)

    def close(self) -> None:
        with self._lock:
            if self._tables is not None:
                self._tables.cleanup()
                self._tables = None

    def _table(self, name: str) -> Path:
        check_key(name)
        if self._tables is None:
            self._tables = TemporaryDirectory(prefix="smarthouse-tables-")
        return Path(self._tables.name, name)


def _check_url(url: str) -> None:
    if url != "memory://":
        raise ValueError(f"{url!r}: a store in memory is memory:// and has no options")
