"""Which readers a purge may spare: those that cannot hold what is deleted, by what each has noted of its snapshot.

A reader notes its snapshots, and the days that it reads. It can hold nothing of an owner of rows that was added later than the
snapshots, nor of one that has no row on these days.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import msgspec

from smarthouse_api.lake.snapshot_marks import SnapshotMark, is_no_later

Span = tuple[date, date]
"""The first and the last of some days."""

_MOST_SPANS: Final = 100


class ReadMark(msgspec.Struct, frozen=True, array_like=True):
    """Is a `SnapshotMark` with the days that are read. None: nobody knows them.

    rows_of: the older version whose rows are read of it, and no others. file: the kept file that is sent, which was made of it.
    """

    table: str
    id: str
    version: int
    first: date | None = None
    last: date | None = None
    rows_of: int | None = None
    file: str | None = None

    @property
    def span(self) -> Span | None:
        """The days that are read."""
        return None if self.first is None or self.last is None else (self.first, self.last)


class HeldRows(msgspec.Struct, frozen=True, array_like=True):
    """Tells on which days one owner has rows in a table. id: of the table as it was made. kept_since: its first day then."""

    id: str
    spans: tuple[Span, ...]
    kept_since: date | None = None

    def reaches(self, read: ReadMark) -> bool:
        """Tell whether a reader may find such rows."""
        if read.id != self.id or read.first is None or read.last is None:
            return True
        if self.kept_since is not None and read.first < self.kept_since:
            return True  # rows of those days are not looked for any more
        return any(first <= read.last and last >= read.first for first, last in self.spans)


Held = Mapping[str, HeldRows]
"""What an owner holds, by the tables' names. A table that is not named may hold rows of any day."""


def noted(marks: Iterable[SnapshotMark], span: Span | None = None, file: str | None = None) -> bytes:
    """Write a reader's note: its snapshots, and the days that it reads of them. file: see `ReadMark`."""
    first, last = span or (None, None)
    return _encode([ReadMark(mark.table, mark.id, mark.version, first, last, file=file) for mark in marks])


def moved(note: bytes, mark: SnapshotMark) -> bytes:
    """Write a reader's note anew that reads a newer snapshot of a table from now on: the same days, and the same rows."""
    return _encode([_moved(one, mark) if one.table == mark.table else one for one in read_marks(note).values()])


def _moved(read: ReadMark, mark: SnapshotMark) -> ReadMark:
    rows_of = read.version if read.rows_of is None else read.rows_of
    return ReadMark(mark.table, mark.id, mark.version, read.first, read.last, rows_of)


def together(some: Iterable[Span]) -> tuple[Span, ...]:
    """Put spans together that touch. Those that would be too many are joined with what lies between."""
    spans = list[Span]()
    for first, last in sorted(some):
        if spans and (first - spans[-1][1]).days <= 1:
            spans[-1] = spans[-1][0], max(last, spans[-1][1])
        else:
            spans.append((first, last))
    return tuple(spans) if len(spans) <= _MOST_SPANS else ((spans[0][0], spans[-1][1]),)


def joined(*some: Held) -> dict[str, HeldRows]:
    """Join what was found of one owner at several times."""
    found = dict[str, HeldRows]()
    for name in set[str]().union(*some):
        all_ = [held[name] for held in some if name in held]
        kept = [one.kept_since for one in all_ if one.kept_since is not None]
        if len(all_) == len(some) and len({one.id for one in all_}) == 1:
            spans = together(span for one in all_ for span in one.spans)
            found[name] = HeldRows(all_[0].id, spans, max(kept, default=None))
    return found


def decoded_held(text: bytes) -> dict[str, HeldRows]:
    """Read what `encoded_held` has written; nothing is known from an empty text."""
    return _decode_held(text) if text else {}


@dataclass(frozen=True)
class Sparing:
    """Tells from a reader's note whether nothing of some owners can be in what it reads.

    born: for each of them, the newest snapshots when it was added. held: for each, which rows it is known to have.
    """

    born: Sequence[Mapping[str, SnapshotMark]] = ()
    held: Sequence[Held] = ()

    def __call__(self, note: bytes) -> bool:
        """Tell it. A reader that has noted nothing is not spared."""
        rows = [ReadMark(one.table, one.id, one.version if one.rows_of is None else one.rows_of) for one in _all(note)]
        return bool(rows) and self._are_none(_encode(rows), note)

    def is_older(self, note: bytes) -> bool:
        """Tell whether the snapshots themselves are older than all of them: no file of these has a row of theirs."""
        return all(is_no_later(note, born) for born in self.born)

    def is_apart(self, note: bytes) -> bool:
        """Tell whether of the snapshots that are read, the rows of the days that are read are surely none of theirs."""
        return self._are_none(note, note)

    def _are_none(self, rows: bytes, note: bytes) -> bool:
        read = _all(note)
        return all(
            is_no_later(rows, born) or not any(one.table not in held or held[one.table].reaches(one) for one in read)
            for born, held in zip(self.born, self.held, strict=True)
        )


@dataclass(frozen=True)
class SparingNone(Sparing):
    """Spares no reader."""

    def __call__(self, note: bytes) -> bool:
        return False


def read_marks(note: bytes) -> dict[str, ReadMark]:
    """Read a reader's note, by the tables' names."""
    return {one.table: one for one in _all(note)}


def _all(note: bytes) -> list[ReadMark]:
    return _decode(note) if note else []


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[ReadMark]).decode
encoded_held = msgspec.json.Encoder().encode
_decode_held = msgspec.json.Decoder(dict[str, HeldRows]).decode
