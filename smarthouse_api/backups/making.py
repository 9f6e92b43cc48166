"""Making a backup of an installation while it is served. The order of the steps:

1. The objects are copied. What the place has already is not copied again.
2. The state is copied at a moment in which the lake stands still, and then the lake's files of that moment.
   If a purge removes some of them meanwhile, this step is repeated.
3. The objects that came since are copied: the state of that moment may refer to them.
4. The notes of what was deleted for good come last, so that a restore deletes it again.
5. The manifest is written, and what only an earlier backup needed is removed.

Nothing that the earlier manifest names is written over: a file that has other bytes by now gets another name in the place. If
those bytes are damaged, or the file is missing though it should be there, the earlier copy stays in the backup.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from backends.ports import ObjectStore, StateStore, StoreUnavailable
from smarthouse_api.backups import files, manifest, records
from smarthouse_api.backups.files import File, Told
from smarthouse_api.backups.manifest import FOLDER, VERSIONS, Manifest
from smarthouse_api.backups.moment import Moment, without_leases
from smarthouse_api.coordination.damage import Damages
from smarthouse_api.coordination.leases import LeaseLost
from smarthouse_api.coordination.store_agreement import FORMAT
from smarthouse_api.errors import Invalid
from smarthouse_api.lake.table import LakeTable
from smarthouse_api.states.raw import read_raw_name
from smarthouse_api.version import own_version

_ATTEMPTS: Final = 5
_NOTES: Final = "forgotten/"
_WRITTEN_ONCE: Final = ("raw/", "packets/")

Kept = dict[tuple[str, str], File]


@dataclass(frozen=True)
class Made:
    """Counts what a backup holds, and how much of it was copied now. damaged: files that are damaged in the installation."""

    files: int
    records: int
    size_bytes: int
    copied: int
    damaged: tuple[str, ...] = ()


class Making:
    """Makes a backup of an installation that may be served meanwhile. wait_seconds: for the lake's writers."""

    def __init__(
        self, state: StateStore, objects: ObjectStore, tables: Sequence[LakeTable], wait_seconds: float, told: Told
    ) -> None:
        self._state, self._objects, self._tables = state, objects, tables
        self._wait_seconds, self._told = wait_seconds, told
        self._named = set[tuple[str, str]]()
        self._damaged = dict[tuple[str, str], str]()

    def make(self, installation: str, place: ObjectStore) -> Made:
        """Make a backup in a place that was begun, and that has an earlier one or none.

        Raises `StoreUnavailable` if a store fails or the lake does not stand still.
        """
        before = _files_of(place)
        self._named = {file.resting_place for file in before.values()}
        kept: Kept = {}
        copied = self._copy(place, files.objects_of(self._objects), before, kept)
        id_ = secrets.token_hex(8)
        moment, state, lake = self._copy_moment(place, f"{FOLDER}state-{id_}", before)
        copied += lake[1] + self._copy(place, files.objects_of(self._objects), before | kept, kept)
        copied += self._copy(place, files.objects_of(self._objects, _NOTES), before | kept, kept)
        self._keep_missing(before, kept)
        every = [*kept.values(), *lake[0]]
        made = Manifest(
            installation=installation,
            format=FORMAT,
            version=own_version(),
            moment=moment,
            state=state,
            files=records.write(place, f"{FOLDER}files-{id_}", every),
            size_bytes=state.size_bytes + sum(file.size_bytes for file in every),
        )
        manifest.write(place, made)
        _remove_others(place, every, manifest.names(made), [table.name for table in self._tables])
        place.sweep()
        return Made(len(every), state.records, made.size_bytes, copied, tuple(sorted(self._damaged.values())))

    def _copy(self, place: ObjectStore, there: Sequence[File], before: Kept, kept: Kept) -> int:
        """Copy the files that the place does not have yet, and note all in `kept`; how many were copied."""
        new = [file for file in there if not file.looks_like(before.get(file.place))]
        kept.update((file.place, before[file.place]) for file in there if file.looks_like(before.get(file.place)))
        what = "files of the lake" if there and there[0].table else "objects"
        for done, file in enumerate(files.each(new, partial(self._put, place, before)), 1):
            self._told(what, done, len(new))
            if file is not None:
                kept[file.place] = file
        return len(new)

    def _put(self, place: ObjectStore, before: Kept, file: File) -> File | None:
        """Copy a file; what stands for it in the backup. That is an earlier copy if the file is damaged by now."""
        stored = f"{VERSIONS}{secrets.token_hex(16)}" if file.place in self._named else ""
        copied, earlier = files.copy(self._objects, place, file, stored), before.get(file.place)
        if copied is None or _is_sound(copied, earlier):
            return copied
        self._damaged[file.place] = file.shown
        return earlier or copied

    def _keep_missing(self, before: Kept, kept: Kept) -> None:
        """Keep the earlier copies of objects that are known to be missing or damaged, and are still needed."""
        for problem in Damages(self._state).noted():
            place = "", problem.name
            if problem.name.startswith(_WRITTEN_ONCE):
                self._damaged[place] = problem.name
                if place in before:
                    kept.setdefault(place, before[place])

    def _copy_moment(
        self, place: ObjectStore, name: str, before: Kept
    ) -> tuple[datetime, records.Part, tuple[list[File], int]]:
        """Copy the state and the lake as they are together; when that was, the state, the lake's files and how many are new."""
        for _ in range(_ATTEMPTS):
            moment = Moment(self._tables, self._wait_seconds)
            try:
                at = datetime.now(UTC)
                self._told("state", 0, 0)
                state = records.write(place, name, records.packed(without_leases(self._state.dump(moment))))
                kept: Kept = {}
                listed = (file for table in self._tables for file in files.files_of_table(self._objects, table.name))
                copied = self._copy(place, [file for file in listed if moment.is_of(*file.place)], before, kept)
                moment.check()
                if missing := moment.missing(kept):
                    raise StoreUnavailable(
                        f"the lake lacks {len(missing)} of its files, such as {missing[0]}; run `smarthouse rebuild` first"
                    )
                return at, state, ([*kept.values()], copied)
            except LeaseLost:
                continue
            finally:
                moment.release()
        raise StoreUnavailable("the lake was purged again and again while it was copied; repeat this")


