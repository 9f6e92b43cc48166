"""Marks of snapshots: the version of a table that a reader has open. By its mark, a purge may spare the reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from deltalake import DeltaTable


class SnapshotMark(msgspec.Struct, frozen=True, array_like=True):
    """Names one version of one table. id: of the table as it was made; a table that is made anew has another."""

    table: str
    id: str
    version: int


def mark_of(name: str, snapshot: DeltaTable) -> SnapshotMark:
    """Mark a snapshot of the table `name`."""
    return SnapshotMark(name, str(snapshot.metadata().id), snapshot.version())


def is_no_later(note: bytes, marks: Mapping[str, SnapshotMark]) -> bool:
    """Tell whether each snapshot that a reader noted is one of `marks`, or an older one of the same table."""
    return all(
        (mark := marks.get(read.table)) is not None and mark.id == read.id and read.version <= mark.version
        for read in decoded(note).values()
    )


def encoded(marks: Iterable[SnapshotMark]) -> bytes:
    """Write marks as bytes, for `decoded`."""
    return msgspec.json.encode(list(marks))


def decoded(text: bytes) -> dict[str, SnapshotMark]:
    """Read marks, by the tables' names; none of an empty text."""
    return {mark.table: mark for mark in _decode(text)} if text else {}


_decode = msgspec.json.Decoder(list[SnapshotMark]).decode
