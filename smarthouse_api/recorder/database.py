"""Reads a SQLite database that another program may write meanwhile, and writes no byte beside it if it can."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from smarthouse_api.recorder.faults import ImportFault

Row: TypeAlias = tuple[Any, ...]
_Stamp: TypeAlias = tuple[int, int, int]

_MAGIC: Final = b"SQLite format 3\0"
_READ_VERSION: Final = 19
_WAL: Final = 2
_BUSY_SECONDS: Final = 30.0


class Database:
    """Reads a database in short transactions, so that a running Home Assistant is never held up.

    1. Every connection is read-only (`mode=ro`).
    2. A database in WAL mode without a `-wal` file has no other user. SQLite would make that file even to read. So such a
       database is read with `immutable=1`.
    3. What was read that way counts only if the file is the same afterwards and no `-wal` file appeared. Otherwise it is read
       again.
    """

    def __init__(self, path: Path) -> None:
        """Looks at the file's head. Raises `ImportFault` if it is no SQLite database."""
        self.path = path
        self._wal = Path(f"{path}-wal")
        self._connection: sqlite3.Connection | None = None
        self._seen: _Stamp | None = None
        self._uses_wal = _head(path)[_READ_VERSION] == _WAL

    def close(self) -> None:
        """Close the file. A later read opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def columns(self, table: str) -> set[str]:
        """Name the columns of a table; none if the table does not exist."""
        return {name for (name,) in self.read("SELECT name FROM pragma_table_info(?)", (table,))}

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Fetch all rows of a query. Raises `ImportFault` if SQLite cannot."""
        while True:
            fault, rows = None, []
            try:
                rows = self._opened().execute(sql, values).fetchall()
            except sqlite3.Error as error:
                fault = error
            if self._seen is None or self._seen == self._quiet():
                if fault is not None:
                    raise ImportFault(_words(self.path, fault)) from None
                return rows
            self.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._seen = self._quiet()
            options = "mode=ro" if self._seen is None else "mode=ro&immutable=1"
            uri = f"file:{quote(str(self.path.resolve()))}?{options}"
            self._connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)
            self._connection.text_factory = lambda text: text.decode(errors="replace")
        return self._connection

    def _quiet(self) -> _Stamp | None:
        """What tells that nobody wrote; None if somebody may be writing."""
        if not self._uses_wal or self._wal.exists():
            return None
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError as fault:
        raise ImportFault(f"{path} cannot be read: {fault.strerror}") from None
    if len(head) < 100 or not head.startswith(_MAGIC):
        raise ImportFault(f"{path} is not a SQLite database; Home Assistant's is home-assistant_v2.db in its /config")
    return head


def _words(path: Path, fault: sqlite3.Error) -> str:
    name = getattr(fault, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{path} was locked for {_BUSY_SECONDS:.0f} seconds; run the command again later"
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return (
            f"{path} cannot be opened ({fault}); Home Assistant left files beside it that must be brought in first:"
            f" copy the database together with its -wal or -journal file to a folder that you may write, and import the copy"
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"{path} is damaged ({fault}); repair it with sqlite3's command .recover, and import the result"
    return f"{path} cannot be read: {fault}"
