"""The schema of a SQLite store, and what a commit does within its transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from backends.counters import added
from backends.ports import ABSENT, Add, Change, Committed, Conflict, Put
from backends.sqlite_sums import SqliteSums, document_row, entry_row

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS spaces (space TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    space TEXT, key TEXT, version INTEGER NOT NULL, expires_at REAL, value BLOB NOT NULL, checksum INTEGER,
    PRIMARY KEY (space, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS documents_by_expiry ON documents (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS logs (space TEXT, log TEXT, sequence INTEGER NOT NULL, PRIMARY KEY (space, log)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    space TEXT, log TEXT, sequence INTEGER, value BLOB NOT NULL, checksum INTEGER, PRIMARY KEY (space, log, sequence)
) WITHOUT ROWID;
"""
LIVE: Final = "(expires_at IS NULL OR expires_at > ?)"
_VERSION = f"SELECT version FROM documents WHERE space = ? AND key = ? AND {LIVE}"  # noqa: S608
_VALUE = f"SELECT value, version, expires_at, checksum FROM documents WHERE space = ? AND key = ? AND {LIVE}"  # noqa: S608
_NEXT_VERSION = "INSERT INTO spaces VALUES (?, 1) ON CONFLICT DO UPDATE SET version = version + 1 RETURNING version"
_PUT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM documents WHERE space = ? AND key = ?"
_ADVANCE = "INSERT INTO logs VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET sequence = sequence + 1 RETURNING sequence"
_APPEND = "INSERT INTO entries VALUES (?, ?, ?, ?, ?)"
_DROP = "DELETE FROM entries WHERE space = ? AND log = ? AND sequence = ?"
EXPIRE: Final = """
DELETE FROM documents WHERE (space, key) IN (SELECT space, key FROM documents WHERE expires_at <= ? LIMIT ?)
"""
LARGEST: Final = 2**63 - 1
_EXPIRED_AT_ONCE: Final = 256


@dataclass(slots=True, eq=False)
class WaitingCommit:
    """Holds a commit that waits for its turn, and what became of it."""

    space: str
    change: Change
    began_at: float
    outcome: Committed | Exception | None = None


def apply(connection: sqlite3.Connection, space: str, change: Change, now: float, sums: SqliteSums) -> Committed | Conflict:
    """Do `change` within the transaction, or nothing of it when an expectation does not hold. now: by the store's clock."""
    execute = connection.execute
    for key, wanted in change.expect.items():
        row = execute(_VERSION, (space, key, now)).fetchone()
        found = row[0] if row else ABSENT
        if found != wanted:
            return Conflict(f"{key!r} in {space!r} has version {found}, not {wanted}")
    try:
        counted = [_counted(connection, space, add, now, sums) for add in change.adds]
    except Conflict as conflict:
        return conflict
    version = execute(_NEXT_VERSION, (space,)).fetchall()[0][0]
    for put in (*change.puts, *counted):
        expires_at = None if put.ttl_seconds is None else now + put.ttl_seconds
        execute(_PUT, document_row(space, put.key, version, expires_at, put.value))
    for key in change.deletes:
        execute(_DELETE, (space, key))
    sequences = [_append(connection, space, log, value) for log, value in change.appends]
    for log, sequence in change.drops:
        execute(_DROP, (space, log, min(sequence, LARGEST)))
    # More than were put, or documents with a lifetime would pile up.
    execute(EXPIRE, (now, _EXPIRED_AT_ONCE + 2 * len(change.puts) + 2 * len(change.adds)))
    return Committed(version, tuple(sequences))


def _counted(connection: sqlite3.Connection, space: str, add: Add, now: float, sums: SqliteSums) -> Put:
    """Return a counter as it is to be written. Raises `Conflict` if it would pass its most."""
    row = connection.execute(_VALUE, (space, add.key, now)).fetchone()
    return Put(add.key, added(add, sums.document(space, add.key, *row).value if row else None), add.ttl_seconds)


def _append(connection: sqlite3.Connection, space: str, log: str, value: bytes) -> int:
    sequence: int = connection.execute(_ADVANCE, (space, log)).fetchall()[0][0]
    connection.execute(_APPEND, entry_row(space, log, sequence, value))
    return sequence
