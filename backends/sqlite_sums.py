"""The checksums in a SQLite store: a column of documents and entries, null where an earlier version wrote the row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from backends.parts import checksum, name_sum
from backends.ports import Document, Entry, Part, PartDamaged
from backends.sums import DamagedParts

LAYOUT: Final = 2
"""The `user_version` of a file whose tables have the column."""

_AT_ONCE: Final = 1000
_BYTES_AT_ONCE: Final = 4 << 20


class Table(NamedTuple):
    """Reads a table in pieces, each after the last row of the piece before. first: what no row comes before."""

    page: str
    first: tuple[object, ...]
    update: str


TABLES: Final = (
    Table(
        "SELECT space, key, value, version, expires_at, checksum FROM documents WHERE (space, key) > (?, ?)"
        " ORDER BY space, key LIMIT ?",
        ("", ""),
        "UPDATE documents SET checksum = ? WHERE (space, key) = (?, ?)",
    ),
    Table(
        "SELECT space, log, sequence, value, checksum FROM entries WHERE (space, log, sequence) > (?, ?, ?)"
        " ORDER BY space, log, sequence LIMIT ?",
        ("", "", 0),
        "UPDATE entries SET checksum = ? WHERE (space, log, sequence) = (?, ?, ?)",
    ),
)


class Place(NamedTuple):
    """Tells up to where the tables were read."""

    table: int = 0
    after: tuple[object, ...] = TABLES[0].first


def document_row(space: str, key: str, version: int, expires_at: float | None, value: bytes) -> tuple[object, ...]:
    """Make the row of a document."""
    return space, key, version, expires_at, value, checksum(name_sum(space, key), value, version, _us(expires_at))


def entry_row(space: str, log: str, sequence: int, value: bytes) -> tuple[object, ...]:
    """Make the row of an entry."""
    return space, log, sequence, value, checksum(name_sum(space, log), value, sequence)


def add_columns(connection: sqlite3.Connection) -> None:
    """Give the tables of an earlier version their column, within a transaction. Takes no time, whatever they hold."""
    for table in ("documents", "entries"):
        if not any(column[1] == "checksum" for column in connection.execute(f"PRAGMA table_info({table})")):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")


class SqliteSums:
    """Compares what is read with its checksum. Raises `PartDamaged`, and remembers each."""

    def __init__(self) -> None:
        self.damaged = DamagedParts()

    def document(self, space: str, key: str, value: Any, version: Any, expires_at: float | None, told: int | None) -> Document:
        """Return the document of a row."""
        try:
            expires_us = 0 if expires_at is None else int(expires_at * 1e6)
            made = checksum(name_sum(space, key), value, version, expires_us)
            is_right = told == made or (told is None and type(version) is int)
        except (AttributeError, TypeError, ValueError, OverflowError):  # of a damaged type
            is_right = False
        if not is_right:
            raise self.damaged.fault(Part(space, str(key)))
        return Document(value, version)

    def entries(self, space: str, log: str, rows: Iterable[tuple[Any, ...]]) -> list[Entry]:
        """Return the entries of rows of one log."""
        names = name_sum(space, log)

        def entry(row: tuple[Any, ...]) -> Entry:
            sequence, value, told = row
            try:
                is_right = told == checksum(names, value, sequence) or (told is None and type(sequence) is int)
            except TypeError:  # of a damaged type
                is_right = False
            if not is_right:
                raise self.damaged.fault(Part(space, log, sequence))
            return Entry(sequence, value)

        return self.damaged.whole(entry, rows)

    def look(self, connection: sqlite3.Connection, place: Place) -> tuple[list[Part], Place | None]:
        """Compare some rows; the damaged ones, and where to go on. None: this was the end."""
        rows, after = _page(connection, place)
        return [part for row in rows if (part := self._damaged(row)) is not None], after

    def add(self, connection: sqlite3.Connection, place: Place) -> tuple[int, Place | None]:
        """Give checksums to some rows that have none, within a transaction; how many, and where to go on."""
        rows, after = _page(connection, place)
        update, count = TABLES[place.table].update, 0
        for row in rows:
            if row[-1] is None and self._damaged(row) is None:
                made = document_row(*row[:2], row[3], row[4], row[2]) if len(row) == 6 else entry_row(*row[:4])
                connection.execute(update, (made[-1], *row[: 2 if len(row) == 6 else 3]))
                count += 1
        return count, after

    def _damaged(self, row: tuple[Any, ...]) -> Part | None:
        try:
            if not isinstance(row[0], str) or not isinstance(row[1], str):
                raise self.damaged.fault(Part(str(row[0]), str(row[1])))
            if len(row) == 6:
                self.document(*row)
            else:
                space, log, *rest = row
                self.entries(space, log, [tuple(rest)])
        except PartDamaged as fault:
            return fault.part
        return None


def _page(connection: sqlite3.Connection, place: Place) -> tuple[list[tuple[Any, ...]], Place | None]:
    """Read some rows, and not many more bytes than a few megabytes; where to go on."""
    rows, size = list[tuple[Any, ...]](), 0
    table = TABLES[place.table]
    for row in connection.execute(table.page, (*place.after, _AT_ONCE)):
        rows.append(row)
        value = row[2 if len(row) == 6 else 3]
        size += len(value) if isinstance(value, bytes) else 0
        if size > _BYTES_AT_ONCE:
            break
    if (len(rows) == _AT_ONCE or size > _BYTES_AT_ONCE) and _is_later(after := rows[-1][: len(table.first)], place.after):
        return rows, Place(place.table, after)
    beyond = place.table + 1
    return rows, Place(beyond, TABLES[beyond].first) if beyond < len(TABLES) else None


def _is_later(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Compare two places. Damaged names are in no order, and a reader that believed them would never end."""
    try:
        return one > other
    except TypeError:
        return False


def _us(expires_at: float | None) -> int:
    return 0 if expires_at is None else int(expires_at * 1e6)
