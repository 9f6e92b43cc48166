"""Searching: looks through all that an installation keeps for bytes of homes that were erased.

1. The files of the stores are read as they are, before a store is asked for anything: SQLite takes its log in when it is
closed. 2. Then come the documents and logs of the state, all objects, the lake's tables with their logs, temporary folders
   and the files of the metrics, and further folders. What is compressed is decompressed, and Parquet is decoded.
3. What is found of homes that are hidden, and still wait to be erased, is not told.

What cannot be read is told, see `unread`. It is not a trace.
"""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from backends.dumps import DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.object_ports import ObjectStore
from backends.own_files import OwnFile, ShowsFiles, files_below
from backends.ports import NoSuchObject, StateStore, StoreError
from smarthouse_api.collections.service import Collections
from smarthouse_api.coordination.notes import Notes, digest_of
from smarthouse_api.coordination.store_marks import TABLES
from smarthouse_api.erasure.rounds import Rounds
from smarthouse_api.erasure.traces import OWN, Traces
from smarthouse_api.erasure.unpacking import Unpacking
from smarthouse_api.states.homes import Homes
from smarthouse_api.streams.service import Streams

_HOME: Final = "bytes of an erased home: its internal key"
_LESSER: Final = "bytes of a deleted stream or collection: its internal key"
_UUID: Final = "the UUID that was given"
_TEMPORARY: Final = ("smarthouse", "tmp", ".tmp", "datafusion", "etilqs_", "wgunicorn")
"""How files and folders begin that this service, Python, SQLite, DataFusion and gunicorn make for a while."""

_METRICS: Final = "smarthouse-metrics-"
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108

_Look = Callable[[str, Iterable[bytes]], set[str]]


class Found(NamedTuple):
    """Tells where a trace was found, and what it is. The place is never the UUID; a name may hold an internal key."""

    store: str
    place: str
    what: str


