"""Notice a damaged SQLite file: by what its readers and writers meet, and by a look at some of it now and then."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from backends.ports import StoreDamaged

_AT_ONCE: Final = 2000
_MOST_BYTES: Final = 256 << 20
_CODES: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_TEXT: Final = "Could not decode to UTF-8"
_RESTORE: Final = "restore a backup, then restart the service"


@dataclass(frozen=True, slots=True)
class _Table:
    """Reads a table in pieces, each after the last row of the piece before. first: what no row comes before."""

    query: str
    first: tuple[object, ...]


_TABLES: Final = (
    _Table(
        "SELECT space, key, length(value) FROM documents WHERE (space, key) > (?, ?) ORDER BY space, key LIMIT ?",
        ("", ""),
    ),
    _Table(
        "SELECT space, log, sequence, length(value) FROM entries WHERE (space, log, sequence) > (?, ?, ?)"
        " ORDER BY space, log, sequence LIMIT ?",
        ("", "", 0),
    ),
    _Table("SELECT space, version FROM spaces WHERE space > ? ORDER BY space LIMIT ?", ("",)),
    _Table("SELECT space, log, sequence FROM logs WHERE (space, log) > (?, ?) ORDER BY space, log LIMIT ?", ("", "")),
)


class SqliteDamage:
    """Remembers the damage that this process met, until the whole file is found to be sound, or the process ends.

    Each look reads a few thousand rows, and the next one reads on: a look at the whole of a large file takes minutes.
    """

    def __init__(self) -> None:
        self._met: str | None = None
        self._place, self._after = 0, _TABLES[0].first

    def fault_of(self, error: sqlite3.Error) -> StoreDamaged | None:
        """Return the fault if SQLite says that the file is damaged."""
        if code_of(error) not in _CODES and not str(error).startswith(_NO_TEXT):
            return None
        self._met = self._met or str(error)
        told = f"{error}, or never was one" if code_of(error) == sqlite3.SQLITE_NOTADB else error
        return StoreDamaged(f"SQLite: the file is damaged ({told}); {_RESTORE}")

    def look(self, connection: sqlite3.Connection) -> None:
        """Read some more rows. Raises `StoreDamaged` if damage was met, and what SQLite raises for a damaged page."""
        if self._met is not None:
            if not _is_sound(connection):
                raise StoreDamaged(f"SQLite: the file is damaged ({self._met}); {_RESTORE}")
            self._met = None
        table = _TABLES[self._place]
        rows = connection.execute(table.query, (*self._after, _AT_ONCE)).fetchall()
        if len(rows) == _AT_ONCE:
            self._after = rows[-1][: len(table.first)]
        else:
            self._place = (self._place + 1) % len(_TABLES)
            self._after = _TABLES[self._place].first


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _is_sound(connection: sqlite3.Connection) -> bool:
    """Look at the whole file, unless it is so large that this takes more than about a second."""
    ((pages,),), ((size,),) = (connection.execute(f"PRAGMA {name}").fetchall() for name in ("page_count", "page_size"))
    return pages * size <= _MOST_BYTES and connection.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
