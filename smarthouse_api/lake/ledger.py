"""The ledger of a table: what the state store remembers of the table's files, so that damage to them shows.

In the state store, space `lake`:

    head/<table>            the newest version that we committed, and the files of the log from which it is read
    file/<table>/<path>     the size and the CRC-32 of a live data file

1. It is written after each commit, under the writer's lease. What a dead writer left unrecorded, the next one records.
2. So the ledger is never ahead of the lake. A lake that is behind its ledger has lost something.
3. Log files before the newest checkpoint are not looked at: nothing is read from them any more.
4. A table that an earlier version wrote has no ledger. `adopt` makes one, and trusts what is there.
5. A record that is damaged itself costs nothing: its data file is read whole, and must be as it describes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final
from urllib.parse import unquote

import msgspec
from deltalake import DeltaTable

from backends.ports import (
    ABSENT,
    Change,
    Conflict,
    Document,
    NoSuchObject,
    ObjectInfo,
    ObjectStore,
    Part,
    PartDamaged,
    Put,
    StateStore,
    StoreUnfit,
)
from smarthouse_api.coordination.lifetimes import FOR_GOOD_SECONDS
from smarthouse_api.coordination.sound_scans import scan_past_damage
from smarthouse_api.coordination.state_damage import StateDamage
from smarthouse_api.lake.files import files_of
from smarthouse_api.lake.log_files import HINT, LOG, is_superfluous, newest_checkpoint, note_commit, version_of
from smarthouse_api.lake.snapshot_marks import SnapshotMark, mark_of
from smarthouse_api.lake.verified_files import UNREADABLE, FileSum, VerifiedFiles
from smarthouse_api.lake.whole_files import is_whole

SPACE: Final = "lake"

_AT_ONCE: Final = 200
_OTHER: Final = "has other bytes than were written"
_UNREADABLE: Final = "cannot be read, though the object store answers"
_UNLIKE: Final = "is not as it describes itself, and the state's record of it is damaged"
_DAMAGED: Final = FileSum(-2, 0)
"""Stands for a record that is damaged."""


class TableDamaged(StoreUnfit):
    """Says that a table of the lake cannot be read as it was written: it must be restored, or be made again."""


class Head(msgspec.Struct, frozen=True):
    """Records the newest version that we committed.

    log: the files from which it is read, by their paths in the table. id: the table's, as it was made; empty if an earlier
    version of this service recorded it. changed: the newest version in which a reader may find other rows than in the one
    before; -1 likewise.
    """

    version: int
    log: dict[str, FileSum]
    id: str = ""
    changed: int = -1


class Ledger:
    """Remembers the files of one table in the state store, and finds those that are not as they were.

    It holds no open handle, so that it can be made before a fork.
    """

    def __init__(self, state: StateStore, objects: ObjectStore, table: str) -> None:
        self._state, self._objects, self._table = state, objects, table
        self._files, self._damage = VerifiedFiles(objects, table), StateDamage(state)

    def head(self) -> Head | None:
        """Return the newest recorded version; None for a table that has none, or that an earlier version wrote.

        Raises `TableDamaged` if the record is damaged.
        """
        try:
            found = self._document()
        except PartDamaged as fault:
            raise TableDamaged(
                f"the state's record of the lake's table {self._table} is damaged, and exports answer 503; the service makes it"
                " again from the table if that fits the other records; else run `smarthouse rebuild`"
            ) from fault
        return None if found is None else _head(found.value)

    def mark(self) -> SnapshotMark | None:
        """Mark the newest recorded version; None if it is not known, or if an earlier version of this service recorded it."""
        try:
            head = self.head()
        except TableDamaged:
            return None
        return SnapshotMark(self._table, head.id, head.version) if head is not None and head.id else None

    def has_same_rows(self, mark: SnapshotMark | None, snapshot: DeltaTable | None) -> bool:
        """Tell whether a reader finds the same rows in the newest snapshot as in one that was marked earlier.

        None: before the first row was ever written.
        """
        newest = None if snapshot is None else mark_of(self._table, snapshot)
        if mark is None or newest is None or mark == newest:
            return mark == newest
        if (head := self.head()) is None or not head.id == mark.id == newest.id or head.version < newest.version:
            return False
        return 0 <= head.changed <= mark.version

    def check_log(self) -> tuple[Head | None, int]:
        """Compare the files of the log with the ledger: their sizes, and the bytes of those that were not verified lately.

        Returns what is recorded, and the newest version that the log has; -1 if nothing is recorded. Raises `StoreUnfit`, which
        names a file that is missing or damaged.
        """
        if (head := self.head()) is None:
            return None, -1
        there = self._log()
        least = newest_checkpoint(there)
        for path, wanted in head.log.items():
            if is_superfluous(path, least):
                continue
            found = there.get(path)
            if found is None or found.size_bytes != wanted.size:
                raise self._unfit(path, "is missing" if found is None else _wrong_size(found.size_bytes, wanted.size))
            if not self._files.is_known(found):
                if (there_now := self._files.sum(path)) != wanted:
                    raise self._unfit(path, _UNREADABLE if there_now == UNREADABLE else _OTHER)
                self._files.remember(found)
        return head, max(map(version_of, there), default=-1)

    def drop_hint(self) -> None:
        """Remove the file that hints at the newest checkpoint: it is not needed, and a damaged one misleads."""
        if self.head() is not None:
            self._objects.sweep_table(self._table, [HINT])

    def check_version(self, head: Head | None, version: int | None) -> None:
        """Check that the lake is not behind the ledger. version: the lake's; None without a table. Raises `StoreUnfit`."""
        if head is not None and (version is None or version < head.version):
            found = "there is none" if version is None else f"it has version {version}"
            raise TableDamaged(
                f"the lake's table {self._table} is behind the state's memory of it: version {head.version} was written, and"
                f" {found}; restore its files, or run `smarthouse rebuild` without days"
            )

    def record(self, snapshot: DeltaTable) -> None:
        """Record what was committed up to a snapshot. The caller holds the writer's lease."""
        found = self._document()
        if found is None and snapshot.version() > 0:
            return  # of an earlier version; see `adopt`
        head = Head(-1, {}) if found is None else _head(found.value)
        changed = head.version if head.changed < 0 else head.changed
        added, removed, read = dict[str, int](), set[str](), dict[str, FileSum]()
        try:
            for version in range(head.version + 1, snapshot.version() + 1):
                path = f"{LOG}{version:020d}.json"
                commit = note_commit(b"".join(self._objects.stream_table(self._table, path)), added, removed)
                read[path], changed = commit.sum, version if commit.changes_rows else changed
        except NoSuchObject:  # the ledger is much older than the lake
            self.adopt(snapshot, lambda: False)
            return
        self._put_sums(added)
        self._put_head(head, read, snapshot, ABSENT if found is None else found.version, changed)
        self._drop(removed - set(added))

    def adopt(self, snapshot: DeltaTable, is_over: Callable[[], bool]) -> bool:
        """Make a ledger of the table as it is, some files at a time. Return whether it is complete.

        is_over: asked between the steps; if it says so, the rest is left for another call. The caller holds the writer's lease.
        """
        found = self._document()
        live = dict(_live(snapshot))
        recorded = dict(self._recorded_files())
        known = {path for path, document in recorded.items() if document is not None}
        for some in _batches([path for path in live if path not in known]):
            self._put_sums({path: live[path] for path in some})
            if is_over():
                return False
        head = Head(-1, {}) if found is None else _head(found.value)
        self._put_head(head, {}, snapshot, ABSENT if found is None else found.version, snapshot.version())
        self._drop(set(recorded) - set(live))
        return True

    def record_head_anew(self, snapshot: DeltaTable) -> bool:
        """Make the damaged record of the newest version again, from the log. Return whether the log can be trusted for that.

        It must name just the files that are recorded: a log of yesterday does not, nor does one whose end is lost. The caller
        holds the writer's lease.
        """
        live, added, removed = dict(_live(snapshot)), dict[str, int](), set[str]()
        for path in self._log():
            if path.endswith(".json"):
                with suppress(NoSuchObject, msgspec.DecodeError):
                    note_commit(b"".join(self._objects.stream_table(self._table, path)), added, removed)
        recorded = self.sizes()
        left = {path: size for path, size in recorded.items() if path in live or path not in removed}
        if left != live:
            return False
        self._put_head(Head(-1, {}), {}, snapshot, None, snapshot.version())
        return True

    def record_file_anew(self, path: str, size: int, rows: int | None) -> str | None:
        """Make the damaged record of a data file again, if the file is whole; else return what is wrong with it.

        size, rows: as the table's log tells; None if it does not tell the rows. The caller holds the writer's lease.
        """
        if (fault := self._fault(path, size, _DAMAGED, rows)) is None:
            self._put_sums({path: size})
        return fault

    def drop_record(self, path: str) -> None:
        """Remove the record of a data file that the table does not have any more."""
        self._drop([path])

    def faults(self, files: Mapping[str, int], *, anew: bool = False) -> Iterator[tuple[str, str]]:
        """Read data files, and tell for each that is not as it was what is wrong with it.

        files: their paths, with the sizes that the table's log tells. anew: read those too that were verified lately.
        """
        infos = self._files.listed(files)
        left = [path for path in files if anew or not self._files.is_known(infos.get(path))]
        for some in _batches(left):
            for path, wanted in zip(some, self._recorded(some), strict=True):
                if (fault := self._fault(path, files[path], wanted)) is not None:
                    yield path, fault
                elif (info := infos.get(path)) is not None:
                    self._files.remember(info)

    def distrust(self) -> None:
        """Have every file read again: reading one has failed, though all were found whole."""
        self._files.forget()

    def sizes(self) -> dict[str, int]:
        """Tell the sizes of all recorded data files, by their paths. Where the record is damaged, it is that of the file."""
        found = dict(self._recorded_files())
        there = self._files.listed([path for path, document in found.items() if document is None])
        return {
            path: _sum(document.value).size if document is not None else there[path].size_bytes if path in there else 0
            for path, document in found.items()
        }

    def paths(self) -> set[str]:
        """List all recorded files, of the data and of the log. A store may not list those that are damaged."""
        return {*self.sizes(), *self.log_paths()}

    def log_paths(self) -> set[str]:
        """List the files of the log that there may be, as far as they are recorded."""
        try:
            head = self.head()
        except TableDamaged:
            head = None
        return {HINT} if head is None else {HINT, *head.log}

    def forget_head(self) -> None:
        """Forget the log, which is about to be made anew, and not the data files. Repeatable."""
        self._state.commit(SPACE, Change(deletes=(self._head_name,)))
        self._files.forget()

    def forget(self) -> None:
        """Forget the table: its files are about to be removed. Repeatable."""
        self._state.commit(SPACE, Change(deletes=(self._head_name,)))
        self._drop({path for path, _ in self._recorded_files()})
        self._files.forget()

    @property
    def _head_name(self) -> str:
        return f"head/{self._table}"

    def _file(self, path: str) -> str:
        return f"file/{self._table}/{path}"

    def _document(self) -> Document | None:
        return self._state.get(SPACE, self._head_name)

    def _recorded_files(self) -> Iterator[tuple[str, Document | None]]:
        """List the records of data files by their paths; None for one that is damaged."""
        for name, document in scan_past_damage(self._state, SPACE, self._file("")):
            yield name.removeprefix(self._file("")), document

    def _recorded(self, paths: list[str]) -> list[FileSum | None]:
        """Return what is recorded of data files; `_DAMAGED` where that is damaged, which is noted."""
        with suppress(PartDamaged):
            found = self._state.get_many(SPACE, [self._file(path) for path in paths])
            return [None if document is None else _sum(document.value) for document in found]
        return [self._recorded_one(path) for path in paths]

    def _recorded_one(self, path: str) -> FileSum | None:
        try:
            document = self._state.get(SPACE, self._file(path))
        except PartDamaged:
            self._damage.note(Part(SPACE, self._file(path)))
            return _DAMAGED
        return None if document is None else _sum(document.value)

    def _log(self) -> dict[str, ObjectInfo]:
        found = self._objects.list_table(self._table, LOG)
        return {info.key: info for info in found if version_of(info.key) >= 0}

    def _unfit(self, path: str, fault: str) -> TableDamaged:
        told = f"the log of the lake's table {self._table} is damaged: {path} {fault}"
        return TableDamaged(f"{told}; restore its files, or run `smarthouse rebuild` without days")

    def _fault(self, path: str, size: int, wanted: FileSum | None, rows: int | None = None) -> str | None:
        found = self._files.sum(path)
        if found is None:
            return "is missing"
        if found == UNREADABLE:
            return _UNREADABLE
        if found.size != size:
            return _wrong_size(found.size, size)
        if wanted == _DAMAGED:
            try:
                data = b"".join(self._objects.stream_table(self._table, path))
            except NoSuchObject:
                return "is missing"
            return None if is_whole(data, rows) else _UNLIKE
        return None if wanted is None or wanted == found else _OTHER

    def _put_sums(self, sizes: Mapping[str, int]) -> None:
        """Record files as they are. sizes: as the log tells; a file that is not of its size is damaged already."""
        for some in _batches(sizes):
            sums = {path: self._files.sum(path) for path in some}
            puts = (
                Put(self._file(path), _encode(FileSum(sizes[path], found.crc if found else 0)), FOR_GOOD_SECONDS)
                for path, found in sums.items()
            )
            self._state.commit(SPACE, Change(puts=tuple(puts)))

    def _put_head(
        self, before: Head, read: Mapping[str, FileSum], snapshot: DeltaTable, expected: int | None, changed: int
    ) -> None:
        """Record a version, unless another process has just done so. read: the sums of files of the log that were just read.

        expected: the version of the document that it replaces; None for any.
        """
        there, mark = self._log(), mark_of(self._table, snapshot)
        least = newest_checkpoint(there)
        needed = [path for path in there if version_of(path) <= mark.version and not is_superfluous(path, least)]
        log = dict[str, FileSum]()
        for path in needed:
            if (found := before.log.get(path) or read.get(path) or self._files.sum(path)) is not None:
                log[path] = found
                if path not in before.log and found.size == there[path].size_bytes:
                    self._files.remember(there[path])
        put = Put(self._head_name, _encode(Head(mark.version, log, mark.id, changed)), FOR_GOOD_SECONDS)
        with suppress(Conflict):
            self._state.commit(SPACE, Change(expect={} if expected is None else {self._head_name: expected}, puts=(put,)))

    def _drop(self, paths: Iterable[str]) -> None:
        for some in _batches(sorted(paths)):
            self._state.commit(SPACE, Change(deletes=tuple(map(self._file, some))))


_head = msgspec.json.Decoder(Head).decode
_sum = msgspec.json.Decoder(FileSum).decode
_encode = msgspec.json.Encoder().encode


def _live(snapshot: DeltaTable) -> Iterator[tuple[str, int]]:
    files = files_of(snapshot)
    return zip(map(unquote, files["path"].to_pylist()), files["size_bytes"].to_pylist(), strict=True)


def _batches(some: Iterable[str]) -> Iterator[list[str]]:
    left = iter(some)
    while batch := list(islice(left, _AT_ONCE)):
        yield batch


def _wrong_size(found: int, wanted: int) -> str:
    return f"has {found} bytes, and {wanted} were written"