class Searching:
    """Looks for traces of erased homes. most_bytes: how much of one object is decompressed at most.

    unread: what the last search could not look at, and why. waiting: the homes that still waited to be erased. is_purging: a
    purge was not over, so that what was found may be of its homes.
    """

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        notes: Notes,
        homes: Homes,
        streams: Streams,
        collections: Collections,
        rounds: Rounds,
        most_bytes: int,
    ) -> None:
        self._state, self._objects, self._notes, self._homes = state, objects, notes, homes
        self._streams, self._collections, self._most_bytes = streams, collections, most_bytes
        self._rounds = rounds
        self.unread = list[str]()
        self.waiting = 0
        self.is_purging = False
        self._read = set[tuple[int, int]]()

    def run(
        self, uuid: str | None = None, folders: Sequence[str] = (), check: Callable[[], object] = lambda: None
    ) -> Iterator[Found]:
        """Tell each trace once. uuid: of a home, to be looked for too. folders: to be looked through too.

        check: called once the stores' files were read, and before the stores are asked for more.
        """
        self.unread, self._read = [], set()
        traces = Traces(self._notes.in_objects(), uuid)
        unpacking = Unpacking(traces, self._most_bytes)
        raw = [*self._raw("state", self._state, traces)]
        check()
        traces.add(self._notes.in_state())
        spared, buried = self._spared()
        lesser = self._notes.lesser()
        told = _Told(traces, spared, buried, lesser)
        for place, found in raw:
            yield from told.of(
                "state", place, {one for one in found if one == OWN or digest_of(one) not in lesser}, is_state=True
            )
        for place, found in self._documents(unpacking.look):
            yield from told.of("state", place, found, is_state=True)
        for store, parts in self._parts(unpacking, traces, folders):
            for place, found in parts:
                yield from told.of(store, place, found)
        self.is_purging |= self._rounds.is_open()
        self.unread += [f"objects  {name}: more than {self._most_bytes} bytes when decompressed" for name in unpacking.cut]

    def _parts(
        self, unpacking: Unpacking, traces: Traces, folders: Sequence[str]
    ) -> Iterator[tuple[str, Iterator[tuple[str, set[str]]]]]:
        yield "objects", self._listed(unpacking.look)
        for table in TABLES:
            yield "lake", self._of_the_table(table, unpacking.look)
        yield "objects", self._raw("objects", self._objects, traces)
        yield "temporary", self._files(_temporary_files(), unpacking)
        yield "metrics", self._files(_metrics_files(), unpacking)
        # To close a file that SQLite has open would end the locks that it holds for this process.
        self._state.close()
        for folder in folders:
            yield "folder", self._files(files_below(folder), unpacking)

    def _spared(self) -> tuple[set[str], set[str]]:
        """Return the internal keys of what waits to be erased, and of deleted streams whose tombstones stay in the state."""
        hidden = set(self._homes.hidden())
        leaving = set(self._collections.homes.leaving())
        self.waiting, self.is_purging = len(hidden) + len(leaving), self._rounds.is_open()
        erasing = {key for _, keys in self._homes.erasing().values() for key in keys}
        streams = self._streams.catalogue.tombstones()
        purged = {key for one in streams if one.purged_at is not None for key in (one.home_key, one.key)}
        waiting = {key for one in streams if one.purged_at is None for key in (one.home_key, one.key)}
        collections = {one.key for one in self._collections.catalogue.tombstones()}
        return hidden | leaving | erasing | waiting | collections, purged

    def _raw(self, name: str, store: StateStore | ObjectStore, traces: Traces) -> Iterator[tuple[str, set[str]]]:
        """Look through the files of a store as they are."""
        if not isinstance(store, ShowsFiles):
            return
        try:
            for one in store.own_files(TABLES):
                self._read.update(_identity(one.path))
                yield one.name, self._of_own(name, one, traces)
        except StoreError as fault:
            self.unread.append(f"{name}  its files: {fault}")

    def _of_own(self, store: str, one: OwnFile, traces: Traces) -> set[str]:
        if one.unread:
            self.unread.append(f"{store}  {traces.masked(one.name)}: {one.unread}")
        scan = traces.begin()
        try:
            for chunk in one.chunks:
                scan.feed(chunk)
        except NoSuchObject:
            pass  # another has removed it meanwhile
        except (OSError, StoreError) as fault:
            self.unread.append(f"{store}  {traces.masked(one.name)}: {fault}")
        return scan.found | traces.among(one.name.encode(errors="surrogatepass"))

    def _documents(self, look: _Look) -> Iterator[tuple[str, set[str]]]:
        space = log = ""
        try:
            for one in self._state.dump():
                match one:
                    case DumpedSpace():
                        space = one.space
                    case DumpedDocument():
                        yield (place := f"documents/{space}/{one.key}"), look(place, [one.value])
                    case DumpedLog():
                        log = one.log
                        yield (place := f"documents/{space}/{log}"), look(place, [])
                    case DumpedEntry():
                        yield (place := f"documents/{space}/{log} {one.sequence}"), look(place, [one.value])
        except StoreError as fault:
            self.unread.append(f"state  its documents: {fault}")

    def _listed(self, look: _Look) -> Iterator[tuple[str, set[str]]]:
        for info in self._objects.list():
            yield info.key, self._of_object("objects", info.key, look, partial(self._objects.stream, info.key))

    def _of_the_table(self, table: str, look: _Look) -> Iterator[tuple[str, set[str]]]:
        for info in self._objects.list_table(table):
            place = f"tables/{table}/{info.key}"
            yield place, self._of_object("lake", place, look, partial(self._objects.stream_table, table, info.key))

    def _of_object(self, store: str, place: str, look: _Look, open_: Callable[[], Iterator[bytes]]) -> set[str]:
        try:
            return look(place, open_())
        except NoSuchObject:
            pass  # another has removed it meanwhile; of a damaged one, `smarthouse verify` tells
        except StoreError as fault:
            self.unread.append(f"{store}  {place}: {fault}")
        return look(place, [])

    def _files(self, paths: Iterable[str], unpacking: Unpacking) -> Iterator[tuple[str, set[str]]]:
        for path in paths:
            if _identity(path) & self._read:
                continue
            try:
                yield path, unpacking.look_within(path, path) if os.path.isfile(path) else unpacking.look(path, [])
            except OSError as fault:
                self.unread.append(f"file  {path}: {fault.strerror}")


class _Told:
    """Puts what was found into words, each place once."""

    def __init__(self, traces: Traces, spared: set[str], buried: set[str], lesser: set[str]) -> None:
        self._traces, self._spared, self._buried, self._lesser = traces, spared, buried, lesser
        self._places = set[tuple[str, str, str]]()

    def of(self, store: str, place: str, found: set[str], *, is_state: bool = False) -> Iterator[Found]:
        keys = found - self._spared - (self._buried if is_state else set())
        whats = {_UUID if key == OWN else _LESSER if digest_of(key) in self._lesser else _HOME for key in keys}
        for what in sorted(whats):
            one = Found(store, self._traces.masked(place), what)
            if one not in self._places:
                self._places.add(one)
                yield one


def _identity(path: str) -> set[tuple[int, int]]:
    """Return what tells a file from all others; nothing for one that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return set()
    return {(found.st_dev, found.st_ino)}


def _temporary_files() -> Iterator[str]:
    """List the files of this user in the temporary folder that the service may have made."""
    folder = tempfile.gettempdir()
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith(_TEMPORARY) and not name.startswith(_METRICS) and _is_ours(path):
            yield from files_below(path) if os.path.isdir(path) else (path,)


def _is_ours(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.getuid()
    except FileNotFoundError:  # the service removed it meanwhile
        return False


def _metrics_files() -> Iterator[str]:
    """List the files through which the processes of the service share their counters."""
    for above in (_SHARED_MEMORY, tempfile.gettempdir()):
        for folder in sorted(glob.glob(os.path.join(glob.escape(above), f"{_METRICS}{os.getuid()}-*"))):
            yield from files_below(folder)
