"""Loading an installation into other stores: from a backup, or from the stores that it is in now. The order of the steps:

1. The target is held back: no process serves it until the end, also if this one dies. A repeat knows the mark.
2. The objects and the tables' files are copied, each table's log last. What the target has already, byte for byte, stays.
3. What the target has and the source has not is removed, except notes of what was deleted for good.
4. The state is loaded. It is held back too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from typing import Final

import msgspec

from backends.dumps import Dumped, DumpedDocument, DumpedEntry, DumpedLog, DumpedSpace
from backends.ports import ObjectStore, StateStore, StoreDamaged
from smarthouse_api.backups import files
from smarthouse_api.backups.files import File, Told
from smarthouse_api.backups.manifest import FOLDER as BACKUP
from smarthouse_api.backups.moment import without_leases
from smarthouse_api.coordination.installation import Installation
from smarthouse_api.coordination.leases import SPACE as LEASES
from smarthouse_api.coordination.store_marks import FOLDER, SPACE, ObjectMarks, StateMarks
from smarthouse_api.errors import Invalid

_NOTES: Final = "forgotten/"
_SOON_SECONDS: Final = 300.0
"""A document that expires so soon may be in one of two dumps only."""


class Target:
    """Takes an installation in: two stores that hold nothing, or what a load that died has begun.

    tables: the names of the tables that an installation may have.
    """

    def __init__(self, state: StateStore, objects: ObjectStore, tables: Sequence[str], told: Told) -> None:
        self._state, self._objects, self._tables, self._told = state, objects, tables, told
        self.installation = Installation(state, objects, may_begin=False)

    def take(self, reason: str, replaces: str | None = None) -> None:
        """Hold the target back for `reason`, a sentence that names the load. Raises `Invalid` if it holds anything else.

        replaces: the id of an installation that may be there, and is replaced.
        """
        if any(self._objects.list(BACKUP)):
            raise Invalid("The object store is a place of backups; restore into another one")
        if ObjectMarks(self._objects).read().held != reason:
            self._refuse_strangers(replaces)
        with suppress(StoreDamaged) if replaces is not None else nullcontext():  # the object store is held back by now
            self.installation.hold_back(reason)

    def load(self, source: ObjectStore, listed: Sequence[File], dump: Iterable[Dumped], reason: str) -> list[File]:
        """Copy files and load the state; the files, each with its SHA-256.

        Raises `Invalid` if the source is damaged; then the target stays held back.
        """
        copies = self._copy(source, listed)
        needed = {file.place for file in listed}
        there = self._there()
        files.remove(self._objects, (one for one in there if one.place not in needed and not one.path.startswith(_NOTES)))
        self._told("state", 0, 0)
        self._state.load(_held(without_leases(dump), reason))
        return copies

    def compare(self, listed: Sequence[File], dump: Iterable[Dumped]) -> None:
        """Read everything back. Raises `Invalid` if it is not what the source has. listed: with the SHA-256 of each file."""
        for done, (file, found) in enumerate(zip(listed, files.each(listed, self._sha256_of), strict=True), 1):
            self._told("files compared", done, len(listed))
            if found != file.sha256:
                raise Invalid(f"The copy of {file.shown} is not what the source has; repeat this")
        if different := _Content(dump).different(_Content(self._state.dump())):
            raise Invalid(f"The copy of the state's space {different!r} is not what the source has; repeat this")

    def _copy(self, source: ObjectStore, listed: Sequence[File]) -> list[File]:
        sizes = {file.place: file.size_bytes for file in self._there()}

        def put(file: File) -> File:
            if sizes.get(file.place) == file.size_bytes:
                digest = self._sha256_of(file)
                if digest == (file.sha256 or files.sha256_of(source, file)):
                    return msgspec.structs.replace(file, sha256=digest, stored="")
            if (copy := files.copy(source, self._objects, file)) is None:
                what = "backup" if file.sha256 else "installation"  # a backup tells the sums of its files
                raise Invalid(f"The {what} is damaged: {file.shown} is missing")
            return copy

        copies = list[File]()
        # A table is there once its log is: the logs come last.
        for copy in files.each(sorted(listed, key=lambda file: file.is_log), put):
            copies.append(copy)
            self._told("files", len(copies), len(listed))
        return copies

    def _sha256_of(self, file: File) -> str | None:
        return files.sha256_of(self._objects, msgspec.structs.replace(file, stored=""))

    def _there(self) -> list[File]:
        tables = (file for table in self._tables for file in files.files_of_table(self._objects, table))
        return [*files.objects_of(self._objects), *tables]

    def _refuse_strangers(self, replaces: str | None) -> None:
        ids = {ObjectMarks(self._objects).read().id}
        try:
            ids.add(StateMarks(self._state).id() or None)
            is_empty = self._state.is_empty(besides={LEASES, SPACE})
        except StoreDamaged:
            if replaces is None:
                raise
            is_empty = False
        if is_empty and all(one.path.startswith(FOLDER) for one in self._there()):
            return
        if replaces is None:
            raise Invalid("The stores are not empty; choose empty ones, or say --replace if they hold the same installation")
        if ids - {None} != {replaces}:
            raise Invalid("The stores hold another installation, which --replace does not touch; choose empty ones")


def _held(dump: Iterable[Dumped], reason: str) -> Iterator[Dumped]:
    """Put the mark `held` into a dump, before all else."""
    yield DumpedSpace(SPACE, 1)
    yield DumpedDocument("held", reason.encode(), 1)
    is_marks = False
    for one in dump:
        if isinstance(one, DumpedSpace):
            is_marks = one.space == SPACE
            yield one
            if is_marks:
                yield DumpedDocument("held", reason.encode(), one.version)
        elif not (is_marks and isinstance(one, DumpedDocument) and one.key == "held"):
            yield one


class _Content:
    """Sums up a dump, whatever the order of its documents, to compare it with another. The marks of being held do not count."""

    def __init__(self, dump: Iterable[Dumped]) -> None:
        self._spaces, self._passing = dict[str, int](), dict[tuple[str, str], tuple[int, float]]()
        space = log = ""
        for one in without_leases(dump):
            match one:
                case DumpedSpace():
                    space = one.space
                    if space in self._spaces:  # a dump gives a space that was changed meanwhile once more
                        self._passing = {place: held for place, held in self._passing.items() if place[0] != space}
                    self._spaces[space] = hash(one.version) if space != SPACE else 0
                case DumpedDocument() if (space, one.key) != (SPACE, "held"):
                    digest = hash((one.key, one.value, one.version))
                    if one.ttl_seconds is None:
                        self._spaces[space] ^= digest
                    else:
                        self._passing[space, one.key] = digest, one.ttl_seconds
                case DumpedLog() | DumpedEntry():
                    log = getattr(one, "log", log)
                    self._spaces[space] ^= hash((log, one))

    def different(self, other: _Content) -> str | None:
        """Name a space that is not the same in both; None if there is none. A document may have expired meanwhile in one."""
        for space in sorted(self._spaces.keys() | other._spaces.keys()):
            if self._spaces.get(space, 0) != other._spaces.get(space, 0):
                return space
        for place in self._passing.keys() | other._passing.keys():
            one, two = self._passing.get(place), other._passing.get(place)
            if one is not None and two is not None:
                if one[0] != two[0]:
                    return place[0]
            elif (one or two or (0, 0.0))[1] > _SOON_SECONDS:
                return place[0]
        return None
