"""The clock of a SQLite store: what it stores for a while lives for so much elapsed time, though the system's clock jumps.

All processes of a machine read one clock: the time since the machine's boot, and when that boot began by the store. The table
`clock` holds the latter, which stays while the machine runs. After a boot the clock goes on from the system's, and
never from before the time that it has seen.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

_TABLE: Final = "CREATE TABLE IF NOT EXISTS clock (boot TEXT NOT NULL, began_at REAL NOT NULL, seen_at REAL NOT NULL)"
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_NOTED_SECONDS: Final = 1.0


class SqliteClock:
    """Tells the time by which a store's documents expire: seconds since 1970, about."""

    def __init__(self) -> None:
        self._began_at: float | None = None
        self._noted_at = 0.0

    def now(self) -> float:
        """Return the time. Before a connection was made, it is the system's."""
        return time.time() if self._began_at is None else self._began_at + _since_boot()

    @property
    def is_set(self) -> bool:
        """Whether a connection has told the store's time."""
        return self._began_at is not None

    def set_by(self, connection: sqlite3.Connection, begin: Callable[[sqlite3.Connection], object]) -> None:
        """Take over the clock of the store, or begin it in this boot. begin: begins a transaction that writes."""
        boot = _boot()
        if (found := _row(connection)) is None or found[0] != boot:
            begun_at = time.time() - _since_boot()
            with suppress(sqlite3.Error):  # a full disk: the next connection stores it
                begun_at = _begun(connection, boot, begin)
            self._began_at = begun_at
        else:
            self._began_at = found[1]

    def note(self, connection: sqlite3.Connection) -> None:
        """Store the time, within a transaction, once a second: after a boot the clock does not go back behind it."""
        if (now := self.now()) - self._noted_at > _NOTED_SECONDS:
            connection.execute("UPDATE clock SET seen_at = ?", (now,))
            self._noted_at = now


def now_of(database: sqlite3.Connection) -> float:
    """Return the time by the clock of a copy of the store."""
    found = _row(database)
    return time.time() if found is None or found[0] != _boot() else found[1] + _since_boot()


def _begun(connection: sqlite3.Connection, boot: str, begin: Callable[[sqlite3.Connection], object]) -> float:
    begin(connection)
    try:
        connection.execute(_TABLE)
        found = _row(connection)
        if found is not None and found[0] == boot:  # another process was first
            connection.execute("ROLLBACK")
            return found[1]
        now = max(time.time(), found[2] if found else 0.0)
        connection.execute("DELETE FROM clock")
        connection.execute("INSERT INTO clock VALUES (?, ?, ?)", (boot, now - _since_boot(), now))
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return now - _since_boot()


def _row(connection: sqlite3.Connection) -> tuple[str, float, float] | None:
    try:
        found: tuple[str, float, float] | None = connection.execute("SELECT boot, began_at, seen_at FROM clock").fetchone()
    except sqlite3.OperationalError as fault:
        if "no such table" not in str(fault):
            raise
        return None
    return found


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    return _BOOT.read_text("ascii").strip()
