"""Put a dump together that comes in pieces, in a temporary database on the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from backends import sqlite_dumps
from backends.dumps import Dumped
from backends.sqlite_changes import SCHEMA
from backends.sqlite_sums import SqliteSums


class Spool:
    """Holds what was read of a store, until it is of one moment. What comes later replaces what came before.

    Who reads it compares it with its checksums first.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(f"PRAGMA cache_size = -65536; PRAGMA synchronous = OFF; BEGIN; {SCHEMA}")

    def version(self, space: str, version: int) -> None:
        """Give a space its version."""
        self._database.execute("INSERT OR REPLACE INTO spaces VALUES (?, ?)", (space, version))

    def documents(self, space: str, rows: Iterable[tuple[str, int, float | None, bytes]]) -> None:
        """Take in documents: key, version, when they expire by this machine's clock, value."""
        placed = ((space, *row) for row in rows)
        self._database.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, NULL)", placed)

    def remove(self, space: str, keys: Iterable[str]) -> None:
        """Remove documents."""
        self._database.executemany("DELETE FROM documents WHERE space = ? AND key = ?", ((space, key) for key in keys))

    def log(self, space: str, log: str, sequence: int) -> None:
        """Give a log its last sequence."""
        self._database.execute("INSERT OR REPLACE INTO logs VALUES (?, ?, ?)", (space, log, sequence))

    def entries(self, space: str, log: str, rows: Iterable[tuple[int, bytes]]) -> None:
        """Take in entries of a log."""
        placed = ((space, log, *row) for row in rows)
        self._database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, NULL)", placed)

    def drop(self, space: str, log: str, sequence: int) -> None:
        """Remove an entry."""
        self._database.execute("DELETE FROM entries WHERE space = ? AND log = ? AND sequence = ?", (space, log, sequence))

    def forget(self, space: str) -> None:
        """Remove all of a space."""
        sqlite_dumps.forget(self._database, space)

    def dumped(self) -> Iterator[Dumped]:
        """Give out all that is held."""
        yield from sqlite_dumps.dumped(self._database, SqliteSums())

    def close(self) -> None:
        """Remove the database."""
        self._database.close()