def _is_sound(copied: File, earlier: File | None) -> bool:
    """Tell whether a copy has the bytes that its name tells, or else those that an earlier copy has, if they never change."""
    raw = None if copied.table else read_raw_name(copied.path)
    if raw is not None and raw.sha256 is not None:
        return copied.sha256 == raw.sha256
    never_changes = (
        not copied.is_log if copied.table else copied.path.startswith(_WRITTEN_ONCE) and copied.path.endswith(".data")
    )
    return earlier is None or not never_changes or copied.sha256 == earlier.sha256


def _files_of(place: ObjectStore) -> Kept:
    """List the files of the whole backup that a place has, as far as they are still there."""
    try:
        _, listed = manifest.read(place)
    except Invalid:  # there is none, or it is damaged
        return {}
    there = {file.place: file.size_bytes for file in files.objects_of(place)}
    for table in {file.table for file in listed if file.table}:
        there |= {file.place: file.size_bytes for file in files.files_of_table(place, table)}
    return {file.place: file for file in listed if there.get(file.resting_place) == file.size_bytes}


def _remove_others(place: ObjectStore, every: Iterable[File], own: set[str], tables: Iterable[str]) -> None:
    """Remove what a backup does not need."""
    needed = {file.resting_place for file in every} | {("", name) for name in own}
    there = [*files.objects_of(place), *(file for table in tables for file in files.files_of_table(place, table))]
    files.remove(place, (file for file in there if file.place not in needed))
